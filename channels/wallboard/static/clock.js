// @ts-check
/**
 * The server's clock, told from the timestamps of its messages. A message can only be late, never early, so the largest difference seen is the
 * best one; it is taken from the last one to two windows, so that a clock that was set is followed.
 */
export class ServerClock {
  #windowMs;
  #windowStart = -Infinity;
  #current = -Infinity;
  #previous = -Infinity;

  /** @param {number} [windowMs] how long a difference counts at least */
  constructor(windowMs = 120_000) {
    this.#windowMs = windowMs;
  }

  /**
   * Takes note of a timestamp.
   * @param {number} serverMs
   * @param {number} localMs  this machine's time when it came
   */
  observe(serverMs, localMs) {
    if (!Number.isFinite(serverMs)) return;
    const age = localMs - this.#windowStart;
    if (age >= this.#windowMs || age < 0) {
      this.#previous = age >= 2 * this.#windowMs || age < 0 ? -Infinity : this.#current;
      this.#current = -Infinity;
      this.#windowStart = localMs;
    }
    this.#current = Math.max(this.#current, serverMs - localMs);
  }

  /**
   * The server's time when this machine's is `localMs`; without any timestamp yet, `localMs` itself.
   * @param {number} localMs
   * @returns {number}
   */
  at(localMs) {
    const offset = Math.max(this.#current, this.#previous);
    return Number.isFinite(offset) ? localMs + offset : localMs;
  }
}
