// @ts-check
/** How figures and times read on the board. Pure; the same text for the same input on every machine. */

/** What stands where a figure is not known yet. */
export const UNKNOWN = "–";

const COUNT = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/**
 * A count, grouped by thousands.
 * @param {number | null | undefined} value
 * @returns {string}
 */
export function count(value) {
  return typeof value === "number" && Number.isFinite(value) ? COUNT.format(value) : UNKNOWN;
}

/**
 * A length of time: `0:07`, `12:40`, `1:02:40`, from a day on `1d 04h`. Negative lengths (clocks that disagree) read 0:00.
 * @param {number | null | undefined} seconds
 * @returns {string}
 */
export function duration(seconds) {
  if (typeof seconds !== "number" || !Number.isFinite(seconds)) return UNKNOWN;
  const whole = Math.max(0, Math.floor(seconds));
  const days = Math.floor(whole / 86400);
  const hours = Math.floor((whole % 86400) / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = whole % 60;
  if (days > 0) return `${days}d ${two(hours)}h`;
  if (hours > 0) return `${hours}:${two(minutes)}:${two(rest)}`;
  return `${minutes}:${two(rest)}`;
}

/**
 * A percentage as a whole number without its sign; the sign is set smaller beside it.
 * @param {number | null | undefined} value
 * @returns {string}
 */
export function percent(value) {
  return typeof value === "number" && Number.isFinite(value) ? String(Math.round(value)) : UNKNOWN;
}

/**
 * A moment as the wall clock of this machine shows it: `14:02:07`, or `14:02`.
 * @param {number} ms since 1970
 * @param {boolean} [withSeconds]
 * @returns {string}
 */
export function clock(ms, withSeconds = true) {
  const at = new Date(ms);
  const text = `${two(at.getHours())}:${two(at.getMinutes())}`;
  return withSeconds ? `${text}:${two(at.getSeconds())}` : text;
}

/**
 * `1 queue`, `3 queues`.
 * @param {number} value
 * @param {string} noun
 * @returns {string}
 */
export function plural(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/**
 * Order of names as people expect it: `agent2` before `agent10`, case aside.
 * @param {string} left
 * @param {string} right
 * @returns {number}
 */
export function byName(left, right) {
  return COLLATOR.compare(left, right) || (left < right ? -1 : left > right ? 1 : 0);
}

const COLLATOR = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** @param {number} value */
function two(value) {
  return String(value).padStart(2, "0");
}
