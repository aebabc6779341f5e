// @ts-check
/** The table of queues. */

import { arrange, byId, copy, find, setData, setText } from "./dom.js";
import { UNKNOWN, byName, count, duration, percent } from "./format.js";
import { longestWait } from "./model.js";
import { levelOfService, levelOfWait } from "./thresholds.js";

/** @typedef {import("./model.js").Board} Board */
/** @typedef {import("./model.js").Queue} Queue */
/** @typedef {import("./thresholds.js").Thresholds} Thresholds */

/**
 * @typedef {object} Row
 * @property {HTMLElement} root
 * @property {Map<string, {cell: HTMLElement, text: HTMLElement, flag: HTMLElement | null}>} cells
 * @property {HTMLElement} meter
 */

/** Heights of a row on a wall, in rem. */
const ROW_MIN = 2.5;
const ROW_MAX = 4.9;

export class QueuesView {
  #thresholds;
  /** @type {Map<string, Row>} */
  #rows = new Map();
  #body = byId("queue-rows");
  #panel = byId("queues");
  #frame = byId("queues-body");
  #tally = byId("queues-tally");
  #pageText = byId("queues-page");
  #empty = byId("queues-empty");
  #sort = "name";
  #descending = false;
  /** How many queues there was no room for. */
  left = 0;
  #page = 0;
  #pages = 1;

  /**
   * @param {Thresholds} thresholds
   * @param {() => void} changed  called when the user chose another order
   */
  constructor(thresholds, changed) {
    this.#thresholds = thresholds;
    for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-sort]"))) {
      button.addEventListener("click", () => {
        this.#sortBy(String(button.dataset.sort));
        changed();
      });
    }
  }

  /** @param {string} field */
  #sortBy(field) {
    this.#descending = field === this.#sort ? !this.#descending : field !== "name";
    this.#sort = field;
    for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-sort]"))) {
      const direction = button.dataset.sort === field ? (this.#descending ? "descending" : "ascending") : null;
      const head = button.closest("th");
      if (direction) head?.setAttribute("aria-sort", direction);
      else head?.removeAttribute("aria-sort");
    }
  }

  /**
   * @param {Board} board
   * @param {number} now  server time in ms
   * @param {boolean} wall
   */
  render(board, now, wall) {
    this.#empty.hidden = !board.queuesKnown || board.queues.size > 0;
    this.#frame.hidden = board.queues.size === 0;
    setText(this.#tally, board.queues.size ? count(board.queues.size + this.left) : "");
    const queues = this.#ordered(board, now);
    const shown = this.#fit(queues, wall);
    for (const id of this.#rows.keys()) if (!board.queues.has(id)) this.#rows.delete(id);
    const more = this.left ? `first ${count(queues.length)} shown` : "";
    setText(this.#pageText, this.#pages > 1 ? `${this.#page + 1} / ${this.#pages}` : more);
    arrange(
      this.#body,
      shown.map((queue) => this.#row(queue, now).root),
    );
  }

  /** The next page, where not all fit on a wall. */
  turn() {
    this.#page += 1;
  }

  /**
   * @param {Board} board
   * @param {number} now
   */
  #ordered(board, now) {
    const queues = [...board.queues.values()];
    const sign = this.#descending ? -1 : 1;
    if (this.#sort === "name") return this.#descending ? queues.reverse() : queues;
    /** @param {Queue} queue */
    const key = (queue) => (this.#sort === "longestWait" ? longestWait(queue, now) : /** @type {any} */ (queue)[this.#sort]) ?? -1;
    return queues.sort((a, b) => sign * (key(a) - key(b)) || byName(a.id, b.id));
  }

  /**
   * On a wall nobody scrolls: rows grow to fill the panel, and where they would become too small they take turns.
   * @param {Queue[]} queues
   * @param {boolean} wall
   * @returns {Queue[]} those to show now
   */
  #fit(queues, wall) {
    this.#pages = 1;
    if (!wall || !queues.length) {
      this.#panel.style.removeProperty("--row");
      return queues;
    }
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const head = find(this.#frame, "thead").getBoundingClientRect().height;
    const room = (this.#frame.clientHeight - head) / rem;
    const most = Math.max(1, Math.floor(room / ROW_MIN));
    this.#pages = Math.ceil(queues.length / most);
    this.#page %= this.#pages;
    const each = Math.ceil(queues.length / this.#pages);
    this.#panel.style.setProperty("--row", `${Math.min(ROW_MAX, Math.floor((room / each) * 100) / 100)}rem`);
    return queues.slice(this.#page * each, (this.#page + 1) * each);
  }

  /**
   * @param {Queue} queue
   * @param {number} now
   * @returns {Row}
   */
  #row(queue, now) {
    let row = this.#rows.get(queue.id);
    if (!row) {
      row = makeRow(queue.id);
      this.#rows.set(queue.id, row);
    }
    const wait = longestWait(queue, now);
    const waitLevel = levelOfWait(wait, this.#thresholds);
    const none = queue.serviceLevel === null;
    const serviceLevel = levelOfService(queue.serviceLevel, this.#thresholds);
    set(row, "waiting", count(queue.waiting), "", queue.waiting === 0);
    set(row, "longestWait", duration(wait), waitLevel, queue.waiting === 0);
    set(row, "serviceLevel", none ? UNKNOWN : `${percent(queue.serviceLevel)} %`, serviceLevel, none);
    set(row, "answered", count(queue.answered), "", queue.answered === 0);
    set(row, "abandoned", count(queue.abandoned), "", queue.abandoned === 0);
    set(row, "averageWait", duration(queue.averageWait), "", queue.averageWait === 0);
    set(row, "entered", count(queue.entered), "", queue.entered === 0);
    row.meter.style.setProperty("--part", String(Math.max(0, Math.min(100, queue.serviceLevel ?? 0)) / 100));
    setData(row.root, "level", waitLevel);
    return row;
  }
}

/** @param {string} id @returns {Row} */
function makeRow(id) {
  const root = copy("queue-row");
  const name = find(root, ".name span");
  name.textContent = id;
  name.title = id;
  const cells = new Map();
  for (const cell of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-field]"))) {
    cells.set(String(cell.dataset.field), { cell, text: cell.querySelector(".text") ?? cell, flag: cell.querySelector(".flag") });
  }
  return { root, cells, meter: find(root, ".meter") };
}

/**
 * @param {Row} row
 * @param {string} field
 * @param {string} text
 * @param {string} level
 * @param {boolean} quiet
 */
function set(row, field, text, level, quiet) {
  const part = row.cells.get(field);
  if (!part) return;
  setText(part.text, text);
  setData(part.cell, "level", level);
  setData(part.cell, "quiet", quiet ? "yes" : "");
  if (part.flag) {
    part.flag.hidden = !level;
    setText(part.flag, level === "alarm" ? "!!" : level ? "!" : "");
    part.flag.title = level;
  }
}
