/**
 * Results of the client for tests of its output.
 *
 * @module
 */
import type { HostCheck } from "../../cli/connect/host_checks.ts";
import type { HostSummary } from "../../cli/connect/summary.ts";
import type { Expectation, ProbeResult } from "../../client.ts";

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

/** Returns what is checked on a host: by default, no port of the host of {@linkcode probeResult}. */
export function hostCheck(fields: Partial<HostCheck> = {}): HostCheck {
  const none = () => undefined;
  return {
    hostname: "lab",
    line: undefined,
    family: undefined,
    greeted: [],
    open: [],
    blocked: [],
    expect: none,
    send: none,
    blockedState: none,
    lineOf: none,
    isReduced: false,
    ...fields,
  };
}

/**
 * Returns what is known about a host: by default, about the host of {@linkcode probeResult}, without a pass. What is checked
 * has the ports of the results, unless `check` names others.
 */
export function hostSummary(
  results: readonly ProbeResult[],
  { check, ...fields }: Partial<Omit<HostSummary, "check">> & { check?: Partial<HostCheck> } = {},
): HostSummary {
  const ports = (expectation: Expectation) =>
    results.filter(({ expected }) => expected === expectation).map(({ remoteAddr }) => remoteAddr.port);
  return {
    check: hostCheck({ greeted: ports("greeted"), open: ports("open"), blocked: ports("blocked"), ...check }),
    addresses: ["192.0.2.1"],
    results,
    pass: undefined,
    ...fields,
  };
}
