// The live stream of events, latest first.

import { find, h, say } from "../dom.js";
import { clock, plural, words } from "../format.js";
import { chip } from "../nodes.js";
import { listen } from "../stream.js";

const kinds = ["online", "offline", "entered", "exited", "lost", "up", "down", "call_ended", "unreported"];

/** How many events are remembered, and shown at most; older ones go. */
const memory = 500;

/** eventsView follows the stream for as long as the page lives. */
export function eventsView() {
  const view = new Events();
  listen("/v1/events", {
    event: (e) => view.add(e),
    missed: () => view.add({ event: "gap", at: new Date().toISOString(), reason: "the stream was cut; events before this line may be missing" }),
    state: (state) => view.follow(state),
  });
}

class Events {
  constructor() {
    this.all = []; // latest first
    this.fresh = 0; // of them, not shown yet
    this.paused = false;
    this.wanted = new Set(kinds);
    this.text = "";
    this.drawing = false;
    this.state = "away";
    this.place = find("events");
    find("events-kinds").append(...kinds.map((kind) => this.toggle(kind)));
    find("events-pause").addEventListener("click", () => this.pause());
    find("events-clear").addEventListener("click", () => this.clear());
    find("events-filter").addEventListener("submit", (e) => e.preventDefault());
    find("events-text").addEventListener("input", (e) => {
      this.text = e.target.value.trim().toLowerCase();
      this.redraw();
    });
    this.note();
  }

  toggle(kind) {
    const box = h("input", { type: "checkbox", checked: true, onchange: () => {
      if (box.checked) this.wanted.add(kind);
      else this.wanted.delete(kind);
      this.redraw();
    } });
    return h("label.kind", { "data-kind": kind }, box, words(kind));
  }

  add(e) {
    this.all.unshift(e);
    if (this.all.length > memory) this.all.pop();
    this.fresh = Math.min(this.fresh + 1, memory);
    if (this.drawing) return;
    this.drawing = true;
    setTimeout(() => {
      this.drawing = false;
      if (!this.paused) this.draw();
      this.note();
    }, 100); // a busy cluster's events are drawn together
  }

  /** draw adds the lines of the events that are new. */
  draw() {
    const lines = this.all.slice(0, this.fresh).filter((e) => this.passes(e)).map(line);
    this.fresh = 0;
    this.place.prepend(...lines);
    while (this.place.children.length > memory) this.place.lastChild.remove();
  }

  redraw() {
    this.place.replaceChildren();
    this.fresh = this.all.length;
    this.draw();
    this.note();
  }

  passes(e) {
    if (e.event === "gap") return true;
    if (!this.wanted.has(e.event)) return false;
    return this.text === "" || [e.user_id, e.room_id, e.call_no, e.reason, e.node].some((v) => String(v ?? "").toLowerCase().includes(this.text));
  }

  pause() {
    this.paused = !this.paused;
    const button = find("events-pause");
    button.setAttribute("aria-pressed", this.paused);
    say(button, this.paused ? "Go on" : "Pause");
    if (!this.paused) this.draw();
    this.note();
  }

  clear() {
    this.all = [];
    this.redraw();
  }

  follow(state) {
    this.state = state;
    this.note();
  }

  note() {
    const state = this.state === "live" ? "live" : "not connected, trying again";
    say(find("events-note"), this.paused ? `paused, ${plural(this.fresh, "event")} waiting` : state);
    this.place.classList.toggle("none", this.place.children.length === 0);
  }
}

function line(e) {
  return h("li", { "data-kind": e.event },
    h("time", { datetime: e.at }, clock(e.at)),
    h("b", {}, words(e.event)),
    h("span", {}, ...subject(e)),
    e.node ? chip(e.node) : null);
}

function subject(e) {
  return [
    e.user_id ? h("a", { href: `#user=${e.user_id}` }, `user ${e.user_id}`) : null,
    e.room_id ? [" in ", h("a", { href: `#room=${e.room_id}` }, e.room_id)] : null,
    e.call_no ? ` in call ${e.call_no}` : null,
    e.seat ? ` seat ${e.seat}` : null,
    e.reason ? h("em", {}, ` ${words(e.reason)}`) : null,
  ].flat();
}
