import { assert, assertEquals } from "@std/assert";
import { outOfDescriptors } from "../tests/helpers/servers.ts";
import { AcceptErrors, isClientReset, nextBackoff } from "./accept_errors.ts";
import { ConnectionList } from "./connections.ts";

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

Deno.test("AcceptErrors reports a lack of descriptors that lasts for 1 s, although connections are being handled", async () => {
  const list = new ConnectionList(60_000, 10);
  const errors: unknown[] = [];
  const acceptErrors = new AcceptErrors(list, (error) => errors.push(error));
  const error = outOfDescriptors("EMFILE");
  const started = performance.now();
  while (errors.length === 0) await acceptErrors.pauseAfter(error, 20, true);
  assert(performance.now() - started >= 999, "reported too early");
  await acceptErrors.pauseAfter(error, 20, true);
  assertEquals(errors, [error]);
  list.dispose();
});
