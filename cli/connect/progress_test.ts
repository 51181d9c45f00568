import { assertEquals } from "@std/assert";
import type { ProbeResult } from "../../client.ts";
import { Progress } from "./progress.ts";

Deno.test("Progress counts the ports that were checked, then lists those that it is waiting for", () => {
  const progress = new Progress(4);
  const add = (port: number, state: ProbeResult["state"]) =>
    progress.add({
      state,
      remoteAddr: { transport: "tcp", hostname: "192.0.2.1", port },
      localAddr: undefined,
      greeting: new Uint8Array(),
      duration: 1,
      error: undefined,
    });
  assertEquals(progress.text(), "checked 0 of 4 ports, 0 greeted");
  add(80, "greeted");
  add(81, "refused");
  add(82, "timeout");
  assertEquals(progress.text(), "checked 3 of 4 ports, 1 greeted");
  add(90, "refused");
  assertEquals(progress.text(), "waiting for 3 ports: 81-82,90");
  add(82, "greeted");
  add(81, "timeout");
  assertEquals(progress.text(), "waiting for 2 ports: 81,90");
});

Deno.test("Progress shows no line unless it is started, and keeps no timer", async () => {
  const progress = new Progress(1);
  progress.start();
  await progress.stop(); // otherwise the test would fail because of the timer
  await progress.stop(); // has no effect
});
