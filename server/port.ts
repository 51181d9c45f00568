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
  /** How many slots are taken: by clients that have been greeted, and by connections that are being greeted. */
  #slotsTaken = 0;
  /** Notified when a slot is released, and when the port or the connection that waits for a slot is closed. */
  readonly #changed = new ConditionVariable();

  /** `count` is how many clients the port greets. */
  constructor(readonly listener: Deno.TcpListener, readonly count: number) {}

  /** Whether all slots are taken. */
  get isFull(): boolean {
    return this.#slotsTaken >= this.count;
  }

  /** Takes a slot for a client that is about to be greeted. */
  takeSlot() {
    this.#slotsTaken++;
  }

  /** Releases the slot of a client whose connection ended before it was greeted. */
  releaseSlot() {
    this.#slotsTaken--;
    this.#changed.notifyAll();
  }

  /** Waits until a slot is free, or until the port or the connection is closed. */
  async waitForSlot(connection: OpenConnection) {
    connection.wake = () => this.#changed.notifyAll();
    while (this.isFull && !this.closed && !connection.closeReason) await this.#changed.wait();
  }

  /** Counts a client that has been greeted. Returns whether it was the last one. */
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
