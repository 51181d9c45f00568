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
  /** How many slots are taken: by clients that have been greeted, and by connections that are going to be. */
  #slotsTaken = 0;
  /** Notified when a slot is released, and when the port or the connection that waits for a slot is closed. */
  readonly #changed = new ConditionVariable();

  /** `count` is how many clients the port greets. */
  constructor(readonly listener: Deno.TcpListener, readonly count: number) {}

  /** Takes a slot for a connection, unless all are taken. Returns whether it has one. */
  takeSlot(connection: OpenConnection): boolean {
    if (this.#slotsTaken >= this.count) return false;
    this.#slotsTaken++;
    return connection.hasSlot = true;
  }

  /** Releases the slot of a connection that ended before its client was greeted. */
  releaseSlot(connection: OpenConnection) {
    connection.hasSlot = false;
    this.#slotsTaken--;
    this.#changed.notifyAll();
  }

  /** Waits until a slot is free, and takes it. Ends without one if the port or the connection is closed before. */
  async waitForSlot(connection: OpenConnection) {
    connection.wake = () => this.#changed.notifyAll();
    while (!this.takeSlot(connection) && !this.closed && !connection.closeReason) await this.#changed.wait();
  }

  /** Counts a client that has been greeted, which keeps its slot. Returns whether it was the last one. */
  countGreeting(): boolean {
    return ++this.#greeted === this.count;
  }

  /** Closes the listener. */
  close() {
    this.closed = true;
    this.listener.close();
    this.#changed.notifyAll();
  }
}
