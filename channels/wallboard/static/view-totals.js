// @ts-check
/** The figures on top of the board. */

import { find, setData, setText } from "./dom.js";
import { count, duration, percent, plural, UNKNOWN } from "./format.js";
import { levelOfService, levelOfWait } from "./thresholds.js";

/** @typedef {import("./model.js").Board} Board */
/** @typedef {import("./thresholds.js").Thresholds} Thresholds */
/** @typedef {{root: HTMLElement, figure: HTMLElement, aside: HTMLElement, fitted: string}} Part */

export class TotalsView {
  #thresholds;
  /** @type {Map<string, Part>} */
  #parts = new Map();

  /** @param {Thresholds} thresholds */
  constructor(thresholds) {
    this.#thresholds = thresholds;
    for (const root of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-total]"))) {
      this.#parts.set(String(root.dataset.total), { root, figure: find(root, ".figure"), aside: find(root, ".aside"), fitted: "" });
    }
  }

  /**
   * @param {Board} board
   * @param {number} now  server time in ms
   */
  render(board, now) {
    const totals = board.totals(now);
    const agents = board.distribution();
    const limits = this.#thresholds;
    const waitLevel = levelOfWait(totals.longestWait, limits);
    const serviceLevel = levelOfService(totals.serviceLevel, limits);

    const over = waitLevel === "alarm" ? limits.wait_alarm_s : limits.wait_warning_s;
    this.#set("waiting", count(totals.waiting), totals.waiting && board.complete ? `in ${plural(totals.queuesWaiting, "queue")}` : "");
    this.#set("longestWait", duration(totals.longestWait), totals.longestQueue || (waitLevel && `over ${duration(over)}`), waitLevel);
    this.#set("serviceLevel", percent(totals.serviceLevel), `${serviceLevel ? "under" : "target"} ${limits.service_level_target} %`, serviceLevel);
    this.#set("loggedIn", count(totals.loggedIn), board.agentsKnown ? `${count(agents.get("out") ?? 0)} logged out` : "");
    this.#set("ready", count(totals.ready), some(agents.get("alerting"), "ringing"));
    this.#set("inCall", count(totals.inCall), some(agents.get("hold"), "on hold"));
    this.#set("notReady", count(totals.notReady), some(agents.get("wrapup"), "in wrap-up"));
  }

  /**
   * A long figure (an hour's wait, a thousand agents) is set smaller rather than cut off. Measured only when something about it changed.
   * @param {Part} part
   * @param {string} shape  changes when the width of the figure may
   */
  #fit(part, shape) {
    const key = `${shape} ${innerWidth} ${innerHeight} ${document.documentElement.className}`;
    if (key === part.fitted) return;
    part.fitted = key;
    part.figure.style.removeProperty("--fit");
    // fonts do not scale evenly: what was measured large may still be a little too wide when it is small
    let fit = 1;
    for (let tries = 0; tries < 4 && part.figure.scrollWidth > part.figure.clientWidth; tries += 1) {
      fit *= (0.97 * part.figure.clientWidth) / part.figure.scrollWidth;
      part.figure.style.setProperty("--fit", fit.toFixed(3));
    }
  }

  /**
   * @param {string} name
   * @param {string} figure
   * @param {string} aside
   * @param {string} [level]
   */
  #set(name, figure, aside, level = "") {
    const part = this.#parts.get(name);
    if (!part) return;
    const quiet = figure === "0" || figure === "0:00" || figure === UNKNOWN;
    setText(part.figure, figure);
    setText(part.aside, aside);
    setData(part.root, "level", level);
    setData(part.root, "quiet", quiet ? "yes" : "");
    this.#fit(part, `${figure.length} ${quiet}`);  // last: a quiet figure is of another weight, and without its unit
  }
}

/**
 * @param {number | undefined} value
 * @param {string} words
 */
function some(value, words) {
  return value ? `${count(value)} ${words}` : "";
}
