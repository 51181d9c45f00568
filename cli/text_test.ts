import { assertEquals } from "@std/assert";
import { localTimestamp, paint, quoteBytes } from "./text.ts";

Deno.test("quoteBytes() escapes quotes, backslashes, and all but printable ASCII", () => {
  const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i);
  const quoted = quoteBytes(everyByte);
  assertEquals(quoteBytes(new TextEncoder().encode(' !"#[\\]~')), String.raw`" !\"#[\\]~"`);
  assertEquals(quoteBytes(new TextEncoder().encode("\t\r\n\0\u007f")), String.raw`"\t\r\n\x00\x7f"`);
  assertEquals(quoteBytes(new Uint8Array([0x80, 0xff])), String.raw`"\x80\xff"`);
  assertEquals(/^[ -~]+$/.test(quoted), true);
});

Deno.test("paint() colors text only for a terminal", () => {
  const color = (text: string) => `<${text}>`;
  assertEquals(paint(color, { isTerminal: () => true }, "text"), "<text>");
  assertEquals(paint(color, { isTerminal: () => false }, "text"), "text");
});

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
