import { assertEquals, assertThrows } from "@std/assert";
import { type Check, type CheckOptions, checkPorts, type HostPort, type ProbeResult } from "../client.ts";
import { serve } from "../server.ts";
import { freePort, freePorts } from "../tests/helpers/ports.ts";
import { startServer } from "../tests/helpers/servers.ts";
import { within } from "../tests/helpers/waiting.ts";
import { hostTargets } from "./targets.ts";

const hostname = "127.0.0.1";

/** The results in short, sorted. */
async function rowsOf(checks: Check | readonly Check[], options?: CheckOptions): Promise<string[]> {
  const row = ({ host, expected, state, ok }: ProbeResult) => `${host} ${expected} ${state} ${ok}`;
  return (await within(Array.fromAsync(checkPorts(checks, options)))).map(row).toSorted();
}

Deno.test("checkPorts() judges the blocked ports of a host by its ports in all checks", async () => {
  await using server = serve({ hostname, port: 0 });
  const [blocked, down] = freePorts(2);
  const alone: Check = { hostname, blocked };
  const { port } = server.addr;
  for (
    const checks of [[alone, { hostname, greeted: port }], [{ hostname: ["localhost", hostname], open: port }, alone]]
  ) {
    const rows = await rowsOf(checks);
    assertEquals(rows.filter((row) => row.startsWith(`${hostname} blocked`)), [`${hostname} blocked refused true`]);
  }
  for (const control of ["greeted", "open"]) {
    assertEquals(await rowsOf([alone, { hostname, [control]: down }]), [
      `${hostname} blocked refused null`,
      `${hostname} ${control} refused false`,
    ]);
  }
  // The ports of another host say nothing about it.
  assertEquals(await rowsOf([alone, { hostname: "localhost", open: down }]), [
    `${hostname} blocked refused true`,
    "localhost open refused false",
  ]);
});

Deno.test("checkPorts() uses the `blockedState` of the check that a port is in", async () => {
  const [first, second] = freePorts(2);
  const rows = await rowsOf([
    { hostname, blocked: first, blockedState: "refused" },
    { hostname, blocked: second, blockedState: "timeout" },
  ]);
  assertEquals(rows, [`${hostname} blocked refused false`, `${hostname} blocked refused true`]);
});

Deno.test("checkPorts() does not let a blocked port pass if the port of another check no longer greets afterwards", async () => {
  const server = serve({ hostname, port: freePort() });
  const { port: greeted } = server.addr;
  const checks = [{ hostname, blocked: freePort() }, { hostname, greeted }];
  const results = await within(Array.fromAsync(checkPorts(checks, { onAttempt: () => void server.shutdown() })));
  assertEquals(results.map(({ expected, ok, reason }) => [expected, ok, reason]), [
    ["greeted", true, undefined],
    ["blocked", false, "control_refused"],
  ]);
  await server.shutdown();
});

Deno.test("checkPorts() throws a RangeError if a port of a host is in two checks, or if there is no check", () => {
  const conflicts: Check[][] = [
    [{ hostname, greeted: [80, 22] }, { hostname, greeted: [22, 81] }],
    [{ hostname, open: 22 }, { hostname: ["lab", hostname], blocked: 22 }],
    [{ hostname, open: 80 }, { hostname, open: 81 }, { hostname, greeted: [22, 81] }, { hostname, blocked: 22 }],
    [{ hostname, family: 4, greeted: 22 }, { hostname, family: 4, open: 22 }],
  ];
  const ports = [22, 22, 81, 22];
  for (const [i, checks] of conflicts.entries()) {
    assertThrows(() => checkPorts(checks), RangeError, `checks: port ${ports[i]} of 127.0.0.1 is in two checks`);
  }
  assertThrows(() => checkPorts([{ hostname }, { hostname }]), RangeError, "port 999 of 127.0.0.1");
  checkPorts([{ hostname, greeted: 22 }, { hostname: "lab", greeted: 22 }]); // does not throw
  assertThrows(() => checkPorts([]), RangeError, "checks: expected at least one check");
  assertThrows(() => checkPorts([{ hostname }, { hostname, greeted: 0 }]), RangeError, "greeted: ");
});

Deno.test("hostTargets() merges the checks of a host with the same family, and keeps other families apart", () => {
  // A port that is reached over one family proves nothing for the other one.
  const targets = hostTargets([
    { hostname: "lab", family: 4, greeted: 80 },
    { hostname: ["lab", "web"], family: 6, greeted: 80, blocked: 22 },
    { hostname: "lab", blocked: 22 },
    { hostname: "lab", family: 4, open: 443, blocked: 22 },
  ]);
  assertEquals(targets.map(({ hostname, family, ports }) => ({ hostname, family, ...ports })), [
    { hostname: "lab", family: 4, greeted: [80], open: [443], blocked: [22] },
    { hostname: "lab", family: 6, greeted: [80], open: [], blocked: [22] },
    { hostname: "web", family: 6, greeted: [80], open: [], blocked: [22] },
    { hostname: "lab", family: undefined, greeted: [], open: [], blocked: [22] },
  ]);
});

Deno.test("checkPorts() judges no blocked port of a host without another port if a control is required", async () => {
  await using server = serve({ hostname, port: 0 });
  const { port } = server.addr;
  const blocked = freePort();
  const alone: Check = { hostname, blocked };
  const controls: Check[] = [{ hostname: "localhost", greeted: port }, { hostname: "localhost", open: freePort() }];
  for (const other of controls) {
    const results = await within(Array.fromAsync(checkPorts([alone, other], { requireControl: true })));
    const judged = results.filter(({ expected }) => expected === "blocked");
    assertEquals(judged.map(({ ok, reason }) => [ok, reason]), [[null, "required_missing"]]);
  }
  // A port that is reached fails in any case.
  const [reached] = await within(Array.fromAsync(checkPorts({ hostname, blocked: port }, { requireControl: true })));
  assertEquals([reached?.ok, reached?.reason], [false, "reached"]);
  for (const required of [false, true]) {
    const rows = await rowsOf([alone, { hostname, greeted: port }], { requireControl: required });
    assertEquals(rows, [`${hostname} blocked refused true`, `${hostname} greeted greeted true`]);
  }
});

Deno.test("checkPorts() calls `expect` and `send` of a check with the host and port", async () => {
  await using server = await startServer((socket) => socket.on("data", (data) => socket.end(`you are ${data}`)));
  await using other = await startServer((socket) => socket.on("data", (data) => socket.end(`you are ${data}`)));
  const calls: string[] = [];
  const text = (name: string) => ({ host, port }: HostPort) => {
    calls.push(`${name} ${host} ${port}`);
    return `${name === "other send" ? "send" : name} ${host}`;
  };
  const hosts = ["localhost", hostname];
  const rows = await rowsOf([
    { hostname: hosts, greeted: server.port, expect: ({ host }) => `you are send ${host}`, send: text("send") },
    { hostname: hosts, greeted: other.port, expect: text("expect"), send: text("other send") },
    { hostname, open: freePort(), expect: text("never"), send: text("never") },
  ]);
  assertEquals(rows, [
    "127.0.0.1 greeted greeted true",
    "127.0.0.1 greeted mismatch false",
    "127.0.0.1 open refused false",
    "localhost greeted greeted true",
    "localhost greeted mismatch false",
  ]);
  assertEquals(
    calls.toSorted(),
    hosts.flatMap((host) => [
      `expect ${host} ${other.port}`,
      `other send ${host} ${other.port}`,
      `send ${host} ${server.port}`,
    ]).toSorted(),
  );
});

Deno.test("checkPorts() takes a single check as a list of one", async () => {
  await using server = serve({ hostname, port: 0 });
  const check = { hostname: [hostname, "localhost"], greeted: server.addr.port, open: freePort(), blocked: freePort() };
  const rows = await rowsOf(check);
  assertEquals([rows.length, rows], [6, await rowsOf([check])]);
});
