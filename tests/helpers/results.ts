/**
 * Results of the client for tests of its output.
 *
 * @module
 */
import type { HostSummary } from "../../cli/connect/summary.ts";
import type { ProbeResult } from "../../client.ts";

/** Returns a result of the client: by default, of a port of 192.0.2.1 that had to greet, and is as expected if it did. */
export function probeResult(
  port: number,
  state: ProbeResult["state"],
  { greeting = "", ...fields }: Partial<Omit<ProbeResult, "greeting">> & { greeting?: string } = {},
): ProbeResult {
  return {
    host: "lab",
    expected: "greeted",
    ok: state === "greeted",
    state,
    remoteAddr: { transport: "tcp", hostname: "192.0.2.1", port },
    localAddr: undefined,
    greeting: new TextEncoder().encode(greeting),
    duration: 1.23456,
    error: undefined,
    reason: undefined,
    listening: null,
    reachableBefore: undefined,
    ...fields,
  };
}

/** Returns what is known about a host: by default, about the host of {@linkcode probeResult}, without a pass. */
export function hostSummary(results: readonly ProbeResult[], fields: Partial<HostSummary> = {}): HostSummary {
  return { host: "lab", addresses: ["192.0.2.1"], results, pass: undefined, ...fields };
}
