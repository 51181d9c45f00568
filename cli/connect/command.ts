/**
 * The options of `greeter connect`: the table, the check of each value, and the help text.
 *
 * @module
 */
import { CHECK_DEFAULTS, MAX_RATE, MIN_BLOCKED_TIMEOUT_MS, MIN_RATE } from "../../client.ts";
import { type Given, type OptionTable, type Rewritten, truncate, UsageError } from "../args.ts";
import { formatOptions } from "../help.ts";
import { integer, invalidValue, milliseconds, number, rejectBoth, type Values } from "../values.ts";
import { CHECK_OPTIONS, toGivenCheck } from "./check_options.ts";
import { type HostCheck, hostChecks } from "./host_checks.ts";
import type { ProbeReportOptions } from "./report.ts";

/** The options of `greeter connect`. */
export const CONNECT_OPTIONS = {
  ...CHECK_OPTIONS,
  checks: { help: "read one check per line from standard input, as in web1 web2 -p 80 -b 22" },
  timeout: {
    short: "t",
    value: "SECONDS",
    example: "5",
    help: "time for each attempt",
    default: CHECK_DEFAULTS.timeout / 1000,
    limit: "seconds for each attempt at an address; if given, also for a lookup",
    check: milliseconds,
  },
  within: {
    short: "w",
    value: "SECONDS",
    example: "60",
    help: "how long to keep trying ports that fail",
    limit: "seconds during which ports are tried again",
    check: milliseconds,
  },
  rate: {
    value: "N",
    example: "5",
    help: "connections to start per second to each host; by default, only -b has a limit",
    limit: "connections that are started to each host per second",
    check: number(MIN_RATE, MAX_RATE, "connections a second"),
  },
  concurrency: {
    value: "N",
    example: "100",
    help: "maximum number of ports to check at once",
    default: CHECK_DEFAULTS.concurrency,
    limit: "ports that are checked at once",
    check: integer(1, 65_535),
  },
  json: { help: "print JSON Lines, each port as soon as it is known" },
  quiet: { short: "q", help: "print errors only" },
  help: { short: "h", help: "print this help and exit" },
  version: { short: "V", help: "print the version and exit" },
} as const satisfies OptionTable;

/** The command `greeter connect`, which checks the ports of hosts. */
export interface ConnectCommand extends Omit<ProbeReportOptions, "checks"> {
  /** Distinguishes the commands. */
  kind: "connect";
  /** What to check, or `undefined` if that is read from standard input. */
  checks: HostCheck[] | undefined;
  /** The timeout as it was given. */
  timeout: Given | undefined;
}

/** What `greeter connect --help` prints. */
export function connectHelp(): string {
  return String.raw`Usage: greeter connect [OPTIONS] HOST...
       greeter connect [OPTIONS] --checks < FILE

Checks which ports of each HOST can be reached, which are blocked, and whether
the expected server answers.

Options:
${formatOptions(CONNECT_OPTIONS)}

In TEXT, {host} and {port} are replaced; \r \n \t \\ \xHH are single bytes.

Exit status: 0 if every port passes, 1 if one does not, 2 on an error.

Examples:
  greeter connect lab.example -p 80,443 -b 3306,5432       # check a firewall
  greeter connect lab.example -p 22=SSH-2.0 --within 60    # wait for a server
  greeter connect lab.example -p 6379=+PONG -s 'PING\r\n'  # send a request`;
}

/**
 * Checks the values, and returns the command.
 *
 * @throws {UsageError} If a value is invalid.
 */
export function toConnectCommand(values: Values, rewritten: Rewritten): ConnectCommand {
  const { flag, one, given } = values;
  rejectBoth("quiet", "json", rewritten);
  const isFromInput = flag(CONNECT_OPTIONS.checks);
  if (isFromInput) rejectCheck(values, rewritten);
  const checks = isFromInput ? undefined : hostChecks([toGivenCheck(values, rewritten)]);
  const options = {
    timeout: one(CONNECT_OPTIONS.timeout),
    within: one(CONNECT_OPTIONS.within),
    rate: one(CONNECT_OPTIONS.rate),
    concurrency: one(CONNECT_OPTIONS.concurrency),
    requireControl: isFromInput,
  };
  const command = { options, timeout: given(CONNECT_OPTIONS.timeout)[0] };
  if (checks) checkTimeout(command, checks);
  return {
    kind: "connect",
    checks,
    ...command,
    json: flag(CONNECT_OPTIONS.json),
    quiet: flag(CONNECT_OPTIONS.quiet),
  };
}

/** Rejects what belongs in the lines of `--checks`. */
function rejectCheck({ given }: Values, { operands: [host] }: Rewritten) {
  if (host !== undefined) {
    throw new UsageError(`--checks and HOST cannot be combined; write ${truncate(host)} in a line of standard input`);
  }
  const [option] = Object.values(CHECK_OPTIONS).flatMap((each) => given(each));
  if (option) {
    throw new UsageError(`--checks and ${option.option} cannot be combined; write it in the lines of standard input`);
  }
}

/**
 * Rejects a timeout that is too short for ports that must be blocked.
 *
 * @throws {UsageError} If it is.
 */
export function checkTimeout(
  { options, timeout }: Pick<ConnectCommand, "options" | "timeout">,
  checks: readonly HostCheck[],
) {
  const { timeout: ms = Infinity } = options;
  const check = checks.find(({ blocked }) => blocked.length > 0);
  if (!timeout || ms >= MIN_BLOCKED_TIMEOUT_MS || !check) return;
  const [line] = check.blocked.map(check.lineOf);
  const where = line === undefined ? "" : ` in line ${line}`;
  const reason = `with --blocked${where}, because with less, a lost packet looks like a firewall`;
  throw invalidValue(timeout, `at least ${MIN_BLOCKED_TIMEOUT_MS / 1000} seconds ${reason}`);
}
