/**
 * The server's options: the table, the check of each value, and the help text.
 *
 * @module
 */
import { DEFAULTS, MAX_GREETING_BYTES, type ServeOptions } from "../../server.ts";
import { addressMatcher, EXPECTED_RULE, InvalidRule } from "./addresses.ts";
import { formatOptions, type Given, type OptionTable, quote, type Rewritten, truncate, UsageError } from "../args.ts";
import { type Greeting, maxGreetingBytes } from "./greeting.ts";
import { ALL_PORTS, checkListening, httpPorts, isHttp, toInputTimeout } from "./http.ts";
import { uniquePorts } from "../../shared/ports.ts";
import type { ReportOptions } from "./report.ts";
import {
  checkEscapes,
  hostname,
  integer,
  invalidValue,
  isPortList,
  LIST_WITH_TEXT_ADVICE,
  milliseconds,
  portsAdvice,
  type PortsWithText,
  portsWithText,
  rejectBoth,
  textsByPort,
  valueError,
  type Values,
} from "../values.ts";

/** The default greeting without CR LF, which is appended to every greeting. */
const DEFAULT_GREETING_TEXT = DEFAULTS.greeting.trimEnd();

/** The options of `greeter`. */
export const SERVE_OPTIONS = {
  port: {
    short: "p",
    value: "LIST[=TEXT]",
    example: "8080",
    repeatable: true,
    help: "ports: 22,80,8000-8100, 60000-, - for all, 0 for any free port; TEXT is their greeting",
    default: DEFAULTS.port,
    check: portsWithGreeting,
  },
  host: {
    short: "H",
    value: "HOST",
    example: "127.0.0.1",
    help: "name or address to listen on",
    default: DEFAULTS.hostname,
    check: hostname,
  },
  greeting: {
    short: "g",
    value: "TEXT",
    example: "Hello",
    help: "greeting; {client} and {port} are replaced; escapes: \\r \\n \\t \\\\ \\xHH",
    check: (given) => ({ ...given, text: checkEscapes(given) }),
  },
  stdin: { help: "send standard input, byte for byte" },
  http: {
    value: "LIST",
    omitted: ALL_PORTS,
    help: "wait for a request, and send the greeting as an HTTP response; on all ports, or those of LIST",
    check: httpPorts,
  },
  allow: {
    short: "a",
    value: "NETWORK",
    example: "10.0.0.0/8",
    repeatable: true,
    help: "greet only these clients, such as 10.0.0.0/8; ::/0 covers only IPv6",
    check: network,
  },
  ignore: {
    value: "NETWORK",
    example: "10.0.0.0/8",
    repeatable: true,
    help: "neither log nor count these clients, except for resets before accept",
    check: network,
  },
  count: {
    short: "n",
    value: "N",
    example: "1",
    help: "stop when each port has greeted N clients",
    limit: "greetings for each port",
    check: integer(1, 1_000_000_000),
  },
  within: {
    short: "w",
    value: "SECONDS",
    example: "60",
    help: "stop after this time",
    limit: "seconds until greeter stops",
    check: milliseconds,
  },
  "skip-taken": { help: "skip ports that are in use" },
  clients: { help: "print a table of the clients at the end, also with --quiet" },
  json: { help: "log as JSON Lines" },
  timestamps: { help: "begin each line of the log with the local time" },
  quiet: { short: "q", help: "do not log; errors still go to standard error" },
  backlog: {
    value: "N",
    example: "128",
    help: "length of the kernel's accept queue",
    default: DEFAULTS.backlog,
    limit: "connections that the kernel queues for each port",
    check: integer(1, 65_535),
  },
  "max-connections": {
    short: "m",
    value: "N",
    example: "100",
    help: "maximum number of open connections",
    default: DEFAULTS.maxConnections,
    limit: "open connections",
    check: integer(1, 1_000_000),
  },
  timeout: {
    short: "t",
    value: "SECONDS",
    example: "5",
    help: "close each connection after this time",
    default: DEFAULTS.timeout / 1000,
    limit: "seconds that a connection may stay open, whatever the client does",
    check: milliseconds,
  },
  help: { short: "h", help: "print this help and exit" },
  version: { short: "V", help: "print the version and exit" },
} as const satisfies OptionTable;

/** The command `greeter`, which runs the server. */
export interface ServeCommand extends ReportOptions {
  /** Distinguishes the commands. */
  kind: "serve";
  /** What is passed to `serve`; an option that was not given is undefined. */
  options: ServeOptions;
  /** The greeting, or `undefined` if it is read from standard input. */
  greeting: Greeting | undefined;
  /** When to stop, in milliseconds after the start. */
  within: number | undefined;
}

/** What `greeter --help` prints. */
export function serveHelp(): string {
  return `Usage: greeter [OPTIONS]
       greeter connect [OPTIONS] HOST...

Sends every client a greeting and closes the connection.

Options:
${formatOptions(SERVE_OPTIONS)}

Exit status: 0 on success, 1 if a port did not reach --count, 2 on an error.`;
}

/** Pairs of options that cannot be combined. */
const EXCLUSIVE = [
  ["greeting", "stdin"],
  ["http", "stdin"],
  ["quiet", "json"],
  ["quiet", "timestamps"],
  ["json", "timestamps"],
] as const satisfies [first: keyof typeof SERVE_OPTIONS, second: keyof typeof SERVE_OPTIONS][];

/** Says what to write instead of arguments that are not options. */
function operandAdvice(operands: readonly string[], ports: readonly Given[], hasHttp: boolean): string {
  switch (operands[0]) {
    case "connect":
      return "connect must be the first argument: write greeter connect [OPTIONS] HOST";
    case "help":
      return `for help, write greeter ${operands[1] === "connect" ? "connect " : ""}--help`;
    case "version":
      return "for the version, write greeter --version";
    case "serve":
    case "server":
    case "listen":
    case "start":
      return "the server has no command name: write greeter [OPTIONS], such as greeter -p 8080";
  }
  if (operands.every(isPortList)) {
    const advice = `to listen on ports, ${portsAdvice(ports, operands)}`;
    return hasHttp ? `${advice}; to select ports for --http, write --http=${truncate(operands.join(","))}` : advice;
  }
  if (operands[0]?.startsWith("=") || ports.some(({ text }) => text.includes("="))) return LIST_WITH_TEXT_ADVICE;
  return "to check the ports of a host, write greeter connect [OPTIONS] HOST";
}

/**
 * Checks the values, and returns the command.
 *
 * @throws {UsageError} If a value is invalid.
 */
export async function toServeCommand(
  { flag, one, all, given }: Values,
  rewritten: Rewritten,
): Promise<ServeCommand> {
  const [operand] = rewritten.operands;
  if (operand !== undefined) {
    throw new UsageError(
      `unexpected argument ${quote(operand)}; ` +
        operandAdvice(rewritten.operands, given(SERVE_OPTIONS.port), given(SERVE_OPTIONS.http).length > 0),
    );
  }
  for (const [first, second] of EXCLUSIVE) rejectBoth(first, second, rewritten);
  const http = one(SERVE_OPTIONS.http) ?? new Set();
  const lists = all(SERVE_OPTIONS.port);
  for (const { given, list, text } of lists) {
    if (text !== undefined) checkGreeting(given, text, list.some((port) => isHttp(http, port)));
  }
  // A port may be both in a list with a greeting and in one without.
  const byPort = textsByPort(lists, "greetings");
  const ports = uniquePorts(lists.flatMap(({ list }) => list));
  for (const list of given(SERVE_OPTIONS.http)) checkListening(list, ports.length > 0 ? ports : [DEFAULTS.port]);
  const greeting = one(SERVE_OPTIONS.greeting);
  const hasHttp = http === "all" || [...http].some((port) => !byPort.has(port));
  const text = greeting && checkGreeting(greeting, greeting.text, hasHttp);
  const isStdin = flag(SERVE_OPTIONS.stdin);
  if (isStdin && byPort.size > 0) {
    throw new UsageError("--stdin and a greeting in --port cannot be combined; use only one of them");
  }
  const timeout = one(SERVE_OPTIONS.timeout);
  return {
    kind: "serve",
    options: {
      hostname: one(SERVE_OPTIONS.host),
      port: ports.length > 0 ? ports : undefined,
      allow: await matcher(all(SERVE_OPTIONS.allow)),
      ignore: await matcher(all(SERVE_OPTIONS.ignore)),
      count: one(SERVE_OPTIONS.count),
      backlog: one(SERVE_OPTIONS.backlog),
      maxConnections: one(SERVE_OPTIONS["max-connections"]),
      timeout,
      inputTimeout: toInputTimeout(http, timeout ?? DEFAULTS.timeout),
      skipTaken: flag(SERVE_OPTIONS["skip-taken"]),
    },
    greeting: isStdin ? undefined : { text: text ?? DEFAULT_GREETING_TEXT, byPort, http },
    within: one(SERVE_OPTIONS.within),
    clients: flag(SERVE_OPTIONS.clients),
    json: flag(SERVE_OPTIONS.json),
    quiet: flag(SERVE_OPTIONS.quiet),
    timestamps: flag(SERVE_OPTIONS.timestamps),
  };
}

/** Parses `LIST` or `LIST=TEXT`. */
function portsWithGreeting(given: Given): PortsWithText {
  const ports = portsWithText(given, 0);
  if (ports.text === undefined || !ports.list.includes(0)) return ports;
  throw invalidValue(given, "a port other than 0, because port 0 cannot have its own greeting");
}

/** Checks the escapes and the length of a greeting, which is the whole value of an option or a part of it. */
function checkGreeting(given: Given, text: string, http: boolean): string {
  checkEscapes(given);
  const length = maxGreetingBytes(text, http);
  if (length <= MAX_GREETING_BYTES) return text;
  throw new UsageError(
    `the greeting of ${given.option} is too long: it can have ${length} bytes; ` +
      `shorten it to ${MAX_GREETING_BYTES} bytes`,
  );
}

/**
 * The rules are checked later, because that is asynchronous. A rule that begins with a hyphen is rejected here: otherwise,
 * the message would advise attaching it.
 */
function network(given: Given): Given {
  if (!given.text.startsWith("-")) return given;
  throw valueError(given, EXPECTED_RULE);
}

async function matcher(rules: Given[]): Promise<((addr: Deno.NetAddr) => boolean) | undefined> {
  if (rules.length === 0) return undefined;
  try {
    return await addressMatcher(rules.map(({ text }) => text));
  } catch (error) {
    const given = error instanceof InvalidRule && rules.find(({ text }) => text === error.rule);
    throw given ? valueError(given, error.advice) : error;
  }
}
