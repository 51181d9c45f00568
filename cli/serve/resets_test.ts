import { assertEquals } from "@std/assert";
import { Resets } from "./resets.ts";

Deno.test("Resets are reported 1 s after the first one, and also once a second after a report", () => {
  const resets = new Resets(false);
  assertEquals(resets.delay(5_000), 1000);
  resets.add(22);
  resets.take(6_000);
  assertEquals([resets.delay(6_000), resets.delay(6_500), resets.delay(90_000)], [1000, 1000, 1000]);
});

Deno.test("Resets are reported at most once a minute if clients are ignored, but the first ones after 1 s", () => {
  const resets = new Resets(true);
  assertEquals(resets.delay(5_000), 1000);
  resets.add(22);
  resets.take(6_000);
  assertEquals([resets.delay(6_000), resets.delay(8_500)], [60_000, 57_500]);
  // A scan after a quiet minute does not wait.
  assertEquals([resets.delay(65_500), resets.delay(90_000)], [1000, 1000]);
  // The end of the server reports nothing if nothing is left.
  resets.take(70_000);
  assertEquals(resets.delay(70_000), 1000);
});

Deno.test("Resets are counted until they are taken, and each port is named once", () => {
  const resets = new Resets(true);
  for (const port of [80, 22, 80]) resets.add(port);
  assertEquals(resets.take(0), { count: 3, ports: new Set([80, 22]) });
  assertEquals(resets.take(0), { count: 0, ports: new Set<number>() });
  resets.add(443);
  assertEquals(resets.take(0), { count: 1, ports: new Set([443]) });
});
