/**
 * Opens the listeners, classifies errors in accepting, and determines the pause after one.
 *
 * @module
 */

import { codeOf } from "./error_code.ts";
import { DEFAULTS, type ServeOptions } from "./serve_options.ts";

/** Thrown by `serve` if it cannot listen. Its `cause` is what `Deno.listen` threw. */
export class ListenError extends Error {
  /** Always `"ListenError"`. */
  override readonly name = "ListenError";
  /** The requested host name or address. */
  readonly hostname: string;
  /** The requested port. */
  readonly port: number;
  /** How many ports can be opened, if there are too few descriptors for all of them; otherwise undefined. */
  readonly maxPorts: number | undefined;

  /** The message includes the message of the cause. */
  constructor(hostname: string, port: number, cause: unknown, maxPorts?: number) {
    super(`cannot listen on ${hostname} port ${port}: ${cause instanceof Error ? cause.message : cause}`, { cause });
    this.hostname = hostname;
    this.port = port;
    this.maxPorts = maxPorts;
  }
}

/** How many descriptors are kept for connections. Only checked for more ports than that: fewer leave enough. */
export const RESERVED_DESCRIPTORS = 64;

/**
 * Listens on all ports, or on none.
 *
 * @throws {ListenError} If one of the ports cannot be listened on, or if too few descriptors are left for connections.
 */
export function listen(options: ServeOptions): Deno.TcpListener[] {
  const { hostname = DEFAULTS.hostname, port = DEFAULTS.port, backlog = DEFAULTS.backlog, onPortInUse } = options;
  const open = options.listen ?? Deno.listen;
  const ports = [port].flat();
  const listeners: Deno.TcpListener[] = [];
  const skipped: number[] = [];
  /** How many descriptors are left when the ports are open, as far as is known. */
  let spare = 0;
  let current = 0;
  try {
    for (current of ports) {
      try {
        listeners.push(open({ hostname, port: current, tcpBacklog: backlog }));
      } catch (error) {
        const areAllInUse = listeners.length === 0 && skipped.length === ports.length - 1;
        if (!onPortInUse || !(error instanceof Deno.errors.AddrInUse) || areAllInUse) throw error;
        skipped.push(current);
      }
    }
    if (listeners.length > RESERVED_DESCRIPTORS) checkDescriptors(() => spare++);
  } catch (error) {
    for (const listener of listeners) listener.close();
    // Descriptors are reserved only if there are more ports than that.
    const maxPorts = isOutOfDescriptors(error)
      ? Math.max(listeners.length + spare - RESERVED_DESCRIPTORS, Math.min(listeners.length, RESERVED_DESCRIPTORS))
      : undefined;
    throw new ListenError(hostname, current, error, maxPorts);
  }
  for (const port of skipped) onPortInUse?.(port);
  return listeners;
}

/** Checks that enough descriptors are left. The only way to find out is to open them. */
function checkDescriptors(onOpen: () => void) {
  const spares: Deno.TcpListener[] = [];
  try {
    while (spares.length < RESERVED_DESCRIPTORS) {
      spares.push(Deno.listen({ hostname: "127.0.0.1", port: 0 }));
      onOpen();
    }
  } catch (error) {
    // If the server listens on every port, no other listener can be opened, whether descriptors are left or not.
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
  } finally {
    for (const listener of spares) listener.close();
  }
}

/** A port that the server listens on. It has a slot for each of the `count` clients that it greets. */
export class Port {
  /** Whether the listener has been closed. */
  closed = false;
  /** How many clients have been greeted. */
  greeted = 0;
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

  /** Waits while all slots are taken, until the port is closed. Returns whether a slot is free. */
  async waitForSlot(): Promise<boolean> {
    while (this.isFull && !this.closed) await new Promise<void>((resolve) => this.#wake = resolve);
    return !this.isFull;
  }

  /** Closes the listener. */
  close() {
    this.closed = true;
    this.listener.close();
    this.#wake();
  }
}

/**
 * Whether an error in accepting was caused by a client. Accepting also requests the client's address, which fails if
 * the client has reset the connection, as `nmap -sT` does.
 */
export function isClientReset(error: unknown): boolean {
  return error instanceof Deno.errors.NotConnected ||
    error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.ConnectionAborted;
}

/** Whether no descriptor is left: EMFILE in this process, ENFILE in the system. */
export function isOutOfDescriptors(error: unknown): boolean {
  return ["EMFILE", "ENFILE"].includes(codeOf(error) ?? "");
}

/** The shortest and the longest pause after an error in accepting, in milliseconds; the same as in Go's net/http. */
const ACCEPT_BACKOFF_MIN_MS = 5;
const ACCEPT_BACKOFF_MAX_MS = 1000;

/** The pause after an error in accepting, in milliseconds: twice the previous one, which is 0 after a success. */
export function nextBackoff(previous: number): number {
  return Math.min(Math.max(ACCEPT_BACKOFF_MIN_MS, 2 * previous), ACCEPT_BACKOFF_MAX_MS);
}
