import { assert, assertEquals } from "@std/assert";
import { ConditionVariable } from "./condition_variable.ts";
import { delay, ENDLESS_MS, within } from "../tests/helpers/waiting.ts";

Deno.test("ConditionVariable ends the waits that have begun, in order, and not those that begin later", async () => {
  const changed = new ConditionVariable();
  const ended: number[] = [];
  changed.notifyAll(); // has no effect: nobody waits yet
  const waits = [1, 2, 3].map((i) => changed.wait().then(() => ended.push(i)));
  await delay(0);
  assertEquals(ended, []);
  changed.notifyAll();
  const later = changed.wait().then(() => ended.push(4));
  await Promise.all(waits);
  await delay(0);
  assertEquals(ended, [1, 2, 3]);
  changed.notifyAll();
  await later;
  assertEquals(ended, [1, 2, 3, 4]);
});

Deno.test("ConditionVariable.wait() ends without a notification after `ms` milliseconds", async () => {
  const changed = new ConditionVariable();
  const started = performance.now();
  await within(changed.wait(50));
  assert(performance.now() - started >= 49, "ended too early");
});

Deno.test("ConditionVariable.wait() leaves no timer behind when it is notified", async () => {
  const changed = new ConditionVariable();
  const wait = changed.wait(ENDLESS_MS);
  changed.notifyAll();
  await within(wait); // the leak check fails this test if the timer is still active
});

Deno.test("ConditionVariable forgets waits that have ended, also at their time limit", async () => {
  for (const ms of [undefined, 0]) {
    const changed = new ConditionVariable();
    const waits = Array.from({ length: 20_000 }, () => changed.wait(ms));
    if (ms === undefined) changed.notifyAll();
    await within(Promise.all(waits));
    const started = performance.now();
    for (let i = 0; i < 5000; i++) changed.notifyAll();
    // Measured: less than 1 ms, and 6 s if no wait is forgotten.
    assert(performance.now() - started < 1000, "notified waits that have ended");
  }
});
