/**
 * The options of `checkPorts()`, and their defaults.
 *
 * @module
 */
import { DEFAULT_PORT } from "../shared/limits.ts";
import type { BlockedState, ProbeResult } from "./results.ts";

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

/** The lowest `rate`, in connections a second. */
export const MIN_RATE = 0.1;
/** The highest `rate`, in connections a second. */
export const MAX_RATE = 100_000;

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
   * Ports that must not be reachable. They are tried only after all ports of the host in `greeted` and `open`. They pass
   * only if these are as expected, and if connections to these ports succeed the whole time, because the ports of a host
   * that is down are not reachable either.
   */
  blocked?: number | readonly number[];
  /**
   * The only state in which ports in `blocked` pass. Or a function that returns that for a host and a port, or `undefined`
   * to accept any of these states. Default: `refused`, `timeout` and `unreachable` pass.
   */
  blockedState?: BlockedState | ((target: HostPort) => BlockedState | undefined);
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
   * Ports in `blocked` are tried in passes instead, with pauses of 3, 6 and then 7 s. Default: 0, which probes each port
   * once, and makes one pass.
   */
  within?: number;
  /**
   * How many connections to each host start in a second, from 0.1 to 100,000. They start evenly. Default: no limit for ports
   * in `greeted` and `open`. For ports in `blocked`, 4 if there are at most 8, otherwise 20 or what spreads them over 10 s.
   * Connections that observe the host while blocked ports are tried are not included.
   */
  rate?: number;
  /**
   * Whether ports in `blocked` are judged only if another port of the host must be greeted or open. Otherwise, they pass
   * although the host may be down. Default: false.
   */
  requireControl?: boolean;
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
   * lookup has failed, there are none. A host whose checks have different families is looked up for each `family`.
   */
  onLookup?: (host: string, addresses: readonly string[], family: Check["family"]) => void;
  /**
   * Called when a port has been tried at the addresses of its host, including ports that will be tried again. `ok` is only
   * what this attempt says: a port that must be blocked is judged later. Also called when a port is probed again to judge
   * blocked ports. This can happen after the port's result has been yielded. Ports that must be blocked are tried at each
   * address separately.
   */
  onAttempt?: (result: ProbeResult) => void;
  /** Called when a pass over the blocked ports of a host begins, whenever fewer of its ports are left, and when it ends. */
  onPass?: (progress: PassProgress) => void;
}

/** How far a pass over the blocked ports of a host is. */
export interface PassProgress {
  /** The host as given. */
  readonly host: string;
  /** The `family` of its check. */
  readonly family: Check["family"];
  /** The number of the pass, from 1. */
  readonly pass: number;
  /**
   * How many connections to blocked ports are left in this pass, one for each address. They can become more again.
   * `undefined` when the pass has ended.
   */
  readonly left: number | undefined;
  /** How long the pass has taken so far, in milliseconds. */
  readonly duration: number;
  /** After how many milliseconds the next pass begins, or `undefined` if none is planned. */
  readonly pause: number | undefined;
  /** The addresses that are not tested, because this machine has no route to them or does not have their family. */
  readonly notTested: readonly string[];
}
