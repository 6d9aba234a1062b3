// Looking up a room or a user. What is looked up stands in the address after
// the #, so that a look-up can be linked to.

import { Refused, ask } from "../api.js";
import { fill, find, h } from "../dom.js";
import { clock, count, plural, when, words } from "../format.js";
import { chip } from "../nodes.js";
import { every } from "../poll.js";

/** findView looks up what the forms and the address ask for, again and again while it stands there. */
export function findView() {
  const look = every(5000, looker());
  const go = (kind, input) => (e) => {
    e.preventDefault();
    const to = `#${new URLSearchParams({ [kind]: input.value.trim() })}`;
    if (location.hash === to) look();
    else location.hash = to;
  };
  find("find-room").addEventListener("submit", go("room", find("room-id")));
  find("find-user").addEventListener("submit", go("user", find("user-id")));
  addEventListener("hashchange", look);
}

/** looker returns what looks once; it draws only what has changed, so that a list keeps its place. */
function looker() {
  let hash = "";
  let shown = "";
  return async () => {
    const { room, user } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    if (!room && !user) return;
    const [kind, id] = room ? ["room", room] : ["user", user];
    const isNew = hash !== location.hash;
    hash = location.hash;
    if (isNew) find(`${kind}-id`).value = id;
    const { answer, draw } = await answerFor(kind, id);
    const text = hash + JSON.stringify(answer);
    if (text === shown) return;
    shown = text;
    fill(find("found"), ...draw());
    if (isNew) reveal(find("found"));
  };
}

/** answerFor asks, and says how to draw the answer. */
async function answerFor(kind, id) {
  try {
    if (kind === "room") {
      const answer = await ask(`/v1/rooms/${encodeURIComponent(id)}`);
      return { answer, draw: () => room(id, answer) };
    }
    const path = `/v1/users/${encodeURIComponent(id)}`;
    const answer = await Promise.all([ask(path), ask(`${path}/timeline`)]);
    return { answer, draw: () => user(id, ...answer) };
  } catch (err) {
    const why = err instanceof Refused && err.status === 503 ? "It can't be known right now: " : "";
    return { answer: err.message, draw: () => [h("p.fault", {}, why + err.message)] };
  }
}

/** reveal scrolls to what was looked up by a link from elsewhere on the page. */
function reveal(place) {
  const { top, bottom } = place.getBoundingClientRect();
  if (top > innerHeight || bottom < 0) place.scrollIntoView({ block: "center" });
}

function room(id, r) {
  return [
    h("dl.facts", {},
      fact("Room", h("b", {}, id), r.channel_name ? ` (${r.channel_name})` : null),
      fact("Owner", chip(r.node)), fact("Occupants", count(r.count)),
      fact("Epoch", h("code", {}, r.epoch)), fact("Seq", count(r.seq)),
      r.durable === false ? fact("Store", h("span.state", { "data-level": "warn" }, "not durable yet")) : null),
    h("ol.chairs", { "aria-label": "Seats" }, ...r.seats.map(chair)),
    h("ul.roster", { "aria-label": "Roster" }, ...r.occupants.map(occupant)),
    r.next ? h("p.note", {}, `The first ${plural(r.occupants.length, "occupant")} of ${count(r.count)}.`) : null,
  ];
}

function chair(s) {
  const what = s.status === 0 ? "closed" : s.user_id ? `user ${s.user_id}` : "free";
  return h("li", { class: s.status === 0 ? "closed" : s.user_id ? "taken" : null, title: `seat ${s.id}: ${what}${s.microphone ? "" : ", microphone off"}` },
    h("small", {}, s.id), s.user_id ? h("a", { href: `#user=${s.user_id}` }, s.user_id) : what, s.microphone ? null : h("small", {}, "muted"));
}

function occupant(o) {
  return h("li", {}, h("a", { href: `#user=${o.user_id}` }, o.nickname || `user ${o.user_id}`), o.nickname ? h("small", {}, ` ${o.user_id}`) : null,
    o.role === "host" ? h("small.tag", {}, "host") : null, o.seat ? h("small.tag", {}, `seat ${o.seat}`) : null,
    o.online ? null : h("small.tag", { "data-level": "warn" }, "no connection"), h("small.ago", {}, `since ${when(o.since)}`));
}

function user(id, u, t) {
  return [
    h("dl.facts", {},
      fact("User", h("b", {}, id)),
      fact("State", h("span.state", { "data-level": u.online ? "good" : "off" }, u.online ? "online" : "offline"), u.since ? ` since ${when(u.since)}` : null),
      u.node ? fact("Node", chip(u.node)) : null,
      fact("Room", u.current_room_id ? h("a", { href: `#room=${u.current_room_id}` }, u.current_room_id) : "none", u.seat ? `, seat ${u.seat}` : null),
      fact("Call", u.call_no || "none")),
    t.removal ? h("p.why", {}, "Last removal: ", h("b", {}, words(t.removal.reason)), ` from ${t.removal.room_id || `call ${t.removal.call_no}`} `, chip(t.removal.node), h("small", {}, ` at ${when(t.removal.at)}`)) : null,
    h("ol.timeline", { "aria-label": `What ${t.node || "no node"} remembers` }, ...t.events.map(moment)),
    h("p.note", {}, t.events.length > 0 ? `as ${t.node} remembers it` : "No node remembers anything of this user."),
  ];
}

function moment(e) {
  return h("li", {}, h("time", { datetime: e.at, title: new Date(e.at).toLocaleString() }, clock(e.at)), h("b", {}, words(e.event)),
    h("span", {}, e.room_id ? `in ${e.room_id} ` : e.call_no ? `in call ${e.call_no} ` : null, e.reason ? h("em", {}, words(e.reason)) : null), h("small", {}, `#${e.conn}`));
}

function fact(name, ...values) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, ...values));
}
