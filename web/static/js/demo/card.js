// One client's card: who it is, what it can do, and what it hears.

import { h, say, tell } from "../dom.js";
import { learn, paint } from "../nodes.js";
import { face } from "./face.js";
import { frameLine } from "./frames.js";

/** How many frames a card shows; older ones go. */
const memory = 80;

const levels = { connected: "good", connecting: "warn", idle: "off", closed: "bad" };

/**
 * card shows a client and lets the reader play it. stage has what the client
 * can't know: room() is the room of the form, seatOf(user) and freeSeat() what
 * the room's owner last said, others(client) the clients one can give or call,
 * nameOf(user) a user's name, nodeOf(address) a node's, and remove(client).
 */
export function card(client, stage) {
  const state = h("span.state");
  const node = h("span.node");
  const where = h("span.note");
  const list = h("ol.frames", { tabindex: "0", "aria-label": `Frames of ${client.nickname}` });
  const buttons = actions(client, stage);
  const kill = h("button.harsh", { type: "button", title: "drop the connection without a word", onclick: () => (client.phase === "closed" && client.why !== "comes back" ? client.connect() : client.kill()) });
  const hush = h("button", { type: "button", title: "keep the socket, send no heartbeats", onclick: () => client.hush(!client.silent) });
  const element = h("article.card.client", { "aria-label": client.nickname },
    h("header", {}, face(client.user, client.nickname),
      h("div.name", {}, h("h2", {}, client.nickname, h("small", {}, ` ${client.user}`), client.host ? h("small.tag", {}, "host") : null), h("p", {}, state, node), h("p", {}, where)),
      h("button.close", { type: "button", "aria-label": `Remove ${client.nickname}`, title: "remove", onclick: () => stage.remove(client) }, "×")),
    buttons.element,
    h("div.row.risky", {}, hush, kill),
    list);

  client.addEventListener("frame", (e) => {
    list.prepend(frameLine(e.detail, stage.nameOf, (frame) => client.report(frame)));
    if (list.children.length > memory) list.lastChild.remove();
  });
  const update = () => {
    const up = client.phase === "connected";
    say(state, up && client.silent ? "silent" : client.phase === "closed" && client.why ? client.why : client.phase);
    tell(state, "data-level", up && client.silent ? "warn" : client.why === "comes back" ? "warn" : levels[client.phase]);
    const name = up ? stage.nodeOf(client.address) : "";
    node.hidden = !name;
    say(node, name);
    if (name) {
      learn([name]);
      paint(node, name);
    }
    const seat = stage.seatOf(client.user);
    say(where, [client.room ? `${up ? "in" : "was in"} ${client.room}${seat ? `, seat ${seat}` : ""}` : "in no room", client.call ? `call ${client.call}` : ""].filter(Boolean).join(", "));
    say(kill, client.phase === "closed" && client.why !== "comes back" ? "Connect" : "Kill connection");
    say(hush, client.silent ? "Speak again" : "Go silent");
    hush.disabled = !up;
    element.classList.toggle("down", !up);
    buttons.update();
  };
  client.addEventListener("change", update);
  update();
  return { element, update };
}

/** actions are the things that a client can do in its room. */
function actions(client, stage) {
  const button = (text, act) => h("button", { type: "button", onclick: act }, text);
  const enter = button("Enter", () => (client.room ? client.exit() : client.enter(stage.room())));
  const sit = button("Take a seat", () => {
    const seat = stage.seatOf(client.user);
    if (seat) client.down(seat);
    else client.up(stage.freeSeat());
  });
  const gift = button("Gift", () => client.give(receiver(), true));
  const quiet = button("Private gift", () => client.give(receiver(), false));
  const call = button("Call", () => {
    if (!client.call) return client.ring(receiver(), `c${Date.now() % 1e6}`);
    for (const other of stage.others(client)) if (other.call === client.call) other.joined("");
    client.hangUp();
    client.joined("");
  });
  const to = h("select", { "aria-label": `${client.nickname} gives to, or calls` });
  const line = h("input", { placeholder: "say something", "aria-label": `${client.nickname} says`, maxlength: "300", autocomplete: "off" });
  const talk = h("form.row", { onsubmit: (e) => {
    e.preventDefault();
    if (line.value.trim()) client.talk(line.value.trim());
    line.value = "";
  } }, line, h("button", {}, "Say"));
  const receiver = () => stage.others(client).find((c) => String(c.user) === to.value);
  const update = () => {
    const up = client.phase === "connected";
    const others = stage.others(client);
    if ([...to.options].map((o) => o.value).join() !== others.map((c) => c.user).join()) {
      const chosen = to.value;
      to.replaceChildren(...others.map((c) => h("option", { value: c.user, selected: String(c.user) === chosen }, c.nickname)));
    }
    const seat = stage.seatOf(client.user);
    say(enter, client.room ? "Exit" : `Enter ${stage.room()}`);
    say(sit, seat ? `Leave seat ${seat}` : "Take a seat");
    say(call, client.call ? "Hang up" : "Call");
    enter.disabled = !up;
    sit.disabled = !up || !client.room;
    for (const b of [gift, quiet]) b.disabled = !up || !client.room || others.length === 0;
    call.disabled = !up || (!client.call && others.length === 0);
    for (const control of talk.elements) control.disabled = !up || !client.room;
    to.disabled = others.length === 0;
  };
  return { element: h("div.acts", {}, h("div.row", {}, enter, sit), talk, h("div.row", {}, to, gift, quiet, call)), update };
}
