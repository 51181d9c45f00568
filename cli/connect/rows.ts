/**
 * Formats the client's results as JSON rows for programs, with the field names of the server's log.
 *
 * @module
 */
import { PROBE_STATES, type ProbeResult } from "../../client.ts";
import { formatPorts } from "../../shared/ports.ts";
import { payload, roundToMicroseconds, row } from "../text.ts";
import { explanation } from "./reasons.ts";
import { type HostSummary, isControlMissing, portsWith, type RunSummary } from "./summary.ts";

/** Formats a result. */
export function formatResultRow(
  result: ProbeResult,
  host: HostSummary,
  rate: number | undefined,
): string {
  const { expected, ok, state, remoteAddr, localAddr, greeting, duration, error, reachableBefore } = result;
  return row("probe", {
    host: result.host,
    line: host.check.lineOf(remoteAddr.port),
    expected,
    ok,
    state,
    proto: "TCP",
    src_ip: localAddr?.hostname,
    src_port: localAddr?.port,
    dest_ip: remoteAddr.hostname,
    dest_port: remoteAddr.port,
    duration_ms: roundToMicroseconds(duration),
    // The reason says why a port is not judged.
    error: ok === null ? error : explanation(result, host, rate) ?? error,
    reason: result.reason,
    listening: expected === "blocked" ? result.listening : undefined,
    reachable_before_ms: reachableBefore === undefined ? undefined : roundToMicroseconds(reachableBefore),
    ...payload(greeting),
  });
}

/** Formats an error that has ended the check of a host. */
export function formatErrorRow(host: string, line: number | undefined, message: string): string {
  return row("error", { host, line, error: message });
}

/** Formats the summary of a host: how many of its ports are as expected, and which are not. */
export function formatSummaryRow(
  { check, addresses, results, pass }: HostSummary,
  { duration, interrupted }: RunSummary,
): string {
  const { hostname, greeted, open, blocked } = check;
  const counts = PROBE_STATES.map((state) => [state, results.filter((result) => result.state === state).length]);
  return row("summary", {
    host: hostname,
    addresses,
    ports: formatPorts([...greeted, ...open, ...blocked]),
    ok: portsWith(true, results).length,
    not_ok: formatPorts(portsWith(false, results)),
    not_judged: formatPorts(portsWith(null, results)),
    control: blocked.length === 0 ? undefined : !isControlMissing(check),
    not_tested: pass?.notTested,
    pass_ms: pass && roundToMicroseconds(pass.duration),
    ...Object.fromEntries(counts),
    duration_ms: roundToMicroseconds(duration),
    interrupted,
  });
}
