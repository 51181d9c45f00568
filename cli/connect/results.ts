/**
 * Formats the client's results as lines: text for people, in which neighboring ports with the same result share a line,
 * and JSON for programs.
 *
 * @module
 */
import { dim, green, red, yellow } from "@std/fmt/colors";
import { PROBE_STATES, type ProbeResult, type ProbeState } from "../../client.ts";
import { formatPorts } from "../ports.ts";
import { payload, plural, quoteBytes, roundToMicroseconds, row } from "../text.ts";

/** How many bytes of a greeting a line of text shows: as many as in the server's log. */
export const SHOWN_BYTES = 256;

const COLORS: Record<ProbeState, (text: string) => string> = {
  greeted: green,
  mismatch: yellow,
  silent: yellow,
  closed: yellow,
  reset: yellow,
  refused: red,
  timeout: red,
  unreachable: red,
};

/** All results of a run. */
export interface ProbeSummary {
  /** The host as given. */
  host: string;
  /** The address that was probed. */
  address: string;
  /** The requested ports. */
  ports: readonly number[];
  /** The results. If the run was interrupted, some ports have none. */
  results: readonly ProbeResult[];
  /** What the greetings were expected to contain, as given. */
  expected: string | undefined;
  /** How long the run took, in milliseconds. */
  duration: number;
  /** Whether the run was ended by a signal. */
  interrupted: boolean;
}

/**
 * Formats one line for each range of consecutive ports with the same state and the same greeting, sorted by port.
 *
 * @example
 * ```ts
 * import { formatResults } from "./results.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const result = (port: number) => ({
 *   state: "refused" as const,
 *   remoteAddr: { transport: "tcp" as const, hostname: "192.0.2.1", port },
 *   localAddr: undefined,
 *   greeting: new Uint8Array(),
 *   duration: 1,
 *   error: undefined,
 * });
 * assertEquals(formatResults([81, 22, 80].map(result)), ["22     refused", "80-81  refused"]);
 * ```
 */
export function formatResults(results: readonly ProbeResult[], expected?: string, isColored = false): string[] {
  const runs: { first: number; last: number; state: ProbeState; detail: string }[] = [];
  for (const result of results.toSorted((a, b) => a.remoteAddr.port - b.remoteAddr.port)) {
    const { state, remoteAddr: { port } } = result;
    const detail = detailOf(result, expected);
    const run = runs.at(-1);
    if (run && port === run.last + 1 && state === run.state && detail === run.detail) run.last = port;
    else runs.push({ first: port, last: port, state, detail });
  }
  const rows = runs.map((run) => ({
    ...run,
    ports: run.first === run.last ? `${run.first}` : `${run.first}-${run.last}`,
  }));
  const portsWidth = Math.max(...rows.map(({ ports }) => ports.length));
  const stateWidth = Math.max(...rows.map(({ state }) => state.length));
  return rows.map(({ ports, state, detail }) => {
    const left = `${ports.padEnd(portsWidth)}  `;
    const right = detail === "" ? "" : `${" ".repeat(stateWidth - state.length)}  ${isColored ? dim(detail) : detail}`;
    return `${left}${isColored ? COLORS[state](state) : state}${right}`;
  });
}

function detailOf({ state, greeting, error }: ProbeResult, expected: string | undefined): string {
  if (state === "greeted" && expected !== undefined) return quoteBytes(new TextEncoder().encode(expected));
  if (greeting.length === 0) return error ?? "";
  return quoteBytes(greeting.subarray(0, SHOWN_BYTES)) + (greeting.length > SHOWN_BYTES ? "..." : "");
}

/** Formats the last line of text: how many ports were greeted. */
export function formatTotals({ ports, results, expected, duration, interrupted }: ProbeSummary): string {
  const hint = expected === undefined ? " (content not checked; see --expect)" : "";
  const greeted = results.filter(({ state }) => state === "greeted").length;
  const totals = `${greeted} of ${plural(ports.length, "port")} greeted${hint} in ${(duration / 1000).toFixed(1)}s`;
  const unknown = ports.length - results.length;
  return interrupted ? `${totals}; interrupted, ${plural(unknown, "port")} without a result` : totals;
}

/** Formats a result as a JSON row, with the field names of the server's log. */
export function formatResultRow({ state, remoteAddr, localAddr, greeting, duration, error }: ProbeResult): string {
  return row("probe", {
    state,
    proto: "TCP",
    src_ip: localAddr?.hostname,
    src_port: localAddr?.port,
    dest_ip: remoteAddr.hostname,
    dest_port: remoteAddr.port,
    duration_ms: roundToMicroseconds(duration),
    error,
    ...payload(greeting),
  });
}

/** Formats the last JSON row: how many ports have each state. */
export function formatSummaryRow({ host, address, ports, results, duration, interrupted }: ProbeSummary): string {
  const counts = PROBE_STATES.map((state) => [state, results.filter((result) => result.state === state).length]);
  return row("summary", {
    host,
    dest_ip: address,
    ports: formatPorts(ports),
    ...Object.fromEntries(counts),
    duration_ms: roundToMicroseconds(duration),
    interrupted,
  });
}
