/**
 * The gate through which each connection passes before it is greeted.
 *
 * @module
 */
import type { OpenConnection } from "./connection.ts";
import type { ConnectionList } from "./connections.ts";

/**
 * How many connections may wait for their greeting and half-close at once. The others wait in the kernel's accept
 * queue, which is first in, first out. Without this gate, older connections starve, probably because accepting and
 * greeting new ones uses up the operations that tokio allows a task before it must yield.
 */
export const MAX_UNGREETED = 16;

/**
 * How long nothing more of a greeting can be sent until its connection counts as stalled, in milliseconds. A stalled
 * connection no longer counts in the gate, and may be evicted. A greeting can be sent only in part if the kernel's send
 * buffer is smaller than the greeting and the client does not read.
 */
export const STALL_MS = 20;

/** Admits connections in order: at most 16 that have not been greeted, and no more than the list's limit allows. */
export class Gate {
  readonly #connections: ConnectionList;
  /** Connections that wait to be admitted, in order. It is empty whenever another connection can be admitted. */
  readonly #queue: OpenConnection[] = [];
  /** Connections that were admitted, have waited for their client to speak, and now wait for the gate, in order. */
  readonly #returning: OpenConnection[] = [];
  /** Whether the gate is kept open because all connections in it have stalled, and none has been greeted since. */
  #isStalled = false;
  #stallTimer: ReturnType<typeof setTimeout> | undefined;

  /** `connections` has the connections to admit, and the limit. */
  constructor(connections: ConnectionList) {
    this.#connections = connections;
    connections.onClose = () => this.#admitWaiting();
  }

  get #isOpen(): boolean {
    return this.#connections.counts.greeting < MAX_UNGREETED || this.#isStalled;
  }

  /** Whether connections wait for the gate or for room. */
  get #isAwaited(): boolean {
    return this.#queue.length + this.#returning.length > 0;
  }

  /**
   * Admits a connection to be greeted as soon as fewer than {@linkcode MAX_UNGREETED} others are being greeted and the
   * limit allows it. Connections are admitted in order. Those that return after {@linkcode leaveDuring} come first, and count
   * for the limit already. Returns `undefined` if the connection was admitted at once, or else a promise that resolves
   * when it has been admitted or closed.
   */
  admit(connection: OpenConnection): Promise<void> | undefined {
    const isNew = connection.stage === "waiting";
    if (this.#isOpen && (!isNew || this.#connections.hasRoom)) {
      this.#enter(connection);
      return undefined;
    }
    (isNew ? this.#queue : this.#returning).push(connection);
    this.#makeEvictable();
    this.checkStalled();
    return new Promise((resolve) => connection.wake = resolve);
  }

  /**
   * Lets a connection that has been admitted leave the gate until `wait` has ended, which waits for its client to speak.
   * It keeps its place in the limit.
   */
  async leaveDuring(wait: Promise<void>, connection: OpenConnection) {
    if (!connection.closeReason) this.#connections.setStage(connection, "silent");
    this.#admitWaiting();
    await wait;
    this.#connections.endWait(connection);
  }

  #enter(connection: OpenConnection) {
    if (connection.stage === "waiting") this.#connections.makeRoom();
    this.#connections.setStage(connection, "greeting");
  }

  #admitWaiting() {
    if (!this.#isAwaited) return;
    this.#admitFrom(this.#returning, () => this.#isOpen);
    this.#admitFrom(this.#queue, () => this.#isOpen && this.#connections.hasRoom);
    this.#makeEvictable();
  }

  #admitFrom(queue: OpenConnection[], canAdmit: () => boolean) {
    for (let next = queue[0]; next && canAdmit(); next = queue[0]) {
      queue.shift();
      if (next.closeReason) continue; // closed while it waited
      this.#enter(next);
      next.wake?.();
    }
  }

  /**
   * At the limit, has the clients greeted that have not spoken yet, oldest first, so that their connections can be
   * evicted: as many as there are connections that wait for room, less those that are going to be evictable anyway.
   */
  #makeEvictable() {
    if (this.#queue.length === 0 || this.#connections.hasRoom) return;
    const { counts } = this.#connections;
    while (counts.ready + counts.greeting < this.#queue.length && this.#connections.endOldestWait());
  }

  /** Records that only a part of the greeting could be sent. */
  markProgress(connection: OpenConnection) {
    if (connection.closeReason) return; // the write had ended before the server closed the connection
    connection.progressAt = performance.now();
    if (connection.stage === "stalled") this.#connections.setStage(connection, "greeting");
  }

  /** Records that a connection has been greeted and half-closed. It leaves the gate, and may be evicted from now on. */
  markDraining(connection: OpenConnection) {
    if (connection.closeReason) return;
    this.#connections.setStage(connection, "draining");
    this.#isStalled = false;
    this.#admitWaiting();
    this.#connections.changed.notifyAll();
  }

  /**
   * Finds out which connections have stalled, after {@linkcode STALL_MS}, and again while connections wait to be
   * admitted.
   */
  checkStalled() {
    // First lets the event loop process I/O that has completed: if this process was busy, connections may look stalled
    // although they are not.
    this.#stallTimer ??= setTimeout(() => this.#stallTimer = setTimeout(this.#markStalled, 0), STALL_MS);
  }

  #markStalled = () => {
    this.#stallTimer = undefined;
    const latest = performance.now() - STALL_MS;
    for (let connection = this.#connections.oldest; connection; connection = connection.newer) {
      const { stage, greeted, progressAt } = connection;
      if (stage === "greeting" && !greeted && progressAt <= latest) this.#connections.setStage(connection, "stalled");
    }
    // Otherwise, thousands of clients that do not read would be admitted 16 at a time, with a pause after each 16.
    if (this.#connections.counts.greeting === 0 && this.#isAwaited) this.#isStalled = true;
    this.#admitWaiting();
    if (this.#isAwaited) this.checkStalled();
  };

  /** Clears the timer. Called when no connection is open and none will be added. */
  dispose() {
    clearTimeout(this.#stallTimer);
  }
}
