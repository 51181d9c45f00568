import { assert, assertEquals } from "@std/assert";
import { openLog } from "./log.ts";

/** A stream that accepts no data until it is read. */
function unreadPipe() {
  const { promise: read, resolve: startReading } = Promise.withResolvers<void>();
  const chunks: string[] = [];
  return {
    startReading,
    contents: () => chunks.join(""),
    async write(data: Uint8Array) {
      await read;
      const some = data.subarray(0, 1000); // a pipe may accept a part only
      chunks.push(new TextDecoder().decode(some));
      return some.length;
    },
  };
}

Deno.test("openLog() writes all lines in order, and close() the last one at once", async () => {
  const pipe = unreadPipe();
  pipe.startReading();
  const log = openLog(pipe);
  const lines = Array.from({ length: 1000 }, (_, i) => `line ${i}`);
  for (const line of lines) log.print(line);
  log.print(undefined);
  await log.close(10_000, "last");
  assertEquals(pipe.contents(), [...lines, "last", ""].join("\n"));
});

Deno.test("openLog() keeps 1 MiB that nobody reads and counts the rest, and close() does not wait for the reader", async () => {
  const pipe = unreadPipe();
  const log = openLog(pipe);
  const line = "x".repeat(99);
  for (let i = 0; i < 8000; i++) log.print(line);
  await new Promise((resolve) => setTimeout(resolve, 50)); // so that a write has begun, whose bytes count too
  for (let i = 0; i < 8000; i++) log.print(line);
  const kept = Math.floor(1024 * 1024 / 100);
  assertEquals(log.dropped, 16_000 - kept);
  const started = performance.now();
  await log.close(100, "last");
  assert(performance.now() - started < 5000);
  pipe.startReading();
  await log.close(10_000);
  assertEquals(pipe.contents(), `${line}\n`.repeat(kept) + "last\n");
});

Deno.test("openLog() ends silently at a closed pipe, and with a call of onError at another error", async () => {
  for (const [error, told] of [[new Deno.errors.BrokenPipe(), 0], [new Error("No space left on device"), 1]] as const) {
    const errors: unknown[] = [];
    let writes = 0;
    const log = openLog({ write: () => (writes++, Promise.reject(error)) }, (error) => errors.push(error));
    log.print("one");
    await log.close(10_000, "two");
    log.print("three");
    await log.close(10_000, "four");
    assertEquals([writes, errors], [1, Array(told).fill(error)]);
  }
});
