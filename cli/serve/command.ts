/**
 * The server's options: the table, the check of each value, and the help text.
 *
 * @module
 */
import { DEFAULTS, type ServeOptions } from "../../server.ts";
import { matcher, network } from "./addresses.ts";
import { type OptionTable, quote, type Rewritten, truncate, UsageError } from "../args.ts";
import { formatOptions } from "../help.ts";
import { checkServerText, type Greeting, portsWithGreeting, toGreeting } from "./greeting.ts";
import { ALL_PORTS, checkListening, httpPorts, toInputTimeout } from "./http.ts";
import { uniquePorts } from "../../shared/ports.ts";
import type { ReportOptions } from "./report.ts";
import {
  hostname,
  integer,
  isPortList,
  LIST_WITH_TEXT_ADVICE,
  milliseconds,
  portsAdvice,
  rejectBoth,
  type Values,
} from "../values.ts";

/** The options of `greeter`. */
export const SERVE_OPTIONS = {
  port: {
    short: "p",
    value: "LIST[=TEXT]",
    example: "8080",
    repeatable: true,
    help: "ports, as in 22,80,8000-8100 or 60000-; - for all; 0 for any free port; TEXT: their greeting",
    default: DEFAULTS.port,
    check: portsWithGreeting,
  },
  host: {
    short: "H",
    value: "HOST",
    example: "127.0.0.1",
    repeatable: true,
    help: "name or address to listen on; may be repeated",
    default: DEFAULTS.hostname,
    check: hostname,
  },
  greeting: {
    short: "g",
    value: "TEXT",
    example: "Hello",
    help: "greeting; {client} and {port} are replaced; escapes: \\r \\n \\t \\\\ \\xHH, and \\c at the end: no CR LF",
    check: checkServerText,
  },
  stdin: { help: "send standard input, byte for byte" },
  http: {
    value: "LIST",
    omitted: ALL_PORTS,
    help: "send the greeting as an HTTP response, on all ports or those of LIST",
    check: httpPorts,
  },
  announce: { help: "end the greeting with a list of all open ports" },
  allow: {
    short: "a",
    value: "NETWORK",
    example: "10.0.0.0/8",
    repeatable: true,
    help: "greet only these clients, such as 10.0.0.0/8",
    check: network,
  },
  ignore: {
    value: "NETWORK",
    example: "10.0.0.0/8",
    repeatable: true,
    help: "greet these clients without logging or counting them",
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
  clients: { help: "print a table of the clients at the end" },
  json: { help: "log as JSON Lines" },
  timestamps: { help: "begin each line of the log with the local time" },
  quiet: { short: "q", help: "do not log; errors still go to standard error" },
  backlog: {
    value: "N",
    example: "128",
    help: "length of the kernel's accept queue",
    default: DEFAULTS.backlog,
    limit: "connections that the kernel queues for each port at each address",
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
greeter connect checks the ports of other hosts: see greeter connect --help.

Options:
${formatOptions(SERVE_OPTIONS)}

Exit status: 0 on success, 1 if a port did not reach --count, 2 on an error.

Examples:
  greeter -p 8000-8100 --within 600              # for 10 minutes
  greeter -p 2121='220 FTP' -p 2222=SSH-2.0-lab  # a greeting for each port
  greeter -p 8080 --http -g 'You are {client}'   # a page for browsers`;
}

/** Pairs of options that cannot be combined. */
const EXCLUSIVE = [
  ["greeting", "stdin"],
  ["http", "stdin"],
  ["announce", "stdin"],
  ["announce", "count"], // a port that --count has closed would still be on the list
  ["quiet", "json"],
  ["quiet", "timestamps"],
  ["json", "timestamps"],
] as const satisfies [first: keyof typeof SERVE_OPTIONS, second: keyof typeof SERVE_OPTIONS][];

/** Says what to write instead of arguments that are not options. */
function operandAdvice(operands: readonly string[], given: Values["given"]): string {
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
      return "the server needs no command name: write greeter [OPTIONS], such as greeter -p 8080";
  }
  const ports = given(SERVE_OPTIONS.port);
  if (operands.every(isPortList)) {
    const advice = `to listen on ports, ${portsAdvice(ports, operands)}`;
    const hasHttp = given(SERVE_OPTIONS.http).length > 0;
    return hasHttp ? `${advice}; to select ports for --http, write --http=${truncate(operands.join(","))}` : advice;
  }
  if (operands[0]?.startsWith("=") || ports.some(({ text }) => text.includes("="))) return LIST_WITH_TEXT_ADVICE;
  const [host] = given(SERVE_OPTIONS.host);
  if (host) return `to listen on several addresses, write ${host.option} before each of them`;
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
    throw new UsageError(`unexpected argument ${quote(operand)}; ${operandAdvice(rewritten.operands, given)}`);
  }
  for (const [first, second] of EXCLUSIVE) rejectBoth(first, second, rewritten);
  const http = one(SERVE_OPTIONS.http) ?? new Set();
  const lists = all(SERVE_OPTIONS.port);
  const ports = uniquePorts(lists.flatMap(({ list }) => list));
  for (const list of given(SERVE_OPTIONS.http)) checkListening(list, ports.length > 0 ? ports : [DEFAULTS.port]);
  const announce = flag(SERVE_OPTIONS.announce);
  const isStdin = flag(SERVE_OPTIONS.stdin);
  const greeting = toGreeting({ lists, greeting: one(SERVE_OPTIONS.greeting), http, isStdin, announce });
  const timeout = one(SERVE_OPTIONS.timeout);
  const hosts = all(SERVE_OPTIONS.host);
  return {
    kind: "serve",
    options: {
      hostname: hosts.length > 0 ? hosts : undefined,
      port: ports.length > 0 ? ports : undefined,
      allow: await matcher(all(SERVE_OPTIONS.allow)),
      ignore: await matcher(all(SERVE_OPTIONS.ignore)),
      count: one(SERVE_OPTIONS.count),
      backlog: one(SERVE_OPTIONS.backlog),
      maxConnections: one(SERVE_OPTIONS["max-connections"]),
      timeout,
      inputTimeout: toInputTimeout(http, timeout ?? DEFAULTS.timeout),
      skipTaken: flag(SERVE_OPTIONS["skip-taken"]),
      announce,
    },
    greeting,
    within: one(SERVE_OPTIONS.within),
    clients: flag(SERVE_OPTIONS.clients),
    json: flag(SERVE_OPTIONS.json),
    quiet: flag(SERVE_OPTIONS.quiet),
    timestamps: flag(SERVE_OPTIONS.timestamps),
  };
}
