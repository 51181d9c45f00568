/**
 * Opens the listeners.
 *
 * @module
 */
import { isOutOfDescriptors, messageOf } from "../shared/errors.ts";
import { uniquePorts } from "../shared/ports.ts";
import { DEFAULTS, type ServeOptions } from "./options.ts";

/** The properties of a {@linkcode ListenError} that describe all ports. */
export type ListenErrorDetails = Pick<
  ListenError,
  "portCount" | "addressCount" | "portsInUse" | "maxPorts" | "excludedBy"
>;

/** Thrown by `serve` if it cannot listen. Its `cause` is what `Deno.listen` threw. */
export class ListenError extends Error {
  /** Always `"ListenError"`. */
  override readonly name = "ListenError";
  /** The requested host name or address at which the port cannot be opened. */
  readonly hostname: string;
  /** The requested port that cannot be opened. */
  readonly port: number;
  /** How many ports were requested. */
  readonly portCount: number;
  /** At how many addresses they were requested. */
  readonly addressCount: number;
  /**
   * The requested ports that were found to be in use. Without `skipTaken`, `serve` stops at the first one. With it, these
   * are all ports if all of them are in use.
   */
  readonly portsInUse: readonly number[];
  /** How many ports can be opened, if there are too few descriptors for all of them; otherwise undefined. */
  readonly maxPorts: number | undefined;
  /**
   * Another address in `hostname` that excludes this one on the same port; otherwise undefined. On Linux, `::` and
   * `0.0.0.0` exclude each other, and each of them excludes the addresses that it covers.
   */
  readonly excludedBy: string | undefined;

  /** The message includes that of the cause, or the address in `excludedBy`. */
  constructor(hostname: string, port: number, cause: unknown, details: ListenErrorDetails) {
    const reason = details.excludedBy === undefined
      ? messageOf(cause)
      : `this server also listens on ${details.excludedBy}, and the two addresses exclude each other`;
    super(`cannot listen on ${hostname} port ${port}: ${reason}`, { cause });
    this.hostname = hostname;
    this.port = port;
    this.portCount = details.portCount;
    this.addressCount = details.addressCount;
    this.portsInUse = details.portsInUse;
    this.maxPorts = details.maxPorts;
    this.excludedBy = details.excludedBy;
  }
}

/**
 * With more ports than this, so many descriptors must be left for connections. With fewer, one must be left: checking for
 * more opens port 0, for which a program with few ports may not have the permission.
 */
const RESERVED_DESCRIPTORS = 64;

/** Replaces `Deno.listen` in tests, to cause errors that real clients cannot cause. */
export const LISTEN: unique symbol = Symbol("listen");

/** The options of `serve`, and what only tests have. */
export type ListenOptions = ServeOptions & { [LISTEN]?: (options: Deno.TcpListenOptions) => Deno.TcpListener };

/** The open ports. */
export interface Listening {
  /** The listeners of each port in the order of the `port` option: one for each address. */
  ports: Deno.TcpListener[][];
  /** The ports that were skipped because they are in use. */
  skipped: number[];
}

/**
 * Listens on all ports at all addresses, or on none. Port 0 comes last, because the system could choose one of the other
 * ports for it.
 *
 * @throws {ListenError} If one of the ports cannot be listened on, or if too few descriptors are left for connections.
 */
export function listen(options: ListenOptions): Listening {
  const { port = DEFAULTS.port, skipTaken = false } = options;
  const ports = uniquePorts([port].flat());
  const inOrder = [...ports.keys()].sort((a, b) => Number(ports[a] === 0) - Number(ports[b] === 0));
  const opener = new PortOpener(options);
  /** The listeners by the index of their port. */
  const opened = new Map<number, Deno.TcpListener[]>();
  const inUse: number[] = [];
  /** How many descriptors are left when the ports are open, as far as the check has counted. */
  let spare = 0;
  let current = 0;
  const count = () => opened.values().reduce((sum, { length }) => sum + length, 0);
  try {
    for (const i of inOrder) {
      current = ports[i] ?? 0;
      try {
        opened.set(i, opener.open(current));
      } catch (error) {
        // For port 0, the error means that no ephemeral port is left.
        if (!(error instanceof Deno.errors.AddrInUse) || opener.excludedBy !== undefined || current === 0) throw error;
        inUse.push(current);
        if (!skipTaken || inUse.length === ports.length) throw error;
      }
    }
    if (count() > RESERVED_DESCRIPTORS) checkDescriptors(opener.hostname, () => spare++);
    else if (opened.size > 0) checkDescriptor(opener.hostname, current);
  } catch (error) {
    for (const listener of [...opened.values()].flat()) listener.close();
    const available = count() + spare;
    const maxListeners = Math.max(0, available - RESERVED_DESCRIPTORS, Math.min(available - 1, RESERVED_DESCRIPTORS));
    throw new ListenError(opener.hostname, current, error, {
      portCount: ports.length,
      addressCount: opener.hostnames.length,
      portsInUse: inUse,
      maxPorts: isOutOfDescriptors(error) ? Math.floor(maxListeners / opener.hostnames.length) : undefined,
      excludedBy: opener.excludedBy,
    });
  }
  const inOrderOfOption = [...opened.keys()].sort((a, b) => a - b).map((i) => opened.get(i) ?? []);
  return { ports: inOrderOfOption, skipped: inUse };
}

/** How often a port is chosen that is free at the first address, until one is also free at the others. */
const MAX_FREE_PORT_ATTEMPTS = 20;

/** Opens ports at all addresses. */
class PortOpener {
  readonly hostnames: readonly string[];
  /** The address that was opened last, or could not be opened. */
  hostname: string;
  /** Which of the server's other addresses makes `hostname` unavailable, if any. */
  excludedBy: string | undefined;
  readonly #listen: (hostname: string, port: number) => Deno.TcpListener;

  constructor({ hostname = DEFAULTS.hostname, backlog = DEFAULTS.backlog, ...options }: ListenOptions) {
    const open = options[LISTEN] ?? Deno.listen;
    this.hostnames = [...new Set([hostname].flat())];
    this.hostname = this.hostnames[0] ?? "";
    this.#listen = (hostname, port) => open({ hostname, port, tcpBacklog: backlog });
  }

  /** Opens a port at each address. Port 0 is one free port for all of them. */
  open(port: number): Deno.TcpListener[] {
    for (let attempt = 1;; attempt++) {
      const listeners: Deno.TcpListener[] = [];
      try {
        for (const hostname of this.hostnames) {
          this.hostname = hostname;
          listeners.push(this.#listen(hostname, listeners[0]?.addr.port ?? port));
        }
        return listeners;
      } catch (error) {
        const [first] = listeners;
        for (const listener of listeners) listener.close();
        if (!(error instanceof Deno.errors.AddrInUse) || !first) throw error;
        this.excludedBy = this.#findExclusion(first.addr.port, listeners.length);
        if (port !== 0 || this.excludedBy !== undefined || attempt === MAX_FREE_PORT_ATTEMPTS) throw error;
      }
    }
  }

  /** Returns which of the first `count` addresses excludes the next one, or `undefined` if another program has the port. */
  #findExclusion(port: number, count: number): string | undefined {
    if (!this.#isFree(this.hostname, port)) return undefined;
    return this.hostnames.slice(0, count).find((other) => {
      using _listener = this.#listen(other, port);
      return !this.#isFree(this.hostname, port);
    });
  }

  #isFree(hostname: string, port: number): boolean {
    try {
      this.#listen(hostname, port).close();
      return true;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
      return false;
    }
  }
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
