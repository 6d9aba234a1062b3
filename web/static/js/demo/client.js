// One client of the demo: a websocket of its own that keeps the protocol, as a
// phone would. It knows nothing of the page; who shows it listens to its events.

import { hmac } from "./sign.js";

/** How many frames a client remembers; older ones go. */
const memory = 200;

/** Closes after which a client stays away; see docs/protocol.md. */
const final = new Set([4001, 4003, 4004, 4006]);

const firstPause = 400;
const longestPause = 5000;

/**
 * Client is one person with one connection. Events: "change" when its state is
 * another, "frame" with detail {way, frame} for what it hears ("in"), says
 * ("out"), and what happens to its connection ("note").
 *
 * - phase: idle, connecting, connected, closed (for good, or until connect)
 * - room, call: where it is, by its own knowledge; "" for nowhere
 * - silent: it sends no heartbeats
 */
export class Client extends EventTarget {
  #dial;
  #socket = null;
  #token = "";
  #signKey = "";
  #pingEvery = 15;
  #ticks = 0;
  #failures = 0;
  #retryAfter = 0;
  #timer = 0;
  #sending = Promise.resolve();
  #seen = null; // the last {room, epoch, seq} heard

  /** dial returns the websocket address to connect to, and may take its time. */
  constructor({ user, nickname, host, dial }) {
    super();
    this.#dial = dial;
    this.user = user;
    this.nickname = nickname;
    this.host = host;
    this.phase = "idle";
    this.why = "";
    this.address = "";
    this.room = "";
    this.call = "";
    this.silent = false;
    this.frames = [];
  }

  /** connect opens a connection, unless there is one. It comes back by itself when the server closes it. */
  async connect() {
    if (this.#socket || this.phase === "connecting") return;
    clearTimeout(this.#timer);
    this.#become("connecting", "");
    try {
      this.address = await this.#dial(this);
    } catch (err) {
      this.#note(`no address: ${err.message}`);
      this.#again();
      return;
    }
    if (this.phase !== "connecting") return; // killed meanwhile
    const url = new URL(this.address);
    url.searchParams.set("sid", this.sid);
    url.searchParams.set("v", "2");
    if (this.room) url.searchParams.set("room_id", this.room);
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.silent = false;
    socket.onmessage = (e) => {
      if (this.#socket === socket) this.#hear(JSON.parse(e.data));
    };
    socket.onclose = (e) => {
      if (this.#socket === socket) this.#lost(e);
    };
  }

  /** sid is what development clusters take at its word. */
  get sid() {
    return `${this.user}sdemo`;
  }

  /** kill drops the connection without a word of leaving, and stays away until connect. */
  kill() {
    const socket = this.#socket;
    this.#socket = null;
    clearTimeout(this.#timer);
    if (socket) {
      socket.close();
      this.#note("connection killed");
    }
    this.#become("closed", "killed here");
  }

  /** tick is called once a second, and sends the heartbeat when it is time. */
  tick() {
    this.#ticks++;
    if (this.phase === "connected" && !this.silent && this.#ticks >= this.#pingEvery) {
      this.#ticks = 0;
      this.send("ping");
    }
  }

  /** hush stops the heartbeats, or has them go on. */
  hush(silent) {
    this.silent = silent;
    this.#note(silent ? "sends no heartbeats any more" : "sends heartbeats again");
    if (!silent) {
      this.#ticks = 0;
      this.send("ping");
    }
  }

  enter(room) {
    this.send("enter_room", { room_id: room, nickname: this.nickname, sex: this.user % 2, avatar_url: "", avatar_small_url: "", role: this.host ? "host" : "audience" });
  }

  exit() {
    this.send("exit_room", { room_id: this.room });
    this.#place("");
  }

  up(seat) {
    this.send("up", { room_id: this.room, currenr_room_seat_id: seat });
  }

  down(seat) {
    this.send("down", { room_id: this.room, currenr_room_seat_id: seat });
  }

  talk(content) {
    this.send("send_topic_msg", { room_id: this.room, nickname: this.nickname, sex: this.user % 2, avatar_url: "", avatar_small_url: "", content, channel_name: this.room });
  }

  /** give sends a gift to one occupant; loud lets the whole room hear of it. */
  give(receiver, loud) {
    this.send("send_gift", {
      room_id: this.room, sender_id: this.user, sender_nickname: this.nickname, receiver_id: receiver.user, receiver_nickname: receiver.nickname,
      notify_type: loud ? "bc" : "ptp", channel_name: this.room, gift: { id: 5, name: "rose", num: 1 },
    });
  }

  /** ring starts a call with another user, who is in it from now on. */
  ring(receiver, call) {
    this.send("call", { room_id: call, receiver_id: receiver.user });
    this.joined(call);
    receiver.joined(call);
  }

  hangUp() {
    this.send("hang_up", { room_id: this.call });
  }

  /** joined notes the call that this client is in, "" for none. */
  joined(call) {
    this.call = call;
    this.#changed();
  }

  /** report answers an exit_room or a hang_up: the others have been told. */
  report(frame) {
    this.send(`${frame.action}_report`, { user_id: frame.user_id, departure_id: frame.departure_id });
  }

  /** send signs a frame and sends it, after those before it. Without a connection it is dropped. */
  send(action, fields = {}) {
    const frame = { action, ...fields, online_token: this.#token, sid: this.sid, timestamp: Math.floor(Date.now() / 1000), sign: "" };
    const socket = this.#socket;
    const key = this.#signKey;
    this.#sending = this.#sending.then(async () => {
      if (key) frame.sign = await hmac(frame, key);
      if (!socket || socket !== this.#socket || socket.readyState !== WebSocket.OPEN) return;
      socket.send(JSON.stringify(frame));
      this.#record("out", frame);
    });
  }

  #hear(frame) {
    this.#record("in", frame);
    switch (frame.action) {
      case "create_token":
        this.#welcome(frame);
        break;
      case "entered":
      case "resync":
        this.#place(String(frame.room_id));
        this.#seen = { room: String(frame.room_id), epoch: frame.epoch, seq: frame.seq };
        break;
      case "synced":
        this.#seen = { room: String(frame.room_id), epoch: frame.epoch, seq: frame.seq };
        break;
      case "drain":
        this.#retryAfter = frame.retry_after ?? 0;
        break;
      case "hang_up":
        if (frame.channel_name === this.call) this.joined("");
        break;
      default:
        this.#follow(frame);
    }
  }

  /** welcome takes the server's first frame, which also says where this user still is. */
  #welcome(frame) {
    if (frame.error_code) return; // the close that follows says why
    this.#token = frame.online_token;
    this.#signKey = frame.sign_key ?? "";
    this.#pingEvery = frame.ping_interval ?? 15;
    this.#ticks = 0;
    this.#failures = 0;
    this.#become("connected", "");
    if (frame.current_room_id !== undefined) this.#place(frame.current_room_id === 0 ? "" : String(frame.current_room_id));
    if (frame.call_no !== undefined) this.joined(frame.call_no);
    if (this.room && this.#seen?.room === this.room) this.#sync();
  }

  /** follow keeps count of a room's publications, and asks once for those that are missing. */
  #follow(frame) {
    if (frame.seq === undefined || String(frame.room_id) !== this.#seen?.room) return;
    const { room, epoch, seq } = this.#seen;
    if (frame.epoch < epoch || (frame.epoch === epoch && frame.seq <= seq)) return; // heard before
    if (frame.epoch !== epoch || frame.seq !== seq + 1) this.#sync();
    this.#seen = { room, epoch: frame.epoch, seq: frame.seq };
  }

  #sync() {
    const { room, epoch, seq } = this.#seen;
    this.send("sync", { room_id: room, epoch, seq });
  }

  #place(room) {
    if (this.room === room) return;
    this.room = room;
    this.#seen = null;
    this.#changed();
  }

  /** lost acts on a connection that the server, or the network, has closed. */
  #lost(e) {
    this.#socket = null;
    const why = e.reason || (e.code === 1006 ? "broken" : `code ${e.code}`);
    this.#note(`connection closed: ${e.code} ${why}`);
    if (final.has(e.code)) this.#become("closed", why);
    else this.#again();
  }

  /** again connects after a pause that grows with each failure, sooner for none. */
  #again() {
    const wait = this.#retryAfter > 0 ? this.#retryAfter * 1000 : Math.min(firstPause * 2 ** this.#failures, longestPause);
    this.#failures++;
    this.#retryAfter = 0;
    this.#become("closed", "comes back");
    this.#timer = setTimeout(() => this.connect(), wait * Math.random());
  }

  #become(phase, why) {
    this.phase = phase;
    this.why = why;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  #note(text) {
    this.#record("note", { text });
  }

  #record(way, frame) {
    const entry = { way, frame, at: Date.now() };
    this.frames.push(entry);
    if (this.frames.length > memory) this.frames.shift();
    this.dispatchEvent(new CustomEvent("frame", { detail: entry }));
  }
}
