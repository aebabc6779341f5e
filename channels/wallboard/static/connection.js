// @ts-check
/**
 * The hub's `/ws` as a client that stays connected: it subscribes again after each reconnect, backs off with jitter, and notices a dead line.
 */

/**
 * @typedef {object} LinkState
 * @property {"connecting" | "live" | "silent" | "waiting" | "refused" | "stopped"} phase  `silent`: connected, but nothing comes, not even an answer
 * @property {number} [retryAt]  local time in ms of the next attempt, when `waiting`
 * @property {number} [code]     close code, when `waiting` or `refused`
 */

/**
 * @typedef {object} Options
 * @property {string} url
 * @property {(channel: string, data: unknown) => void} onEvent
 * @property {(state: LinkState) => void} onState
 * @property {typeof WebSocket} [socket]
 * @property {() => number} [random]
 */

/** Close codes of the hub after which trying again with the same credential is useless. */
const REFUSED = new Set([4401, 4403]);
const TOO_MANY = 4429;
const RESTARTING = 1012;

const FIRST_DELAY_MS = 1000;
const MAX_DELAY_MS = 30_000;
const RESTART_DELAY_MS = 400;
const TOO_MANY_DELAY_MS = 10_000;
/** A connection that lived this long was a good one: the next loss starts the back-off from the beginning. */
const STEADY_MS = 10_000;
const WELCOME_TIMEOUT_MS = 15_000;
/** After so much silence the hub is asked for a sign of life, or after its own heartbeat if that is shorter. */
const SILENCE_MS = 4000;
/** A hub that leaves the question unanswered for so long hangs: what it said last may be wrong by now. */
const ANSWER_MS = 4000;
/** And after so much longer the line is given up. */
const GIVE_UP_MS = 6000;
/** Channels in one subscribe message: far below the limit of a message's size. */
const CHUNK = 50;

export class Connection {
  #options;
  #socketClass;
  #random;
  /** @type {WebSocket | null} */
  #socket = null;
  #welcomed = false;
  #attempt = 0;
  #liveSince = 0;
  #silenceMs = SILENCE_MS;
  #silent = false;
  #nextId = 1;
  #wanted = /** @type {Set<string>} */ (new Set());
  /** Channels the hub refused in this session: not asked for again before the next one. */
  #refused = /** @type {Set<string>} */ (new Set());
  /** Requests that wait for an answer, by id. @type {Map<number, string[]>} */
  #pending = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retryTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #watchdog;

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#socketClass = options.socket ?? WebSocket;
    this.#random = options.random ?? Math.random;
  }

  /** Connects, at once; does nothing when it is connected or about to be. */
  start() {
    if (this.#socket) return;
    clearTimeout(this.#retryTimer);
    this.#open();
  }

  /** Ends the connection for good, until `start` is called again. */
  stop() {
    clearTimeout(this.#retryTimer);
    this.#drop();
    this.#attempt = 0;
    this.#options.onState({ phase: "stopped" });
  }

  /** The next attempt now rather than later: the machine woke up or is online again. */
  hurry() {
    if (this.#retryTimer !== undefined && !this.#socket) {
      this.#attempt = 0;
      this.start();
    }
  }

  /**
   * The channels to listen to from now on, in order of importance. What is new is subscribed to, what is gone is unsubscribed.
   * @param {readonly string[]} channels
   */
  listen(channels) {
    const wanted = new Set(channels);
    const gone = [...this.#wanted].filter((channel) => !wanted.has(channel));
    const added = [...wanted].filter((channel) => !this.#wanted.has(channel));
    this.#wanted = wanted;
    if (!this.#welcomed) return;
    for (const channel of gone) this.#refused.delete(channel);
    this.#ask("unsubscribe", gone);
    this.#ask("subscribe", added);
  }

  #open() {
    this.#retryTimer = undefined;
    this.#options.onState({ phase: "connecting" });
    const socket = new this.#socketClass(this.#options.url);
    this.#socket = socket;
    socket.onmessage = (event) => this.#socket === socket && this.#receive(event.data);
    socket.onclose = (event) => this.#socket === socket && this.#lost(event.code);
    this.#watch(WELCOME_TIMEOUT_MS, () => this.#giveUp());
  }

  /** @param {unknown} text */
  #receive(text) {
    let messages;
    try {
      messages = JSON.parse(String(text));
    } catch (error) {
      console.error("The hub sent a frame that is not JSON", error);
      this.#giveUp();
      return;
    }
    this.#beat();
    for (const message of Array.isArray(messages) ? messages : [messages]) this.#handle(message);
  }

  /** @param {any} message */
  #handle(message) {
    switch (message?.type) {
      case "event":
        this.#options.onEvent(message.channel, message.data);
        break;
      case "welcome":
        this.#welcome(message.heartbeat);
        break;
      case "subscribed":
        this.#pending.delete(message.id);
        break;
      case "error":
        this.#handleError(message);
        break;
    }
  }

  /** @param {unknown} heartbeat  seconds */
  #welcome(heartbeat) {
    this.#welcomed = true;
    this.#liveSince = Date.now();
    this.#silenceMs = typeof heartbeat === "number" && heartbeat > 0 ? Math.min(SILENCE_MS, heartbeat * 1000) : SILENCE_MS;
    this.#beat();
    this.#ask("subscribe", [...this.#wanted]);
    this.#options.onState({ phase: "live" });
  }

  /**
   * A subscribe array is checked whole: one channel that is refused takes the others with it. They are asked for again without it.
   * @param {{id?: unknown, code?: unknown, message?: unknown, channel?: unknown}} error
   */
  #handleError(error) {
    console.warn(`The hub refused: ${error.code} ${error.message} ${error.channel ?? ""}`);
    const asked = typeof error.id === "number" ? this.#pending.get(error.id) : undefined;
    if (!asked) return;
    this.#pending.delete(/** @type {number} */ (error.id));
    const named = typeof error.channel === "string" && asked.includes(error.channel);
    const bad = named ? [/** @type {string} */ (error.channel)] : asked.length === 1 ? asked : [];
    for (const channel of bad) this.#refused.add(channel);
    const rest = asked.filter((channel) => this.#wanted.has(channel) && !this.#refused.has(channel));
    if (bad.length) this.#ask("subscribe", rest);
    else for (const half of halves(rest)) this.#ask("subscribe", half);
  }

  /**
   * @param {"subscribe" | "unsubscribe"} type
   * @param {string[]} channels
   */
  #ask(type, channels) {
    for (let start = 0; start < channels.length; start += CHUNK) {
      const part = channels.slice(start, start + CHUNK);
      const id = this.#nextId++;
      if (type === "subscribe") this.#pending.set(id, part);
      this.#send({ type, id, channels: part });
    }
  }

  /** @param {object} message */
  #send(message) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(message));
  }

  /** Something came: the hub is alive. Ask it again after some silence. */
  #beat() {
    if (this.#silent) {
      this.#silent = false;
      this.#options.onState({ phase: "live" });
    }
    this.#watch(this.#welcomed ? this.#silenceMs : WELCOME_TIMEOUT_MS, () => {
      if (!this.#welcomed) return this.#giveUp();
      this.#send({ type: "ping", id: this.#nextId++ });
      this.#watch(ANSWER_MS, () => {
        this.#silent = true;
        this.#watch(GIVE_UP_MS, () => this.#giveUp());
        this.#options.onState({ phase: "silent" });
      });
    });
  }

  /**
   * @param {number} ms
   * @param {() => void} then
   */
  #watch(ms, then) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(then, ms);
  }

  /** The line is dead or the other side talks nonsense. A dead line never tells of its closing, so it is not waited for. */
  #giveUp() {
    this.#lost(1006);
  }

  /** @param {number} code */
  #lost(code) {
    const steady = this.#welcomed && Date.now() - this.#liveSince >= STEADY_MS;
    this.#drop();
    if (REFUSED.has(code)) {
      this.#attempt = 0;
      this.#options.onState({ phase: "refused", code });
      return;
    }
    if (steady) this.#attempt = 0;
    const delay = this.#delay(code);
    this.#attempt += 1;
    this.#retryTimer = setTimeout(() => this.#open(), delay);
    this.#options.onState({ phase: "waiting", code, retryAt: Date.now() + delay });
  }

  /**
   * Milliseconds to the next attempt: doubling, with half of it random, so that a thousand boards do not come back in one moment.
   * @param {number} code
   */
  #delay(code) {
    const first = code === RESTARTING ? RESTART_DELAY_MS : code === TOO_MANY ? TOO_MANY_DELAY_MS : FIRST_DELAY_MS;
    const full = Math.min(MAX_DELAY_MS, first * 2 ** Math.min(this.#attempt, 10));
    return full / 2 + (full / 2) * this.#random();
  }

  #drop() {
    clearTimeout(this.#watchdog);
    const socket = this.#socket;
    this.#socket = null;
    this.#welcomed = false;
    this.#silent = false;
    this.#pending.clear();
    this.#refused.clear();
    if (socket) {
      socket.onmessage = null;
      socket.onclose = null;
      socket.close(1000);
    }
  }
}

/**
 * @param {string[]} items
 * @returns {string[][]}
 */
function halves(items) {
  const middle = Math.ceil(items.length / 2);
  return [items.slice(0, middle), items.slice(middle)].filter((half) => half.length > 0);
}
