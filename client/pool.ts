/**
 * Keeps many probes running.
 *
 * @module
 */
import { CONNECT_DEFAULTS, ConnectError, type ConnectOptions } from "./options.ts";
import { LoopClock } from "./clock.ts";
import { isOutOfResources, isZoneFailure } from "./connect_errors.ts";
import { Probe, type ProbeOutcome, type ProbeTarget } from "./probe.ts";
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

/** What a pool runs: returns the target of one probe, and receives the outcome. */
export interface ProbeTask {
  /** The host as given, for errors. */
  readonly host: string;
  /**
   * Returns what to probe, or `undefined` if the task is no longer needed. Called when the probe is about to start. An
   * exception ends the pool.
   */
  target(): ProbeTarget | undefined;
  /** Called when the state of the port is known. */
  done(outcome: ProbeOutcome): void;
  /** Called instead if `Deno.connect` has thrown an error that says nothing about the port, but applies to its host. */
  fail(error: ConnectError): void;
}

/** Runs probes, many at a time. */
export class ProbePool {
  readonly #timeout: number;
  readonly #concurrency: number;
  readonly #isPaused: () => boolean;
  readonly #onFailure: (error: unknown) => void;
  readonly #waiting = new Queue<ProbeTask>();
  /** Cancels the tasks that will be added after a delay. */
  readonly #delayed = new Set<() => void>();
  readonly #running = new Set<Probe>();
  readonly #clock = new LoopClock();
  /** How many probes may run: fewer than asked for if descriptors or local ports have run out. */
  #limit: number;
  /** How many probes are active. See ACTIVE_MS. */
  #active = 0;
  /** Ends the current pause, if no resources are left for even a single probe. */
  #cancelPause: (() => void) | undefined;
  /** How many such pauses there have been since the last result. */
  #pauses = 0;
  /** Whether no further probe starts, because of an error or because the pool has been ended. */
  #isStopped = false;
  readonly #ended = Promise.withResolvers<void>();

  /**
   * While `isPaused()` returns true, no probe starts; call {@linkcode start} when that changes. `onFailure` is called if no
   * resources are left, or if a task has thrown an error. The pool then starts no further probe.
   */
  constructor(
    { timeout = CONNECT_DEFAULTS.timeout, concurrency = CONNECT_DEFAULTS.concurrency }: ConnectOptions,
    isPaused: () => boolean,
    onFailure: (error: unknown) => void,
  ) {
    this.#timeout = timeout;
    this.#concurrency = this.#limit = concurrency;
    this.#isPaused = isPaused;
    this.#onFailure = onFailure;
  }

  /** Resolves when no probe runs, and no other will start, because of an error or because the pool has been ended. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Appends a task to the queue, after `ms` milliseconds if given. */
  add(task: ProbeTask, ms = 0) {
    if (this.#isStopped) return;
    if (ms === 0) {
      this.#waiting.push(task);
      this.start();
      return;
    }
    const cancel = this.#clock.schedule(ms, () => {
      this.#delayed.delete(cancel);
      this.add(task);
    });
    this.#delayed.add(cancel);
  }

  /** Starts as many probes as possible. */
  start() {
    while (
      !this.#isStopped && !this.#cancelPause && !this.#isPaused() && this.#running.size < this.#limit &&
      this.#active < MAX_ACTIVE_PROBES
    ) {
      const task = this.#waiting.shift();
      if (task === undefined) return;
      try {
        const target = task.target();
        if (target) this.#run(task, target);
      } catch (error) {
        this.#fail(error); // thrown by the caller's function
      }
    }
  }

  /**
   * Drops all tasks, and aborts all probes. A probe whose greeting is complete still has a result. {@linkcode ended}
   * resolves when the connections of all probes are closed.
   */
  end() {
    this.#stop();
    for (const probe of this.#running) probe.abort();
  }

  #stop() {
    this.#isStopped = true;
    this.#waiting.clear();
    this.#cancelPause?.();
    for (const cancel of this.#delayed) cancel();
    this.#delayed.clear();
    if (this.#running.size === 0) this.#ended.resolve();
  }

  #fail(error: unknown) {
    this.#stop();
    this.#onFailure(error);
  }

  async #run(task: ProbeTask, target: ProbeTarget) {
    const probe = new Probe({ ...target, timeout: this.#timeout, clock: this.#clock });
    this.#running.add(probe);
    this.#active++;
    let isActive = true;
    const deactivate = () => {
      if (isActive) this.#active--;
      isActive = false;
      this.start();
    };
    let turns = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const countTurn = () => {
      if (turns++ < ACTIVE_TURNS) timer = setTimeout(countTurn);
      else deactivate();
    };
    const cancel = this.#clock.schedule(ACTIVE_MS, countTurn);
    try {
      const outcome = await probe.run();
      this.#running.delete(probe);
      if (outcome) this.#finish(task, outcome);
    } catch (error) {
      this.#running.delete(probe);
      this.#handleError(error, task, target);
    }
    cancel();
    clearTimeout(timer);
    deactivate();
    if (this.#isStopped && this.#running.size === 0) this.#ended.resolve();
  }

  #finish(task: ProbeTask, outcome: ProbeOutcome) {
    this.#limit = Math.min(this.#limit + 1, this.#concurrency);
    this.#pauses = 0;
    try {
      task.done(outcome);
    } catch (error) {
      this.#fail(error); // thrown by the caller's function
    }
  }

  /**
   * Handles an error that says nothing about the port: tries again if resources have run out. Other errors, such as a
   * missing permission, apply to all ports of the host.
   */
  #handleError(error: unknown, task: ProbeTask, { hostname }: ProbeTarget) {
    const isAlone = this.#running.size === 0;
    // If no other probe has a descriptor, the interface does not exist.
    const isTemporary = isOutOfResources(error) || (isZoneFailure(error, hostname) && !isAlone);
    if (!isTemporary) return task.fail(new ConnectError(task.host, error));
    if (this.#pauses * RESOURCE_PAUSE_MS >= this.#timeout) return this.#fail(new ConnectError(task.host, error));
    this.#waiting.push(task);
    // Another probe has to end first.
    this.#limit = Math.max(1, this.#running.size);
    if (isAlone) this.#pause();
  }

  #pause() {
    this.#pauses++;
    this.#cancelPause = this.#clock.schedule(RESOURCE_PAUSE_MS, () => {
      this.#cancelPause = undefined;
      this.start();
    });
  }
}
