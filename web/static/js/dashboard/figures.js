// This node's figures, from its metrics.

import { call, read } from "../api.js";
import { spark } from "../chart.js";
import { fill, find, h, rows, say, tell } from "../dom.js";
import { count, rate, span } from "../format.js";
import { gain, parse, perSecond, quantile, total } from "../metrics.js";

/** How many samples are remembered; at one in two seconds, four minutes. */
const memory = 120;

/** Counters of what was not done, or went wrong, have one of these in their name. */
const wrong = /_(dropped|refused|rejected|closed|cut|lost|forgotten|panics|malformed|unreported|outranked|quarantined|errors|error|timeouts|repairs|gaps)(_|$)/;

/**
 * What the tiles show. value takes the sample before and the latest one; a tile
 * whose value is undefined is left out, for not every node counts everything.
 */
const tiles = [
  { title: "Connections", value: (_, now) => total(now, "rollcall_edge_connections"), show: count, note: held },
  { title: "Deliveries", unit: "/s", value: (a, b) => perSecond(a, b, "rollcall_edge_deliveries_total"), show: rate, note: bytes },
  { title: "Rooms", value: (_, now) => total(now, "rollcall_rooms"), show: count },
  { title: "Publications", unit: "/s", value: (a, b) => perSecond(a, b, "rollcall_publications_total"), show: rate },
  { title: "Client frames", unit: "/s", value: (a, b) => perSecond(a, b, "rollcall_edge_frames_total"), show: rate },
  { title: "Entered rooms", unit: "/s", value: (a, b) => perSecond(a, b, "rollcall_room_events_total", { event: "entered" }), show: rate },
  { title: "Departures", value: (_, now) => total(now, "rollcall_room_events_total", { event: "lost" }), show: count, note: unreported },
  { title: "Departures owed", value: (_, now) => total(now, "rollcall_departures_owed"), show: count, note: reported },
  { title: "Commits", unit: "/s", value: (a, b) => perSecond(a, b, "rollcall_commits_total"), show: rate },
  { title: "Commit p99", value: (a, b) => quantile(a, b, "rollcall_commit_seconds", 0.99) ?? 0, show: (v) => (v > 0 ? span(v) : "–"), note: median },
  { title: "Store", value: (_, now) => total(now, "rollcall_store_away"), show: (v) => (v > 0 ? "away" : "here"), note: lease, state: (v) => (v > 0 ? "warn" : "good") },
];

function held(_, now) {
  const n = total(now, "rollcall_edge_held_sockets") ?? 0;
  return n > 0 ? `${count(n)} wait for the store` : "";
}

function bytes(a, b) {
  const n = perSecond(a, b, "rollcall_edge_delivered_bytes_total");
  return n ? `${rate(n / 1024)} KiB/s` : "";
}

function unreported(_, now) {
  const n = total(now, "rollcall_room_events_total", { event: "unreported" }) ?? 0;
  return n > 0 ? `${count(n)} given up unreported` : "none given up";
}

function reported(_, now) {
  return `${count(total(now, "rollcall_departures_reported_total") ?? 0)} reported`;
}

function median(a, b) {
  const v = quantile(a, b, "rollcall_commit_seconds", 0.5);
  return v === undefined ? "none lately" : `p50 ${span(v)}`;
}

function lease(_, now) {
  return total(now, "rollcall_lease_valid") === 0 ? "it may own nothing" : "lease valid";
}

/** figuresView samples the metrics; each call takes one sample and shows what is new. */
export function figuresView() {
  const samples = [];
  const histories = new Map();
  const show = rows(find("tiles"), tile);
  const drops = dropsView();
  return async () => {
    const answer = await call("/metrics");
    if (!answer.ok) return { store: undefined };
    const now = parse(await read(answer), Date.now());
    const before = samples.at(-1);
    samples.push(now);
    if (samples.length > memory) samples.shift();
    drops(samples[Math.max(0, samples.length - 31)], now);
    if (before) show(figures(before, now, histories), (f) => f.title);
    return { store: total(now, "rollcall_store_away") > 0 };
  };
}

function figures(before, now, histories) {
  const list = [];
  for (const t of tiles) {
    const value = t.value(before, now);
    if (value === undefined) continue;
    const history = histories.get(t.title) ?? [];
    histories.set(t.title, history);
    history.push(value);
    if (history.length > memory) history.shift();
    list.push({ ...t, now: value, history, said: t.note?.(before, now) ?? "" });
  }
  return list;
}

function tile(first) {
  const value = h("b");
  const unit = h("small", {}, first.unit ?? "");
  const note = h("span.note");
  const line = spark();
  return {
    node: h("div.tile", { role: "group", "aria-label": first.title }, h("h3", {}, first.title), h("p", {}, value, unit), note, first.state ? null : line.node),
    update(f) {
      say(value, f.show(f.now));
      say(note, f.said);
      if (f.state) tell(value, "data-level", f.state(f.now));
      else line.draw(f.history);
    },
  };
}

/** dropsView lists what was dropped or went wrong: all of it, and in the last minute. */
function dropsView() {
  const place = find("drops");
  return (before, now) => {
    const list = [];
    for (const [name, series] of now.series) {
      if (!name.startsWith("rollcall_") || !wrong.test(name.replace(/_total$/, ""))) continue;
      for (const { labels, value } of series) {
        if (value > 0) list.push({ name, labels, value, lately: name.endsWith("_total") ? gain(before, now, name, labels) : 0, help: now.help.get(name) ?? "" });
      }
    }
    for (const { labels, value } of now.series.get("rollcall_room_events_total") ?? []) {
      if (labels.event === "unreported" && value > 0) {
        list.push({ name: "rollcall_room_events_total", labels, value, lately: gain(before, now, "rollcall_room_events_total", labels), help: "departures given up" });
      }
    }
    list.sort((a, b) => b.lately - a.lately || b.value - a.value);
    if (list.length === 0) return fill(place, h("p.fine", {}, "Nothing, since this node began."));
    fill(place, h("table.drops", {}, h("caption.unseen", {}, "Counters of what was dropped or went wrong on this node"),
      h("thead", {}, h("tr", {}, h("th", {}, "What"), h("th.num", {}, "Last minute"), h("th.num", {}, "In all"))),
      h("tbody", {}, ...list.map(drop))));
  };
}

function drop({ name, labels, value, lately, help }) {
  const reason = Object.values(labels).join(", ");
  return h("tr", {},
    h("th", { scope: "row", title: name }, reason ? h("b", {}, reason) : null, reason ? " " : null, help.replace(/\.$/, "")),
    h("td.num", { class: lately > 0 ? "num lately" : "num" }, count(lately)), h("td.num", {}, count(value)));
}
