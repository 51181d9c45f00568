import { assertEquals } from "@std/assert";
import { formatOptions } from "./help.ts";
import { anyText } from "./values.ts";

Deno.test("formatOptions() aligns the columns and wraps them at 80", () => {
  const table = {
    port: { short: "p", value: "PORT", help: "word ".repeat(20).trim(), check: anyText },
    "long-flag": { help: "does something" },
    w: { value: "LIST", omitted: "-", help: "value in brackets", check: anyText },
    full: { help: `${"x".repeat(30)} ${"y".repeat(30)}` },
    over: { help: `${"x".repeat(30)} ${"y".repeat(31)}` },
  };
  const indent = " ".repeat(19);
  assertEquals(formatOptions(table).split("\n"), [
    `  -p, --port PORT  ${"word ".repeat(12).trim()}`,
    `${indent}${"word ".repeat(8).trim()}`,
    `      --long-flag  does something`,
    `      --w[=LIST]   value in brackets`,
    `      --full       ${"x".repeat(30)} ${"y".repeat(30)}`,
    `      --over       ${"x".repeat(30)}`,
    `${indent}${"y".repeat(31)}`,
  ]);
});
