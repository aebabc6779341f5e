// @ts-check
/** The REST calls of the board. Credentials are the sign-in cookie, which scripts cannot read. */

/** The page's own folder: the board also works below a path of a reverse proxy. */
const BASE = new URL("../", import.meta.url);

/** A hub that answers nothing within this time hangs: the next call may find it well again. */
const TIMEOUT_MS = 10_000;

/** A call that the hub answered with an error. */
export class ApiError extends Error {
  /**
   * @param {number} status  HTTP status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** @typedef {object} Config
 * @property {string} title
 * @property {number} max_subscriptions
 * @property {number} page_seconds
 * @property {import("./thresholds.js").Thresholds} thresholds
 */

/** The wallboard's settings. @returns {Promise<Config>} */
export async function config() {
  return /** @type {Promise<Config>} */ (call("wallboard/config.json"));
}

/**
 * Ids of the objects of a type that the stat server knows.
 * @param {"Queue" | "GroupAgents"} objectType
 * @returns {Promise<string[]>}
 */
export async function objects(objectType) {
  const answer = await call(`api/v1/objects/${objectType}`);
  const found = /** @type {any} */ (answer)?.data?.objects;
  if (!Array.isArray(found)) throw new ApiError(200, `expected a list of ${objectType} ids`);
  return found.filter((id) => typeof id === "string");
}

/**
 * Exchanges a token for the sign-in cookie.
 * @param {string} token
 */
export async function signIn(token) {
  await call("api/v1/sign-in", { token });
}

/** Ends the sign-in. */
export async function signOut() {
  await call("api/v1/sign-out", {});
}

/** The address of the WebSocket. */
export function socketUrl() {
  const url = new URL("ws", BASE);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/**
 * @param {string} path
 * @param {object} [body]  makes it a POST
 * @returns {Promise<unknown>}
 */
async function call(path, body) {
  const request = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(new URL(path, BASE), { credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS), ...request });
  const text = await response.text();
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch (error) {
    if (response.ok) throw new ApiError(response.status, `the answer is not JSON: ${error}`);
  }
  if (!response.ok) throw new ApiError(response.status, answer?.status?.message ?? answer?.message ?? `HTTP ${response.status}`);
  return answer;
}
