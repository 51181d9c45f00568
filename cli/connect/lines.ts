/**
 * Formats the client's results as text for people. Neighboring ports with the same result share a line.
 *
 * @module
 */
import { dim, green, red, yellow } from "@std/fmt/colors";
import type { ProbeResult } from "../../client.ts";
import { formatSomeRanges } from "../ports.ts";
import { formatRange, portRanges } from "../../shared/ports.ts";
import { quoteBytes } from "../text.ts";
import type { HostCheck } from "./host_checks.ts";
import { explanation } from "./reasons.ts";
import type { HostSummary, RunSummary } from "./summary.ts";

/** How many bytes of a greeting a line of text shows: as many as in the server's log. */
export const SHOWN_BYTES = 256;

/**
 * Formats one line for each range of consecutive ports with the same result, sorted by port. The first address of the host is
 * not mentioned.
 */
export function formatResults(host: HostSummary, { rate }: Pick<RunSummary, "rate">, isColored = false): string[] {
  const lines = foldResults(host, rate);
  const portsWidth = Math.max(...lines.map(({ range }) => formatRange(range).length));
  const stateWidth = Math.max(...lines.map(({ first }) => first.state.length));
  return lines.map(({ first: { state, ok }, range, details, hasOthers }) => {
    const color = ok ? green : ok === false ? red : yellow;
    const shown = hasOthers ? [`${details[0]} (and others)`, ...details.slice(1)] : details;
    const right = shown.map((detail) => `  ${isColored ? dim(detail) : detail}`).join("");
    const padding = right === "" ? "" : " ".repeat(stateWidth - state.length);
    return `${formatRange(range).padEnd(portsWidth)}  ${isColored ? color(state) : state}${padding}${right}`;
  });
}

/** A line, before its columns are aligned. */
interface Line {
  /** The result of the first port. */
  first: ProbeResult;
  range: { start: number; end: number };
  /** What follows the state. */
  details: string[];
  /** Whether other ports of the range have greetings that differ from the first one. */
  hasOthers: boolean;
}

function foldResults(host: HostSummary, rate: number | undefined): Line[] {
  const { check, results } = host;
  const lines: Line[] = [];
  for (const result of results.toSorted((a, b) => a.remoteAddr.port - b.remoteAddr.port)) {
    const { remoteAddr: { port } } = result;
    const details = detailsOf(result, host, rate);
    const line = lines.at(-1);
    const isNext = line && port === line.range.end + 1 && result.state === line.first.state &&
      result.ok === line.first.ok && result.expected === line.first.expected;
    if (isNext && `${details}` === `${line.details}`) {
      line.range.end = port;
    } else if (
      isNext && isMatch(result, check) && isMatch(line.first, check) &&
      `${details.slice(1)}` === `${line.details.slice(1)}`
    ) {
      line.range.end = port;
      line.hasOthers = true;
    } else {
      lines.push({ first: result, range: { start: port, end: port }, details, hasOthers: false });
    }
  }
  return lines;
}

/** Whether a greeting contains the expected text, so that greetings may differ in the rest. */
function isMatch({ host, state, expected, remoteAddr: { port } }: ProbeResult, { expect }: HostCheck): boolean {
  return state === "greeted" && expected === "greeted" && expect({ host, port }) !== undefined;
}

function detailsOf(result: ProbeResult, host: HostSummary, rate: number | undefined): string[] {
  const { check, addresses } = host;
  const { state, greeting, error, remoteAddr: { hostname }, ok, reachableBefore } = result;
  const reason = explanation(result, host, rate);
  // Whether an open port has sent something within the time that greeter waits can differ from run to run.
  const detail = state === "open" || greeting.length === 0 ? error : quoteGreeting(greeting);
  const before = reachableBefore === undefined
    ? undefined
    : `(reachable ${Math.round(reachableBefore / 1000)}s before)`;
  const isNamed = hostname === addresses[0] || error?.startsWith("not proven at") === true;
  const address = isNamed ? undefined : `at ${hostname}`;
  const mark = ok === false && reason === undefined ? expectationOf(result, check) : undefined;
  // An explanation begins with what is not proven. If the port is `unreachable`, that replaces the message of the system.
  return [reason?.startsWith("not proven") ? undefined : detail, before, address, mark, reason]
    .filter((text) => text !== undefined);
}

/** What was expected of a port that is not as expected. */
function expectationOf({ host, state, expected, reason, remoteAddr: { port } }: ProbeResult, check: HostCheck): string {
  const text = state === "mismatch" ? check.expect({ host, port }) : undefined;
  if (text) return `expected ${quoteGreeting(text)}`;
  return `expected ${reason === "other_state" ? check.blockedState({ host, port }) : expected}`;
}

function quoteGreeting(greeting: Uint8Array): string {
  return quoteBytes(greeting.subarray(0, SHOWN_BYTES)) + (greeting.length > SHOWN_BYTES ? "..." : "");
}

/** Formats the line above the results of a host: the host, and its addresses if it was given as a name. */
export function formatHeader({ check: { hostname }, addresses }: HostSummary): string {
  return addresses[0] === hostname ? hostname : `${hostname} is ${addresses.join(", ")}`;
}

/** Lists ports of hosts, with at most 10 ranges. If the run has only one host, it is not named. */
export function formatPortsOfHosts(
  hosts: readonly { host: string; ports: Iterable<number> }[],
  hostCount = hosts.length,
): string {
  return formatSomeRanges(hosts.flatMap(({ host, ports }) => {
    const prefix = hostCount === 1 ? "" : host.includes(":") ? `[${host}]:` : `${host}:`;
    return portRanges(ports).map((range) => ({ ...range, prefix }));
  }));
}
