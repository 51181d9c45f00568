/**
 * Formats the clients of a server that has stopped as a table for people.
 *
 * @module
 */
import { formatRange } from "../../shared/ports.ts";
import { localDateAndTime, plural, quoteBytes, wrap } from "../text.ts";
import { type Client, type ClientList, payloadOf, rangesOf } from "./clients.ts";

/** How many lines the table has at most on a terminal, with those above and below the clients. */
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

/** The width below which what was sent is omitted. */
const MIN_SENT_WIDTH = TITLES.sent.length;

/**
 * Formats a table for a terminal that is `columns` wide, or the whole table if that is `Infinity`. To make it fit, what
 * was sent is cut off, then times are shortened, then long addresses are put on lines of their own, then what was sent
 * is omitted, then times, bytes and connections, in this order, and then ports are cut off.
 */
export function clientTable({ busiest, others, resetsBeforeAccept }: ClientList, columns: number): string[] {
  const maxLines = columns === Infinity ? Infinity : MAX_TABLE_LINES;
  const fit = (line: string) => wrap(line, columns);
  const totals = [];
  if (others.connections > 0) totals.push(...fit(`Other clients: ${describeTotals([others])}`));
  if (resetsBeforeAccept > 0) {
    totals.push(...fit(`Unknown clients: ${plural(resetsBeforeAccept, "connection")}, reset before accept`));
  }
  if (busiest.length === 0) return totals.length === 0 ? fit("No clients") : totals;
  const count = others.connections === 0 ? plural(busiest.length, "client") : `The first ${busiest.length} clients`;
  const { titles, rows } = formatRows(busiest.slice(0, maxLines), columns);
  const top = [`${count}${busiest.length === 1 ? "" : ", busiest first"}:`, titles].flatMap(fit);
  const lines = rows.map((row) => row.flatMap(fit));
  const describeRest = (shown: number) => {
    const rest = busiest.slice(shown);
    return rest.length === 0 ? [] : fit(`${plural(rest.length, "more client")}: ${describeTotals(rest)}`);
  };
  // The clients that are not shown are counted below, which takes lines, too.
  let shown = lines.length;
  const height = () => top.length + lines.slice(0, shown).flat().length + describeRest(shown).length + totals.length;
  while (shown > 0 && height() > maxLines) shown--;
  return [...top, ...lines.slice(0, shown).flat(), ...describeRest(shown), ...totals];
}

function describeTotals(clients: readonly { connections: number; bytesReceived: number }[]): string {
  const connections = clients.reduce((sum, client) => sum + client.connections, 0);
  const bytes = clients.reduce((sum, client) => sum + client.bytesReceived, 0);
  return `${plural(connections, "connection")}, ${plural(bytes, "byte")}`;
}

/** A column: its title and its cells, all of the same width. */
type Column = readonly string[];

/** Formats the line of titles, and the lines of each client: one, or two if its address has a line of its own. */
function formatRows(clients: readonly Client[], columns: number): { titles: string; rows: string[][] } {
  const hasSent = clients.some((client) => formatSent(client, Infinity) !== "");
  const sentRoom = hasSent ? GAP.length + MIN_SENT_WIDTH : 0;
  const widest = Math.max(TITLES.ports.length, ...clients.map((client) => formatClientPorts(client, Infinity).length));
  const { table, hasSentRoom } = leftColumns(clients, columns, widest, sentRoom);
  const room = roomAfter(table, columns);
  const showsSent = hasSent && hasSentRoom;
  const portsWidth = showsSent ? Math.min(widest, Math.max(MIN_PORTS_WIDTH, Math.floor(room / 2))) : room;
  // Otherwise, a client that was not allowed would look like one that was greeted.
  const markOf = ({ denied }: Client) => denied && !showsSent ? " (denied)" : "";
  const portsOf = (client: Client) => formatClientPorts(client, portsWidth - markOf(client).length) + markOf(client);
  table.push(alignLeft(TITLES.ports, clients.map(portsOf)));
  if (showsSent) {
    const sentWidth = room - portsWidth - GAP.length;
    table.push(alignLeft(TITLES.sent, clients.map((client) => formatSent(client, sentWidth))));
  }
  const line = (index: number) => table.map((column) => column[index]).join(GAP).trimEnd();
  return {
    titles: line(0),
    rows: clients.map(({ address }, i) => line(i + 1).startsWith(address) ? [line(i + 1)] : [address, line(i + 1)]),
  };
}

/** Returns how much room there is after these columns. */
function roomAfter(table: readonly Column[], columns: number): number {
  return table.reduce((room, [title = ""]) => room - title.length - GAP.length, columns);
}

/**
 * Returns the columns before the ports, in the widest form that leaves room for ports and `sentRoom`, or if there is
 * none, for ports alone.
 */
function leftColumns(
  clients: readonly Client[],
  columns: number,
  widestPorts: number,
  sentRoom: number,
): { table: Column[]; hasSentRoom: boolean } {
  const [long, short] = timeFormats(clients);
  const form = (maxAddress: number, format: (time: number) => string): Column[] => [
    alignLeft(TITLES.address, clients.map(({ address }) => address.length > maxAddress ? "" : address)),
    alignRight(TITLES.connections, clients.map(({ connections }) => `${connections}`)),
    alignRight(TITLES.bytes, clients.map(({ bytesReceived }) => `${bytesReceived}`)),
    alignLeft(TITLES.first, clients.map(({ firstSeen }) => format(firstSeen))),
    alignLeft(TITLES.last, clients.map(({ lastSeen }) => format(lastSeen))),
  ];
  const narrow = form(MAX_INLINE_ADDRESS, short);
  const forms = [form(Infinity, long), form(Infinity, short), form(MAX_INLINE_ADDRESS, long), narrow];
  const minPorts = Math.min(MIN_PORTS_WIDTH, widestPorts);
  const wide = forms.find((table) => roomAfter(table, columns) >= MIN_PORTS_WIDTH + sentRoom);
  if (wide) return { table: wide, hasSentRoom: true };
  if (roomAfter(narrow, columns) >= minPorts + sentRoom) return { table: narrow, hasSentRoom: true };
  const parts = [5, 3, 2].map((count) => narrow.slice(0, count));
  const table = parts.find((part) => roomAfter(part, columns) >= minPorts) ?? narrow.slice(0, 1);
  return { table, hasSentRoom: false };
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
