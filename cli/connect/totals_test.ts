import { assertEquals, assertStringIncludes } from "@std/assert";
import type { PassProgress, ProbeResult } from "../../client.ts";
import { hostSummary, probeResult as result } from "../../tests/helpers/results.ts";
import type { HostCheck } from "./host_checks.ts";
import type { HostSummary, RunSummary } from "./summary.ts";
import { formatTotals } from "./totals.ts";

const summary: RunSummary = {
  hosts: [hostSummary([result(22, "greeted"), result(80, "refused"), result(81, "greeted")])],
  rate: undefined,
  duration: 2960,
  interrupted: false,
};
const HINT = "(content not checked; see --expect)";

/** The result of a port that must be blocked. It passes unless it has a reason. */
const blocked = (port: number, state: ProbeResult["state"], fields: Parameters<typeof result>[2] = {}) =>
  result(port, state, { expected: "blocked", ok: fields.reason === undefined, ...fields });

/** The fields of a port that is not proven for a reason. */
const doubt = (reason: ProbeResult["reason"], error?: string) => ({ reason, error });

Deno.test("formatTotals() counts the ports that are as expected, and lists the others", () => {
  assertEquals(formatTotals(summary), `2 of 3 ports as expected ${HINT} in 3.0s; not: 80`);
  const [lab] = summary.hosts;
  const all = lab?.results.map((each) => ({ ...each, ok: true })) ?? [];
  assertEquals(
    formatTotals({ ...summary, hosts: [hostSummary(all.slice(0, 1))] }),
    `1 of 1 port as expected ${HINT} in 3.0s`,
  );
});

Deno.test("formatTotals() says that contents were not checked if a port may send any greeting", () => {
  const text = new TextEncoder().encode("x");
  const isHinted = (...checks: Partial<HostCheck>[]) =>
    formatTotals({ ...summary, hosts: checks.map((check) => hostSummary([], { check })) }).includes(HINT);
  const greeted = [22, 80, 81];
  assertEquals(isHinted({ greeted, expect: () => text }), false);
  assertEquals(isHinted({ greeted, expect: ({ port }) => port === 80 ? undefined : text }), true);
  assertEquals(isHinted({ open: greeted }), false);
  // The hosts can be in different lines of --checks.
  assertEquals(isHinted({ greeted, expect: () => text }, { open: greeted }), false);
  assertEquals(isHinted({ greeted, expect: () => text }, { greeted }), true);
});

Deno.test("formatTotals() has every part that applies, in one order", () => {
  const results = [result(22, "refused"), ...[23, 24].map((port) => blocked(port, "timeout", { ok: null }))];
  assertEquals(
    formatTotals({ ...summary, hosts: [hostSummary(results, { check: { open: [25, 26] } })], interrupted: true }),
    `0 of 5 ports as expected ${HINT} in 3.0s; not: 22; not judged: 23-24; interrupted; 2 ports without a result`,
  );
});

Deno.test("formatTotals() says how to check servers that wait for data", () => {
  const totals = (state: ProbeResult["state"]) =>
    formatTotals({ ...summary, hosts: [hostSummary([result(80, state)])] });
  const hint = "; a silent server may wait for data; see --send and --open";
  assertStringIncludes(totals("silent"), hint);
  assertEquals(totals("closed").includes("silent"), false);
  // Something was sent to one of the two ports, such as in another line of --checks.
  const isHinted = (...results: ProbeResult[]) => {
    const send: HostCheck["send"] = ({ port }) => port === 80 ? new Uint8Array(1) : undefined;
    return formatTotals({ ...summary, hosts: [hostSummary(results, { check: { send } })] }).includes("see --send");
  };
  assertEquals(isHinted(result(80, "silent"), result(81, "greeted")), false);
  assertEquals(isHinted(result(80, "greeted"), result(81, "silent")), true);
});

Deno.test("formatTotals() counts the ports of all hosts, and names the hosts of those that are not as expected", () => {
  const host = (name: string, ...states: ProbeResult["state"][]) =>
    hostSummary(states.map((state, i) => result([22, 80, 81][i] ?? 0, state)), { check: { hostname: name } });
  const hosts = [
    host("web1", "greeted", "greeted", "greeted"),
    host("web2", "refused", "greeted", "timeout"),
    host("::1", "greeted", "refused", "refused"),
  ];
  assertEquals(
    formatTotals({ ...summary, hosts }),
    `5 of 9 ports as expected ${HINT} in 3.0s; not: web2:22,web2:81,[::1]:80-81`,
  );
});

const pass = (fields: Partial<PassProgress> = {}): PassProgress => ({
  host: "lab",
  family: undefined,
  pass: 1,
  left: 0,
  duration: 1000,
  pause: undefined,
  notTested: [],
  ...fields,
});

/** What the last line says after the counts. */
function hints(hosts: HostSummary[], run: Partial<RunSummary> = {}): string {
  const line = formatTotals({ ...summary, hosts, ...run });
  return line.replace(/^\d+ of \d+ ports? as expected in 3\.0s(; )?/, "");
}

/** A host with an open port 22 and these results of blocked ports. */
const host = (results: ProbeResult[], fields: Parameters<typeof hostSummary>[1] = {}) =>
  hostSummary([result(22, "open", { expected: "open", ok: true }), ...results], fields);

Deno.test("formatTotals() says how long a pass over the blocked ports took, if more than 5 s: the longest of all hosts", () => {
  const results = [blocked(80, "timeout")];
  const totals = (...durations: number[]) =>
    hints(durations.map((duration) => host(results, { pass: pass({ duration }) })));
  assertEquals(totals(5000), "");
  assertEquals(totals(5001), "the blocked ports took 5.0s");
  assertEquals(totals(1000, 14_260, 6000), "the blocked ports took 14.3s");
  assertEquals(hints([host(results)]), "");
});

Deno.test("formatTotals() names the addresses that were not tested", () => {
  const notTested = ["2001:db8::7", "2001:db8::8"];
  assertEquals(
    hints([host([blocked(80, "timeout")], { pass: pass({ notTested }) })]),
    "not tested, because this machine has no route: 2001:db8::7, 2001:db8::8",
  );
  const hosts = notTested.map((each) => host([blocked(80, "timeout")], { pass: pass({ notTested: [each] }) }));
  assertEquals(hints(hosts), "not tested, because this machine has no route: 2001:db8::7, 2001:db8::8");
});

Deno.test("formatTotals() says that the server listens on the blocked ports if it announces each of them", () => {
  const refused = (port: number, listening: boolean | null) => blocked(port, "refused", { listening });
  assertEquals(hints([host([refused(80, true), refused(81, true)])]), "the server listens on 80-81");
  assertEquals(hints([host([refused(80, true), refused(82, false)])]), "");
  assertEquals(hints([host([], { check: { blocked: [80] } })]), "1 port without a result");
  // Only of the hosts whose servers announce their ports, which are named if there are others.
  const announcing = host([blocked(80, "timeout", { listening: true })], { check: { hostname: "web1" } });
  const other = host([blocked(80, "timeout", { listening: true })], { check: { hostname: "::1" } });
  const silent = host([blocked(80, "timeout")], { check: { hostname: "web2" } });
  assertEquals(hints([announcing, silent]), "the server listens on web1:80");
  assertEquals(hints([announcing, other]), "the server listens on web1:80,[::1]:80");
});

Deno.test("formatTotals() says that refused proves little if the server does not announce its ports", () => {
  const hint = "refused may mean that nothing listens; use --announce on the server, and -p here";
  assertEquals(hints([host([blocked(80, "refused"), blocked(81, "timeout")])]), hint);
  for (
    const each of [blocked(80, "timeout"), blocked(80, "unreachable"), blocked(80, "refused", { listening: false })]
  ) {
    assertEquals(hints([host([each])]), "");
  }
  // A port that does not pass proves nothing, and its line says why.
  assertEquals(hints([host([blocked(80, "refused", doubt("control_failed", "not proven: x"))])]), "not: 80");
  // A port that must be open fails if it is refused.
  const failed = hostSummary([result(22, "refused", { expected: "open" })]);
  assertEquals(hints([failed]), "not: 22");
});

Deno.test("formatTotals() advises a rate of 1 if only some of the ports that must be rejected are", () => {
  const hint = "many firewalls reject only one connection a second; try --rate 1";
  const other = (state: ProbeResult["state"]) => host([blocked(80, state, { reason: "other_state" })]);
  const some = host([blocked(80, "timeout", { reason: "other_state" }), blocked(81, "refused", { listening: true })]);
  assertEquals(hints([some]), `not: 80; ${hint}`);
  assertEquals(hints([some], { rate: 1 }), "not: 80");
  assertEquals(hints([other("timeout")]), "not: 80");
  assertEquals(hints([other("refused")]), "not: 80");
  assertEquals(hints([host([blocked(80, "timeout", doubt("control_lost", "not proven: x"))])]), "not: 80");
});

Deno.test("formatTotals() says that without a port of -p or -o, a blocked port proves little, unless one is not blocked", () => {
  const only = (results: ProbeResult[], ...others: HostSummary[]) => hints([hostSummary(results), ...others]);
  const advice = "may be down or limit connections; add a port that must be open with --open";
  assertEquals(only([blocked(80, "timeout")]), `the host ${advice}`);
  assertEquals(only([blocked(80, "timeout")], hostSummary([blocked(80, "timeout")])), `a host ${advice}`);
  assertEquals(only([blocked(80, "open", { reason: "reached" })]), "not: 80");
});

Deno.test("formatTotals() has each hint about blocked ports, in one order", () => {
  const results = [
    blocked(80, "refused"),
    blocked(81, "timeout", { reason: "other_state" }),
    blocked(82, "timeout", { ok: null, ...doubt("interrupted") }),
  ];
  const listening = [80, 81, 82, 83].map((port) => blocked(port, "timeout", { listening: true }));
  const announcing = host(listening, {
    check: { hostname: "web1" },
    pass: pass({ duration: 6000, notTested: ["::1"] }),
  });
  const lab = host(results, { check: { blocked: [80, 81, 82, 83] } });
  assertEquals(
    hints([lab, announcing], { interrupted: true }),
    [
      "not: lab:81",
      "not judged: lab:82",
      "interrupted",
      "1 port without a result",
      "the blocked ports took 6.0s",
      "not tested, because this machine has no route: ::1",
      "the server listens on web1:80-83",
      "many firewalls reject only one connection a second; try --rate 1",
      "refused may mean that nothing listens; use --announce on the server, and -p here",
    ].join("; "),
  );
});
