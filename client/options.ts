/**
 * The options and results of `checkPorts()`: their types, defaults and ranges.
 *
 * @module
 */
import { checkAddress } from "../shared/addresses.ts";
import { messageOf } from "../shared/errors.ts";
import { DEFAULT_PORT, MAX_GREETING_BYTES } from "../shared/limits.ts";
import { checkInteger, checkMilliseconds } from "../shared/ranges.ts";

/** The default options of `checkPorts`; `timeout` is in milliseconds. */
export const CHECK_DEFAULTS = {
  greeted: DEFAULT_PORT,
  // Linux gives up on an address that no host has after 3.05 to 3.1 s. With 3 s, such a port would be `timeout` or
  // `unreachable` by chance.
  timeout: 3500,
  concurrency: 4096,
} as const;

/**
 * The shortest `timeout` for ports that must be blocked, in milliseconds. The kernel resends a SYN after 1 s. With a
 * shorter timeout, a single lost packet would look like a firewall.
 */
export const MIN_BLOCKED_TIMEOUT_MS = 1500;

/** What a port should do. */
export const EXPECTATIONS = ["greeted", "open", "blocked"] as const;

/** What a port should do: greet, be open, or not be reachable. */
export type Expectation = typeof EXPECTATIONS[number];

/** What a port must do, for the documentation. */
export const EXPECTATION_MEANINGS: Readonly<Record<Expectation, string>> = {
  greeted: "send a greeting that contains the expected text, if there is one",
  open: "accept a connection, and not close or reset it at once without sending anything",
  blocked: "not be reachable, while all ports of the host that must greet or be open are as expected",
};

/** All states, in the order of the summary. */
export const PROBE_STATES = [
  "greeted",
  "open",
  "mismatch",
  "silent",
  "closed",
  "reset",
  "refused",
  "timeout",
  "unreachable",
] as const;

/**
 * The state of a port. docs/manual.md has a table of what each one means, under "Expectations".
 *
 * A port that must be `open` is `open` if data was received, even if the server then closes the connection, as many
 * servers do when they refuse a client. To check the data, use `greeted` and `expect`. A port that must be `blocked` is
 * `greeted` if data was received.
 */
export type ProbeState = typeof PROBE_STATES[number];

/** What a state means, for the documentation. */
export interface StateMeaning {
  /** What happened. */
  readonly meaning: string;
  /** The expectations of the ports that can have this state. */
  readonly expectations: readonly Expectation[];
  /** The state that nmap reports for such a port. */
  readonly nmap: string;
}

/** What the states mean, for the documentation. */
export const STATE_MEANINGS: Readonly<Record<ProbeState, StateMeaning>> = {
  greeted: {
    meaning: "data was received; if a text is expected, the data contains it",
    expectations: ["greeted", "blocked"],
    nmap: "open",
  },
  open: {
    meaning: "connected, and data was received or the connection stayed open",
    expectations: ["open", "blocked"],
    nmap: "open",
  },
  mismatch: {
    meaning: "data was received, but not the expected text",
    expectations: ["greeted"],
    nmap: "open",
  },
  silent: {
    meaning: "connected, but nothing was received within the timeout",
    expectations: ["greeted"],
    nmap: "open",
  },
  closed: { meaning: "connected, then closed without data", expectations: EXPECTATIONS, nmap: "open" },
  reset: { meaning: "connected, then reset before any data could be read", expectations: EXPECTATIONS, nmap: "open" },
  refused: {
    meaning: "the connection was refused: RST, or ICMP port unreachable",
    expectations: EXPECTATIONS,
    nmap: "closed",
  },
  timeout: {
    meaning: "the attempt to connect was not answered within the timeout",
    expectations: EXPECTATIONS,
    nmap: "filtered",
  },
  unreachable: {
    meaning: 'another network error, such as "No route to host"; the result names it',
    expectations: EXPECTATIONS,
    nmap: "filtered",
  },
};

/**
 * Thrown by `checkPorts` if the ports of a host cannot be probed, or if they must be blocked and this machine has no route to
 * the host, so that an unreachable port proves nothing. Its `cause` is what the lookup or `Deno.connect` threw.
 */
export class ConnectError extends Error {
  /** Always `"ConnectError"`. */
  override readonly name = "ConnectError";
  /** The requested host. */
  readonly hostname: string;

  /** The message includes the message of the cause. */
  constructor(hostname: string, cause: unknown) {
    super(`cannot connect to ${hostname}: ${messageOf(cause)}`, { cause });
    this.hostname = hostname;
  }
}

/** What `checkPorts` found out about a port. */
export interface ProbeResult {
  /** The host as given. */
  readonly host: string;
  /** What the port should do. */
  readonly expected: Expectation;
  /**
   * Whether the port is as expected. `null` for a port that must be blocked and could not be reached, if that proves
   * nothing: a port that must be greeted or open could not be reached either.
   */
  readonly ok: boolean | null;
  /** The state of the port. */
  readonly state: ProbeState;
  /** The address and port that were probed. */
  readonly remoteAddr: Deno.NetAddr;
  /** The client's address, or `undefined` if no connection was made. */
  readonly localAddr: Deno.NetAddr | undefined;
  /** The first bytes that the server sent, at most {@linkcode MAX_GREETING_BYTES}. */
  readonly greeting: Uint8Array;
  /** The time from the start of the probe until its state was known, in milliseconds. */
  readonly duration: number;
  /**
   * The system's message, such as `No route to host`, if the state is `unreachable`. For a port that must be blocked, why
   * nothing is proven, if a port that must be greeted or open was not so afterwards.
   */
  readonly error: string | undefined;
}

/** Text, encoded as UTF-8, or bytes. */
export type TextOrBytes = string | Uint8Array;

/** What a function in a {@linkcode Check} gets. */
export interface HostPort {
  /** The host as given. */
  readonly host: string;
  /** The port. */
  readonly port: number;
}

/** What to check: ports of one host, or the same ports of several hosts. */
export interface Check {
  /** One host, or several: names or addresses. A host given twice is checked once. */
  hostname: string | readonly string[];
  /** Ports that must greet, from 1 to 65535. Default: 999 if there is neither `open` nor `blocked`. */
  greeted?: number | readonly number[];
  /** Ports that must be open. No greeting is required. */
  open?: number | readonly number[];
  /**
   * Ports that must not be reachable. They are judged only after all ports of the host in `greeted` and `open` are as
   * expected, and one of those is probed again afterwards, because the ports of a host that is down are not reachable
   * either.
   */
  blocked?: number | readonly number[];
  /**
   * What the greeting of a port in `greeted` must contain. Or a function that returns that for a host and a port, or
   * `undefined` to accept any greeting. Default: any greeting is accepted.
   */
  expect?: TextOrBytes | ((target: HostPort) => TextOrBytes | undefined);
  /**
   * What to send to the ports in `greeted` after connecting. Or a function that returns that for a host and a port, or
   * `undefined` to send nothing. Default: nothing is sent.
   */
  send?: TextOrBytes | ((target: HostPort) => TextOrBytes | undefined);
  /** The only family of addresses to use. Default: both, IPv4 first. */
  family?: 4 | 6;
}

/** Options of `checkPorts`, which apply to all checks. */
export interface CheckOptions {
  /**
   * How long one probe may take, in milliseconds. For a port in `greeted`, it covers the time from connecting to the end of
   * the greeting. For other ports, it covers only connecting. Default: 3500. With `blocked`, at least 1500.
   *
   * If it is given, the lookup of a name may not take longer either. Without `timeout` and `within`, a lookup may take
   * 16 s, because the system sends a lost query again only after 5 s.
   */
  timeout?: number;
  /**
   * How long to keep probing ports that are not as expected, in milliseconds. Each is probed again after a pause of
   * 100 ms, which doubles up to 1 s. The last probe starts when this time is over, unless one is running then. Names are
   * looked up again, about once a second. A lookup may last until this time is over, and at least as long as `timeout`.
   * Default: 0, which probes each port once.
   */
  within?: number;
  /**
   * How many probes run at once. If there are fewer descriptors or local ports, as many as possible run. Default: 4096.
   */
  concurrency?: number;
  /**
   * Aborting it ends the iteration, also during the lookup of a name. Known results are still delivered; unfinished
   * ports have no result. A pending lookup cannot be canceled: it keeps the process alive until the system's resolver
   * gives up, unless the process calls `Deno.exit()`.
   */
  signal?: AbortSignal;
  /**
   * Called once for each host when its lookup has ended, with its addresses in the order in which they are tried. If the
   * lookup has failed, there are none.
   */
  onLookup?: (host: string, addresses: readonly string[]) => void;
  /**
   * Called when a port has been tried at the addresses of its host, including ports that will be tried again. `ok` is only
   * what this attempt says: a port that must be blocked is judged later. Also called when a port is probed again to judge
   * blocked ports. This can happen after the port's result has been yielded.
   */
  onAttempt?: (result: ProbeResult) => void;
}

/** Ports by what they should do. */
export type PortsByExpectation = Readonly<Record<Expectation, readonly number[]>>;

/** The ports of a check, each once. */
export function portsByExpectation(
  { greeted, open = [], blocked = [] }: Pick<Check, Expectation>,
): PortsByExpectation {
  const unique = (ports: number | readonly number[]) => [...new Set([ports].flat())];
  const isDefault = greeted === undefined && [open, blocked].flat().length === 0;
  return {
    greeted: unique(greeted ?? (isDefault ? CHECK_DEFAULTS.greeted : [])),
    open: unique(open),
    blocked: unique(blocked),
  };
}

/**
 * Rejects what is out of range.
 *
 * @throws {RangeError} If a number is out of range, there is no check, no host or no port, a numeric address is ambiguous,
 * a port has two expectations, or a text is empty or too long. The message begins with the option's name.
 */
export function validateChecks(checks: readonly Check[], { timeout, within, concurrency }: CheckOptions) {
  if (checks.length === 0) throw new RangeError("checks: expected at least one check");
  for (const check of checks) validateCheck(check);
  checkMilliseconds("timeout", timeout);
  const hasBlocked = checks.some(({ blocked = [] }) => [blocked].flat().length > 0);
  if (hasBlocked && timeout !== undefined && timeout < MIN_BLOCKED_TIMEOUT_MS) {
    throw new RangeError(
      `timeout: expected at least ${MIN_BLOCKED_TIMEOUT_MS} milliseconds for blocked ports, not ${timeout}`,
    );
  }
  if (within !== 0) checkMilliseconds("within", within);
  checkInteger("concurrency", concurrency, 1, Number.MAX_SAFE_INTEGER);
}

function validateCheck(check: Check) {
  const { hostname, greeted, open, blocked, family } = check;
  if ([hostname].flat().length === 0) throw new RangeError("hostname: expected at least one host");
  for (const each of [hostname].flat()) {
    if (each === "") throw new RangeError("hostname: expected a name or an address, not an empty text");
    checkAddress("hostname", each);
  }
  for (const [name, ports] of Object.entries({ greeted, open, blocked })) {
    if (ports === undefined) continue;
    for (const each of [ports].flat()) checkInteger(name, each, 1, 65_535);
  }
  const ports = portsByExpectation(check);
  if (Object.values(ports).every(({ length }) => length === 0)) {
    throw new RangeError("greeted: expected at least one port");
  }
  const expectationOf = new Map<number, Expectation>();
  for (const expectation of EXPECTATIONS) {
    for (const port of ports[expectation]) {
      const other = expectationOf.get(port);
      if (other) throw new RangeError(`${expectation}: port ${port} must be ${other} already`);
      expectationOf.set(port, expectation);
    }
  }
  if (family !== undefined && family !== 4 && family !== 6) {
    throw new RangeError(`family: expected 4 or 6, not ${family}`);
  }
}

/**
 * Encodes a text.
 *
 * @throws {RangeError} If it is empty or too long.
 */
export function encodeOption(name: string, text: TextOrBytes): Uint8Array {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  if (bytes.length > 0 && bytes.length <= MAX_GREETING_BYTES) return bytes;
  throw new RangeError(`${name}: expected from 1 to ${MAX_GREETING_BYTES} bytes, not ${bytes.length}`);
}
