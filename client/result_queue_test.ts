import { assertEquals, assertRejects } from "@std/assert";
import { delay } from "../tests/helpers.ts";
import type { ProbeResult } from "./options.ts";
import { ResultQueue } from "./result_queue.ts";

function resultOf(port: number): ProbeResult {
  return {
    host: "127.0.0.1",
    expected: "greeted",
    ok: true,
    state: "greeted",
    remoteAddr: { transport: "tcp", hostname: "127.0.0.1", port },
    localAddr: undefined,
    greeting: new Uint8Array(),
    duration: 1,
    error: undefined,
  };
}

/** Reads all results. `ports` has what was read, even if an error follows. */
async function read(results: ResultQueue, ports: number[]) {
  for await (const { remoteAddr } of results) ports.push(remoteAddr.port);
}

Deno.test("ResultQueue yields results in order, those added before and during the iteration, and then ends", async () => {
  const results = new ResultQueue(() => {});
  results.add(resultOf(1));
  results.add(resultOf(2));
  const ports: number[] = [];
  const end = read(results, ports);
  await delay(0);
  assertEquals(ports, [1, 2]);
  results.add(resultOf(3));
  await delay(0);
  results.add(resultOf(4));
  results.add(resultOf(5));
  results.close(undefined);
  await end;
  assertEquals(ports, [1, 2, 3, 4, 5]);
});

Deno.test("ResultQueue ends an iteration that is waiting", async () => {
  const results = new ResultQueue(() => {});
  const ports: number[] = [];
  const end = read(results, ports);
  await delay(0);
  results.close(undefined);
  await end;
  assertEquals(ports, []);
});

Deno.test("ResultQueue throws the error of the failure after all results, even if it is undefined", async () => {
  for (const error of [new Error("no more"), undefined]) {
    const results = new ResultQueue(() => {});
    results.add(resultOf(1));
    results.add(resultOf(2));
    results.close({ error });
    const ports: number[] = [];
    const thrown = await read(results, ports).then(() => "nothing", (thrown) => thrown);
    assertEquals([ports, thrown], [[1, 2], error]);
  }
});

Deno.test("ResultQueue.size counts the results that have not been read, and each read is reported", async () => {
  const sizes: number[] = [];
  const results: ResultQueue = new ResultQueue(() => sizes.push(results.size));
  for (const port of [1, 2, 3]) results.add(resultOf(port));
  assertEquals(results.size, 3);
  const iterator = results[Symbol.asyncIterator]();
  await iterator.next();
  assertEquals([sizes, results.size], [[2], 2]);
  await iterator.next();
  await iterator.next();
  assertEquals(sizes, [2, 1, 0]);
  results.close({ error: new Error("no more") });
  await assertRejects(() => iterator.next(), Error, "no more");
});
