// The demo room: several clients in one page, each a websocket of its own, and
// the room as its owner has it.

import { Away, ask, call } from "../api.js";
import { fill, find, h, say, tell } from "../dom.js";
import { learn } from "../nodes.js";
import { every } from "../poll.js";
import { card } from "./card.js";
import { Client } from "./client.js";
import { settle } from "./frames.js";
import { stageView } from "./stage.js";
import { talkView } from "./talk.js";

const names = ["Ann", "Bo", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "June", "Kim", "Lea", "Max", "Nia", "Oto", "Pia"];

/** How many clients one page may play. */
const most = 16;

const cards = new Map(); // Client → its card
const nicknames = new Map(); // of all users that this page has heard of
let cluster = null;
let room = null;

const stage = {
  room: () => find("room-id").value.trim() || "demo",
  seatOf: (user) => room?.seats.find((s) => s.user_id === user)?.id ?? 0,
  freeSeat: () => room?.seats.find((s) => s.status === 1 && !s.user_id)?.id ?? 1,
  others: (client) => [...cards.keys()].filter((c) => c !== client),
  nameOf: (user) => nicknames.get(user) ?? `user ${user}`,
  nodeOf: (address) => cluster?.members.find((m) => m.end_point === address)?.node ?? "",
  remove(client) {
    client.kill();
    cards.get(client).element.remove();
    cards.delete(client);
    changed();
  },
};

const talk = talkView(stage.nameOf);

/**
 * dial chooses where a client connects: where it was told to, else the room's
 * owner, else anywhere. While this page's node is away it goes by what it knew
 * before: any other node will do.
 */
async function dial(client, through) {
  const [seen, owner] = await Promise.all([
    ask("/v1/cluster").catch(() => null),
    ask(`/v1/rooms/${encodeURIComponent(client.room || stage.room())}`).then((r) => r.node, () => ""), // an empty room has none yet
  ]);
  cluster = seen ?? cluster;
  const able = (cluster?.members ?? []).filter((m) => m.state === "serving" && (seen || m.node !== cluster.node));
  const place = able.find((m) => m.node === through) ?? able.find((m) => m.node === owner) ?? able[Math.floor(Math.random() * able.length)];
  if (!place) throw new Error("no node serves");
  return place.end_point;
}

/** remember keeps a name to show for a user; over the bound it forgets them all, and learns again. */
function remember(user, nickname) {
  if (nicknames.size >= 5000) nicknames.clear();
  nicknames.set(user, nickname);
}

function add({ user, nickname, host, through }) {
  if (cards.size >= most || [...cards.keys()].some((c) => c.user === user)) return null;
  const client = new Client({ user, nickname, host, dial: (c) => dial(c, through) });
  remember(user, nickname);
  const shown = card(client, stage);
  cards.set(client, shown);
  find("clients").append(shown.element);
  let entered = false;
  client.addEventListener("change", () => {
    if (client.phase !== "connected" || entered) return;
    entered = true; // the first time it enters by itself
    if (!client.room) client.enter(stage.room());
  });
  client.addEventListener("frame", (e) => {
    soon();
    const { way, frame } = e.detail;
    if (frame.user_id && frame.nickname) remember(frame.user_id, frame.nickname);
    if (way === "out" && frame.departure_id) settle(frame.departure_id);
    if (way === "in") talk.hear(stage.room(), frame);
    if (find("auto").checked && way === "in" && (frame.action === "exit_room" || frame.action === "hang_up")) client.report(frame);
  });
  client.connect();
  changed();
  return client;
}

/** changed brings all cards and the form up to date with who plays. */
function changed() {
  find("empty").hidden = cards.size > 0;
  const full = cards.size >= most;
  for (const b of find("setup").querySelectorAll("button")) b.disabled = full || !playable;
  for (const c of cards.values()) c.update();
}

/** next puts the following name and number into the form. */
function next() {
  const taken = [...cards.keys()];
  find("nickname").value = names.find((n) => !taken.some((c) => c.nickname === n)) ?? `Guest ${taken.length + 1}`;
  find("user-id").value = Math.max(first, ...taken.map((c) => c.user + 1));
  find("host").checked = taken.length === 0;
}

// Two people who play at once should not be the same users.
const first = 1000 + 100 * Math.floor(Math.random() * 900);
let playable = true;

function fromForm() {
  const user = Number(find("user-id").value);
  const added = add({ user, nickname: find("nickname").value.trim(), host: find("host").checked, through: find("through").value });
  tell(find("user-id"), "aria-invalid", added ? null : "true");
  if (added) next();
}

/** refresh asks the room's owner what the room is like. */
const look = stageView(stage.room, (seat) => {
  const sitter = [...cards.keys()].find((c) => c.room === stage.room() && c.phase === "connected" && !stage.seatOf(c.user));
  sitter?.up(seat);
});

async function refresh() {
  try {
    room = await look();
    for (const o of room?.occupants ?? []) if (o.nickname) remember(o.user_id, o.nickname);
    cluster = await ask("/v1/cluster");
    learn(cluster.members.map((m) => m.node));
    offer(cluster.members.filter((m) => m.state === "serving"));
    fill(find("here"), h("span", {}, `${cards.size} playing`));
    tellState(cluster.members);
  } catch (err) {
    if (!(err instanceof Away)) console.error(err);
    warn("The node that serves this page does not answer", "The clients below have connections of their own and go on; a dead node's come back to another one. Open this page at another node's admin address to see the room again.");
  }
  changed();
}

/** offer lists the nodes that one can connect through. */
function offer(members) {
  const select = find("through");
  if ([...select.options].slice(1).map((o) => o.value).join() === members.map((m) => m.node).join()) return;
  const chosen = select.value;
  select.replaceChildren(select.options[0], ...members.map((m) => h("option", { value: m.node, selected: m.node === chosen }, m.node)));
}

/** tellState says what keeps the room from being as it should, if anything does. */
function tellState(members) {
  if (!playable) return;
  if (members.some((m) => m.state === "without_redis")) {
    warn("Redis is away", "Connections stay up. A room goes on while all its occupants are at its owner; in others nothing changes until Redis is back, and who is lost meanwhile is told then.", "warn");
  } else {
    warn("");
  }
}

function warn(title, text = "", level = "bad") {
  const place = find("notice");
  place.hidden = title === "";
  tell(place, "data-level", level);
  say(place.querySelector("h2"), title);
  say(place.querySelector("p"), text);
}

let waiting = 0;
/** soon refreshes once after a burst of frames. */
function soon() {
  clearTimeout(waiting);
  waiting = setTimeout(again, 80);
}

async function begin() {
  const health = await call("/healthz", { quiet: true }).then((a) => a.json(), () => ({}));
  if (health.sid_auth === undefined || health.sid_auth === "dev") return;
  playable = false;
  warn("This cluster takes real sids only", `It runs with --sid-auth ${health.sid_auth}. The demo makes up its users, which needs a development cluster: rollcall dev.`, "warn");
  changed();
}

find("setup").addEventListener("submit", (e) => {
  e.preventDefault();
  fromForm();
});
find("three").addEventListener("click", () => {
  for (let i = 0; i < 3; i++) fromForm();
});
find("room-id").addEventListener("input", () => {
  talk.clear();
  soon();
});
new Worker("/static/js/demo/ticker.js").addEventListener("message", () => {
  for (const client of cards.keys()) client.tick();
});
next();
const again = every(1500, refresh);
begin();
