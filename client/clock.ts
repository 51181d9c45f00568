/**
 * A clock for timeouts that must not expire because this program is busy.
 *
 * @module
 */

/** How often the clock is advanced, in milliseconds. */
const TICK_MS = 10;

/** How much a tick counts at most, in milliseconds, however late it comes. */
const MAX_TICK_MS = 20;

/**
 * A clock that stands still while the event loop is late, or while the process is stopped. With setTimeout(), a callback
 * that is overdue runs before the I/O that has arrived in the meantime, so an answer that was there all along would look
 * like a timeout.
 */
export class LoopClock {
  #now = 0;
  /** Callbacks by the number of the tick that is due. */
  readonly #due = new Map<number, Set<() => void>>();
  #size = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lastTick = 0;

  /** Calls back after `ms` milliseconds on this clock. Returns a function that cancels that. */
  schedule(ms: number, callback: () => void): () => void {
    if (this.#size++ === 0) this.#start();
    const tick = Math.ceil((this.#now + ms) / TICK_MS);
    const callbacks = this.#due.get(tick) ?? new Set();
    this.#due.set(tick, callbacks);
    const entry = () => callback(); // the same callback may be scheduled twice
    callbacks.add(entry);
    return () => {
      if (callbacks.delete(entry) && --this.#size === 0) clearTimeout(this.#timer);
    };
  }

  #start() {
    clearTimeout(this.#timer); // it is running if a callback has just scheduled another one when none was left
    this.#lastTick = performance.now();
    this.#timer = setTimeout(this.#tick, TICK_MS);
  }

  #tick = () => {
    const before = Math.floor(this.#now / TICK_MS);
    this.#now += Math.min(performance.now() - this.#lastTick, MAX_TICK_MS);
    for (let tick = before; tick <= this.#now / TICK_MS; tick++) {
      const callbacks = this.#due.get(tick);
      this.#due.delete(tick);
      for (const callback of callbacks ?? []) {
        callbacks?.delete(callback);
        this.#size--;
        callback();
      }
    }
    if (this.#size > 0) this.#start();
  };
}
