/**
 * The open connections of a server, in order of arrival: their deadlines, their limit, and eviction.
 *
 * @module
 */
import { ConditionVariable } from "../shared/condition_variable.ts";
import type { CloseReason, ConnInfo, OpenConnection, Stage } from "./connection.ts";
import type { Port } from "./port.ts";
import { Semaphore } from "./semaphore.ts";

const EMPTY = new Uint8Array();

/**
 * The open connections in order of arrival. Closing a connection removes it from the list at once. It is then settling:
 * its descriptor is freed, and `onClose` is called, only when its last operation has ended.
 */
export class ConnectionList {
  readonly #timeout: number;
  /** A permit for each connection that the limit allows. Those that wait for one are in the list, too. */
  readonly #limit: Semaphore;
  // A linked list of the connections themselves. Unlike a Set, it allocates nothing, and is never rehashed.
  #oldest: OpenConnection | undefined;
  #newest: OpenConnection | undefined;
  #size = 0;
  readonly #counts: Record<Stage, number> = { waiting: 0, silent: 0, greeting: 0, sending: 0, draining: 0 };
  #deadlineTimer: ReturnType<typeof setTimeout> | undefined;
  /**
   * Notified when a connection can be evicted or is closed. server.ts also notifies it when a connection has settled, or a
   * port is closed.
   */
  readonly changed = new ConditionVariable();

  /** `timeout` is how long a connection may stay open, in milliseconds; `limit` is how many may be admitted. */
  constructor(timeout: number, limit: number) {
    this.#timeout = timeout;
    this.#limit = new Semaphore(limit);
  }

  /** How many connections are open, including those that wait to be admitted. */
  get size(): number {
    return this.#size;
  }

  /** Appends a connection that has been accepted. Its timeout starts now, even if it has to wait to be admitted. */
  add(conn: Deno.TcpConn, { remoteAddr, localAddr }: ConnInfo, port: Port, isIgnored: boolean): OpenConnection {
    const connection: OpenConnection = {
      conn,
      port,
      isIgnored,
      remoteAddr,
      localAddr,
      acceptedAt: performance.now(),
      bytesSent: 0,
      greeted: false,
      bytesReceived: 0,
      received: EMPTY,
      closeReason: undefined,
      hasSlot: false,
      stage: "waiting",
      endWait: undefined,
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
   * Admits a connection as soon as the limit allows it. At the limit, another connection is evicted for each one that
   * waits. Connections are admitted in order. Returns `undefined` if the connection was admitted at once, or else a
   * promise that resolves when it has been admitted or is closed.
   */
  admit(connection: OpenConnection): Promise<void> | undefined {
    if (!this.#limit.tryAcquire()) return this.#waitForRoom(connection);
    this.setStage(connection, "greeting");
  }

  async #waitForRoom(connection: OpenConnection) {
    const room = this.#limit.acquire();
    this.#makeRoom();
    await room;
    if (connection.closeReason) this.#limit.release();
    else this.setStage(connection, "greeting");
  }

  /**
   * Evicts one connection for each waiting one. If too few can be evicted, greets the oldest silent clients, which can be
   * evicted afterwards.
   */
  #makeRoom() {
    while (this.#limit.waiting > 0 && this.evictOldest());
    while (this.#limit.waiting > this.#counts.greeting && this.endOldestWait());
  }

  /** Moves a connection to another stage. Has no effect on one that has been closed. */
  setStage(connection: OpenConnection, stage: Stage) {
    if (connection.closeReason) return;
    this.#counts[connection.stage]--;
    this.#counts[stage]++;
    connection.stage = stage;
    if (stage === "greeting") return;
    if (this.#limit.waiting > 0) this.#makeRoom();
    if (stage !== "silent") this.changed.notifyAll();
  }

  /** Removes a connection from the list and closes its socket. Only the first call has an effect. */
  close(connection: OpenConnection, reason: CloseReason) {
    if (connection.closeReason) return;
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
    connection.endWait?.();
    if (stage !== "waiting") this.#limit.release();
    this.changed.notifyAll();
  }

  /**
   * Closes the oldest connection that has been greeted, or else the oldest one of which only a part has been sent.
   * Returns whether there was one.
   */
  evictOldest(): boolean {
    const connection = this.#oldestAt("draining") ?? this.#oldestAt("sending");
    if (connection) this.close(connection, "evicted");
    return connection !== undefined;
  }

  #oldestAt(stage: Stage): OpenConnection | undefined {
    if (this.#counts[stage] === 0) return undefined;
    let connection = this.#oldest;
    while (connection && connection.stage !== stage) connection = connection.newer;
    return connection;
  }

  /** Ends the wait of the oldest connection whose client has not spoken yet. Returns whether there was one. */
  endOldestWait(): boolean {
    const connection = this.#oldestAt("silent");
    if (!connection) return false;
    this.setStage(connection, "greeting");
    connection.endWait?.();
    return true;
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
