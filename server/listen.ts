/**
 * Opens the listeners.
 *
 * @module
 */
import { messageOf } from "../shared/errors.ts";
import { isOutOfDescriptors } from "./accept_errors.ts";
import { DEFAULTS, type ServeOptions } from "./options.ts";

/** The properties of a {@linkcode ListenError} that describe all ports. */
export type ListenErrorDetails = Pick<ListenError, "portCount" | "portsInUse" | "maxPorts">;

/** Thrown by `serve` if it cannot listen. Its `cause` is what `Deno.listen` threw. */
export class ListenError extends Error {
  /** Always `"ListenError"`. */
  override readonly name = "ListenError";
  /** The requested host name or address. */
  readonly hostname: string;
  /** The requested port that cannot be opened. */
  readonly port: number;
  /** How many ports were requested. */
  readonly portCount: number;
  /**
   * The requested ports that were found to be in use. Without `onPortInUse`, `serve` stops at the first one. With it,
   * these are all ports if all of them are in use.
   */
  readonly portsInUse: readonly number[];
  /** How many ports can be opened, if there are too few descriptors for all of them; otherwise undefined. */
  readonly maxPorts: number | undefined;

  /** The message includes the message of the cause. */
  constructor(hostname: string, port: number, cause: unknown, details: ListenErrorDetails) {
    super(`cannot listen on ${hostname} port ${port}: ${messageOf(cause)}`, { cause });
    this.hostname = hostname;
    this.port = port;
    this.portCount = details.portCount;
    this.portsInUse = details.portsInUse;
    this.maxPorts = details.maxPorts;
  }
}

/**
 * With more ports than this, so many descriptors must be left for connections. With fewer, one must be left: checking for
 * more opens port 0, for which a program with few ports may not have the permission.
 */
export const RESERVED_DESCRIPTORS = 64;

/** What {@linkcode listen} returns. */
export interface Listening {
  /** The listeners, in the order of the `port` option. */
  listeners: Deno.TcpListener[];
  /** The ports that were skipped because they are in use. */
  skipped: number[];
}

/**
 * Listens on all ports, or on none. Port 0 comes last, because the system could choose one of the other ports for it.
 *
 * @throws {ListenError} If one of the ports cannot be listened on, or if too few descriptors are left for connections.
 */
export function listen(options: ServeOptions): Listening {
  const { hostname = DEFAULTS.hostname, port = DEFAULTS.port, backlog = DEFAULTS.backlog, onPortInUse } = options;
  const open = options.listen ?? Deno.listen;
  const ports = [port].flat();
  const inOrder = [...ports.keys()].sort((a, b) => Number(ports[a] === 0) - Number(ports[b] === 0));
  /** The listeners by the index of their port. */
  const opened = new Map<number, Deno.TcpListener>();
  const inUse: number[] = [];
  /** How many descriptors are left when the ports are open, as far as the check has counted. */
  let spare = 0;
  let current = 0;
  try {
    for (const i of inOrder) {
      current = ports[i] ?? 0;
      try {
        opened.set(i, open({ hostname, port: current, tcpBacklog: backlog }));
      } catch (error) {
        // For port 0, the error means that no ephemeral port is left.
        if (!(error instanceof Deno.errors.AddrInUse) || current === 0) throw error;
        inUse.push(current);
        if (!onPortInUse || inUse.length === ports.length) throw error;
      }
    }
    if (opened.size > RESERVED_DESCRIPTORS) checkDescriptors(hostname, () => spare++);
    else if (opened.size > 0) checkDescriptor(hostname, current);
  } catch (error) {
    for (const listener of opened.values()) listener.close();
    const available = opened.size + spare;
    const maxPorts = isOutOfDescriptors(error)
      ? Math.max(0, available - RESERVED_DESCRIPTORS, Math.min(available - 1, RESERVED_DESCRIPTORS))
      : undefined;
    throw new ListenError(hostname, current, error, { portCount: ports.length, portsInUse: inUse, maxPorts });
  }
  return { listeners: [...ports.keys()].flatMap((i) => opened.get(i) ?? []), skipped: inUse };
}

/**
 * Checks that a descriptor is left, by opening a port for which the program has the permission. Without a descriptor, that
 * fails with EMFILE. With one, it fails with EADDRINUSE, because the server listens on that port or another program does.
 */
function checkDescriptor(hostname: string, port: number) {
  try {
    Deno.listen({ hostname, port }).close(); // works for port 0
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
  }
}

/** Checks that enough descriptors are left. There is no way to find out but to open them. */
function checkDescriptors(hostname: string, onOpen: () => void) {
  const spares: Deno.TcpListener[] = [];
  try {
    while (spares.length < RESERVED_DESCRIPTORS) {
      // The server has listened on this host, so the address exists. A host may have no 127.0.0.1.
      spares.push(Deno.listen({ hostname, port: 0 }));
      onOpen();
    }
  } catch (error) {
    // If the server listens on every port, no other listener can be opened, whether descriptors are left or not.
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
  } finally {
    for (const listener of spares) listener.close();
  }
}
