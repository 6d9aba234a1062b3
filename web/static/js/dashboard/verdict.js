// What an operator wants to know first, in one sentence: is all well, and if
// not, what is wrong and what does it mean?

import { age, plural } from "../format.js";

/**
 * verdict judges what is known of the cluster:
 * - away: since when this node has not answered, null if it does
 * - refusal: why it does not say what it knows of the cluster, "" if it does
 * - cluster: the answer of /v1/cluster, or null
 * - ready: the word of /readyz
 * - broken: what /debug/check found
 * - store: true while this node's store is away
 *
 * It returns {level, title, lines}; level is good, warn, bad or wait.
 */
export function verdict({ away, refusal, cluster, ready, broken, store }) {
  if (away) {
    return {
      level: "bad", title: "This node does not answer",
      lines: [`No answer for ${age(away)}. What stands below is older than that. Other nodes have a dashboard at their own admin address.`],
    };
  }
  if (refusal) return { level: "bad", title: "This node does not tell", lines: [refusal] };
  if (!cluster) return { level: "wait", title: "Asking this node…", lines: [] };
  const bad = [];
  const warn = [];
  for (const m of cluster.members) judgeMember(m, bad, warn);
  const without = cluster.members.filter((m) => m.state === "without_redis" || (store && m.node === cluster.node)).map((m) => m.node);
  if (without.length > 0) warn.push(withoutRedis(without));
  if (!cluster.agreed) warn.push("Rings differ: not every member that serves computes the same owners. They converge as soon as gossip has reached all.");
  if (ready !== "ready" && ready !== "") warn.push(`${cluster.node} is not ready for clients: ${ready}.`);
  if (broken.length > 0) bad.push(`${plural(broken.length, "invariant is", "invariants are")} broken; see below.`);
  if (bad.length + warn.length === 0) return { level: "good", title: allWell(cluster), lines: [] };
  return { level: bad.length > 0 ? "bad" : "warn", title: headline(cluster, without.length > 0, bad), lines: [...bad, ...warn] };
}

function judgeMember(m, bad, warn) {
  switch (m.state) {
    case "failed":
      bad.push(`${m.node} has been gone for ${age(Date.parse(m.since))}. Its rooms are taken over; its users are out after the grace, unless they come back elsewhere.`);
      break;
    case "suspect":
      warn.push(`${m.node} does not answer the others. If it stays silent it is declared gone.`);
      break;
    case "draining":
      warn.push(`${m.node} is draining: its rooms and clients move to the others, and nobody is expelled.`);
      break;
  }
}

function withoutRedis(nodes) {
  return `${nodes.join(", ")} ${nodes.length === 1 ? "is" : "are"} without Redis. Connections stay up, and rooms go on whose occupants are all at their owner: what they change is told, but not durable yet. What can't be known is answered with 503.`;
}

function headline(cluster, without, bad) {
  const gone = cluster.members.filter((m) => m.state === "failed");
  const parts = [];
  if (gone.length === 1) parts.push(`${gone[0].node} is gone`);
  if (gone.length > 1) parts.push(`${gone.length} nodes are gone`);
  if (without) parts.push("Redis is away");
  if (parts.length > 0) return parts.join(", ");
  return bad.length > 0 ? "Something is broken" : "Something to know";
}

function allWell(cluster) {
  const serving = cluster.members.filter((m) => m.state === "serving").length;
  return serving === 1 ? "One node serves, and all is well" : `${plural(serving, "node")} serve, and all agree`;
}
