/**
 * Waiting until another function has changed something.
 *
 * @module
 */

/**
 * A condition variable, as in POSIX threads, but without a lock: JavaScript runs only one function at a time.
 *
 * It has no state of its own, and a notification does not say what has changed. So wait in a loop that checks the
 * condition, and notify after each change that may make the condition true.
 */
export class ConditionVariable {
  readonly #waiters = new Set<() => void>();

  /** Waits until the next {@linkcode notifyAll}, or for at most `ms` milliseconds if given. */
  async wait(ms?: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
    this.#waiters.add(resolve);
    await promise;
    this.#waiters.delete(resolve);
    clearTimeout(timer);
  }

  /** Ends all waits that have begun, in order. */
  notifyAll() {
    for (const resolve of this.#waiters) resolve();
  }
}
