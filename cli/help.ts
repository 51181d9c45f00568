/**
 * The options in the help of all commands.
 *
 * @module
 */
import type { Flag, OptionTable, Valued } from "./args.ts";

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
  return rows.map(({ left, help }) => {
    const lines = [""];
    for (const word of help.split(" ")) {
      const line = lines.at(-1) ?? "";
      if (line !== "" && indent + line.length + 1 + word.length > HELP_WIDTH) lines.push(word);
      else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
    }
    return left.padEnd(indent) + lines.join(`\n${" ".repeat(indent)}`);
  }).join("\n");
}

/** Returns the value of an option, for the help: with a space before it, or in brackets if it may be omitted. */
function metavar(option: Flag | Valued<unknown>): string {
  if (option.value === undefined) return "";
  return option.omitted === undefined ? ` ${option.value}` : `[=${option.value}]`;
}
