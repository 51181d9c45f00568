/**
 * The server's options: the table, the check of each value, and the help text.
 *
 * @module
 */
import { DEFAULTS, MAX_GREETING_BYTES, type ServeOptions } from "../server.ts";
import { addressMatcher, InvalidRule } from "./addresses.ts";
import { formatOptions, type OptionTable, quote, type Rewritten, UsageError, type ValuedName } from "./args.ts";

/** The options of `greeter`. */
export const SERVE_OPTIONS = {
  port: {
    short: "p",
    value: "PORT",
    repeatable: true,
    help: `port to listen on, repeatable; 0 is any free port (default: ${DEFAULTS.port})`,
  },
  host: { short: "H", value: "HOST", help: `name or address to listen on (default: ${DEFAULTS.hostname})` },
  greeting: { short: "g", value: "TEXT", help: "greeting to send, followed by CR LF (default: the tutorial's)" },
  stdin: { help: "send standard input, read to its end, byte for byte" },
  allow: {
    short: "a",
    value: "ADDRESS[/PREFIX]",
    repeatable: true,
    help: "greet only these clients, repeatable; ::/0 is all of IPv6, but not IPv4 (default: all)",
  },
  count: { short: "n", value: "N", help: "stop after N greetings; exit 1 if stopped earlier" },
  within: { short: "w", value: "SECONDS", help: "stop after this time" },
  json: { help: "log as JSON Lines" },
  quiet: { short: "q", help: "do not log; errors still go to standard error" },
  backlog: {
    short: "b",
    value: "N",
    help: `connections that the kernel may queue (default: ${DEFAULTS.backlog})`,
  },
  "max-connections": {
    short: "m",
    value: "N",
    help: `open connections; a new one then closes the oldest (default: ${DEFAULTS.maxConnections})`,
  },
  timeout: {
    short: "t",
    value: "SECONDS",
    help: `time that a connection may stay open (default: ${DEFAULTS.timeout / 1000})`,
  },
  help: { short: "h", help: "print this help and exit" },
  version: { short: "V", help: "print the version and exit" },
} as const satisfies OptionTable;

/** The long name of an option of `greeter`. */
export type OptionName = keyof typeof SERVE_OPTIONS;

/** What a command line asks for. */
export type Command = { kind: "help" } | { kind: "version" } | ServeCommand;

/** Serve clients. */
export interface ServeCommand {
  /** Distinguishes the commands. */
  kind: "serve";
  /** What is passed to `serve`; an option that was not given is undefined. */
  options: ServeOptions;
  /** Whether the greeting is read from standard input. */
  stdin: boolean;
  /** When to stop, in milliseconds after the start. */
  within: number | undefined;
  /** Whether the log is JSON. */
  json: boolean;
  /** Whether nothing is logged. */
  quiet: boolean;
}

/** What `greeter --help` prints. */
export function helpText(): string {
  return `Usage: greeter [OPTIONS]

Sends every client a greeting and closes the connection.

Options:
${formatOptions(SERVE_OPTIONS)}

Exit status: 0 success; 1 stopped before --count was reached; 2 error.`;
}

/** A value, with its option as typed. */
interface Given {
  as: string;
  text: string;
}

/**
 * Checks the values, and returns the command.
 *
 * @throws {UsageError} If a value is invalid.
 */
export async function toCommand(
  parsed: Record<string, unknown>,
  { typed, unknown }: Rewritten,
): Promise<Command> {
  // The result of parseArgs has no types, so this is where it gets them: a list for each option, and flags.
  const given = (name: ValuedName<typeof SERVE_OPTIONS>): Given[] => {
    const values = parsed[name];
    return Array.isArray(values)
      ? values.map((text, i) => ({ as: typed[name]?.[i] ?? `--${name}`, text: `${text}` }))
      : [];
  };
  const flag = (name: Exclude<OptionName, ValuedName<typeof SERVE_OPTIONS>>) => parsed[name] === true;

  if (flag("help")) return { kind: "help" };
  if (flag("version")) return { kind: "version" };
  if (unknown) throw unknown;
  const one = <T>(name: ValuedName<typeof SERVE_OPTIONS>, check: (value: Given) => T): T | undefined =>
    given(name).map(check)[0];

  const ports = given("port").map(integer(0, 65_535));
  const twice = ports.find((port, i) => port !== 0 && ports.indexOf(port) < i);
  if (twice !== undefined) throw new UsageError(`port ${twice} is given twice: specify each port only once`);
  const greeting = one("greeting", greetingLine);
  if (greeting && flag("stdin")) throw new UsageError("--greeting and --stdin exclude each other: use one of them");
  const allowed = given("allow");
  return {
    kind: "serve",
    options: {
      hostname: given("host")[0]?.text,
      port: ports.length > 0 ? ports : undefined,
      greeting,
      allow: allowed.length > 0 ? await matcher(allowed) : undefined,
      count: one("count", integer(1, 1_000_000_000)),
      backlog: one("backlog", integer(1, 65_535)),
      maxConnections: one("max-connections", integer(1, 1_000_000)),
      timeout: one("timeout", milliseconds),
    },
    stdin: flag("stdin"),
    within: one("within", milliseconds),
    json: flag("json"),
    quiet: flag("quiet"),
  };
}

function invalid({ as, text }: Given, expected: string): UsageError {
  return new UsageError(`invalid value ${quote(text)} for ${as}: expected ${expected}`);
}

/** Uses a pattern because Number() also accepts 0x50, 1e3 and " 80". */
function integer(min: number, max: number) {
  return (given: Given): number => {
    const value = /^\d+$/.test(given.text) ? Number(given.text) : NaN;
    if (value >= min && value <= max) return value;
    throw invalid(given, `a whole number from ${min} to ${max}`);
  };
}

function milliseconds(given: Given): number {
  const seconds = /^(\d+\.?\d*|\.\d+)$/.test(given.text) ? Number(given.text) : NaN;
  if (seconds >= 0.001 && seconds <= 86_400) return seconds * 1000;
  throw invalid(given, "seconds from 0.001 to 86400");
}

function greetingLine({ as, text }: Given): Uint8Array {
  const bytes = new TextEncoder().encode(`${text}\r\n`);
  if (bytes.length <= MAX_GREETING_BYTES) return bytes;
  throw new UsageError(
    `the value of ${as} is too long: ${bytes.length} bytes with CR LF; shorten it to ${MAX_GREETING_BYTES}`,
  );
}

async function matcher(rules: Given[]): Promise<(addr: Deno.NetAddr) => boolean> {
  try {
    return await addressMatcher(rules.map(({ text }) => text));
  } catch (error) {
    const given = error instanceof InvalidRule && rules.find(({ text }) => text === error.rule);
    throw given ? invalid(given, error.expected) : error;
  }
}
