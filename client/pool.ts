/**
 * Keeps many probes running.
 *
 * @module
 */
import { CHECK_DEFAULTS, type CheckOptions, ConnectError } from "./options.ts";
import { LoopClock } from "./clock.ts";
import { isOutOfResources, isZoneFailure } from "./connect_errors.ts";
import { type Connect, Probe, type ProbeOutcome, type ProbeTarget } from "./probe.ts";
import { Queue } from "../shared/queue.ts";

/**
 * How many probes may be active at once. Thousands would starve each other, and a probe that starves looks like a
 * timeout. More do not make a scan of open ports faster.
 */
const MAX_ACTIVE_PROBES = 64;

/**
 * How long a probe counts as active: at least this time in milliseconds, and then this many turns of the event loop. After
 * that, it is probably waiting for a host that is silent. A probe needs several turns: to connect, to read the greeting, and
 * to read its end. On a busy machine, one turn can take longer than ACTIVE_MS, so the time alone is not enough.
 */
const ACTIVE_MS = 10;
const ACTIVE_TURNS = 5;

/** How long to pause if there is no descriptor or no local port for even a single probe, in milliseconds. */
const RESOURCE_PAUSE_MS = 100;

/** Replaces `Deno.connect` in tests, to observe connections and to delay them. */
export const CONNECT: unique symbol = Symbol("connect");

/** The options of `checkPorts`, and what only tests have. */
export type PoolOptions = CheckOptions & { [CONNECT]?: Connect };

/** Runs probes, many at a time. Each check has a place in the pool while it probes, and none while it pauses. */
export class ProbePool {
  readonly #connect: Connect;
  readonly #timeout: number;
  readonly #concurrency: number;
  readonly #isPaused: () => boolean;
  /** Checks that wait for a place: those that have not begun, and those that have. */
  readonly #beginning = new Queue<() => void>();
  readonly #continuing = new Queue<() => void>();
  /** Ends the pauses. */
  readonly #sleeping = new Set<() => void>();
  readonly #running = new Set<Probe>();
  readonly #clock = new LoopClock();
  readonly #stop = new AbortController();
  /** How many places there are: fewer than asked for if descriptors or local ports have run out. */
  #limit: number;
  /** How many places are taken. */
  #taken = 0;
  /** How many probes are active. See ACTIVE_MS. */
  #active = 0;
  /** The probes that have been active for ACTIVE_MS, in order, and the last turn in which they count. */
  readonly #overdue = new Map<() => void, number>();
  #turn = 0;
  #turnTimer: ReturnType<typeof setTimeout> | undefined;
  /** Whether no probe starts for a while, because no resources are left for even a single one. */
  #isOutOfResources = false;
  /** How many such pauses there have been since the last result. */
  #pauses = 0;

  /** While `isPaused()` returns true, no probe starts; call {@linkcode start} when that changes. */
  constructor(
    { timeout = CHECK_DEFAULTS.timeout, concurrency = CHECK_DEFAULTS.concurrency, ...options }: PoolOptions,
    isPaused: () => boolean,
  ) {
    this.#connect = options[CONNECT] ?? Deno.connect;
    this.#timeout = timeout;
    this.#concurrency = this.#limit = concurrency;
    this.#isPaused = isPaused;
  }

  /** Aborted when no further probe starts. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  get #hasRoom(): boolean {
    return !this.#isOutOfResources && !this.#isPaused() && this.#taken < this.#limit &&
      this.#active < MAX_ACTIVE_PROBES;
  }

  /**
   * Waits for a place in the pool, or until the pool has been stopped. Checks that begin go first, so that each port is
   * tried once before a port is tried again.
   */
  acquire(isBeginning = false): Promise<void> {
    if (this.signal.aborted) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    (isBeginning ? this.#beginning : this.#continuing).push(resolve);
    this.start();
    return promise;
  }

  /** Gives a place back. */
  release() {
    this.#taken--;
    this.start();
  }

  /** Gives places to as many waiting checks as possible. */
  start() {
    while (!this.signal.aborted && this.#hasRoom) {
      const next = this.#beginning.shift() ?? this.#continuing.shift();
      if (!next) return;
      this.#taken++;
      this.#active++;
      next();
    }
  }

  /** Starts no further probe, and ends all waits and pauses. */
  stop() {
    this.#stop.abort();
    for (const queue of [this.#beginning, this.#continuing]) {
      for (let next = queue.shift(); next; next = queue.shift()) next();
    }
    for (const wake of this.#sleeping) wake();
  }

  /** Stops, and aborts all probes. A probe whose greeting is complete still has a result. */
  end() {
    this.stop();
    for (const probe of this.#running) probe.abort();
  }

  /** Waits for `ms` milliseconds, or until the pool has been stopped. */
  async sleep(ms: number) {
    if (this.signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.#clock.schedule(ms, resolve);
    this.#sleeping.add(resolve);
    await promise;
    this.#sleeping.delete(resolve);
    cancel();
  }

  /**
   * Runs a probe, for a check that has just got a place. Without a target, only returns. Returns `undefined` if the pool
   * has been stopped before the probe could start, or if the probe has been aborted.
   *
   * @throws {ConnectError} If `Deno.connect` has thrown an error that says nothing about the port, but applies to its
   * host, or if there have been no resources for as long as the timeout.
   */
  async probe(host: string, target: ProbeTarget | undefined): Promise<ProbeOutcome | undefined> {
    for (;;) {
      const deactivate = this.#deactivateLater();
      if (!target || this.signal.aborted) return void deactivate();
      const probe = new Probe({ ...target, timeout: this.#timeout, clock: this.#clock, connect: this.#connect });
      this.#running.add(probe);
      try {
        const outcome = await probe.run();
        this.#limit = Math.min(this.#limit + 1, this.#concurrency);
        this.#pauses = 0;
        return outcome;
      } catch (error) {
        const isAlone = this.#running.size === 1;
        // If no other probe has a descriptor, the interface does not exist.
        const isTemporary = isOutOfResources(error) || (isZoneFailure(error, target.hostname) && !isAlone);
        if (!isTemporary || this.#pauses * RESOURCE_PAUSE_MS >= this.#timeout) throw new ConnectError(host, error);
        // Another probe has to end first.
        this.#limit = Math.max(1, this.#running.size - 1);
        this.#isOutOfResources = isAlone;
      } finally {
        this.#running.delete(probe);
        deactivate();
      }
      this.release();
      if (this.#isOutOfResources) await this.#pause();
      await this.acquire();
    }
  }

  async #pause() {
    this.#pauses++;
    await this.sleep(RESOURCE_PAUSE_MS);
    this.#isOutOfResources = false;
  }

  /** A place counts as active from the beginning. Ends that after a while. Returns a function that ends it at once. */
  #deactivateLater(): () => void {
    let isActive = true;
    const deactivate = () => {
      cancel();
      this.#overdue.delete(deactivate);
      if (this.#overdue.size === 0) clearTimeout(this.#turnTimer);
      if (!isActive) return;
      isActive = false;
      this.#active--;
      this.start();
    };
    const cancel = this.#clock.schedule(ACTIVE_MS, () => {
      if (this.#overdue.size === 0) this.#turnTimer = setTimeout(this.#countTurn);
      this.#overdue.set(deactivate, this.#turn + ACTIVE_TURNS);
    });
    return deactivate;
  }

  /** Counts a turn of the event loop. One timer for all probes, because a scan of open ports starts thousands. */
  #countTurn = () => {
    this.#turn++;
    for (const [deactivate, lastTurn] of this.#overdue) {
      if (lastTurn > this.#turn) break;
      deactivate();
    }
    if (this.#overdue.size > 0) this.#turnTimer = setTimeout(this.#countTurn);
  };
}
