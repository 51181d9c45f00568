/**
 * The tables.
 *
 * @module
 */
import type { Abuse, PortsResult, Results, ScanResult, ServerResult } from "../results.ts";
import { bytes, digits, type Section, share, time, wait, waitOf, whole } from "./markdown.ts";

/** The servers under load, one table for each number of connections at once. */
export function speedSections(servers: readonly ServerResult[]): Section[] {
  const c = servers.find(({ name }) => name === "C loop");
  return Object.keys(servers[0]?.speed ?? {}).map((level) => ({
    title: `${whole(Number(level))} connections at once`,
    head: ["server", "CPU µs per connection", "× C", "connections/s", "p50 ms", "p99 ms", "max ms", "failed"],
    rows: servers.map(({ name, speed: { [level]: speed } }) => [
      ...[name, digits(speed?.cpu, 1), digits(ratio(speed?.cpu, c?.speed[level]?.cpu), 2)],
      ...[digits(speed && speed.whole / speed.seconds, 0), waitOf(speed, "p50"), waitOf(speed, "p99")],
      ...[waitOf(speed, "max"), digits(speed?.failed, 0)],
    ]),
  }));
}

/** `a` divided by `b`, if both are there. */
export function ratio(a: number | null | undefined, b: number | null | undefined): number | null {
  return typeof a === "number" && typeof b === "number" ? a / b : null;
}

function scaleSections(servers: readonly ServerResult[]): Section[] {
  const holds = Object.keys(servers[0]?.held ?? {});
  return [{
    title: "Start and memory",
    note:
      "Start is the time to the first greeting. Memory is resident; that of child processes is included. The wait is " +
      "that of a new client while that many silent connections are held.",
    head: [
      ...["server", "start ms", "executable", "idle"],
      ...holds.flatMap((count) => [`${whole(Number(count))} held`, "wait ms"]),
    ],
    rows: servers.map(({ name, start, size, idle, held }) => [
      ...[name, time(start), bytes(size), bytes(idle)],
      ...holds.flatMap((count) => [bytes(held[count]?.memory), wait(held[count]?.wait)]),
    ]),
  }, {
    title: "A burst: all clients connect at once",
    head: ["server", "greeted", "p50 ms", "p99 ms", "last ms"],
    rows: servers.map(({ name, burst }) => [
      ...[name, share(burst.whole, burst.whole + burst.failed)],
      ...[waitOf(burst, "p50"), waitOf(burst, "p99"), waitOf(burst, "max")],
    ]),
  }];
}

function formatAbuse(abuse: Abuse | null | undefined): string {
  if (!abuse) return "not possible";
  if (!abuse.alive) return "**dead**";
  const newClient = abuse.wait === null ? "**never**" : `${wait(abuse.wait)} ms`;
  return abuse.clients === 1 ? newClient : `${share(abuse.whole, abuse.clients)}; ${newClient}`;
}

const ABUSE_NOTE = `How many clients received the whole greeting, and how long a new client waits.

- Resets: thousands of connections are reset at once, then four clients connect.
- nmap -sT: it scans the port several times, then four clients connect.
- No descriptors left: a client connects while 300 silent ones hold connections to a server with 64 descriptors.
- Talkative clients: 100 clients send data twice before they read 16,000 bytes. A server that closes without reading
  that data resets their connections, and they lose the greeting.
- Silent holders: a client connects while thousands of silent ones hold connections.
- Unread log: standard output is a pipe that nobody reads.`;

function abuseSection(servers: readonly ServerResult[]): Section {
  const kinds = Object.keys(servers[0]?.abuse ?? {});
  return {
    title: "Abuse",
    note: ABUSE_NOTE,
    head: ["server", ...kinds],
    rows: servers.map(({ name, abuse }) => [name, ...kinds.map((kind) => formatAbuse(abuse[kind]))]),
  };
}

function logSection(log: Results["log"]): Section {
  return {
    title: "What greeter's log costs, 64 connections at once",
    head: ["log", "CPU µs per connection", "× quiet"],
    rows: Object.entries(log).map(([name, cpu]) => [name, digits(cpu, 1), digits(ratio(cpu, log.quiet), 2)]),
  };
}

function portsSections(results: readonly PortsResult[]): Section[] {
  const [first] = results;
  if (!first) return [];
  const hit = whole(first.manyPorts.whole + first.manyPorts.failed);
  return [{
    title: `Listening on ${whole(first.listening)} ports`,
    note:
      "Start is the time to the first greeting on the last port. Then one client connects to each port, all at once.",
    head: ["server", "start ms", "memory", "greeted", "p99 ms", "last ms"],
    rows: results.map(({ name, start, memory, all }) => [
      ...[name, time(start), bytes(memory), share(all.whole, all.whole + all.failed)],
      ...[waitOf(all, "p99"), waitOf(all, "max")],
    ]),
  }, {
    title: `${hit} clients at once`,
    head: ["server", "ports", "greeted", "p50 ms", "p99 ms", "last ms"],
    rows: results.flatMap(({ name, manyPorts, onePort }) =>
      ([[hit, manyPorts], ["1", onePort]] as const).map(([ports, seen]) => [
        ...[name, ports, share(seen.whole, seen.whole + seen.failed)],
        ...[waitOf(seen, "p50"), waitOf(seen, "p99"), waitOf(seen, "max")],
      ])
    ),
  }];
}

function scanSection({ ports, dropped, scans }: ScanResult): Section {
  const nmap = Object.entries(scans).find(([name]) => name.startsWith("nmap"))?.[1];
  const open = ports - dropped;
  return {
    title: dropped > 0
      ? `A scan of ${whole(open)} open ports and ${whole(dropped)} dropped ones`
      : `A scan of ${whole(ports)} open ports`,
    head: [
      ...["scanner", "seconds", "× nmap -sT", "open ports found"],
      ...(dropped > 0 ? ["dropped ports found"] : []),
      ...["CPU seconds", "peak memory"],
    ],
    rows: Object.entries(scans).map(([name, scan]) => [
      // A scanner that finds nothing has failed, and how long that takes says nothing.
      ...[name, digits(scan.open > 0 ? scan.seconds : null, 2)],
      ...[digits(scan.open > 0 ? ratio(scan.seconds, nmap?.seconds) : null, 2), share(scan.open, open)],
      ...(dropped > 0 ? [share(scan.silent, dropped)] : []),
      ...[digits(scan.cpu, 2), bytes(scan.memory)],
    ]),
  };
}

/** A part of the report. */
export interface Part {
  title: string;
  sections: Section[];
}

/** All tables. Parts that were not measured are missing. */
export function reportParts({ servers, log, ports, scans }: Results): Part[] {
  const serverSections = servers.length > 0
    ? [...speedSections(servers), ...scaleSections(servers), abuseSection(servers)]
    : [];
  const logSections = Object.keys(log).length > 0 ? [logSection(log)] : [];
  return [
    { title: "Servers", sections: [...serverSections, ...logSections] },
    { title: "Many ports", sections: portsSections(ports) },
    { title: "Port scans", sections: scans.map(scanSection) },
  ].filter(({ sections }) => sections.length > 0);
}
