/**
 * What the benchmark measures. All of it can be written as JSON and read again.
 *
 * @module
 */

/** What a run of the load generator (load.c) has seen. */
export interface Seen {
  /** How many clients received exactly the greeting and then end of stream. */
  whole: number;
  /** How many did not. */
  failed: number;
  /** How long the run took, in seconds. */
  seconds: number;
  /** The time from connect to end of stream, in milliseconds: median, 99th percentile, maximum. */
  p50: number;
  p99: number;
  max: number;
}

/** A server under load. */
export interface Speed extends Seen {
  /** The server's processor time per connection, in microseconds, or `null` if it has ended. */
  cpu: number | null;
}

/** A server that holds connections. */
export interface Held {
  /** Its resident memory, in bytes. */
  memory: number | null;
  /** How long a new client waits, in milliseconds, or `null` if it is not greeted. */
  wait: number | null;
}

/** How a server did under one kind of abuse. */
export interface Abuse {
  alive: boolean;
  /** How many of its clients received the whole greeting. */
  whole: number;
  clients: number;
  /** How long a new client waits, in milliseconds, or `null` if it is not greeted. */
  wait: number | null;
}

/** One round of the measurements of a server that are repeated. */
export interface Round {
  /** By the number of connections at once. */
  speed: Record<string, Speed>;
  /** By the number of connections held. */
  held: Record<string, Held>;
  /** Resident memory before the first connection, in bytes. */
  idle: number | null;
  /** Many clients that connect at once. */
  burst: Seen;
  /** From the start of the process to its first greeting, in milliseconds. */
  start: number;
}

/** The medians of all rounds for one server. */
export interface ServerResult extends Round {
  name: string;
  /** The size of the executable, in bytes, or `null` if the server has none of its own. */
  size: number | null;
  /** By the kind of abuse. `null` where the server cannot be tested. */
  abuse: Record<string, Abuse | null>;
}

/** A server that listens on many ports. */
export interface PortsResult {
  name: string;
  /** How many ports it listens on. */
  listening: number;
  /** From the start of the process to the first greeting on the last port, in milliseconds. */
  start: number;
  /** Its resident memory then, in bytes. */
  memory: number | null;
  /** One client for each of these ports, all at once. */
  all: Seen;
  /** One client for each of fewer ports, and the same number of clients for one port, all at once. */
  manyPorts: Seen;
  onePort: Seen;
}

/** A scan of a range of ports on which greeter listens. */
export interface Scan {
  /** The time from start to exit, and the processor time, in seconds. */
  seconds: number;
  cpu: number;
  /** The peak of resident memory, in bytes. */
  memory: number;
  /** How many ports it reports as open, or, if it reads greetings, as open with the right greeting. */
  open: number;
  /** How many ports it reports as not answering. */
  silent: number;
}

/** All scanners on one range. */
export interface ScanResult {
  /** How many ports are scanned, and the packets to how many of them a firewall drops. */
  ports: number;
  dropped: number;
  /** By the name of the scanner. */
  scans: Record<string, Scan>;
}

/** Everything, as in `results.json`. */
export interface Results {
  machine: string;
  day: string;
  /** How it was measured, in a sentence. */
  method: string;
  /** What was not measured, and why. */
  leftOut: string[];
  servers: ServerResult[];
  /** Processor time per connection at 64 at once, in microseconds, by the format of greeter's log. */
  log: Record<string, number | null>;
  ports: PortsResult[];
  scans: ScanResult[];
}

/** The median of all numbers. `null` counts as larger than any number. */
export function median<T extends number | null>(values: readonly T[]): T {
  const sorted = [...values].sort((a, b) => (a ?? Infinity) - (b ?? Infinity));
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new RangeError("there is nothing to take the median of");
  return middle;
}

/** The medians of several runs of the load generator, figure by figure. */
export function medianSeen(runs: readonly Seen[]): Seen {
  return {
    whole: median(runs.map(({ whole }) => whole)),
    failed: median(runs.map(({ failed }) => failed)),
    seconds: median(runs.map(({ seconds }) => seconds)),
    p50: median(runs.map(({ p50 }) => p50)),
    p99: median(runs.map(({ p99 }) => p99)),
    max: median(runs.map(({ max }) => max)),
  };
}

/** The medians of several scans, figure by figure. */
export function medianScan(runs: readonly Scan[]): Scan {
  return {
    seconds: median(runs.map(({ seconds }) => seconds)),
    cpu: median(runs.map(({ cpu }) => cpu)),
    memory: median(runs.map(({ memory }) => memory)),
    open: median(runs.map(({ open }) => open)),
    silent: median(runs.map(({ silent }) => silent)),
  };
}

/** The medians of all rounds, figure by figure. */
export function medianRound(rounds: readonly Round[]): Round {
  return {
    speed: byKey(rounds.map(({ speed }) => speed), (runs) => ({
      ...medianSeen(runs),
      cpu: median(runs.map(({ cpu }) => cpu)),
    })),
    held: byKey(rounds.map(({ held }) => held), (runs) => ({
      memory: median(runs.map(({ memory }) => memory)),
      wait: median(runs.map(({ wait }) => wait)),
    })),
    idle: median(rounds.map(({ idle }) => idle)),
    burst: medianSeen(rounds.map(({ burst }) => burst)),
    start: median(rounds.map(({ start }) => start)),
  };
}

/** Reduces several records with the same keys to one, key by key. */
export function byKey<T>(records: readonly Record<string, T>[], reduce: (values: T[]) => T): Record<string, T> {
  const keys = Object.keys(records[0] ?? {});
  return Object.fromEntries(keys.map((key) => [key, reduce(records.flatMap((record) => record[key] ?? []))]));
}
