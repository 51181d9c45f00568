/** All measurements, in their order. @module */
import { measureAbuse } from "./abuse.ts";
import { countCalls, measureBlocked, type Measured, measurePorts, measureScan, measureSpeed } from "./measure.ts";
import { findPeers, findScanners, otherGreeters, thisGreeter } from "./peers.ts";
import { describeMachine, has, isAlone, prepare, shell } from "./programs.ts";
import type { Results, Sample } from "./samples.ts";

/** How much is measured. */
export const FULL = {
  rounds: 10,
  abuseRounds: 3,
  hasSlowServers: true,
  levels: [64, 256, 1000, 4000], // how many connections are open at once
  seconds: 1, // for each level
  held: 10_000, // connections
  burst: 4000, // clients that connect at once
  abusers: 4000, // silent clients, as abuse
  traced: 500, // connections whose system calls are counted
  ports: 10_000, // that greeter listens on and scanners scan
  dropped: 1000, // of these ports, by a firewall
  blocked: [8, 200, 10_000], // ports that must be blocked
};
export type Extent = typeof FULL;

/** `--quick`. */
export const QUICK: Extent = {
  ...{ rounds: 1, abuseRounds: 1, hasSlowServers: false, levels: [64], seconds: 0.2 },
  ...{ held: 100, burst: 100, abusers: 100, traced: 50, ports: 200, dropped: 20, blocked: [8] },
};

/** Measures everything, in rounds in which all programs take turns: a machine that slows down does so for all. */
export async function measureAll(extent: Extent, against: readonly string[]): Promise<Results> {
  using _directory = prepare();
  const leftOut: string[] = [];
  const greeters = [thisGreeter, ...otherGreeters(against, leftOut)];
  const servers = [...greeters, ...findPeers(extent.hasSlowServers, leftOut)];
  const fastServers = servers.filter(({ isSlow }) => !isSlow);
  const scanners = findScanners(greeters, leftOut);
  const canTrace = has("strace");
  if (!canTrace) leftOut.push("system calls (there is no strace)");
  const canDrop = isAlone() && shell("iptables --list") !== undefined;
  if (!canDrop) leftOut.push("dropped ports (they require iptables and a network namespace)");

  const samples: Sample[] = [];
  const collect = async (program: string, round: number, measured: AsyncIterable<Measured>) => {
    console.error(`round ${round} of ${extent.rounds}: ${program}`);
    for await (const sample of measured) samples.push({ program, round, ...sample });
  };
  for (let round = 1; round <= extent.rounds; round++) {
    // Each measurement of all programs before the next one, so that what is compared is measured at about the same time.
    for (const server of fastServers) await collect(server.name, round, measureSpeed(server, extent));
    for (const server of canTrace ? fastServers : []) await collect(server.name, round, countCalls(server, extent));
    for (const server of round <= extent.abuseRounds ? servers : []) {
      await collect(server.name, round, measureAbuse(server, extent.abusers));
    }
    await collect("many ports", round, measurePorts(thisGreeter, extent));
    for (const scanner of scanners) {
      await collect(scanner.name, round, measureScan(scanner, thisGreeter, extent, canDrop));
    }
    if (canDrop) await collect("blocked ports", round, measureBlocked(thisGreeter, extent));
  }
  return { machine: describeMachine(), day: new Date().toISOString().slice(0, 10), leftOut, samples };
}
