// The members, and how the ring shares the partitions among them.

import { fill, find, h, rows, say, tell } from "../dom.js";
import { age, count, plural, words } from "../format.js";
import { learn, paint } from "../nodes.js";

const levels = { serving: "good", draining: "warn", suspect: "warn", without_redis: "warn", failed: "bad", left: "off" };

/** clusterView shows answers of /v1/cluster. */
export function clusterView() {
  const members = rows(find("members").tBodies[0], memberRow);
  const shares = rows(find("shares"), shareBar);
  return (cluster) => {
    learn(cluster.members.map((m) => m.node));
    const most = Math.max(1, ...cluster.members.map((m) => m.connections));
    members(cluster.members.map((m) => ({ ...m, most, here: m.node === cluster.node, agrees: m.digest === cluster.digest, all: cluster.partitions })), (m) => m.node);
    shares(cluster.members.filter((m) => m.partitions > 0), (m) => m.node);
    say(find("members-note"), `${plural(cluster.partitions, "partition")}, ring ${cluster.digest}`);
    fill(find("here"), h("span", {}, "seen from "), paint(h("span.node", {}, cluster.node), cluster.node));
  };
}

/** shareBar is one node's part of the strip that shows the whole ring. */
function shareBar(first) {
  const node = paint(h("span"), first.node);
  return {
    node,
    update(m) {
      node.style.flexGrow = m.partitions;
      tell(node, "title", `${m.node}: ${plural(m.partitions, "partition")}`);
      say(node, m.node);
    },
  };
}

function memberRow(first) {
  const name = paint(h("span.node", {}, first.node), first.node);
  const here = h("small.here-mark", { title: "the node that shows this page" }, "this node");
  const state = h("span.state");
  const partitions = h("span");
  const connections = h("span");
  const bar = paint(h("i.bar", { "aria-hidden": "true" }), first.node);
  const ring = h("span.state");
  const since = h("time");
  const address = h("code");
  const cell = (label, ...children) => h("td", { "data-label": label }, ...children);
  const node = h("tr", {},
    h("th", { scope: "row" }, name, here), cell("State", state), cell("Partitions", partitions), cell("Connections", bar, connections),
    cell("Ring", ring), cell("Clients connect to", address), cell("Since", since));
  node.children[2].classList.add("num");
  node.children[3].classList.add("num");
  return {
    node,
    update(m) {
      here.hidden = !m.here;
      say(state, words(m.state));
      tell(state, "data-level", levels[m.state] ?? "warn");
      say(partitions, count(m.partitions));
      tell(partitions, "title", `${((100 * m.partitions) / m.all).toFixed(1)} % of ${count(m.all)}`);
      say(connections, count(m.connections));
      bar.style.width = `${(64 * m.connections) / m.most}px`;
      const inRing = m.state !== "failed" && m.state !== "left";
      say(ring, !inRing ? "–" : m.agrees ? "agrees" : "differs");
      tell(ring, "data-level", !inRing ? "off" : m.agrees ? "good" : "warn");
      tell(ring, "title", m.digest);
      say(address, m.end_point);
      say(since, m.since ? age(Date.parse(m.since)) : "");
      tell(since, "title", m.since ? `${m.incarnation}, ${words(m.state)} since ${new Date(m.since).toLocaleString()}` : m.incarnation);
      node.classList.toggle("gone", !inRing);
    },
  };
}
