import { assertEquals } from "@std/assert";
import { Queue } from "./queue.ts";

Deno.test("Queue returns its items in the order in which they were added", () => {
  const queue = new Queue<number>();
  assertEquals([queue.size, queue.shift()], [0, undefined]);
  const expected: number[] = [];
  const shifted: (number | undefined)[] = [];
  // Grows to 100 items, while some are taken, and is emptied twice.
  let next = 0;
  for (const [pushes, shifts] of [[1, 1], [5, 2], [100, 4], [0, 90], [3, 12], [2, 2]] as const) {
    for (let i = 0; i < pushes; i++) {
      queue.push(next);
      expected.push(next++);
    }
    for (let i = 0; i < shifts; i++) shifted.push(queue.shift());
    assertEquals(queue.size, expected.length - shifted.length);
  }
  assertEquals(shifted, expected);
  assertEquals([queue.size, queue.shift()], [0, undefined]);
});

Deno.test("Queue has no items after clear(), and can then be used again", () => {
  const queue = new Queue<string>();
  for (const item of ["a", "b", "c", "d", "e"]) queue.push(item);
  queue.shift();
  queue.clear();
  assertEquals([queue.size, queue.shift()], [0, undefined]);
  queue.push("f");
  assertEquals([queue.size, queue.shift(), queue.size], [1, "f", 0]);
});

Deno.test("Queue does not move all of its items each time that one is taken", () => {
  let moved = 0;
  const { splice } = Array.prototype;
  const count = function (this: unknown[], start: number, ...rest: [number]) {
    moved += this.length - start;
    return splice.call(this, start, ...rest);
  };
  Object.assign(Array.prototype, { splice: count });
  try {
    const queue = new Queue<number>();
    for (let i = 0; i < 1000; i++) queue.push(i);
    for (let i = 0; i < 1000; i++) queue.shift();
  } finally {
    Object.assign(Array.prototype, { splice });
  }
  // Of n items, n / 2 are removed and n / 2 are moved, then half of that, and so on.
  assertEquals([moved > 0, moved < 3000], [true, true]);
});
