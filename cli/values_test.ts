import { assertEquals, assertThrows } from "@std/assert";
import { type OptionTable, rewriteArgs, UsageError } from "./args.ts";
import { anyText, checkEscapes, integer, valuesOf } from "./values.ts";

const TABLE = {
  count: { short: "n", value: "N", help: "", check: integer(1, 9) },
  name: { value: "NAME", repeatable: true, help: "", check: anyText },
  quiet: { short: "q", help: "" },
} as const satisfies OptionTable;

Deno.test("valuesOf() gives each option the type of its check", () => {
  const parsed = { count: ["5"], name: ["a", "b"], quiet: true };
  const { one, all, flag, given } = valuesOf(TABLE, parsed, rewriteArgs(["-n5", "--name=a", "--name=b", "-q"], TABLE));
  const count: number | undefined = one(TABLE.count);
  const names: string[] = all(TABLE.name);
  assertEquals([count, names, flag(TABLE.quiet)], [5, ["a", "b"], true]);
  assertEquals(given(TABLE.count), [{ option: "-n", text: "5" }]);
  // @ts-expect-error: an option that can be repeated has several values
  one(TABLE.name);
  // @ts-expect-error: an option with a value is not a flag
  flag(TABLE.count);
});

Deno.test("valuesOf() returns undefined, an empty list or false for options that are not given", () => {
  const { one, all, flag } = valuesOf(TABLE, { count: [], name: [], quiet: false }, rewriteArgs([], TABLE));
  assertEquals([one(TABLE.count), all(TABLE.name), flag(TABLE.quiet)], [undefined, [], false]);
});

Deno.test("valuesOf() throws a UsageError that names the option as typed if its check fails", () => {
  const { one } = valuesOf(TABLE, { count: ["x"] }, rewriteArgs(["--count", "x"], TABLE));
  assertThrows(
    () => one(TABLE.count),
    UsageError,
    'invalid value "x" for --count: expected a whole number from 1 to 9',
  );
});

Deno.test("checkEscapes() returns valid text as it was given", () => {
  for (const text of ["", "für {port}", String.raw`\r\n\t\\\x00\xfF\x7bport}`]) {
    assertEquals(checkEscapes({ option: "-g", text }), text);
  }
});

Deno.test("checkEscapes() throws a UsageError that shows the escape as typed, and says what to write", () => {
  for (
    const [text, start] of [
      [String.raw`a\q`, String.raw`invalid escape \q in the value of -g: `],
      [String.raw`\"`, String.raw`invalid escape \" in the value of -g: `],
      [String.raw`\x4{port}`, String.raw`invalid escape \x4 in the value of -g: `],
      ["\\\\\\", "invalid escape \\ at the end of the value of -g: "],
      ["\\\u001b[2J", String.raw`invalid escape \\u001b in the value of -g: `],
    ] as const
  ) {
    const { message } = assertThrows(() => checkEscapes({ option: "-g", text }), UsageError);
    assertEquals(message, start + String.raw`write \\ for a backslash, or one of \r \n \t \xHH`);
  }
});
