/**
 * Counts what a server does, in total and on each port.
 *
 * @module
 */
import type { Connection } from "../../server.ts";
import type { Summary } from "./events.ts";

/** The totals of a running server. */
export class Totals {
  readonly #started: number = performance.now();
  readonly #greetingsByPort = new Map<number, number>();
  /** The ports on which a connection was reset before its greeting. */
  readonly #portsReset = new Set<number>();
  #denied = 0;
  #bytesReceived = 0;
  #resetsBeforeAccept = 0;

  /** How many clients received the whole greeting. */
  get greetings(): number {
    return this.#greetingsByPort.values().reduce((sum, greetings) => sum + greetings, 0);
  }

  /** Counts a connection that is closed. */
  addClosed({ greeted, bytesReceived, localAddr, closeReason }: Connection) {
    this.#bytesReceived += bytesReceived;
    if (!greeted) {
      if (closeReason === "reset") this.#portsReset.add(localAddr.port);
      return;
    }
    this.#greetingsByPort.set(localAddr.port, (this.#greetingsByPort.get(localAddr.port) ?? 0) + 1);
  }

  /** Counts a client that is not allowed. */
  addDenied() {
    this.#denied++;
  }

  /** Counts a connection that was reset before it could be accepted. */
  addReset(port: number) {
    this.#resetsBeforeAccept++;
    this.#portsReset.add(port);
  }

  /** The ports on which fewer than `count` clients were greeted. */
  missing(ports: readonly number[], count: number): number[] {
    return ports.filter((port) => (this.#greetingsByPort.get(port) ?? 0) < count);
  }

  /** Returns the summary of these ports. `dropped` is how many log lines were dropped. */
  summary(ports: readonly number[], dropped: number): Summary {
    const notGreeted = ports.filter((port) => !this.#greetingsByPort.has(port));
    return {
      greetings: this.greetings,
      denied: this.#denied,
      bytesReceived: this.#bytesReceived,
      resets: this.#resetsBeforeAccept,
      dropped,
      duration: performance.now() - this.#started,
      ports: {
        greeted: ports.filter((port) => this.#greetingsByPort.has(port)),
        notGreeted: notGreeted.filter((port) => !this.#portsReset.has(port)),
        onlyReset: notGreeted.filter((port) => this.#portsReset.has(port)),
      },
    };
  }
}
