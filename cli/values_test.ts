import { assertEquals, assertThrows } from "@std/assert";
import { type OptionTable, rewriteArgs, UsageError } from "./args.ts";
import { anyText, integer, valuesOf } from "./values.ts";

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
