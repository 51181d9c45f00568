import { assertThrows } from "@std/assert";
import { check, type CheckArguments } from "../tests/helpers/check.ts";
import { BLOCKED_STATES } from "./results.ts";
import { MAX_GREETING_BYTES } from "../shared/limits.ts";

Deno.test("checkPorts() accepts the minimum and maximum of each option", () => {
  const valid: CheckArguments[] = [
    { greeted: 1 },
    { greeted: [65_535] },
    { open: 1 },
    { open: [65_535] },
    { blocked: 1 },
    { blocked: [65_535] },
    { greeted: [], open: 1 },
    { timeout: 0.001 },
    { timeout: 2 ** 31 - 1 },
    { blocked: 1, timeout: 1500 },
    { blocked: [], timeout: 1 },
    { within: 0 },
    { within: 2 ** 31 - 1 },
    { concurrency: 1 },
    { concurrency: 65_535 },
    { rate: 0.1 },
    { rate: 100_000 },
    { family: 4 },
    { family: 6 },
    ...BLOCKED_STATES.map((blockedState) => ({ blocked: 1, blockedState })),
    { blocked: 1, blockedState: () => undefined },
  ];
  for (const text of ["x", "x".repeat(MAX_GREETING_BYTES), new Uint8Array(MAX_GREETING_BYTES)]) {
    valid.push({ expect: text }, { send: text });
  }
  for (const options of valid) check({ hostname: "127.0.0.1", ...options }); // does not throw
});

Deno.test("checkPorts() throws a RangeError that names the option", () => {
  const invalid: CheckArguments[] = [
    { hostname: [] },
    ...["", ["127.0.0.1", ""], "10.99.0.010", ["127.0.0.1", "127.1"]].map((hostname) => ({ hostname })),
    ...[0, 65_536, 1.5, [], [80, 0]].map((greeted) => ({ greeted })),
    ...[0, 65_536, 1.5, [80, 0]].flatMap((port) => [{ open: port }, { blocked: port }]),
    ...[0, -1, NaN, Infinity, 2 ** 31].map((timeout) => ({ timeout })),
    { timeout: 1499, blocked: 80 },
    { timeout: 1499, blocked: [80], open: 22 },
    ...[-1, NaN, 2 ** 31].map((within) => ({ within })),
    ...[0, 1.5].map((concurrency) => ({ concurrency })),
    ...[0, 0.09, -1, NaN, Infinity, 100_001].map((rate) => ({ rate })),
    ...["", "x".repeat(MAX_GREETING_BYTES + 1), new Uint8Array()].flatMap((text) => [{ expect: text }, { send: text }]),
  ];
  for (const options of invalid) {
    const [name = ""] = Object.keys(options);
    assertThrows(() => check({ hostname: "127.0.0.1", ...options }), RangeError, `${name}: `);
  }
  const family = JSON.parse("5");
  assertThrows(() => check({ hostname: "127.0.0.1", family }), RangeError, "family: expected 4 or 6, not 5");
  const blockedState = JSON.parse('"open"');
  const message = "blockedState: expected refused, timeout, unreachable, not open";
  assertThrows(() => check({ hostname: "127.0.0.1", blocked: 80, blockedState }), RangeError, message);
});

Deno.test("checkPorts() throws a RangeError for a port with two expectations", () => {
  const hostname = "127.0.0.1";
  assertThrows(() => check({ hostname, greeted: 22, open: 22 }), RangeError, "open: port 22 must be greeted already");
  assertThrows(
    () => check({ hostname, greeted: 80, open: [22, 23], blocked: [1, 23] }),
    RangeError,
    "blocked: port 23 must be open already",
  );
  check({ hostname, greeted: [22, 22], open: [23, 23], blocked: [24, 24] }); // does not throw
});
