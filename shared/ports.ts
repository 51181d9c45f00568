/**
 * Port lists in a subset of nmap's syntax: `22,80,8000-8100`, `60000-`, `-` for all ports.
 *
 * @module
 */

/** The highest port. */
export const MAX_PORT = 65_535;

/**
 * Parses a port list. Returns the ports in the order of the list, or `undefined` if it is invalid. 0 stands for any
 * free port; it may be repeated, but not in a range.
 */
export function parsePorts(list: string): number[] | undefined {
  const ports: number[] = [];
  for (const item of list.split(",")) {
    const [, first = "", hyphen = "", last = ""] = item.match(/^(\d{0,5})(?:(-)(\d{0,5}))?$/) ?? [];
    // A range may omit its end, and `-` means all ports. `-100` is invalid, because it looks like an option.
    if (first === "" && (hyphen === "" || last !== "")) return undefined;
    const start = first === "" ? 1 : Number(first);
    const end = hyphen === "" ? start : last === "" ? MAX_PORT : Number(last);
    if (end > MAX_PORT || start > end || (hyphen !== "" && start === 0)) return undefined;
    for (let port = start; port <= end; port++) ports.push(port);
  }
  return ports;
}

/** Consecutive ports. */
export interface PortRange {
  /** The first port. */
  readonly start: number;
  /** The last port, which can be the same. */
  readonly end: number;
}

/** Returns the ranges of consecutive ports, sorted. */
export function portRanges(ports: Iterable<number>): PortRange[] {
  const ranges: { start: number; end: number }[] = [];
  for (const port of [...ports].sort((a, b) => a - b)) {
    const range = ranges.at(-1);
    if (range && port === range.end + 1) range.end = port;
    else ranges.push({ start: port, end: port });
  }
  return ranges;
}

/** Formats a range: `80` or `80-81`. */
export function formatRange({ start, end }: PortRange): string {
  return start === end ? `${start}` : `${start}-${end}`;
}

/** Formats ports as a list, sorted, with ranges: the inverse of {@linkcode parsePorts}, and valid for `nmap -p`. */
export function formatPorts(ports: Iterable<number>): string {
  return portRanges(ports).map(formatRange).join(",");
}

/**
 * Removes repeated ports, so that ranges may overlap. Keeps the first of each, and every 0, which stands for any free
 * port.
 */
export function uniquePorts(ports: readonly number[]): number[] {
  const seen = new Set<number>();
  return ports.filter((port) => {
    if (seen.has(port)) return false;
    if (port !== 0) seen.add(port);
    return true;
  });
}
