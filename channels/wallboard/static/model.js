// @ts-check
/** What the board knows: agents, queues and totals, made from the values that come in. Pure: no page, no network, no clock of its own. */

import { ServerClock } from "./clock.js";
import { byName } from "./format.js";
import { classify, rank } from "./states.js";

/**
 * @typedef {object} Agent
 * @property {string} id
 * @property {string} status  the Stat Server's name of it
 * @property {string} group   key of a group of states
 * @property {string} detail  a word more: kind of call, reason, or nothing
 * @property {string} place
 * @property {number} since   server time in ms at which the status began
 */

/**
 * @typedef {object} Queue
 * @property {string} id
 * @property {number | null} waiting
 * @property {number | null} waitingSince  server time in ms at which the longest waiting caller came; null when nobody waits
 * @property {number | null} serviceLevel  percent
 * @property {number | null} answered
 * @property {number | null} abandoned
 * @property {number | null} entered
 * @property {number | null} averageWait   seconds
 */

/**
 * @typedef {object} Totals
 * @property {number | null} waiting
 * @property {number} queuesWaiting
 * @property {number | null} longestWait  seconds
 * @property {string} longestQueue
 * @property {number | null} serviceLevel
 * @property {number | null} loggedIn
 * @property {number | null} ready
 * @property {number | null} inCall
 * @property {number | null} notReady
 */

/** Plain counts of a queue: statistic to field. @type {Map<string, "serviceLevel" | "answered" | "abandoned" | "entered" | "averageWait">} */
const QUEUE_FIELDS = new Map([
  ["ServiceLevel", "serviceLevel"],
  ["TotalAnswered", "answered"],
  ["TotalAbandoned", "abandoned"],
  ["CallsEntered", "entered"],
  ["AverageWaitingTime", "averageWait"],
]);

/** Counts of the group of agents: statistic to field of `Board.counts`. @type {Map<string, "loggedIn" | "ready" | "inCall" | "notReady">} */
const GROUP_FIELDS = new Map([
  ["CurrentLoggedInAgents", "loggedIn"],
  ["CurrentReadyAgents", "ready"],
  ["CurrentNumberInCall", "inCall"],
  ["CurrentNotReadyAgents", "notReady"],
]);

/** Waits are told in whole seconds, cut off: two that differ by less than this are the same caller. */
const SAME_CALLER_MS = 1500;

export class Board {
  clock = new ServerClock();
  /** @type {string} */
  group = "All";
  /** @type {Map<string, Agent>} */
  agents = new Map();
  /** Whether the list of agents came at least once for this group. */
  agentsKnown = false;
  /** @type {Map<string, Queue>} */
  queues = new Map();
  /** Whether the list of queues came at least once. */
  queuesKnown = false;
  /** All queues together, known only when not every queue is on show. @type {Queue} */
  allQueues = emptyQueue("All");
  /** Whether `queues` are all queues there are. */
  complete = true;
  /** @type {{loggedIn: number | null, ready: number | null, inCall: number | null, notReady: number | null}} */
  counts = noCounts();
  /** Whether the stat server is available; null until it said so. @type {boolean | null} */
  available = null;
  /** This machine's time of the last value, in ms; null before the first. @type {number | null} */
  updatedAt = null;

  /**
   * Show another group of agents: what is known of the last one is forgotten.
   * @param {string} id
   */
  setGroup(id) {
    if (id === this.group) return;
    this.group = id;
    this.agents = new Map();
    this.agentsKnown = false;
    this.counts = noCounts();
  }

  /**
   * The queues on show. Those that stay keep what is known of them.
   * @param {readonly string[]} ids
   * @param {boolean} complete  whether these are all there are
   */
  setQueues(ids, complete) {
    this.queues = new Map([...ids].sort(byName).map((id) => [id, this.queues.get(id) ?? emptyQueue(id)]));
    this.queuesKnown = true;
    this.complete = complete;
  }

  /**
   * Takes the data of one event, of the values channels or the service channel.
   * @param {unknown} data
   * @param {number} localMs  this machine's time
   * @returns {boolean} whether it was understood
   */
  apply(data, localMs) {
    const message = record(data);
    if (!message) return false;
    if (message.name === "ServiceStateChange") return this.#applyService(record(message.data));
    const value = record(message.value);
    if (!value || typeof message.objectId !== "string" || typeof message.name !== "string") return false;
    const timestamp = number(message.timestamp) ?? localMs;
    // an average or a percentage of nothing is a figure that there is not
    const figures = message.empty === true ? {} : value;
    const known = this.#applyValue(String(message.objectType), message.objectId, message.name, figures, timestamp);
    if (known) {
      this.clock.observe(timestamp, localMs);
      this.updatedAt = localMs;
    }
    return known;
  }

  /**
   * @param {string} objectType
   * @param {string} id
   * @param {string} name
   * @param {Record<string, unknown>} value
   * @param {number} timestamp
   */
  #applyValue(objectType, id, name, value, timestamp) {
    if (objectType === "GroupAgents") {
      if (id !== this.group) return false;
      if (name === "CurrentGroupState") return this.#applyGroupState(record(value.stateValue));
      const field = GROUP_FIELDS.get(name);
      if (!field) return false;
      this.counts[field] = number(value.intValue);
      return true;
    }
    const queue = objectType === "Queue" ? this.queues.get(id) : objectType === "GroupQueues" && id === "All" ? this.allQueues : undefined;
    return queue ? applyToQueue(queue, name, value, timestamp) : false;
  }

  /** @param {Record<string, unknown> | null} data */
  #applyService(data) {
    if (typeof data?.serviceState !== "string") return false;
    this.available = data.serviceState === "AVAILABLE";
    return true;
  }

  /** @param {Record<string, unknown> | null} state */
  #applyGroupState(state) {
    if (!state || !Array.isArray(state.agents)) return false;
    /** @type {Map<string, Agent>} */
    const agents = new Map();
    for (const item of state.agents) {
      const agent = agentOf(record(item));
      if (agent) agents.set(agent.id, agent);
    }
    this.agents = agents;
    this.agentsKnown = true;
    return true;
  }

  /**
   * How many agents each group of states has, by its key.
   * @returns {Map<string, number>}
   */
  distribution() {
    const counts = new Map();
    for (const agent of this.agents.values()) counts.set(agent.group, (counts.get(agent.group) ?? 0) + 1);
    return counts;
  }

  /**
   * Agents in the order of the board: by `state` (then the longest in it first), by `name`, or by `time` in the state, longest first.
   * @param {"state" | "name" | "time"} order
   * @param {boolean} withLoggedOut
   * @returns {Agent[]}
   */
  listAgents(order, withLoggedOut) {
    const agents = [...this.agents.values()].filter((agent) => withLoggedOut || agent.group !== "out");
    if (order === "name") return agents.sort((a, b) => byName(a.id, b.id));
    if (order === "time") return agents.sort((a, b) => a.since - b.since || byName(a.id, b.id));
    return agents.sort((a, b) => rank(a.group) - rank(b.group) || a.since - b.since || byName(a.id, b.id));
  }

  /**
   * The figures on top of the board.
   * @param {number} now  server time in ms
   * @returns {Totals}
   */
  totals(now) {
    const queues = [...this.queues.values()];
    const all = this.complete ? queues : [this.allQueues];
    let longest = null;
    let longestQueue = "";
    for (const queue of all) {
      const wait = longestWait(queue, now);
      if (wait !== null && (longest === null || wait > longest)) {
        longest = wait;
        longestQueue = wait > 0 && this.complete ? queue.id : "";
      }
    }
    const agents = this.agentsKnown ? this.distribution() : null;
    /** @param {string[]} keys */
    const listed = (...keys) => (agents ? keys.reduce((sum, key) => sum + (agents.get(key) ?? 0), 0) : null);
    return {
      waiting: sum(all.map((queue) => queue.waiting)),
      queuesWaiting: queues.filter((queue) => (queue.waiting ?? 0) > 0).length,
      longestWait: longest,
      longestQueue,
      serviceLevel: weightedServiceLevel(queues),
      loggedIn: this.counts.loggedIn ?? (agents && this.agents.size - (agents.get("out") ?? 0)),
      ready: this.counts.ready ?? listed("ready"),
      inCall: this.counts.inCall ?? listed("call", "hold"),
      notReady: this.counts.notReady ?? listed("notready"),
    };
  }
}

/**
 * How long the caller who waits longest has been waiting, in seconds; 0 when nobody waits, null when that is not known.
 * @param {Queue} queue
 * @param {number} now  server time in ms
 * @returns {number | null}
 */
export function longestWait(queue, now) {
  if (queue.waitingSince !== null) return Math.max(0, Math.floor((now - queue.waitingSince) / 1000));
  return queue.waiting === 0 ? 0 : null;
}

/**
 * @param {Queue} queue
 * @param {string} name
 * @param {Record<string, unknown>} value
 * @param {number} timestamp
 * @returns {boolean} whether it was understood
 */
function applyToQueue(queue, name, value, timestamp) {
  if (name === "CurrentInQueue") {
    queue.waiting = number(value.intValue);
    if (!queue.waiting) queue.waitingSince = null;
    else queue.waitingSince ??= timestamp;
    return true;
  }
  if (name === "CurrMaxCallWaitingTime") {
    applyLongestWait(queue, number(value.intValue), timestamp);
    return true;
  }
  const field = QUEUE_FIELDS.get(name);
  if (!field) return false;
  queue[field] = number(value.floatValue) ?? number(value.intValue);
  return true;
}

/**
 * The longest wait comes seldom and in whole seconds, the number waiting at once. So the moment at which the wait began is kept and the board
 * counts on by itself; a value moves that moment only when it speaks of another caller.
 * @param {Queue} queue
 * @param {number | null} seconds
 * @param {number} timestamp
 */
function applyLongestWait(queue, seconds, timestamp) {
  if (seconds === null || queue.waiting === 0 || (seconds === 0 && queue.waiting === null)) return;
  const began = timestamp - seconds * 1000;
  if (queue.waitingSince === null || Math.abs(queue.waitingSince - began) > SAME_CALLER_MS) queue.waitingSince = began;
}

/**
 * Service level of several queues: each counts by the calls that were answered or lost there, or by those that entered where the board does not
 * ask for these. Null as long as there are none: 0 % would blame somebody.
 * @param {Queue[]} queues
 * @returns {number | null}
 */
function weightedServiceLevel(queues) {
  let calls = 0;
  let met = 0;
  for (const queue of queues) {
    const ended = queue.answered === null || queue.abandoned === null ? queue.entered : queue.answered + queue.abandoned;
    if (queue.serviceLevel === null || ended === null) continue;
    calls += ended;
    met += ended * queue.serviceLevel;
  }
  return calls > 0 ? met / calls : null;
}

/**
 * @param {Record<string, unknown> | null} raw
 * @returns {Agent | null}
 */
function agentOf(raw) {
  if (!raw || typeof raw.agentId !== "string" || typeof raw.statusName !== "string") return null;
  const { group, detail } = classify(raw.statusName);
  const place = record(raw.place);
  return {
    id: raw.agentId,
    status: raw.statusName,
    group,
    detail: reasonOf(place, raw.statusName) || detail,
    place: typeof place?.placeId === "string" ? place.placeId : "",
    since: (number(raw.time) ?? 0) * 1000,
  };
}

/**
 * The reason an agent gave for the status, from the action that made it.
 * @param {Record<string, unknown> | null} place
 * @param {string} statusName
 * @returns {string}
 */
function reasonOf(place, statusName) {
  for (const dn of list(place?.dnStatuses)) {
    for (const action of list(dn.actions)) {
      if (action.action !== statusName) continue;
      const reason = Object.values(record(action.reasons) ?? {}).find((text) => typeof text === "string" && text !== "");
      if (reason) return /** @type {string} */ (reason);
    }
  }
  return "";
}

/**
 * @param {(number | null)[]} values
 * @returns {number | null} null when none is known
 */
function sum(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((total, value) => total + value, 0) : null;
}

/** @param {string} id @returns {Queue} */
function emptyQueue(id) {
  return { id, waiting: null, waitingSince: null, serviceLevel: null, answered: null, abandoned: null, entered: null, averageWait: null };
}

/** @returns {Board["counts"]} */
function noCounts() {
  return { loggedIn: null, ready: null, inCall: null, notReady: null };
}

/** @param {unknown} value @returns {Record<string, unknown> | null} */
function record(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? /** @type {Record<string, unknown>} */ (value) : null;
}

/** @param {unknown} value @returns {Record<string, unknown>[]} */
function list(value) {
  return Array.isArray(value) ? value.map(record).filter((item) => item !== null) : [];
}

/** @param {unknown} value @returns {number | null} */
function number(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}
