import { assertEquals } from "@std/assert";
import { formatOptions, quote } from "./args.ts";
import { anyText } from "./values.ts";

Deno.test("quote() truncates to 60 characters, and escapes everything except printable ASCII", () => {
  assertEquals(quote("a\u001b\u00e9"), String.raw`"a\u001b\u00e9"`);
  assertEquals(quote("x".repeat(60)), `"${"x".repeat(60)}"`);
  assertEquals(quote("x".repeat(61)), `"${"x".repeat(60)}..."`);
});

Deno.test("formatOptions() aligns the columns and wraps them at 80", () => {
  const table = {
    port: { short: "p", value: "PORT", help: "word ".repeat(20).trim(), check: anyText },
    "long-flag": { help: "does something" },
    full: { help: `${"x".repeat(30)} ${"y".repeat(30)}` },
    over: { help: `${"x".repeat(30)} ${"y".repeat(31)}` },
  };
  const indent = " ".repeat(19);
  assertEquals(formatOptions(table).split("\n"), [
    `  -p, --port PORT  ${"word ".repeat(12).trim()}`,
    `${indent}${"word ".repeat(8).trim()}`,
    `      --long-flag  does something`,
    `      --full       ${"x".repeat(30)} ${"y".repeat(30)}`,
    `      --over       ${"x".repeat(30)}`,
    `${indent}${"y".repeat(31)}`,
  ]);
});
