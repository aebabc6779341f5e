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
   * @param {number} local              this machine's time in ms
   */
  render(link, available, updatedAt, local) {
    const phase = link.phase === "live" && available === false ? "unavailable" : link.phase;
    setData(this.#link, "phase", phase);
    setText(this.#text, WORDS[phase]);
    setText(this.#detail, phase === "live" ? (updatedAt === null ? "" : `updated ${clock(updatedAt)}`) : countdown(link, local));
    setText(this.#clock, clock(local, false));
    const stale = updatedAt !== null && phase !== "live" && phase !== "stopped";
    document.body.classList.toggle("stale", stale);
    this.#say(phase, stale ? updatedAt : null);
  }

  /**
   * @param {string} phase
   * @param {number | null} from  when the last of the figures came that are stale now; null when none are
   */
  #say(phase, from) {
    let words = "";
    if (phase === "unavailable") {
      words = from === null ? "The statistics service is unavailable." : `The statistics service is unavailable. Figures are from ${clock(from)}.`;
    } else if (from !== null) {
      words = `${phase === "silent" ? "The hub does not answer" : "Not connected to the hub"}. Figures are from ${clock(from)}.`;
    }
    setText(this.#notice, words);
    this.#notice.hidden = words === "";
  }
}

/** @type {Record<string, string>} */
const WORDS = {
  connecting: "Connecting",
  live: "Live",
  silent: "No answer",
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
