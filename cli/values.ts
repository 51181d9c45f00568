/**
 * The values of options: adds types to what `parseArgs` returns, and checks values of common kinds.
 *
 * @module
 */
import { type OptionTable, quote, type Rewritten, truncate, UsageError, type ValuedName } from "./args.ts";
import { parsePorts } from "./ports.ts";
import { suggestPorts, suggestSeconds } from "./suggestions.ts";

/** A value and its option, for messages. */
export interface Given {
  /** The option as typed: `-p` or `--port`. */
  option: string;
  /** The value. */
  text: string;
}

/** The options that were given. */
export interface Values<T extends OptionTable> {
  /** The values of an option in their order. */
  given(name: ValuedName<T>): Given[];
  /** Whether a flag is set. */
  flag(name: Exclude<keyof T, ValuedName<T>>): boolean;
  /** The checked value of an option that cannot be repeated, or `undefined` if it was not given. */
  one<V>(name: ValuedName<T>, check: (value: Given) => V): V | undefined;
}

/** Adds the types of an option table to the result of `parseArgs`, which has none. */
export function valuesOf<T extends OptionTable>(
  _table: T,
  parsed: Record<string, unknown>,
  { typed }: Rewritten,
): Values<T> {
  const given = (name: ValuedName<T>): Given[] => {
    const key = String(name);
    const values = parsed[key];
    if (!Array.isArray(values)) return [];
    return values.map((text, i) => ({ option: typed[key]?.[i] ?? `--${key}`, text: `${text}` }));
  };
  return {
    given,
    flag: (name) => parsed[String(name)] === true,
    one: (name, check) => given(name).map(check)[0],
  };
}

/** Returns the error for an invalid value: `invalid value "x" for -p: expected ...`. */
export function invalidValue({ option, text }: Given, expected: string): UsageError {
  return new UsageError(`invalid value ${quote(text)} for ${option}: expected ${expected}`);
}

/** Returns the advice to write one value instead of another, or nothing if there is no better value. */
function writeInstead(suggestion: string | undefined, text: string): string {
  return suggestion === undefined ? "" : `; write ${truncate(suggestion)} instead of ${truncate(text)}`;
}

/** Parses a port list whose lowest valid port is `min`. */
export function portList(given: Given, list: string, min: 0 | 1): number[] {
  const ports = parsePorts(list);
  if (ports && (min === 0 || !ports.includes(0))) return ports;
  const expected = `ports from 1 to 65535, such as 22,80,8000-8100${min === 0 ? ", or 0 for any free port" : ""}`;
  throw invalidValue(given, expected + writeInstead(ports ? undefined : suggestPorts(list), list));
}

/** Whether an argument is a port list, so that the option `--port` is missing before it. */
export function isPortList(operand: string): boolean {
  return /^\d/.test(operand) && parsePorts(operand) !== undefined;
}

/** Returns the advice to write operands that are ports in the last `--port` that was given, or after `-p`. */
export function writePorts(given: readonly Given[], operands: readonly string[]): string {
  const { option, text } = given.at(-1) ?? { option: "-p", text: "=" };
  // A list with a greeting has its own option. "-p 80, 443" has a comma already.
  const lists = text.includes("=") ? operands : [text.replace(/,$/, ""), ...operands];
  return `write ${option} ${truncate(lists.join(","))}`;
}

/** Throws if both options are given. */
export function rejectBoth(first: string, second: string, { typed }: Rewritten) {
  if (typed[first] && typed[second]) {
    throw new UsageError(`--${first} and --${second} cannot be combined; use only one of them`);
  }
}

/** Returns a check for whole numbers. It uses a pattern because Number() also accepts 0x50, 1e3 and " 80". */
export function integer(min: number, max: number): (given: Given) => number {
  return (given) => {
    const value = /^\d+$/.test(given.text) ? Number(given.text) : NaN;
    if (value >= min && value <= max) return value;
    throw invalidValue(given, `a whole number from ${min} to ${max}`);
  };
}

/** Checks a number of seconds, with or without a fraction. Returns milliseconds. */
export function milliseconds(given: Given): number {
  const seconds = /^(\d+\.?\d*|\.\d+)$/.test(given.text) ? Number(given.text) : NaN;
  if (seconds >= 0.001 && seconds <= 86_400) return seconds * 1000;
  const suggestion = suggestSeconds(given.text);
  const isValid = suggestion !== undefined && suggestion >= 0.001 && suggestion <= 86_400;
  throw invalidValue(
    given,
    "seconds from 0.001 to 86400" + writeInstead(isValid ? `${suggestion}` : undefined, given.text),
  );
}
