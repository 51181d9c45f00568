/**
 * The ports of `-p`, `-o` and `-b`: which port has which expectation.
 *
 * @module
 */
import { type PortsByExpectation, portsByExpectation } from "../../client.ts";
import { type Given, UsageError } from "../args.ts";
import { uniquePorts } from "../../shared/ports.ts";

/** The ports of each option, each once, and what was changed. */
export interface MergedPorts extends PortsByExpectation {
  /** Whether a range of `--blocked` had ports with another expectation, which it leaves out. */
  isReduced: boolean;
}

/** A value of `--blocked`. */
interface BlockedPorts {
  given: Given;
  list: readonly number[];
}

/**
 * Merges the lists of each option. A range of `--blocked` leaves out the ports that have another expectation.
 *
 * @throws {UsageError} If a port has two expectations, or if no port is left for `--blocked`.
 */
export function expectedPorts(
  greeted: readonly number[],
  open: readonly number[],
  blocked: readonly BlockedPorts[],
): MergedPorts {
  const isGreeted = new Set(greeted);
  const both = open.find((port) => isGreeted.has(port));
  if (both !== undefined) throw twoExpectations(both, "--port and --open");
  const isTaken = new Set([...greeted, ...open]);
  for (const { given, list } of blocked) {
    const single = list.find((port) => isTaken.has(port) && isSingle(given, port));
    if (single === undefined) continue;
    throw twoExpectations(single, `--${isGreeted.has(single) ? "port" : "open"} and --blocked`);
  }
  const all = uniquePorts(blocked.flatMap(({ list }) => list));
  const left = all.filter((port) => !isTaken.has(port));
  if (blocked.length > 0 && left.length === 0) {
    throw new UsageError("all ports of --blocked are also in --port or --open; remove them from one of the lists");
  }
  const ports = portsByExpectation({ greeted: greeted.length === 0 ? undefined : greeted, open, blocked: left });
  return { ...ports, isReduced: left.length < all.length };
}

/** Whether a value of `--blocked` names a port by itself, and not only in a range. */
export function isSingle({ text }: Given, port: number): boolean {
  return text.replace(/=.*/s, "").split(",").some((item) => /^\d+$/.test(item) && Number(item) === port);
}

function twoExpectations(port: number, options: string): UsageError {
  return new UsageError(`port ${port} is in ${options}; remove it from one of them`);
}
