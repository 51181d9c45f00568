import { assert, assertEquals } from "@std/assert";
import { CHUNK_BYTES, Log, MAX_BUFFERED_BYTES } from "./log.ts";
import { DEADLINE_MS, delay, until, within } from "../tests/helpers/waiting.ts";

/** Creates a stream that accepts no data until it is read. */
function unreadPipe() {
  const { promise: read, resolve: startReading } = Promise.withResolvers<void>();
  const chunks: string[] = [];
  return {
    startReading,
    contents: () => chunks.join(""),
    async write(data: Uint8Array) {
      await read;
      const some = data.subarray(0, 1000); // a pipe may accept only a part
      chunks.push(new TextDecoder().decode(some));
      return some.length;
    },
  };
}

Deno.test("Log writes all lines in order, and the last one when it is closed", async () => {
  const pipe = unreadPipe();
  pipe.startReading();
  const log = new Log(pipe);
  const lines = Array.from({ length: 1000 }, (_, i) => `line ${i}`);
  for (const line of lines) log.print(line);
  log.print(undefined);
  await log.close(DEADLINE_MS, ["last"]);
  assertEquals(pipe.contents(), [...lines, "last", ""].join("\n"));
});

const formatGap = (lines: number) => `${lines} dropped`;

Deno.test("Log keeps 8 MiB that nobody reads, and marks the gap before the next line", async () => {
  const pipe = unreadPipe();
  const log = new Log(pipe, { formatGap });
  const line = "x".repeat(99);
  for (let i = 0; i < 50_000; i++) log.print(line);
  await delay(50); // lets a write begin, because its bytes count, too
  for (let i = 0; i < 50_000; i++) log.print(line);
  const kept = Math.floor(MAX_BUFFERED_BYTES / 100);
  assertEquals(log.dropped, 100_000 - kept);
  pipe.startReading();
  await until(() => pipe.contents().length > 2 * CHUNK_BYTES);
  log.print("next");
  assertEquals(await log.close(DEADLINE_MS, ["last"]), { complete: true, missing: 0 });
  assertEquals(pipe.contents(), `${line}\n`.repeat(kept) + `${100_000 - kept} dropped\nnext\nlast\n`);
});

Deno.test("Log writes at once when 64 KiB are waiting, and after 10 ms otherwise", async () => {
  const sizes: number[] = [];
  const log = new Log({ write: (data) => Promise.resolve((sizes.push(data.length), data.length)) });
  const started = performance.now();
  log.print("a");
  log.print("b");
  await until(() => sizes.length === 1);
  assert(performance.now() - started >= 9, "did not gather lines");
  assertEquals(sizes, [4]);
  log.print("c"); // starts to gather
  for (let i = 0; i < 4; i++) log.print("x".repeat(CHUNK_BYTES - 1));
  // Microtasks are enough: no timer has to expire.
  for (let i = 0; i < 1000; i++) await Promise.resolve();
  assertEquals(sizes.reduce((sum, size) => sum + size), 4 + 2 + 4 * CHUNK_BYTES);
  await log.close(DEADLINE_MS);
});

Deno.test("Log.close() waits no longer than `ms`, and returns a lower bound for the missing lines", async () => {
  const pipe = unreadPipe();
  const log = new Log(pipe);
  for (let i = 0; i < 5; i++) log.print("x".repeat(CHUNK_BYTES));
  await delay(20);
  // The first line is being written: the write blocks, and may still be completed in part.
  assertEquals(await within(log.close(100, ["last"])), { complete: false, missing: 5 });
  pipe.startReading();
});

Deno.test("Log.close() waits for a slow reader", async () => {
  const pipe = unreadPipe();
  const log = new Log(pipe);
  log.print("one");
  await delay(20);
  const closed = log.close(DEADLINE_MS, ["last"]);
  await delay(50);
  pipe.startReading();
  assertEquals([await closed, pipe.contents()], [{ complete: true, missing: 0 }, "one\nlast\n"]);
});

Deno.test("Log ends when it finds a closed pipe or a bad descriptor, without calling onError", async () => {
  const badDescriptor = Object.assign(new Error("Bad file descriptor (os error 9)"), { code: "EBADF" });
  for (const error of [new Deno.errors.BrokenPipe(), new Deno.errors.BadResource(), badDescriptor]) {
    const errors: unknown[] = [];
    let writes = 0;
    const log = new Log({ write: () => (writes++, Promise.reject(error)) }, { onError: (error) => errors.push(error) });
    log.print("one");
    log.print("two");
    await until(() => writes === 1);
    await delay(0);
    log.print("three");
    assertEquals(await log.close(DEADLINE_MS, ["last"]), { complete: false, missing: 3 });
    assertEquals([writes, errors], [1, []]);
  }
});

Deno.test("Log tries again after other errors, and reports the first one and the recovery", async () => {
  const noSpace = Object.assign(new Error("No space left on device (os error 28)"), { code: "ENOSPC" });
  for (const error of [new Deno.errors.WouldBlock(), noSpace]) {
    const events: unknown[] = [];
    const times: number[] = [];
    let contents = "";
    const log = new Log({
      write(data) {
        times.push(performance.now());
        if (times.length <= 5) return Promise.reject(error);
        contents += new TextDecoder().decode(data);
        return Promise.resolve(data.length);
      },
    }, { onError: (error) => events.push(error), onRecovery: () => events.push("recovery") });
    log.print("one");
    await until(() => times.length > 0);
    log.print("two");
    await until(() => events.length === 2);
    assertEquals(await log.close(DEADLINE_MS, ["last"]), { complete: true, missing: 0 });
    assertEquals([events, contents], [[error, "recovery"], "one\ntwo\nlast\n"]);
    // Pauses of 10, 20, 40, 80 and 160 ms.
    const [first = 0, last = 0] = [times[0], times[5]];
    assert(last - first > 300, `retried after ${last - first} ms`);
  }
});

Deno.test("Log pauses for 10 ms to 1 s between attempts, and for 10 ms again after a success", async () => {
  const times: number[] = [];
  const log = new Log({
    write() {
      times.push(performance.now());
      const isWritten = times.length === 10 || times.length > 12;
      return isWritten ? Promise.resolve(4) : Promise.reject(new Deno.errors.WouldBlock());
    },
  });
  log.print("one");
  log.print("two");
  await until(() => times.length > 12);
  await log.close(DEADLINE_MS);
  const pauses = times.slice(1).map((time, i) => time - (times[i] ?? 0));
  // The tenth attempt succeeds, so the next one follows without a pause.
  const expected = [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 0, 10, 20];
  assertEquals(pauses.length, expected.length);
  // A timer can be early by less than a millisecond.
  for (const [i, pause] of pauses.entries()) assert(pause > (expected[i] ?? 0) - 1, `${pauses}`);
  const sumOf = (numbers: number[]) => numbers.reduce((sum, each) => sum + each, 0);
  // If the first pause were twice as long, these would be 2,260 ms.
  assert(sumOf(pauses.slice(0, 7)) < 2200, `${pauses}`);
  // Without the maximum, these two pauses would be 1,280 and 2,560 ms.
  assert(sumOf(pauses.slice(7, 9)) < 3800, `${pauses}`);
  // If they went on from the longest pause, these two would be 1,000 ms each.
  assert(sumOf(pauses.slice(10)) < 1900, `${pauses}`);
});

Deno.test("Log reports the recovery when everything is written", async () => {
  const events: unknown[] = [];
  const error = new Deno.errors.WouldBlock();
  let writes = 0;
  const log = new Log({
    // The first write of the first chunk fails, and one of the second chunk.
    write: (data) => [0, 20].includes(writes++) ? Promise.reject(error) : Promise.resolve(data.length),
  }, { onError: (error) => events.push(error), onRecovery: () => events.push("recovery") });
  for (let i = 0; i < 3; i++) log.print("x".repeat(CHUNK_BYTES - 1));
  assertEquals(await log.close(DEADLINE_MS), { complete: true, missing: 0 });
  assertEquals(events, [error, "recovery"]);
});

Deno.test("Log does not mark more than one gap in 64 KiB", async () => {
  let contents = "";
  const isBusy = () => contents.length < 3 * CHUNK_BYTES;
  const line = "x".repeat(99);
  const log = new Log({
    async write(data) {
      if (isBusy()) await delay(0);
      contents += new TextDecoder().decode(data);
      // More lines than have been written.
      for (let i = 0; i < 80 && isBusy(); i++) log.print(line);
      return data.length;
    },
  }, { formatGap });
  while (log.dropped === 0) log.print(line);
  await until(() => !isBusy());
  assertEquals(await log.close(DEADLINE_MS), { complete: true, missing: 0 });
  const gaps = contents.split("\n").filter((line) => line.endsWith(" dropped")).length;
  assert(gaps > 0 && gaps <= 4, `${gaps} gaps`);
});

Deno.test("Log.close() counts every line that was printed as missing when the log has ended", async () => {
  const { promise: blocked, reject: fail } = Promise.withResolvers<number>();
  const log = new Log({ write: () => blocked }, { formatGap });
  const printed = Math.ceil(1.1 * MAX_BUFFERED_BYTES / 100);
  for (let i = 0; i < printed; i++) log.print("x".repeat(99));
  await delay(20);
  assert(log.dropped > 0);
  fail(new Deno.errors.BrokenPipe());
  await delay(0);
  log.print("one more");
  assertEquals(await log.close(DEADLINE_MS, ["last"]), { complete: false, missing: printed + 1 });
});

Deno.test("Log.close() does not count lines as missing that a blocked write may still complete", async () => {
  const write = () => new Promise<number>(() => {});
  const log = new Log({ write });
  for (let i = 0; i < 100; i++) log.print("x".repeat(99));
  await delay(20);
  // 4,000 bytes are being written, but not all of them will be.
  assertEquals(await log.close(10, ["last"]), { complete: false, missing: 100 - 39 });

  // The last line is not written together with the lines before it.
  const short = new Log({ write });
  short.print("one");
  assertEquals(await short.close(10, ["last"]), { complete: false, missing: 1 });
});

Deno.test("Log.close() counts only the lines before the last ones as missing", async () => {
  const log = new Log({ write: () => new Promise(() => {}) });
  for (let i = 0; i < 5; i++) log.print(`${i}`.padEnd(CHUNK_BYTES));
  assertEquals(await log.close(10, ["one", "two", "three"]), { complete: false, missing: 5 });
  const written: string[] = [];
  const other = new Log({
    write(data) {
      written.push(new TextDecoder().decode(data));
      return Promise.resolve(data.length);
    },
  });
  other.print("first");
  assertEquals(await other.close(DEADLINE_MS, ["one", "two", "three"]), { complete: true, missing: 0 });
  assertEquals(written.join(""), "first\none\ntwo\nthree\n");
});

Deno.test("Log.close() ends the retries", async () => {
  let writes = 0;
  const log = new Log({ write: () => (writes++, Promise.reject(new Deno.errors.WouldBlock())) });
  log.print("one");
  await until(() => writes > 0);
  assertEquals(await log.close(50, ["last"]), { complete: false, missing: 1 });
  const before = writes;
  await delay(100);
  assertEquals(writes, before);
});

Deno.test("Log.close() ends the pause before a retry, and more lines do not", async () => {
  for (const recovers of [true, false]) {
    let isBroken = true;
    let writes = 0;
    const log = new Log({
      write(data) {
        writes++;
        return isBroken ? Promise.reject(new Deno.errors.WouldBlock()) : Promise.resolve(data.length);
      },
    });
    log.print("one");
    await until(() => writes >= 7);
    // The pause is now 640 ms. Microtasks are enough for a write.
    const before = writes;
    log.print("x".repeat(CHUNK_BYTES));
    for (let i = 0; i < 1000; i++) await Promise.resolve();
    assertEquals(writes, before);
    isBroken = !recovers;
    const started = performance.now();
    const { complete } = await log.close(recovers ? DEADLINE_MS : 10, ["last"]);
    assertEquals(complete, recovers);
    assert(performance.now() - started < 500, "waited for the end of the pause");
    // If the stream is still broken, close() has ended another pause, or else the leak check would find its timer.
  }
});
