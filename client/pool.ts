/**
 * Keeps many probes running. Used only by client.ts.
 *
 * @module
 */
import { CONNECT_DEFAULTS, ConnectError, type ConnectOptions, type ProbeResult } from "./options.ts";
import { LoopClock } from "./clock.ts";
import { isOutOfResources, isZoneFailure, Probe } from "./probe.ts";

/**
 * How many probes may be active at once. Thousands would starve each other, and a probe that starves looks like a timeout:
 * with 4,096 probes at once and a timeout of 0.5 s, 4,973 of 14,000 open ports were reported as timed out. A scan of open
 * ports took 15% longer with 32 than with 64, and 128 was no faster.
 */
const MAX_ACTIVE_PROBES = 64;

/**
 * How long a probe counts as active, in milliseconds. After that, it is probably waiting for a host that is silent. The
 * clock stands still while this program is busy, so fewer probes are started then.
 */
const ACTIVE_MS = 10;

/** How long to pause if there is no descriptor or no local port for even a single probe, in milliseconds. */
const RESOURCE_PAUSE_MS = 100;

/** Probes each of several ports once, many at a time. */
export class ProbePool {
  readonly #hostname: string;
  readonly #timeout: number;
  readonly #concurrency: number;
  readonly #expectedFor: (port: number) => Uint8Array | undefined;
  /** The ports that are left, the next one last. */
  readonly #waiting: number[];
  readonly #running = new Set<Probe>();
  readonly #results: ProbeResult[] = [];
  readonly #clock = new LoopClock();
  /** How many probes may run: fewer than asked for if descriptors or local ports have run out. */
  #limit: number;
  /** How many probes are active: they have been running for less than ACTIVE_MS. */
  #active = 0;
  /** Ends the current pause, if no resources are left for even a single probe. */
  #cancelPause: (() => void) | undefined;
  /** How many such pauses there have been since the last result. */
  #pauses = 0;
  /** An error that is not the result of a port. It ends the pool. */
  #failure: { error: unknown } | undefined;
  #isEnding = false;
  /** Callers of `changed`. */
  #waiters: (() => void)[] = [];

  /** Starts the first probes. */
  constructor(
    hostname: string,
    ports: readonly number[],
    { timeout = CONNECT_DEFAULTS.timeout, concurrency = CONNECT_DEFAULTS.concurrency, expect }: ConnectOptions,
  ) {
    this.#hostname = hostname;
    this.#timeout = timeout;
    this.#concurrency = this.#limit = concurrency;
    this.#expectedFor = toExpectedFunction(expect);
    this.#waiting = ports.toReversed();
    this.#start();
  }

  /**
   * Removes and returns the next result, or returns `undefined` if there is none yet.
   *
   * @throws {ConnectError} If no port can be probed, when all known results have been taken. An exception of `expect` is
   * passed on in the same way.
   */
  take(): ProbeResult | undefined {
    const result = this.#results.shift();
    if (result) this.#start();
    else if (this.#failure) throw this.#failure.error;
    return result;
  }

  /** Whether there will be no further result. */
  get isDone(): boolean {
    const isIdle = this.#running.size === 0 && (this.#waiting.length === 0 || this.#isEnding);
    return isIdle && !this.#failure && this.#results.length === 0;
  }

  /** Resolves when there may be a result, or the pool may be done. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** Aborts all probes, and waits until their connections are closed. Results that are known can still be read. */
  async end() {
    this.#isEnding = true;
    this.#cancelPause?.();
    for (const probe of this.#running) probe.abort();
    this.#wake();
    while (this.#running.size > 0) await this.changed();
  }

  /** Starts as many probes as possible. */
  #start() {
    while (
      !this.#isEnding && !this.#failure && !this.#cancelPause && this.#running.size < this.#limit &&
      this.#active < MAX_ACTIVE_PROBES &&
      this.#results.length < this.#concurrency // results that have not been read take memory, up to 16 KiB each
    ) {
      const port = this.#waiting.pop();
      if (port === undefined) return;
      try {
        this.#run(port, this.#expectedFor(port));
      } catch (error) {
        this.#fail(error); // thrown by the caller's function
      }
    }
  }

  #fail(error: unknown) {
    this.#failure ??= { error };
    this.#wake();
  }

  async #run(port: number, expected: Uint8Array | undefined) {
    const probe = new Probe({
      hostname: this.#hostname,
      port,
      expected,
      timeout: this.#timeout,
      clock: this.#clock,
    });
    this.#running.add(probe);
    this.#active++;
    let isActive = true;
    const deactivate = () => {
      if (isActive) this.#active--;
      isActive = false;
      this.#start();
    };
    const cancel = this.#clock.schedule(ACTIVE_MS, deactivate);
    try {
      const result = await probe.run();
      this.#running.delete(probe);
      if (result) this.#addResult(result);
    } catch (error) {
      this.#running.delete(probe);
      this.#handleError(error, port);
    }
    cancel();
    deactivate();
    this.#wake();
  }

  #addResult(result: ProbeResult) {
    this.#results.push(result);
    this.#limit = Math.min(this.#limit + 1, this.#concurrency);
    this.#pauses = 0;
  }

  /** Handles an error that says nothing about the port: tries again if resources have run out, or else fails. */
  #handleError(error: unknown, port: number) {
    const isAlone = this.#running.size === 0;
    // If no other probe has a descriptor, the interface does not exist.
    const isTemporary = isOutOfResources(error) || (isZoneFailure(error, this.#hostname) && !isAlone);
    if (!isTemporary || this.#pauses * RESOURCE_PAUSE_MS >= this.#timeout) {
      this.#fail(new ConnectError(this.#hostname, error));
      return;
    }
    this.#waiting.push(port);
    // Another probe has to end first.
    this.#limit = Math.max(1, this.#running.size);
    if (isAlone) this.#pause();
  }

  #pause() {
    this.#pauses++;
    this.#cancelPause = this.#clock.schedule(RESOURCE_PAUSE_MS, () => {
      this.#cancelPause = undefined;
      this.#start();
    });
  }

  #wake() {
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}

/** Returns a function that encodes the expected text of a port. A constant text is encoded only once, here. */
function toExpectedFunction(expect: ConnectOptions["expect"]): (port: number) => Uint8Array | undefined {
  const encode = (text: string | Uint8Array) => typeof text === "string" ? new TextEncoder().encode(text) : text;
  if (typeof expect === "function") return (port) => encode(expect(port));
  const encoded = expect === undefined ? undefined : encode(expect);
  return () => encoded;
}
