/**
 * The open connections of a server, in order of arrival: their deadlines, their limit, and eviction.
 *
 * @module
 */
import { ConditionVariable } from "../shared/condition_variable.ts";
import type { CloseReason, ConnInfo, OpenConnection, Stage } from "./connection.ts";

const EMPTY = new Uint8Array();

/** The open connections in order of arrival. Closing a connection removes it from the list at once. */
export class ConnectionList {
  readonly #timeout: number;
  readonly #limit: number;
  // A linked list of the connections themselves. Unlike a Set, it allocates nothing, and is never rehashed.
  #oldest: OpenConnection | undefined;
  #newest: OpenConnection | undefined;
  #size = 0;
  readonly #counts: Record<Stage, number> = {
    waiting: 0,
    silent: 0,
    ready: 0,
    greeting: 0,
    stalled: 0,
    draining: 0,
  };
  #deadlineTimer: ReturnType<typeof setTimeout> | undefined;
  /** Called when {@linkcode close} has removed a connection. The gate sets it, to admit those that wait. */
  onClose: () => void = () => {};
  /** Notified when a connection is greeted or closed. server.ts also notifies it at other steps of a shutdown. */
  readonly changed = new ConditionVariable();

  /** `timeout` is how long a connection may stay open, in milliseconds; `limit` is how many may be admitted. */
  constructor(timeout: number, limit: number) {
    this.#timeout = timeout;
    this.#limit = limit;
  }

  /** How many connections are open, including those that wait to be admitted. */
  get size(): number {
    return this.#size;
  }

  /** How many connections are at each stage. */
  get counts(): Readonly<Record<Stage, number>> {
    return this.#counts;
  }

  /** The connection that has been open for the longest time. Its `newer` leads to the others, in order. */
  get oldest(): OpenConnection | undefined {
    return this.#oldest;
  }

  /** Whether the limit allows another connection to be admitted, after an eviction if necessary. */
  get hasRoom(): boolean {
    return !this.#isFull || this.#counts.stalled + this.#counts.draining > 0;
  }

  /** Whether the limit is reached. Connections that wait to be admitted do not count. */
  get #isFull(): boolean {
    return this.#size - this.#counts.waiting >= this.#limit;
  }

  /** Appends a connection that has been accepted. Its timeout starts now, even if it has to wait to be admitted. */
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
      hasSlot: false,
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

  /** Evicts a connection if the limit is reached. Called before a connection is admitted. */
  makeRoom() {
    if (this.#isFull) this.#evict();
  }

  /** Moves a connection to another stage. */
  setStage(connection: OpenConnection, stage: Stage) {
    this.#counts[connection.stage]--;
    this.#counts[stage]++;
    connection.stage = stage;
  }

  /** Removes a connection from the list and closes its socket. Only the first call has an effect. */
  close(connection: OpenConnection, reason: CloseReason) {
    if (connection.closeReason) return;
    this.#remove(connection, reason);
    this.onClose();
    this.changed.notifyAll();
  }

  #remove(connection: OpenConnection, reason: CloseReason) {
    connection.closeReason = reason;
    const { older, newer, stage } = connection;
    if (older) older.newer = newer;
    else this.#oldest = newer;
    if (newer) newer.older = older;
    else this.#newest = older;
    // While an old object points to a young one, V8's minor garbage collection, which is cheap, can free neither the
    // young one nor those that follow it in the list.
    connection.older = connection.newer = undefined;
    this.#size--;
    this.#counts[stage]--;
    connection.conn.close();
    connection.wake?.();
  }

  /**
   * Closes the oldest connection that has been greeted, or else the oldest that has stalled. Returns whether there was
   * one.
   */
  evictOldest(): boolean {
    const isEvicted = this.#evict();
    if (isEvicted) this.changed.notifyAll();
    return isEvicted;
  }

  #evict(): boolean {
    const connection = this.#oldestAt(this.#counts.draining > 0 ? "draining" : "stalled");
    if (connection) this.#remove(connection, "evicted");
    return connection !== undefined;
  }

  #oldestAt(stage: Stage): OpenConnection | undefined {
    let connection = this.#oldest;
    while (connection && connection.stage !== stage) connection = connection.newer;
    return connection;
  }

  /** Ends the wait of the oldest connection whose client has not spoken yet. Returns whether there was one. */
  endOldestWait(): boolean {
    const connection = this.#counts.silent > 0 ? this.#oldestAt("silent") : undefined;
    if (connection) this.endWait(connection);
    return connection !== undefined;
  }

  /** Ends the wait of a connection for its client to speak. Only the first call has an effect. */
  endWait(connection: OpenConnection) {
    if (connection.closeReason || connection.stage !== "silent") return;
    this.setStage(connection, "ready");
    connection.wake?.();
  }

  /** Closes all connections. */
  closeAll(reason: CloseReason) {
    while (this.#oldest) this.close(this.#oldest, reason);
  }

  /** Clears the timer. Called when no connection is open and none will be added. */
  dispose() {
    clearTimeout(this.#deadlineTimer);
  }

  /** Closes expired connections. One timer is enough: all have the same timeout, so the oldest one expires first. */
  #closeExpired = () => {
    const now = performance.now();
    while (this.#oldest && this.#oldest.acceptedAt + this.#timeout <= now) this.close(this.#oldest, "timeout");
    this.#deadlineTimer = this.#oldest && setTimeout(this.#closeExpired, this.#oldest.acceptedAt + this.#timeout - now);
  };
}
