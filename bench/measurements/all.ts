/**
 * All measurements, in their order.
 *
 * @module
 */
import { findNmap, greeterScanner } from "../peers/scanners.ts";
import { findGreeters, findPeers, type Greeter, greeterServer, otherGreeters, type Server } from "../peers/servers.ts";
import { whyNoNetwork } from "../processes/network.ts";
import { has, pinned } from "../processes/programs.ts";
import {
  medianRound,
  type PortsResult,
  type Results,
  type Round,
  type ScanResult,
  type ServerResult,
} from "../results.ts";
import { measureAbuse } from "./abuse.ts";
import type { Extent } from "./extent.ts";
import { measurePorts } from "./ports.ts";
import { measureScans } from "./scans.ts";
import { measureLog, measureRound } from "./speed.ts";

/** What is measured. */
export interface Selection {
  /** Whether only a few servers are measured. */
  quick: boolean;
  /** Directories of other checkouts of greeter. */
  against: string[];
  /** The beginnings of the names of the only servers to measure, separated by commas. */
  servers?: string;
  /** Whether only the scans are measured. */
  scans: boolean;
}

async function measureServers(servers: readonly Server[], extent: Extent): Promise<ServerResult[]> {
  const rounds = new Map<Server, Round[]>(servers.map((server) => [server, []]));
  // The servers take turns, so that a machine that becomes slower does so for all of them.
  for (let round = 1; round <= extent.rounds; round++) {
    for (const [server, done] of rounds) {
      console.error(`round ${round} of ${extent.rounds}: ${server.name}`);
      done.push(await measureRound(server, extent));
    }
  }
  const results: ServerResult[] = [];
  for (const [server, done] of rounds) {
    console.error(`abuse: ${server.name}`);
    const size = server.binary ? (await Deno.stat(server.binary)).size : null;
    results.push({ name: server.name, ...medianRound(done), size, abuse: await measureAbuse(server, extent) });
  }
  return results;
}

async function measureAllPorts(servers: readonly Server[], extent: Extent): Promise<PortsResult[]> {
  const results: PortsResult[] = [];
  for (const server of servers) results.push(await measurePorts(server, extent));
  return results;
}

async function measureAllScans(greeters: readonly Greeter[], extent: Extent, leftOut: string[]): Promise<ScanResult[]> {
  const scanners = [...greeters.map(greeterScanner), ...findNmap(leftOut)];
  const results = [await measureScans(scanners, extent, 0)];
  const why = whyNoNetwork();
  if (why === undefined) results.push(await measureScans(scanners, extent, extent.dropped));
  else leftOut.push(`the port scan with dropped ports: ${why}`);
  return results;
}

/** Measures what is selected. */
export async function measure(selection: Selection, extent: Extent): Promise<Results> {
  const leftOut: string[] = [];
  const greeters = await findGreeters(leftOut);
  const others = otherGreeters(selection.against);
  const names = selection.servers?.split(",").map((name) => name.trim());
  const servers = selection.scans ? [] : [
    ...[...greeters, ...others].map(greeterServer),
    ...await findPeers(selection.quick, leftOut),
  ].filter(({ name }) => names === undefined || names.some((wanted) => name.startsWith(wanted)));
  if (!selection.scans && servers.length === 0) throw new Error(`no server is named ${selection.servers}`);
  if (!selection.scans && !has("nmap")) leftOut.push("scans by nmap -sT as abuse: there is no nmap");
  if (names !== undefined) leftOut.push("the log, many ports and port scans: --servers measures only servers");
  if (selection.scans) leftOut.push("the servers, the log and many ports: --scans measures only port scans");
  const isAll = names === undefined && !selection.scans;
  return {
    machine: describeMachine(),
    day: new Date().toISOString().slice(0, 10),
    method: [
      extent.rounds > 1 ? `Medians of ${extent.rounds} rounds, in which the servers take turns.` : "One round.",
      `Each level of load lasts ${extent.seconds} s.`,
      pinned ? "Server and clients have a core each." : "Server and clients share all cores.",
    ].join(" "),
    servers: await measureServers(servers, extent),
    log: isAll ? await measureLog(extent) : {},
    ports: isAll ? await measureAllPorts(greeters.map(greeterServer), extent) : [],
    scans: names === undefined ? await measureAllScans([...greeters, ...others], extent, leftOut) : [],
    leftOut,
  };
}

function describeMachine(): string {
  const cpu = Deno.readTextFileSync("/proc/cpuinfo").match(/model name\s*: (.*)/)?.[1] ?? "an unknown processor";
  return [
    `${navigator.hardwareConcurrency} cores of ${cpu}`,
    `Linux ${Deno.osRelease().match(/^\d+\.\d+/)?.[0]}`,
    `Deno ${Deno.version.deno}`,
    ...versionOf("node", /\d+\.\d+/).map((version) => `Node ${version}`),
    ...versionOf("nmap", /\d+\.\d+/).map((version) => `nmap ${version}`),
  ].join(", ");
}

/** What a program says about its version, if there is the program. */
function versionOf(program: string, pattern: RegExp): string[] {
  if (!has(program)) return [];
  const { stdout } = new Deno.Command(program, { args: ["--version"] }).outputSync();
  return new TextDecoder().decode(stdout).match(pattern)?.slice(0, 1) ?? [];
}
