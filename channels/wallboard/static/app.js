// @ts-check
/** The wallboard: wires connection, model and views, and drives them: a repaint when something came, timers once a second. */

import { ApiError, config as readConfig, objects, signIn, signOut, socketUrl } from "./api.js";
import { MAX_SUBSCRIPTIONS, plan } from "./channels.js";
import { Connection } from "./connection.js";
import { byId } from "./dom.js";
import { byName } from "./format.js";
import { Board } from "./model.js";
import { AgentsView } from "./view-agents.js";
import { DoorView } from "./view-door.js";
import { QueuesView } from "./view-queues.js";
import { StatusView } from "./view-status.js";
import { TotalsView } from "./view-totals.js";

/** How often the lists of queues and groups are read again. */
const REFRESH_MS = 30_000;
/** After an answer that was no answer: sooner. */
const RETRY_MS = 5_000;
/** From a value to its being seen, at most: sooner is not seen as sooner. */
const REPAINT_MS = 150;
/** A repaint that no frame came for: a tab in the background has none, and its title still tells how many wait. */
const NO_FRAME_MS = 500;
/** From this width on a screen is taken for a wall, unless the address says otherwise. */
const WALL_WIDTH = 2400;

const DEFAULTS = {
  title: "Contact centre",
  max_subscriptions: MAX_SUBSCRIPTIONS,
  page_seconds: 10,
  thresholds: { service_level_target: 80, service_level_alarm: 60, wait_warning_s: 60, wait_alarm_s: 180 },
};

/** @typedef {import("./connection.js").LinkState} LinkState */

class App {
  #board = new Board();
  #config;
  #totals;
  #queues;
  #agents = new AgentsView();
  #status = new StatusView();
  #door;
  #connection;
  /** @type {LinkState} */
  #link = { phase: "connecting" };
  /** @type {string[]} */
  #queueIds = [];
  #scheduled = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #soonTimer;
  #seconds = 0;
  #signedIn = false;
  /** Counts sign-ins and sign-outs: an answer that comes after the next one is nobody's any more. */
  #visit = 0;
  #refreshedAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #refreshTimer;

  /** @param {import("./api.js").Config} config */
  constructor(config) {
    this.#config = config;
    this.#totals = new TotalsView(config.thresholds);
    this.#queues = new QueuesView(config.thresholds, () => this.#schedule());
    this.#door = new DoorView(
      (token) => this.#signIn(token),
      () => void this.#signOut(),
    );
    this.#connection = new Connection({
      url: socketUrl(),
      onEvent: (_channel, data) => {
        if (!this.#board.apply(data, Date.now())) return;
        this.#soon();
      },
      onState: (state) => this.#linkChanged(state),
    });
    byId("title").textContent = config.title;
  }

  start() {
    const address = new URL(location.href);
    this.#board.setGroup(address.searchParams.get("group") || "All");
    this.#controls();
    this.#tick();
    void this.#refresh();
  }

  /** Whether the board is set for a wall: `?wall=1` or `?wall=0`, else by the width of the screen. */
  get #wall() {
    const asked = new URL(location.href).searchParams.get("wall");
    return asked === null ? innerWidth >= WALL_WIDTH : asked !== "0";
  }

  #controls() {
    const order = /** @type {HTMLSelectElement} */ (byId("order"));
    order.addEventListener("change", () => {
      this.#agents.order = /** @type {"state" | "name" | "time"} */ (order.value);
      this.#schedule();
    });
    const out = /** @type {HTMLInputElement} */ (byId("show-out"));
    out.addEventListener("change", () => {
      this.#agents.withLoggedOut = out.checked;
      this.#schedule();
    });
    const group = /** @type {HTMLSelectElement} */ (byId("group"));
    group.addEventListener("change", () => this.#chooseGroup(group.value));
    byId("wall").addEventListener("click", () => {
      this.#remember("wall", this.#wall ? "0" : "1");
      this.#schedule();
    });
    byId("sign-out").addEventListener("click", () => void this.#signOut());
    addEventListener("resize", () => this.#schedule());
    addEventListener("online", () => this.#connection.hurry());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#connection.hurry();
    });
    addEventListener("keydown", (event) => {
      const target = /** @type {HTMLElement} */ (event.target);
      if (event.ctrlKey || event.metaKey || event.altKey || target.matches("input, select, textarea")) return;
      if (event.key === "t") byId("theme").click();
      if (event.key === "w") byId("wall").click();
    });
  }

  /** @param {string} id */
  #chooseGroup(id) {
    this.#board.setGroup(id);
    this.#remember("group", id === "All" ? null : id);
    this.#listen();
    this.#schedule();
  }

  /**
   * Keeps a choice in the address, so that a wall's browser can be started with it.
   * @param {string} name
   * @param {string | null} value
   */
  #remember(name, value) {
    const address = new URL(location.href);
    if (value === null) address.searchParams.delete(name);
    else address.searchParams.set(name, value);
    history.replaceState(null, "", address);
  }

  /** Reads which queues and groups there are, which also tells whether anybody is signed in; again and again. */
  async #refresh() {
    clearTimeout(this.#refreshTimer);
    const visit = this.#visit;
    this.#refreshedAt = Date.now();
    let next = REFRESH_MS;
    try {
      const [queues, groups] = await Promise.all([objects("Queue"), objects("GroupAgents")]);
      if (visit !== this.#visit) return;
      this.#queueIds = queues;
      this.#showGroups(groups);
      this.#enter();
    } catch (error) {
      if (visit !== this.#visit) return;
      if (error instanceof ApiError && error.status === 401) return this.#askToSignIn("");
      if (error instanceof ApiError && error.status === 403) return this.#refuse(`The hub answered: ${error.message}.`);
      console.warn("The lists of queues and groups cannot be read", error);
      next = RETRY_MS;
      // The hub is well and knows the caller, only the stat server is not there: the service channel says so, and says when it is back.
      if (error instanceof ApiError && error.status === 503) this.#enter();
      else if (!this.#signedIn) this.#linkChanged({ phase: "waiting", retryAt: Date.now() + next });
    }
    clearTimeout(this.#refreshTimer);
    this.#refreshTimer = setTimeout(() => void this.#refresh(), next);
    this.#schedule();
  }

  /** Somebody is signed in: the board is shown, and live as soon as the socket is. */
  #enter() {
    this.#signedIn = true;
    this.#listen();
    this.#door.show("board");
    this.#connection.start();
  }

  #listen() {
    const chosen = plan(this.#board.group, this.#queueIds, this.#config.max_subscriptions);
    this.#queues.left = chosen.left;
    this.#board.setQueues(chosen.queues, chosen.left === 0);
    this.#connection.listen(chosen.channels);
  }

  /** @param {string[]} groups */
  #showGroups(groups) {
    const select = /** @type {HTMLSelectElement} */ (byId("group"));
    const others = [...new Set([...groups, this.#board.group])].filter((id) => id !== "All").sort(byName);
    const wanted = ["All", ...others];
    const present = [...select.options].map((option) => option.value);
    if (wanted.join("\n") !== present.join("\n")) {
      select.replaceChildren(...wanted.map((id) => new Option(id === "All" ? "All agents" : id, id)));
    }
    select.value = this.#board.group;
    byId("group-field").hidden = others.length === 0;
  }

  /** @param {LinkState} state */
  #linkChanged(state) {
    this.#link = state;
    if (state.phase === "refused" && state.code === 4401) this.#askToSignIn(this.#signedIn ? "You have been signed out." : "");
    if (state.phase === "refused" && state.code === 4403) this.#refuse("This sign-in may not listen to statistics.");
    // The lists may have changed while nobody listened; and a hub that came back may want another sign-in.
    if (state.phase === "live" && Date.now() - this.#refreshedAt > RETRY_MS) void this.#refresh();
    this.#schedule();
  }

  /** @param {string} words */
  #askToSignIn(words) {
    this.#forget();
    this.#door.show("sign-in", words);
  }

  /** @param {string} words */
  #refuse(words) {
    this.#forget();
    this.#link = { phase: "refused" };
    this.#door.show("refused", words);
    this.#schedule();
  }

  /** Nobody is signed in any more: nothing of what was on the board stays on this machine. */
  #forget() {
    this.#visit += 1;
    clearTimeout(this.#refreshTimer);
    this.#connection.stop();
    this.#signedIn = false;
    const group = this.#board.group;
    this.#board = new Board();
    this.#board.setGroup(group);
    this.#queueIds = [];
    this.#schedule();
  }

  /** @param {string} token */
  async #signIn(token) {
    await signIn(token);
    await this.#refresh();
  }

  async #signOut() {
    try {
      await signOut();
      this.#askToSignIn("");
    } catch (error) {
      // A 401 says that the sign-in is gone already.
      if (error instanceof ApiError && error.status === 401) this.#askToSignIn("");
      else this.#refuse(`Signing out failed: ${/** @type {Error} */ (error).message}`);
    }
  }

  /** A repaint for what came in: values come in bursts, one repaint serves them all. */
  #soon() {
    this.#soonTimer ??= setTimeout(() => this.#schedule(), REPAINT_MS);
  }

  /** A repaint at the next frame, or a little later where the browser makes none. */
  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const frame = requestAnimationFrame(() => this.#repaint(frame, late));
    const late = setTimeout(() => this.#repaint(frame, late), NO_FRAME_MS);
  }

  /**
   * @param {number} frame
   * @param {ReturnType<typeof setTimeout>} late
   */
  #repaint(frame, late) {
    cancelAnimationFrame(frame);
    clearTimeout(late);
    clearTimeout(this.#soonTimer);
    this.#scheduled = false;
    this.#soonTimer = undefined;
    this.#render();
  }

  #render() {
    const local = Date.now();
    const live = this.#link.phase === "live" && this.#board.available !== false;
    // While nothing comes nobody knows what an agent does: the timers stand with the rest at the last that is known.
    const now = this.#board.clock.at(live ? local : (this.#board.updatedAt ?? local));
    const wall = this.#wall;
    document.documentElement.classList.toggle("wall", wall);
    byId("wall").setAttribute("aria-pressed", String(wall));
    this.#status.render(this.#link, this.#board.available, this.#board.updatedAt, local);
    if (document.body.dataset.view !== "board") return;
    this.#totals.render(this.#board, now);
    this.#queues.render(this.#board, now, wall);
    this.#agents.render(this.#board, now, wall);
    const waiting = this.#board.totals(now).waiting;
    document.title = waiting ? `(${waiting}) ${this.#config.title}` : this.#config.title;
  }

  /** Once a second, on the second of the server's clock, so that all timers of a room move together. */
  #tick() {
    const ahead = this.#board.clock.at(Date.now()) % 1000;
    setTimeout(() => {
      this.#seconds += 1;
      if (this.#seconds % this.#config.page_seconds === 0) {
        this.#queues.turn();
        this.#agents.turn();
      }
      this.#schedule();
      this.#tick();
    }, 1000 - ahead);
  }
}

/** @returns {Promise<import("./api.js").Config>} */
async function settings() {
  try {
    const read = await readConfig();
    return { ...DEFAULTS, ...read, thresholds: { ...DEFAULTS.thresholds, ...read.thresholds } };
  } catch (error) {
    console.warn("The wallboard's settings cannot be read; the defaults stand in", error);
    return DEFAULTS;
  }
}

new App(await settings()).start();
