/**
 * A port that the server listens on, and its slots.
 *
 * @module
 */
import { ConditionVariable } from "../shared/condition_variable.ts";
import type { OpenConnection } from "./connection.ts";

/** A port that the server listens on. It has a slot for each of the `count` clients that it greets. */
export class Port {
  /** Whether the listener has been closed. */
  closed = false;
  /** How many clients have been greeted. */
  #greeted = 0;
  /** Connections that have a slot, and have not been greeted yet. */
  readonly #holders = new Set<OpenConnection>();
  /** Notified when a slot is released, and when the port or the connection that waits for a slot is closed. */
  readonly #changed = new ConditionVariable();

  /** `count` is how many clients the port greets. */
  constructor(readonly listener: Deno.TcpListener, readonly count: number) {}

  /** Takes a slot for a connection, unless all are taken. Returns whether it has one. */
  takeSlot(connection: OpenConnection): boolean {
    // Those that have been greeted keep their slot.
    if (this.#greeted + this.#holders.size >= this.count) return false;
    this.#holders.add(connection);
    return true;
  }

  /** Releases the slot of a connection that ended before its client was greeted. Otherwise, this has no effect. */
  releaseSlot(connection: OpenConnection) {
    if (this.#holders.delete(connection)) this.#changed.notifyAll();
  }

  /** Waits until a slot is free, and takes it. Returns false if the port or the connection is closed before. */
  async waitForSlot(connection: OpenConnection): Promise<boolean> {
    connection.wake = () => this.#changed.notifyAll();
    while (!this.takeSlot(connection)) {
      if (this.closed || connection.closeReason) return false;
      await this.#changed.wait();
    }
    return true;
  }

  /** Counts a client that has been greeted. Returns whether it was the last one. */
  countGreeting(connection: OpenConnection): boolean {
    this.#holders.delete(connection);
    return ++this.#greeted === this.count;
  }

  /** Closes the listener. */
  close() {
    this.closed = true;
    this.listener.close();
    this.#changed.notifyAll();
  }
}
