import { assertEquals } from "@std/assert";
import { isClientReset, nextBackoff } from "./accept_errors.ts";

Deno.test("nextBackoff() doubles from 5 ms to 1 s", () => {
  const pauses: number[] = [];
  for (let pause = nextBackoff(0); pauses.length < 10; pause = nextBackoff(pause)) pauses.push(pause);
  assertEquals(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
});

Deno.test("isClientReset() recognizes EINVAL as a client's reset only on macOS", () => {
  const [typeError, other] = ["Invalid argument (os error 22)", "Too many open files (os error 24)"].map((message) =>
    new TypeError(message)
  );
  assertEquals(isClientReset(typeError, "darwin"), true);
  assertEquals(isClientReset(new Deno.errors.InvalidData("Invalid argument (os error 22)"), "darwin"), true);
  assertEquals(isClientReset(typeError, "linux"), false);
  assertEquals(isClientReset(other, "darwin"), false);
});
