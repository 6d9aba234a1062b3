// What was said and done in the room, once each, however many clients of this
// page have heard it.

import { find, h } from "../dom.js";
import { face } from "./face.js";

/** How many lines are shown; older ones go. */
const memory = 60;

/**
 * talkView returns {hear, clear}: hear takes each frame that a client hears.
 * nameOf gives a user's name.
 */
export function talkView(nameOf) {
  const place = find("talk");
  const heard = new Set();
  return {
    hear(room, frame) {
      if (String(frame.room_id) !== room) return;
      const key = frame.seq ? `${frame.epoch}-${frame.seq}` : frame.action === "presence" ? `${frame.epoch}-p${frame.rev}` : "";
      if (!key || heard.has(key)) return;
      heard.add(key);
      const lines = said(frame, nameOf);
      const low = place.scrollHeight - place.scrollTop - place.clientHeight < 40;
      place.append(...lines);
      while (place.children.length > memory) place.firstChild.remove();
      if (heard.size > 4 * memory) heard.delete(heard.values().next().value);
      if (low) place.scrollTop = place.scrollHeight;
    },
    clear() {
      heard.clear();
      place.replaceChildren();
    },
  };
}

/** said turns a frame into lines; presence tells only of those who were lost. */
function said(frame, nameOf) {
  switch (frame.action) {
    case "send_topic_msg":
      return [line(frame.user_id, frame.nickname, h("b", {}, frame.nickname), h("span", {}, frame.content))];
    case "send_gift":
      return [line(frame.sender_id, frame.sender_nickname, h("b", {}, frame.sender_nickname), h("i", {}, `gives ${frame.receiver_nickname} a ${frame.gift.name}`))];
    case "enter_room":
      return [line(frame.user_id, frame.nickname, h("b", {}, frame.nickname), h("i", {}, "came in"))];
    case "up":
      return [line(frame.user_id, frame.nickname, h("b", {}, frame.nickname), h("i", {}, `took seat ${frame.currenr_room_seat_id}`))];
    case "presence":
      return (frame.out ?? []).filter((o) => o.reason !== "exited").map((o) => line(o.user_id, nameOf(o.user_id), h("b", {}, nameOf(o.user_id)), h("i.lost", {}, `was lost: ${o.reason}`)));
    default:
      return [];
  }
}

function line(user, nickname, ...words) {
  return h("li", {}, face(user, nickname), h("p", {}, ...words));
}
