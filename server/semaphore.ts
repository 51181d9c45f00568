/**
 * A counting semaphore.
 *
 * @module
 */
import { Queue } from "../shared/queue.ts";

/** A counting semaphore. Permits are granted in the order in which they were requested. */
export class Semaphore {
  #permits: number;
  readonly #waiting = new Queue<() => void>();

  /** `permits` is how many can be held at once; may be `Infinity`. */
  constructor(permits: number) {
    this.#permits = permits;
  }

  /** How many requests wait for a permit. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Takes a permit if one is free. Returns whether it did. Unlike {@linkcode acquire}, costs no promise. */
  tryAcquire(): boolean {
    if (this.#permits === 0) return false;
    this.#permits--;
    return true;
  }

  /** Waits for a permit. */
  acquire(): Promise<void> {
    if (this.tryAcquire()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Returns a permit, or passes it on to the request that has waited for the longest time. */
  release() {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#permits++;
  }
}
