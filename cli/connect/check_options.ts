/**
 * The options of `greeter connect` that say what to check. The lines of `--checks` have them, too.
 *
 * @module
 */
import { BLOCKED_STATES, type BlockedState, CHECK_DEFAULTS } from "../../client.ts";
import { MAX_GREETING_BYTES } from "../../server.ts";
import { type Given, type OptionTable, type Rewritten, UsageError } from "../args.ts";
import { encodeText } from "../escapes.ts";
import { host } from "../text.ts";
import {
  checkEscapes,
  invalidValue,
  portList,
  type PortsWithText,
  portsWithText,
  rejectBoth,
  textsByPort,
  type Values,
} from "../values.ts";
import { expectedPorts } from "./expected_ports.ts";
import type { BytesFunction, GivenCheck } from "./host_checks.ts";
import { toHostnames } from "./hosts.ts";

/** The options that say what to check. */
export const CHECK_OPTIONS = {
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
    help: "text that -p ports without =TEXT must send",
    check: (given) => checkClientText(given, given.text),
  },
  send: {
    short: "s",
    value: "TEXT",
    example: String.raw`'PING\r\n'`,
    help: "send this to the ports of -p after connecting",
    check: (given) => checkClientText(given, given.text),
  },
  ipv4: { short: "4", help: "use IPv4 only" },
  ipv6: { short: "6", help: "use IPv6 only; by default, IPv4 comes first" },
} as const satisfies OptionTable;

/**
 * Checks what the command line or a line of `--checks` says of its hosts.
 *
 * @throws {UsageError} If a value is invalid.
 */
export function toGivenCheck({ flag, one, all, given }: Values, rewritten: Rewritten, line?: number): GivenCheck {
  const { port: portOption, open: openOption, blocked: blockedOption } = CHECK_OPTIONS;
  const lists = [given(portOption), given(openOption), given(blockedOption)].filter(({ length }) => length > 0);
  // An operand that is a port list probably belongs to the option that was given, if it is only one. But nobody is advised to
  // block a port that may have to be open.
  const [list] = lists.length === 1 && given(blockedOption).length === 0 ? lists : [];
  const hostnames = toHostnames(rewritten.operands, list ?? []);
  rejectBoth("ipv4", "ipv6", rewritten);
  const isDefault = lists.length === 0;
  const greeted = isDefault ? [DEFAULT_PORTS] : all(portOption);
  const blocked = all(blockedOption);
  const open = all(openOption).flat();
  expectedPorts(greeted.flatMap(({ list }) => list), open, blocked); // throws if a port has two expectations
  const texts = textsByPort(greeted, "texts");
  const states = textsByPort(blocked, "states", "--blocked");
  if (greeted.length === 0) {
    const [useless] = [...given(CHECK_OPTIONS.expect), ...given(CHECK_OPTIONS.send)];
    if (useless) throw new UsageError(`${useless.option} applies only to ports that must greet; add them with -p LIST`);
  }
  const [unused] = given(CHECK_OPTIONS.expect);
  if (unused && greeted.every(({ list }) => list.every((each) => texts.has(each)))) {
    throw new UsageError(
      `${unused.option} applies to no port, because each port of -p has its own TEXT; remove ${unused.option}`,
    );
  }
  return {
    line,
    hostnames,
    family: flag(CHECK_OPTIONS.ipv4) ? 4 : flag(CHECK_OPTIONS.ipv6) ? 6 : undefined,
    greeted,
    open,
    blocked,
    states,
    expect: textFunction(one(CHECK_OPTIONS.expect), texts),
    send: textFunction(one(CHECK_OPTIONS.send)),
  };
}

/** The ports that must greet if no list was given. */
const DEFAULT_PORTS: PortsWithText = {
  given: { option: "-p", text: `${CHECK_DEFAULTS.greeted}` },
  list: [CHECK_DEFAULTS.greeted],
  text: undefined,
};

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

/** A name has at most 253 bytes in DNS, and a dot may follow. */
const LONGEST_HOST = "x".repeat(254);

/** Checks the escapes and the length of a text, which is the whole value of an option or a part of it. */
function checkClientText(given: Given, text: string): string {
  checkEscapes(given);
  const { length } = encodeText(text, { host: LONGEST_HOST, port: "65535" });
  if (length > 0 && length <= MAX_GREETING_BYTES) return text;
  throw invalidValue(given, `text of 1 to ${MAX_GREETING_BYTES} bytes`);
}

/**
 * Returns a function that encodes the text of a port, or `undefined` if there is no text at all. `{host}` is as in the
 * header `Host` of HTTP, where an IPv6 address has brackets, and no zone.
 */
function textFunction(
  text: string | undefined,
  byPort: ReadonlyMap<number, string> = new Map(),
): BytesFunction | undefined {
  if (text === undefined && byPort.size === 0) return undefined;
  return (target) => {
    const template = byPort.get(target.port) ?? text;
    if (template === undefined) return undefined;
    const hostname = target.host.replace(/%.*/s, "");
    return encodeText(template, { host: host({ hostname }), port: `${target.port}` });
  };
}
