/**
 * The results that `connect()` has not yielded yet.
 *
 * @module
 */
import { ConditionVariable } from "../shared/condition_variable.ts";
import type { ProbeResult } from "./options.ts";
import { Queue } from "../shared/queue.ts";

/** The results of all hosts, on the way to the consumer of `connect()`. */
export class ResultQueue {
  readonly #results = new Queue<ProbeResult>();
  readonly #onRead: () => void;
  /** Whether no further result will be added. */
  #isClosed = false;
  #failure: { error: unknown } | undefined;
  readonly #changed = new ConditionVariable();

  /** `onRead` is called when a result has been read. */
  constructor(onRead: () => void) {
    this.#onRead = onRead;
  }

  /** How many results have not been read. */
  get size(): number {
    return this.#results.size;
  }

  /** Adds a result. */
  add(result: ProbeResult) {
    this.#results.push(result);
    this.#changed.notifyAll();
  }

  /** Ends the iteration when all results have been read. It then throws the error of the failure, if there was one. */
  close(failure: { error: unknown } | undefined) {
    this.#isClosed = true;
    this.#failure = failure;
    this.#changed.notifyAll();
  }

  /** Yields the results in the order in which they were added. */
  async *[Symbol.asyncIterator](): AsyncGenerator<ProbeResult, void, void> {
    for (;;) {
      const result = this.#results.shift();
      if (result) {
        this.#onRead();
        yield result;
      } else if (!this.#isClosed) {
        await this.#changed.wait();
      } else if (this.#failure) {
        throw this.#failure.error;
      } else {
        return;
      }
    }
  }
}
