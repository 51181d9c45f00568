/**
 * Ports in a line of text.
 *
 * @module
 */
import { formatRange, type PortRange, portRanges } from "../shared/ports.ts";

/** How many ranges of ports a line of text names at most. */
const MAX_NAMED_RANGES = 10;

/**
 * Formats ports for a line of text: like {@linkcode formatPorts}, but names at most 10 ranges, and counts the other
 * ports.
 */
export function formatSomePorts(ports: Iterable<number>): string {
  return formatSomeRanges(portRanges(ports));
}

/** Formats ranges like {@linkcode formatSomePorts}. Each range follows its prefix, if it has one. */
export function formatSomeRanges(ranges: readonly (PortRange & { prefix?: string })[]): string {
  const named = ranges.slice(0, MAX_NAMED_RANGES).map(({ prefix = "", ...range }) => prefix + formatRange(range));
  const more = ranges.slice(MAX_NAMED_RANGES).reduce((sum, { start, end }) => sum + end - start + 1, 0);
  return more === 0 ? named.join(",") : `${named.join(",")} and ${more === 1 ? "1 more port" : `${more} more ports`}`;
}
