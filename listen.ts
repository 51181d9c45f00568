/**
 * Opens the listeners, classifies the errors of accepting, and says how long to wait after one.
 *
 * @module
 */

import { DEFAULTS, type ServeOptions } from "./serve_options.ts";

/** Thrown by `serve` if it cannot listen. Its `cause` is what `Deno.listen` threw. */
export class ListenError extends Error {
  /** Always `"ListenError"`. */
  override readonly name = "ListenError";
  /** The host name or address that was asked for. */
  readonly hostname: string;
  /** The port that was asked for. */
  readonly port: number;

  /** How many ports could be opened at the most, if no descriptor is left; otherwise undefined. */
  readonly possible: number | undefined;

  /** Takes the message from the cause. */
  constructor(hostname: string, port: number, cause: unknown, possible?: number) {
    super(`cannot listen on ${hostname} port ${port}: ${cause instanceof Error ? cause.message : cause}`, { cause });
    this.hostname = hostname;
    this.port = port;
    this.possible = possible;
  }
}

/** How many descriptors are kept for connections. Fewer ports than that leave enough in practice. */
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
  let reserved = 0;
  let current = 0;
  try {
    for (current of ports) {
      try {
        listeners.push(open({ hostname, port: current, tcpBacklog: backlog }));
      } catch (error) {
        const isLastChance = listeners.length === 0 && skipped.length === ports.length - 1;
        if (!onPortInUse || !(error instanceof Deno.errors.AddrInUse) || isLastChance) throw error;
        skipped.push(current);
      }
    }
    if (listeners.length > RESERVED_DESCRIPTORS) reserveDescriptors(() => reserved++);
  } catch (error) {
    for (const listener of listeners) listener.close();
    const descriptors = listeners.length + reserved;
    // Up to RESERVED_DESCRIPTORS ports are opened without the reserve.
    const possible = Math.max(descriptors - RESERVED_DESCRIPTORS, Math.min(descriptors, RESERVED_DESCRIPTORS));
    throw new ListenError(hostname, current, error, isOutOfDescriptors(error) ? possible : undefined);
  }
  for (const port of skipped) onPortInUse?.(port);
  return listeners;
}

/** Checks that enough descriptors are left, by opening some: there is no way to ask how many are left. */
function reserveDescriptors(onOpen: () => void) {
  const reserve: Deno.TcpListener[] = [];
  try {
    while (reserve.length < RESERVED_DESCRIPTORS) {
      reserve.push(Deno.listen({ hostname: "127.0.0.1", port: 0 }));
      onOpen();
    }
  } catch (error) {
    // If the server listens on every port, no other listener can be opened, whether descriptors are left or not.
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
  } finally {
    for (const listener of reserve) listener.close();
  }
}

/** A port that the server listens on, and how many of its greetings have been sent or promised. */
export class Port {
  /** Whether the listener has been closed. */
  closed = false;
  /** How many clients have been greeted or will be, unless their connection ends before. */
  promised = 0;
  /** How many clients have been greeted. */
  greetings = 0;
  #wake: () => void = () => {};

  /** `count` is how many clients are greeted. */
  constructor(readonly listener: Deno.TcpListener, readonly count: number) {}

  /**
   * Whether another client can be greeted. If all greetings are promised, waits until one of them fails, or until all are
   * sent, which closes the port.
   */
  async hasVacancy(): Promise<boolean> {
    while (this.promised >= this.count && !this.closed) await new Promise<void>((resolve) => this.#wake = resolve);
    return this.promised < this.count;
  }

  /** The connection of a client that had been promised a greeting ended before the greeting was sent. */
  releasePromise() {
    this.promised--;
    this.#wake();
  }

  /** Closes the listener. */
  close() {
    this.closed = true;
    this.listener.close();
    this.#wake();
  }
}

/**
 * Whether an error in accepting was caused by a client. Accepting also asks for the client's address, which fails if the
 * client has reset the connection (`nmap -sT` resets every connection).
 */
export function isClientReset(error: unknown): boolean {
  return error instanceof Deno.errors.NotConnected ||
    error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.ConnectionAborted;
}

/** Whether no descriptor is left: EMFILE in this process, ENFILE in the system. Deno has no error class for them. */
export function isOutOfDescriptors(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "EMFILE" || error.code === "ENFILE");
}

/** The shortest and the longest pause after an error in accepting, in milliseconds; the same as in Go's net/http. */
const ACCEPT_BACKOFF_MIN_MS = 5;
const ACCEPT_BACKOFF_MAX_MS = 1000;

/** The pause after an error in accepting, in milliseconds: twice the previous one, which is 0 after a success. */
export function nextBackoff(previous: number): number {
  return Math.min(Math.max(ACCEPT_BACKOFF_MIN_MS, 2 * previous), ACCEPT_BACKOFF_MAX_MS);
}
