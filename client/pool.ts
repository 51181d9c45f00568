/**
 * Keeps many probes running.
 *
 * @module
 */
import { CHECK_DEFAULTS, type CheckOptions } from "./options.ts";
import { ConnectError } from "./results.ts";
import { LoopClock } from "./clock.ts";
import { isOutOfResources, isZoneFailure } from "./connect_errors.ts";
import type { Pace } from "./pace.ts";
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
  /** How many calls of {@linkcode begin} have checks that have not begun. */
  #beginners = 0;
  /** Ends the pauses. */
  readonly #sleeping = new Set<() => void>();
  readonly #running = new Set<Probe>();
  readonly #clock = new LoopClock();
  readonly #stop = new AbortController();
  /** How many places there are: fewer than asked for if descriptors or local ports have run out. */
  #limit: number;
  /** How many places are taken. */
  #taken = 0;
  /** How many of these have a probe that no longer counts as active. See ACTIVE_MS. */
  #quiet = 0;
  /** What to call for the probes that have run for ACTIVE_MS, in order, and the last turn in which they are active. */
  readonly #overdue = new Map<() => void, number>();
  #turn = 0;
  #turnTimer: ReturnType<typeof setTimeout> | undefined;
  /** While no resources are left for even a single probe: ends when one may be tried. */
  #pause: Promise<void> | undefined;
  /** How many such pauses there have been since the last result. */
  #pauses = 0;

  /** While `isPaused()` returns true, no probe starts; call {@linkcode grant} when that changes. */
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
    return !this.#pause && !this.#isPaused() && this.#taken < this.#limit &&
      this.#taken - this.#quiet < MAX_ACTIVE_PROBES;
  }

  /**
   * Begins a check for each item when it has a place, and waits until all have ended. No check of any host continues while
   * others have not begun, so each port is tried once before a port is tried again. A check takes memory, so none is begun
   * before it has a place. If `signal` is aborted, no further check begins.
   *
   * With a pace, each check also waits for it. Then other checks may continue meanwhile, because beginning all can take long.
   */
  async begin<T>(items: readonly T[], signal: AbortSignal, check: (item: T) => Promise<void>, pace?: Pace) {
    const checks: Promise<void>[] = [];
    if (!pace) this.#beginners++;
    for (const item of items) {
      await pace?.wait();
      await this.#wait(pace ? this.#continuing : this.#beginning);
      if (this.signal.aborted || signal.aborted) {
        this.release();
        break;
      }
      checks.push(check(item).finally(() => this.release()));
    }
    if (!pace) this.#beginners--;
    this.grant();
    await Promise.all(checks);
  }

  /** Waits for a place in the pool, or until the pool has been stopped. */
  acquire(): Promise<void> {
    return this.#wait(this.#continuing);
  }

  /** Takes a place at once, even if none is free: a probe that has to run at a certain time cannot wait. */
  take() {
    this.#taken++;
  }

  #wait(queue: Queue<() => void>): Promise<void> {
    if (this.signal.aborted) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    queue.push(resolve);
    this.grant();
    return promise;
  }

  /** Gives a place back. */
  release() {
    this.#taken--;
    this.grant();
  }

  /** Gives places to as many waiting checks as possible. */
  grant() {
    while (!this.signal.aborted && this.#hasRoom) {
      const next = this.#beginning.shift() ?? (this.#beginners === 0 ? this.#continuing.shift() : undefined);
      if (!next) return;
      this.#taken++;
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

  /** Calls back after `ms` milliseconds of the pool's clock. Returns a function that cancels that. */
  schedule(ms: number, callback: () => void): () => void {
    return this.#clock.schedule(ms, callback);
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
   * Runs a probe, for a check that has a place. Returns `undefined` if the pool or the check of the host has been stopped,
   * or if the probe has been aborted.
   *
   * @throws {ConnectError} If `Deno.connect` has thrown an error that says nothing about the port, but applies to its
   * host, or if there have been no resources for as long as the timeout.
   */
  async probe(host: string, target: ProbeTarget, signal: AbortSignal): Promise<ProbeOutcome | undefined> {
    while (!this.signal.aborted && !signal.aborted) {
      const probe = new Probe({ ...target, timeout: this.#timeout, clock: this.#clock, connect: this.#connect });
      const endQuiet = this.#startQuiet();
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
        if (isAlone) this.#startPause();
      } finally {
        this.#running.delete(probe);
        endQuiet();
      }
      this.release();
      await this.#pause;
      await this.acquire();
    }
  }

  #startPause() {
    if (this.#pause) return;
    this.#pauses++;
    this.#pause = this.sleep(RESOURCE_PAUSE_MS).then(() => this.#pause = undefined);
  }

  /** A probe is active when it starts, and quiet after a while. Returns a function to call when it has ended. */
  #startQuiet(): () => void {
    let isQuiet = false;
    const setQuiet = () => {
      this.#overdue.delete(setQuiet);
      isQuiet = true;
      this.#quiet++;
      this.grant();
    };
    const cancel = this.#clock.schedule(ACTIVE_MS, () => {
      if (this.#overdue.size === 0) this.#turnTimer = setTimeout(this.#countTurn);
      this.#overdue.set(setQuiet, this.#turn + ACTIVE_TURNS);
    });
    return () => {
      cancel();
      this.#overdue.delete(setQuiet);
      if (this.#overdue.size === 0) clearTimeout(this.#turnTimer);
      if (isQuiet) this.#quiet--;
    };
  }

  /** Counts a turn of the event loop. One timer for all probes, because a scan of open ports starts thousands. */
  #countTurn = () => {
    this.#turn++;
    for (const [setQuiet, lastTurn] of this.#overdue) {
      if (lastTurn > this.#turn) break;
      setQuiet();
    }
    if (this.#overdue.size > 0) this.#turnTimer = setTimeout(this.#countTurn);
  };
}
