// @ts-check
/** Whether what stands on the board is live: the lamp in the corner, and a notice when it is not. */

import { byId, setData, setText } from "./dom.js";
import { clock } from "./format.js";

/** @typedef {import("./connection.js").LinkState} LinkState */

export class StatusView {
  #link = byId("link");
  #text = byId("link-text");
  #detail = byId("link-detail");
  #clock = byId("clock");
  #notice = byId("notice");

  /**
   * @param {LinkState} link
   * @param {boolean | null} available  whether the stat server is
   * @param {number | null} updatedAt   this machine's time of the last value, in ms
   * @param {number | null} lostAt      this machine's time at which the figures stopped being live, in ms; null while they are
   * @param {number} local              this machine's time in ms
   */
  render(link, available, updatedAt, lostAt, local) {
    const phase = link.phase === "live" && available === false ? "unavailable" : link.phase;
    setData(this.#link, "phase", phase);
    setText(this.#text, WORDS[phase]);
    setText(this.#detail, phase === "live" ? (updatedAt === null ? "" : `updated ${clock(updatedAt)}`) : countdown(link, local));
    setText(this.#clock, clock(local, false));
    const stale = updatedAt !== null && phase !== "live" && phase !== "stopped";
    document.body.classList.toggle("stale", stale);
    this.#say(phase, stale ? lostAt : null);
  }

  /**
   * @param {string} phase
   * @param {number | null} lostAt
   */
  #say(phase, lostAt) {
    let words = "";
    if (phase === "unavailable") {
      words = lostAt === null ? "The statistics service is unavailable." : `The statistics service is unavailable. Figures are from ${clock(lostAt)}.`;
    } else if (lostAt !== null) {
      words = `Not connected to the hub. Figures are from ${clock(lostAt)}.`;
    }
    setText(this.#notice, words);
    this.#notice.hidden = words === "";
  }
}

/** @type {Record<string, string>} */
const WORDS = {
  connecting: "Connecting",
  live: "Live",
  waiting: "Reconnecting",
  refused: "Refused",
  stopped: "Signed out",
  unavailable: "Service unavailable",
};

/**
 * @param {LinkState} link
 * @param {number} local
 */
function countdown(link, local) {
  const seconds = link.retryAt === undefined ? 0 : Math.ceil((link.retryAt - local) / 1000);
  return link.phase === "waiting" && seconds > 1 ? `in ${seconds} s` : "";
}
