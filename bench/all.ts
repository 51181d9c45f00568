/** All measurements, in their order. @module */
import { measureAbuse } from "./abuse.ts";
import { measureCalls, type Measured, measurePorts, measureScan, measureSpeed } from "./measure.ts";
import { findPeers, findScanners, otherGreeters, thisGreeter } from "./peers.ts";
import { describeMachine, has, isAlone, prepare, shell } from "./programs.ts";
import type { Results, Sample } from "./samples.ts";

/** How much is measured. */
export const FULL = {
  rounds: 10,
  abuseRounds: 3,
  /** Whether servers are measured that fork a process for each client, or have only one client at a time. */
  hasSlowPeers: true,
  /** How many connections are open at once, and for how many seconds. */
  levels: [64, 256, 1000, 4000],
  seconds: 1,
  /** How many clients hold connections, connect at once, reset or hold connections as abuse, and are traced. */
  ...{ held: 10_000, burst: 4000, abusers: 4000, traced: 500 },
  /** How many ports greeter listens on and scanners scan, and of how many of them a firewall drops the packets. */
  ...{ ports: 10_000, dropped: 1000 },
};
export type Extent = typeof FULL;

/** `--quick`. */
export const QUICK: Extent = {
  ...{ rounds: 1, abuseRounds: 1, hasSlowPeers: false, levels: [64], seconds: 0.2 },
  ...{ held: 100, burst: 100, abusers: 100, traced: 50, ports: 200, dropped: 20 },
};

/** Measures everything, in rounds in which all programs take turns: a machine that slows down does so for all. */
export async function measureAll(extent: Extent, against: readonly string[]): Promise<Results> {
  using _directory = prepare();
  const leftOut: string[] = [];
  const greeters = [thisGreeter, ...otherGreeters(against, leftOut)];
  const peers = findPeers(leftOut).filter(({ isSlow }) => !isSlow || extent.hasSlowPeers);
  const scanners = findScanners(greeters, leftOut);
  const canTrace = has("strace");
  if (!canTrace) leftOut.push("system calls: there is no strace");
  const canDrop = isAlone() && shell("iptables --list") !== undefined;
  if (!canDrop) leftOut.push("a scan of dropped ports: it requires iptables and a network namespace");

  const samples: Sample[] = [];
  const collect = async (program: string, round: number, measured: AsyncIterable<Measured>) => {
    console.error(`round ${round} of ${extent.rounds}: ${program}`);
    for await (const sample of measured) samples.push({ program, round, ...sample });
  };
  for (let round = 1; round <= extent.rounds; round++) {
    for (const peer of [...greeters, ...peers]) {
      if (!peer.isSlow) await collect(peer.name, round, measureSpeed(peer, extent));
      if (!peer.isSlow && canTrace) await collect(peer.name, round, measureCalls(peer, extent));
      if (round <= extent.abuseRounds) await collect(peer.name, round, measureAbuse(peer, extent.abusers));
    }
    await collect("many ports", round, measurePorts(thisGreeter, extent));
    for (const scanner of scanners) {
      await collect(scanner.name, round, measureScan(scanner, thisGreeter, extent, canDrop));
    }
  }
  const day = new Date().toISOString().slice(0, 10);
  return { machine: describeMachine(), day, leftOut, samples };
}
