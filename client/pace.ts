/**
 * Starts connections evenly.
 *
 * @module
 */

/**
 * How far the schedule may lag behind, in milliseconds. What a busy event loop has missed beyond that is not made up for,
 * because that would be a burst. The pool's clock has ticks of 10 ms.
 */
const MAX_LAG_MS = 20;

/** Spreads connections evenly over the time. */
export class Pace {
  readonly #interval: number;
  readonly #sleep: (ms: number) => Promise<void>;
  /** When the next connection may start, on the clock of `performance.now()`. */
  #next: number | undefined;

  /** `rate` is the number of connections a second. `sleep` waits, and may end early when the run is stopped. */
  constructor(rate: number, sleep: (ms: number) => Promise<void>) {
    this.#interval = 1000 / rate;
    this.#sleep = sleep;
  }

  /** Waits until the next connection may start. */
  async wait() {
    const now = performance.now();
    const start = Math.max(this.#next ?? now, now - MAX_LAG_MS);
    this.#next = start + this.#interval;
    if (start > now) await this.#sleep(start - now);
  }
}
