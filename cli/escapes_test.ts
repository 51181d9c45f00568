import { assertEquals, assertThrows } from "@std/assert";
import { encodeText, InvalidEscape, splitEnd } from "./escapes.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

Deno.test("encodeText() encodes text without escapes as UTF-8", () => {
  for (const text of ["", "220 ready", "für {port} 😀\r\n", "x{}\"'/x41", "😀".repeat(1000)]) {
    assertEquals(encodeText(text), utf8(text));
  }
});

Deno.test("encodeText() decodes each escape, with other text around it encoded as UTF-8", () => {
  for (
    const [text, ...expected] of [
      [String.raw`\r\n\t\\`, 0x0d, 0x0a, 0x09, 0x5c],
      [String.raw`\x00\x7f\x80\xff`, 0x00, 0x7f, 0x80, 0xff],
      [String.raw`\xaF\xFa`, 0xaf, 0xfa],
      [String.raw`ü\xfcü😀\n😀`, ...utf8("ü"), 0xfc, ...utf8("ü😀\n😀")],
      [String.raw`\\n\\\n`, ...utf8("\\n\\\n")],
      [String.raw`\\x41\x5cn`, ...utf8("\\x41\\n")],
      [String.raw`\x410`, ...utf8("A0")],
      [String.raw`a` + "\n\\n", ...utf8("a\n\n")],
      [String.raw`\n${"€".repeat(1000)}`, ...utf8(`\n${"€".repeat(1000)}`)],
    ] as [string, ...number[]][]
  ) {
    assertEquals([...encodeText(text)], expected, text);
  }
});

Deno.test("encodeText() replaces the placeholders that have a value, and no others", () => {
  const values = { port: "80", client: "[::1]:5" };
  for (
    const [text, expected] of [
      ["{port}{port} {client}", "8080 [::1]:5"],
      ["{Port} {po rt} {} {unknown} {toString} {port", "{Port} {po rt} {} {unknown} {toString} {port"],
      ["{{port}}", "{80}"],
      [String.raw`\\{port}\n{client}\t`, "\\80\n[::1]:5\t"],
    ] as const
  ) {
    assertEquals(encodeText(text, values), utf8(expected), text);
  }
  assertEquals(encodeText("{port}"), utf8("{port}"));
  assertEquals(encodeText("{port}", { port: "$&" }), utf8("$&"));
  assertEquals(encodeText("<{port}>", { port: "" }), utf8("<>"));
});

Deno.test("encodeText() decodes escapes after placeholders are replaced, so that an escape makes no placeholder", () => {
  for (const text of [String.raw`\x7bport}`, String.raw`{port\x7d`, String.raw`{po\x72t}`]) {
    assertEquals(encodeText(text, { port: "80" }), utf8("{port}"), text);
  }
});

Deno.test("encodeText() inserts values as they are, with their backslashes and braces", () => {
  const values = { host: String.raw`\x41\q{port}\c`, port: "80" };
  assertEquals(encodeText("{host}", values), utf8(values.host));
  assertEquals(encodeText(String.raw`\\{host}\n{port}`, values), utf8(`\\${values.host}\n80`));
});

Deno.test("splitEnd() removes a \\c at the end, but no c after an escaped backslash", () => {
  for (
    const [text, rest] of [
      [String.raw`\c`, ""],
      [String.raw`x\c`, "x"],
      [String.raw`x\n\c`, String.raw`x\n`],
      [String.raw`\\\c`, String.raw`\\`],
      [String.raw`x\\\\\c`, String.raw`x\\\\`],
      [String.raw`\c\c`, String.raw`\c`],
      ["x\n" + String.raw`\c`, "x\n"],
    ] as const
  ) assertEquals(splitEnd(text), { text: rest, isExact: true }, text);
  const others = [
    "",
    "c",
    "x",
    String.raw`\\c`,
    String.raw`x\\\\c`,
    String.raw`\c `,
    String.raw`\cx`,
    "\\c\n",
    String.raw`\C`,
  ];
  for (const text of others) assertEquals(splitEnd(text), { text, isExact: false }, text);
});

Deno.test("encodeText() throws an InvalidEscape with the escape as typed", () => {
  for (
    const [text, escape] of [
      [String.raw`a\qb`, String.raw`\q`],
      [String.raw`\"`, String.raw`\"`],
      [String.raw`\N`, String.raw`\N`],
      [String.raw`\0`, String.raw`\0`],
      [String.raw`\X41`, String.raw`\X`],
      [String.raw`\{port}`, String.raw`\{`],
      [String.raw`\n\x4`, String.raw`\x4`],
      [String.raw`\x4g`, String.raw`\x4`],
      [String.raw`\xg4`, String.raw`\x`],
      [String.raw`\x`, String.raw`\x`],
      [String.raw`\x\n`, String.raw`\x`],
      [String.raw`\u0041`, String.raw`\u`],
      [String.raw`x\c`, String.raw`\c`],
      ["a\\", "\\"],
      ["\\\\\\", "\\"],
      ["\\\n", "\\\n"],
      ["\\😀", "\\😀"],
    ] as const
  ) {
    assertEquals(assertThrows(() => encodeText(text), InvalidEscape).escape, escape, text);
  }
});
