/**
 * What to check on each host, from the command line or from the lines of `--checks`.
 *
 * @module
 */
import type { BlockedState, Check, HostPort, PortsByExpectation } from "../../client.ts";
import { UsageError } from "../args.ts";
import type { PortsWithText } from "../values.ts";
import { expectedPorts, isSingle } from "./expected_ports.ts";

/** Returns the bytes for a port, or `undefined` if there are none. */
export type BytesFunction = (target: HostPort) => Uint8Array | undefined;

/** What the command line or a line of `--checks` says. */
export interface GivenCheck {
  /** The number of the line, if it is one of `--checks`. */
  readonly line?: number;
  readonly hostnames: readonly string[];
  readonly family: Check["family"];
  readonly greeted: readonly PortsWithText[];
  readonly open: readonly number[];
  readonly blocked: readonly PortsWithText<BlockedState>[];
  /** The only state in which a blocked port passes, for ports with one. */
  readonly states: ReadonlyMap<number, BlockedState>;
  readonly expect: BytesFunction | undefined;
  readonly send: BytesFunction | undefined;
}

/** What to check on one host. */
export interface HostCheck extends PortsByExpectation {
  readonly hostname: string;
  /** The first line that names the host; `undefined` without `--checks`. */
  readonly line: number | undefined;
  readonly family: Check["family"];
  readonly expect: BytesFunction;
  readonly send: BytesFunction;
  /** Returns the only state in which a blocked port passes, or `undefined` if there are several. */
  readonly blockedState: (target: HostPort) => BlockedState | undefined;
  /** Returns the line of `--checks` that has a port. */
  readonly lineOf: (port: number) => number | undefined;
  /** Whether a range of `--blocked` had ports with another expectation, which it leaves out. */
  readonly isReduced: boolean;
}

/**
 * Returns what to check on each host and family, in the order in which they are named first. All lines of a host count as one,
 * because its blocked ports are judged by its other ports.
 *
 * @throws {UsageError} If a port has two expectations, or if some lines of a host have a family and others have none.
 */
export function hostChecks(given: readonly GivenCheck[]): HostCheck[] {
  const groups = new Map<string, { hostname: string; checks: GivenCheck[] }>();
  const firstOf = new Map<string, GivenCheck>();
  for (const check of given) {
    for (const hostname of check.hostnames) {
      const first = firstOf.get(hostname) ?? check;
      firstOf.set(hostname, first);
      if ((first.family === undefined) !== (check.family === undefined)) {
        throw lineError(check, `${hostname} needs -4 or -6 in all lines or in none; see line ${first.line}`);
      }
      const key = `${hostname} ${check.family}`;
      const group = groups.get(key) ?? { hostname, checks: [] };
      group.checks.push(check);
      groups.set(key, group);
    }
  }
  // Hosts with the same lines have the same ports, of which there can be many.
  const merged = new Map<string, Omit<HostCheck, "hostname">>();
  return [...groups.values()].map(({ hostname, checks }) => {
    const key = checks.map(({ line }) => line).join();
    const ports = merged.get(key) ?? merge(hostname, checks);
    merged.set(key, ports);
    return { hostname, ...ports };
  });
}

/** Merges the lines of a host. */
function merge(hostname: string, checks: readonly GivenCheck[]): Omit<HostCheck, "hostname"> {
  const checkOf = claimPorts(hostname, checks);
  const states = mergeStates(hostname, checks);
  const all = <T>(of: (check: GivenCheck) => readonly T[]) => checks.flatMap(of);
  const ports = expectedPorts(
    all(({ greeted }) => greeted.flatMap(({ list }) => list)),
    all(({ open }) => open),
    all(({ blocked }) => blocked),
  );
  return {
    ...ports,
    line: checks[0]?.line,
    family: checks[0]?.family,
    expect: (target) => checkOf.get(target.port)?.expect?.(target),
    send: (target) => checkOf.get(target.port)?.send?.(target),
    blockedState: ({ port }) => states.get(port),
    lineOf: (port) => checkOf.get(port)?.line,
  };
}

/** Returns the line that each port of a host belongs to. Lines may agree that a port must be blocked: it is in the first one. */
function claimPorts(hostname: string, checks: readonly GivenCheck[]): Map<number, GivenCheck> {
  const required = new Map<number, GivenCheck>();
  const twice = (port: number, check: GivenCheck, other: GivenCheck) =>
    lineError(check, `port ${port} of ${hostname} is also in line ${other.line}; remove it from one of them`);
  for (const check of checks) {
    for (const port of [...check.greeted.flatMap(({ list }) => list), ...check.open]) {
      const other = required.get(port) ?? check;
      if (other !== check) throw twice(port, check, other);
      required.set(port, check);
    }
  }
  const blocked = new Map<number, GivenCheck>();
  for (const check of checks) {
    let isAnyLeft = false;
    for (const { given, list } of check.blocked) {
      for (const port of list) {
        const other = required.get(port);
        // A range leaves out the ports that have another expectation.
        if (other && isSingle(given, port)) throw twice(port, check, other);
        if (other) continue;
        isAnyLeft = true;
        if (!blocked.has(port)) blocked.set(port, check);
      }
    }
    if (check.blocked.length > 0 && !isAnyLeft) {
      const problem = `all ports of --blocked are also in --port or --open of ${hostname}`;
      throw lineError(check, `${problem} in other lines; remove them from one of the lists`);
    }
  }
  return new Map([...required, ...blocked]);
}

/** Returns the states of blocked ports that pass only in one. */
function mergeStates(hostname: string, checks: readonly GivenCheck[]): Map<number, BlockedState> {
  const states = new Map<number, BlockedState>();
  for (const check of checks) {
    for (const [port, state] of check.states) {
      if ((states.get(port) ?? state) !== state) {
        throw lineError(check, `port ${port} of ${hostname} appears with two states; remove one of them`);
      }
      states.set(port, state);
    }
  }
  return states;
}

function lineError({ line }: GivenCheck, message: string): UsageError {
  return new UsageError(withLine(line, message));
}

/** Adds the number of a line of `--checks` to a message, if there is one. */
export function withLine(line: number | undefined, message: string): string {
  return line === undefined ? message : `line ${line}: ${message}`;
}

/** Runs a function, and adds the number of the line, if there is one, to its errors. */
export function atLine<T>(line: number | undefined, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw error instanceof UsageError ? new UsageError(withLine(line, error.message)) : error;
  }
}
