import { assert, assertEquals } from "@std/assert";
import { LoopClock } from "./clock.ts";
import { block, delay, ENDLESS_MS, within } from "../tests/helpers/waiting.ts";

Deno.test("LoopClock calls back in order, not before the time, unless it is canceled", async () => {
  const clock = new LoopClock();
  const calls: string[] = [];
  const started = performance.now();
  const called = new Promise<void>((resolve) => {
    clock.schedule(60, () => {
      calls.push("later");
      resolve();
    });
  });
  const cancel = clock.schedule(30, () => calls.push("canceled"));
  clock.schedule(30, () => calls.push("first"));
  clock.schedule(30, () => calls.push("second"));
  cancel();
  cancel(); // has no effect
  await within(called);
  assertEquals(calls, ["first", "second", "later"]);
  // The clock counts whole ticks, and setTimeout() can be early by less than a millisecond.
  assert(performance.now() - started >= 58);
});

Deno.test("LoopClock stands still while the event loop is blocked", async () => {
  const clock = new LoopClock();
  let called = 0;
  const done = new Promise<void>((resolve) => {
    clock.schedule(100, () => {
      called = performance.now();
      resolve();
    });
  });
  block(500);
  const unblocked = performance.now();
  await within(done);
  // One tick of 20 ms has counted.
  assert(called - unblocked >= 70, `${called - unblocked} ms after the block`);
});

Deno.test("LoopClock leaves no timer when nothing is scheduled any longer", async () => {
  const clock = new LoopClock();
  const cancel = clock.schedule(ENDLESS_MS, () => {});
  clock.schedule(10, () => cancel());
  await delay(50); // otherwise the test would fail because of the timer
});

Deno.test("LoopClock keeps a single timer when a callback schedules another one", async () => {
  const clock = new LoopClock();
  const cancel = await new Promise<() => void>((resolve) => {
    clock.schedule(10, () => resolve(clock.schedule(ENDLESS_MS, () => {})));
  });
  cancel(); // clears one timer: the leak check fails this test if there is another one
});

Deno.test("LoopClock rounds up to a tick, and calls back as often as the same callback was scheduled", async () => {
  await Promise.all(Array.from({ length: 10 }, async (_, i) => {
    const clock = new LoopClock();
    const ms = 31 + i % 5;
    const started = performance.now();
    await new Promise<void>((resolve) => clock.schedule(ms, resolve));
    assert(performance.now() - started >= ms, `${performance.now() - started} ms instead of ${ms}`);
  }));
  const clock = new LoopClock();
  let calls = 0;
  const count = () => calls++;
  clock.schedule(10, count);
  clock.schedule(10, count);
  clock.schedule(10, count)();
  clock.schedule(0, count);
  await new Promise<void>((resolve) => clock.schedule(20, resolve));
  assertEquals(calls, 3);
});

Deno.test("LoopClock clears its timer when the last callback is canceled", () => {
  const clock = new LoopClock();
  clock.schedule(10, () => {})(); // otherwise the test would fail because of the timer
});
