/**
 * The syntax of the command line, which all commands share: how options are described and written.
 *
 * @module
 */
import { nearestOption } from "./suggestions.ts";

/** A value and its option, for messages. */
export interface Given {
  /** The option as typed: `-p` or `--port`. */
  option: string;
  /** The value. */
  text: string;
}

/** An option without a value. */
export interface Flag {
  /** The letter of the short form, without the hyphen. */
  readonly short?: string;
  /** A flag has no value. */
  readonly value?: undefined;
  /** What it does, for the help. */
  readonly help: string;
}

/** Converts a value, or throws a {@linkcode UsageError} if it is invalid. */
export interface ValueCheck<V> {
  (given: Given): V;
  /** The least and the greatest value, if it is a number. */
  readonly range?: readonly [min: number, max: number];
}

/** An option with a value of type `V`. */
export interface Valued<V> {
  /** The letter of the short form, without the hyphen. */
  readonly short?: string;
  /** The name of the value in the help. */
  readonly value: string;
  /** An example of the value, for the message that it is missing. Default: the name of the value. */
  readonly example?: string;
  /**
   * The value that `--name` stands for, if the value may be omitted. The value must then be attached: `--name=VALUE`. Such
   * an option cannot have a short form.
   */
  readonly omitted?: string;
  /** Whether it may be given more than once. */
  readonly repeatable?: boolean;
  /** What it does, for the help. */
  readonly help: string;
  /** The default in the unit of the value, for the help and the table of limits. */
  readonly default?: number | string;
  /** What the number limits, for the table of limits. */
  readonly limit?: string;
  /** Checks and converts the value. */
  readonly check: ValueCheck<V>;
}

/** The options of a command by their long names, in the order in which the help lists them. */
export type OptionTable = Readonly<Record<string, Flag | Valued<unknown>>>;

/** Thrown if the command line is invalid. The message states why, and what to write instead. */
export class UsageError extends Error {
  /** Always `"UsageError"`. */
  override readonly name = "UsageError";
}

/** What {@linkcode rewriteArgs} returns. */
export interface Rewritten {
  /** The options in a uniform form, `--name=value` or `--flag`, for `parseArgs`. */
  args: string[];
  /** The arguments that are not options. */
  operands: string[];
  /** Each option as it was typed (`-p` or `--port`), by name, in order: for error messages. */
  typed: Record<string, string[]>;
  /** The first option that is not in the table. `--help` and `--version` take precedence over it. */
  unknown: UnknownOption | undefined;
}

/** An option that is not in the table. */
export interface UnknownOption {
  /** The option without hyphens and value. */
  name: string;
  /** The option for a message: quoted, and followed by the nearest option of the table if there is one. */
  text: string;
}

/**
 * Rewrites arguments according to a table, before `parseArgs` parses them. On its own, `parseArgs` parses `--json lab`
 * as an option with a value, drops `-p1-`, and parses `-p21=hi` as port `hi`.
 *
 * `-pVALUE`, `-p VALUE`, `--port VALUE` and `--port=VALUE` are the same. Short flags may be grouped, and the last one
 * in a group may have a value. A separate value may not begin with a hyphen, unless it is only a hyphen, as in `-p -`.
 *
 * @throws {UsageError} If an option lacks its value, has one that it does not accept, or is repeated but not
 * repeatable.
 */
export function rewriteArgs(args: readonly string[], table: OptionTable): Rewritten {
  const result: Rewritten = { args: [], operands: [], typed: {}, unknown: undefined };
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === "--") {
      result.operands.push(...rest.splice(0));
      break;
    }
    if (!arg.startsWith("-") || arg === "-") {
      result.operands.push(arg);
      continue;
    }
    for (const { option, name, attached } of arg.startsWith("--") ? [findLong(arg, table)] : findShort(arg, table)) {
      if (name === undefined) {
        result.unknown ??= unknownOption(option, arg, table);
        continue;
      }
      const typed = result.typed[name] ??= [];
      typed.push(option);
      const definition = table[name];
      if (typed.length > 1 && !(definition?.value && definition.repeatable)) {
        throw new UsageError(`${option} appears more than once; write it only once`);
      }
      if (definition?.value === undefined) {
        result.args.push(`--${name}`);
      } else {
        const value = attached ?? definition.omitted ?? separateValue(option, name, rest.shift(), definition, table);
        result.args.push(`--${name}=${value}`);
      }
    }
  }
  return result;
}

/** An option in an argument: as typed, its name unless it is unknown, and its value if the argument contains it. */
interface ParsedOption {
  option: string;
  name?: string;
  attached?: string;
}

/** Returns the name in `-name`, `--name` and `--name=value`. */
function longName(arg: string): string {
  return arg.replace(/^--?/, "").replace(/=.*/s, "");
}

/** Describes an option that is not in the table, with the option that was probably meant. */
function unknownOption(option: string, arg: string, table: OptionTable): UnknownOption {
  const text = quote(option) + (option === arg ? "" : ` in ${quote(arg)}`);
  const meant = nearestOption(longName(option), table);
  return { name: longName(option), text: meant === undefined ? text : `${text} (did you mean ${meant}?)` };
}

/** Finds the option in `--name` or `--name=value`. */
function findLong(arg: string, table: OptionTable): ParsedOption {
  const [, name = "", attached] = arg.match(/^--([^=]*)(?:=(.*))?$/s) ?? [];
  if (!Object.hasOwn(table, name)) return { option: arg };
  if (attached !== undefined && table[name]?.value === undefined) {
    throw new UsageError(`invalid option ${quote(arg)}: --${name} does not accept a value; write --${name}`);
  }
  return { option: `--${name}`, name, attached };
}

/** Finds the options in an argument such as `-qp80`: flags, and optionally an option with a value at the end. */
function findShort(arg: string, table: OptionTable): ParsedOption[] {
  // In -port, a hyphen is missing: without this, it would be -p with the value "ort".
  const isLong = Object.hasOwn(table, longName(arg)) && longName(arg).length > 1;
  const found: ParsedOption[] = isLong ? [{ option: arg }] : [];
  for (let i = 1; i < arg.length; i++) {
    const option = `-${arg.charAt(i)}`;
    const name = Object.keys(table).find((name) => table[name]?.short === arg.charAt(i));
    // If one letter is unknown, the others have no effect. Otherwise, -h5 would print the help.
    if (name === undefined) return isLong ? found : [{ option }];
    const attached = arg.slice(i + 1);
    if (table[name]?.value === undefined) {
      if (attached.startsWith("=")) {
        throw new UsageError(`invalid option ${quote(arg)}: ${option} does not accept a value; write ${option}`);
      }
      found.push({ option, name });
      continue;
    }
    if (attached.startsWith("=")) {
      const text = truncate(attached.slice(1));
      throw new UsageError(`invalid option ${quote(arg)}: write ${option} ${text} or --${name}=${text}`);
    }
    return [...found, { option, name, attached: attached === "" ? undefined : attached }];
  }
  return found;
}

/** Checks a value that is a separate argument, and returns it. */
function separateValue(
  option: string,
  name: string,
  value: string | undefined,
  { check, value: metavar, example = metavar }: Valued<unknown>,
  table: OptionTable,
): string {
  const message = `${option} requires a value, such as ${option} ${example}`;
  if (value === undefined) throw new UsageError(message);
  if (!value.startsWith("-") || value === "-") return value;
  try {
    check({ option, text: value });
  } catch (error) {
    // The value would also be invalid if it were attached: it is the next option, or just wrong.
    throw isOption(value, table) ? new UsageError(`${message}, not ${quote(value)}`) : error;
  }
  throw new UsageError(
    `${message}; to use ${quote(value)}, which begins with a hyphen, write --${name}=${truncate(value)}`,
  );
}

/** Whether an argument is `--`, or begins with an option of the table. */
function isOption(arg: string, table: OptionTable): boolean {
  if (arg.startsWith("--")) return arg === "--" || Object.hasOwn(table, longName(arg));
  return Object.values(table).some(({ short }) => short === arg.charAt(1));
}

/** Returns the options with which `parseArgs` parses what {@linkcode rewriteArgs} returns. */
export function parseOptions(table: OptionTable): { string: string[]; collect: string[]; boolean: string[] } {
  const names = Object.keys(table);
  const valued = names.filter((name) => table[name]?.value !== undefined);
  return { string: valued, collect: valued, boolean: names.filter((name) => !valued.includes(name)) };
}

/** The maximum length of an argument in a message, in characters. */
const MAX_SHOWN_LENGTH = 60;

/** Truncates what a message advises to write. Unlike {@linkcode quote}, leaves backslashes as they were typed. */
export function truncate(text: string): string {
  return printable(shorten(text));
}

/** Quotes an argument for a message. Truncates it, and escapes everything except printable ASCII. */
export function quote(text: string): string {
  return printable(JSON.stringify(shorten(text)));
}

function shorten(text: string): string {
  return text.length > MAX_SHOWN_LENGTH ? `${text.slice(0, MAX_SHOWN_LENGTH)}...` : text;
}

/** Escapes all but printable ASCII. Unlike {@linkcode quote}, leaves backslashes as they were typed. */
export function printable(text: string): string {
  return text.replace(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
