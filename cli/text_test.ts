import { assertEquals } from "@std/assert";
import { fc } from "../tests/deps.ts";
import { encodeText } from "./escapes.ts";
import { columnsOf, localTimestamp, paint, quoteBytes, wrap } from "./text.ts";
import { until } from "../tests/helpers/waiting.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

Deno.test("quoteBytes() escapes quotes, backslashes, braces that open, and everything except printable ASCII", () => {
  const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i);
  const quoted = quoteBytes(everyByte);
  assertEquals(quoteBytes(utf8(' !"#[\\]z{|}~')), String.raw`" !\x22#[\\]z\x7b|}~"`);
  assertEquals(quoteBytes(utf8("\t\r\n\0\u007f")), String.raw`"\t\r\n\x00\x7f"`);
  assertEquals(quoteBytes(new Uint8Array([0x80, 0xff])), String.raw`"\x80\xff"`);
  assertEquals(/^[ -~]+$/.test(quoted), true);
});

Deno.test("quoteBytes() gives TEXT between the quotes, from which encodeText() restores the bytes", () => {
  const values = { port: "80", client: "x", host: "lab" };
  const restored = (bytes: Uint8Array) => encodeText(quoteBytes(bytes).slice(1, -1), values);
  // Bytes that have a meaning in TEXT would hardly ever follow each other by chance.
  const part = fc.oneof(
    fc.uint8Array({ maxLength: 20 }),
    fc.constantFrom("{port}", "{client}", "{host}", "{", "}", "\\", '"', "x41", "n", "\r\n", "ü").map((text) =>
      utf8(text)
    ),
  );
  fc.assert(fc.property(fc.array(part), (parts) => {
    const bytes = Uint8Array.from(parts.flatMap((part) => [...part]));
    assertEquals(restored(bytes), bytes);
  }));
  const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i);
  assertEquals(restored(everyByte), everyByte);
});

Deno.test("paint() colors text only for a terminal", () => {
  const color = (text: string) => `<${text}>`;
  assertEquals(paint(color, { isTerminal: () => true }, "text"), "<text>");
  assertEquals(paint(color, { isTerminal: () => false }, "text"), "text");
});

Deno.test("localTimestamp() shows the current local time to the millisecond, and its offset from UTC", async () => {
  const expected = (time: number) => {
    const date = new Date(time);
    const padded = (number: number, digits = 2) => `${number}`.padStart(digits, "0");
    const day = [date.getFullYear(), padded(date.getMonth() + 1), padded(date.getDate())].join("-");
    const seconds = [date.getHours(), date.getMinutes(), date.getSeconds()].map((number) => padded(number)).join(":");
    return `${day}T${seconds}.${padded(date.getMilliseconds(), 3)}`;
  };
  // How many digits the milliseconds had.
  const seen = new Set<number>();
  await until(() => {
    // Takes several milliseconds, so that some of these times follow each other directly.
    for (let i = 0; i < 1000; i++) {
      const time = Date.now();
      const texts = [localTimestamp(), localTimestamp()];
      // Otherwise, the texts may be of either millisecond.
      if (Date.now() !== time) continue;
      for (const text of texts) {
        assertEquals(text.replace(/[+-]\d\d:\d\d$/, ""), expected(time));
        assertEquals(Date.parse(text), time);
      }
      seen.add(`${time % 1000}`.length);
    }
    return seen.size === 3;
  });
});

Deno.test("wrap() breaks lines between words, and words that are longer than a line", () => {
  assertEquals(wrap("a bc  def", 9), ["a bc  def"]);
  assertEquals(wrap("one two three", 7), ["one two", "three"]);
  assertEquals(wrap("one two three", 6), ["one", "two", "three"]);
  assertEquals(wrap("to 2001:db8::7 now", 6), ["to", "2001:d", "b8::7", "now"]);
});

Deno.test("columnsOf() is Infinity for what is not a terminal", () => {
  assertEquals(columnsOf({ isTerminal: () => false }), Infinity);
});
