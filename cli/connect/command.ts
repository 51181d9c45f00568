/**
 * The options of `greeter connect`: the table, the check of each value, and the help text.
 *
 * @module
 */
import {
  BLOCKED_STATES,
  type BlockedState,
  CHECK_DEFAULTS,
  type HostPort,
  MAX_RATE,
  MIN_BLOCKED_TIMEOUT_MS,
  MIN_RATE,
} from "../../client.ts";
import { MAX_GREETING_BYTES } from "../../server.ts";
import { type Given, type OptionTable, type Rewritten, UsageError } from "../args.ts";
import { encodeText } from "../escapes.ts";
import { formatOptions } from "../help.ts";
import { expectedPorts } from "./expected_ports.ts";
import { toHostnames } from "./hosts.ts";
import type { ProbeReportOptions } from "./report.ts";
import {
  checkEscapes,
  integer,
  invalidValue,
  milliseconds,
  number,
  portList,
  type PortsWithText,
  portsWithText,
  rejectBoth,
  textsByPort,
  type Values,
} from "../values.ts";

const MIN_BLOCKED_TIMEOUT_SECONDS = MIN_BLOCKED_TIMEOUT_MS / 1000;

/** The options of `greeter connect`. */
export const CONNECT_OPTIONS = {
  port: {
    short: "p",
    value: "LIST[=TEXT]",
    example: "8080",
    repeatable: true,
    help: "ports that must greet, as in 22,80,8000-8100 or 60000-; TEXT: what their greeting must contain",
    default: `${CHECK_DEFAULTS.greeted} without -o and -b`,
    check: portsWithExpectedText,
  },
  open: {
    short: "o",
    value: "LIST",
    example: "443",
    repeatable: true,
    help: "ports that must be open; no greeting is required",
    check: (given) => portList(given, given.text, 1),
  },
  blocked: {
    short: "b",
    value: "LIST[=STATE]",
    example: "3306",
    repeatable: true,
    help: "ports that must not be reachable; STATE: refused, timeout or unreachable; add -p or -o, so that a dead " +
      "host fails",
    check: blockedPorts,
  },
  expect: {
    short: "e",
    value: "TEXT",
    example: "SSH-2.0",
    help: "what the greeting of the other ports of -p must contain",
    check: (given) => checkClientText(given, given.text),
  },
  send: {
    short: "s",
    value: "TEXT",
    example: String.raw`'PING\r\n'`,
    help: "send this to the ports of -p after connecting",
    check: (given) => checkClientText(given, given.text),
  },
  timeout: {
    short: "t",
    value: "SECONDS",
    example: "5",
    help: "time to connect and to read the greeting",
    default: CHECK_DEFAULTS.timeout / 1000,
    limit: "seconds for each attempt at an address; if given, also for a lookup",
    check: milliseconds,
  },
  within: {
    short: "w",
    value: "SECONDS",
    example: "60",
    help: "keep retrying ports that are not as expected for this long",
    limit: "seconds during which ports are tried again",
    check: milliseconds,
  },
  rate: {
    value: "N",
    example: "5",
    help: "connections to each host in a second; by default, only those of -b are limited",
    limit: "connections to each host that start in a second",
    check: number(MIN_RATE, MAX_RATE, "connections a second"),
  },
  concurrency: {
    value: "N",
    example: "100",
    help: "ports to check at once",
    default: CHECK_DEFAULTS.concurrency,
    limit: "ports that are checked at once",
    check: integer(1, 65_535),
  },
  ipv4: { short: "4", help: "use IPv4 only" },
  ipv6: { short: "6", help: "use IPv6 only; by default, IPv4 addresses come first" },
  json: { help: "print JSON Lines, each port as soon as it is known" },
  quiet: { short: "q", help: "print errors only" },
  help: { short: "h", help: "print this help and exit" },
  version: { short: "V", help: "print the version and exit" },
} as const satisfies OptionTable;

/** The command `greeter connect`, which checks the ports of hosts. */
export interface ConnectCommand extends ProbeReportOptions {
  /** Distinguishes the commands. */
  kind: "connect";
}

/** What `greeter connect --help` prints. */
export function connectHelp(): string {
  return String.raw`Usage: greeter connect [OPTIONS] HOST...

Checks which ports of each HOST can be reached, which are blocked, and whether
the expected server answers.

Options:
${formatOptions(CONNECT_OPTIONS)}

In TEXT, {port} is replaced, and \r \n \t \\ \xHH stand for single bytes.

Exit status: 0 if every port is as expected, 1 if a port is not, 2 on an error.`;
}

/**
 * Checks the values, and returns the command.
 *
 * @throws {UsageError} If a value is invalid.
 */
export function toConnectCommand({ flag, one, all, given }: Values, rewritten: Rewritten): ConnectCommand {
  const { port: portOption, open: openOption, blocked: blockedOption } = CONNECT_OPTIONS;
  // An operand that is a port list probably belongs to the option that was given, if it is only one.
  const lists = [given(portOption), given(openOption), given(blockedOption)].filter(({ length }) => length > 0);
  const [list] = lists.length === 1 ? lists : [];
  const hostname = toHostnames(rewritten.operands, list ?? []);
  rejectBoth("quiet", "json", rewritten);
  rejectBoth("ipv4", "ipv6", rewritten);
  const greeted = all(CONNECT_OPTIONS.port);
  const blocked = all(CONNECT_OPTIONS.blocked);
  const open = all(CONNECT_OPTIONS.open).flat();
  const { isReduced, ...ports } = expectedPorts(greeted.flatMap(({ list }) => list), open, blocked);
  const texts = textsByPort(greeted, "texts");
  const states = textsByPort(blocked, "states", "--blocked");
  const expect = textFunction(one(CONNECT_OPTIONS.expect), texts);
  const send = textFunction(one(CONNECT_OPTIONS.send));
  if (ports.greeted.length === 0) {
    const [useless] = [...given(CONNECT_OPTIONS.expect), ...given(CONNECT_OPTIONS.send)];
    if (useless) throw new UsageError(`${useless.option} applies only to ports that must greet; add them with -p LIST`);
  }
  const [unused] = given(CONNECT_OPTIONS.expect);
  if (unused && ports.greeted.every((each) => texts.has(each))) {
    throw new UsageError(
      `${unused.option} applies to no port, because each port of -p has its own TEXT; remove ${unused.option}`,
    );
  }
  const timeout = one(CONNECT_OPTIONS.timeout);
  const [typedTimeout] = given(CONNECT_OPTIONS.timeout);
  if (typedTimeout && timeout !== undefined && timeout < MIN_BLOCKED_TIMEOUT_MS && blocked.length > 0) {
    const reason = "with --blocked, so that a single lost packet does not look like a firewall";
    throw invalidValue(typedTimeout, `at least ${MIN_BLOCKED_TIMEOUT_SECONDS} seconds ${reason}`);
  }
  return {
    kind: "connect",
    check: {
      hostname,
      ...ports,
      blockedState: states.size === 0 ? undefined : ({ port }) => states.get(port),
      expect,
      send,
      family: flag(CONNECT_OPTIONS.ipv4) ? 4 : flag(CONNECT_OPTIONS.ipv6) ? 6 : undefined,
    },
    options: {
      timeout,
      within: one(CONNECT_OPTIONS.within),
      rate: one(CONNECT_OPTIONS.rate),
      concurrency: one(CONNECT_OPTIONS.concurrency),
    },
    isReduced,
    json: flag(CONNECT_OPTIONS.json),
    quiet: flag(CONNECT_OPTIONS.quiet),
  };
}

/** Parses `LIST` or `LIST=TEXT`. */
function portsWithExpectedText(given: Given): PortsWithText {
  const ports = portsWithText(given, 1);
  if (ports.text !== undefined) checkClientText(given, ports.text);
  return ports;
}

/** Parses `LIST` or `LIST=STATE`. */
function blockedPorts(given: Given): PortsWithText<BlockedState> {
  const { text, ...ports } = portsWithText(given, 1);
  const state = BLOCKED_STATES.find((each) => each === text);
  if (text === undefined || state) return { ...ports, text: state };
  throw invalidValue(given, `one of these states after LIST=: ${BLOCKED_STATES.join(", ")}`);
}

/** Checks the escapes and the length of a text, which is the whole value of an option or a part of it. */
function checkClientText(given: Given, text: string): string {
  checkEscapes(given);
  const { length } = encodeText(text, { port: "65535" });
  if (length > 0 && length <= MAX_GREETING_BYTES) return text;
  throw invalidValue(given, `text of 1 to ${MAX_GREETING_BYTES} bytes`);
}

/** Returns a function that encodes the text of a port, or `undefined` if there is no text at all. */
function textFunction(
  text: string | undefined,
  byPort: ReadonlyMap<number, string> = new Map(),
): ((target: HostPort) => Uint8Array | undefined) | undefined {
  if (text === undefined && byPort.size === 0) return undefined;
  return ({ port }) => {
    const template = byPort.get(port) ?? text;
    return template === undefined ? undefined : encodeText(template, { port: `${port}` });
  };
}
