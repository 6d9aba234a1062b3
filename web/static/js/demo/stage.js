// The room as its owner has it: who sits where, who listens.

import { Refused, ask } from "../api.js";
import { fill, find, h, say, tell } from "../dom.js";
import { count } from "../format.js";
import { chip } from "../nodes.js";
import { face } from "./face.js";

/**
 * stageView shows the room that roomOf names. Each call asks its owner anew and
 * returns the room as it was last known, null if nobody is in it. take is
 * called with the number of a free seat that the reader clicks.
 */
export function stageView(roomOf, take) {
  let shown = "";
  let known = { id: "", room: null };
  return async () => {
    const id = roomOf();
    let room = null;
    try {
      room = await ask(`/v1/rooms/${encodeURIComponent(id)}`);
    } catch (err) {
      if (!(err instanceof Refused)) throw err;
      if (err.code !== "room_not_found") {
        shown = "";
        fill(find("facts"), h("span.state", { "data-level": "warn" }, `can't be known right now: ${err.message}`));
        return known.id === id ? known.room : null;
      }
    }
    const text = JSON.stringify([id, room]);
    if (text !== shown) draw(id, room, formerOwner(known, id, room), take); // what did not change keeps its focus
    shown = text;
    known = { id, room };
    return room;
  };
}

/** formerOwner names the node that a room has just moved from, "" if it has not. */
function formerOwner(known, id, room) {
  return room && known.room && known.id === id && known.room.node !== room.node ? known.room.node : "";
}

function draw(id, room, moved, take) {
  say(find("stage-title"), id);
  if (!room) {
    fill(find("facts"), "empty: the first to enter opens it");
    fill(find("seats"), ...Array.from({ length: 8 }, (_, i) => seat({ id: i + 1, status: 1, microphone: true, user_id: 0 }, null, null)));
    fill(find("audience"), "");
    return;
  }
  fill(find("facts"),
    h("span", {}, "owned by ", chip(room.node), moved ? ` (moved from ${moved})` : null),
    h("span", {}, "epoch ", h("code", {}, room.epoch)), h("span", {}, "seq ", h("code", {}, room.seq)),
    h("span", {}, `${count(room.count)} in the room`),
    room.durable === false ? h("span.state", { "data-level": "warn" }, "not durable: Redis is away") : null);
  const who = new Map(room.occupants.map((o) => [o.user_id, o]));
  fill(find("seats"), ...room.seats.map((s) => seat(s, who.get(s.user_id), take)));
  const audience = room.occupants.filter((o) => !o.seat);
  fill(find("audience"), ...audience.map((o) => h("span.person", { class: o.online ? "person" : "person away", title: o.online ? null : "no connection" }, face(o.user_id, o.nickname), o.nickname || o.user_id, o.role === "host" ? h("small.tag", {}, "host") : null)),
    room.count > room.occupants.length ? h("small", {}, ` and ${count(room.count - room.occupants.length)} more`) : null);
}

function seat(s, occupant, take) {
  const label = occupant ? occupant.nickname || String(s.user_id) : s.status === 0 ? "closed" : "free";
  const node = h("li", { class: occupant ? "taken" : null },
    h("button", { type: "button", disabled: Boolean(occupant) || s.status === 0 || !take, "aria-label": `Seat ${s.id}: ${label}`, onclick: () => take(s.id) },
      occupant ? face(s.user_id, occupant.nickname) : h("span.chair", {}, s.id)),
    h("span", {}, label), s.microphone ? null : h("small", {}, "muted"));
  tell(node, "data-away", occupant && !occupant.online ? "true" : null);
  return node;
}
