/**
 * What is the same for every table of options: one rule for how options are written, and the help text.
 *
 * @module
 */

/** An option. One without a `value`, which is the name shown for it in the help, is a flag. */
export interface Option {
  /** The letter of the short form. */
  readonly short?: string;
  /** The name of the value in the help. */
  readonly value?: string;
  /** Whether it may be given more than once. */
  readonly repeatable?: boolean;
  /** What it does, for the help. */
  readonly help: string;
}

/** The options of a command by their long names, in the order in which the help lists them. */
export type OptionTable = Readonly<Record<string, Option>>;

/** What `parseArgs` returns for a table: a list of values for each option, and a boolean for each flag. */
export type Parsed<T extends OptionTable> = {
  readonly [Name in keyof T]: T[Name] extends { readonly value: string } ? string[] : boolean;
};

/** The command line is invalid. The message says why and what to write instead. */
export class UsageError extends Error {
  /** Always `"UsageError"`. */
  override readonly name = "UsageError";
}

/** What {@linkcode rewriteArgs} returns. */
export interface Rewritten {
  /** The arguments in the only form that is left: `--name=value` and `--flag`. */
  args: string[];
  /** Each option as it was typed (`-p` or `--port`), by name, in order: for error messages. */
  typed: Record<string, string[]>;
  /** The first argument that is not in the table. It is no error if help is asked for. */
  unknown: UsageError | undefined;
}

/**
 * Rewrites arguments from a table before `parseArgs` reads them. Left to itself, `parseArgs` abbreviates, takes `--json
 * lab` for a value, loses `-p1-`, and reads `-p21=hi` as port `hi`.
 *
 * `-pVALUE`, `-p VALUE`, `--port VALUE` and `--port=VALUE` are the same. Short flags may be grouped, and the last one in
 * a group may have a value. A separate value does not begin with a hyphen.
 *
 * @throws {UsageError} If an option lacks its value, has one that it does not take, or is repeated but not repeatable.
 *
 * @example
 * ```ts
 * import { rewriteArgs } from "./args.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const table = { port: { short: "p", value: "PORT", help: "" }, quiet: { short: "q", help: "" } };
 * assertEquals(rewriteArgs(["-qp", "80"], table).args, ["--quiet", "--port=80"]);
 * ```
 */
export function rewriteArgs(args: readonly string[], table: OptionTable): Rewritten {
  const result: Rewritten = { args: [], typed: {}, unknown: undefined };
  const byShort = new Map(Object.entries(table).map(([name, { short }]) => [short, name]));
  const rest = [...args];

  const reject = (message: string) => result.unknown ??= new UsageError(`${message}; see greeter --help`);

  /** Adds an option. Without a value attached to it, the value is the next argument. */
  function add(name: string, as: string, attached: string | undefined) {
    const { value, repeatable } = table[name] ?? {};
    const typed = result.typed[name] ??= [];
    typed.push(as);
    if (typed.length > 1 && !repeatable) throw new UsageError(`option ${as} is given twice: specify it only once`);
    if (value === undefined) {
      result.args.push(`--${name}`);
      return;
    }
    const text = attached ?? rest.shift();
    if (text === undefined) throw new UsageError(`option ${as} has no value: write --${name}=${value}`);
    if (attached === undefined && text.startsWith("-")) {
      throw new UsageError(
        `option ${as} has no value: ${quote(text)} begins with a hyphen; to use it as a value, write --${name}=${
          truncate(text)
        }`,
      );
    }
    result.args.push(`--${name}=${text}`);
  }

  function addLong(arg: string) {
    const [, name = "", value] = arg.match(/^--([^=]*)(?:=(.*))?$/s) ?? [];
    if (!Object.hasOwn(table, name)) reject(`unknown option ${quote(arg)}`);
    else if (value !== undefined && table[name]?.value === undefined) {
      throw new UsageError(`invalid option ${quote(arg)}: --${name} takes no value; write --${name}`);
    } else add(name, `--${name}`, value);
  }

  function addShort(arg: string) {
    for (let i = 1; i < arg.length; i++) {
      const short = arg.charAt(i);
      const name = byShort.get(short);
      if (name === undefined) {
        return reject(`unknown option ${quote(`-${short}`)}${arg.length > 2 ? ` in ${quote(arg)}` : ""}`);
      }
      if (table[name]?.value === undefined) {
        add(name, `-${short}`, undefined);
        continue;
      }
      const attached = arg.slice(i + 1);
      if (attached.startsWith("=")) {
        const text = truncate(attached.slice(1));
        throw new UsageError(`invalid option ${quote(arg)}: write -${short} ${text} or --${name}=${text}`);
      }
      return add(name, `-${short}`, attached === "" ? undefined : attached);
    }
  }

  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === "--") {
      for (const operand of rest.splice(0)) reject(`unexpected argument ${quote(operand)}`);
    } else if (arg.startsWith("--")) addLong(arg);
    else if (arg.startsWith("-") && arg !== "-") addShort(arg);
    else reject(`unexpected argument ${quote(arg)}`);
  }
  return result;
}

/** The options of `parseArgs` that fit what {@linkcode rewriteArgs} returns. */
export function parseOptions(table: OptionTable): { string: string[]; collect: string[]; boolean: string[] } {
  const names = Object.keys(table);
  const valued = names.filter((name) => table[name]?.value !== undefined);
  return { string: valued, collect: valued, boolean: names.filter((name) => !valued.includes(name)) };
}

/** How wide the help may be, in columns. */
const HELP_WIDTH = 80;

/** The options, one each in two columns, wrapped to 80 columns. */
export function formatOptions(table: OptionTable): string {
  const rows = Object.entries(table).map(([name, { short, value, help }]) => ({
    left: `  ${short ? `-${short},` : "   "} --${name}${value ? ` ${value}` : ""}`,
    help,
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

/** How much of an argument a message shows, in characters. */
const MAX_SHOWN_LENGTH = 60;

/** Text from the command line for a message: without quotes, of limited length, printable ASCII. */
function truncate(text: string): string {
  return quote(text).slice(1, -1);
}

/** An argument for a message: in quotes, of limited length, and printable ASCII, whatever it contains. */
export function quote(text: string): string {
  const shown = text.length > MAX_SHOWN_LENGTH ? `${text.slice(0, MAX_SHOWN_LENGTH)}...` : text;
  return JSON.stringify(shown).replace(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
