/**
 * A TCP server that greets whoever connects, and closes.
 *
 * It reads as an account of what happens to a connection: {@linkcode serve} accepts it, writes the greeting,
 * half-closes, throws away what the peer sends until the peer closes too, and closes.
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
import type { BlockList } from "node:net";

/**
 * The longest greeting, in bytes: a fresh socket's send buffer takes this much at once, so a write never waits for its
 * client. The least seen to fit was 47,784 bytes, over a virtual link to a peer with a 4 KiB receive window.
 */
export const MAX_GREETING_BYTES = 16 * 1024;

/** What {@linkcode serve} does where its options are silent; `timeout` is in milliseconds. */
export const DEFAULTS = {
  hostname: "0.0.0.0",
  port: 999,
  backlog: 4096,
  greeting: "Thank you for connecting to the server.\r\n",
  maxConnections: 1000,
  timeout: 5000,
} as const;

/** How much of what a peer sends is kept for {@linkcode Connection.received}, in bytes. */
export const KEPT_BYTES = 256;

/** How a connection ended: the peer closed it, the peer reset it, or the server closed it for one of three reasons. */
export type Outcome = "closed" | "reset" | "timeout" | "evicted" | "shutdown";

/** The two ends of a connection. IPv4 over an IPv6 socket is IPv4 here: `192.0.2.7`, not `::ffff:192.0.2.7`. */
export interface Ends {
  /** The peer's address. */
  readonly remoteAddr: Deno.NetAddr;
  /** The address that the peer connected to. */
  readonly localAddr: Deno.NetAddr;
}

/** A connection, as the callbacks of {@linkcode ServeOptions} are told of it. */
export interface Connection extends Ends {
  /** When it was accepted, in milliseconds, as `performance.now()` has it. */
  readonly accepted: number;
  /** How many bytes of the greeting the kernel has taken. */
  readonly bytesSent: number;
  /** Whether that is all of them. */
  readonly greeted: boolean;
  /** How many bytes the peer has sent. */
  readonly bytesReceived: number;
  /** The first of them, {@linkcode KEPT_BYTES} at most. */
  readonly received: Uint8Array;
  /** How it ended, or `undefined` while it is under way. */
  readonly outcome: Outcome | undefined;
}

/** Options of {@linkcode serve}. */
export interface ServeOptions {
  /** A name or an address of this machine. `::` takes both families. Default: `0.0.0.0`. */
  hostname?: string;
  /** One port, or several that are served as one. 0 is any free port. Default: 999, the tutorial's. */
  port?: number | readonly number[];
  /**
   * How many connections the kernel keeps for a server that is busy; it caps this itself (Linux: `somaxconn`). Of 2,000
   * clients at once, Deno's own default of 511 left 166 without a greeting. Default: 4096.
   */
  backlog?: number;
  /** Text, sent as UTF-8, or bytes; at most {@linkcode MAX_GREETING_BYTES}. Default: the tutorial's line, with CR LF. */
  greeting?: string | Uint8Array;
  /** How many connections may be open. At the limit the oldest greeted one is closed for a new one. Default: 1000. */
  maxConnections?: number;
  /** Who is greeted; others are closed without a greeting. Default: everybody. */
  allow?: BlockList;
  /** Shut down after this many greetings: exactly so many peers get one. Default: never. */
  count?: number;
  /** How long a connection may last, in milliseconds, whatever its peer does. Default: 5000. */
  timeout?: number;
  /** Aborting it is calling {@linkcode Server.shutdown}. */
  signal?: AbortSignal;
  /** Called for each port, when the server listens on it. */
  onListen?: (addr: Deno.NetAddr) => void;
  /** Called for each connection when it is accepted, before it is greeted. */
  onConnection?: (connection: Connection) => void;
  /** Called for each connection when it is closed. */
  onClose?: (connection: Connection) => void;
  /** Called for each connection that `allow` doesn't; no other callback hears of it. */
  onRefuse?: (ends: Ends) => void;
  /**
   * Called when accepting fails and no client is the cause: once, however often it is tried again, until it succeeds.
   * The server goes on.
   */
  onAcceptError?: (error: unknown) => void;
}

/** What {@linkcode serve} returns, in the likeness of `Deno.HttpServer`. */
export interface Server extends AsyncDisposable {
  /** The address that the server listens on, with the port that the system chose for 0; the first of several. */
  readonly addr: Deno.NetAddr;
  /** All of them, in the order of the ports. */
  readonly addrs: readonly Deno.NetAddr[];
  /** Resolves when the server has shut down and its last connection is closed. */
  readonly finished: Promise<void>;
  /**
   * Stops accepting at once, lets connections under way get their whole greeting, and resolves when the last of them is
   * closed: after the smaller of 1 s and `timeout` at the latest.
   */
  shutdown(): Promise<void>;
}

/** A connection with what only the server needs: its socket, and its neighbours in the order of arrival. */
interface Peer extends Connection {
  readonly conn: Deno.TcpConn;
  bytesSent: number;
  greeted: boolean;
  bytesReceived: number;
  received: Uint8Array;
  outcome: Outcome | undefined;
  older: Peer | undefined;
  newer: Peer | undefined;
}

const nothing = new Uint8Array();

/**
 * What peers send is first read into one of these, each peer's own: in a shared one the next peer's bytes could be there
 * before anybody has looked at this one's. Used again, for a new one each costs 2 µs a connection.
 */
const spare: Uint8Array<ArrayBuffer>[] = [];

/** What comes after is read into this, which all can share because nobody looks at it. */
const sink = new Uint8Array(64 * 1024);

/**
 * Listens, and greets whoever connects, until it is shut down.
 *
 * No client can stop it: what a client does to its own connection is that connection's {@linkcode Outcome}, and an
 * accept that fails is tried again. What a callback throws is reported as an event listener's exception is.
 *
 * @example Hear of connections, then shut down
 * ```ts
 * import { serve } from "./server.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const ends: unknown[] = [];
 * const server = serve({
 *   hostname: "127.0.0.1",
 *   port: 0,
 *   onClose: ({ bytesSent, outcome }) => ends.push([bytesSent, outcome]),
 * });
 * const conn = await Deno.connect({ port: server.addr.port });
 * await new Response(conn.readable).text(); // to the end, which also closes conn
 * await server.shutdown();
 * assertEquals(ends, [[41, "closed"]]);
 * ```
 *
 * @throws {RangeError} If the greeting is too long, or a number out of its range.
 * @throws {Deno.errors.AddrInUse} If the port is taken; and whatever else `Deno.listen` throws.
 */
export function serve(options: ServeOptions = {}): Server {
  const { maxConnections = DEFAULTS.maxConnections, timeout = DEFAULTS.timeout, count = Infinity, signal } = options;
  const greeting = toBytes(options.greeting ?? DEFAULTS.greeting);
  if (greeting.length > MAX_GREETING_BYTES) {
    throw new RangeError(`greeting: ${greeting.length} bytes, at most ${MAX_GREETING_BYTES} can be sent`);
  }
  if (!(maxConnections >= 1)) throw new RangeError(`maxConnections: ${maxConnections} is not at least 1`);
  if (!(count >= 1)) throw new RangeError(`count: ${count} is not at least 1`);
  // setTimeout() takes no more than 2³¹ - 1 ms; with more it would fire at once.
  if (!(timeout > 0 && timeout < 2 ** 31)) throw new RangeError(`timeout: ${timeout} is not from 0 to 2³¹ - 1 ms`);

  const listeners = listen(options);
  let closing = false;

  // The connections under way, in the order of their arrival. All may last equally long, so that is the order of their
  // deadlines too. Linked through the peers themselves: a Set costs 10 % more a connection, and doubles p99.
  let oldest: Peer | undefined;
  let newest: Peer | undefined;
  let open = 0;
  /** How many peers have their greeting, or are to have it. */
  let promised = 0;
  let greetings = 0;
  let expiry: ReturnType<typeof setTimeout> | undefined;
  const waiting: (() => void)[] = [];

  const finished = Promise.all(listeners.map(acceptUntilClosed)).then(drain);

  /** Only closing the listener ends this: an accept error ends `for await`, but the listener is still good. */
  async function acceptUntilClosed(listener: Deno.TcpListener) {
    // Only then can IPv4 look like IPv6. To look for it costs 2 µs a connection.
    const isIPv6 = listener.addr.hostname.includes(":");
    let backoff = 0;
    while (!closing) {
      try {
        for await (const conn of listener) {
          backoff = 0;
          const ends = isIPv6 ? asIPv4(conn) : conn;
          if (isRefused(conn, ends)) continue;
          while (promised >= count && !closing) await change();
          if (promised >= count) conn.close();
          else greet(conn, ends);
          while (open > maxConnections && !evict()) await change();
        }
      } catch (error) {
        if (isCausedByClient(error)) continue;
        if (isOutOfDescriptors(error) && open > 0) {
          evict();
          // Until its read has ended, which frees the descriptor. On Deno 2.8.3 a silent peer's doesn't: #35292.
          await change(5);
          continue;
        }
        if (backoff === 0) tell(options.onAcceptError, error);
        // Go's net/http does the same: at once, an error that stays would be a loop at full speed.
        backoff = Math.min(Math.max(5, 2 * backoff), 1000);
        await change(backoff);
      }
    }
  }

  /** Closes whoever isn't allowed. */
  function isRefused(conn: Deno.TcpConn, ends: Ends): boolean {
    if (!options.allow) return false;
    const { hostname } = ends.remoteAddr;
    if (options.allow.check(hostname, hostname.includes(":") ? "ipv6" : "ipv4")) return false;
    conn.close();
    tell(options.onRefuse, ends);
    return true;
  }

  /** What happens to a connection, from its arrival to its end. */
  async function greet(conn: Deno.TcpConn, ends: Ends) {
    const peer = arrive(conn, ends);
    const kept = spare.pop() ?? new Uint8Array(KEPT_BYTES);
    try {
      peer.bytesSent = await conn.write(greeting);
      while (peer.bytesSent < greeting.length) {
        peer.bytesSent += await conn.write(greeting.subarray(peer.bytesSent));
      }
      peer.greeted = true;
      wake();
      if (++greetings === count) shutdown();
      // Closing a socket with unread input makes the kernel send RST, which throws away what the peer has not yet got
      // of the greeting. So: half-close, and read until the peer closes (nginx's lingering_close).
      await conn.closeWrite();
      let room = kept;
      for (let n = await conn.read(room); n !== null; n = await conn.read(room)) {
        peer.bytesReceived += n;
        if (peer.received.length < KEPT_BYTES) peer.received = kept.slice(0, peer.bytesReceived);
        room = peer.bytesReceived < KEPT_BYTES ? kept.subarray(peer.bytesReceived) : sink;
      }
      leave(peer, "closed");
    } catch {
      // Either the peer reset the connection, or it has left already and closing it interrupted the read.
      leave(peer, "reset");
    }
    // Not before the read has ended are its descriptor and its buffer free for the next.
    spare.push(kept);
    wake();
  }

  function arrive(conn: Deno.TcpConn, { remoteAddr, localAddr }: Ends): Peer {
    const peer: Peer = {
      conn,
      remoteAddr,
      localAddr,
      accepted: performance.now(),
      bytesSent: 0,
      greeted: false,
      bytesReceived: 0,
      received: nothing,
      outcome: undefined,
      older: newest,
      newer: undefined,
    };
    if (newest) newest.newer = peer;
    else oldest = peer;
    newest = peer;
    open++;
    promised++;
    expiry ??= setTimeout(expire, timeout);
    tell(options.onConnection, peer);
    return peer;
  }

  function leave(peer: Peer, outcome: Outcome) {
    if (peer.outcome) return;
    peer.outcome = outcome;
    if (peer.older) peer.older.newer = peer.newer;
    else oldest = peer.newer;
    if (peer.newer) peer.newer.older = peer.older;
    else newest = peer.older;
    // An old peer that still points at a young one keeps it from the cheap garbage collection, and so on down the list:
    // without this line p99 was 4 to 7 ms instead of 3, and memory 113 MB instead of 81.
    peer.older = peer.newer = undefined;
    open--;
    if (!peer.greeted) promised--;
    peer.conn.close();
    tell(options.onClose, peer);
    wake();
  }

  /** One timer for all: it looks at the oldest. */
  function expire() {
    const now = performance.now();
    while (oldest && oldest.accepted + timeout <= now) leave(oldest, "timeout");
    expiry = oldest && setTimeout(expire, oldest.accepted + timeout - now);
  }

  /** Makes room: closes the oldest connection that has its greeting. False if there is none. */
  function evict(): boolean {
    let peer = oldest;
    while (peer && !peer.greeted) peer = peer.newer;
    if (peer) leave(peer, "evicted");
    return peer !== undefined;
  }

  /** Waits until a connection is greeted or closed, the server shuts down, or `ms` are over. */
  async function change(ms?: number) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
    waiting.push(resolve);
    await promise;
    clearTimeout(timer);
  }

  function wake() {
    while (waiting.length > 0) waiting.pop()?.();
  }

  function shutdown() {
    if (!closing) {
      closing = true;
      for (const listener of listeners) listener.close();
      wake();
    }
    return finished;
  }

  /** Whoever was accepted gets the whole greeting, and a moment to close first. */
  async function drain() {
    const end = setTimeout(() => {
      while (oldest) leave(oldest, "shutdown");
    }, Math.min(1000, timeout));
    while (open > 0) await change();
    clearTimeout(end);
    clearTimeout(expiry);
    signal?.removeEventListener("abort", shutdown);
  }

  if (signal?.aborted) shutdown();
  else signal?.addEventListener("abort", shutdown);
  const addrs = listeners.map((listener) => listener.addr);
  return { addr: addrs[0], addrs, finished, shutdown, [Symbol.asyncDispose]: shutdown };
}

/** Listens on all ports, or on none. */
function listen({ hostname, port, backlog, onListen }: ServeOptions): Deno.TcpListener[] {
  const listeners: Deno.TcpListener[] = [];
  try {
    for (const each of [port ?? DEFAULTS.port].flat()) {
      const listener = Deno.listen({
        hostname: hostname ?? DEFAULTS.hostname,
        port: each,
        tcpBacklog: backlog ?? DEFAULTS.backlog,
      });
      listeners.push(listener);
      tell(onListen, listener.addr);
    }
  } catch (error) {
    for (const listener of listeners) listener.close();
    throw error;
  }
  return listeners;
}

/** A copy of bytes, so that nobody changes them later. */
function toBytes(greeting: string | Uint8Array): Uint8Array {
  return typeof greeting === "string" ? new TextEncoder().encode(greeting) : greeting.slice();
}

/** IPv4 over an IPv6 socket, shown as IPv4. */
function asIPv4({ remoteAddr, localAddr }: Ends): Ends {
  const unmapped = (addr: Deno.NetAddr) => ({ ...addr, hostname: addr.hostname.replace(/^::ffff:(?=\d+\.)/, "") });
  return { remoteAddr: unmapped(remoteAddr), localAddr: unmapped(localAddr) };
}

/** Accepting also asks for the peer's address: whoever reset before that has none (`nmap -sT` does it to every port). */
function isCausedByClient(error: unknown): boolean {
  return error instanceof Deno.errors.NotConnected ||
    error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.ConnectionAborted;
}

/** Of the process (EMFILE) or of the system (ENFILE); Deno has no class for them. */
function isOutOfDescriptors(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "EMFILE" || error.code === "ENFILE");
}

/** What a callback throws is its author's to see; it must not end the accept loop. */
function tell<T>(callback: ((value: T) => void) | undefined, value: T) {
  try {
    callback?.(value);
  } catch (error) {
    reportError(error);
  }
}
