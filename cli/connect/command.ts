/**
 * The options of `greeter connect`: the table, the check of each value, and the help text.
 *
 * @module
 */
import { CONNECT_DEFAULTS, type ConnectOptions } from "../../client.ts";
import { MAX_GREETING_BYTES } from "../../server.ts";
import { formatOptions, type Given, type OptionTable, quote, type Rewritten, truncate, UsageError } from "../args.ts";
import { uniquePorts } from "../ports.ts";
import type { ProbeReportOptions } from "./report.ts";
import {
  integer,
  invalidValue,
  isPortList,
  milliseconds,
  portList,
  rejectBoth,
  type Values,
  writePorts,
} from "../values.ts";

/** The options of `greeter connect`. */
export const CONNECT_OPTIONS = {
  port: {
    short: "p",
    value: "LIST",
    example: "8080",
    repeatable: true,
    help: `ports, as in 22,80,8000-8100 or 60000- (default: ${CONNECT_DEFAULTS.port})`,
    check: (given) => portList(given, given.text, 1),
  },
  expect: {
    short: "e",
    value: "TEXT",
    example: "SSH-2.0",
    help: "text the greeting must contain; {port} is replaced",
    check: checkExpected,
  },
  timeout: {
    short: "t",
    value: "SECONDS",
    example: "5",
    help: `time to connect and to read the greeting (default: ${CONNECT_DEFAULTS.timeout / 1000})`,
    check: milliseconds,
  },
  within: {
    short: "w",
    value: "SECONDS",
    example: "60",
    help: "keep retrying failed ports for this long",
    check: milliseconds,
  },
  concurrency: {
    value: "N",
    example: "100",
    help: `ports to check at once (default: ${CONNECT_DEFAULTS.concurrency})`,
    check: integer(1, 65_535),
  },
  ipv6: { short: "6", help: "use IPv6 only; otherwise IPv4 is preferred" },
  json: { help: "print JSON Lines, each port as soon as it is known" },
  quiet: { short: "q", help: "print errors only" },
  help: { short: "h", help: "print this help and exit" },
  version: { short: "V", help: "print the version and exit" },
} as const satisfies OptionTable;

/** The command `greeter connect`, which checks the ports of a host. */
export interface ConnectCommand extends ProbeReportOptions {
  /** Distinguishes the commands. */
  kind: "connect";
  /** What is passed to `connect`; an option that was not given is undefined. */
  options: ConnectOptions & { port: number[] };
}

/** What `greeter connect --help` prints. */
export function connectHelp(): string {
  return `Usage: greeter connect [OPTIONS] HOST

Checks which ports of HOST can be reached, and whether the expected server
answers.

Options:
${formatOptions(CONNECT_OPTIONS)}

Exit status: 0 if every port was greeted, 1 if a port was not, 2 on an error.`;
}

/** Matches `name:22` and `[::1]:22`, but not `::1`. */
const HOST_WITH_PORT = /^([^:]+|\[.*\]):(\d*)$/;

/**
 * Checks the values, and returns the command.
 *
 * @throws {UsageError} If a value is invalid.
 */
export function toConnectCommand({ flag, one, all, given }: Values, rewritten: Rewritten): ConnectCommand {
  const host = onlyHost(rewritten.operands, given(CONNECT_OPTIONS.port));
  rejectBoth("quiet", "json", rewritten);
  const ports = uniquePorts(all(CONNECT_OPTIONS.port).flat());
  const expected = one(CONNECT_OPTIONS.expect);
  return {
    kind: "connect",
    options: {
      hostname: toHostname(host),
      port: ports.length > 0 ? ports : [CONNECT_DEFAULTS.port],
      expect: expected?.includes("{port}") ? (port) => expected.replaceAll("{port}", `${port}`) : expected,
      timeout: one(CONNECT_OPTIONS.timeout),
      within: one(CONNECT_OPTIONS.within),
      concurrency: one(CONNECT_OPTIONS.concurrency),
      ipv6: flag(CONNECT_OPTIONS.ipv6),
    },
    expected,
    json: flag(CONNECT_OPTIONS.json),
    quiet: flag(CONNECT_OPTIONS.quiet),
  };
}

const ONE_HOST = "only one HOST can be checked; run greeter connect once for each";

/** Returns the only operand. */
function onlyHost(operands: readonly string[], ports: readonly Given[]): string {
  const [host, ...extra] = [...operands.filter((operand) => !isPortList(operand)), ...operands.filter(isPortList)];
  if (host === undefined) throw new UsageError("HOST is missing; write greeter connect [OPTIONS] HOST");
  if (extra[0] === undefined) return host;
  const advice = extra.every(isPortList) ? `to check ports, ${writePorts(ports, extra)}` : ONE_HOST;
  throw new UsageError(`unexpected argument ${quote(extra[0])}; ${advice}`);
}

/** Checks HOST, and removes the brackets of an IPv6 address. */
function toHostname(host: string): string {
  const [, name = "", port = ""] = host.match(HOST_WITH_PORT) ?? [];
  if (name !== "") {
    const suggestion = `greeter connect ${truncate(name)} -p ${port || "PORT"}`;
    throw new UsageError(`invalid HOST ${quote(host)}: write ${suggestion}`);
  }
  if (host.includes(",")) throw new UsageError(`invalid HOST ${quote(host)}: ${ONE_HOST}`);
  const hostname = host.replace(/^\[(.*)\]$/, "$1");
  if (/^[^\s/[\]]+$/.test(hostname)) return hostname;
  throw new UsageError(`invalid HOST ${quote(host)}: expected a name or an address`);
}

function checkExpected(given: Given): string {
  const { length } = new TextEncoder().encode(given.text.replaceAll("{port}", "65535"));
  if (length > 0 && length <= MAX_GREETING_BYTES) return given.text;
  throw invalidValue(given, `text of 1 to ${MAX_GREETING_BYTES} bytes`);
}
