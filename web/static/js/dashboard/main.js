// The dashboard: what is asked how often, and the verdict on it all.

import { Away, Refused, ask, call, read } from "../api.js";
import { fill, find, h, say, tell } from "../dom.js";
import { every } from "../poll.js";
import { checkView } from "./check.js";
import { clusterView } from "./cluster.js";
import { eventsView } from "./events.js";
import { figuresView } from "./figures.js";
import { findView } from "./find.js";
import { roomsView } from "./rooms.js";
import { verdict } from "./verdict.js";

const known = { away: null, refusal: "", cluster: null, ready: "", broken: [], store: false };

/** judge shows the verdict on what is known now. */
function judge() {
  const v = verdict(known);
  const place = find("verdict");
  tell(place, "data-level", v.level);
  say(place.querySelector("h2"), v.title);
  const list = place.querySelector("ul");
  if (list.textContent !== v.lines.join("")) fill(list, ...v.lines.map((l) => h("li", {}, l)));
  document.body.classList.toggle("stale", known.away !== null);
  document.title = v.level === "good" || v.level === "wait" ? "Rollcall" : `${v.title} – Rollcall`;
}

/** heard runs a job, and notes whether the node answered it. */
function heard(job) {
  return async () => {
    try {
      await job();
      known.away = null;
    } catch (err) {
      if (err instanceof Away) known.away ??= Date.now();
      else console.error(err);
    }
    judge();
  };
}

const showCluster = clusterView();
const sample = figuresView();
const check = checkView();

every(1000, heard(async () => {
  try {
    known.cluster = await ask("/v1/cluster");
    known.refusal = "";
  } catch (err) {
    if (!(err instanceof Refused)) throw err;
    known.refusal = err.message;
    return;
  }
  known.ready = JSON.parse(await read(await call("/readyz", { quiet: true }))).status;
  showCluster(known.cluster);
}));
every(2000, heard(async () => {
  const { store } = await sample();
  known.store = store;
}));
const checkNow = every(10000, heard(async () => {
  known.broken = await check();
}));
find("check-now").addEventListener("click", checkNow);
const listRooms = roomsView(() => listNow());
const listNow = every(5000, heard(listRooms));
eventsView();
findView();
