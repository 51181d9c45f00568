/**
 * Formats the client's results as text for people. Neighboring ports with the same result share a line.
 *
 * @module
 */
import { dim, green, red, yellow } from "@std/fmt/colors";
import type { PortsByExpectation, ProbeResult } from "../../client.ts";
import { formatSomeRanges } from "../ports.ts";
import { formatRange, portRanges } from "../../shared/ports.ts";
import { plural, quoteBytes } from "../text.ts";
import { explanation } from "./reasons.ts";
import { type HostSummary, isControlMissing, portCount, portsWith, type RunSummary } from "./summary.ts";

/** How many bytes of a greeting a line of text shows: as many as in the server's log. */
export const SHOWN_BYTES = 256;

/** What the ports had to do. */
type Expected = Partial<Pick<RunSummary, "expect" | "blockedState" | "rate">>;

/**
 * Formats one line for each range of consecutive ports with the same result, sorted by port. The first address of the host is
 * not mentioned.
 */
export function formatResults(
  { results, addresses }: Pick<HostSummary, "results" | "addresses">,
  expected: Expected = {},
  isColored = false,
): string[] {
  const lines = foldResults(results, addresses, expected);
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

function foldResults(results: readonly ProbeResult[], addresses: readonly string[], expected: Expected): Line[] {
  const lines: Line[] = [];
  for (const result of results.toSorted((a, b) => a.remoteAddr.port - b.remoteAddr.port)) {
    const { remoteAddr: { port } } = result;
    const details = detailsOf(result, addresses, expected);
    const line = lines.at(-1);
    const isNext = line && port === line.range.end + 1 && result.state === line.first.state &&
      result.ok === line.first.ok && result.expected === line.first.expected;
    if (isNext && `${details}` === `${line.details}`) {
      line.range.end = port;
    } else if (
      isNext && isMatch(result, expected) && isMatch(line.first, expected) &&
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
function isMatch({ host, state, expected, remoteAddr: { port } }: ProbeResult, { expect }: Expected): boolean {
  return state === "greeted" && expected === "greeted" && expect?.({ host, port }) !== undefined;
}

function detailsOf(result: ProbeResult, addresses: readonly string[], expected: Expected): string[] {
  const { state, greeting, error, remoteAddr: { hostname }, ok, reachableBefore } = result;
  const reason = explanation(result, addresses, { rate: expected.rate });
  // Whether an open port has sent something within the time that greeter waits can differ from run to run.
  const detail = state === "open" || greeting.length === 0 ? error : quoteGreeting(greeting);
  const before = reachableBefore === undefined
    ? undefined
    : `(reachable ${Math.round(reachableBefore / 1000)}s before)`;
  const isNamed = hostname === addresses[0] || result.reason === "no_control";
  const address = isNamed ? undefined : `at ${hostname}`;
  const mark = ok === false && reason === undefined ? expectationOf(result, expected) : undefined;
  // An explanation begins with what is not proven. If the port is `unreachable`, that replaces the message of the system.
  return [reason?.startsWith("not proven") ? undefined : detail, before, address, mark, reason]
    .filter((text) => text !== undefined);
}

/** What was expected of a port that is not as expected. */
function expectationOf({ host, state, expected, reason, remoteAddr: { port } }: ProbeResult, given: Expected): string {
  const { expect, blockedState } = given;
  const text = state === "mismatch" ? expect?.({ host, port }) : undefined;
  if (text) return `expected ${quoteGreeting(text)}`;
  if (reason !== "other_state") return `expected ${expected}`;
  return `expected ${typeof blockedState === "function" ? blockedState({ host, port }) : blockedState}`;
}

function quoteGreeting(greeting: Uint8Array): string {
  return quoteBytes(greeting.subarray(0, SHOWN_BYTES)) + (greeting.length > SHOWN_BYTES ? "..." : "");
}

/** Formats the line above the results of a host: the host, and its addresses if it was given as a name. */
export function formatHeader({ host, addresses }: HostSummary): string {
  return addresses[0] === host ? host : `${host} is ${addresses.join(", ")}`;
}

/** Formats the last line: how many ports are as expected, and which are not. */
export function formatTotals({ hosts, ports, rate, expect, isSending, duration, interrupted }: RunSummary): string {
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
  parts.push(...blockedHints(hosts, ports, rate));
  return parts.join("; ");
}

/** A pass that takes longer is mentioned, in milliseconds. */
const LONG_PASS_MS = 5000;

/** What the last line says about the blocked ports. */
function blockedHints(
  hosts: readonly HostSummary[],
  ports: PortsByExpectation,
  rate: number | undefined,
): string[] {
  if (ports.blocked.length === 0) return [];
  const hints: string[] = [];
  const results = hosts.flatMap(({ results }) => results);
  const blocked = results.filter(({ expected }) => expected === "blocked");
  const longest = Math.max(...hosts.map(({ pass }) => pass?.duration ?? 0));
  if (longest > LONG_PASS_MS) hints.push(`the blocked ports took ${(longest / 1000).toFixed(1)}s`);
  const notTested = hosts.flatMap(({ pass }) => pass?.notTested ?? []);
  if (notTested.length > 0) hints.push(`not tested, because this machine has no route: ${notTested.join(", ")}`);
  const announcing = hosts.filter(({ results }) => {
    const listening = results.filter(({ expected }) => expected === "blocked").map(({ listening }) => listening);
    return listening.length > 0 && listening.every((each) => each);
  });
  if (announcing.length > 0) {
    const lists = announcing.map(({ host, results }) => ({
      host,
      ports: results.filter(({ expected }) => expected === "blocked").map(({ remoteAddr }) => remoteAddr.port),
    }));
    hints.push(`the server listens on ${formatPortsOfHosts(lists, hosts.length)}`);
  }
  // The kernel limits ICMP errors, so some of the ports that a firewall rejects are not answered.
  const isOther = blocked.some(({ reason, state }) => reason === "other_state" && state === "timeout");
  if (isOther && blocked.some(({ state }) => state === "refused") && (rate ?? Infinity) > 1) {
    hints.push("many firewalls reject only one connection a second; try --rate 1");
  }
  if (blocked.some(({ ok, state, listening }) => ok && state === "refused" && listening === null)) {
    hints.push("refused may mean that nothing listens; use --announce on the server, and -p here");
  }
  // A port that is not blocked proves that the host is up.
  if (isControlMissing(ports) && results.every(({ ok }) => ok)) {
    const host = hosts.length === 1 ? "the host" : "a host";
    hints.push(`${host} may be down or limit connections; add a port that must be open with --open`);
  }
  return hints;
}

/** Lists the ports of all hosts whose `ok` has a value: `22,80-81`, or `web1:22,web2:80-81` for several hosts. */
function listPorts(hosts: readonly HostSummary[], ok: boolean | null): string {
  return formatPortsOfHosts(hosts.map(({ host, results }) => ({ host, ports: portsWith(ok, results) })));
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
