/**
 * Formats the client's results as text for people. Neighboring ports with the same result share a line.
 *
 * @module
 */
import { dim, green, red, yellow } from "@std/fmt/colors";
import type { ProbeResult } from "../../client.ts";
import { formatSomeRanges } from "../ports.ts";
import { formatRange, portRanges } from "../../shared/ports.ts";
import { plural, quoteBytes } from "../text.ts";
import { type HostSummary, isControlMissing, portCount, portsWith, type RunSummary } from "./summary.ts";

/** How many bytes of a greeting a line of text shows: as many as in the server's log. */
export const SHOWN_BYTES = 256;

/** What the greeting of a port must contain. */
type Expect = RunSummary["expect"];

/**
 * Formats one line for each range of consecutive ports with the same result, sorted by port. `firstAddress` is the address
 * that is not mentioned.
 */
export function formatResults(
  results: readonly ProbeResult[],
  firstAddress: string | undefined,
  expect?: Expect,
  isColored = false,
): string[] {
  const lines = foldResults(results, firstAddress, expect);
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

function foldResults(results: readonly ProbeResult[], firstAddress: string | undefined, expect: Expect): Line[] {
  const lines: Line[] = [];
  for (const result of results.toSorted((a, b) => a.remoteAddr.port - b.remoteAddr.port)) {
    const { remoteAddr: { port } } = result;
    const details = detailsOf(result, firstAddress, expect);
    const line = lines.at(-1);
    const isNext = line && port === line.range.end + 1 && result.state === line.first.state &&
      result.ok === line.first.ok && result.expected === line.first.expected;
    if (isNext && `${details}` === `${line.details}`) {
      line.range.end = port;
    } else if (
      isNext && isMatch(result, expect) && isMatch(line.first, expect) &&
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
function isMatch({ host, state, expected, remoteAddr: { port } }: ProbeResult, expect: Expect): boolean {
  return state === "greeted" && expected === "greeted" && expect?.({ host, port }) !== undefined;
}

function detailsOf(result: ProbeResult, firstAddress: string | undefined, expect: Expect): string[] {
  const { state, greeting, error, remoteAddr: { hostname }, ok } = result;
  // Whether an open port has sent something within the time that greeter waits can differ from run to run.
  const detail = state === "open" || greeting.length === 0 ? error : quoteGreeting(greeting);
  const address = hostname === firstAddress ? undefined : `at ${hostname}`;
  const mark = ok === null ? "not judged" : ok ? undefined : expectationOf(result, expect);
  return [detail, address, mark].filter((text) => text !== undefined);
}

/** What was expected of a port that is not as expected. */
function expectationOf(
  { host, state, expected, error, remoteAddr: { port } }: ProbeResult,
  expect: Expect,
): string | undefined {
  const text = state === "mismatch" ? expect?.({ host, port }) : undefined;
  if (text) return `expected ${quoteGreeting(text)}`;
  // Ports that could not be reached although they must be blocked: the detail says why that proves nothing.
  if (expected === "blocked" && error !== undefined) return undefined;
  return `expected ${expected}`;
}

function quoteGreeting(greeting: Uint8Array): string {
  return quoteBytes(greeting.subarray(0, SHOWN_BYTES)) + (greeting.length > SHOWN_BYTES ? "..." : "");
}

/** Formats the line above the results of a host: the host, and its addresses if it was given as a name. */
export function formatHeader({ host, addresses }: HostSummary): string {
  return addresses[0] === host ? host : `${host} is ${addresses.join(", ")}`;
}

/** Formats the last line: how many ports are as expected, and which are not. */
export function formatTotals({ hosts, ports, expect, isSending, duration, interrupted }: RunSummary): string {
  const results = hosts.flatMap(({ results }) => results);
  const total = hosts.length * portCount(ports);
  const isContentChecked = ports.greeted.every((port) => expect?.({ host: hosts[0]?.host ?? "", port }) !== undefined);
  const hint = isContentChecked ? "" : " (content not checked; see --expect)";
  const seconds = (duration / 1000).toFixed(1);
  const parts = [`${portsWith(true, results).length} of ${plural(total, "port")} as expected${hint} in ${seconds}s`];
  const not = listPorts(hosts, false);
  if (not !== "") parts.push(`not: ${not}`);
  const notJudged = listPorts(hosts, null);
  if (notJudged !== "") parts.push(`not judged: ${notJudged}`);
  const unknown = total - results.length;
  if (interrupted) parts.push("interrupted");
  if (unknown > 0) parts.push(`${plural(unknown, "port")} without a result`);
  if (!isSending && results.some(({ state }) => state === "silent")) {
    parts.push("a silent server may wait for data; see --send and --open");
  }
  // A port that is not blocked proves that the host is up.
  if (isControlMissing(ports) && results.every(({ ok }) => ok)) {
    parts.push(`${hosts.length === 1 ? "the host" : "a host"} may be down; add a port that must be open with --open`);
  }
  return parts.join("; ");
}

/** Lists the ports of all hosts whose `ok` has a value: `22,80-81`, or `web1:22,web2:80-81` for several hosts. */
function listPorts(hosts: readonly HostSummary[], ok: boolean | null): string {
  return formatPortsOfHosts(hosts.map(({ host, results }) => ({ host, ports: portsWith(ok, results) })));
}

/** Lists ports of hosts, with at most 10 ranges. If there is only one host, it is not named. */
export function formatPortsOfHosts(hosts: readonly { host: string; ports: Iterable<number> }[]): string {
  return formatSomeRanges(hosts.flatMap(({ host, ports }) => {
    const prefix = hosts.length === 1 ? "" : host.includes(":") ? `[${host}]:` : `${host}:`;
    return portRanges(ports).map((range) => ({ ...range, prefix }));
  }));
}
