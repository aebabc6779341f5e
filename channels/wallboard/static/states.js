// @ts-check
/** The states of an agent as the board shows them: a few groups, each with a word, an icon and a colour of its own. */

/**
 * @typedef {object} Group
 * @property {string} key    names the colour (`--state-KEY`) and the icon (`icons.svg#KEY`)
 * @property {string} label
 */

/** Groups in the order in which they stand on the board. @type {readonly Group[]} */
export const GROUPS = Object.freeze([
  { key: "ready", label: "Ready" },
  { key: "alerting", label: "Ringing" },
  { key: "call", label: "In call" },
  { key: "hold", label: "On hold" },
  { key: "wrapup", label: "Wrap-up" },
  { key: "notready", label: "Not ready" },
  { key: "other", label: "Other" },
  { key: "out", label: "Logged out" },
]);

/** Status name (the Stat Server vocabulary) to group and, where the group alone does not say it, a word more. @type {Map<string, [string, string]>} */
const STATUSES = new Map([
  ["WaitForNextCall", ["ready", ""]],
  ["CallRinging", ["alerting", ""]],
  ["CallDialing", ["alerting", "Dialing"]],
  ["CallInbound", ["call", "Inbound"]],
  ["CallOutbound", ["call", "Outbound"]],
  ["CallInternal", ["call", "Internal"]],
  ["CallConsult", ["call", "Consult"]],
  ["CallUnknown", ["call", ""]],
  ["CallOnHold", ["hold", ""]],
  ["AfterCallWork", ["wrapup", ""]],
  ["NotReadyForNextCall", ["notready", ""]],
  ["OffHook", ["other", "Off hook"]],
  ["OnHook", ["other", "On hook"]],
  ["LoggedIn", ["other", "Logged in"]],
  ["ASM_Engaged", ["other", "Engaged"]],
  ["ASM_Outbound", ["other", "Outbound campaign"]],
  ["Monitored", ["other", "Monitored"]],
  ["NotMonitored", ["out", "Not monitored"]],
  ["LoggedOut", ["out", ""]],
]);

const ORDER = new Map(GROUPS.map((group, index) => [group.key, index]));

/**
 * The group a status belongs to and the word that tells it apart there. A status this board does not know is shown under its own name.
 * @param {string} statusName
 * @returns {{group: string, detail: string}}
 */
export function classify(statusName) {
  const [group, detail] = STATUSES.get(statusName) ?? ["other", statusName];
  return { group, detail };
}

/**
 * Where a group stands among the others, from 0.
 * @param {string} key
 * @returns {number}
 */
export function rank(key) {
  return ORDER.get(key) ?? GROUPS.length;
}
