// Reading Prometheus's text format, and what two readings say together.

const line = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \S+)?$/;
const label = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)",?/g;

/**
 * parse reads one page of metrics: {at, series, help}, where series has, by
 * name, a list of {labels, value}, and help what each name means.
 */
export function parse(text, at) {
  const series = new Map();
  const help = new Map();
  for (const raw of text.split("\n")) {
    if (raw.startsWith("# HELP ")) {
      const [name, ...rest] = raw.slice(7).split(" ");
      help.set(name, rest.join(" "));
    }
    const m = raw.startsWith("#") ? null : line.exec(raw);
    if (!m) continue;
    const labels = {};
    for (const [, name, value] of (m[2] ?? "").matchAll(label)) labels[name] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    if (!series.has(m[1])) series.set(m[1], []);
    series.get(m[1]).push({ labels, value: Number(m[3].replace("Inf", "Infinity")) });
  }
  return { at, series, help };
}

/** total sums a name's series that have these labels; undefined if the node does not count it at all. */
export function total(sample, name, labels = {}) {
  return sample.series.get(name)
    ?.filter((s) => Object.entries(labels).every(([k, v]) => s.labels[k] === v))
    .reduce((sum, s) => sum + s.value, 0);
}

/** gain is how much a counter rose between two samples; one that fell has begun anew. */
export function gain(before, after, name, labels) {
  const end = total(after, name, labels);
  if (end === undefined) return undefined;
  const start = total(before, name, labels) ?? 0;
  return end < start ? end : end - start;
}

/** perSecond is a counter's rate between two samples. */
export function perSecond(before, after, name, labels) {
  const g = gain(before, after, name, labels);
  return g === undefined ? undefined : g / ((after.at - before.at) / 1000);
}

/**
 * quantile estimates a histogram's quantile over what was observed between two
 * samples, as Prometheus does; undefined if nothing was.
 */
export function quantile(before, after, name, q) {
  const bounds = (after.series.get(`${name}_bucket`) ?? []).map((s) => s.labels.le);
  const buckets = bounds
    .map((le) => ({ le: Number(le.replace("Inf", "Infinity")), n: gain(before, after, `${name}_bucket`, { le }) }))
    .sort((a, b) => a.le - b.le);
  const all = buckets.at(-1)?.n ?? 0;
  if (all === 0) return undefined;
  const i = buckets.findIndex((b) => b.n >= q * all);
  const below = i === 0 ? { le: 0, n: 0 } : buckets[i - 1];
  if (buckets[i].le === Infinity) return below.le;
  return below.le + ((buckets[i].le - below.le) * (q * all - below.n)) / (buckets[i].n - below.n);
}
