/**
 * Opens the listeners, classifies the errors of accepting, and says how long to wait after one.
 *
 * @module
 */

/** Thrown by `serve` if it cannot listen. Its `cause` is what `Deno.listen` threw. */
export class ListenError extends Error {
  /** Always `"ListenError"`. */
  override readonly name = "ListenError";
  /** The host name or address that was asked for. */
  readonly hostname: string;
  /** The port that was asked for. */
  readonly port: number;

  /** Takes the message from the cause. */
  constructor(hostname: string, port: number, cause: unknown) {
    super(`cannot listen on ${hostname} port ${port}: ${cause instanceof Error ? cause.message : cause}`, { cause });
    this.hostname = hostname;
    this.port = port;
  }
}

/**
 * Listens on all ports, or on none.
 *
 * @throws {ListenError} If one of the ports cannot be listened on.
 */
export function listen(
  hostname: string,
  ports: readonly number[],
  tcpBacklog: number,
  open: (options: Deno.TcpListenOptions) => Deno.TcpListener = Deno.listen,
): Deno.TcpListener[] {
  const listeners: Deno.TcpListener[] = [];
  for (const port of ports) {
    try {
      listeners.push(open({ hostname, port, tcpBacklog }));
    } catch (error) {
      for (const listener of listeners) listener.close();
      throw new ListenError(hostname, port, error);
    }
  }
  return listeners;
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
