// @ts-check
/** The agents, each with a state and the time in it. */

import { arrange, byId, copy, find, icon, setData, setText } from "./dom.js";
import { count, duration, plural } from "./format.js";
import { GROUPS } from "./states.js";

/** @typedef {import("./model.js").Board} Board */
/** @typedef {import("./model.js").Agent} Agent */

/**
 * @typedef {object} Tile
 * @property {HTMLElement} root
 * @property {HTMLElement} use
 * @property {HTMLElement} detail
 * @property {HTMLElement} since
 * @property {Agent} agent
 */

/**
 * Sizes of the text of a tile on a wall, in rem, and the tile's own in em of it. The largest text at which all agents fit is taken; the smallest is still
 * read from some way off: where not all fit at it, pages take turns.
 */
const WALL_TEXT = { largest: 1.5, smallest: 0.75, step: 0.05 };
const WALL_TILE = { width: 11.6, height: 2, tallest: 2.6 };
/** Between two tiles, in rem; as in wall.css. */
const WALL_GAP = 0.3;

const LABELS = new Map(GROUPS.map((group) => [group.key, group.label]));

export class AgentsView {
  /** @type {Map<string, Tile>} */
  #tiles = new Map();
  /** @type {Map<string, {root: HTMLElement, tally: HTMLElement, list: HTMLElement}>} */
  #sections = new Map();
  /** @type {Map<string, {part: HTMLElement, item: HTMLElement, tally: HTMLElement}>} */
  #legend = new Map();
  #flat = document.createElement("ul");
  #panel = byId("agents");
  #body = byId("agents-body");
  #tally = byId("agents-tally");
  #pageText = byId("agents-page");
  #spread = byId("spread");
  #legendList = byId("legend");
  #empty = byId("agents-empty");
  /** @type {"state" | "name" | "time"} */
  order = "state";
  withLoggedOut = false;
  #page = 0;
  #pages = 1;
  #laidKey = "";
  /** @type {Map<string, Agent> | null} */
  #laidAgents = null;

  constructor() {
    this.#flat.className = "tiles";
    for (const group of GROUPS) {
      this.#sections.set(group.key, makeSection(group.key, group.label));
      this.#legend.set(group.key, makeLegend(group.key, group.label));
    }
    this.#spread.append(...[...this.#legend.values()].map((entry) => entry.part));
  }

  /**
   * @param {Board} board
   * @param {number} now  server time in ms
   * @param {boolean} wall
   */
  render(board, now, wall) {
    if (this.#changed(board, wall)) this.#lay(board, wall);
    this.tick(now);
  }

  /**
   * Whether anything but time has moved since the last call. The model makes a new map for each state of the group.
   * @param {Board} board
   * @param {boolean} wall
   */
  #changed(board, wall) {
    const key = [board.group, board.agentsKnown, wall, this.order, this.withLoggedOut, this.#page, wall && this.#body.clientWidth, wall && this.#body.clientHeight].join(" ");
    const same = key === this.#laidKey && board.agents === this.#laidAgents;
    this.#laidKey = key;
    this.#laidAgents = board.agents;
    return !same;
  }

  /**
   * @param {Board} board
   * @param {boolean} wall
   */
  #lay(board, wall) {
    const agents = board.listAgents(wall ? "state" : this.order, this.withLoggedOut && !wall);
    for (const id of this.#tiles.keys()) if (!board.agents.has(id)) this.#tiles.delete(id);
    const grouped = !wall && this.order === "state";
    const tiles = agents.map((agent) => this.#tile(agent, grouped));
    this.#renderSpread(board);
    this.#renderEmpty(board, agents.length);
    setData(this.#panel, "many", agents.length > 100 ? "yes" : "");
    setText(this.#tally, agents.length ? count(agents.length) : "");
    const shown = wall ? this.#fit(tiles) : tiles;
    if (!wall) this.#pages = 1;
    setText(this.#pageText, this.#pages > 1 ? `${this.#page + 1} / ${this.#pages}` : "");
    if (grouped) this.#renderSections(shown);
    else {
      arrange(this.#body, [this.#flat]);
      arrange(
        this.#flat,
        shown.map((tile) => tile.root),
      );
    }
  }

  /**
   * Timers only: once a second.
   * @param {number} now  server time in ms
   */
  tick(now) {
    for (const tile of this.#tiles.values()) {
      if (tile.root.isConnected) showTime(tile.since, tile.agent.since ? duration((now - tile.agent.since) / 1000) : "");
    }
  }

  /** The next page, where not all fit on a wall. */
  turn() {
    if (this.#pages > 1) this.#page += 1;
  }

  /**
   * @param {Agent} agent
   * @param {boolean} grouped  whether it stands below the name of its state
   */
  #tile(agent, grouped) {
    let tile = this.#tiles.get(agent.id);
    if (!tile) {
      tile = makeTile(agent);
      this.#tiles.set(agent.id, tile);
    }
    tile.agent = agent;
    if (tile.root.dataset.state !== agent.group) {
      tile.root.dataset.state = agent.group;
      tile.use.setAttribute("href", icon(agent.group));
    }
    setText(tile.detail, agent.detail || (grouped ? "" : (LABELS.get(agent.group) ?? "")));
    return tile;
  }

  /** @param {Tile[]} tiles */
  #renderSections(tiles) {
    /** @type {Map<string, HTMLElement[]>} */
    const members = new Map();
    for (const tile of tiles) {
      const list = members.get(tile.agent.group);
      if (list) list.push(tile.root);
      else members.set(tile.agent.group, [tile.root]);
    }
    const shown = [];
    for (const [key, section] of this.#sections) {
      const list = members.get(key);
      if (!list) continue;
      setText(section.tally, count(list.length));
      arrange(section.list, list);
      shown.push(section.root);
    }
    arrange(this.#body, shown);
  }

  /** @param {Board} board */
  #renderSpread(board) {
    const counts = board.distribution();
    counts.delete("out");
    const items = [];
    for (const [key, entry] of this.#legend) {
      const number = counts.get(key) ?? 0;
      entry.part.style.flexGrow = String(number);
      entry.part.hidden = number === 0;
      setText(entry.tally, count(number));
      if (number > 0) items.push(entry.item);
    }
    arrange(this.#legendList, items);
    this.#spread.hidden = items.length === 0;
  }

  /**
   * @param {Board} board
   * @param {number} shown
   */
  #renderEmpty(board, shown) {
    const empty = board.agentsKnown && shown === 0;
    this.#empty.hidden = !empty;
    this.#body.hidden = empty;
    if (!empty) return;
    const nobody = board.agents.size === 0;
    setText(byId("agents-empty-title"), nobody ? (board.group === "All" ? "No agents yet" : "Nobody in this group") : "Nobody is logged in");
    byId("agents-empty-how").hidden = !nobody || board.group !== "All";
    setText(
      byId("agents-empty-text"),
      !nobody
        ? `${plural(board.agents.size, "agent")} logged out.`
        : board.group === "All"
          ? "An agent appears with the first event about them. To see the board alive, play a contact centre into the hub, or feed it a file of events:"
          : "Agents join a group when they log in with it.",
    );
  }

  /**
   * On a wall nobody scrolls: the largest tile at which all fit, else pages of the smallest.
   * @param {Tile[]} tiles
   * @returns {Tile[]} those to show now
   */
  #fit(tiles) {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const width = this.#body.clientWidth / rem;
    const height = this.#body.clientHeight / rem;
    let text = WALL_TEXT.largest;
    let [columns, rows] = grid(width, height, text);
    while (columns * rows < tiles.length && text - WALL_TEXT.step >= WALL_TEXT.smallest) {
      text -= WALL_TEXT.step;
      [columns, rows] = grid(width, height, text);
    }
    const room = columns * rows;
    this.#pages = Math.max(1, Math.ceil(tiles.length / room));
    this.#page %= this.#pages;
    const lines = Math.ceil(Math.min(tiles.length, room) / columns);
    const tall = Math.min(WALL_TILE.tallest * text, (height + WALL_GAP) / lines - WALL_GAP);
    this.#flat.style.setProperty("--columns", String(columns));
    this.#flat.style.setProperty("--tile", `${tall.toFixed(3)}rem`);
    this.#flat.style.setProperty("--tile-font", `${text.toFixed(2)}rem`);
    return tiles.slice(this.#page * room, (this.#page + 1) * room);
  }
}

/**
 * A timer's box has a size of its own (board.css), so that five hundred of them tick without the page being laid out anew; the size follows the
 * length of the text, which changes seldom.
 * @param {HTMLElement} element
 * @param {string} text
 */
function showTime(element, text) {
  if (element.textContent?.length !== text.length) element.style.setProperty("--characters", String(text.length));
  setText(element, text);
}

/**
 * How many tiles fit, across and down; at least one.
 * @param {number} width   rem
 * @param {number} height  rem
 * @param {number} text    rem
 * @returns {[number, number]}
 */
function grid(width, height, text) {
  const columns = Math.floor((width + WALL_GAP) / (WALL_TILE.width * text + WALL_GAP));
  const rows = Math.floor((height + WALL_GAP) / (WALL_TILE.height * text + WALL_GAP));
  return [Math.max(1, columns), Math.max(1, rows)];
}

/** @param {Agent} agent @returns {Tile} */
function makeTile(agent) {
  const root = copy("agent-tile");
  const name = find(root, ".name");
  name.textContent = agent.id;
  name.title = agent.id;
  return { root, use: find(root, "use"), detail: find(root, ".detail"), since: find(root, ".since"), agent };
}

/**
 * @param {string} key
 * @param {string} label
 */
function makeSection(key, label) {
  const root = document.createElement("section");
  root.className = "states";
  root.dataset.state = key;
  const head = document.createElement("h3");
  const tally = document.createElement("span");
  tally.className = "tally";
  head.append(`${label} `, tally);
  const list = document.createElement("ul");
  list.className = "tiles";
  root.append(head, list);
  root.setAttribute("aria-label", label);
  return { root, tally, list };
}

/**
 * @param {string} key
 * @param {string} label
 */
function makeLegend(key, label) {
  const part = document.createElement("span");
  part.dataset.state = key;
  const item = document.createElement("li");
  item.dataset.state = key;
  const glyph = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  glyph.setAttribute("class", "icon");
  glyph.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", icon(key));
  glyph.append(use);
  const tally = document.createElement("b");
  item.append(glyph, `${label} `, tally);
  return { part, item, tally };
}
