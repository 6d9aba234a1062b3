// How figures and times look.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** count shows a number: whole up to 99,999, then 123.4K, 5.6M. */
export function count(n) {
  return Math.abs(n) < 100_000 ? whole.format(n) : short.format(n);
}

/** rate shows how many a second. */
export function rate(n) {
  return n > 0 && n < 10 ? n.toFixed(1) : count(n);
}

/** span shows seconds as a duration of the unit that fits. */
export function span(seconds) {
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  return `${seconds.toFixed(1)} s`;
}

/** age shows how long ago a moment was, in its largest unit. */
export function age(from, now = Date.now()) {
  const s = Math.max(0, Math.round((now - from) / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** when shows a moment: the time of day, before it the date unless that is today's. */
export function when(at) {
  const t = new Date(at);
  const day = t.toDateString() === new Date().toDateString() ? "" : `${t.toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" })}, `;
  return day + clock(at).slice(0, 8);
}

/** clock shows a time of day, to the millisecond. */
export function clock(at) {
  const t = new Date(at);
  const two = (n) => String(n).padStart(2, "0");
  return `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}.${String(t.getMilliseconds()).padStart(3, "0")}`;
}

/** words shows a name of the wire, such as without_redis, for people. */
export function words(name) {
  return name.replaceAll("_", " ").replace("redis", "Redis");
}

/** plural counts things: plural(1, "node") is "1 node". */
export function plural(n, thing, things = `${thing}s`) {
  return `${count(n)} ${n === 1 ? thing : things}`;
}
