// How one frame looks in a client's list.

import { h } from "../dom.js";
import { clock } from "../format.js";

const hidden = new Set(["action", "online_token", "sid", "timestamp", "sign", "sign_key"]);
const marks = { in: "↓", out: "↑", note: "·" };
const ways = { in: "heard", out: "said", note: "" };

/**
 * frameLine shows one entry of a client. nameOf gives a user's name. A departure
 * gets a button to report it, which report answers.
 */
export function frameLine({ way, frame, at }, nameOf, report) {
  if (way === "note") return h("li.note", {}, h("time", {}, clock(at)), h("span.mark", { "aria-hidden": "true" }, marks.note), h("span", {}, frame.text));
  const owed = way === "in" && (frame.action === "exit_room" || frame.action === "hang_up");
  const said = summary(frame, nameOf);
  return h("li", { "data-way": way, "data-action": frame.action, class: owed ? "owed" : null },
    h("time", {}, clock(at)), h("span.mark", { title: ways[way] }, marks[way]),
    h("details", {}, h("summary", {}, h("b", {}, frame.action), said ? h("span", {}, said) : null),
      h("pre", {}, JSON.stringify(frame, null, 1))),
    owed ? reportButton(frame, report) : null);
}

function reportButton(frame, report) {
  return h("button", { type: "button", "data-departure": frame.departure_id, onclick: () => report(frame) }, "Report");
}

/** settle marks a departure as reported, wherever it is shown. */
export function settle(departure) {
  for (const button of document.querySelectorAll(`button[data-departure="${CSS.escape(departure)}"]`)) {
    button.disabled = true;
    button.textContent = "reported";
  }
}

/** summary says in a line what a frame's fields are. */
function summary(frame, nameOf) {
  switch (frame.action) {
    case "create_token":
      return frame.error_code ? frame.error_reason : frame.current_room_id ? `you are in ${frame.current_room_id}` : "you are nowhere";
    case "exit_room":
      return `${nameOf(frame.user_id)} was lost${frame.room_seat ? `, from seat ${frame.room_seat.id}` : ""}`;
    case "hang_up":
      return frame.user_id ? `${nameOf(frame.user_id)} dropped out of call ${frame.channel_name}` : `call ${frame.room_id}`;
    case "enter_room":
      return frame.seq ? `${nameOf(frame.user_id)} came in` : `to ${frame.room_id}`;
    case "entered":
      return `${frame.room_id}, with ${frame.count} in it`;
    case "up":
    case "down":
      return `${frame.user_id ? `${nameOf(frame.user_id)}, ` : ""}seat ${frame.currenr_room_seat_id}`;
    case "send_topic_msg":
      return `${frame.nickname}: ${frame.content}`;
    case "send_gift":
      return `${frame.sender_nickname} → ${frame.receiver_nickname}: ${frame.gift.name}${frame.notify_type === "ptp" ? " (only to them)" : ""}`;
    case "presence":
      return presence(frame, nameOf);
    case "error":
      return `${frame.code}: ${frame.message}`;
    default:
      return rest(frame);
  }
}

function presence(frame, nameOf) {
  const came = (frame.in ?? []).map((o) => `+ ${o.nickname || o.user_id}`);
  const went = (frame.out ?? []).map((o) => `− ${nameOf(o.user_id)} (${o.reason})`);
  return [...came, ...went, `${frame.count} in the room`].join(", ");
}

function rest(frame) {
  return Object.entries(frame).filter(([name]) => !hidden.has(name)).map(([name, value]) => `${name} ${typeof value === "object" ? "…" : value}`).join(", ");
}
