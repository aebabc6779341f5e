// @ts-check
/** From where on a figure asks for attention. The numbers are the wallboard's settings. */

/**
 * @typedef {object} Thresholds
 * @property {number} service_level_target  percent; below it is a warning
 * @property {number} service_level_alarm   percent; below it is an alarm
 * @property {number} wait_warning_s
 * @property {number} wait_alarm_s
 */

/**
 * @param {number | null} seconds
 * @param {Thresholds} thresholds
 * @returns {"" | "warning" | "alarm"}
 */
export function levelOfWait(seconds, thresholds) {
  if (seconds === null || seconds < thresholds.wait_warning_s) return "";
  return seconds < thresholds.wait_alarm_s ? "warning" : "alarm";
}

/**
 * @param {number | null} percentage
 * @param {Thresholds} thresholds
 * @returns {"" | "warning" | "alarm"}
 */
export function levelOfService(percentage, thresholds) {
  if (percentage === null || percentage >= thresholds.service_level_target) return "";
  return percentage >= thresholds.service_level_alarm ? "warning" : "alarm";
}
