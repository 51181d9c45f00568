import { assertEquals } from "@std/assert";
import { probeResult } from "../../tests/helpers/results.ts";
import { Progress } from "./progress.ts";

/** The progress of a run, and a function that records an attempt. */
function start(hosts: string[], ports: { greeted?: number[]; open?: number[]; blocked?: number[] }) {
  const progress = new Progress(hosts, { greeted: [], open: [], blocked: [], ...ports });
  const add = (port: number, ok: boolean, host = hosts[0]) => {
    const expected = ports.open?.includes(port) ? "open" : ports.blocked?.includes(port) ? "blocked" : "greeted";
    progress.add(probeResult(port, ok ? "greeted" : "refused", { ok, expected, host }));
  };
  return { progress, add };
}

Deno.test("Progress says which hosts are being looked up", () => {
  const { progress, add } = start(["web1", "web2"], { greeted: [80] });
  assertEquals(progress.text(), "looking up web1, web2");
  progress.resolved("web1");
  assertEquals(progress.text(), "checked 0 of 2 ports, 0 as expected; looking up web2");
  add(80, false);
  assertEquals(progress.text(), "checked 1 of 2 ports, 0 as expected; looking up web2");
  progress.resolved("web2");
  assertEquals(progress.text(), "checked 1 of 2 ports, 0 as expected");
});

Deno.test("Progress counts the ports that were checked, then lists those that it is waiting for", () => {
  const { progress, add } = start(["lab"], { greeted: [80, 81, 82], open: [90] });
  progress.resolved("lab");
  assertEquals(progress.text(), "checked 0 of 4 ports, 0 as expected");
  add(80, true);
  add(81, false);
  add(82, false);
  assertEquals(progress.text(), "checked 3 of 4 ports, 1 as expected");
  add(90, false);
  assertEquals(progress.text(), "waiting for ports 81-82 to greet, port 90 to be open");
  add(82, true);
  add(81, false);
  assertEquals(progress.text(), "waiting for port 81 to greet, port 90 to be open");
  add(81, true);
  assertEquals(progress.text(), "waiting for port 90 to be open");
});

Deno.test("Progress lists ports that must be blocked once they are tried", () => {
  const { progress, add } = start(["lab"], { greeted: [22], blocked: [80, 81] });
  progress.resolved("lab");
  add(22, false);
  assertEquals(progress.text(), "waiting for port 22 to greet");
  add(22, true);
  assertEquals(progress.text(), "checked 1 of 3 ports, 1 as expected");
  add(80, true);
  add(81, false);
  assertEquals(progress.text(), "waiting for port 81 to be blocked");
  // Then port 22 is probed again.
  add(81, true);
  assertEquals(progress.text(), "checked 3 of 3 ports, 3 as expected");
  add(22, false);
  assertEquals(progress.text(), "waiting for port 22 to greet");
});

Deno.test("Progress names the hosts of ports if there are several, and at most 10 ranges", () => {
  const { progress, add } = start(["web1", "web2"], { greeted: [22, 23], open: [25] });
  for (const host of ["web1", "web2"]) {
    progress.resolved(host);
    for (const port of [22, 23, 25]) add(port, false, host);
  }
  add(25, true, "web1");
  assertEquals(progress.text(), "waiting for web1:22-23,web2:22-23 to greet, web2:25 to be open");
  const odd = Array.from({ length: 12 }, (_, i) => 2 * i + 1);
  const many = start(["lab"], { greeted: odd });
  many.progress.resolved("lab");
  for (const port of odd) many.add(port, false);
  assertEquals(many.progress.text(), "waiting for ports 1,3,5,7,9,11,13,15,17,19 and 2 more ports to greet");
});

Deno.test("Progress shows no line unless it is started, and keeps no timer", async () => {
  const starts = [
    (progress: Progress) => progress.startOnTerminal(),
    (progress: Progress) => progress.startLines(false),
    (progress: Progress) => progress.startLines(true),
  ];
  for (const startWriting of starts) {
    const { progress } = start(["lab"], { greeted: [80] });
    startWriting(progress);
    await progress.stop(); // otherwise the test would fail because of the timer
    await progress.stop(); // has no effect
  }
});
