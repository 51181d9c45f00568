import { assertEquals } from "@std/assert";
import { Port } from "./port.ts";

Deno.test("Port.countGreeting() returns whether the greeting was the last one of `count`", () => {
  const port = new Port([Deno.listen({ hostname: "127.0.0.1", port: 0 })], 3);
  assertEquals([port.countGreeting(), port.countGreeting(), port.countGreeting()], [false, false, true]);
  port.close();
});

Deno.test("Port.close() ends all waits for a slot", async () => {
  const port = new Port([Deno.listen({ hostname: "127.0.0.1", port: 0 })], 1);
  assertEquals(port.slots.tryAcquire(), true);
  const waits = [port.slots.acquire(), port.slots.acquire()];
  port.close();
  await Promise.all(waits);
  // No slot is left over.
  assertEquals([port.closed, port.slots.tryAcquire()], [true, false]);
});
