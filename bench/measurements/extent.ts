/**
 * How much is measured.
 *
 * @module
 */

/** How much is measured. */
export interface Extent {
  rounds: number;
  /** How many connections are open at once. */
  levels: readonly number[];
  /** How long each level is measured, in seconds. */
  seconds: number;
  /** How many connections are held. */
  holds: readonly number[];
  /** How many clients a burst, the resets and the silent holders have. */
  burst: number;
  resets: number;
  silent: number;
  /** How many times nmap scans a server. */
  scans: number;
  /** How many ports greeter listens on, and how many of them are hit at once, compared with one port. */
  listening: number;
  hit: number;
  /** How many ports are scanned, and how many of them are dropped by a firewall in a second scan. */
  scanned: number;
  dropped: number;
}

/** The whole benchmark. */
export const FULL: Extent = {
  rounds: 3,
  levels: [64, 256, 1000, 4000],
  seconds: 2,
  holds: [1000, 10_000],
  burst: 4000,
  resets: 8000,
  silent: 3000,
  scans: 10,
  listening: 10_000,
  hit: 2000,
  scanned: 10_000,
  dropped: 1000,
};

/** `--quick`. */
export const QUICK: Extent = {
  rounds: 1,
  levels: [64, 256],
  seconds: 0.3,
  holds: [100],
  burst: 200,
  resets: 200,
  silent: 100,
  scans: 1,
  listening: 200,
  hit: 100,
  scanned: 200,
  dropped: 20,
};

/** The most descriptors that a process of the benchmark needs: the ports of a server, and a connection to each. */
export function descriptorsNeeded({ holds, listening, scanned }: Extent): number {
  return Math.max(...holds, listening, scanned) + 2000;
}
