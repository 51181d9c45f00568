/**
 * Starts connections evenly.
 *
 * @module
 */

/** How many connections to blocked ports are so few that two controls are enough. */
export const FEW_CONNECTIONS = 8;

/**
 * How many connections to blocked ports start in a second: few are no burst for a usual limit on new connections, and many may
 * take 10 s. OpenWrt allows 25 a second.
 */
const RATE_FOR_FEW = 4;
const MIN_RATE_FOR_MANY = 20;
const SPREAD_SECONDS = 10;

/** Returns how many of these connections start in a second if no `rate` is given. */
export function defaultRate(connections: number): number {
  return connections <= FEW_CONNECTIONS ? RATE_FOR_FEW : Math.max(MIN_RATE_FOR_MANY, connections / SPREAD_SECONDS);
}

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
