/**
 * Checks the blocked ports of a host: in passes, at each address, until one pass shows that all are blocked.
 *
 * @module
 */
import { isLocalError, isRouteMissing } from "./connect_errors.ts";
import type { ControlPort } from "./controls.ts";
import type { HostCheckOptions } from "./host_check.ts";
import { HostControls, type RequiredPort } from "./host_controls.ts";
import { judge } from "./judge.ts";
import { type AddressPass, type BlockedOutcome, passAt } from "./pass.ts";
import { attemptResult, isConnected } from "./port_check.ts";
import { defaultRate, FEW_CONNECTIONS } from "./pace.ts";
import type { ProbeOutcome } from "./probe.ts";
import type { Host } from "./resolve.ts";
import { ConnectError, type ProbeResult } from "./results.ts";

/**
 * The pauses between two passes, in milliseconds. The last one repeats. With these, no port gets more than 5 connections in
 * 30 s: `ufw limit` rejects the sixth.
 */
const PASS_PAUSES_MS = [3000, 6000, 7000] as const;

/**
 * How long to pause after a pass that has not shown that all ports are blocked, in milliseconds. `timeLeft` is how much of
 * `within` is left. Returns `undefined` if no other pass follows.
 */
export function pauseAfter(pass: number, timeLeft: number): number | undefined {
  if (timeLeft <= 0) return undefined;
  const pause = PASS_PAUSES_MS[pass - 1];
  // The first pauses may be shorter, so that the last of few passes begins at the deadline.
  if (pause !== undefined) return Math.min(pause, timeLeft);
  return PASS_PAUSES_MS[2] <= timeLeft ? PASS_PAUSES_MS[2] : undefined;
}

/** What a pass has shown at an address. */
interface TestedAddress extends AddressPass {
  /** Whether this machine has a route to the address. */
  readonly hasRoute: boolean;
}

/**
 * Checks the ports of a host that must be blocked. `required` is what is known about its other ports: only if all are as
 * expected, the blocked ports are judged.
 */
export class BlockedCheck {
  readonly #host: Host;
  readonly #run: HostCheckOptions;
  readonly #required: readonly RequiredPort[];
  readonly #isUp: boolean;
  readonly #stop = new AbortController();
  readonly #controls: HostControls;
  /** When each port was reached in an earlier pass, on the clock of `performance.now()`. */
  readonly #reachedAt = new Map<number, number>();
  #notTested: readonly string[] = [];
  /** The results of the last pass that has ended. */
  #latest: readonly ProbeResult[] = [];

  /** Use {@linkcode run} to start. */
  constructor(host: Host, run: HostCheckOptions, required: readonly RequiredPort[]) {
    this.#host = host;
    this.#run = run;
    this.#required = required;
    this.#isUp = required.every(({ result }) => result.ok);
    const probe = (address: string, port: ControlPort) => this.#probe(address, port);
    this.#controls = new HostControls(this.#isUp ? required : [], run.pool, probe);
  }

  /**
   * Makes passes until all ports are blocked in one of them, or until the time is over. Returns the results of the last pass.
   *
   * @throws {ConnectError} If no port can be probed, if the name can no longer be looked up, or if this machine has no route
   * to the host.
   */
  async run(): Promise<ProbeResult[]> {
    const { pool, deadline, ports: { blocked } } = this.#run;
    for (let pass = 1;; pass++) {
      const started = performance.now();
      const results = await this.#resultsOfPass(pass);
      if (pool.signal.aborted) return interrupted(results, this.#latest);
      const isProven = results.length === blocked.length && results.every(({ ok }) => ok);
      const canPass = this.#isUp && !this.#isAlone;
      const pause = isProven || !canPass ? undefined : pauseAfter(pass, deadline - performance.now());
      this.#report(pass, undefined, started, pause);
      if (pause === undefined) return results;
      this.#latest = results;
      await pool.sleep(pause);
      if (pool.signal.aborted) return interrupted([], this.#latest);
      await this.#host.resolve(deadline, pool.signal); // the name may have other addresses by now
    }
  }

  /** The ports that were reached in the last pass that has ended: they are open, even if an error ends the next one. */
  get reached(): ProbeResult[] {
    return this.#latest.filter(({ state }) => isConnected(state));
  }

  #report(pass: number, left: number | undefined, started: number, pause?: number) {
    const duration = performance.now() - started;
    const { onPass, family } = this.#run;
    onPass?.({ host: this.#host.name, family, pass, left, duration, pause, notTested: this.#notTested });
  }

  async #resultsOfPass(pass: number): Promise<ProbeResult[]> {
    const host = this.#host;
    const { pool: { signal }, deadline, ports: { blocked }, blockedStateOf } = this.#run;
    const { addresses } = host;
    const tested = await this.#passOver(addresses, pass);
    this.#stop.signal.throwIfAborted();
    if (!signal.aborted && this.#isUp) {
      host.refresh();
      await host.lookupEnded(signal);
      if (host.isLookupFailing) await host.resolve(deadline, signal);
    }
    const hasMoved = new Set([...addresses, ...host.addresses]).size !== new Set(addresses).size ||
      host.addresses.length !== addresses.length;
    return blocked.flatMap((port) => {
      const verdict = judge(port, tested, blockedStateOf(port));
      if (!verdict) return [];
      const { outcome, listening } = verdict;
      const moved = {
        reason: "addresses_changed" as const,
        message: `not proven: the addresses of ${host.name} changed`,
      };
      const result = { ...attemptResult(host.name, "blocked", outcome), listening };
      if (isConnected(outcome.state)) {
        this.#reachedAt.set(port, endOf(outcome));
        return [result];
      }
      const reachedAt = this.#reachedAt.get(port);
      const reachableBefore = reachedAt === undefined ? undefined : endOf(outcome) - reachedAt;
      const failure = hasMoved ? moved : verdict.failure;
      if (!this.#isUp) return [{ ...result, ok: null, reason: "required_failed" as const }];
      if (this.#isAlone) return [{ ...result, ok: null, reason: "required_missing" as const }];
      if (!failure) return [{ ...result, reachableBefore }];
      const error = failure.message === "" ? result.error : failure.message;
      return [{ ...result, ok: false, reason: failure.reason, error, reachableBefore }];
    });
  }

  /** Makes a pass at each address. Returns what it has shown at those that this machine has a route to. */
  async #passOver(addresses: readonly string[], pass: number): Promise<TestedAddress[]> {
    const { pool, within, deadline, timeout, ports: { blocked } } = this.#run;
    const count = addresses.length * blocked.length;
    const isFew = count <= FEW_CONNECTIONS;
    const rate = this.#run.rate ?? defaultRate(count);
    const isConfirmed = this.#isUp && (isFew || within > 0);
    const started = performance.now();
    let left = count;
    this.#report(pass, left, started);
    const onProgress = (done: number) => this.#report(pass, left -= done, started);
    const passes = await Promise.all(addresses.map(async (address): Promise<TestedAddress> => {
      const { controls, mayLackRoute = false } = await this.#controls.at(address);
      const probe = (port: number) => this.#probe(address, { port, expected: "blocked" });
      const options = { pool, controls, isFew, isConfirmed, timeout, deadline, probe, onProgress };
      const result = await passAt(address, blocked, {
        ...options,
        rate: rate / addresses.length,
        stop: this.#stop.signal,
      });
      // A router can also say that there is no route, so the blocked ports must agree.
      const causes = [...result.outcomes.values()].map(({ cause }) => cause);
      const hasRoute = !mayLackRoute || causes.length === 0 || !causes.every(isRouteMissing);
      if (controls || this.#controls.isEmpty) return { ...result, hasRoute };
      const message = `not proven at ${address}: no port that must greet or be open could be reached there`;
      const doubts = new Map(blocked.map((port) => [port, { reason: "no_control" as const, message }]));
      return { ...result, doubts, hasRoute };
    }));
    const isStopped = pool.signal.aborted || this.#stop.signal.aborted;
    if (!isStopped) this.#throwIfLocal(passes);
    this.#notTested = passes.filter(({ hasRoute }) => !hasRoute).map(({ address }) => address);
    const tested = passes.filter(({ hasRoute }) => hasRoute);
    // The name may have moved to addresses without a route.
    if (tested.length === 0 && !isStopped) throw new ConnectError(this.#host.name, firstCause(passes));
    return tested;
  }

  /** Throws if this machine has caused the errors of all ports, so that nothing is known about the host. */
  #throwIfLocal(passes: readonly AddressPass[]) {
    const isRequiredLocal = this.#required.every(({ result, cause }) =>
      isLocalError(cause, result.remoteAddr.hostname)
    );
    const causes = passes.flatMap(({ address, outcomes }) =>
      [...outcomes.values()].map(({ cause }) => ({ address, cause }))
    );
    if (isRequiredLocal && causes.every(({ address, cause }) => isLocalError(cause, address))) {
      throw new ConnectError(this.#host.name, firstCause(passes));
    }
  }

  /** Whether a port that shows that the host can be reached is required, but missing. */
  get #isAlone(): boolean {
    return this.#run.requireControl === true && this.#required.length === 0;
  }

  /** Connects to a port at an address. Returns `undefined` if the check has been stopped. */
  async #probe(address: string, { port, expected }: ControlPort): Promise<ProbeOutcome | undefined> {
    const { pool, targetOf, onAttempt } = this.#run;
    try {
      const target = { ...targetOf(port, expected), hostname: address };
      const outcome = await pool.probe(this.#host.name, target, this.#stop.signal);
      if (outcome) onAttempt(attemptResult(this.#host.name, expected, outcome));
      return outcome;
    } catch (error) {
      this.#stop.abort(error);
      // Any other error was thrown by a function of the caller, and ends the run.
      if (!(error instanceof ConnectError)) pool.stop();
    }
  }
}

/** When the last try of a port ended, on the clock of `performance.now()`. */
function endOf({ tries }: BlockedOutcome): number {
  return Math.max(...tries.map(({ ended }) => ended));
}

/** What `Deno.connect` threw at the first address. */
function firstCause([pass]: readonly AddressPass[]): unknown {
  return [...pass?.outcomes.values() ?? []][0]?.cause;
}

/** The results of a pass that was interrupted: blocked ports are not judged. Those of the pass before fill the gaps. */
function interrupted(results: readonly ProbeResult[], before: readonly ProbeResult[]): ProbeResult[] {
  const known = new Map([...before, ...results].map((result) => [result.remoteAddr.port, result]));
  return [...known.values()].map((result) => {
    if (isConnected(result.state)) return result;
    // An error with a reason says why the pass before has proven nothing, which no longer matters.
    const error = result.reason === undefined ? result.error : undefined;
    return { ...result, ok: null, reason: "interrupted", error };
  });
}
