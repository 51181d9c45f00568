/**
 * A TCP server that sends every client a greeting and closes the connection.
 *
 * Read {@linkcode serve} from top to bottom: it accepts a connection, writes the greeting, half-closes, discards what the
 * client sends until the client closes too, and closes. Shutdown comes last.
 *
 * @example Greet one client
 * ```ts
 * import { serve } from "./server.ts";
 * import { assertEquals } from "@std/assert";
 *
 * await using server = serve({ hostname: "127.0.0.1", port: 0, greeting: "hello\r\n" });
 * using conn = await Deno.connect({ port: server.addr.port });
 * assertEquals(await new Response(conn.readable).text(), "hello\r\n");
 * ```
 *
 * @module
 */
import { type CloseReason, type Connection, ConnectionList, type ConnInfo } from "./connections.ts";
import { isClientReset, isOutOfDescriptors, listen, ListenError } from "./listen.ts";

export { ListenError };
export type { CloseReason, Connection, ConnInfo };

/**
 * The longest greeting, in bytes. A fresh socket's send buffer takes this much at once, so a write does not wait for the
 * client. The least that was seen to fit was 47,784 bytes, over a virtual link to a client with a 4 KiB receive window.
 */
export const MAX_GREETING_BYTES = 16 * 1024;

/** How much of what a client sends is kept in {@linkcode Connection.received}, in bytes. */
export const KEPT_BYTES = 256;

/** The default options of {@linkcode serve}; `timeout` is in milliseconds. */
export const DEFAULTS = {
  hostname: "0.0.0.0",
  port: 999,
  backlog: 4096,
  greeting: "Thank you for connecting to the server.\r\n",
  maxConnections: 1000,
  timeout: 5000,
} as const;

/** How long a shutdown waits for clients to close, in milliseconds. */
const SHUTDOWN_GRACE_MS = 1000;

/** The shortest and the longest pause after an error in accepting, in milliseconds; as in Go's net/http. */
const ACCEPT_BACKOFF_MIN_MS = 5;
const ACCEPT_BACKOFF_MAX_MS = 1000;

/** How long to wait for an evicted connection's descriptor, in milliseconds, before accepting is tried again. */
const EVICTION_WAIT_MS = 5;

/** The longest delay of setTimeout(), in milliseconds; with a longer one it would fire at once. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** Options of {@linkcode serve}. */
export interface ServeOptions {
  /** A host name or an address of this machine. `::` accepts both IPv4 and IPv6. Default: `0.0.0.0`. */
  hostname?: string;
  /** One port, or several that share all limits. 0 is any free port. Default: 999, the tutorial's. */
  port?: number | readonly number[];
  /**
   * How many connections the kernel may queue until they are accepted; the kernel has its own limit (Linux:
   * `somaxconn`). Of 2,000 clients at once, Deno's default of 511 left 166 without a greeting. Default: 4096.
   */
  backlog?: number;
  /** Text, sent as UTF-8, or bytes; at most {@linkcode MAX_GREETING_BYTES}. Default: the tutorial's, with CR LF. */
  greeting?: string | Uint8Array;
  /**
   * How many connections may be open. When the limit is reached, the oldest connection that has received its greeting is
   * closed to make room. Default: 1000.
   */
  maxConnections?: number;
  /** Decides who is greeted; other clients are closed without a greeting. Default: everybody. */
  allow?: (addr: Deno.NetAddr) => boolean;
  /** Shut down after this many greetings; exactly this many clients receive one. Default: never. */
  count?: number;
  /** How long a connection may stay open, in milliseconds, whatever the client does. Default: 5000. */
  timeout?: number;
  /** Aborting it calls {@linkcode Server.shutdown}, which is graceful. (The `signal` of `Deno.serve` is not.) */
  signal?: AbortSignal;
  /** Called for each port when all ports are open. */
  onListen?: (addr: Deno.NetAddr) => void;
  /** Called for each connection when it is accepted, before it is greeted. */
  onConnection?: (connection: Connection) => void;
  /** Called for each connection when it is closed. */
  onClose?: (connection: Connection) => void;
  /** Called for each connection that `allow` rejects; the other callbacks are not called for it. */
  onRefuse?: (info: ConnInfo) => void;
  /**
   * Called when accepting fails for a reason that no client caused. It is tried again, with pauses, and not reported
   * again until it has succeeded.
   */
  onAcceptError?: (error: unknown) => void;
}

/** A running server, modeled on `Deno.HttpServer`. */
export interface Server extends AsyncDisposable {
  /** The address that the server listens on, with the port that the system chose for 0; the first of several. */
  readonly addr: Deno.NetAddr;
  /** All addresses, in the order of the ports. */
  readonly addrs: readonly Deno.NetAddr[];
  /** Resolves when the server has shut down and its last connection is closed. */
  readonly finished: Promise<void>;
  /**
   * Stops accepting at once, finishes sending the greeting to clients already accepted, and resolves when the last
   * connection is closed: after 1 s or after `timeout` at the latest, whichever is shorter.
   */
  shutdown(): Promise<void>;
}

/**
 * Read buffers in reserve. Each connection needs its own for the input that is kept: in a shared one, another
 * connection's bytes could replace them before they are copied. A new buffer for each connection costs 2 µs.
 */
const bufferPool: Uint8Array<ArrayBuffer>[] = [];

/** Where all connections read the input that is not kept. */
const discardBuffer = new Uint8Array(64 * 1024);

/**
 * Listens, and greets every client, until it is shut down.
 *
 * No client can stop it: what a client does to its own connection becomes that connection's {@linkcode CloseReason}, and
 * accepting is tried again when it fails. An exception in a callback is reported as an uncaught one in an event listener
 * is.
 *
 * @example Observe connections, then shut down
 * ```ts
 * import { serve } from "./server.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const closed: unknown[] = [];
 * const server = serve({
 *   hostname: "127.0.0.1",
 *   port: 0,
 *   onClose: ({ bytesSent, closeReason }) => closed.push([bytesSent, closeReason]),
 * });
 * const conn = await Deno.connect({ port: server.addr.port });
 * await new Response(conn.readable).text(); // reads to the end, which also closes conn
 * await server.shutdown();
 * assertEquals(closed, [[41, "closed"]]);
 * ```
 *
 * @throws {RangeError} If the greeting is too long, there is no port, or a number is out of its range.
 * @throws {ListenError} If it cannot listen on a port, for example because the port is in use.
 */
export function serve(options: ServeOptions = {}): Server {
  checkRanges(options);
  const { maxConnections = DEFAULTS.maxConnections, timeout = DEFAULTS.timeout, count = Infinity, signal } = options;
  const greeting = encodeGreeting(options.greeting ?? DEFAULTS.greeting);
  const { hostname = DEFAULTS.hostname, port = DEFAULTS.port, backlog = DEFAULTS.backlog } = options;
  const listeners = listen(hostname, [port].flat(), backlog);
  const addrs = listeners.map(({ addr }) => addr);
  const [addr] = addrs;
  if (!addr) throw new RangeError("port: expected at least one port");
  for (const each of addrs) invoke(options.onListen, each);
  const connections = new ConnectionList(timeout);
  /** How many connections are handled, from accept until their last operation has ended. */
  let handling = 0;
  /** How many clients have been greeted, or are about to be. */
  let promised = 0;
  let greetings = 0;
  let closing = false;

  const finished = Promise.all(listeners.map(acceptUntilClosed)).then(drain);

  /** Only closing the listener ends this: an error in accepting ends `for await`, but the listener is still good. */
  async function acceptUntilClosed(listener: Deno.TcpListener) {
    // Only an IPv6 socket has IPv4-mapped addresses. Looking for them costs 2 µs per connection.
    const isIPv6 = listener.addr.hostname.includes(":");
    let backoff = 0;
    while (!closing) {
      try {
        for await (const conn of listener) {
          backoff = 0;
          const info = isIPv6 ? unmapIPv4(conn) : conn;
          if (options.allow && !invoke(options.allow, info.remoteAddr)) {
            conn.close();
            invoke(options.onRefuse, info);
            continue;
          }
          while ((connections.isGateClosed || promised >= count) && !closing) await connections.changed();
          if (promised >= count) conn.close();
          else handle(conn, info);
          while (connections.size > maxConnections && !connections.evictOldest()) await connections.changed();
        }
      } catch (error) {
        if (isClientReset(error)) continue;
        if (isOutOfDescriptors(error) && connections.size > 0) {
          connections.evictOldest();
          // The descriptor is free when the pending read has ended. A retry before that would evict another connection.
          await connections.changed(EVICTION_WAIT_MS);
          continue;
        }
        if (backoff === 0) invoke(options.onAcceptError, error);
        // Without a pause, an error that persists would be a loop at full speed.
        backoff = Math.min(Math.max(ACCEPT_BACKOFF_MIN_MS, 2 * backoff), ACCEPT_BACKOFF_MAX_MS);
        await connections.changed(backoff);
      }
    }
  }

  /** The life of one connection, from the greeting to the close. */
  async function handle(conn: Deno.TcpConn, info: ConnInfo) {
    handling++;
    promised++;
    const connection = connections.add(conn, info);
    invoke(options.onConnection, connection);
    const buffer = bufferPool.pop() ?? new Uint8Array(KEPT_BYTES);
    try {
      while (connection.bytesSent < greeting.length) {
        connection.bytesSent += await conn.write(greeting.subarray(connection.bytesSent));
      }
      connection.greeted = true;
      if (++greetings === count) shutdown();
      // Closing a socket with unread input makes the kernel send RST and discard what the client has not yet received.
      // So half-close, and read until the client closes (lingering close, as in nginx).
      await conn.closeWrite();
      connections.markGreeted(connection);
      let target = buffer;
      for (let n = await conn.read(target); n !== null; n = await conn.read(target)) {
        connection.bytesReceived += n;
        if (connection.received.length < KEPT_BYTES) connection.received = buffer.slice(0, connection.bytesReceived);
        target = connection.bytesReceived < KEPT_BYTES ? buffer.subarray(connection.bytesReceived) : discardBuffer;
      }
      connections.close(connection, "closed");
    } catch {
      // The client reset the connection; or it was closed here, which ends its pending operation with an error, and
      // then this call has no effect.
      connections.close(connection, "reset");
    }
    bufferPool.push(buffer);
    if (!connection.greeted) promised--;
    invoke(options.onClose, connection);
    handling--;
    connections.notify();
  }

  function shutdown(): Promise<void> {
    if (!closing) {
      closing = true;
      for (const listener of listeners) listener.close();
      connections.notify();
    }
    return finished;
  }

  /** Gives open connections time to receive the greeting and close. */
  async function drain() {
    const timer = setTimeout(() => connections.closeAll("shutdown"), Math.min(SHUTDOWN_GRACE_MS, timeout));
    while (handling > 0) await connections.changed();
    clearTimeout(timer);
    connections.dispose();
    signal?.removeEventListener("abort", shutdown);
  }

  if (signal?.aborted) shutdown();
  else signal?.addEventListener("abort", shutdown);
  return { addr, addrs, finished, shutdown, [Symbol.asyncDispose]: shutdown };
}

/** Numbers out of range would otherwise fail late, or be rounded silently. */
function checkRanges({ port, backlog, maxConnections, count, timeout }: ServeOptions) {
  const checkInteger = (name: string, value: number | undefined, min: number, max: number) => {
    if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return;
    throw new RangeError(`${name}: expected a whole number from ${min} to ${max}, not ${value}`);
  };
  const ports = [port ?? DEFAULTS.port].flat();
  for (const each of ports) checkInteger("port", each, 0, 65_535);
  checkInteger("backlog", backlog, 1, 65_535);
  checkInteger("maxConnections", maxConnections, 1, Number.MAX_SAFE_INTEGER);
  checkInteger("count", count, 1, Number.MAX_SAFE_INTEGER);
  if (timeout !== undefined && !(timeout > 0 && timeout <= MAX_TIMEOUT_MS)) {
    throw new RangeError(`timeout: expected milliseconds above 0 and up to ${MAX_TIMEOUT_MS}, not ${timeout}`);
  }
}

/** Copies bytes, so that the caller may change them later. */
function encodeGreeting(greeting: string | Uint8Array): Uint8Array {
  const bytes = typeof greeting === "string" ? new TextEncoder().encode(greeting) : greeting.slice();
  if (bytes.length <= MAX_GREETING_BYTES) return bytes;
  throw new RangeError(`greeting: ${bytes.length} bytes are too long; at most ${MAX_GREETING_BYTES} can be sent`);
}

/** Shows IPv4 over an IPv6 socket as IPv4. */
function unmapIPv4({ remoteAddr, localAddr }: ConnInfo): ConnInfo {
  const unmap = (addr: Deno.NetAddr) => ({ ...addr, hostname: addr.hostname.replace(/^::ffff:(?=\d+\.)/, "") });
  return { remoteAddr: unmap(remoteAddr), localAddr: unmap(localAddr) };
}

/** Calls a callback. An exception in it is reported, but does not end the accept loop; the result is then undefined. */
function invoke<T, R>(callback: ((value: T) => R) | undefined, value: T): R | undefined {
  try {
    return callback?.(value);
  } catch (error) {
    reportError(error);
  }
}
