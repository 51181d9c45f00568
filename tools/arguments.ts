/**
 * The arguments of the tools, which are run by `deno task`.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { type OptionTable, parseOptions, quote, rewriteArgs, UsageError } from "../cli/args.ts";
import { formatOptions } from "../cli/help.ts";
import { type Values, valuesOf } from "../cli/values.ts";

/**
 * Parses the arguments of a tool. The first one may be `--`: `deno task bench -- --quick` passes it to the tool.
 *
 * @throws {UsageError} If an argument is not in the table.
 */
export function parseToolArgs(args: readonly string[], table: OptionTable): Values {
  const rewritten = rewriteArgs(args[0] === "--" ? args.slice(1) : args, table);
  const unknown = rewritten.unknown?.text ?? rewritten.operands.map(quote)[0];
  if (unknown !== undefined) throw new UsageError(`unknown argument ${unknown}`);
  return valuesOf(table, parseArgs(rewritten.args, parseOptions(table)), rewritten);
}

/** Parses the arguments of this process. If they are invalid, prints why and the options, and exits 2. */
export function toolOptions(table: OptionTable): Values {
  try {
    return parseToolArgs(Deno.args, table);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\nOptions:\n${formatOptions(table) || "  none"}`);
    Deno.exit(2);
  }
}
