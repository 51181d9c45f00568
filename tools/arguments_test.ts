import { assertEquals, assertThrows } from "@std/assert";
import { type OptionTable, UsageError } from "../cli/args.ts";
import { anyText } from "../cli/values.ts";
import { DOWNLOAD_ENV, run } from "../tests/helpers/processes.ts";
import { parseToolArgs } from "./arguments.ts";

const ROOT = `${import.meta.dirname}/..`;
const TABLE = {
  quick: { help: "" },
  against: { value: "DIRECTORY", repeatable: true, help: "", check: anyText },
} as const satisfies OptionTable;

Deno.test("parseToolArgs() accepts -- before the options, as in deno task bench -- --quick", () => {
  for (const separator of [[], ["--"]]) {
    const { flag, all } = parseToolArgs([...separator, "--quick", "--against", "a", "--against=b"], TABLE);
    assertEquals([flag(TABLE.quick), all(TABLE.against)], [true, ["a", "b"]]);
    assertEquals(parseToolArgs(separator, TABLE).flag(TABLE.quick), false);
  }
});

Deno.test("parseToolArgs() rejects arguments that are not in the table", () => {
  for (
    const [args, unknown] of [
      [["--quik"], "--quik"],
      [["--", "--quik"], "--quik"],
      [["--quick", "--bogus=1", "--more"], "--bogus=1"],
      [["quick"], "quick"],
      [["--", "--", "--quick"], "--quick"],
      [["--quick", "--", "--against"], "--against"],
    ] as const
  ) assertThrows(() => parseToolArgs(args, TABLE), UsageError, `unknown argument "${unknown}"`);
  assertThrows(() => parseToolArgs(["--quick=1"], TABLE), UsageError, "--quick does not accept a value");
});

Deno.test("each tool exits 2 on an unknown argument, before it does anything", async () => {
  const lock = "--lock=tests/deno.lock";
  const bench = ["bench/bench.ts", "--config", "bench/deno.json"];
  const tools = [bench, ["tools/compile.ts", lock]];
  for (const [tool = "", ...options] of tools) {
    for (const args of [["--bogus"], ["--", "--bogus"]]) {
      // Without permission to write or to run programs, so that nothing is lost if the tool continues.
      const command = [
        Deno.execPath(),
        "run",
        "--no-prompt",
        "--allow-env",
        "--allow-read",
        ...options,
        tool,
        ...args,
      ];
      const { code, stdout, stderr } = await run(command, { cwd: ROOT, env: DOWNLOAD_ENV });
      const [message] = stderr.split("\n").filter((line) => !line.startsWith("Download"));
      assertEquals([code, stdout, message], [2, "", 'unknown argument "--bogus"'], tool);
    }
  }
});
