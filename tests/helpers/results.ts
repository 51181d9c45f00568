/**
 * Results of the client for tests of its output.
 *
 * @module
 */
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
    ...fields,
  };
}
