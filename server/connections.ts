/**
 * The open connections of a server, in order of arrival: the deadlines, the limit, eviction, and the gate that keeps
 * accepting fair. Used only by server.ts.
 *
 * @module
 */
import type { CloseReason, ConnInfo, OpenConnection, Stage } from "./connection.ts";

/**
 * How many connections may wait for their greeting and half-close at once. The others wait in the kernel's accept
 * queue, which is first in, first out. Without this gate, older connections starve, probably because accepting and
 * greeting new ones uses up the operations that tokio allows a task before it must yield.
 */
export const MAX_UNGREETED = 16;

/**
 * If only a part of the greeting could be sent, and no more during this time, in milliseconds, the connection is stalled:
 * it no longer counts in the gate, and may be evicted. That happens only where the kernel's send buffer is smaller than
 * the greeting, and the client does not read.
 */
export const STALL_MS = 20;

const EMPTY = new Uint8Array();

/** The open connections in order of arrival. Closing a connection removes it from the list at once. */
export class ConnectionList {
  readonly #timeout: number;
  readonly #limit: number;
  // A linked list of the connections themselves. A Set costs more CPU per connection, and doubles p99.
  #oldest: OpenConnection | undefined;
  #newest: OpenConnection | undefined;
  #size = 0;
  /** How many connections are at each stage. */
  readonly #counts: Record<Stage, number> = { waiting: 0, greeting: 0, stalled: 0, draining: 0 };
  /** Whether the gate is kept open because all connections in it have stalled, and none has been greeted since. */
  #isGateStalled = false;
  /** Connections that wait to be admitted, in order. It is empty whenever another connection can be admitted. */
  #queue: OpenConnection[] = [];
  #deadlineTimer: ReturnType<typeof setTimeout> | undefined;
  #stallTimer: ReturnType<typeof setTimeout> | undefined;
  /** Resolves the promises of {@linkcode changed}. */
  #wakers: (() => void)[] = [];

  /** `timeout` is how long a connection may stay open, in milliseconds; `limit` is how many may be admitted. */
  constructor(timeout: number, limit: number) {
    this.#timeout = timeout;
    this.#limit = limit;
  }

  /** How many connections are open, including those that wait to be admitted. */
  get size(): number {
    return this.#size;
  }

  /** Whether the gate is open, and the limit allows another connection, after an eviction if necessary. */
  get #canAdmit(): boolean {
    const { greeting, stalled, draining } = this.#counts;
    return (greeting < MAX_UNGREETED || this.#isGateStalled) && (!this.#isFull || stalled + draining > 0);
  }

  /** Whether the limit is reached. Connections that wait to be admitted do not count. */
  get #isFull(): boolean {
    return this.#size - this.#counts.waiting >= this.#limit;
  }

  /** Appends a connection that has been accepted. Its deadline starts now, also if it has to wait to be admitted. */
  add(conn: Deno.TcpConn, { remoteAddr, localAddr }: ConnInfo): OpenConnection {
    const acceptedAt = performance.now();
    const connection: OpenConnection = {
      conn,
      remoteAddr,
      localAddr,
      acceptedAt,
      bytesSent: 0,
      greeted: false,
      bytesReceived: 0,
      received: EMPTY,
      closeReason: undefined,
      stage: "waiting",
      progressAt: Infinity,
      wake: undefined,
      older: this.#newest,
      newer: undefined,
    };
    if (this.#newest) this.#newest.newer = connection;
    else this.#oldest = connection;
    this.#newest = connection;
    this.#size++;
    this.#counts.waiting++;
    this.#deadlineTimer ??= setTimeout(this.#closeExpired, this.#timeout);
    return connection;
  }

  /**
   * Admits a connection to be greeted as soon as fewer than {@linkcode MAX_UNGREETED} others are being greeted and the
   * limit allows it. Connections are admitted in order. Returns `undefined` if the connection was admitted at once, or
   * else a promise that resolves when it has been admitted or closed.
   */
  admit(connection: OpenConnection): Promise<void> | undefined {
    if (this.#canAdmit) {
      this.#enterGate(connection);
      return undefined;
    }
    this.#queue.push(connection);
    this.#stallTimer ??= setTimeout(this.#checkStalled, STALL_MS);
    return new Promise((resolve) => connection.wake = resolve);
  }

  #enterGate(connection: OpenConnection) {
    if (this.#isFull) this.#evict();
    this.#setStage(connection, "greeting");
  }

  #setStage(connection: OpenConnection, stage: Stage) {
    this.#counts[connection.stage]--;
    this.#counts[stage]++;
    connection.stage = stage;
  }

  #admitWaiting() {
    for (let next = this.#queue[0]; next && this.#canAdmit; next = this.#queue[0]) {
      this.#queue.shift();
      if (next.closeReason) continue; // closed while it waited
      this.#enterGate(next);
      next.wake?.();
    }
  }

  /** Records that only a part of the greeting could be sent. */
  markProgress(connection: OpenConnection) {
    if (connection.closeReason) return; // the write had ended before the server closed the connection
    connection.progressAt = performance.now();
    if (connection.stage === "stalled") this.#setStage(connection, "greeting");
  }

  /** Records that a connection has been greeted and half-closed. It leaves the gate, and may be evicted from now on. */
  markDraining(connection: OpenConnection) {
    if (connection.closeReason) return;
    this.#setStage(connection, "draining");
    this.#isGateStalled = false;
    this.#admitWaiting();
    this.notify();
  }

  /** Removes a connection from the list and closes its socket. Only the first call has an effect. */
  close(connection: OpenConnection, reason: CloseReason) {
    if (connection.closeReason) return;
    this.#remove(connection, reason);
    this.#admitWaiting();
    this.notify();
  }

  #remove(connection: OpenConnection, reason: CloseReason) {
    connection.closeReason = reason;
    const { older, newer, stage } = connection;
    if (older) older.newer = newer;
    else this.#oldest = newer;
    if (newer) newer.older = older;
    else this.#newest = older;
    // While an old object points to a young one, V8's cheap minor garbage collection cannot free the young one, nor
    // those that follow it in the list.
    connection.older = connection.newer = undefined;
    this.#size--;
    this.#counts[stage]--;
    connection.conn.close();
    connection.wake?.();
  }

  /**
   * Closes the oldest connection that has been greeted, or else the oldest that has stalled. Returns whether there was
   * one. If not, finds out which connections stall, for the next call.
   */
  evictOldest(): boolean {
    const isEvicted = this.#evict();
    if (isEvicted) this.notify();
    else this.#stallTimer ??= setTimeout(this.#checkStalled, STALL_MS);
    return isEvicted;
  }

  #evict(): boolean {
    const wanted = this.#counts.draining > 0 ? "draining" : "stalled";
    let connection = this.#oldest;
    while (connection && connection.stage !== wanted) connection = connection.newer;
    if (connection) this.#remove(connection, "evicted");
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
    clearTimeout(this.#stallTimer);
  }

  /** Closes expired connections. One timer is enough: all have the same timeout, so the oldest one expires first. */
  #closeExpired = () => {
    const now = performance.now();
    while (this.#oldest && this.#oldest.acceptedAt + this.#timeout <= now) this.close(this.#oldest, "timeout");
    this.#deadlineTimer = this.#oldest && setTimeout(this.#closeExpired, this.#oldest.acceptedAt + this.#timeout - now);
  };

  /**
   * Runs while connections wait to be admitted. First lets the event loop process I/O that has completed: if this process
   * was busy, connections may look stalled although they are not.
   */
  #checkStalled = () => {
    this.#stallTimer = setTimeout(this.#markStalled, 0);
  };

  #markStalled = () => {
    this.#stallTimer = undefined;
    const latest = performance.now() - STALL_MS;
    for (let connection = this.#oldest; connection; connection = connection.newer) {
      const { stage, greeted, progressAt } = connection;
      if (stage === "greeting" && !greeted && progressAt <= latest) this.#setStage(connection, "stalled");
    }
    // Without this, 3,000 clients that do not read would be admitted 16 at a time, with a pause in between.
    if (this.#counts.greeting === 0 && this.#queue.length > 0) this.#isGateStalled = true;
    this.#admitWaiting();
    if (this.#queue.length > 0) this.#stallTimer ??= setTimeout(this.#checkStalled, STALL_MS);
  };
}
