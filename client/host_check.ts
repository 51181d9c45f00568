/**
 * Checks all ports of one host: first those that must be greeted or open, then those that must be blocked.
 *
 * @module
 */
import { BlockedCheck } from "./blocked_check.ts";
import { type RequiredPort, toRequiredPort } from "./host_controls.ts";
import type { CheckOptions } from "./options.ts";
import { Pace } from "./pace.ts";
import type { ProbePool } from "./pool.ts";
import { checkPort } from "./port_check.ts";
import type { Host } from "./resolve.ts";
import { ConnectError, type Expectation, type ProbeResult } from "./results.ts";
import type { HostTarget } from "./targets.ts";

/** What to check, and what all hosts of a run share. */
export interface HostCheckOptions
  extends
    Pick<HostTarget, "family" | "ports" | "targetOf" | "blockedStateOf">,
    Pick<CheckOptions, "rate" | "requireControl" | "onLookup" | "onPass"> {
  /** Runs the probes. It is stopped when the run ends early. */
  pool: ProbePool;
  /** How long a probe takes at most, in milliseconds. */
  timeout: number;
  /** How long ports are tried again, in milliseconds, and when this time is over, on the clock of `performance.now()`. */
  within: number;
  deadline: number;
  /** Called after each attempt. */
  onAttempt: (result: ProbeResult) => void;
  /** Called with the final result of each port. */
  onDecided: (result: ProbeResult) => void;
}

/**
 * Checks the ports of a host. If the signal is aborted, reports what is known and returns.
 *
 * @throws {ConnectError} After all known results: if the host has no address, if no port can be probed, or if ports must be
 * blocked and this machine has no route to the host.
 */
export async function checkHost(host: Host, options: HostCheckOptions): Promise<void> {
  const { pool: { signal }, family, ports, targetOf, deadline, onLookup, onDecided } = options;
  // An announcement says something about blocked ports only. Reading it can take longer.
  const readsToEnd = ports.blocked.length > 0;
  const run: HostCheckOptions = {
    ...options,
    targetOf: (port, expectation) => ({ ...targetOf(port, expectation), readsToEnd }),
  };
  try {
    await host.resolve(deadline, signal);
  } catch (error) {
    onLookup?.(host.name, [], family);
    throw error;
  }
  if (signal.aborted) return;
  onLookup?.(host.name, host.addresses, family);
  const required = await checkRequired(host, run);
  if (ports.blocked.length === 0 || signal.aborted) return;
  const check = new BlockedCheck(host, run, required);
  try {
    for (const result of await check.run()) onDecided(result);
  } catch (error) {
    for (const result of check.reached) onDecided(result);
    throw error;
  }
}

/**
 * Checks the ports that must be greeted or open until each is as expected, or until the time is over. Reports each result
 * when it is final. Returns what the check of the blocked ports needs to know.
 */
async function checkRequired(host: Host, run: HostCheckOptions): Promise<RequiredPort[]> {
  const { pool, ports, rate, onDecided } = run;
  const required: RequiredPort[] = [];
  const stop = new AbortController();
  const pace = rate === undefined ? undefined : new Pace(rate, (ms) => pool.sleep(ms));
  const options = { ...run, host, stop, pace };
  const check = async ([port, expectation]: readonly [number, Expectation]) => {
    const finding = await checkPort(port, expectation, options);
    if (finding) {
      onDecided(finding.result);
      if (ports.blocked.length > 0) required.push(toRequiredPort(finding));
    }
    // Any other error than that of the host was thrown by a function of the caller, and ends the run.
    if (stop.signal.aborted && !(stop.signal.reason instanceof ConnectError)) pool.stop();
  };
  const portsOf = (expectation: Expectation) => ports[expectation].map((port) => [port, expectation] as const);
  await pool.begin([...portsOf("greeted"), ...portsOf("open")], stop.signal, check, pace);
  stop.signal.throwIfAborted();
  return required;
}
