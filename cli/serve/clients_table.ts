/**
 * Formats the clients of a server that has stopped as a table for people.
 *
 * @module
 */
import { formatRange } from "../../shared/ports.ts";
import { localDateAndTime, plural, quoteBytes } from "../text.ts";
import { type Client, type ClientList, payloadOf, rangesOf } from "./clients.ts";

/** How many lines the table has at most, with those above and below the clients. */
export const MAX_TABLE_LINES = 40;

/** The titles of the columns. The last two are as wide as the terminal permits. */
const TITLES = {
  address: "Client",
  connections: "Conns",
  bytes: "Bytes",
  first: "First",
  last: "Last",
  ports: "Ports",
  sent: "Sent first",
} as const;

/** What separates columns. */
const GAP = "  ";

/** The length of the longest address that shares a line with the other columns on any terminal. */
const MAX_INLINE_ADDRESS = "255.255.255.255".length;

/** The width of the ports for which what was sent is cut off: it has room for one range and `,...`. */
const MIN_PORTS_WIDTH = "60000-65535,...".length;

/** The width below which what was sent is left out. */
const MIN_SENT_WIDTH = TITLES.sent.length;

/**
 * Formats a table that is at most `columns` wide. To make it fit, what was sent is cut off, then times are shortened, then
 * long addresses are put on lines of their own, then what was sent is left out, and then ports are cut off. On a terminal
 * that is too narrow even for that, the table is wider.
 */
export function clientTable({ busiest, others, resetsBeforeAccept }: ClientList, columns: number): string[] {
  const totals = [];
  if (others.connections > 0) totals.push(`Other clients: ${describeTotals([others])}`);
  if (resetsBeforeAccept > 0) {
    totals.push(`Unknown clients: ${plural(resetsBeforeAccept, "connection")}, reset before accept`);
  }
  if (busiest.length === 0) return totals.length === 0 ? ["No clients"] : totals;
  const count = others.connections === 0 ? plural(busiest.length, "client") : `The first ${busiest.length} clients`;
  const { titles, rows } = formatRows(busiest.slice(0, MAX_TABLE_LINES), columns);
  const room = MAX_TABLE_LINES - 2 - totals.length;
  // A line counts the clients that are not shown.
  const shown = countRows(rows, room) === busiest.length ? busiest.length : countRows(rows, room - 1);
  const rest = busiest.slice(shown);
  if (rest.length > 0) totals.unshift(`${plural(rest.length, "more client")}: ${describeTotals(rest)}`);
  return [
    `${count}${busiest.length === 1 ? "" : ", busiest first"}:`,
    titles,
    ...rows.slice(0, shown).flat(),
    ...totals,
  ];
}

function describeTotals(clients: readonly { connections: number; bytesReceived: number }[]): string {
  const connections = clients.reduce((sum, client) => sum + client.connections, 0);
  const bytes = clients.reduce((sum, client) => sum + client.bytesReceived, 0);
  return `${plural(connections, "connection")}, ${plural(bytes, "byte")}`;
}

/** Returns how many rows have at most `max` lines together. */
function countRows(rows: readonly string[][], max: number): number {
  let lines = 0;
  const end = rows.findIndex((row) => (lines += row.length) > max);
  return end === -1 ? rows.length : end;
}

/** A column: its title and its cells, all of the same width. */
type Column = readonly string[];

/** Formats the line of titles, and the lines of each client: one, or two if its address has a line of its own. */
function formatRows(clients: readonly Client[], columns: number): { titles: string; rows: string[][] } {
  const leftColumns = (maxAddress: number, format: (time: number) => string): Column[] => [
    alignLeft(TITLES.address, clients.map(({ address }) => address.length > maxAddress ? "" : address)),
    alignRight(TITLES.connections, clients.map(({ connections }) => `${connections}`)),
    alignRight(TITLES.bytes, clients.map(({ bytesReceived }) => `${bytesReceived}`)),
    alignLeft(TITLES.first, clients.map(({ firstSeen }) => format(firstSeen))),
    alignLeft(TITLES.last, clients.map(({ lastSeen }) => format(lastSeen))),
  ];
  const roomAfter = (table: readonly Column[]) =>
    table.reduce((room, [title = ""]) => room - title.length - GAP.length, columns);
  const hasSent = clients.some((client) => formatSent(client, Infinity) !== "");
  const minRoom = MIN_PORTS_WIDTH + (hasSent ? GAP.length + MIN_SENT_WIDTH : 0);
  const hasRoom = (table: readonly Column[]) => roomAfter(table) >= minRoom;
  const [long, short] = timeFormats(clients);
  const narrowest = leftColumns(MAX_INLINE_ADDRESS, short);
  const table = [leftColumns(Infinity, long), leftColumns(Infinity, short), leftColumns(MAX_INLINE_ADDRESS, long)]
    .find(hasRoom) ?? narrowest;
  const room = roomAfter(table);
  const { portsWidth, sentWidth } = hasSent ? divideRoom(clients, room) : { portsWidth: room, sentWidth: 0 };
  table.push(alignLeft(TITLES.ports, clients.map((client) => formatClientPorts(client, portsWidth))));
  if (sentWidth > 0) table.push(alignLeft(TITLES.sent, clients.map((client) => formatSent(client, sentWidth))));
  const line = (index: number) => table.map((column) => column[index]).join(GAP).trimEnd();
  return {
    titles: line(0),
    rows: clients.map(({ address }, i) => line(i + 1).startsWith(address) ? [line(i + 1)] : [address, line(i + 1)]),
  };
}

/** Divides the room between the last two columns. If what was sent is left out, its width is 0. */
function divideRoom(clients: readonly Client[], room: number): { portsWidth: number; sentWidth: number } {
  const widest = Math.max(TITLES.ports.length, ...clients.map((client) => formatClientPorts(client, Infinity).length));
  const portsWidth = Math.min(widest, Math.max(MIN_PORTS_WIDTH, Math.floor(room / 2)));
  const sentWidth = room - portsWidth - GAP.length;
  return sentWidth < MIN_SENT_WIDTH ? { portsWidth: room, sentWidth: 0 } : { portsWidth, sentWidth };
}

function alignLeft(title: string, cells: readonly string[]): Column {
  const width = widthOf([title, ...cells]);
  return [title, ...cells].map((cell) => cell.padEnd(width));
}

function alignRight(title: string, cells: readonly string[]): Column {
  const width = widthOf([title, ...cells]);
  return [title, ...cells].map((cell) => cell.padStart(width));
}

function widthOf(cells: Column): number {
  return Math.max(...cells.map(({ length }) => length));
}

/** Formats the ports of a client: as many ranges as fit, and `...` if there are more. */
function formatClientPorts(client: Client, width: number): string {
  const ranges = rangesOf(client).map(formatRange);
  const all = [...ranges, ...(client.hasMorePorts ? ["..."] : [])].join(",");
  if (all.length <= width) return all;
  let count = ranges.length;
  const text = () => [...ranges.slice(0, count), "..."].join(",");
  while (count > 0 && text().length > width) count--;
  return text();
}

/** Formats what a client sent first: as many bytes as fit. */
function formatSent(client: Client, width: number): string {
  const { isPayloadCut, denied } = client;
  const payload = payloadOf(client);
  if (payload.length === 0) return denied ? "(denied)" : "";
  let count = payload.length;
  const text = () => quoteBytes(payload.subarray(0, count)) + (isPayloadCut || count < payload.length ? "..." : "");
  while (count > 0 && text().length > width) count--;
  return text();
}

/** Returns a long and a short format of local times. They include the date unless all times are on the current day. */
function timeFormats(clients: readonly Client[]): [long: (time: number) => string, short: (time: number) => string] {
  const split = (time: number) => {
    const [date = "", timeOfDay = ""] = localDateAndTime(new Date(time)).split(" ");
    return { date, monthAndDay: date.slice("2026-".length), timeOfDay, minute: timeOfDay.slice(0, "17:30".length) };
  };
  const times = [Date.now(), ...clients.flatMap(({ firstSeen, lastSeen }) => [firstSeen, lastSeen])];
  const isOneDay = new Set(times.map((time) => split(time).date)).size === 1;
  return isOneDay
    ? [(time) => split(time).timeOfDay, (time) => split(time).minute]
    : [(time) => `${split(time).monthAndDay} ${split(time).minute}`, (time) => split(time).monthAndDay];
}
