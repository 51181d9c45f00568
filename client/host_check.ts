/**
 * Checks all ports of one host: first those that must be greeted or open, then those that must be blocked.
 *
 * @module
 */
import { ConnectError, type Expectation, type ProbeResult } from "./options.ts";
import { isLocalError } from "./connect_errors.ts";
import { type Finding, isConnected, PortCheck, type PortCheckOptions } from "./port_check.ts";
import type { Host } from "./resolve.ts";

/** What all hosts of a run share. */
export interface RunOptions extends Pick<PortCheckOptions, "pool" | "targetOf"> {
  /** The ports of each expectation. */
  ports: Readonly<Record<Expectation, readonly number[]>>;
  /** When `within` is over, on the clock of `performance.now()`. */
  deadline: number;
  /** Aborted when the run ends early. */
  signal: AbortSignal;
  /** Called when the addresses of a host are known. */
  onLookup: ((host: string, addresses: readonly string[]) => void) | undefined;
  /** Called after each attempt. */
  onAttempt: (result: ProbeResult) => void;
  /** Called with the final result of each port. */
  onDecided: (result: ProbeResult) => void;
}

/**
 * Checks the ports of a host. If the signal is aborted, reports what is known and returns.
 *
 * @throws {ConnectError} If the host has no address, or if ports must be blocked and this machine has no route to the
 * host.
 */
export async function checkHost(host: Host, run: RunOptions): Promise<void> {
  const { ports, deadline, signal, onLookup, onDecided } = run;
  await host.resolve(deadline, signal);
  if (signal.aborted) return;
  onLookup?.(host.name, host.addresses);
  const requiredPorts = [...portsOf("greeted", ports), ...portsOf("open", ports)];
  const required = await checkPorts(host, run, requiredPorts, deadline, ({ result }) => onDecided(result));
  if (ports.blocked.length === 0 || signal.aborted) return;
  for (const result of await checkBlocked(host, run, required)) onDecided(result);
}

/** A deadline that has always passed, so that there is a single attempt. */
const ONCE = -Infinity;

/** A port, and what it should do. */
type Port = readonly [port: number, expectation: Expectation];

function portsOf(expectation: Expectation, ports: RunOptions["ports"]): Port[] {
  return ports[expectation].map((port) => [port, expectation]);
}

/** Checks ports until each is as expected, or until `deadline`. Returns what is known when no further attempt follows. */
async function checkPorts(
  host: Host,
  { pool, targetOf, onAttempt }: RunOptions,
  ports: readonly Port[],
  deadline: number,
  onFinding: (finding: Finding) => void = () => {},
): Promise<Finding[]> {
  const { promise: allDecided, resolve } = Promise.withResolvers<void>();
  const findings: Finding[] = [];
  const checks = new Set<PortCheck>();
  for (const [port, expectation] of ports) {
    const onDecided = (finding: Finding) => {
      checks.delete(check);
      findings.push(finding);
      onFinding(finding);
      if (checks.size === 0) resolve();
    };
    const check = new PortCheck(port, expectation, {
      host,
      pool,
      targetOf,
      deadline,
      onAttempt,
      onDecided,
    });
    checks.add(check);
  }
  for (const check of checks) check.start();
  if (checks.size > 0) await Promise.race([allDecided, pool.ended]);
  // The run has ended early: the last attempt counts.
  for (const { finding } of checks) {
    if (!finding) continue;
    findings.push(finding);
    onFinding(finding);
  }
  return findings;
}

/**
 * Checks the ports that must be blocked. `required` is what is known about the other ports of the host.
 *
 * The ports of a host that is down are not reachable either. So they are judged only if all other ports are as expected,
 * and if one of these, the control, still is afterwards. If the control fails, waits until it is as expected again, and
 * then checks the blocked ports again.
 */
async function checkBlocked(host: Host, run: RunOptions, required: readonly Finding[]): Promise<ProbeResult[]> {
  const { deadline, signal } = run;
  const isUp = required.every(({ result }) => result.ok);
  const control = required[0]?.result;
  const blocked = portsOf("blocked", run.ports);
  let findings: Finding[];
  let error: string | undefined;
  if (performance.now() < deadline) await host.resolve(deadline, signal);
  for (;;) {
    findings = await checkPorts(host, run, blocked, isUp ? deadline : ONCE);
    if (!isUp) break;
    if (!host.hasFailed) {
      if (!control || await isAsExpected(host, run, control, ONCE)) break;
      if (performance.now() >= deadline || !await isAsExpected(host, run, control, deadline)) {
        error = `not proven: port ${control.remoteAddr.port} was not ${control.expected} afterwards`;
        break;
      }
    }
    // The name may have another address by now.
    await host.resolve(deadline, signal);
    if (signal.aborted) break;
  }
  const known = [...required, ...findings];
  const isLocal = known.every(({ result, cause }) => isLocalError(cause, result.remoteAddr.hostname));
  if (findings.length > 0 && isLocal) throw new ConnectError(host.name, known[0]?.cause);
  return findings.map(({ result }) => {
    if (isConnected(result.state)) return result;
    if (!isUp || signal.aborted) return { ...result, ok: null };
    return error === undefined ? result : { ...result, ok: false, error };
  });
}

/** Checks again whether a port is as expected. Also returns true if the run ends before that is known. */
async function isAsExpected(host: Host, run: RunOptions, { remoteAddr, expected }: ProbeResult, deadline: number) {
  const [finding] = await checkPorts(host, run, [[remoteAddr.port, expected]], deadline);
  return finding?.result.ok ?? run.signal.aborted;
}
