/**
 * A TCP server that sends every client a greeting and closes the connection.
 *
 * Read {@linkcode serve} from top to bottom: it accepts a connection, writes the greeting, half-closes, discards what
 * the client sends until the client closes too, and closes. Shutdown comes last.
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
import {
  type CloseReason,
  type Connection,
  type ConnInfo,
  type OpenConnection,
  unmapIPv4,
} from "./server/connection.ts";
import { ConnectionList } from "./server/connections.ts";
import {
  isClientReset,
  isOutOfDescriptors,
  listen,
  ListenError,
  type ListenErrorDetails,
  nextBackoff,
  Port,
} from "./server/listen.ts";
import { checkRanges, DEFAULTS, type ServeOptions } from "./server/options.ts";
import { MAX_GREETING_BYTES } from "./shared/limits.ts";

export { DEFAULTS, ListenError, MAX_GREETING_BYTES };
export type { CloseReason, Connection, ConnInfo, ListenErrorDetails, ServeOptions };

/** How many bytes of a client's input are kept in {@linkcode Connection.received}. */
export const KEPT_BYTES = 256;

/** How long a shutdown waits for clients to close their connections, in milliseconds. */
const SHUTDOWN_GRACE_MS = 1000;

/**
 * How long a shutdown waits for pending operations on connections that are already closed, in milliseconds. They end at
 * once, except that before Deno 2.9.5 `close()` does not cancel a blocked write.
 */
const PENDING_OPERATIONS_WAIT_MS = 100;

/** How long to wait for an evicted connection to free its descriptor before accepting again, in milliseconds. */
const EVICTION_WAIT_MS = 5;

/**
 * How long a lack of descriptors may last before it is reported, in milliseconds, while connections are being handled. A
 * connection that is closed leaves the list at once, but frees its descriptor only when its last operation has ended.
 */
const OUT_OF_DESCRIPTORS_GRACE_MS = 1000;

/** A running server, modeled on `Deno.HttpServer`. */
export interface Server extends AsyncDisposable {
  /** The first address that the server listens on. If the port was 0, this has the port that the system chose. */
  readonly addr: Deno.NetAddr;
  /** All addresses that the server listens on, in the order of the `port` option. */
  readonly addrs: readonly Deno.NetAddr[];
  /** Resolves when the server has shut down and its last connection is closed. */
  readonly finished: Promise<void>;
  /**
   * Stops accepting at once, finishes sending the greeting to clients already accepted, and resolves when the last
   * connection is closed. Connections that are still open after 1 s are closed. `timeout` still applies to each.
   */
  shutdown(): Promise<void>;
}

/**
 * Read buffers to reuse. Each connection needs its own buffer for the input that is kept: in a shared buffer, another
 * connection could overwrite that input before it is copied. Allocating a buffer for each connection costs 2 µs.
 */
const bufferPool: Uint8Array<ArrayBuffer>[] = [];

/** Input that is not kept is read into this buffer, which all connections share. */
const discardBuffer = new Uint8Array(64 * 1024);

/**
 * Starts a server that greets every client until it is shut down.
 *
 * No client can stop the server. An error on a connection ends only that connection. If accepting fails, the server
 * tries again.
 *
 * An exception in a callback is passed to `reportError()`, which ends the program unless an `error` event listener
 * calls `preventDefault()`. In that case, the server continues.
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
 * @throws {ListenError} If the server cannot listen on a port, for example because the port is in use.
 */
export function serve(options: ServeOptions = {}): Server {
  checkRanges(options);
  const { timeout = DEFAULTS.timeout, maxConnections = DEFAULTS.maxConnections, count = Infinity, signal } = options;
  const greetingFor = toGreetingFunction(options.greeting ?? DEFAULTS.greeting);
  const { listeners, skipped } = listen(options);
  const ports = listeners.map((listener) => new Port(listener, count));
  const addrs = listeners.map(({ addr }) => addr);
  const [addr] = addrs;
  if (!addr) throw new RangeError("port: expected at least one port");
  for (const port of skipped) invoke(options.onPortInUse, port);
  for (const each of addrs) invoke(options.onListen, each);
  const connections = new ConnectionList(timeout, maxConnections);
  /** How many calls of `greet` have not returned. The last operation on a connection may end after it is closed. */
  let runningHandlers = 0;
  let openPorts = ports.length;
  /** When accepting began to fail, if it is failing now, and whether that was reported. Many ports fail together. */
  let failingSince: number | undefined;
  let isReported = false;
  let graceTimer: ReturnType<typeof setTimeout> | undefined;

  const finished = Promise.all(ports.map(acceptUntilClosed)).then(drain);

  /** Accepts until the port is closed. An error ends the `for await` loop, but the listener can be iterated again. */
  async function acceptUntilClosed(port: Port) {
    // Only an IPv6 socket has IPv4-mapped addresses. Converting them costs 2 µs per connection.
    const isIPv6 = port.listener.addr.hostname.includes(":");
    let backoff = 0;
    while (!port.closed) {
      try {
        for await (const conn of port.listener) {
          backoff = 0;
          endFailure();
          const info = isIPv6 ? unmapIPv4(conn) : conn;
          if (options.allow && !invoke(options.allow, info.remoteAddr)) {
            conn.close();
            invoke(options.onRefuse, info);
            continue;
          }
          const greeting = invoke(greetingFor, info);
          if (!greeting) {
            conn.close(); // the greeting function has failed, which `invoke` has reported
            continue;
          }
          const counter = options.ignore && invoke(options.ignore, info.remoteAddr) ? undefined : port;
          const connection = connections.add(conn, info);
          if (counter) invoke(options.onConnection, connection);
          // While this connection waits for a slot and for the gate, the next ones wait in the kernel's accept queue.
          if (counter?.isFull) await counter.waitForSlot(connection);
          // The port was closed first. This has no effect if the connection has ended in the meantime.
          if (counter?.isFull) connections.close(connection, "shutdown");
          const turn = connection.closeReason ? undefined : connections.admit(connection);
          if (turn) await turn;
          if (!connection.closeReason) greet(connection, greeting, counter);
          else if (counter) invoke(options.onClose, connection);
        }
      } catch (error) {
        if (isClientReset(error)) {
          backoff = 0; // accepting works again, although this client has gone
          endFailure();
          invoke(options.onResetBeforeAccept, port.listener.addr);
        } else backoff = await pauseAfter(error, backoff);
      }
    }
  }

  function endFailure() {
    failingSince = undefined;
    isReported = false;
  }

  /**
   * Handles an accept error that was not caused by a client. If no descriptor is left, evicts a connection. Reports the
   * error unless it is likely to be temporary, and pauses. Returns the pause in milliseconds. It ends early when a
   * connection is greeted or closed.
   */
  async function pauseAfter(error: unknown, backoff: number): Promise<number> {
    const isEvicted = isOutOfDescriptors(error) && connections.evictOldest();
    // Without a pause, a persistent error would make this a busy loop.
    const pause = isEvicted ? EVICTION_WAIT_MS : nextBackoff(backoff);
    const now = performance.now();
    failingSince ??= now;
    const isTemporary = isOutOfDescriptors(error) && runningHandlers > 0 &&
      now - failingSince < OUT_OF_DESCRIPTORS_GRACE_MS;
    if (!isTemporary && !isReported) {
      isReported = true;
      invoke(options.onAcceptError, error);
    }
    await connections.changed(pause);
    return pause;
  }

  /** Greets, drains and closes one connection. Without a port, the connection is neither counted nor reported. */
  async function greet(connection: OpenConnection, greeting: Uint8Array, port: Port | undefined) {
    const { conn } = connection;
    runningHandlers++;
    port?.takeSlot();
    const buffer = bufferPool.pop() ?? new Uint8Array(KEPT_BYTES);
    try {
      while (connection.bytesSent < greeting.length) {
        // The send buffer of a new connection is empty, so only a full one ends a write early.
        if (connection.bytesSent > 0) connections.markProgress(connection);
        connection.bytesSent += await conn.write(greeting.subarray(connection.bytesSent));
      }
      connection.greeted = true;
      if (port && ++port.greeted === count) closePort(port);
      // Closing a socket with unread input makes the kernel send RST and discard what the client has not yet received.
      // So half-close, and read until the client closes (lingering close, as in nginx).
      await conn.closeWrite();
      connections.markDraining(connection);
      await readUntilClosed(connection, buffer);
      connections.close(connection, "closed");
    } catch {
      // Either the client has reset the connection, or the server has closed it, which makes the pending operation
      // fail. In the second case, this call has no effect.
      connections.close(connection, "reset");
    }
    bufferPool.push(buffer);
    if (!connection.greeted) port?.releaseSlot();
    if (port) invoke(options.onClose, connection);
    runningHandlers--;
    connections.notify();
  }

  function closePort(port: Port) {
    if (port.closed) return;
    port.close();
    connections.notify();
    if (--openPorts > 0) return;
    graceTimer = setTimeout(() => connections.closeAll("shutdown"), SHUTDOWN_GRACE_MS);
  }

  function shutdown(): Promise<void> {
    for (const port of ports) closePort(port);
    return finished;
  }

  /** Waits until all connections are closed. `graceTimer` closes those that are left. */
  async function drain() {
    while (connections.size > 0) await connections.changed();
    clearTimeout(graceTimer);
    const deadline = performance.now() + PENDING_OPERATIONS_WAIT_MS;
    while (runningHandlers > 0 && performance.now() < deadline) await connections.changed(PENDING_OPERATIONS_WAIT_MS);
    connections.dispose();
    signal?.removeEventListener("abort", shutdown);
  }

  if (signal?.aborted) shutdown();
  else signal?.addEventListener("abort", shutdown);
  return { addr, addrs, finished, shutdown, [Symbol.asyncDispose]: shutdown };
}

/** Reads until the client closes the connection. Keeps the first bytes, and discards the rest. */
async function readUntilClosed(connection: OpenConnection, buffer: Uint8Array) {
  const { conn } = connection;
  let target = buffer;
  for (let n = await conn.read(target); n !== null; n = await conn.read(target)) {
    connection.bytesReceived += n;
    if (connection.received.length < KEPT_BYTES) connection.received = buffer.slice(0, connection.bytesReceived);
    target = connection.bytesReceived < KEPT_BYTES ? buffer.subarray(connection.bytesReceived) : discardBuffer;
  }
}

/** Returns a function that encodes the greeting for a connection. A constant greeting is encoded only once, here. */
function toGreetingFunction(greeting: Exclude<ServeOptions["greeting"], undefined>): (info: ConnInfo) => Uint8Array {
  if (typeof greeting === "function") return (info) => encodeGreeting(greeting(info));
  const encoded = encodeGreeting(greeting);
  return () => encoded;
}

/** Encodes text, and copies bytes because the caller may change them later. */
function encodeGreeting(greeting: string | Uint8Array): Uint8Array {
  if (typeof greeting !== "string" && !(greeting instanceof Uint8Array)) {
    // Only a program without type checks can return something else.
    throw new RangeError("greeting: expected text or bytes; a greeting function cannot be async");
  }
  const bytes = typeof greeting === "string" ? new TextEncoder().encode(greeting) : greeting.slice();
  if (bytes.length <= MAX_GREETING_BYTES) return bytes;
  throw new RangeError(`greeting: expected at most ${MAX_GREETING_BYTES} bytes, not ${bytes.length}`);
}

/** Calls a callback. If it throws, reports the exception instead of ending the accept loop, and returns undefined. */
function invoke<T, R>(callback: ((value: T) => R) | undefined, value: T): R | undefined {
  try {
    return callback?.(value);
  } catch (error) {
    reportError(error);
  }
}
