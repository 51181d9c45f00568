/**
 * The options of `serve()`: their types, defaults and ranges.
 *
 * @module
 */
import type { Connection, ConnInfo } from "./connection.ts";
import { checkAddress } from "../shared/addresses.ts";
import { DEFAULT_PORT } from "../shared/limits.ts";
import { checkInteger, checkMilliseconds } from "../shared/ranges.ts";

/** The default options of `serve`; times are in milliseconds. */
export const DEFAULTS = {
  hostname: "0.0.0.0",
  port: DEFAULT_PORT,
  backlog: 4096,
  greeting: "Thank you for connecting to the server.\r\n",
  maxConnections: 1000,
  timeout: 5000,
  inputTimeout: 0,
} as const;

/** Options of `serve`. */
export interface ServeOptions {
  /**
   * A host name or an address of this machine, or several, at each of which the server listens on each port. `::` accepts
   * IPv6 and, except on Windows, IPv4. Default: `0.0.0.0`.
   */
  hostname?: string | readonly string[];
  /** One port, or several. 0 is any free port, the same one at all addresses. Default: 999. */
  port?: number | readonly number[];
  /**
   * How many connections the kernel may queue until they are accepted. The kernel has its own limit (Linux:
   * `somaxconn`). If the queue is full, a client may consider its connection established although the kernel has
   * dropped it, and is greeted late or never. Default: 4096, because Deno's default of 511 is too low for thousands of
   * clients at once.
   */
  backlog?: number;
  /**
   * The greeting: text, which is sent as UTF-8, or bytes, at most 16 KiB. Or a function that returns the greeting of a
   * connection. It cannot be async. If it throws or returns something else, the error is passed to `reportError()`, and
   * the connection is closed. `announcement` is the line of the option `announce`, or empty without it. Default: `Thank you
   * for connecting to the server.` with CR LF.
   */
  greeting?: string | Uint8Array | ((info: ConnInfo, announcement: string) => string | Uint8Array);
  /**
   * Adds a line to the greeting that lists the ports that the server has opened: `greeter listens on 22,8000-8100`, with CR
   * LF. If the greeting is text or bytes, the line is appended to it, after CR LF unless it ends in a line feed; both
   * together may have at most 16 KiB. A greeting function puts the line where it belongs. Cannot be combined with `count`,
   * because a port that it has closed would still be on the list. Every client learns all open ports, even those that a
   * firewall hides. Default: false.
   */
  announce?: boolean;
  /**
   * The maximum number of open connections, not counting one per address and port that waits to be greeted. To make room at
   * the limit, the server closes the oldest connection that has been greeted, or else the oldest one that has received only a
   * part of its greeting. If there is neither, it greets the oldest client that it waits for (`inputTimeout`), and then
   * closes it. Default: 1000.
   */
  maxConnections?: number;
  /** Whether a client is greeted. Other clients are closed without a greeting. Default: all are greeted. */
  allow?: (addr: Deno.NetAddr) => boolean;
  /** Whether a client is greeted without being counted, and without calls of the callbacks. Default: none. */
  ignore?: (addr: Deno.NetAddr) => boolean;
  /**
   * Skips ports that are in use at one of the addresses. `Server.skipped` has them. If all are in use, `serve` throws a
   * ListenError. Default: false, that is, it throws if one is in use.
   */
  skipTaken?: boolean;
  /**
   * Greet exactly this many clients on each port. A port that has greeted them is closed; the server shuts down when
   * all ports are closed. Default: no limit.
   */
  count?: number;
  /** How long a connection may stay open after it is accepted, in milliseconds, whatever the client does. Default: 5000. */
  timeout?: number;
  /**
   * How long to wait for the client to send something before it is greeted, in milliseconds. Or a function that returns
   * that time for a connection. A client that has sent nothing by then is greeted, unless `timeout` closes its
   * connection first. It is greeted earlier if room is needed at the limit of `maxConnections`, or if the server shuts
   * down. Default: 0, that is, the server speaks first.
   */
  inputTimeout?: number | ((info: ConnInfo) => number);
  /** Aborting it calls `Server.shutdown`. Unlike with the `signal` of `Deno.serve`, this shutdown is graceful. */
  signal?: AbortSignal;
  /**
   * Called for each connection that its client has reset before it could be accepted. `addr` is the address that the
   * server listens on. Deno does not provide the client's address: it asks for it after accepting, which then fails.
   */
  onResetBeforeAccept?: (addr: Deno.NetAddr) => void;
  /** Called for each address and port, when all ports are open. */
  onListen?: (addr: Deno.NetAddr) => void;
  /** Called for each connection when it is accepted, before it is greeted. */
  onConnection?: (connection: Connection) => void;
  /** Called for each connection when it is closed. */
  onClose?: (connection: Connection) => void;
  /** Called for each connection that `allow` rejects; the other callbacks are not called for it. */
  onDenied?: (info: ConnInfo) => void;
  /**
   * Called when accepting fails for a reason other than a client. A lack of descriptors is reported only if it lasts for
   * 1 s, or if no connection is open. The server tries again after a pause, and reports no further error until accepting
   * works again.
   */
  onAcceptError?: (error: unknown) => void;
}

/**
 * Rejects numbers that are out of range, and ambiguous numeric addresses.
 *
 * @throws {RangeError} If there is one. The message begins with the option's name.
 */
export function checkRanges(
  { hostname = DEFAULTS.hostname, port, backlog, maxConnections, announce, count, timeout, inputTimeout }: ServeOptions,
) {
  if ([hostname].flat().length === 0) throw new RangeError("hostname: expected at least one name or address");
  for (const each of [hostname].flat()) checkAddress("hostname", each);
  const ports = [port ?? DEFAULTS.port].flat();
  if (ports.length === 0) throw new RangeError("port: expected at least one port");
  for (const each of ports) checkInteger("port", each, 0, 65_535);
  checkInteger("backlog", backlog, 1, 65_535);
  checkInteger("maxConnections", maxConnections, 1, Number.MAX_SAFE_INTEGER);
  if (announce && count !== undefined) {
    throw new RangeError("announce: cannot be combined with count, which closes ports that are on the list");
  }
  checkInteger("count", count, 1, Number.MAX_SAFE_INTEGER);
  checkMilliseconds("timeout", timeout);
  // Unlike with `timeout`, 0 is valid.
  if (typeof inputTimeout === "number" && inputTimeout !== 0) checkMilliseconds("inputTimeout", inputTimeout);
}
