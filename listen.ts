/**
 * Opens the listeners, and tells apart the errors of accepting.
 *
 * @module
 */

/** Thrown by `serve` when it cannot listen; `cause` is what `Deno.listen` threw. */
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
export function listen(hostname: string, ports: readonly number[], tcpBacklog: number): Deno.TcpListener[] {
  const listeners: Deno.TcpListener[] = [];
  for (const port of ports) {
    try {
      listeners.push(Deno.listen({ hostname, port, tcpBacklog }));
    } catch (error) {
      for (const listener of listeners) listener.close();
      throw new ListenError(hostname, port, error);
    }
  }
  return listeners;
}

/** Accepting also asks for the client's address, which fails after a reset (`nmap -sT` resets every connection). */
export function isClientReset(error: unknown): boolean {
  return error instanceof Deno.errors.NotConnected ||
    error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.ConnectionAborted;
}

/** EMFILE is the limit of the process, ENFILE that of the system; Deno has no error class for them. */
export function isOutOfDescriptors(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "EMFILE" || error.code === "ENFILE");
}
