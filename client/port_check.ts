/**
 * Checks one port of a host at all addresses of the host, again and again until it is as expected.
 *
 * @module
 */
import { ConnectError, type Expectation, type ProbeResult, type ProbeState } from "./results.ts";
import { isFamilyMissing, isLocalError } from "./connect_errors.ts";
import type { Pace } from "./pace.ts";
import type { ProbePool } from "./pool.ts";
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
const EVIDENCE: Record<ProbeState, number> = {
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
export function evidenceOf({ state, cause, remoteAddr }: Pick<ProbeOutcome, "state" | "cause" | "remoteAddr">): number {
  return isLocalError(cause, remoteAddr.hostname) ? -1 : EVIDENCE[state];
}

/** Whether a connection was made. */
export function isConnected(state: ProbeState): boolean {
  return EVIDENCE[state] > EVIDENCE.refused;
}

/** Whether a port in this state does what it should do. client/judge.ts judges a blocked port by more than that. */
export function isAsExpected(expected: Expectation, state: ProbeState): boolean {
  return expected === "blocked" ? !isConnected(state) : state === expected;
}

/** Returns the result of an attempt at a port. Its `ok` is only what the state says. */
export function attemptResult(host: string, expected: Expectation, outcome: ProbeOutcome): ProbeResult {
  const { state, remoteAddr, localAddr, greeting, duration, error } = outcome;
  const ok = isAsExpected(expected, state);
  const fields = { state, remoteAddr, localAddr, greeting, duration, error };
  const reason = expected === "blocked" && !ok ? "reached" : undefined;
  return { host, expected, ok, ...fields, reason, listening: null, reachableBefore: undefined };
}

/** What is known about a port after one attempt. */
export interface Finding {
  /** The result. Its `ok` is only what the state says. */
  result: ProbeResult;
  /** When the attempt began, on the clock of `performance.now()`, and how long connecting took, in milliseconds. */
  started: number;
  connectMs: number;
  /**
   * What `Deno.connect` threw, if the state is `unreachable`. It is an error of this machine only if all
   * addresses failed with one.
   */
  cause: unknown;
}

/** How a port is checked. */
export interface PortCheckOptions {
  /** The host. Each attempt uses its current addresses. They are looked up again in the pause before the next attempt. */
  host: Pick<Host, "name" | "addresses" | "refresh">;
  /** Runs the probes. */
  pool: Pick<ProbePool, "signal" | "acquire" | "release" | "sleep" | "probe">;
  /** When to stop trying again, on the clock of `performance.now()`. An attempt that is running then is the last one. */
  deadline: number;
  /** Ends the check of the host. The reason is the error that has ended it. */
  stop: AbortController;
  /** Limits how many connections start in a second, if there is a limit. */
  pace: Pace | undefined;
  /** The parts of a target that depend on the expectation. */
  targetOf: (port: number, expectation: Expectation) => Omit<ProbeTarget, "hostname">;
  /** Called after each attempt. */
  onAttempt: (result: ProbeResult) => void;
}

/**
 * Checks a port until it is as expected, until the deadline, or until `stop` is aborted. The caller has taken a place in the
 * pool and waited for the pace; the place is still taken when this returns. Returns what is known, or `undefined` if nothing
 * is. Aborts `stop` with an error: a {@linkcode ConnectError} if no port of the host can be probed, or any error that a
 * function in the options has thrown.
 */
export async function checkPort(
  port: number,
  expected: Expectation,
  options: PortCheckOptions,
): Promise<Finding | undefined> {
  const { host, pool, pace, deadline, stop, onAttempt } = options;
  let finding: Finding | undefined;
  try {
    for (let pause = PAUSE_MIN_MS;; pause = Math.min(2 * pause, PAUSE_MAX_MS)) {
      const outcome = await tryAddresses(port, expected, options);
      if (!outcome) return finding;
      const { cause, started, connectMs } = outcome;
      // All addresses of the host are IPv6, and this machine has no IPv6.
      if (isFamilyMissing(cause)) throw new ConnectError(host.name, cause);
      const result = attemptResult(host.name, expected, outcome);
      onAttempt(result);
      const isKept = finding && evidenceOf({ ...finding.result, cause: finding.cause }) > evidenceOf(outcome);
      if (!isKept) finding = { result, cause, started, connectMs };
      const left = deadline - performance.now();
      if (result.ok || left <= 0) return finding;
      host.refresh();
      pool.release();
      await pool.sleep(Math.min(pause, left));
      await pace?.wait();
      await pool.acquire();
    }
  } catch (error) {
    stop.abort(error);
    return finding;
  }
}

/** Tries one address after the other until there is a connection. Returns the outcome that says the most. */
async function tryAddresses(
  port: number,
  expectation: Expectation,
  { host, pool, pace, stop, targetOf }: PortCheckOptions,
): Promise<ProbeOutcome | undefined> {
  const { addresses } = host;
  let best: ProbeOutcome | undefined;
  for (const hostname of addresses) {
    if (best) {
      pool.release();
      await pace?.wait();
      await pool.acquire();
    }
    if (stop.signal.aborted || pool.signal.aborted) return undefined; // `expect` and `send` are not called any longer
    const outcome = await pool.probe(host.name, { ...targetOf(port, expectation), hostname }, stop.signal);
    if (!outcome) return undefined;
    if (!best || evidenceOf(outcome) > evidenceOf(best)) best = outcome;
    if (isConnected(outcome.state)) break;
  }
  return best;
}
