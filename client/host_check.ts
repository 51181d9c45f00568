/**
 * Checks all ports of one host: first those that must be greeted or open, then those that must be blocked.
 *
 * @module
 */
import { ConnectError, type Expectation, type ProbeResult, type ProbeState } from "./options.ts";
import { isLocalError } from "./connect_errors.ts";
import type { ProbePool } from "./pool.ts";
import { checkPort, type Finding, isConnected } from "./port_check.ts";
import type { Host } from "./resolve.ts";
import type { HostTarget } from "./targets.ts";

/** What to check, and what all hosts of a run share. */
export interface HostCheckOptions extends Pick<HostTarget, "ports" | "targetOf"> {
  /** Runs the probes. It is stopped when the run ends early. */
  pool: ProbePool;
  /** When `within` is over, on the clock of `performance.now()`. */
  deadline: number;
  /** Called when the addresses of a host are known, or without addresses when its lookup has failed. */
  onLookup: ((host: string, addresses: readonly string[]) => void) | undefined;
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
export async function checkHost(host: Host, run: HostCheckOptions): Promise<void> {
  const { pool: { signal }, ports, deadline, onLookup, onDecided } = run;
  try {
    await host.resolve(deadline, signal);
  } catch (error) {
    onLookup?.(host.name, []);
    throw error;
  }
  if (signal.aborted) return;
  onLookup?.(host.name, host.addresses);
  const required: Finding[] = [];
  await checkEach(
    host,
    run,
    [...portsOf("greeted", ports), ...portsOf("open", ports)],
    deadline,
    ({ result, cause }) => {
      onDecided(result);
      if (ports.blocked.length > 0) required.push({ result: { ...result, greeting: new Uint8Array() }, cause });
    },
  );
  if (ports.blocked.length === 0 || signal.aborted) return;
  for (const result of await checkBlocked(host, run, required)) onDecided(result);
}

/** A deadline that has always passed, so that there is a single attempt. */
const ONCE = -Infinity;

/** A port, and what it should do. */
type PortToCheck = readonly [port: number, expectation: Expectation];

function portsOf(expectation: Expectation, ports: HostCheckOptions["ports"]): PortToCheck[] {
  return ports[expectation].map((port) => [port, expectation]);
}

/**
 * Checks ports until each is as expected, or until `deadline`. Calls `onFinding` with what is known about each port when
 * no further attempt follows.
 */
async function checkEach(
  host: Host,
  { pool, targetOf, onAttempt }: HostCheckOptions,
  ports: readonly PortToCheck[],
  deadline: number,
  onFinding: (finding: Finding) => void,
): Promise<void> {
  const stop = new AbortController();
  const options = { host, pool, targetOf, deadline, onAttempt, stop };
  const check = async ([port, expectation]: PortToCheck) => {
    const finding = await checkPort(port, expectation, options);
    if (finding) onFinding(finding);
    // Any other error than that of the host was thrown by a function of the caller, and ends the run.
    if (stop.signal.aborted && !(stop.signal.reason instanceof ConnectError)) pool.stop();
  };
  await pool.begin(ports, stop.signal, check);
  stop.signal.throwIfAborted();
}

/**
 * Checks the ports that must be blocked, and returns their results. `required` is what is known about the other ports of
 * the host.
 *
 * The ports of a host that is down are not reachable either. So they are judged only if all other ports are as expected,
 * and if one of these, the control, still is afterwards.
 */
async function checkBlocked(host: Host, run: HostCheckOptions, required: readonly Finding[]): Promise<ProbeResult[]> {
  const isUp = required.every(({ result }) => result.ok);
  const { findings, error } = isUp
    ? await checkWithControl(host, run, required[0]?.result)
    : { findings: await findingsOf(host, run, portsOf("blocked", run.ports), ONCE), error: undefined };
  const known = [...required, ...findings];
  const isLocal = known.every(({ result, cause }) => isLocalError(cause, result.remoteAddr.hostname));
  if (findings.length > 0 && isLocal) throw new ConnectError(host.name, known[0]?.cause);
  return findings.map(({ result }) => {
    if (isConnected(result.state)) return result;
    if (!isUp || run.pool.signal.aborted) return { ...result, ok: null };
    return error === undefined ? result : { ...result, ok: false, error };
  });
}

/**
 * Checks the ports that must be blocked, and then the control. If the control fails, waits until it is as expected again,
 * and then checks the blocked ports again. Returns an error if they prove nothing when the time is over.
 */
async function checkWithControl(
  host: Host,
  run: HostCheckOptions,
  control: ProbeResult | undefined,
): Promise<{ findings: Finding[]; error?: string }> {
  const { pool: { signal }, deadline } = run;
  for (;;) {
    // The name may have another address by now.
    if (performance.now() < deadline || host.isLookupFailing) await host.resolve(deadline, signal);
    const findings = await findingsOf(host, run, portsOf("blocked", run.ports), deadline);
    await host.lookupEnded(signal);
    if (signal.aborted) return { findings };
    if (host.isLookupFailing) continue;
    if (!control) return { findings };
    let state = await failureOf(host, run, control, ONCE);
    if (state === undefined) return { findings };
    if (performance.now() < deadline) state = await failureOf(host, run, control, deadline);
    if (signal.aborted) return { findings };
    const { port } = control.remoteAddr;
    if (state !== undefined) {
      return { findings, error: `not proven: port ${port} failed when checked again (${state})` };
    }
  }
}

/** Checks ports, and returns what is known about them when no further attempt follows. */
async function findingsOf(
  host: Host,
  run: HostCheckOptions,
  ports: readonly PortToCheck[],
  deadline: number,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  await checkEach(host, run, ports, deadline, (finding) => findings.push(finding));
  return findings;
}

/** Checks a port again. Returns its state if it is not as expected, or `undefined` if it is or the run ends early. */
async function failureOf(
  host: Host,
  run: HostCheckOptions,
  { remoteAddr, expected }: ProbeResult,
  deadline: number,
): Promise<ProbeState | undefined> {
  const [finding] = await findingsOf(host, run, [[remoteAddr.port, expected]], deadline);
  return finding?.result.ok ? undefined : finding?.result.state;
}
