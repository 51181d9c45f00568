/**
 * Checks one port of a host at all addresses of the host, again and again until it is as expected.
 *
 * @module
 */
import { codeOf } from "../shared/errors.ts";
import { ConnectError, type Expectation, type ProbeResult, type ProbeState } from "./options.ts";
import { isLocalError } from "./connect_errors.ts";
import type { ProbePool, ProbeTask } from "./pool.ts";
import type { ProbeOutcome, ProbeTarget } from "./probe.ts";
import type { Host } from "./resolve.ts";

/** The shortest and the longest pause between two attempts, in milliseconds. Each pause doubles the last one. */
const PAUSE_MIN_MS = 100;
const PAUSE_MAX_MS = 1000;

/**
 * How much a state says about a port that is not as expected. A state that says less does not replace one that says more:
 * Linux limits a firewall that rejects with ICMP to about one reply a second, so a port that was refused may not be
 * answered later.
 */
const INFORMATION: Record<ProbeState, number> = {
  greeted: 5,
  open: 5,
  mismatch: 4,
  silent: 3,
  closed: 3,
  reset: 3,
  refused: 2,
  unreachable: 1,
  timeout: 0,
};

/** How much an outcome says about a port. An error of this machine says nothing about it. */
function informationOf({ state, cause, remoteAddr }: Pick<ProbeOutcome, "state" | "cause" | "remoteAddr">): number {
  return isLocalError(cause, remoteAddr.hostname) ? -1 : INFORMATION[state];
}

/** Whether a connection was made. */
export function isConnected(state: ProbeState): boolean {
  return INFORMATION[state] > INFORMATION.refused;
}

/** What is known about a port after one attempt. */
export interface Finding {
  /** The result. Its `ok` is only what the state says. */
  result: ProbeResult;
  /**
   * What `Deno.connect` threw, if the state is `unreachable`. An error of this machine only if it caused the errors of all
   * addresses.
   */
  cause: unknown;
}

/** How a port is checked. */
export interface PortCheckOptions {
  /** The host. Each attempt uses its current addresses. They are looked up again in the pause before the next attempt. */
  host: Host;
  /** Runs the probes. */
  pool: ProbePool;
  /** When to stop trying again, on the clock of `performance.now()`. An attempt that is running then is the last one. */
  deadline: number;
  /** The parts of a target that depend on the expectation. */
  targetOf: (port: number, expectation: Expectation) => Omit<ProbeTarget, "hostname">;
  /** Called after each attempt. */
  onAttempt: (result: ProbeResult) => void;
  /** Called if no port of the host can be probed. No further attempt follows. */
  onFailure: (error: ConnectError) => void;
  /** Called when no further attempt follows. */
  onDecided: (check: PortCheck, finding: Finding) => void;
}

/** One port of a host, and what it should do. */
export class PortCheck implements ProbeTask {
  readonly #options: PortCheckOptions;
  readonly #port: number;
  readonly #expectation: Expectation;
  #pause = PAUSE_MIN_MS;
  /** The addresses of this attempt, and how many of them have been tried. */
  #addresses: readonly string[] = [];
  #tried = 0;
  /** The outcome of this attempt so far. */
  #outcome: ProbeOutcome | undefined;
  #isCanceled = false;
  /** What to report if no further attempt is made. */
  #finding: Finding | undefined;

  /** Call {@linkcode start} to start the first attempt. */
  constructor(port: number, expectation: Expectation, options: PortCheckOptions) {
    this.#port = port;
    this.#expectation = expectation;
    this.#options = options;
  }

  /** The name of the host. */
  get host(): string {
    return this.#options.host.name;
  }

  /** What is known so far, if an attempt has ended and another one follows. */
  get finding(): Finding | undefined {
    return this.#finding;
  }

  /** Starts an attempt after `ms` milliseconds, as soon as the pool has room. */
  start(ms = 0) {
    this.#tried = 0;
    this.#outcome = undefined;
    this.#options.pool.add(this, ms);
  }

  /** Ends the check. No callback is called any longer. */
  cancel() {
    this.#isCanceled = true;
  }

  /** Returns the target of the next probe. */
  target(): ProbeTarget | undefined {
    if (this.#isCanceled) return undefined;
    const { host, targetOf } = this.#options;
    if (this.#tried === 0) this.#addresses = host.addresses;
    const hostname = this.#addresses[this.#tried] ?? "";
    return { ...targetOf(this.#port, this.#expectation), hostname };
  }

  /** Handles the outcome of a probe: tries the next address if there was no connection, or else ends the attempt. */
  done(outcome: ProbeOutcome) {
    if (this.#isCanceled) return;
    this.#tried++;
    if (!this.#outcome || informationOf(outcome) > informationOf(this.#outcome)) this.#outcome = outcome;
    if (!isConnected(outcome.state) && this.#tried < this.#addresses.length) this.#options.pool.add(this);
    else this.#endAttempt(this.#outcome);
  }

  /** Handles an error that applies to all ports of the host. */
  fail(error: ConnectError) {
    if (!this.#isCanceled) this.#options.onFailure(error);
  }

  #endAttempt(outcome: ProbeOutcome) {
    const { onAttempt, onDecided, deadline, host } = this.#options;
    // The host has only IPv6 addresses, and this machine has none, or its kernel has no IPv6.
    if (["EADDRNOTAVAIL", "EAFNOSUPPORT"].includes(codeOf(outcome.cause) ?? "")) {
      return this.fail(new ConnectError(this.host, outcome.cause));
    }
    const result = this.#resultOf(outcome);
    onAttempt(result);
    const last = this.#finding;
    // For a port that must be blocked, the latest attempt counts.
    const isKept = last && this.#expectation !== "blocked" &&
      informationOf({ ...last.result, cause: last.cause }) > informationOf(outcome);
    const finding = this.#finding = isKept ? last : { result, cause: outcome.cause };
    const left = deadline - performance.now();
    if (result.ok || left <= 0) {
      // An old object that points to young ones keeps V8 from freeing them cheaply.
      this.#outcome = this.#finding = undefined;
      return onDecided(this, finding);
    }
    host.refresh();
    this.start(Math.min(this.#pause, left));
    this.#pause = Math.min(2 * this.#pause, PAUSE_MAX_MS);
  }

  #resultOf({ state, remoteAddr, localAddr, greeting, duration, error }: ProbeOutcome): ProbeResult {
    const expected = this.#expectation;
    const ok = expected === "blocked" ? !isConnected(state) : state === expected;
    return { host: this.host, expected, ok, state, remoteAddr, localAddr, greeting, duration, error };
  }
}
