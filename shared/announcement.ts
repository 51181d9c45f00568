/**
 * The line of a greeting that lists the open ports: the server writes it, and the client reads it.
 *
 * @module
 */
import { formatPorts, MAX_PORT } from "./ports.ts";

/** Formats the line: `greeter listens on 22,80-82` and CR LF. */
export function formatAnnouncement(ports: Iterable<number>): string {
  return `${PREFIX}${formatPorts(new Set(ports))}\r\n`;
}

/** How an announcement begins. */
const PREFIX = "greeter listens on ";

/** A line that begins as an announcement does: at the start or after a line feed. */
const ANNOUNCEMENT = /(?<![^\n])greeter listens on ([^\n]*\n?)/g;

/**
 * How many announcements of a greeting are read. A server sends one. The limit bounds the time and the memory that a
 * hostile server can cost: 16 KiB have room for hundreds of lines, each with all ports.
 */
const MAX_ANNOUNCEMENTS = 4;

/**
 * Returns the ports of each announcement in a greeting, up to the fourth one. There are none in a line that
 * {@linkcode formatAnnouncement} would not write, such as one that is cut off or was changed by a proxy: it proves of no port
 * that the server listens on it.
 */
export function announcedPorts(greeting: Uint8Array): readonly ReadonlySet<number>[] {
  const announced: ReadonlySet<number>[] = [];
  // In latin1, each byte is one character, and no byte is invalid.
  for (const [, line = ""] of new TextDecoder("latin1").decode(greeting).matchAll(ANNOUNCEMENT)) {
    const [, list = ""] = line.match(/^([\d,-]+)\r\n$/) ?? [];
    announced.push(parseFormatted(list) ?? new Set());
    if (announced.length === MAX_ANNOUNCEMENTS) break;
  }
  return announced;
}

/** Whether the last line has no end yet, and can become an announcement when more arrives. */
export function isAnnouncementCut(greeting: Uint8Array): boolean {
  const last = greeting.subarray(greeting.lastIndexOf(LINE_FEED) + 1);
  const text = new TextDecoder("latin1").decode(last);
  return text !== "" && (PREFIX.startsWith(text) || /^greeter listens on [\d,-]*\r?$/.test(text));
}

const LINE_FEED = 10;

/** The latest valid list and its ports. All ports of a server announce the same list, which can have all ports. */
let latest: { list: string; ports: ReadonlySet<number> } | undefined;

/**
 * Parses only what `formatPorts()` can return, which has no port twice. `parsePorts()` accepts more, such as a thousand
 * times all ports.
 */
function parseFormatted(list: string): ReadonlySet<number> | undefined {
  if (list === latest?.list) return latest.ports;
  const ports = new Set<number>();
  let last = -1;
  for (const item of list.split(",")) {
    const [, first = "", rangeEnd] = item.match(/^([1-9]\d{0,4})(?:-([1-9]\d{0,4}))?$/) ?? [];
    const start = Number(first);
    const end = Number(rangeEnd ?? first);
    // Ports that follow each other are one range.
    const isFormatted = first !== "" && start > last + 1 && (rangeEnd === undefined || end > start);
    if (!isFormatted || end > MAX_PORT) return undefined;
    for (let port = start; port <= end; port++) ports.add(port);
    last = end;
  }
  latest = { list, ports };
  return ports;
}
