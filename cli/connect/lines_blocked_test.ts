/**
 * Tests of what the lines and the last line say about blocked ports.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { BlockedState, HostPort, PassProgress, ProbeResult } from "../../client.ts";
import { hostSummary, probeResult } from "../../tests/helpers/results.ts";
import { formatResults, formatTotals } from "./lines.ts";
import type { HostSummary, RunSummary } from "./summary.ts";

/** The result of a port that must be blocked. It passes unless it has a reason. */
const blocked = (port: number, state: ProbeResult["state"], fields: Parameters<typeof probeResult>[2] = {}) =>
  probeResult(port, state, { expected: "blocked", ok: fields.reason === undefined, ...fields });

/** The fields of a port that is not proven for a reason. */
const doubt = (reason: ProbeResult["reason"], error?: string) => ({ reason, error });

const ADDRESSES = ["192.0.2.1", "2001:db8::7"];

/** Formats results of a host with two addresses. */
const format = (results: ProbeResult[], expected?: Parameters<typeof formatResults>[1]) =>
  formatResults({ results, addresses: ADDRESSES }, expected);

const at = (port: number, hostname: string) => ({ remoteAddr: { transport: "tcp", hostname, port } as const });

Deno.test("formatResults() says why a blocked port is not proven instead of what was expected", () => {
  const lost = doubt("control_lost", "not proven: connections to port 22 were lost at the same time");
  const refused = doubt("control_refused", "not proven: port 22 refused the 6th connection in 5s");
  assertEquals(
    format([
      blocked(80, "timeout", lost),
      blocked(443, "unreachable", refused),
      blocked(3306, "refused", doubt("not_listening", "not proven: the server does not listen on it")),
    ]),
    [
      "80    timeout      not proven: connections to port 22 were lost at the same time; try --rate 5",
      "443   unreachable  not proven: port 22 refused the 6th connection in 5s; check another port with -p or -o, too",
      "3306  refused      not proven: the server does not listen on it; add it to --port of the server",
    ],
  );
  assertEquals(format([blocked(80, "timeout", lost)], { rate: 1 }), [
    "80  timeout  not proven: connections to port 22 were lost at the same time; try --rate 0.5",
  ]);
});

Deno.test("formatResults() says why a blocked port was not judged, after the message of the system", () => {
  const notJudged = (reason: ProbeResult["reason"], error?: string) => ({ ok: null, ...doubt(reason, error) });
  assertEquals(
    format([
      blocked(80, "unreachable", notJudged("required_failed", "No route to host")),
      blocked(81, "timeout", notJudged("interrupted")),
    ]),
    [
      "80  unreachable  No route to host  not judged: fix the ports that failed first",
      "81  timeout      not judged: interrupted",
    ],
  );
});

Deno.test("formatResults() says how long before a blocked port was reachable, in whole seconds", () => {
  const lost = doubt("control_lost", "not proven: x");
  assertEquals(
    format([
      blocked(80, "refused", { reachableBefore: 9499 }),
      blocked(81, "refused", { reachableBefore: 9500 }),
      blocked(82, "unreachable", { reachableBefore: 3000, error: "No route to host", ...at(82, "2001:db8::7") }),
      blocked(83, "timeout", { reachableBefore: 3000, ...lost }),
      blocked(84, "timeout", lost),
    ]),
    [
      "80  refused      (reachable 9s before)",
      "81  refused      (reachable 10s before)",
      "82  unreachable  No route to host  (reachable 3s before)  at 2001:db8::7",
      "83  timeout      (reachable 3s before)  not proven: x; try --rate 5",
      "84  timeout      not proven: x; try --rate 5",
    ],
  );
});

Deno.test("formatResults() names the address of a blocked port once, and only if it is not the first one", () => {
  const noControl = doubt("no_control", "not proven at 2001:db8::7: no port could be reached there");
  const lost = doubt("control_lost", "not proven: x");
  assertEquals(
    format([
      blocked(80, "refused", { ...noControl, ...at(80, "2001:db8::7") }),
      blocked(81, "timeout", { ...lost, ...at(81, "2001:db8::7") }),
      blocked(82, "timeout", { ...lost, ...at(82, "192.0.2.1") }),
      blocked(83, "open", { reason: "reached", ...at(83, "2001:db8::7") }),
    ]),
    [
      "80  refused  not proven at 2001:db8::7: no port could be reached there; -4 checks IPv4 only",
      "81  timeout  at 2001:db8::7  not proven: x; try --rate 5",
      "82  timeout  not proven: x; try --rate 5",
      "83  open     at 2001:db8::7  expected blocked",
    ],
  );
});

Deno.test("formatResults() says in which state a port had to be blocked", () => {
  const states = new Map<number, BlockedState>([[80, "timeout"], [81, "unreachable"]]);
  const byPort = ({ port }: HostPort) => states.get(port);
  const results = [
    blocked(80, "refused", { reason: "other_state" }),
    blocked(81, "refused", { reason: "other_state" }),
    blocked(82, "open", { reason: "reached" }),
  ];
  assertEquals(format(results, { blockedState: byPort }), [
    "80  refused  expected timeout",
    "81  refused  expected unreachable",
    "82  open     expected blocked",
  ]);
  const unreachable = blocked(80, "unreachable", { reason: "other_state", error: "No route to host" });
  assertEquals(format([unreachable], { blockedState: "refused" }), [
    "80  unreachable  No route to host  expected refused",
  ]);
  // A port that was reached is named as such in any case.
  assertEquals(format(results.slice(2), { blockedState: "timeout" }), ["82  open  expected blocked"]);
});

Deno.test("formatResults() folds blocked ports only if the reason and the time are the same", () => {
  const lost = doubt("control_lost", "not proven: x");
  assertEquals(
    format([
      ...[80, 81, 82].map((port) => blocked(port, "timeout", lost)),
      blocked(83, "timeout", doubt("control_failed", "not proven: y")),
      blocked(84, "timeout"),
      blocked(85, "timeout", { reachableBefore: 3100 }),
      blocked(86, "timeout", { reachableBefore: 2900 }),
      blocked(87, "timeout", { reachableBefore: 9000 }),
      ...[88, 89].map((port) => blocked(port, "timeout", { ok: null, ...doubt("required_failed") })),
    ]),
    [
      "80-82  timeout  not proven: x; try --rate 5",
      "83     timeout  not proven: y; check the host, or another port with -p or -o",
      "84     timeout",
      "85-86  timeout  (reachable 3s before)",
      "87     timeout  (reachable 9s before)",
      "88-89  timeout  not judged: fix the ports that failed first",
    ],
  );
});

const pass = (fields: Partial<PassProgress> = {}): PassProgress => ({
  host: "lab",
  pass: 1,
  left: 0,
  duration: 1000,
  pause: undefined,
  notTested: [],
  ...fields,
});

/** What the last line says after the counts, for hosts with an open port 22 and these blocked ports. */
function hints(hosts: HostSummary[], blocked: number[], run: Partial<RunSummary> = {}): string {
  const line = formatTotals({
    hosts,
    ports: { greeted: [], open: [22], blocked },
    expect: undefined,
    blockedState: undefined,
    rate: undefined,
    isSending: false,
    duration: 20_000,
    interrupted: false,
    ...run,
  });
  return line.replace(/^\d+ of \d+ ports? as expected in 20\.0s(; )?/, "");
}

/** A host with an open port 22 and these results of blocked ports. */
const host = (results: ProbeResult[], fields: Partial<HostSummary> = {}) =>
  hostSummary([probeResult(22, "open", { expected: "open", ok: true }), ...results], fields);

Deno.test("formatTotals() says how long the longest pass over blocked ports took, if more than 5 s", () => {
  const results = [blocked(80, "timeout")];
  const totals = (...durations: number[]) =>
    hints(durations.map((duration) => host(results, { pass: pass({ duration }) })), [80]);
  assertEquals(totals(5000), "");
  assertEquals(totals(5001), "the blocked ports took 5.0s");
  assertEquals(totals(1000, 14_260, 6000), "the blocked ports took 14.3s");
  assertEquals(hints([host(results)], [80]), "");
});

Deno.test("formatTotals() names the addresses that were not tested", () => {
  const notTested = ["2001:db8::7", "2001:db8::8"];
  assertEquals(
    hints([host([blocked(80, "timeout")], { pass: pass({ notTested }) })], [80]),
    "not tested, because this machine has no route: 2001:db8::7, 2001:db8::8",
  );
  const hosts = notTested.map((each) => host([blocked(80, "timeout")], { pass: pass({ notTested: [each] }) }));
  assertEquals(hints(hosts, [80]), "not tested, because this machine has no route: 2001:db8::7, 2001:db8::8");
});

Deno.test("formatTotals() says that the server listens on the blocked ports if it announces each of them", () => {
  const refused = (port: number, listening: boolean | null) => blocked(port, "refused", { listening });
  assertEquals(hints([host([refused(80, true), refused(81, true)])], [80, 81]), "the server listens on 80-81");
  assertEquals(hints([host([refused(80, true), refused(82, false)])], [80, 82]), "");
  assertEquals(hints([host([])], [80]), "1 port without a result");
  // Only of the hosts whose servers announce their ports, which are named if there are others.
  const announcing = host([blocked(80, "timeout", { listening: true })], { host: "web1" });
  const silent = host([blocked(80, "timeout")], { host: "web2" });
  assertEquals(hints([announcing, silent], [80]), "the server listens on web1:80");
  assertEquals(hints([announcing, { ...announcing, host: "::1" }], [80]), "the server listens on web1:80,[::1]:80");
});

Deno.test("formatTotals() says that refused proves little if the server does not announce its ports", () => {
  const hint = "refused may mean that nothing listens; use --announce on the server, and -p here";
  assertEquals(hints([host([blocked(80, "refused"), blocked(81, "timeout")])], [80, 81]), hint);
  for (
    const result of [
      blocked(80, "timeout"),
      blocked(80, "unreachable"),
      blocked(80, "refused", { listening: false }),
    ]
  ) assertEquals(hints([host([result])], [80]), "");
  // A port that does not pass proves nothing, and its line says why.
  assertEquals(hints([host([blocked(80, "refused", doubt("control_failed", "not proven: x"))])], [80]), "not: 80");
  // A port that must be open fails if it is refused.
  const failed = hostSummary([probeResult(22, "refused", { expected: "open" })]);
  assertEquals(hints([failed], []), "not: 22");
});

Deno.test("formatTotals() advises a rate of 1 if only some of the ports that must be rejected are", () => {
  const hint = "many firewalls reject only one connection a second; try --rate 1";
  const other = (state: ProbeResult["state"]) => host([blocked(80, state, { reason: "other_state" })]);
  const some = host([blocked(80, "timeout", { reason: "other_state" }), blocked(81, "refused", { listening: true })]);
  const blockedState = "refused";
  assertEquals(hints([some], [80, 81], { blockedState }), `not: 80; ${hint}`);
  assertEquals(hints([some], [80, 81], { blockedState, rate: 1 }), "not: 80");
  assertEquals(hints([other("timeout")], [80], { blockedState }), "not: 80");
  assertEquals(hints([other("refused")], [80], { blockedState: "timeout" }), "not: 80");
  assertEquals(hints([host([blocked(80, "timeout", doubt("control_lost", "not proven: x"))])], [80]), "not: 80");
});

Deno.test("formatTotals() says that blocked ports alone prove little, unless one is open", () => {
  const only = (results: ProbeResult[], ...others: HostSummary[]) =>
    hints([hostSummary(results), ...others], [80], { ports: { greeted: [], open: [], blocked: [80] } });
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
  const announcing = host(listening, { host: "web1", pass: pass({ duration: 6000, notTested: ["::1"] }) });
  assertEquals(
    hints([host(results), announcing], [80, 81, 82, 83], { interrupted: true }),
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
