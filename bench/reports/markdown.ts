/**
 * Markdown tables, and figures with their units.
 *
 * @module
 */
import { format as formatBytes } from "@std/fmt/bytes";
import type { Seen } from "../results.ts";

/** A section with one table. */
export interface Section {
  title: string;
  /** What the columns mean, where they do not say it themselves. */
  note?: string;
  head: readonly string[];
  rows: readonly (readonly string[])[];
}

/** The Markdown of a section, without a line feed at its end. */
export function formatSection({ title, note, head, rows }: Section): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rule = line(head.map((_, i) => i === 0 ? "---" : "---:"));
  const table = [line(head), rule, ...rows.map(line)].join("\n");
  return `### ${title}\n\n${note === undefined ? "" : `${note}\n\n`}${table}`;
}

/** A figure that does not exist. */
const NONE = "–";

/** A figure with `count` decimal places. */
export function digits(value: number | null | undefined, count: number): string {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  return value.toLocaleString("en-US", { minimumFractionDigits: count, maximumFractionDigits: count });
}

/** A whole number, such as `10,000`. */
export function whole(value: number): string {
  return digits(value, 0);
}

/** A time in milliseconds or seconds, with one decimal place if it is less than 10. */
export function time(value: number | null | undefined): string {
  return digits(value, value !== null && value !== undefined && value < 10 ? 1 : 0);
}

/** A wait in milliseconds; `null` means that the client was not greeted. */
export function wait(value: number | null | undefined): string {
  return value === null ? "never" : time(value);
}

/** One of the waits of clients, if any was greeted. */
export function waitOf(seen: Seen | undefined, which: "p50" | "p99" | "max"): string {
  return seen && seen.whole > 0 ? time(seen[which]) : NONE;
}

/** A size in memory or on disk, such as `39 MiB`. */
export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  return formatBytes(value, { binary: true, maximumFractionDigits: 0 });
}

/** `1,999 of 2,000`, in bold if some are missing. */
export function share(part: number, all: number): string {
  const text = `${whole(part)} of ${whole(all)}`;
  return part < all ? `**${text}**` : text;
}
