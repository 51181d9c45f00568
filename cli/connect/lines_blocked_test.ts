/**
 * Tests of what the lines say about blocked ports.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { BlockedState, ProbeResult } from "../../client.ts";
import { hostSummary, probeResult } from "../../tests/helpers/results.ts";
import type { HostCheck } from "./host_checks.ts";
import { formatResults } from "./lines.ts";

/** The result of a port that must be blocked. It passes unless it has a reason. */
const blocked = (port: number, state: ProbeResult["state"], fields: Parameters<typeof probeResult>[2] = {}) =>
  probeResult(port, state, { expected: "blocked", ok: fields.reason === undefined, ...fields });

/** The fields of a port that is not proven for a reason. */
const doubt = (reason: ProbeResult["reason"], error?: string) => ({ reason, error });

const ADDRESSES = ["192.0.2.1", "2001:db8::7"];

/** Formats results of a host with two addresses. */
const format = (results: ProbeResult[], { rate, ...check }: Partial<HostCheck> & { rate?: number } = {}) =>
  formatResults(hostSummary(results, { addresses: ADDRESSES, check }), { rate });

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
      "80    timeout      not proven: connections to port 22 were lost at the same time; try --rate 2",
      "443   unreachable  not proven: port 22 refused the 6th connection in 5s; add another port with -p or -o",
      "3306  refused      not proven: the server does not listen on it; add it to --port of the server, or correct -b",
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
      "80  unreachable  No route to host  not judged: first fix the ports that failed",
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
      "81  timeout  at 2001:db8::7  not proven: x; try --rate 2",
      "82  timeout  not proven: x; try --rate 2",
      "83  open     at 2001:db8::7  expected blocked",
    ],
  );
});

Deno.test("formatResults() says in which state a port had to be blocked", () => {
  const states = new Map<number, BlockedState>([[80, "timeout"], [81, "unreachable"]]);
  const byPort: HostCheck["blockedState"] = ({ port }) => states.get(port);
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
  assertEquals(format([unreachable], { blockedState: () => "refused" }), [
    "80  unreachable  No route to host  expected refused",
  ]);
  // A port that was reached is named as such in any case.
  assertEquals(format(results.slice(2), { blockedState: () => "timeout" }), ["82  open  expected blocked"]);
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
      "83     timeout  not proven: y; check the host, or use another port with -p or -o",
      "84     timeout",
      "85-86  timeout  (reachable 3s before)",
      "87     timeout  (reachable 9s before)",
      "88-89  timeout  not judged: first fix the ports that failed",
    ],
  );
});
