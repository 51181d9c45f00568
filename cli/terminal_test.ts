import { assertEquals } from "@std/assert";
import { paint, quoteBytes } from "./terminal.ts";

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
