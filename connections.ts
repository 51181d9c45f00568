/**
 * The open connections of a server, in order of arrival: the limit, the deadlines, eviction, and the gate that keeps
 * accepting fair. Used only by server.ts.
 *
 * @module
 */
import type { CloseReason, ConnInfo, OpenConnection } from "./connection.ts";

/**
 * How many connections may wait for their greeting and half-close at once. The others wait in the kernel's accept
 * queue, which is first in, first out. Without this gate, older connections starve, probably because accepting and
 * greeting new ones uses up the operations that tokio allows a task before it must yield: with 4,000 clients at once,
 * p99 was 2,111 ms instead of 94. Gates of 8, 16, 32 and 64 took 18.4, 18.0, 18.7 and 20.2 µs of CPU per connection
 * with 64 clients at once, and 16 had the lowest p99 or was within 2 % of it with 64, 256, 1,000 and 4,000 (Linux, 2
 * cores, Deno 2.9.6, 2026-11-24).
 */
export const MAX_UNGREETED = 16;

/** How long a full gate waits for a connection to leave before it stops counting those in it, in milliseconds. */
export const GATE_STALL_MS = 20;

/** The `gateGeneration` of a connection that has left the gate. */
const LEFT_GATE = -1;

const EMPTY = new Uint8Array();

/** The open connections in order of arrival. Closing a connection removes it from the list at once. */
export class ConnectionList {
  readonly #timeout: number;
  readonly #limit: number;
  // A linked list of the connections themselves. A Set costs 10 % more CPU per connection, and doubles p99.
  #oldest: OpenConnection | undefined;
  #newest: OpenConnection | undefined;
  #size = 0;
  /** How many connections have been greeted and half-closed. */
  #evictable = 0;
  #deadlineTimer: ReturnType<typeof setTimeout> | undefined;
  /** How many connections of the current generation are in the gate. */
  #ungreeted = 0;
  /** Incremented when the gate has stalled. Connections of earlier generations are no longer counted. */
  #gateGeneration = 0;
  /** Whether the gate is kept open because it has stalled, and no connection has left it since. */
  #gateStalled = false;
  /** Whether a connection has left the gate since the last check. */
  #leftGate = false;
  #gateTimer: ReturnType<typeof setTimeout> | undefined;
  /** Calls that wait until the gate opens, in order. */
  #gateQueue: (() => void)[] = [];
  /** Resolves the promises of {@linkcode changed}. */
  #wakers: (() => void)[] = [];

  /** `timeout` is how long a connection may stay open, in milliseconds; `limit` is how many may be open. */
  constructor(timeout: number, limit: number) {
    this.#timeout = timeout;
    this.#limit = limit;
  }

  /** How many connections are open. */
  get size(): number {
    return this.#size;
  }

  /** Whether too many connections wait for their greeting, or the limit is reached and none can be evicted. */
  get #isGateClosed(): boolean {
    return (this.#ungreeted >= MAX_UNGREETED && !this.#gateStalled) ||
      (this.#size >= this.#limit && this.#evictable === 0);
  }

  /**
   * Calls `enter`, which adds a connection, as soon as the gate is open: fewer than {@linkcode MAX_UNGREETED}
   * connections wait for their greeting, and the limit allows another connection. Calls are made in order. Returns
   * `undefined` if `enter` was called at once, or else a promise that resolves when it has been called.
   */
  passGate(enter: () => void): Promise<void> | undefined {
    if (!this.#isGateClosed && this.#gateQueue.length === 0) {
      enter();
      return undefined;
    }
    return new Promise((resolve) =>
      this.#gateQueue.push(() => {
        enter();
        resolve();
      })
    );
  }

  #openGate() {
    for (let enter = this.#gateQueue[0]; enter && !this.#isGateClosed; enter = this.#gateQueue[0]) {
      this.#gateQueue.shift();
      enter();
    }
  }

  /** Appends a connection that has passed the gate. If the limit is reached, evicts the oldest greeted one first. */
  add(conn: Deno.TcpConn, { remoteAddr, localAddr }: ConnInfo): OpenConnection {
    if (this.#size >= this.#limit) this.evictOldest();
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
    if (connection.closeReason) return;
    this.#evictable++;
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
    // While an old object points to a young one, V8's cheap minor garbage collection cannot free the young one, nor
    // those that follow it in the list. Without this line, p99 was 4 to 7 ms instead of 3, and memory 113 MB instead of
    // 81.
    connection.older = connection.newer = undefined;
    this.#size--;
    if (connection.gateGeneration === LEFT_GATE) this.#evictable--;
    this.#leaveGate(connection);
    connection.conn.close();
    this.notify();
  }

  /** Closes the oldest connection that has been greeted, if there is one. */
  evictOldest() {
    let connection = this.#oldest;
    while (connection && connection.gateGeneration !== LEFT_GATE) connection = connection.newer;
    if (connection) this.close(connection, "evicted");
  }

  /** Closes all connections. */
  closeAll(reason: CloseReason) {
    while (this.#oldest) this.close(this.#oldest, reason);
  }

  /** Resolves at the next {@linkcode notify}, or after `ms` milliseconds if given. */
  async changed(ms?: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
    this.#wakers.push(resolve);
    await promise;
    clearTimeout(timer);
  }

  /** Wakes all callers of {@linkcode changed}, in order. The list calls it when a connection is greeted or closed. */
  notify() {
    if (this.#wakers.length === 0) return;
    const wakers = this.#wakers;
    this.#wakers = [];
    for (const resolve of wakers) resolve();
  }

  /** Clears the timers. Called when no connection is open and none will be added. */
  dispose() {
    clearTimeout(this.#deadlineTimer);
    clearTimeout(this.#gateTimer);
  }

  /** Closes expired connections. One timer is enough: all have the same timeout, so the oldest one expires first. */
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
    this.#openGate();
  }

  /**
   * Checks a full gate for progress. Where the kernel's send buffer is smaller than the greeting, clients that do not
   * read could keep the gate closed until their timeout. So if no connection has left the gate since the last check,
   * those in it are no longer counted, and the gate stays open until a connection leaves it.
   */
  #checkGate = () => {
    this.#gateTimer = undefined;
    if (!this.#leftGate) {
      this.#gateGeneration++;
      this.#ungreeted = 0;
      this.#gateStalled = true;
      this.#openGate();
    } else if (this.#ungreeted >= MAX_UNGREETED) {
      this.#gateTimer = setTimeout(this.#checkGate, GATE_STALL_MS);
    }
    this.#leftGate = false;
  };
}
