/**
 * What the benchmark measures.
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

/** One server at one level of concurrency. `cpu` is in microseconds per connection, the waits are in milliseconds. */
export interface Speed {
  cpu: number;
  perSecond: number;
  p50: number;
  p99: number;
  max: number;
  failed: number;
}

/** Resident memory in bytes, and how long a new client waits, in milliseconds. `null` means that it is not greeted. */
export interface Held {
  memory: number;
  wait: number | null;
}

/** What became of a server under one kind of abuse. `wait` is a new client's, in milliseconds, or `null` as above. */
export interface Abuse {
  alive: boolean;
  whole: number;
  clients: number;
  wait: number | null;
}

/** One round of the measurements that are repeated. */
export interface Round {
  /** By the number of connections at once. */
  speed: Map<number, Speed>;
  /** By the number of connections held. */
  held: Map<number, Held>;
  /** Resident memory before the first connection, in bytes. */
  idle: number;
  /** Many clients that connect at once. `last` is the wait of the last one, in milliseconds. */
  burst: { whole: number; clients: number; last: number };
  /** From the start of the process to its first greeting, in milliseconds. */
  start: number;
}

/** The medians of all rounds for one server. */
export interface Result extends Round {
  name: string;
  /** The size of the executable, in bytes, or `null` if the server has none of its own. */
  size: number | null;
  /** By the kind of abuse. `null` where the server cannot be tested. */
  abuse: Map<string, Abuse | null>;
}

/** The median of all numbers; NaN if there are none. */
export function median(values: number[]): number {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

/** The medians of all rounds, figure by figure. */
export function medians(rounds: readonly Round[]): Round {
  const [first] = rounds;
  if (!first) throw new Error("there is no round");
  const mid = (of: (round: Round) => number | undefined) => median(rounds.map((round) => of(round) ?? NaN));
  const speed = new Map([...first.speed.keys()].map((level) => {
    const at = (name: keyof Speed) => mid((round) => round.speed.get(level)?.[name]);
    return [level, {
      cpu: at("cpu"),
      perSecond: at("perSecond"),
      p50: at("p50"),
      p99: at("p99"),
      max: at("max"),
      failed: at("failed"),
    }];
  }));
  const held = new Map([...first.held.keys()].map((count) => {
    const wait = mid((round) => round.held.get(count)?.wait ?? Infinity);
    return [count, { memory: mid((round) => round.held.get(count)?.memory), wait: wait === Infinity ? null : wait }];
  }));
  return {
    speed,
    held,
    idle: mid((round) => round.idle),
    burst: {
      whole: mid((round) => round.burst.whole),
      clients: first.burst.clients,
      last: mid((round) => round.burst.last),
    },
    start: mid((round) => round.start),
  };
}
