// @ts-check
/** Which channels the board listens to, and how it stays below the limit of subscriptions of one session. */

import { byName } from "./format.js";

/** The hub's limit of subscriptions a session. */
export const MAX_SUBSCRIPTIONS = 500;

/** The hub's limit of a channel's length, in characters. */
export const MAX_CHANNEL_LENGTH = 255;

export const SERVICE_CHANNEL = "/statistics/v3/service";

/** The statistics of the group of agents on show. */
export const GROUP_STATISTICS = Object.freeze([
  "CurrentGroupState",
  "CurrentLoggedInAgents",
  "CurrentReadyAgents",
  "CurrentNotReadyAgents",
  "CurrentNumberInCall",
]);

/** The statistics of each queue, the most important first: where there are many queues, the last ones are left out. */
export const QUEUE_STATISTICS = Object.freeze([
  "CurrentInQueue",
  "CurrMaxCallWaitingTime",
  "ServiceLevel",
  "CallsEntered",
  "TotalAbandoned",
  "TotalAnswered",
  "AverageWaitingTime",
]);

/** How many of them are asked for, by room. The service level of all queues is weighted by calls, so the two stay together. */
const STEPS = [QUEUE_STATISTICS.length, 5, 4, 2];

/** The statistics of all queues together; asked for only when not every queue can be. */
export const ALL_QUEUES_STATISTICS = Object.freeze(["CurrentInQueue", "CurrMaxCallWaitingTime"]);

/**
 * An id as one segment of a channel: every character outside `A-Z a-z 0-9 - _ ! ~ ( ) $ @ + . # = :` percent-encoded as UTF-8.
 * A lone surrogate, which UTF-8 cannot carry, becomes U+FFFD.
 * @param {string} id
 * @returns {string}
 */
export function segment(id) {
  return encodeURIComponent(id.toWellFormed ? id.toWellFormed() : id.replace(/\p{Surrogate}/gu, "\uFFFD"))
    .replace(/%(?:24|40|2B|23|3D|3A)/g, decodeURIComponent)
    .replace(/['*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/**
 * The channel of one value.
 * @param {string} objectType
 * @param {string} objectId
 * @param {string} name
 * @returns {string}
 */
export function valueChannel(objectType, objectId, name) {
  return `/statistics/v3/values/${objectType}/${segment(objectId)}/${name}`;
}

/**
 * @typedef {object} Plan
 * @property {string[]} channels
 * @property {string[]} queues            the queues that are on show, by name
 * @property {string[]} queueStatistics   what is known of each of them
 * @property {number} left                how many queues there was no room for
 */

/**
 * What to subscribe to for a group of agents and a list of queues.
 * @param {string} group
 * @param {readonly string[]} queues
 * @param {number} [limit]
 * @returns {Plan}
 */
export function plan(group, queues, limit = MAX_SUBSCRIPTIONS) {
  const longest = Math.max(...QUEUE_STATISTICS.map((name) => name.length));
  const unique = [...new Set(queues)];
  const fitting = unique.filter((id) => valueChannel("Queue", id, "").length + longest <= MAX_CHANNEL_LENGTH).sort(byName);
  const channels = [SERVICE_CHANNEL, ...GROUP_STATISTICS.map((name) => valueChannel("GroupAgents", group, name))];
  const room = limit - channels.length - (fitting.length < unique.length ? ALL_QUEUES_STATISTICS.length : 0);
  const step = STEPS.find((size) => size * fitting.length <= room) ?? 0;
  const statistics = QUEUE_STATISTICS.slice(0, step || STEPS[STEPS.length - 1]);
  const most = Math.floor((limit - channels.length - ALL_QUEUES_STATISTICS.length) / statistics.length);
  const shown = step ? fitting : fitting.slice(0, Math.max(0, most));
  const left = unique.length - shown.length;
  if (left > 0) channels.push(...ALL_QUEUES_STATISTICS.map((name) => valueChannel("GroupQueues", "All", name)));
  for (const id of shown) channels.push(...statistics.map((name) => valueChannel("Queue", id, name)));
  return { channels, queues: shown, queueStatistics: [...statistics], left };
}
