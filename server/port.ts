/**
 * A port that the server listens on, and its slots.
 *
 * @module
 */
import { Semaphore } from "./semaphore.ts";

/** A port that the server listens on. */
export class Port {
  /** Whether the listeners have been closed. */
  closed = false;
  /**
   * A slot for each of the `count` clients. A connection takes one before its greeting is sent. If sending fails,
   * it gives the slot back.
   */
  readonly slots: Semaphore;
  /** How many clients have been greeted. */
  #greeted = 0;

  /** There is a listener for each address. `count` is how many clients the port greets. */
  constructor(readonly listeners: readonly Deno.TcpListener[], readonly count: number) {
    this.slots = new Semaphore(count);
  }

  /** Counts a client that has been greeted. Returns whether it was the last one. */
  countGreeting(): boolean {
    return ++this.#greeted === this.count;
  }

  /** Closes the listeners, and ends all waits for a slot. */
  close() {
    this.closed = true;
    for (const listener of this.listeners) listener.close();
    while (this.slots.waiting > 0) this.slots.release();
  }
}
