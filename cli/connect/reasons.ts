/**
 * What to do about a blocked port that does not pass.
 *
 * @module
 */
import { defaultRate, MIN_RATE, type ProbeResult } from "../../client.ts";
import type { HostSummary } from "./summary.ts";

/** The rate that the advice names. Most limits on new connections allow more. */
const ADVISED_RATE = 5;

/** Explains why a blocked port does not pass, and says what to do. Returns `undefined` if its state says it all. */
export function explanation(
  { reason, error, remoteAddr: { hostname } }: ProbeResult,
  { check, addresses }: Pick<HostSummary, "check" | "addresses">,
  rate = defaultRate(check.blocked.length * addresses.length),
): string | undefined {
  switch (reason) {
    case "control_lost":
      return `${error}; ${lossAdvice(rate)}`;
    case "control_refused":
      return `${error}; add another port with -p or -o`;
    case "control_failed":
      return `${error}; check the host, or use another port with -p or -o`;
    case "no_control":
      return `${error}; ${otherAddresses(hostname, addresses)}`;
    case "not_listening":
      if (error?.startsWith("not proven at")) return `${error}; ${otherAddresses(hostname, addresses)}`;
      return `${error}; add it to --port of the server, or correct -b`;
    case "addresses_changed":
      return `${error}; use an address instead of the name`;
    case "required_failed":
      return "not judged: first fix the ports that failed";
    case "required_missing":
      return "not judged: add a port of this host with -p or -o";
    case "interrupted":
      return "not judged: interrupted";
    default:
      return undefined;
  }
}

/** How to lose no connections, if they were lost at this rate. */
function lossAdvice(rate: number): string {
  if (rate / 2 < MIN_RATE) return "exempt this machine from limits on new connections";
  return `try --rate ${rate > ADVISED_RATE ? ADVISED_RATE : rate / 2}`;
}

/** How to leave out an address at which no port can be reached. */
function otherAddresses(address: string, addresses: readonly string[]): string {
  const isIPv6 = address.includes(":");
  const others = addresses.filter((each) => each !== address);
  if (others.some((each) => each.includes(":") === isIPv6)) return "check one address instead of the name";
  return isIPv6 ? "-4 checks IPv4 only" : "-6 checks IPv6 only";
}
