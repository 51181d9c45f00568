/**
 * The values of options: adds types to what `parseArgs` returns, and checks values of common kinds.
 *
 * @module
 */
import {
  type Flag,
  type Given,
  type OptionTable,
  printable,
  quote,
  type Rewritten,
  truncate,
  UsageError,
  type ValueCheck,
  type Valued,
} from "./args.ts";
import { addressAdvice } from "../shared/addresses.ts";
import { encodeText, InvalidEscape } from "./escapes.ts";
import { parsePorts } from "../shared/ports.ts";
import { suggestPorts, suggestSeconds } from "./suggestions.ts";

/** The values of the options that were given. Their types follow from the checks in the option table. */
export interface Values {
  /** Whether a flag is set. */
  flag(option: Flag): boolean;
  /** The checked value of an option that cannot be repeated, or `undefined` if it was not given. */
  one<V>(option: Valued<V> & { readonly repeatable?: false }): V | undefined;
  /** The checked values of an option that can be repeated, in their order. */
  all<V>(option: Valued<V> & { readonly repeatable: true }): V[];
  /** The values of an option before they are checked, or one with an empty value for a flag. */
  given(option: Flag | Valued<unknown>): Given[];
}

/** Assigns what `parseArgs` returns to the options of a table. */
export function valuesOf(table: OptionTable, parsed: Record<string, unknown>, { typed }: Rewritten): Values {
  const givenOf = new Map<Flag | Valued<unknown>, Given[]>();
  for (const [name, option] of Object.entries(table)) {
    const value = parsed[name];
    const texts = Array.isArray(value) ? value : value === true ? [""] : [];
    givenOf.set(option, texts.map((text, i) => ({ option: typed[name]?.[i] ?? `--${name}`, text: `${text}` })));
  }
  const given = (option: Flag | Valued<unknown>) => givenOf.get(option) ?? [];
  return {
    flag: (option) => given(option).length > 0,
    one: (option) => given(option).map(option.check)[0],
    all: (option) => given(option).map(option.check),
    given,
  };
}

/** Accepts any text. */
export function anyText({ text }: Given): string {
  return text;
}

/** Accepts a name or an address, but no numeric address that people and the system read differently. */
export function hostname(given: Given): string {
  if (given.text.startsWith("-")) throw invalidValue(given, "a name or an address");
  const advice = addressAdvice(given.text);
  if (advice !== undefined) throw valueError(given, advice);
  // Unlike a LIST of ports. No name contains a comma.
  if (given.text.includes(",")) throw valueError(given, `write ${given.option} before each address`);
  return given.text;
}

/** Accepts TEXT, whose backslashes must begin escapes. Returns it as it was given. */
export function checkEscapes({ option, text }: Given): string {
  try {
    encodeText(text);
    return text;
  } catch (error) {
    if (!(error instanceof InvalidEscape)) throw error;
    // The value is not quoted here: quote() doubles backslashes, so that the value would look like what to write.
    const where = error.escape === "\\" ? "at the end of" : "in";
    const escapes = error.escape === "\\c"
      ? "it can only end the TEXT of the server, which then appends nothing; remove it, or write \\\\ for a backslash"
      : "write \\\\ for a backslash, or one of \\r \\n \\t \\xHH";
    throw new UsageError(`invalid escape ${printable(error.escape)} ${where} the value of ${option}: ${escapes}`);
  }
}

/** Returns the error for an invalid value: `invalid value "x" for -p: expected ...`. */
export function invalidValue(given: Given, expected: string): UsageError {
  return valueError(given, `expected ${expected}`);
}

/** Returns the error for an invalid value: `invalid value "x" for -p: ...`. */
export function valueError({ option, text }: Given, advice: string): UsageError {
  return new UsageError(`invalid value ${quote(text)} for ${option}: ${advice}`);
}

/** Advises the user to write a better value. Returns an empty string if there is none. */
function writeInstead(suggestion: string | undefined, text: string): string {
  if (suggestion === undefined) return "";
  // Without quotes, spaces at the ends could not be seen.
  const quotes = /^\s|\s$/.test(text) ? '"' : "";
  return `; write ${quotes}${truncate(suggestion)}${quotes} instead of ${quotes}${truncate(text)}${quotes}`;
}

/** Parses a port list whose lowest valid port is `min`. `text` is the TEXT after it, if there is one. */
export function portList(given: Given, list: string, min: 0 | 1, text?: string): number[] {
  const ports = parsePorts(list);
  if (ports && (min === 0 || !ports.includes(0))) return ports;
  const suggestion = ports ? undefined : suggestPorts(list);
  const isSuggested = suggestion !== undefined && (min === 0 || !parsePorts(suggestion)?.includes(0));
  const expected = `ports from 1 to 65535, such as 22,80,8000-8100${min === 0 ? ", or 0 for any free port" : ""}`;
  if (isSuggested && text !== undefined && /\s$/.test(list)) {
    // In "22 = hi", the second space would be a part of TEXT, which is hardly meant.
    const trimmed = text.trimStart();
    const meant = trimmed === "" && min === 1 ? suggestion : `${suggestion}=${trimmed}`;
    throw invalidValue(given, expected + writeInstead(meant, given.text));
  }
  throw invalidValue(given, expected + writeInstead(isSuggested ? suggestion : undefined, list));
}

/** A port list, and the text that belongs to its ports, if there is one. */
export interface PortsWithText<T extends string = string> {
  /** The value. */
  given: Given;
  /** The ports. */
  list: number[];
  /** The text. */
  text: T | undefined;
}

/** Parses `LIST` or `LIST=TEXT`. The lowest valid port is `min`. */
export function portsWithText(given: Given, min: 0 | 1): PortsWithText {
  const [, list = "", text] = given.text.match(/^([^=]*)(?:=([^]*))?$/) ?? [];
  return { given, list: portList(given, list, min, text), text };
}

/**
 * Returns the texts of ports that have their own, by port.
 *
 * @throws {UsageError} If a port has two different texts. `noun` is what the message calls those of the `option`.
 */
export function textsByPort<T extends string>(
  lists: readonly PortsWithText<T>[],
  noun: string,
  option = "--port",
): Map<number, T> {
  const byPort = new Map<number, T>();
  for (const { list, text } of lists) {
    if (text === undefined) continue;
    for (const port of list) {
      if ((byPort.get(port) ?? text) !== text) {
        throw new UsageError(`port ${port} appears with two ${noun}; remove one of them from ${option}`);
      }
      byPort.set(port, text);
    }
  }
  return byPort;
}

/** Whether an argument is a port list, which suggests that `--port` is missing before it. */
export function isPortList(operand: string): boolean {
  return /^\d/.test(operand) && parsePorts(operand) !== undefined;
}

/** Advises the user to write operands that are ports in the last `--port` option, or after `-p` if there is none. */
export function portsAdvice(given: readonly Given[], operands: readonly string[]): string {
  const { option, text } = given.at(-1) ?? { option: "-p", text: "=" };
  // A list with a greeting has its own option. "-p 80, 443" has a comma already.
  const lists = text.includes("=") ? operands : [text.replace(/,$/, ""), ...operands];
  return `write ${option} ${truncate(lists.join(","))}`;
}

/** For a message: what to write if spaces have split `LIST=TEXT` into several arguments. */
export const LIST_WITH_TEXT_ADVICE = "write LIST=TEXT as one argument, as in -p '21=220 ready'";

/** Throws if both options are given. */
export function rejectBoth(first: string, second: string, { typed }: Rewritten) {
  if (typed[first] && typed[second]) {
    throw new UsageError(`--${first} and --${second} cannot be combined; use only one of them`);
  }
}

/** Returns a check for whole numbers. It uses a pattern because Number() also accepts 0x50, 1e3 and " 80". */
export function integer(min: number, max: number): ValueCheck<number> {
  const check = (given: Given) => {
    const value = /^\d+$/.test(given.text) ? Number(given.text) : NaN;
    if (value >= min && value <= max) return value;
    throw invalidValue(given, `a whole number from ${min} to ${max}`);
  };
  return Object.assign(check, { range: [min, max] as const });
}

/** Returns a check for numbers with or without a fraction. `expected` describes them. */
export function number(min: number, max: number, expected: string): ValueCheck<number> {
  const check = (given: Given) => {
    const value = /^(\d+\.?\d*|\.\d+)$/.test(given.text) ? Number(given.text) : NaN;
    if (value >= min && value <= max) return value;
    throw invalidValue(given, `${expected} from ${min} to ${max}`);
  };
  return Object.assign(check, { range: [min, max] as const });
}

const MIN_SECONDS = 0.001;
const MAX_SECONDS = 86_400;

/** Checks a number of seconds, with or without a fraction. Returns milliseconds. */
export const milliseconds: ValueCheck<number> = Object.assign((given: Given) => {
  const isValid = (seconds: number | undefined) =>
    seconds !== undefined && seconds >= MIN_SECONDS && seconds <= MAX_SECONDS;
  const seconds = /^(\d+\.?\d*|\.\d+)$/.test(given.text) ? Number(given.text) : NaN;
  if (isValid(seconds)) return seconds * 1000;
  const suggestion = suggestSeconds(given.text);
  const advice = writeInstead(isValid(suggestion) ? `${suggestion}` : undefined, given.text);
  throw invalidValue(given, `seconds from ${MIN_SECONDS} to ${MAX_SECONDS}${advice}`);
}, { range: [MIN_SECONDS, MAX_SECONDS] as const });
