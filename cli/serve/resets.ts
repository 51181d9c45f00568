/**
 * Gathers connections that were reset before they could be accepted, so that one line of the log reports many.
 *
 * @module
 */

/** How long resets are gathered before they are reported, in milliseconds: a port scan causes many of them. */
const GATHER_MS = 1000;

/**
 * The shortest time between two reports if clients are ignored, in milliseconds. Their resets cannot be told from
 * others, because the clients are unknown, and a monitor may cause one every second.
 */
const INTERVAL_WITH_IGNORE_MS = 60_000;

/** Resets before accept that have not been reported yet. */
export class Resets {
  readonly #interval: number;
  #count = 0;
  #ports = new Set<number>();
  #reportedAt = -Infinity;

  /** `hasIgnore` is whether there are clients that are ignored. */
  constructor(hasIgnore: boolean) {
    this.#interval = hasIgnore ? INTERVAL_WITH_IGNORE_MS : GATHER_MS;
  }

  /** Adds a connection to this port. */
  add(port: number) {
    this.#count++;
    this.#ports.add(port);
  }

  /** How many milliseconds after `now` a reset that has been added now is reported. */
  delay(now: number): number {
    return Math.max(GATHER_MS, this.#reportedAt + this.#interval - now);
  }

  /** Removes the resets, which are reported `now`, and returns them. */
  take(now: number): { count: number; ports: ReadonlySet<number> } {
    const taken = { count: this.#count, ports: this.#ports };
    if (taken.count > 0) this.#reportedAt = now;
    this.#count = 0;
    this.#ports = new Set();
    return taken;
  }
}
