import { assertEquals } from "@std/assert";
import { Semaphore } from "./semaphore.ts";

Deno.test("Semaphore grants its permits, and then one for each that is released, in order", async () => {
  const semaphore = new Semaphore(2);
  const granted: number[] = [];
  const request = (id: number) => semaphore.acquire().then(() => granted.push(id));
  await Promise.all([request(0), request(1)]);
  const requests = [request(2), request(3), request(4)];
  assertEquals([semaphore.waiting, semaphore.tryAcquire()], [3, false]);
  semaphore.release();
  await requests[0];
  assertEquals([granted, semaphore.waiting], [[0, 1, 2], 2]);
  semaphore.release();
  semaphore.release();
  await Promise.all(requests);
  assertEquals([granted, semaphore.waiting], [[0, 1, 2, 3, 4], 0]);
  semaphore.release();
  assertEquals([semaphore.tryAcquire(), semaphore.tryAcquire()], [true, false]);
});

Deno.test("Semaphore gives a released permit to a request that waits, not to a later tryAcquire()", async () => {
  const semaphore = new Semaphore(1);
  assertEquals(semaphore.tryAcquire(), true);
  const request = semaphore.acquire();
  semaphore.release();
  assertEquals(semaphore.tryAcquire(), false);
  await request;
});

Deno.test("Semaphore may have an unlimited number of permits", () => {
  const semaphore = new Semaphore(Infinity);
  for (let i = 0; i < 1000; i++) assertEquals(semaphore.tryAcquire(), true);
});
