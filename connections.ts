/**
 * The open connections of a server, in order of arrival: the limit, the deadlines, eviction, and the gate that keeps
 * accepting fair. Used only by server.ts.
 *
 * @module
 */

/** Both addresses of a connection. IPv4 over an IPv6 socket is shown as IPv4: `192.0.2.7`, not `::ffff:192.0.2.7`. */
export interface ConnInfo {
  /** The client's address. */
  readonly remoteAddr: Deno.NetAddr;
  /** The address that the client connected to. */
  readonly localAddr: Deno.NetAddr;
}

/**
 * Shows IPv4-mapped IPv6 addresses as IPv4. Other addresses below `::ffff:0:0`, such as `::ffff:0:c000:207`, stay as they
 * are.
 */
export function unmapIPv4({ remoteAddr, localAddr }: ConnInfo): ConnInfo {
  const unmap = (addr: Deno.NetAddr) => ({ ...addr, hostname: addr.hostname.replace(/^::ffff:(?=\d+\.)/, "") });
  return { remoteAddr: unmap(remoteAddr), localAddr: unmap(localAddr) };
}

/**
 * Why a connection ended: the client closed it (`closed`) or reset it (`reset`), or the server closed it, because of the
 * timeout, to make room for another connection (`evicted`), or because of a shutdown.
 */
export type CloseReason = "closed" | "reset" | "timeout" | "evicted" | "shutdown";

/** A connection, as passed to the callbacks of `ServeOptions`. */
export interface Connection extends ConnInfo {
  /** When it was accepted, in milliseconds on the clock of `performance.now()`. */
  readonly accepted: number;
  /** How many bytes of the greeting the kernel has taken. */
  readonly bytesSent: number;
  /** Whether the kernel has taken the whole greeting. */
  readonly greeted: boolean;
  /** How many bytes the client has sent. */
  readonly bytesReceived: number;
  /** The first of those bytes, at most `KEPT_BYTES`. */
  readonly received: Uint8Array;
  /** Why it ended, or `undefined` while it is open. */
  readonly closeReason: CloseReason | undefined;
}

/** A connection as the server sees it: writable, with its socket and its neighbors in the list. */
export interface OpenConnection extends Connection {
  /** The socket. */
  readonly conn: Deno.TcpConn;
  /** See {@linkcode Connection.bytesSent}. */
  bytesSent: number;
  /** See {@linkcode Connection.greeted}. */
  greeted: boolean;
  /** See {@linkcode Connection.bytesReceived}. */
  bytesReceived: number;
  /** See {@linkcode Connection.received}. */
  received: Uint8Array;
  /** See {@linkcode Connection.closeReason}. */
  closeReason: CloseReason | undefined;
  /** The generation of the gate that counts this connection, or -1 when it has left the gate. */
  gateGeneration: number;
  /** The connection that was accepted before this one. */
  older: OpenConnection | undefined;
  /** The connection that was accepted after this one. */
  newer: OpenConnection | undefined;
}

/**
 * How many connections may wait for their greeting and half-close at once. The others wait in the kernel's accept queue,
 * which is first in, first out. Without this gate, accepting and greeting newcomers uses up the operations that tokio
 * allows a task before it must yield, and older connections starve: with 4,000 clients at once, p99 was 2,111 ms instead
 * of 94. Gates of 8, 16, 32 and 64 took 18.4, 18.0, 18.7 and 20.2 µs of CPU per connection with 64 clients at once, and
 * 16 had the lowest p99 or was within 2 % of it with 64, 256, 1,000 and 4,000 (Linux, 2 cores, Deno 2.9.6, 2026-11-24).
 */
export const MAX_UNGREETED = 16;

/** If no connection leaves the gate for this long, in milliseconds, the ones in it are not counted any longer. */
export const GATE_STALL_MS = 20;

const EMPTY = new Uint8Array();

/** The open connections in order of arrival. Closing a connection removes it from the list at once. */
export class ConnectionList {
  readonly #timeout: number;
  // Linked through the connections themselves: a Set costs 10 % more CPU per connection, and doubles p99.
  #oldest: OpenConnection | undefined;
  #newest: OpenConnection | undefined;
  #size = 0;
  #deadlineTimer: ReturnType<typeof setTimeout> | undefined;
  #ungreeted = 0;
  #gateGeneration = 0;
  #gateStalled = false;
  #leftGate = false;
  #gateTimer: ReturnType<typeof setTimeout> | undefined;
  #waiting: (() => void)[] = [];

  /** `timeout` is how long a connection may stay open, in milliseconds. */
  constructor(timeout: number) {
    this.#timeout = timeout;
  }

  /** How many connections are open. */
  get size(): number {
    return this.#size;
  }

  /** Whether {@linkcode MAX_UNGREETED} connections wait for their greeting. No other should be accepted then. */
  get isGateClosed(): boolean {
    return this.#ungreeted >= MAX_UNGREETED && !this.#gateStalled;
  }

  /** Appends a connection that has just been accepted. */
  add(conn: Deno.TcpConn, { remoteAddr, localAddr }: ConnInfo): OpenConnection {
    const connection: OpenConnection = {
      conn,
      remoteAddr,
      localAddr,
      accepted: performance.now(),
      bytesSent: 0,
      greeted: false,
      bytesReceived: 0,
      received: EMPTY,
      closeReason: undefined,
      gateGeneration: this.#gateGeneration,
      older: this.#newest,
      newer: undefined,
    };
    if (this.#newest) this.#newest.newer = connection;
    else this.#oldest = connection;
    this.#newest = connection;
    this.#size++;
    this.#deadlineTimer ??= setTimeout(this.#closeExpired, this.#timeout);
    if (++this.#ungreeted >= MAX_UNGREETED) this.#gateTimer ??= setTimeout(this.#checkGate, GATE_STALL_MS);
    return connection;
  }

  /** Records that a connection has been greeted and half-closed. It leaves the gate, and may be evicted from now on. */
  markGreeted(connection: OpenConnection) {
    this.#leaveGate(connection);
    this.notify();
  }

  /** Removes a connection from the list and closes its socket. Only the first call has an effect. */
  close(connection: OpenConnection, reason: CloseReason) {
    if (connection.closeReason) return;
    connection.closeReason = reason;
    const { older, newer } = connection;
    if (older) older.newer = newer;
    else this.#oldest = newer;
    if (newer) newer.older = older;
    else this.#newest = older;
    // An old object that points to a young one prevents its cheap collection as garbage, and so on down the list. Without
    // this line, p99 was 4 to 7 ms instead of 3, and memory 113 MB instead of 81.
    connection.older = connection.newer = undefined;
    this.#size--;
    this.#leaveGate(connection);
    connection.conn.close();
    this.notify();
  }

  /** Closes the oldest connection that has been greeted. Returns false if there is none. */
  evictOldest(): boolean {
    let connection = this.#oldest;
    while (connection && connection.gateGeneration !== LEFT_GATE) connection = connection.newer;
    if (connection) this.close(connection, "evicted");
    return connection !== undefined;
  }

  /** Closes all connections. */
  closeAll(reason: CloseReason) {
    while (this.#oldest) this.close(this.#oldest, reason);
  }

  /** Resolves at the next {@linkcode notify}, or after `ms` milliseconds if given. */
  async changed(ms?: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
    this.#waiting.push(resolve);
    await promise;
    clearTimeout(timer);
  }

  /** Wakes all callers of {@linkcode changed}, in order. The list calls it when a connection is greeted or closed. */
  notify() {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  /** Clears the timers. Called when no connection is open and none will be added. */
  dispose() {
    clearTimeout(this.#deadlineTimer);
    clearTimeout(this.#gateTimer);
  }

  /** One timer for all deadlines. All connections have the same timeout, so the oldest connection expires first. */
  #closeExpired = () => {
    const now = performance.now();
    while (this.#oldest && this.#oldest.accepted + this.#timeout <= now) this.close(this.#oldest, "timeout");
    this.#deadlineTimer = this.#oldest && setTimeout(this.#closeExpired, this.#oldest.accepted + this.#timeout - now);
  };

  #leaveGate(connection: OpenConnection) {
    if (connection.gateGeneration === this.#gateGeneration) this.#ungreeted--;
    if (connection.gateGeneration === LEFT_GATE) return;
    connection.gateGeneration = LEFT_GATE;
    this.#leftGate = true;
    this.#gateStalled = false;
  }

  /**
   * Runs while the gate is full. Where the kernel's send buffer is smaller than the greeting, clients that do not read
   * could keep the gate closed until their timeout. So if no connection has left the gate since the last run, the ones
   * in it are not counted any longer, and the gate stays open until one of them leaves it.
   */
  #checkGate = () => {
    this.#gateTimer = undefined;
    if (!this.#leftGate) {
      this.#gateGeneration++;
      this.#ungreeted = 0;
      this.#gateStalled = true;
      this.notify();
    } else if (this.#ungreeted >= MAX_UNGREETED) {
      this.#gateTimer = setTimeout(this.#checkGate, GATE_STALL_MS);
    }
    this.#leftGate = false;
  };
}

/** The `gateGeneration` of a connection that has left the gate. */
const LEFT_GATE = -1;
