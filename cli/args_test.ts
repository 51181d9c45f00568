import { assertEquals, assertThrows } from "@std/assert";
import { quote, rewriteArgs, truncate, UsageError } from "./args.ts";
import { anyText } from "./values.ts";

Deno.test("quote() truncates to 60 characters, and escapes everything except printable ASCII", () => {
  assertEquals(quote("a\u001b\u00e9"), String.raw`"a\u001b\u00e9"`);
  assertEquals(quote("x".repeat(60)), `"${"x".repeat(60)}"`);
  assertEquals(quote("x".repeat(61)), `"${"x".repeat(60)}..."`);
});

Deno.test("truncate() leaves backslashes and quotes as they were typed, unlike quote()", () => {
  assertEquals(quote(String.raw`"\r`), String.raw`"\"\\r"`);
  assertEquals(truncate(String.raw`"\r`), String.raw`"\r`);
  assertEquals(truncate(`a\u001b${"x".repeat(60)}`), String.raw`a\u001b${"x".repeat(58)}...`);
});

Deno.test("rewriteArgs() uses the attached value of an option whose value may be omitted, never a separate one", () => {
  const table = { web: { value: "LIST", omitted: "-", help: "", check: anyText }, quiet: { short: "q", help: "" } };
  for (
    const [args, rewritten, operands] of [
      [["--web"], ["--web=-"], []],
      [["--web", "80"], ["--web=-"], ["80"]],
      [["--web", "-q"], ["--web=-", "--quiet"], []],
      [["--web=80"], ["--web=80"], []],
      [["--web="], ["--web="], []],
      [["--web=a=b"], ["--web=a=b"], []],
    ] as const
  ) {
    const result = rewriteArgs(args, table);
    assertEquals([result.args, result.operands], [[...rewritten], [...operands]]);
  }
  assertThrows(() => rewriteArgs(["--web", "--web=80"], table), UsageError, "--web appears more than once");
});
