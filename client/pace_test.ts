import { assert, assertEquals } from "@std/assert";
import { block } from "../tests/helpers/waiting.ts";
import { Pace } from "./pace.ts";

/** Waits `count` times, without waiting. Returns for how long each wait would have lasted, and how long all calls took. */
async function pausesOf(count: number, pace: Pace, pauses: number[]): Promise<{ pauses: number[]; elapsed: number }> {
  const started = performance.now();
  pauses.length = 0;
  for (let i = 0; i < count; i++) {
    const before = pauses.length;
    await pace.wait();
    if (pauses.length === before) pauses.push(0);
  }
  return { pauses: [...pauses], elapsed: performance.now() - started };
}

/** A pace that notes its pauses. */
function notingPace(rate: number) {
  const pauses: number[] = [];
  const pace = new Pace(rate, (ms) => {
    pauses.push(ms);
    return Promise.resolve();
  });
  return { pace, pauses };
}

/** Asserts that each connection starts an interval after the one before, on the clock of the first call. */
function assertEven({ pauses, elapsed }: { pauses: number[]; elapsed: number }, interval: number) {
  for (const [i, pause] of pauses.entries()) {
    assert(pause <= i * interval && pause >= i * interval - elapsed, `${i}: ${pause} of ${pauses}`);
  }
}

Deno.test("Pace starts one connection at once, and then one after each interval, without a burst at the beginning", async () => {
  for (const rate of [0.1, 4, 25]) {
    const { pace, pauses } = notingPace(rate);
    const result = await pausesOf(5, pace, pauses);
    assertEquals(result.pauses[0], 0);
    assertEven(result, 1000 / rate);
  }
});

Deno.test("Pace gives each of several that wait at the same time a start of its own", async () => {
  const { pace, pauses } = notingPace(10);
  const started = performance.now();
  await Promise.all(Array.from({ length: 4 }, () => pace.wait()));
  const elapsed = performance.now() - started;
  // The first one does not wait.
  assertEven({ pauses: [0, ...pauses], elapsed }, 100);
  assertEquals(pauses.length, 3);
});

Deno.test("Pace does not catch up when the event loop was late", async () => {
  const { pace, pauses } = notingPace(20);
  await pace.wait();
  block(500);
  // Ten connections would have started meanwhile. The first one is due, and the next ones follow evenly: a lag of 20 ms is
  // made up for.
  const { pauses: [first = -1, second = -1, third = -1], elapsed } = await pausesOf(3, pace, pauses);
  assertEquals(first, 0);
  assert(second >= 30 - elapsed && second <= 30, `${second}`);
  assert(third >= 80 - elapsed && third <= 80, `${third}`);
});

Deno.test("Pace makes up for a lag of a few milliseconds, as the clock of the pool has ticks of 10 ms", async () => {
  const { pace, pauses } = notingPace(200);
  await pace.wait();
  block(12);
  // Two of them are due. A busy machine may delay this, and more are due then.
  const { pauses: [first, second] } = await pausesOf(2, pace, pauses);
  assertEquals([first, second], [0, 0]);
});

Deno.test("Pace starts no connection before its time", async () => {
  const pace = new Pace(50, (ms) => new Promise((resolve) => setTimeout(resolve, ms)));
  const started = performance.now();
  for (let i = 0; i < 6; i++) await pace.wait();
  const elapsed = performance.now() - started;
  assert(elapsed >= 5 * 20 - 1, `${elapsed}`); // a timer can be early by less than a millisecond
});
