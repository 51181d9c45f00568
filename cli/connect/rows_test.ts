import { assertEquals } from "@std/assert";
import { hostSummary, probeResult as result } from "../../tests/helpers/results.ts";
import { formatErrorRow, formatResultRow, formatSummaryRow } from "./rows.ts";
import type { HostCheck } from "./host_checks.ts";
import type { RunSummary } from "./summary.ts";
import type { ProbeResult } from "../../client.ts";

/** Formats a result of a host with one address. */
const format = (result: ProbeResult, fields?: Parameters<typeof hostSummary>[1]) =>
  withoutTime(formatResultRow(result, hostSummary([], fields), undefined));

function withoutTime(line: string) {
  const { timestamp, ...rest } = JSON.parse(line);
  assertEquals(typeof timestamp, "string");
  return rest;
}

Deno.test("the row of a result has the field names of the server's log, and what was expected", () => {
  const localAddr = { transport: "tcp", hostname: "192.0.2.9", port: 51514 } as const;
  assertEquals(format({ ...result(22, "mismatch", { greeting: "é\n" }), localAddr }), {
    event_type: "probe",
    host: "lab",
    expected: "greeted",
    ok: false,
    state: "mismatch",
    proto: "TCP",
    src_ip: "192.0.2.9",
    src_port: 51514,
    dest_ip: "192.0.2.1",
    dest_port: 22,
    duration_ms: 1.235,
    payload: "w6kK",
    payload_printable: "..\n",
  });
  const unreachable = result(23, "unreachable", { expected: "blocked", ok: true, error: "No route to host" });
  assertEquals(format(unreachable), {
    event_type: "probe",
    host: "lab",
    expected: "blocked",
    ok: true,
    state: "unreachable",
    proto: "TCP",
    dest_ip: "192.0.2.1",
    dest_port: 23,
    duration_ms: 1.235,
    error: "No route to host",
    listening: null,
  });
});

Deno.test("the row of a blocked port says why it does not pass and what to do, as the line does", () => {
  const fields = (row: string) => {
    const { error, reason, listening, reachable_before_ms } = withoutTime(row);
    return { error, reason, listening, reachable_before_ms };
  };
  const blocked = (fields: Partial<Omit<ProbeResult, "greeting">>) =>
    result(23, "refused", { expected: "blocked", ok: fields.reason === undefined, ...fields });
  const lost = blocked({
    reason: "control_lost",
    error: "not proven: x",
    listening: true,
    reachableBefore: 9000.12345,
  });
  assertEquals(fields(formatResultRow(lost, hostSummary([]), 4)), {
    error: "not proven: x; try --rate 2",
    reason: "control_lost",
    listening: true,
    reachable_before_ms: 9000.123,
  });
  const addresses = ["192.0.2.1", "2001:db8::7"];
  const noControl = blocked({ reason: "no_control", error: "not proven at 192.0.2.1" });
  assertEquals(fields(formatResultRow(noControl, hostSummary([], { addresses }), undefined)), {
    error: "not proven at 192.0.2.1; -6 checks IPv6 only",
    reason: "no_control",
    listening: null,
    reachable_before_ms: undefined,
  });
  const passed = blocked({ listening: true });
  const none = { error: undefined, reason: undefined, reachable_before_ms: undefined };
  assertEquals(fields(formatResultRow(passed, hostSummary([]), undefined)), { ...none, listening: true });
});

Deno.test("the row of an error has the host, its line and the message", () => {
  assertEquals(withoutTime(formatErrorRow("lab", 3, "cannot connect")), {
    event_type: "error",
    host: "lab",
    line: 3,
    error: "cannot connect",
  });
});

const results = [
  result(22, "greeted"),
  result(25, "mismatch"),
  result(80, "open", { expected: "open", ok: true }),
  result(23, "refused", { expected: "blocked", ok: null }),
  result(24, "timeout", { expected: "blocked", ok: null }),
];
const lab = hostSummary(results, { addresses: ["192.0.2.1", "2001:db8::7"] });
const run: RunSummary = {
  hosts: [lab],
  rate: undefined,
  duration: 2960.12345,
  interrupted: false,
};

Deno.test("the summary row of a host counts its states, and lists the ports that are not as expected", () => {
  assertEquals(withoutTime(formatSummaryRow(lab, run)), {
    event_type: "summary",
    host: "lab",
    addresses: ["192.0.2.1", "2001:db8::7"],
    ports: "22-25,80",
    ok: 2,
    not_ok: "25",
    not_judged: "23-24",
    control: true,
    greeted: 1,
    open: 1,
    mismatch: 1,
    silent: 0,
    closed: 0,
    reset: 0,
    refused: 1,
    timeout: 1,
    unreachable: 0,
    duration_ms: 2960.123,
    interrupted: false,
  });
});

Deno.test("the summary row says how long the last pass over the blocked ports took, and what it did not test", () => {
  const notTested = ["2001:db8::7"];
  const pass = { host: "lab", family: undefined, pass: 2, left: 0, duration: 4000.12345, pause: undefined, notTested };
  const { not_tested, pass_ms } = withoutTime(formatSummaryRow({ ...lab, pass }, run));
  assertEquals([not_tested, pass_ms], [["2001:db8::7"], 4000.123]);
  const row = withoutTime(formatSummaryRow({ ...lab, pass: { ...pass, notTested: [], duration: 0 } }, run));
  assertEquals([row.not_tested, row.pass_ms], [[], 0]);
});

Deno.test("the summary row says whether blocked ports have a control, and whether the run was interrupted", () => {
  const fields = (check: Partial<HostCheck>, interrupted = false) => {
    const { control, interrupted: isInterrupted, not_ok, not_judged } = withoutTime(
      formatSummaryRow(hostSummary([], { check }), { ...run, interrupted }),
    );
    return { control, isInterrupted, not_ok, not_judged };
  };
  const rest = { isInterrupted: false, not_ok: "", not_judged: "" };
  assertEquals(fields({ blocked: [23] }), { control: false, ...rest });
  assertEquals(fields({ open: [80], blocked: [23] }), { control: true, ...rest });
  assertEquals(fields({ greeted: [22], open: [80] }), { control: undefined, ...rest });
  assertEquals(fields({ greeted: [22], blocked: [23] }, true), { control: true, ...rest, isInterrupted: true });
});

Deno.test("the row of a result has the line of --checks that names the port", () => {
  const lineOf = (port: number) => port === 22 ? 3 : undefined;
  assertEquals(format(result(22, "greeted"), { check: { lineOf } }).line, 3);
  assertEquals("line" in format(result(23, "greeted"), { check: { lineOf } }), false);
});
