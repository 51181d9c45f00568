/**
 * The options in the help of all commands.
 *
 * @module
 */
import type { Flag, OptionTable, Valued } from "./args.ts";
import { wrap } from "./text.ts";

/** The maximum width of the help, in columns. */
const HELP_WIDTH = 80;

/**
 * Formats the options for the help: names on the left, descriptions on the right, wrapped to {@linkcode HELP_WIDTH}.
 */
export function formatOptions(table: OptionTable): string {
  const rows = Object.entries(table).map(([name, option]) => ({
    left: `  ${option.short ? `-${option.short},` : "   "} --${name}${metavar(option)}`,
    help: option.value === undefined || option.default === undefined
      ? option.help
      : `${option.help} (default: ${option.default})`,
  }));
  const indent = Math.max(...rows.map(({ left }) => left.length)) + 2;
  const gap = `\n${" ".repeat(indent)}`;
  return rows.map(({ left, help }) => left.padEnd(indent) + wrap(help, HELP_WIDTH - indent).join(gap)).join("\n");
}

/** Returns the value of an option, for the help: with a space before it, or in brackets if it may be omitted. */
function metavar(option: Flag | Valued<unknown>): string {
  if (option.value === undefined) return "";
  return option.omitted === undefined ? ` ${option.value}` : `[=${option.value}]`;
}
