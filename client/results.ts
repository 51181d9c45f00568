/**
 * What `checkPorts()` yields: expectations, states, results, and why a blocked port does not pass.
 *
 * @module
 */
import { messageOf } from "../shared/errors.ts";

/** What a port should do. */
export const EXPECTATIONS = ["greeted", "open", "blocked"] as const;

/** What a port should do: greet, be open, or not be reachable. */
export type Expectation = typeof EXPECTATIONS[number];

/** What a port must do, for the documentation. */
export const EXPECTATION_MEANINGS: Readonly<Record<Expectation, string>> = {
  greeted: "send a greeting that contains the expected text, if there is one",
  open: "accept a connection, and not close or reset it at once without sending anything",
  blocked: "not be reachable; meanwhile, the host's other ports must work",
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
 * The state of a port. docs/manual.md has a table of what each one means, under "States".
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
  /** The `family` of its check. */
  readonly family: 4 | 6 | undefined;
  /** The errors of other hosts, in the order of the hosts. */
  readonly others: readonly ConnectError[];

  /** The message includes the message of the cause. */
  constructor(hostname: string, cause: unknown, family?: 4 | 6, others: readonly ConnectError[] = []) {
    super(`cannot connect to ${hostname}: ${messageOf(cause)}`, { cause });
    this.hostname = hostname;
    this.family = family;
    this.others = others;
  }
}

/** The states in which a port that must be blocked can pass. */
export const BLOCKED_STATES = ["refused", "timeout", "unreachable"] as const satisfies readonly ProbeState[];

/** A state in which a port that must be blocked can pass. */
export type BlockedState = typeof BLOCKED_STATES[number];

/** Why a port that must be blocked does not pass, in the order of the documentation. */
export const REASONS = [
  "reached",
  "other_state",
  "not_listening",
  "no_control",
  "control_lost",
  "control_refused",
  "control_failed",
  "addresses_changed",
  "required_failed",
  "required_missing",
  "interrupted",
] as const;

/**
 * Why a port that must be blocked does not pass. docs/blocked-ports.md has a table of what each one means.
 */
export type Reason = typeof REASONS[number];

/** What a reason means, and what to do, for the documentation. */
export interface ReasonMeaning {
  /** What happened. */
  readonly meaning: string;
  /** What to do. */
  readonly advice: string;
  /** The `ok` of a port with this reason. */
  readonly ok: false | null;
}

/** What the reasons mean, for the documentation. */
export const REASON_MEANINGS: Readonly<Record<Reason, ReasonMeaning>> = {
  reached: {
    meaning: "the port accepted a connection",
    advice: "block it, or remove it from the ports that must be blocked",
    ok: false,
  },
  other_state: {
    meaning: "the port is blocked, but not in the required state",
    advice: "make the firewall drop or reject as required; if it rejects with ICMP, use `--rate 1`",
    ok: false,
  },
  not_listening: {
    meaning: "at one address, the server's list lacks this port, or there is no list",
    advice:
      "add this port to those of the server, or correct the list of blocked ports; use `--announce` at each address",
    ok: false,
  },
  no_control: {
    meaning: "at one address of the host, no port that must greet or be open could be reached",
    advice: "let the server listen at that address, or check one family or one address",
    ok: false,
  },
  control_lost: {
    meaning: "while this port was tried, controls were lost, delayed or missing",
    advice: "use a lower rate, or exempt this machine from the limit on new connections",
    ok: false,
  },
  control_refused: {
    meaning: "a port that must greet or be open refused a connection during the pass",
    advice: "add another port that must greet or be open; the server may limit connections, or have stopped",
    ok: false,
  },
  control_failed: {
    meaning: "a port that must greet or be open failed when it was checked again at the end",
    advice: "check the host, or another port that must greet or be open",
    ok: false,
  },
  addresses_changed: {
    meaning: "the name of the host had other addresses at the end",
    advice: "check an address instead of a name",
    ok: false,
  },
  required_failed: {
    meaning: "another port of the host has failed, so the host may be down",
    advice: "fix that port first",
    ok: null,
  },
  required_missing: {
    meaning: "no port of the host must greet or be open; `--checks` requires one",
    advice: "add another port of the host that must greet or be open",
    ok: null,
  },
  interrupted: { meaning: "a signal ended the run", advice: "run the check again", ok: null },
};

/** What `checkPorts` found out about a port. */
export interface ProbeResult {
  /** The host as given. */
  readonly host: string;
  /** What the port should do. */
  readonly expected: Expectation;
  /**
   * Whether the port is as expected. `null` for a port that must be blocked and could not be reached, if it was not judged:
   * another port of the host is not as expected, or the run was interrupted.
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
   * The system's message, such as `No route to host`, if the state is `unreachable`. For a port that must be blocked, what
   * is not proven and why.
   */
  readonly error: string | undefined;
  /** Why a port that must be blocked is not as expected. `undefined` for all other ports. */
  readonly reason: Reason | undefined;
  /**
   * Whether the server listens on a port that must be blocked, according to the announcement in the greetings of the host.
   * `null` if there is none, and for all other ports.
   */
  readonly listening: boolean | null;
  /**
   * How long before the end of this probe the port accepted a connection in an earlier pass of the run, in milliseconds.
   * `undefined` if it did not.
   */
  readonly reachableBefore: number | undefined;
}
