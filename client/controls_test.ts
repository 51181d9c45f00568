import { assert, assertEquals } from "@std/assert";
import { formatAnnouncement } from "../shared/announcement.ts";
import { type Control, type ControlPort, Controls, lostControls, type Observed } from "./controls.ts";
import type { ProbeOutcome } from "./probe.ts";
import type { ProbeState } from "./results.ts";

/** A control that was as expected, and connected in 1 ms. */
function control(started: number, fields: Partial<Control> = {}): Control {
  return { port: 80, ok: true, started, connectMs: 1, ...fields };
}

/** When the lost controls were started. The fastest connection took 50 ms. */
function lostAt(observed: Observed, controls: readonly Control[]): number[] | undefined {
  return lostControls(observed, controls, 50)?.map(({ started }) => started);
}

Deno.test("lostControls() counts those that were started while a port timed out", () => {
  const observed = { state: "timeout", started: 10_000, ended: 13_500 } as const;
  const failed = [9999, 10_000, 12_000, 13_500, 13_501].map((started) => control(started, { ok: false }));
  assertEquals(lostAt(observed, failed), [10_000, 12_000, 13_500]);
  assertEquals(lostAt(observed, [control(0, { ok: false }), control(11_000), control(20_000, { ok: false })]), []);
});

Deno.test("lostControls() returns undefined if a timeout had no control", () => {
  const observed = { started: 10_000, ended: 13_500 };
  for (const controls of [[], [control(9999), control(13_501)]]) {
    assertEquals(lostAt({ ...observed, state: "timeout" }, controls), undefined);
    // These states are known at once, so there may be none.
    assertEquals(lostAt({ ...observed, state: "refused" }, controls), []);
    assertEquals(lostAt({ ...observed, state: "unreachable" }, controls), []);
  }
});

Deno.test("lostControls() counts those up to 2 s before and after a port was refused or unreachable", () => {
  const failed = [7999, 8000, 10_000, 12_001, 12_002].map((started) => control(started, { ok: false }));
  for (const state of ["refused", "unreachable"] as const) {
    assertEquals(lostAt({ state, started: 10_000, ended: 10_001 }, failed), [8000, 10_000, 12_001]);
  }
});

Deno.test("lostControls() returns those that failed, or took 0.9 s longer to connect than the fastest one", () => {
  const observed = { state: "timeout", started: 10_000, ended: 13_500 } as const;
  const controls = [
    control(10_001, { connectMs: 949.9 }),
    control(10_002, { connectMs: 950 }),
    control(10_003, { connectMs: 10, ok: false }),
    control(10_004, { connectMs: 2000 }),
  ];
  assertEquals(lostAt(observed, controls), [10_002, 10_003, 10_004]);
  assertEquals(lostAt(observed, [control(10_000, { ok: false, connectMs: 3500 })]), [10_000]);
});

const GREETED: ControlPort = { port: 80, expected: "greeted" };

/** An outcome of a probe at a control port. */
function outcomeOf(state: ProbeState, fields: Partial<ProbeOutcome> = {}): ProbeOutcome {
  const remoteAddr = { transport: "tcp", hostname: "192.0.2.1", port: 80 } as const;
  const rest = { remoteAddr, localAddr: undefined, greeting: new Uint8Array(), duration: 1, error: undefined };
  return { state, ...rest, started: performance.now(), connectMs: 1, ...fields };
}

/** Controls whose timers are run by the test. `outcome` returns what each connection finds out. */
function controlsWith(
  ports: readonly ControlPort[],
  outcome: (port: number, count: number) => ProbeOutcome | undefined = () => outcomeOf("greeted"),
) {
  const timers = new Map<() => void, number>();
  const probed: number[] = [];
  let places = 0;
  const pool = {
    take: () => void places++,
    release: () => void places--,
    schedule: (ms: number, callback: () => void) => {
      timers.set(callback, ms);
      return () => void timers.delete(callback);
    },
  };
  const probe = ({ port }: ControlPort) => {
    probed.push(port);
    return Promise.resolve(outcome(port, probed.length));
  };
  /** Runs the timers that are waiting. Returns after how many milliseconds they were to run. */
  const runTimers = () => {
    const due = [...timers];
    for (const [callback] of due) {
      timers.delete(callback);
      callback();
    }
    return due.map(([, ms]) => ms);
  };
  return { controls: new Controls(ports, { pool, probe }), probed, timers, runTimers, places: () => places };
}

Deno.test("Controls connects at random times, 250 to 750 ms after each other, until the end", async () => {
  const { controls, runTimers, probed, timers, places } = controlsWith([GREETED]);
  controls.watch();
  const intervals = Array.from({ length: 200 }, runTimers).flat();
  assertEquals(intervals.length, 200);
  for (const ms of intervals) assert(ms >= 250 && ms <= 750, `${ms}`);
  // They cover the range: 200 numbers miss a fifth of it once in 10^19 times.
  assert(Math.min(...intervals) < 350 && Math.max(...intervals) > 650, `${intervals}`);
  assertEquals(timers.size, 1);
  await controls.end();
  assertEquals([probed.length, timers.size, places()], [201, 0, 0]);
});

Deno.test("Controls connects only at the given times, and once at the end", async () => {
  const { controls, runTimers, probed } = controlsWith([GREETED]);
  controls.watch([300, 2000]);
  assertEquals([runTimers(), runTimers()], [[300, 2000], []]);
  await controls.end();
  assertEquals([probed.length, controls.failure], [3, undefined]);
});

Deno.test("Controls waits for those that are running before it makes the last one, and makes none when it is canceled", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const steps: string[] = [];
  const timers: (() => void)[] = [];
  const controls = new Controls([GREETED], {
    pool: {
      take: () => {},
      release: () => {},
      schedule: (_ms, callback) => {
        timers.push(callback);
        return () => void steps.push("canceled");
      },
    },
    probe: async () => {
      steps.push("begun");
      await promise;
      steps.push("ended");
      return outcomeOf("greeted");
    },
  });
  controls.watch([1, 2]);
  timers[0]?.();
  const end = controls.end();
  await Promise.resolve();
  await Promise.resolve();
  assertEquals(steps, ["begun", "canceled"]);
  resolve();
  await end;
  assertEquals(steps, ["begun", "canceled", "ended", "begun", "ended"]);
});

Deno.test("Controls uses its ports in turn", async () => {
  const ports = [80, 443, 22].map((port) => ({ port, expected: "open" as const }));
  const { controls, runTimers, probed } = controlsWith(ports, () => outcomeOf("open"));
  controls.watch([1, 2, 3, 4]);
  runTimers();
  await controls.end();
  await controls.end();
  assertEquals(probed, [80, 443, 22, 80, 443, 22]);
});

Deno.test("Controls makes no further connection after one that was refused, and says which one it was", async () => {
  const { controls, runTimers, probed } = controlsWith(
    [GREETED],
    (_, count) => outcomeOf(count === 2 ? "refused" : "greeted"),
  );
  controls.add(GREETED, outcomeOf("greeted", { started: performance.now() - 4600 }), []);
  controls.watch();
  runTimers();
  await Promise.resolve();
  runTimers();
  for (let i = 0; i < 10; i++) await Promise.resolve();
  const message = "not proven: port 80 refused the 3rd connection in 5s";
  assertEquals(controls.failure, { reason: "control_refused", message });
  runTimers();
  await controls.end();
  assertEquals([probed.length, controls.failure], [2, { reason: "control_refused", message }]);
  // The next pass tries again. The number of connections is that of the whole run.
  controls.reset();
  assertEquals(controls.failure, undefined);
  await controls.end();
  controls.add(GREETED, outcomeOf("refused"), []);
  assertEquals([probed.length, controls.failure?.message], [
    3,
    "not proven: port 80 refused the 5th connection in 5s",
  ]);
});

Deno.test("Controls counts the connections to each port by itself, with ordinal numbers", () => {
  const ordinals: Record<number, string> = {
    1: "1st",
    2: "2nd",
    4: "4th",
    11: "11th",
    13: "13th",
    21: "21st",
    23: "23rd",
  };
  for (const [count, ordinal] of Object.entries(ordinals)) {
    const { controls } = controlsWith([GREETED]);
    controls.add({ port: 22, expected: "greeted" }, outcomeOf("greeted"), []);
    for (let i = 1; i < Number(count); i++) controls.add(GREETED, outcomeOf("greeted"), []);
    controls.add(GREETED, outcomeOf("refused"), []);
    assertEquals(controls.failure?.message, `not proven: port 80 refused the ${ordinal} connection in 0s`);
  }
});

Deno.test("Controls says that the last one failed, but not that an earlier one did", async () => {
  for (const state of ["timeout", "mismatch", "silent", "unreachable"] as const) {
    const { controls, runTimers } = controlsWith([GREETED], (_, count) => outcomeOf(count === 1 ? state : "greeted"));
    controls.watch([1]);
    runTimers();
    await controls.end();
    assertEquals(controls.failure, undefined);
    const last = controlsWith([GREETED], () => outcomeOf(state)).controls;
    await last.end();
    const message = `not proven: port 80 failed when checked again (${state})`;
    assertEquals(last.failure, { reason: "control_failed", message });
  }
});

Deno.test("Controls has no failure if the check was stopped before the last one ended", async () => {
  const { controls, places } = controlsWith([GREETED], () => undefined);
  await controls.end();
  assertEquals([controls.failure, places()], [undefined, 0]);
});

Deno.test("Controls doubts a state while a control was lost, and names the port of that control", () => {
  const { controls } = controlsWith([GREETED, { port: 443, expected: "greeted" }]);
  const observed = { state: "timeout", started: 1000, ended: 4500 } as const;
  const doubt = (port: number) => ({
    reason: "control_lost",
    message: `not proven: connections to port ${port} were lost at the same time`,
  });
  // There was none.
  const message = "not proven: there was no connection to port 80 at the same time";
  assertEquals(controls.doubtAbout([observed]), { reason: "control_lost", message });
  controls.add(GREETED, outcomeOf("greeted", { started: 2000 }), []);
  assertEquals(controls.doubtAbout([observed]), undefined);
  controls.add({ port: 443, expected: "greeted" }, outcomeOf("greeted", { started: 2000, connectMs: 1001 }), []);
  assertEquals(controls.doubtAbout([observed]), doubt(443));
  // Each try must count, but what happens between them does not matter.
  const before = { state: "refused", started: -8001, ended: -8000 } as const;
  const after = { state: "refused", started: 8000, ended: 8001 } as const;
  assertEquals(controls.doubtAbout([before, after]), undefined);
  assertEquals(controls.doubtAbout([after, observed]), doubt(443));
  // The controls of one pass say nothing about another one.
  controls.reset();
  controls.add(GREETED, outcomeOf("greeted", { started: 2000 }), []);
  assertEquals(controls.doubtAbout([observed]), undefined);
});

Deno.test("Controls keeps the latest announcement of each port that must greet", async () => {
  const announce = (...ports: number[]) => new TextEncoder().encode(`hi\r\n${formatAnnouncement(ports)}`);
  const other: ControlPort = { port: 443, expected: "open" };
  let greeting = announce(1, 2);
  let state: ProbeState = "greeted";
  const { controls } = controlsWith([GREETED], () => outcomeOf(state, { greeting }));
  const announced = () => controls.announced.map((ports) => [...ports]);
  controls.add(GREETED, outcomeOf("greeted"), [new Set([1])]);
  controls.add(other, outcomeOf("open"), [new Set([7])]); // a port that need not greet announces nothing
  assertEquals(announced(), [[1]]);
  await controls.end();
  assertEquals(announced(), [[1, 2]]);
  // Another port has its own list. The same list is there once.
  const list = new Set([5]);
  controls.add({ port: 22, expected: "greeted" }, outcomeOf("greeted"), [list]);
  controls.add({ port: 23, expected: "greeted" }, outcomeOf("greeted"), [list]);
  assertEquals(announced(), [[1, 2], [5]]);
  // One that failed announces nothing, so the list before it is still the latest one.
  [state, greeting] = ["mismatch", announce(3)];
  await controls.end();
  assertEquals(announced(), [[1, 2], [5]]);
  // The server no longer announces anything.
  [state, greeting] = ["greeted", new TextEncoder().encode("hi\r\n")];
  await controls.end();
  assertEquals(announced(), [[5]]);
});
