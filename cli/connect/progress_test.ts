import { assertEquals } from "@std/assert";
import type { PassProgress } from "../../client.ts";
import { hostCheck, probeResult } from "../../tests/helpers/results.ts";
import { Progress } from "./progress.ts";

/** The progress of a run, and a function that records an attempt. */
function start(hosts: string[], ports: { greeted?: number[]; open?: number[]; blocked?: number[] }) {
  const progress = new Progress(hosts.map((hostname) => hostCheck({ hostname, ...ports })));
  const add = (port: number, ok: boolean, host = hosts[0]) => {
    const expected = ports.open?.includes(port) ? "open" : ports.blocked?.includes(port) ? "blocked" : "greeted";
    progress.add(probeResult(port, ok ? "greeted" : "refused", { ok, expected, host }));
  };
  return { progress, add };
}

Deno.test("Progress says which hosts are being looked up", () => {
  const { progress, add } = start(["web1", "web2"], { greeted: [80] });
  assertEquals(progress.text(), "looking up web1, web2");
  progress.resolved("web1", undefined);
  assertEquals(progress.text(), "checked 0 of 2 ports, 0 as expected; looking up web2");
  add(80, false);
  assertEquals(progress.text(), "checked 1 of 2 ports, 0 as expected; looking up web2");
  progress.resolved("web2", undefined);
  assertEquals(progress.text(), "checked 1 of 2 ports, 0 as expected");
});

Deno.test("Progress counts the ports that were checked, then lists those that it is waiting for", () => {
  const { progress, add } = start(["lab"], { greeted: [80, 81, 82], open: [90] });
  progress.resolved("lab", undefined);
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
  progress.resolved("lab", undefined);
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

/** A pass over the blocked ports of a host. */
function pass(fields: Partial<PassProgress>): PassProgress {
  return {
    host: "lab",
    family: undefined,
    pass: 1,
    left: undefined,
    duration: 0,
    pause: undefined,
    notTested: [],
    ...fields,
  };
}

Deno.test("Progress says which pass over the blocked ports it is, and how many connections are left", () => {
  const { progress, add } = start(["lab"], { greeted: [22], blocked: [80, 81] });
  progress.resolved("lab", undefined);
  add(22, true);
  progress.addPass(pass({ left: 2 }));
  assertEquals(progress.text(), "pass 1 over the blocked ports: 2 connections left");
  add(80, false);
  progress.addPass(pass({ left: 1 }));
  assertEquals(progress.text(), "pass 1 over the blocked ports: 1 connection left");
  // The pass has not ended: the last control is running, or ports are tried again.
  progress.addPass(pass({ left: 0 }));
  assertEquals(progress.text(), "pass 1 over the blocked ports: 0 connections left");
  add(81, true);
  progress.addPass(pass({ pass: 2, left: 3 }));
  assertEquals(progress.text(), "pass 2 over the blocked ports: 3 connections left");
  // After the pass, or before the last control.
  progress.addPass(pass({}));
  assertEquals(progress.text(), "waiting for port 80 to be blocked");
});

Deno.test("Progress says between two passes what it waits for, and when the next one begins, in whole seconds", () => {
  const { progress, add } = start(["lab"], { greeted: [22], blocked: [80, 81] });
  progress.resolved("lab", undefined);
  add(22, true);
  add(80, false);
  add(81, false);
  progress.addPass(pass({ pause: 6000 }));
  assertEquals(progress.text(), "waiting for ports 80-81 to be blocked; pass 2 begins in 6s");
  progress.addPass(pass({ pass: 2, pause: 7400 }));
  assertEquals(progress.text(), "waiting for ports 80-81 to be blocked; pass 3 begins in 8s");
  // The lookup of the name may delay it.
  progress.addPass(pass({ pass: 2, pause: -1500 }));
  assertEquals(progress.text(), "waiting for ports 80-81 to be blocked; pass 3 begins in 0s");
});

Deno.test("Progress adds the connections that are left at several hosts, and waits only if none is left", () => {
  const { progress, add } = start(["web1", "web2", "web3"], { greeted: [22], blocked: [80] });
  for (const host of ["web1", "web2"]) {
    progress.resolved(host, undefined);
    add(22, true, host);
    add(80, false, host);
  }
  progress.addPass(pass({ host: "web1", pass: 2, left: 3 }));
  progress.addPass(pass({ host: "web2", left: 4 }));
  assertEquals(progress.text(), "pass 2 over the blocked ports: 7 connections left; looking up web3");
  progress.addPass(pass({ host: "web1", pass: 2, pause: 6000 }));
  assertEquals(progress.text(), "pass 2 over the blocked ports: 4 connections left; looking up web3");
  progress.resolved("web3", undefined);
  progress.addPass(pass({ host: "web2", pause: 3000 }));
  assertEquals(progress.text(), "waiting for web1:80,web2:80 to be blocked; pass 3 begins in 3s");
  // A host that has been checked no longer counts.
  progress.addPass(pass({ host: "web1" }));
  assertEquals(progress.text(), "waiting for web1:80,web2:80 to be blocked; pass 2 begins in 3s");
});

Deno.test("Progress lists no port between two passes if none was reached in the first one", () => {
  const { progress, add } = start(["lab"], { greeted: [22], blocked: [80] });
  progress.resolved("lab", undefined);
  add(22, true);
  add(80, true); // refused, but not proven
  progress.addPass(pass({ pause: 3000 }));
  assertEquals(progress.text(), "pass 2 over the blocked ports begins in 3s");
});

Deno.test("Progress names the hosts of ports if there are several, and at most 10 ranges", () => {
  const { progress, add } = start(["web1", "web2"], { greeted: [22, 23], open: [25] });
  for (const host of ["web1", "web2"]) {
    progress.resolved(host, undefined);
    for (const port of [22, 23, 25]) add(port, false, host);
  }
  add(25, true, "web1");
  assertEquals(progress.text(), "waiting for web1:22-23,web2:22-23 to greet, web2:25 to be open");
  const odd = Array.from({ length: 12 }, (_, i) => 2 * i + 1);
  const many = start(["lab"], { greeted: odd });
  many.progress.resolved("lab", undefined);
  for (const port of odd) many.add(port, false);
  assertEquals(many.progress.text(), "waiting for ports 1,3,5,7,9,11,13,15,17,19 and 2 more ports to greet");
});

Deno.test("Progress keeps the two families of a host apart", () => {
  const families = ([4, 6] as const).map((family) => hostCheck({ family, greeted: [22], blocked: [80] }));
  const progress = new Progress(families);
  progress.resolved("lab", 4);
  assertEquals(progress.text(), "checked 0 of 4 ports, 0 as expected; looking up lab");
  progress.resolved("lab", 6);
  const add = (port: number, hostname: string) =>
    progress.add(probeResult(port, "refused", { remoteAddr: { transport: "tcp", hostname, port } }));
  add(22, "192.0.2.1");
  add(22, "2001:db8::7");
  assertEquals(progress.text(), "waiting for lab:22,lab:22 to greet");
  progress.addPass(pass({ family: 4, left: 2 }));
  progress.addPass(pass({ family: 6, left: 3 }));
  assertEquals(progress.text(), "pass 1 over the blocked ports: 5 connections left");
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
