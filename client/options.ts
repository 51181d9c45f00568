/**
 * The options and results of `connect()`: their types, defaults and ranges.
 *
 * @module
 */
import { messageOf } from "../shared/errors.ts";
import { DEFAULT_PORT, MAX_GREETING_BYTES } from "../shared/limits.ts";
import { checkInteger, checkMilliseconds } from "../shared/ranges.ts";

/** The default options of `connect`; `timeout` is in milliseconds. */
export const CONNECT_DEFAULTS = {
  port: DEFAULT_PORT,
  // The kernel resends a lost SYN after 1 s, and again 2 s later.
  timeout: 3000,
  concurrency: 4096,
} as const;

/** All states, in the order of the summary. */
export const PROBE_STATES = [
  "greeted",
  "mismatch",
  "silent",
  "closed",
  "reset",
  "refused",
  "timeout",
  "unreachable",
] as const;

/**
 * The result of a probe. nmap's word is the state that nmap reports for such a port.
 *
 * | state         | meaning                                                                          | nmap's word |
 * | ------------- | -------------------------------------------------------------------------------- | ----------- |
 * | `greeted`     | a greeting was received; with `expect`, it contains the expected text            | open        |
 * | `mismatch`    | data was received, but not what `expect` says                                    | open        |
 * | `silent`      | connected, but no data was received within the timeout                           | open        |
 * | `closed`      | connected, then closed without data                                              | open        |
 * | `reset`       | connected, then reset before any data could be read                              | open        |
 * | `refused`     | the connection was refused: RST, or ICMP port unreachable                        | closed      |
 * | `timeout`     | the attempt to connect was not answered within the timeout                       | filtered    |
 * | `unreachable` | any other error while connecting, such as EHOSTUNREACH, ENETUNREACH or EACCES    | filtered    |
 */
export type ProbeState = typeof PROBE_STATES[number];

/** Thrown by `connect` if no port can be probed. Its `cause` is what the lookup or `Deno.connect` threw. */
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

/** What `connect` found out about a port. */
export interface ProbeResult {
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
  /** The system's message, such as `No route to host`, if the state is `unreachable`. */
  readonly error: string | undefined;
}

/** Options of `connect`. */
export interface ConnectOptions {
  /** An address, or a name, which is resolved once for all ports. */
  hostname: string;
  /** One port, or several, from 1 to 65535. A port that is given twice is probed once. Default: 999. */
  port?: number | readonly number[];
  /**
   * What a greeting must contain: text, encoded as UTF-8, or bytes. Or a function that returns either for a port.
   * Default: any greeting is accepted.
   */
  expect?: string | Uint8Array | ((port: number) => string | Uint8Array);
  /**
   * How long one probe may take, in milliseconds, from connecting to the end of the greeting. Default: 3000, because
   * the kernel resends a lost SYN after 1 s.
   */
  timeout?: number;
  /**
   * How long to keep probing ports that were not greeted, in milliseconds. No new round of probes starts after this
   * time, but the last round may still take `timeout`. Default: 0, which probes each port once.
   */
  within?: number;
  /**
   * How many probes run at once. If there are fewer descriptors or local ports, as many as possible run. Default: 4096.
   */
  concurrency?: number;
  /** Whether a name is resolved to an IPv6 address only. Default: IPv4 if it has an IPv4 address, otherwise IPv6. */
  ipv6?: boolean;
  /**
   * Aborting it ends the iteration, also during the lookup of the name. Known results are still delivered; unfinished
   * ports have no result. A pending lookup cannot be canceled: it keeps the process alive until the system's resolver
   * gives up, unless the process calls `Deno.exit()`.
   */
  signal?: AbortSignal;
  /** Called for each result, including those of ports that will be probed again. */
  onResult?: (result: ProbeResult) => void;
}

/**
 * Rejects options that are out of range.
 *
 * @throws {RangeError} If a number is out of range, there is no port, or the expected text is empty or too long. The
 * message begins with the option's name.
 */
export function checkConnectRanges({ port, expect, timeout, within, concurrency }: ConnectOptions) {
  for (const each of [port ?? CONNECT_DEFAULTS.port].flat()) checkInteger("port", each, 1, 65_535);
  checkMilliseconds("timeout", timeout);
  if (within !== 0) checkMilliseconds("within", within);
  checkInteger("concurrency", concurrency, 1, Number.MAX_SAFE_INTEGER);
  if (Array.isArray(port) && port.length === 0) throw new RangeError("port: expected at least one port");
  if (expect === undefined || typeof expect === "function") return;
  const { length } = typeof expect === "string" ? new TextEncoder().encode(expect) : expect;
  if (length === 0 || length > MAX_GREETING_BYTES) {
    throw new RangeError(`expect: expected from 1 to ${MAX_GREETING_BYTES} bytes, not ${length}`);
  }
}
