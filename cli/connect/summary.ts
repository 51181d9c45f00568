/**
 * What is known about each host when `greeter connect` ends.
 *
 * @module
 */
import type { PassProgress, PortsByExpectation, ProbeResult } from "../../client.ts";
import type { HostCheck } from "./host_checks.ts";

/** What is known about one host. */
export interface HostSummary {
  /** What was to be checked. */
  check: HostCheck;
  /** Its addresses, in the order in which they are tried. None if the lookup failed. */
  addresses: readonly string[];
  /** The results. If the run was interrupted, some ports have none. */
  results: readonly ProbeResult[];
  /** The last pass over its blocked ports, or `undefined` if there was none. */
  pass: PassProgress | undefined;
}

/** What is known when a run ends. */
export interface RunSummary {
  /** The hosts, in the order in which they were named. */
  hosts: readonly HostSummary[];
  /** The rate that was given, in connections a second. */
  rate: number | undefined;
  /** How long the run took, in milliseconds. */
  duration: number;
  /** Whether the run was ended by a signal. */
  interrupted: boolean;
}

/** How many ports are to be checked on a host. */
export function portCount({ greeted, open, blocked }: PortsByExpectation): number {
  return greeted.length + open.length + blocked.length;
}

/** Whether ports must be blocked, but none must be greeted or open, so that the host may be down. */
export function isControlMissing({ greeted, open, blocked }: PortsByExpectation): boolean {
  return blocked.length > 0 && greeted.length + open.length === 0;
}

/** The ports of the results whose `ok` has a value. */
export function portsWith(ok: ProbeResult["ok"], results: readonly ProbeResult[]): number[] {
  return results.filter((result) => result.ok === ok).map(({ remoteAddr }) => remoteAddr.port);
}
