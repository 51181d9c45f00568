/**
 * A port that the server listens on, and its slots.
 *
 * @module
 */
import type { OpenConnection } from "./connection.ts";

/** A port that the server listens on. It has a slot for each of the `count` clients that it greets. */
export class Port {
  /** Whether the listener has been closed. */
  closed = false;
  /** How many clients have been greeted. */
  #greeted = 0;
  /** How many slots are taken: by clients that have been greeted, and by open connections that have not been yet. */
  #slotsTaken = 0;
  #wake: () => void = () => {};

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
    this.#wake();
  }

  /** Waits until a slot is free, or until the port or the connection is closed. */
  async waitForSlot(connection: OpenConnection) {
    while (this.isFull && !this.closed && !connection.closeReason) {
      await new Promise<void>((resolve) => this.#wake = connection.wake = resolve);
    }
  }

  /** Counts a client that has been greeted. Returns whether it was the last one. */
  countGreeting(): boolean {
    return ++this.#greeted === this.count;
  }

  /** Closes the listener. */
  close() {
    this.closed = true;
    this.listener.close();
    this.#wake();
  }
}
