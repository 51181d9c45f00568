/**
 * The lines of `greeter connect --checks`: one check per line, in the syntax of the command line.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { messageOf } from "../../shared/errors.ts";
import { parseOptions, quote, rewriteArgs, UsageError } from "../args.ts";
import { StreamError } from "../errors.ts";
import { valuesOf } from "../values.ts";
import { CHECK_OPTIONS, toGivenCheck } from "./check_options.ts";
import { CONNECT_OPTIONS } from "./command.ts";
import { atLine, type HostCheck, hostChecks } from "./host_checks.ts";

/**
 * Reads the checks from standard input.
 *
 * @throws {UsageError} If standard input is a terminal or has an invalid line.
 * @throws {StreamError} If it cannot be read.
 */
export async function readChecks(): Promise<HostCheck[]> {
  if (Deno.stdin.isTerminal()) {
    throw new UsageError("--checks reads from standard input; write greeter connect --checks < FILE");
  }
  try {
    return parseChecks(await new Response(Deno.stdin.readable).text());
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new StreamError(`cannot read standard input: ${messageOf(error)}; redirect it from a file or a pipe`);
  }
}

/**
 * Parses the lines of `--checks`, each with hosts and with the options that say what to check.
 *
 * @throws {UsageError} If a line is invalid, or if there is none. The message names the line.
 */
export function parseChecks(text: string): HostCheck[] {
  const lines = splitLines(text);
  if (lines.length === 0) {
    throw new UsageError("there is no check on standard input; write one in each line, such as web1 -p 80 -b 22");
  }
  return hostChecks(lines.map(({ number, words }) =>
    atLine(number, () => {
      const rewritten = rewriteArgs(words, CHECK_OPTIONS);
      const { unknown } = rewritten;
      if (unknown && isOfCommand(unknown.name)) {
        const option = `${unknown.name.length === 1 ? "-" : "--"}${unknown.name}`;
        throw new UsageError(`${option} applies to all checks; write it on the command line`);
      }
      if (unknown) throw new UsageError(`unknown option ${unknown.text}; see greeter connect --help`);
      if (rewritten.operands.length === 0) {
        throw new UsageError("HOST is missing; write it in the line, as in web1 -p 80");
      }
      const values = valuesOf(CHECK_OPTIONS, parseArgs(rewritten.args, parseOptions(CHECK_OPTIONS)), rewritten);
      return toGivenCheck(values, rewritten, number);
    })
  ));
}

/** Whether `greeter connect` has an option with this name or letter. */
function isOfCommand(name: string): boolean {
  return Object.entries(CONNECT_OPTIONS).some(([long, option]) =>
    long === name || ("short" in option && option.short === name)
  );
}

/** A line with words. */
export interface CheckLine {
  /** Its number, from 1. */
  readonly number: number;
  readonly words: readonly string[];
}

/** Matches spaces, a comment, or a part of a word: what is between quotes, or all up to the next space or quote. */
const TOKEN = /([ \t]+)|(?<![^ \t])(#[^]*)|"([^"]*)"|'([^']*)'|([^ \t"']+)|(["'][^]*)/gy;

/**
 * Splits lines into words, at spaces and tabs. Quotes keep words together. A backslash is never special, because TEXT has its
 * own escapes. A word that begins with `#` begins a comment. Lines without words are left out.
 *
 * @throws {UsageError} If a quote is not closed.
 */
export function splitLines(text: string): CheckLine[] {
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n?|\n/);
  return lines.map((line, i) => atLine(i + 1, () => ({ number: i + 1, words: wordsOf(line) })))
    .filter(({ words }) => words.length > 0);
}

function wordsOf(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  for (const [, space, comment, double, single, plain, unclosed] of line.matchAll(TOKEN)) {
    if (unclosed !== undefined) throw new UsageError(`unclosed quote at ${quote(unclosed)}; add the second quote`);
    if (space === undefined && comment === undefined) word = (word ?? "") + (double ?? single ?? plain ?? "");
    else if (word !== undefined) {
      words.push(word);
      word = undefined;
    }
  }
  return word === undefined ? words : [...words, word];
}
