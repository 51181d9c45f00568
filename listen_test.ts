import { assertEquals } from "@std/assert";
import { nextBackoff } from "./listen.ts";

Deno.test("nextBackoff() doubles from 5 ms to 1 s", () => {
  const pauses: number[] = [];
  for (let pause = nextBackoff(0); pauses.length < 10; pause = nextBackoff(pause)) pauses.push(pause);
  assertEquals(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
});
