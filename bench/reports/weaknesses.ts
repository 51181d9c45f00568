/**
 * Where greeter is worse than the others, in sentences.
 *
 * @module
 */
import type { PortsResult, Results, ScanResult, ServerResult } from "../results.ts";
import { bytes, digits, time, whole } from "./markdown.ts";
import { ratio } from "./tables.ts";

/** A figure of a server, or null if it has none: less is better. */
type Figure = (server: ServerResult) => number | null | undefined;

const isGreeter = ({ name }: ServerResult) => name.startsWith("greeter");

/**
 * A sentence about the servers with a lower figure than greeter's, if there are any. They are given to `sentence` as, for
 * example, `C loop (20.8 µs)`.
 */
function compare(
  [greeter, ...others]: readonly ServerResult[],
  of: Figure,
  format: (value: number) => string,
  sentence: (own: string, better: string) => string,
): string[] {
  const own = greeter && of(greeter);
  if (typeof own !== "number") return [];
  const better = others.filter((other) => !isGreeter(other)).flatMap((other) => {
    const value = of(other);
    return typeof value === "number" && value < own ? [`${other.name} (${format(value)})`] : [];
  });
  return better.length > 0 ? [sentence(format(own), better.join(", "))] : [];
}

const milliseconds = (value: number) => `${time(value)} ms`;

function serverWeaknesses(servers: readonly ServerResult[]): string[] {
  const [greeter] = servers;
  if (!greeter) return [];
  const c = servers.find(({ name }) => name === "C loop");
  const times = digits(ratio(greeter.speed[64]?.cpu, c?.speed[64]?.cpu), 1);
  const holds = Object.keys(greeter.held);
  const most = holds.at(-1) ?? "";
  return [
    ...compare(
      servers,
      ({ speed }) => speed[64]?.cpu,
      (value) => `${digits(value, 1)} µs`,
      (own, better) =>
        `Processor time: with 64 connections at once, a connection costs greeter ${own}, ${times} times what it costs the ` +
        `C loop. These servers need less: ${better}.`,
    ),
    ...Object.keys(greeter.speed).flatMap((level) =>
      compare(
        servers,
        ({ speed: { [level]: speed } }) => speed && speed.failed === 0 && speed.whole > 0 ? speed.p99 : null,
        milliseconds,
        (own, better) =>
          `Waits: with ${
            whole(Number(level))
          } connections at once, the 99th percentile is ${own}. Of the servers that fail ` +
          `no client, these have a lower one: ${better}.`,
      )
    ),
    ...compare(
      servers,
      ({ burst }) => burst.failed === 0 ? burst.max : null,
      milliseconds,
      (own, better) =>
        `Bursts: the last client waits ${own}. Of the servers that fail no client, these take less: ${better}.`,
    ),
    ...compare(
      servers,
      ({ idle }) => idle,
      bytes,
      (own, better) => `Memory: greeter takes ${own} when idle. These servers take less: ${better}.`,
    ),
    ...compare(
      servers,
      ({ held, idle }) => perConnection(held[most]?.memory, idle, Number(most)),
      (value) => `${digits(value / 1024, 1)} KiB`,
      (own, better) =>
        `Memory: each of ${
          whole(Number(most))
        } held connections takes ${own}. These servers take less, some because they ` +
        `hold none: ${better}.`,
    ),
    ...compare(
      servers,
      ({ start }) => start,
      milliseconds,
      (own, better) => `Start: the first greeting comes ${own} after the start. These servers are faster: ${better}.`,
    ),
    ...servers.flatMap(({ name, size }) =>
      size === null ? [] : [`Size: the executable (${name}) is ${bytes(size)}, because it contains Deno's runtime.`]
    ),
    ...compare(
      servers,
      ({ abuse }) => abuse["silent holders"]?.wait,
      milliseconds,
      (own, better) =>
        `Silent clients: while they hold connections, a new client waits ${own}. With these servers it waits less: ${better}.`,
    ),
  ];
}

function perConnection(held: number | null | undefined, idle: number | null, count: number): number | null {
  return typeof held === "number" && idle !== null ? Math.max(0, held - idle) / count : null;
}

function logWeaknesses({ quiet, ...formats }: Results["log"]): string[] {
  return Object.entries(formats).flatMap(([name, cost]) => {
    const more = ((ratio(cost, quiet) ?? 1) - 1) * 100;
    return more >= 1 ? [`The log: as ${name}, it costs ${digits(more, 0)}% more processor time than --quiet.`] : [];
  });
}

function portsWeaknesses([first]: readonly PortsResult[]): string[] {
  if (!first) return [];
  const { listening, memory, manyPorts, onePort } = first;
  const clients = whole(manyPorts.whole + manyPorts.failed);
  return [
    `Many ports: greeter takes ${bytes(memory)} when it listens on ${whole(listening)} ports.`,
    ...(manyPorts.p99 > onePort.p99
      ? [
        `Many ports: when ${clients} clients connect at once, the 99th percentile is ${
          milliseconds(manyPorts.p99)
        } if each ` +
        `has its own port, and ${milliseconds(onePort.p99)} if all connect to one port.`,
      ]
      : []),
  ];
}

function scanWeaknesses({ ports, dropped, scans }: ScanResult): string[] {
  const [greeter, ...others] = Object.entries(scans);
  const nmap = others.find(([name]) => name.startsWith("nmap"));
  if (!greeter || !nmap) return [];
  const [, own] = greeter;
  const [name, other] = nmap;
  const range = dropped > 0 ? `${whole(ports)} ports, ${whole(dropped)} of them dropped` : `${whole(ports)} open ports`;
  const more = [
    own.seconds > other.seconds && `${digits(own.seconds / other.seconds, 1)} times the time`,
    own.cpu > other.cpu && `${digits(own.cpu / other.cpu, 1)} times the processor time`,
    own.memory > other.memory && `${digits(own.memory / other.memory, 1)} times the memory`,
  ].filter((part) => part !== false);
  return more.length > 0 ? [`Port scans: for ${range}, greeter connect takes ${more.join(", ")} of ${name}.`] : [];
}

/** Where greeter is worse, as far as it was measured. */
export function weaknesses({ servers, log, ports, scans }: Results): string[] {
  return [
    ...serverWeaknesses(servers),
    ...logWeaknesses(log),
    ...portsWeaknesses(ports),
    ...scans.flatMap(scanWeaknesses),
  ];
}
