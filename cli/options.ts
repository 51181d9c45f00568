/**
 * The server's options: the table, the check of each value, and the help text.
 *
 * @module
 */
import { DEFAULTS, MAX_GREETING_BYTES, type ServeOptions } from "../server.ts";
import { addressMatcher, InvalidRule } from "./addresses.ts";
import { formatOptions, type OptionTable, quote, type Rewritten, UsageError, type ValuedName } from "./args.ts";
import { type Greeting, maxGreetingBytes } from "./greeting.ts";
import { parsePorts } from "./ports.ts";
import type { ReportOptions } from "./report.ts";

/** The options of `greeter`. */
export const SERVE_OPTIONS = {
  port: {
    short: "p",
    value: "LIST[=TEXT]",
    repeatable: true,
    help: "ports to listen on, such as 22,80,8000-8100, 60000- or - for all; 0 is any free port; " +
      `repeatable; with TEXT, the greeting of these ports (default: ${DEFAULTS.port})`,
  },
  host: { short: "H", value: "HOST", help: `name or address to listen on (default: ${DEFAULTS.hostname})` },
  greeting: {
    short: "g",
    value: "TEXT",
    help: "greeting, followed by CR LF; {client} is the client's address, {port} the port that it has reached " +
      "(default: the tutorial's)",
  },
  stdin: { help: "send standard input, read to its end, byte for byte" },
  http: { help: "send the greeting as an HTTP response" },
  allow: {
    short: "a",
    value: "ADDRESS[/PREFIX]",
    repeatable: true,
    help: "greet only these clients, repeatable; ::/0 is all of IPv6, but not IPv4 (default: all)",
  },
  ignore: {
    value: "ADDRESS[/PREFIX]",
    repeatable: true,
    help: "neither log nor count these clients, repeatable",
  },
  count: {
    short: "n",
    value: "N",
    help: "close each port after N greetings, and stop when all are closed; exit 1 if stopped earlier",
  },
  within: { short: "w", value: "SECONDS", help: "stop after this time" },
  "skip-taken": { help: "listen on the ports that are free, and skip those in use" },
  json: { help: "log as JSON Lines" },
  timestamps: { help: "begin each line of the log with the local date and time (JSON has its own)" },
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
export interface ServeCommand extends ReportOptions {
  /** Distinguishes the commands. */
  kind: "serve";
  /** What is passed to `serve`; an option that was not given is undefined. */
  options: ServeOptions;
  /** The greeting, or `undefined` if it is read from standard input. */
  greeting: Greeting | undefined;
  /** When to stop, in milliseconds after the start. */
  within: number | undefined;
  /** Whether ports that are in use are skipped. */
  skipTaken: boolean;
}

/** What `greeter --help` prints. */
export function helpText(): string {
  return `Usage: greeter [OPTIONS]

Sends every client a greeting and closes the connection.

Options:
${formatOptions(SERVE_OPTIONS)}

Exit status: 0 success; 1 a port has not greeted --count clients; 2 error.`;
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

  const { ports, byPort } = portLists(given("port"));
  const http = flag("http");
  const text = one("greeting", (value) => checkLength(value, value.text, http));
  const isStdin = flag("stdin");
  if (isStdin && text !== undefined) throw new UsageError("--greeting and --stdin exclude each other: use one of them");
  if (isStdin && http) throw new UsageError("--http and --stdin exclude each other: use one of them");
  if (isStdin && byPort.size > 0) {
    throw new UsageError("--stdin and a greeting in --port exclude each other: use one of them");
  }
  for (const [port, value] of byPort) checkLength({ as: "--port", text: `${port}=${value}` }, value, http);
  return {
    kind: "serve",
    options: {
      hostname: given("host")[0]?.text,
      port: ports.length > 0 ? ports : undefined,
      allow: await matcher(given("allow")),
      ignore: await matcher(given("ignore")),
      count: one("count", integer(1, 1_000_000_000)),
      backlog: one("backlog", integer(1, 65_535)),
      maxConnections: one("max-connections", integer(1, 1_000_000)),
      timeout: one("timeout", milliseconds),
    },
    greeting: isStdin ? undefined : { text: text ?? DEFAULTS.greeting.trimEnd(), byPort, http },
    within: one("within", milliseconds),
    skipTaken: flag("skip-taken"),
    json: flag("json"),
    quiet: flag("quiet"),
    timestamps: flag("timestamps"),
  };
}

/** The ports of all lists in their order, and the greetings of those that have one. */
function portLists(lists: Given[]): { ports: number[]; byPort: Map<number, string> } {
  const ports: number[] = [];
  const byPort = new Map<number, string>();
  const seen = new Set<number>();
  for (const given of lists) {
    const [, list = "", text] = given.text.match(/^([^=]*)(?:=([^]*))?$/) ?? [];
    const parsed = parsePorts(list);
    if (!parsed) throw invalid(given, "ports from 0 to 65535, such as 22,80,8000-8100");
    for (const port of parsed) {
      if (port !== 0 && seen.has(port)) {
        throw new UsageError(`port ${port} is given twice: specify each port only once`);
      }
      if (port === 0 && text !== undefined) throw invalid(given, "a port other than 0 for a greeting of its own");
      if (text !== undefined) byPort.set(port, text);
      seen.add(port);
      ports.push(port);
    }
  }
  return { ports, byPort };
}

function checkLength({ as }: Given, text: string, http: boolean): string {
  const length = maxGreetingBytes(text, http);
  if (length <= MAX_GREETING_BYTES) return text;
  throw new UsageError(
    `the greeting of ${as} is too long: up to ${length} bytes are sent; shorten it to ${MAX_GREETING_BYTES}`,
  );
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

async function matcher(rules: Given[]): Promise<((addr: Deno.NetAddr) => boolean) | undefined> {
  if (rules.length === 0) return undefined;
  try {
    return await addressMatcher(rules.map(({ text }) => text));
  } catch (error) {
    const given = error instanceof InvalidRule && rules.find(({ text }) => text === error.rule);
    throw given ? invalid(given, error.expected) : error;
  }
}
