/**
 * A TCP server that sends every client a greeting and closes the connection.
 *
 * Read the class `GreetingServer` from top to bottom: it accepts a connection, waits for the client to speak first if it
 * has to, writes the greeting, half-closes, discards what the client sends until the client closes too, and closes.
 * Shutdown comes last.
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
import { AcceptErrors, isClientReset } from "./server/accept_errors.ts";
import {
  type CloseReason,
  type Connection,
  type ConnInfo,
  type OpenConnection,
  unmapIPv4,
} from "./server/connection.ts";
import { ConnectionList } from "./server/connections.ts";
import { type GreetingFunction, prepareGreeting } from "./server/greeting.ts";
import { KEPT_BYTES, readInput, waitForInput } from "./server/input.ts";
import { invoke } from "./server/invoke.ts";
import { listen, ListenError, type ListenErrorDetails, type Listening } from "./server/listen.ts";
import { checkRanges, DEFAULTS, type ServeOptions } from "./server/options.ts";
import { Port } from "./server/port.ts";
import { Semaphore } from "./server/semaphore.ts";
import { formatAnnouncement } from "./shared/announcement.ts";
import { MAX_GREETING_BYTES } from "./shared/limits.ts";

export { DEFAULTS, KEPT_BYTES, ListenError, MAX_GREETING_BYTES };
export type { CloseReason, Connection, ConnInfo, ListenErrorDetails, ServeOptions };

/** How long a shutdown waits for clients to close their connections, in milliseconds. */
const SHUTDOWN_GRACE_MS = 1000;

/**
 * How many connections may wait for their first write at once. The others wait in the kernel's accept queue, which is
 * first in, first out. Without this gate, older connections starve, probably because accepting and greeting new ones
 * uses up the operations that tokio allows a task before it must yield.
 */
const MAX_UNGREETED = 16;

/**
 * How long a shutdown waits for settling connections, which are closed but have an operation that has not ended, in
 * milliseconds. It ends at once, except that before Deno 2.9.5 `close()` does not cancel a blocked write.
 */
const SETTLING_WAIT_MS = 100;

/** A running server, modeled on `Deno.HttpServer`. */
export interface Server extends AsyncDisposable {
  /** The first address that the server listens on. If the port was 0, this has the port that the system chose. */
  readonly addr: Deno.NetAddr;
  /** All addresses that the server listens on: for each port of the `port` option, each address of `hostname`. */
  readonly addrs: readonly Deno.NetAddr[];
  /** The ports that were skipped because they are in use. None without `skipTaken`. */
  readonly skipped: readonly number[];
  /** Resolves when the server has shut down and its last connection is closed. */
  readonly finished: Promise<void>;
  /**
   * Stops accepting at once, finishes sending the greeting to clients already accepted, and resolves when the last
   * connection is closed. Connections that are still open after 1 s are closed. `timeout` still applies to each.
   */
  shutdown(): Promise<void>;
}

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
 * @throws {RangeError} If the greeting is too long, alone or with the list of `announce`, there is no port, a number is
 * out of its range, or `hostname` is a numeric address other than four decimal numbers.
 * @throws {ListenError} If the server cannot listen on a port, for example because the port is in use.
 */
export function serve(options: ServeOptions = {}): Server {
  checkRanges(options);
  const greetingWith = prepareGreeting(options.greeting ?? DEFAULTS.greeting);
  const listening = listen(options);
  const listeners = listening.ports.flat();
  let greetingFor: GreetingFunction;
  try {
    greetingFor = greetingWith(options.announce ? formatAnnouncement(listeners.map(({ addr }) => addr.port)) : "");
  } catch (error) {
    for (const listener of listeners) listener.close();
    throw error;
  }
  for (const { addr } of listeners) invoke(options.onListen, addr);
  return new GreetingServer(options, greetingFor, listening);
}

/** A running server: an accept loop for each port and address. All share one list of connections and one gate. */
class GreetingServer implements Server {
  readonly addr: Deno.NetAddr;
  readonly addrs: readonly Deno.NetAddr[];
  readonly skipped: readonly number[];
  readonly finished: Promise<void>;
  readonly #options: ServeOptions;
  readonly #greetingFor: GreetingFunction;
  readonly #ports: readonly Port[];
  readonly #connections: ConnectionList;
  /** Held from the turn of a connection until its first write has ended. */
  readonly #gate = new Semaphore(MAX_UNGREETED);
  readonly #acceptErrors: AcceptErrors;
  /** How many ports are open. */
  #openPorts: number;
  /** How many calls of `#handle` are running: one for each connection that it handles, until it has settled. */
  #runningHandlers = 0;
  #graceTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: ServeOptions, greetingFor: GreetingFunction, { ports, skipped }: Listening) {
    const { timeout = DEFAULTS.timeout, maxConnections = DEFAULTS.maxConnections, count = Infinity, signal } = options;
    this.addrs = ports.flat().map(({ addr }) => addr);
    this.skipped = skipped;
    const [addr] = this.addrs;
    if (!addr) throw new RangeError("port: expected at least one port");
    this.addr = addr;
    this.#options = options;
    this.#greetingFor = greetingFor;
    this.#ports = ports.map((listeners) => new Port(listeners, count));
    this.#openPorts = ports.length;
    this.#connections = new ConnectionList(timeout, maxConnections);
    this.#acceptErrors = new AcceptErrors(this.#connections, options.onAcceptError);
    const loops = this.#ports.flatMap((port) => port.listeners.map((each) => this.#acceptUntilClosed(port, each)));
    this.finished = Promise.all(loops).then(() => this.#drain());
    if (signal?.aborted) this.shutdown();
    else signal?.addEventListener("abort", this.#onAbort);
  }

  /** Accepts until the port is closed. An error ends the `for await` loop, but the listener can be iterated again. */
  async #acceptUntilClosed(port: Port, listener: Deno.TcpListener) {
    const { allow, ignore, onDenied, onConnection, onResetBeforeAccept } = this.#options;
    const { inputTimeout = DEFAULTS.inputTimeout } = this.#options;
    const connections = this.#connections;
    // Only an IPv6 socket has IPv4-mapped addresses. For other sockets, nothing has to be converted.
    const isIPv6 = listener.addr.hostname.includes(":");
    let backoff = 0;
    while (!port.closed) {
      try {
        for await (const conn of listener) {
          backoff = 0;
          this.#acceptErrors.end();
          const info = isIPv6 ? unmapIPv4(conn) : conn;
          if (allow && !invoke(allow, info.remoteAddr)) {
            conn.close();
            invoke(onDenied, info);
            continue;
          }
          const greeting = invoke(this.#greetingFor, info);
          if (!greeting) {
            conn.close(); // the greeting function has thrown an exception, which `invoke` has reported
            continue;
          }
          const isIgnored = ignore !== undefined && invoke(ignore, info.remoteAddr) === true;
          const connection = connections.add(conn, info, port, isIgnored);
          if (!isIgnored) invoke(onConnection, connection);
          const inputWait = typeof inputTimeout === "function" ? invoke(inputTimeout, info) ?? 0 : inputTimeout;
          // While this connection waits, the next ones wait in the kernel's accept queue. One whose client is to speak first
          // waits for its turn later, in `#handle`, so that it delays no other one.
          const room = connections.admit(connection);
          if (room) await room;
          const turn = inputWait > 0 ? undefined : this.#takeTurn(connection);
          if (turn) await turn;
          this.#handle(connection, greeting, inputWait);
        }
      } catch (error) {
        if (isClientReset(error)) {
          backoff = 0; // accepting works again, although this client is gone
          this.#acceptErrors.end();
          invoke(onResetBeforeAccept, listener.addr);
        } else backoff = await this.#acceptErrors.pauseAfter(error, backoff, this.#runningHandlers > 0);
      }
    }
  }

  /**
   * Takes a slot and a permit of the gate. Returns `undefined` if the connection need not wait. The first write releases the
   * permit. That of a connection that has been closed meanwhile fails.
   */
  #takeTurn(connection: OpenConnection): Promise<void> | undefined {
    const { port, isIgnored } = connection;
    connection.hasSlot = !isIgnored && port.slots.tryAcquire();
    if ((isIgnored || connection.hasSlot) && this.#gate.tryAcquire()) return undefined;
    return this.#waitForTurn(connection);
  }

  async #waitForTurn(connection: OpenConnection) {
    if (!connection.isIgnored && !connection.hasSlot) {
      await this.#waitForSlot(connection);
      // The port was closed before a slot was free. This has no effect if the connection has been closed as well.
      if (!connection.hasSlot) this.#connections.close(connection, "shutdown");
    }
    await this.#gate.acquire();
  }

  /** Waits for a slot, or until the port or the connection is closed. */
  async #waitForSlot(connection: OpenConnection) {
    const { port } = connection;
    if (port.closed) return;
    const granted = port.slots.acquire().then(() => {
      if (connection.closeReason || port.closed) port.slots.release();
      else connection.hasSlot = true;
    });
    while (!connection.hasSlot && !connection.closeReason && !port.closed) {
      const { promise: ended, resolve } = Promise.withResolvers<void>();
      connection.endWait = resolve; // also called when the client has sent more
      await Promise.race([granted, ended]);
    }
  }

  /** Handles one connection until it is closed. */
  async #handle(connection: OpenConnection, greeting: Uint8Array, inputWait: number) {
    const { conn, port, isIgnored } = connection;
    const connections = this.#connections;
    this.#runningHandlers++;
    let input: Promise<void> | undefined;
    try {
      if (inputWait > 0) {
        input = readInput(connection);
        input.catch(() => {}); // thrown below, or by the write
        const wait = waitForInput(connection, this.#openPorts > 0 ? inputWait : 0);
        connections.setStage(connection, "silent"); // may end the wait, to make room
        await wait;
        connections.setStage(connection, "greeting");
        await this.#takeTurn(connection);
      }
      try {
        connection.bytesSent = await conn.write(greeting);
      } finally {
        this.#gate.release();
      }
      // The send buffer of a new connection is empty. So if it does not take the whole greeting, it is full until the client
      // reads.
      if (connection.bytesSent < greeting.length) connections.setStage(connection, "sending");
      while (connection.bytesSent < greeting.length) {
        connection.bytesSent += await conn.write(greeting.subarray(connection.bytesSent));
      }
      connection.greeted = true;
      if (!isIgnored && port.countGreeting()) this.#closePort(port);
      // Closing a socket with unread input makes the kernel send RST and discard what the client has not yet received.
      // So half-close, and read until the client closes (lingering close, as in nginx).
      await conn.closeWrite();
      connections.setStage(connection, "draining");
      await (input ?? readInput(connection));
      connections.close(connection, "closed");
    } catch {
      // Either the client has reset the connection, or the server has closed it, which ends the pending operation.
      // In the second case, this call has no effect.
      connections.close(connection, "reset");
    }
    await input?.catch(() => {}); // nothing may change after `onClose`
    if (connection.hasSlot && !connection.greeted) port.slots.release();
    if (!isIgnored) invoke(this.#options.onClose, connection);
    this.#runningHandlers--;
    connections.changed.notifyAll();
  }

  shutdown(): Promise<void> {
    for (const port of this.#ports) this.#closePort(port);
    return this.finished;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }

  #onAbort = () => void this.shutdown();

  #closePort(port: Port) {
    if (port.closed) return;
    port.close();
    this.#connections.changed.notifyAll(); // ends the pause after an accept error
    if (--this.#openPorts > 0) return;
    while (this.#connections.endOldestWait());
    this.#graceTimer = setTimeout(() => this.#connections.closeAll("shutdown"), SHUTDOWN_GRACE_MS);
  }

  /** Waits until all connections are closed, by the grace timer at the latest, and then until they have settled. */
  async #drain() {
    const connections = this.#connections;
    while (connections.size > 0) await connections.changed.wait();
    clearTimeout(this.#graceTimer);
    const deadline = performance.now() + SETTLING_WAIT_MS;
    while (this.#runningHandlers > 0 && performance.now() < deadline) {
      await connections.changed.wait(SETTLING_WAIT_MS);
    }
    connections.dispose();
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
  }
}
