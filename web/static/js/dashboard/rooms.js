// The rooms of all nodes, a page at a time.

import { Away, Refused, ask } from "../api.js";
import { fill, find, h, say } from "../dom.js";
import { count, plural } from "../format.js";
import { chip } from "../nodes.js";

const pageSize = 12;

/** roomsView shows a page of the list; each call asks for it anew. */
export function roomsView(again) {
  const pages = [""]; // what each page so far comes after
  const turn = (to) => () => {
    if (to === null) pages.pop();
    else pages.push(to);
    again();
  };
  return async () => {
    try {
      const list = await ask(`/v1/rooms?limit=${pageSize}&after=${encodeURIComponent(pages.at(-1))}`);
      say(find("rooms-note"), pages.length > 1 || list.next ? `page ${pages.length}` : plural(list.rooms.length, "room"));
      fill(find("rooms"), ...page(list, pages.length > 1, turn));
    } catch (err) {
      if (err instanceof Away) throw err;
      if (!(err instanceof Refused)) throw err;
      fill(find("rooms"), h("p.fault", {}, err.status === 503 ? `It can't be known right now: ${err.message}` : err.message));
    }
  };
}

function page(list, back, turn) {
  if (list.rooms.length === 0) return [h("p.fine", {}, "No room is in use."), back ? h("button", { type: "button", onclick: turn(null) }, "Back") : null];
  return [
    h("table.rooms", {}, h("caption.unseen", {}, "Rooms in use"),
      h("thead", {}, h("tr", {}, h("th", {}, "Room"), h("th", {}, "Owner"), h("th.num", {}, "Occupants"))),
      h("tbody", {}, ...list.rooms.map((r) => h("tr", {},
        h("th", { scope: "row" }, h("a", { href: `#room=${r.room_id}` }, r.room_id)), h("td", {}, chip(r.node)), h("td.num", {}, count(r.count)))))),
    back || list.next ? h("p.pager", {},
      h("button", { type: "button", disabled: !back, onclick: turn(null) }, "Back"),
      h("button", { type: "button", disabled: !list.next, onclick: turn(list.next) }, "More")) : null,
  ];
}
