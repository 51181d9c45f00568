import { assertEquals } from "@std/assert";
import { type Reason, REASONS } from "../../client.ts";
import { hostCheck, probeResult } from "../../tests/helpers/results.ts";
import { explanation } from "./reasons.ts";

const ERROR = "not proven: cause";

/** The explanation for one of nine blocked ports at an address of a host, by default its only one. */
function explain(reason: Reason | undefined, hostname = "192.0.2.1", addresses = [hostname], rate?: number, count = 9) {
  const remoteAddr = { transport: "tcp", hostname, port: 80 } as const;
  const error = reason === undefined ? "No route to host" : ERROR;
  const result = probeResult(80, "timeout", { expected: "blocked", ok: false, reason, error, remoteAddr });
  const check = hostCheck({ blocked: Array.from({ length: count }, (_, i) => 80 + i) });
  return explanation(result, { check, addresses }, rate);
}

Deno.test("explanation() says what to do about each reason for which a blocked port does not pass", () => {
  const explanations: Record<Reason, string | undefined> = {
    reached: undefined,
    other_state: undefined,
    not_listening: `${ERROR}; add it to --port of the server, or correct -b`,
    no_control: `${ERROR}; -6 checks IPv6 only`,
    control_lost: `${ERROR}; try --rate 5`,
    control_refused: `${ERROR}; add another port with -p or -o`,
    control_failed: `${ERROR}; check the host, or use another port with -p or -o`,
    addresses_changed: `${ERROR}; use an address instead of the name`,
    required_failed: "not judged: first fix the ports that failed",
    required_missing: "not judged: add a port of this host with -p or -o",
    interrupted: "not judged: interrupted",
  };
  for (const reason of REASONS) assertEquals(explain(reason), explanations[reason], reason);
  assertEquals(explain(undefined), undefined);
});

Deno.test("explanation() advises a lower rate than the one that was given, or the default", () => {
  const addresses = ["192.0.2.1"];
  const advice = (rate?: number, count?: number) => explain("control_lost", "192.0.2.1", addresses, rate, count);
  assertEquals(advice(undefined, 8), `${ERROR}; try --rate 2`);
  assertEquals(advice(undefined, 9), `${ERROR}; try --rate 5`);
  assertEquals(advice(1000), `${ERROR}; try --rate 5`);
  assertEquals(advice(5.1), `${ERROR}; try --rate 5`);
  assertEquals(advice(5), `${ERROR}; try --rate 2.5`);
  assertEquals(advice(1), `${ERROR}; try --rate 0.5`);
  assertEquals(advice(0.2), `${ERROR}; try --rate 0.1`);
  // A lower rate would be rejected.
  assertEquals(advice(0.19), `${ERROR}; exempt this machine from limits on new connections`);
});

Deno.test("explanation() says how to leave out an address without a control", () => {
  const advice = (hostname: string, ...others: string[]) => explain("no_control", hostname, [...others, hostname]);
  assertEquals(advice("2001:db8::7", "192.0.2.1"), `${ERROR}; -4 checks IPv4 only`);
  assertEquals(advice("192.0.2.1", "2001:db8::7"), `${ERROR}; -6 checks IPv6 only`);
  // Options for a family would leave another address of the same family.
  const name = `${ERROR}; check one address instead of the name`;
  assertEquals(advice("2001:db8::7", "192.0.2.1", "2001:db8::8"), name);
  assertEquals(advice("192.0.2.1", "192.0.2.2", "2001:db8::7"), name);
  assertEquals(advice("192.0.2.1", "192.0.2.2"), name);
});
