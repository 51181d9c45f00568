import { assertEquals } from "@std/assert";
import { localTimestamp } from "./timestamps.ts";

Deno.test("localTimestamp() shows the current local time to the millisecond", () => {
  const { now } = Date;
  try {
    for (const milliseconds of [7, 89, 123]) {
      const text = `2026-01-02 03:04:05.${`${milliseconds}`.padStart(3, "0")}`;
      Date.now = () => new Date(2026, 0, 2, 3, 4, 5, milliseconds).getTime();
      assertEquals([localTimestamp(), localTimestamp()], [text, text]);
    }
  } finally {
    Date.now = now;
  }
});
