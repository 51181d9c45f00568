import { assert, assertEquals, assertMatch } from "@std/assert";
import { fc } from "../../tests/deps.ts";
import { encodeText } from "../escapes.ts";
import { formatPorts, formatRange } from "../../shared/ports.ts";
import { latin1, localDateAndTime } from "../text.ts";
import { addPort, type Client, type ClientList, rangesOf } from "./clients.ts";
import { clientTable, MAX_TABLE_LINES } from "./clients_table.ts";

/** The start of the current minute, so that a time and the seconds after it are on one day. */
const now = Math.floor(Date.now() / 60_000) * 60_000;
const [, timeOfDay = ""] = localDateAndTime(new Date(now)).split(" ");

function client(
  address: string,
  { ports = [22], ...more }: Partial<Client> & { ports?: readonly number[] } = {},
): Client {
  let bounds: readonly number[] = [];
  for (const port of ports) bounds = addPort(bounds, port) ?? bounds;
  return {
    address,
    connections: 1,
    bytesReceived: 0,
    denied: false,
    firstSeen: now,
    lastSeen: now,
    bounds,
    hasMorePorts: false,
    payload: "",
    isPayloadCut: false,
    payloadAcceptedAt: 0,
    ...more,
  };
}

/** The table of these clients. */
function table(busiest: Client[], columns = 80, more: Partial<ClientList> = {}): string[] {
  return clientTable(
    { busiest, others: { connections: 0, bytesReceived: 0 }, resetsBeforeAccept: 0, ...more },
    columns,
  );
}

const get = client("192.0.2.7", {
  connections: 12,
  bytesReceived: 340,
  ports: [22, 80, 81],
  payload: "GET / HTTP/1.1\r\nHost: lab\r\n",
});

Deno.test("clientTable() aligns its columns, numbers to the right", () => {
  const hello = client("198.51.100.200", { bytesReceived: 5, payload: 'a"\r\n' });
  assertEquals(table([get, hello, client("192.0.2.8", { denied: true })], 100), [
    "3 clients, busiest first:",
    "Client          Conns  Bytes  First     Last      Ports     Sent first",
    `192.0.2.7          12    340  ${timeOfDay}  ${timeOfDay}  22,80-81  "GET / HTTP/1.1\\r\\nHost: lab\\r\\n"`,
    `198.51.100.200      1      5  ${timeOfDay}  ${timeOfDay}  22        "a\\x22\\r\\n"`,
    `192.0.2.8           1      0  ${timeOfDay}  ${timeOfDay}  22        (denied)`,
  ]);
});

Deno.test("clientTable() first cuts off what was sent, then shortens times, omits what was sent, times, bytes and connections, and cuts off ports", () => {
  const line = (columns: number) => table([get], columns)[2];
  const left = "192.0.2.7     12    340  ";
  const seconds = `${left}${timeOfDay}  ${timeOfDay}  22,80-81  `;
  const minutes = `${left}${timeOfDay.slice(0, 5)}  ${timeOfDay.slice(0, 5)}  `;
  assertEquals(line(88), seconds + String.raw`"GET / HTTP/1.1\r\nHost: lab\r\n"`);
  // The title of the ports is wider than these ports.
  assertEquals(table([client("192.0.2.7", { payload: "x".repeat(64) })], 80)[2]?.length, 80);
  assertEquals(line(87), seconds + String.raw`"GET / HTTP/1.1\r\nHost: lab"...`);
  assertEquals(line(86), seconds + String.raw`"GET / HTTP/1.1\r\nHost: la"...`);
  assertEquals(line(72), seconds + String.raw`"GET / HTTP/1"...`);
  assertEquals(line(71), minutes + String.raw`22,80-81  "GET / HTTP/1.1\r"...`);
  assertEquals(line(59), minutes + String.raw`22,80-81  "GET /"...`);
  for (const columns of [58, 47]) assertEquals(line(columns), `${minutes}22,80-81`);
  for (const columns of [46, 33]) assertEquals(line(columns), `${left}22,80-81`);
  for (const columns of [32, 26]) assertEquals(line(columns), "192.0.2.7     12  22,80-81");
  for (const columns of [25, 19]) assertEquals(line(columns), "192.0.2.7  22,80-81");
  for (const columns of [18, 17]) assertEquals(line(columns), "192.0.2.7  22,...");
  assertEquals(line(16), "192.0.2.7  ...");
});

Deno.test("clientTable() has ports even at 40 columns, and breaks other lines between words", () => {
  const clients = [
    client("192.0.2.200", { connections: 12, ports: [21, 22, 25, 80, 443, 8000], payload: "GET /" }),
    client("2001:db8:1234:5678:abcd:ef01:2345:6789", { ports: [22, 60_000] }),
    ...Array.from({ length: 40 }, (_, i) => client(`198.51.100.${i + 100}`, { connections: 25_000 })),
  ];
  const others = { connections: 1_234_567, bytesReceived: 12_345_678 };
  const lines = table(clients, 40, { others, resetsBeforeAccept: 12 });
  assertEquals([...lines.slice(0, 6), ...lines.slice(-7)], [
    "The first 42 clients, busiest first:",
    "Client          Conns  Ports",
    "192.0.2.200        12  21-22,25,80,...",
    "2001:db8:1234:5678:abcd:ef01:2345:6789",
    "                    1  22,60000",
    "198.51.100.100  25000  22",
    "198.51.100.128  25000  22",
    "11 more clients: 275000 connections, 0",
    "bytes",
    "Other clients: 1234567 connections,",
    "12345678 bytes",
    "Unknown clients: 12 connections, reset",
    "before accept",
  ]);
  assertEquals(lines.length, MAX_TABLE_LINES);
});

Deno.test("clientTable() is complete without a terminal: all clients, ports, and what they sent first", () => {
  const ports = Array.from({ length: 16 }, (_, i) => 60_000 + 3 * i).flatMap((port) => [port, port + 1]);
  const students = Array.from({ length: 60 }, (_, i) => client(`192.0.2.${i + 1}`, { ports: [21, 22, 80] }));
  const busy = client("2001:db8:1234:5678:abcd:ef01:2345:6789", { ports, payload: "\0".repeat(64) });
  const lines = table([busy, ...students], Infinity);
  assertEquals(lines.length, 63);
  const sentAt = lines[1]?.indexOf("Sent first");
  const portsAt = lines[1]?.indexOf("Ports");
  assertEquals(lines[2]?.slice(portsAt), `${formatPorts(ports)}  "${"\\x00".repeat(64)}"`);
  assertEquals(lines[2]?.slice(sentAt), `"${"\\x00".repeat(64)}"`);
  assertEquals(
    lines.slice(3),
    students.map(({ address }) => `${address.padEnd(38)}      1      0  ${timeOfDay}  ${timeOfDay}  21-22,80`),
  );
});

Deno.test("clientTable() has no column for what was sent if no client has sent anything", () => {
  const ports = [1, 3, 5, 7, 9, 11, 13, 15];
  const silent = [client("192.0.2.7", { ports }), client("192.0.2.8")];
  assertEquals(table(silent, 70).slice(1), [
    "Client     Conns  Bytes  First     Last      Ports",
    `192.0.2.7      1      0  ${timeOfDay}  ${timeOfDay}  1,3,5,7,9,11,13,15`,
    `192.0.2.8      1      0  ${timeOfDay}  ${timeOfDay}  22`,
  ]);
  assertMatch(table([...silent, get], 70)[2] ?? "", / 1,3,5,7,9,\.\.\.$/);
});

Deno.test("clientTable() marks clients that are not allowed also without the column for what was sent", () => {
  const denied = client("192.0.2.8", { denied: true, ports: [21, 80, 110, 5900] });
  for (const columns of [40, 60, 72, 100]) {
    const line = table([get, denied], columns).find((line) => line.startsWith("192.0.2.8"));
    assert(line?.endsWith(" (denied)"), `${columns}: ${line}`);
  }
});

Deno.test("clientTable() puts long addresses on lines of their own if there is no room for the other columns", () => {
  const address = "2001:db8:1234:5678:abcd:ef01:2345:6789";
  const long = client(address, { payload: "SSH-2.0-Go" });
  const minute = timeOfDay.slice(0, 5);
  assertEquals(table([get, long], 95).slice(2), [
    `192.0.2.7                                  12    340  ${minute}  ${minute}  22,80-81  "GET / HTTP/1"...`,
    `2001:db8:1234:5678:abcd:ef01:2345:6789      1      0  ${minute}  ${minute}  22        "SSH-2.0-Go"`,
  ]);
  assertEquals(table([long, get, client("2001:db8::8")], 80), [
    "3 clients, busiest first:",
    "Client       Conns  Bytes  First     Last      Ports     Sent first",
    address,
    `                 1      0  ${timeOfDay}  ${timeOfDay}  22        "SSH-2.0-Go"`,
    `192.0.2.7       12    340  ${timeOfDay}  ${timeOfDay}  22,80-81  "GET / HTTP/1.1\\r\\n"...`,
    `2001:db8::8      1      0  ${timeOfDay}  ${timeOfDay}  22`,
  ]);
  // Each of them takes two of the 40 lines.
  const many = table(Array.from({ length: 30 }, () => long), 80);
  assertEquals([many.length, many.at(-1)], [MAX_TABLE_LINES - 1, "12 more clients: 12 connections, 0 bytes"]);
  const all = table(Array.from({ length: 19 }, () => long), 80);
  assertEquals([all.length, all.at(-2)], [MAX_TABLE_LINES, address]);
});

Deno.test("clientTable() marks payloads and ports of which more were received than recorded", () => {
  const more = client("192.0.2.7", { hasMorePorts: true, payload: "GET /", isPayloadCut: true });
  assertMatch(table([more])[2] ?? "", / {2}22,\.\.\. {2}"GET \/"\.\.\.$/);
});

Deno.test("clientTable() shows dates if not all times are on the current day", () => {
  const day = 24 * 60 * 60 * 1000;
  const date = (time: number) => localDateAndTime(new Date(time)).slice(5, 16);
  const early = client("192.0.2.7", { firstSeen: now - 2 * day });
  const today = client("192.0.2.8");
  assertMatch(table([early, today], 80)[2] ?? "", new RegExp(` ${date(now - 2 * day)}  ${date(now)}  22$`));
  assertMatch(table([early, today], 80)[3] ?? "", new RegExp(` ${date(now)}  ${date(now)}  22$`));
  assertMatch(
    table([early, today], 60)[2] ?? "",
    new RegExp(` {2}${date(now - 2 * day).slice(0, 5)}  \\d\\d-\\d\\d  22$`),
  );
  const yesterday = client("192.0.2.9", { firstSeen: now - day, lastSeen: now - day });
  assertMatch(table([yesterday])[2] ?? "", new RegExp(` ${date(now - day)}  ${date(now - day)}  22$`));
});

Deno.test("clientTable() has at most 40 lines on a terminal, and counts the clients that it does not list", () => {
  const clients = (count: number) =>
    Array.from({ length: count }, (_, i) => client(`192.0.2.${i}`, { connections: 100 - i, bytesReceived: 1 }));
  assertEquals(table([]), ["No clients"]);
  assertEquals(table(clients(1))[0], "1 client:");
  const all = table(clients(38));
  assertEquals([all.length, all.at(-1)?.match(/^\S+/)?.[0]], [MAX_TABLE_LINES, "192.0.2.37"]);
  const some = table(clients(39));
  assertEquals(some[0], "39 clients, busiest first:");
  assertEquals([some.length, some.at(-2)?.match(/^\S+/)?.[0]], [MAX_TABLE_LINES, "192.0.2.36"]);
  assertEquals(some.at(-1), "2 more clients: 125 connections, 2 bytes");
  const many = table(clients(60), 80, { others: { connections: 7, bytesReceived: 1 }, resetsBeforeAccept: 1 });
  assertEquals(many[0], "The first 60 clients, busiest first:");
  assertEquals(many.length, MAX_TABLE_LINES);
  assertEquals(many.slice(-3), [
    "25 more clients: 1325 connections, 25 bytes",
    "Other clients: 7 connections, 1 byte",
    "Unknown clients: 1 connection, reset before accept",
  ]);
  const unknown = table([], 80, { resetsBeforeAccept: 12 });
  assertEquals(unknown, ["Unknown clients: 12 connections, reset before accept"]);
});

/** IPv4 and IPv6 addresses, up to the longest. */
const anyAddress = fc.oneof(
  fc.ipV4(),
  fc.array(fc.integer({ min: 0x1000, max: 0xffff }), { minLength: 8, maxLength: 8 }).map((parts) =>
    parts.map((part) => part.toString(16)).join(":")
  ),
);
const anyClient = fc.record({
  address: anyAddress,
  connections: fc.integer({ min: 1, max: 99_999 }),
  bytesReceived: fc.integer({ min: 0, max: 999_999 }),
  age: fc.constantFrom(0, 30_000, 5 * 24 * 60 * 60 * 1000),
  // Also lists that are narrower than the title of their column.
  ports: fc.oneof(fc.constant([22]), fc.array(fc.integer({ min: 1, max: 65_535 }), { minLength: 1, maxLength: 40 })),
  hasMorePorts: fc.boolean(),
  payload: fc.uint8Array({ maxLength: 64 }).map(latin1),
  isPayloadCut: fc.boolean(),
}).map(({ address, age, ...fields }) => client(address, { ...fields, firstSeen: now - age }));

/** Pairs the clients with their lines, without their addresses, which may have lines of their own. */
function pairRows(clients: readonly Client[], lines: readonly string[]): [client: Client, row: string][] {
  const rest = [...lines];
  return clients.flatMap((client): [Client, string][] => {
    const { address } = client;
    if (rest.length === 0 || / more clients?: /.test(rest[0] ?? "")) return [];
    const line = rest.shift() ?? "";
    assertEquals(line.slice(0, address.length), address);
    const row = line === address ? rest.shift() ?? "" : line.replace(address, "".padEnd(address.length));
    return [[client, row]];
  });
}

/** Asserts that a cell has some of the ports of a client, and says so if it does not have all. */
function assertPorts(cell: string, client: Client) {
  const ranges = rangesOf(client).map(formatRange);
  const shown = cell.split(",").filter((range) => range !== "...");
  assertEquals(shown, ranges.slice(0, shown.length));
  assertEquals(cell.endsWith("..."), client.hasMorePorts || shown.length < ranges.length);
}

/** Asserts that a cell has the first bytes that a client sent, and says so if it does not have all. */
function assertSent(cell: string, { payload, isPayloadCut }: Client) {
  if (payload === "") return assertEquals(cell, "");
  const [, text = "", end = ""] = cell.match(/^"(.*)"((?:\.\.\.)?)$/) ?? [];
  const sent = latin1(encodeText(text));
  assertEquals(sent, payload.slice(0, sent.length));
  assertEquals(end !== "", isPayloadCut || sent.length < payload.length);
}

Deno.test("clientTable() is never wider than the terminal, however narrow", () => {
  fc.assert(fc.property(
    fc.array(anyClient, { maxLength: 50 }),
    fc.integer({ min: 1, max: 60 }),
    fc.record({ connections: fc.nat(), bytesReceived: fc.nat() }),
    fc.nat(),
    (clients, columns, others, resetsBeforeAccept) => {
      const lines = table(clients, columns, { others, resetsBeforeAccept });
      for (const line of lines) assert(line.length <= columns, line);
      assert(columns < 10 || lines.length <= MAX_TABLE_LINES, `${lines.length} lines`);
    },
  ));
});

Deno.test("clientTable() fits 40 columns with any clients, shows times in 61, what was sent in 80, and stays aligned", () => {
  fc.assert(fc.property(
    fc.array(anyClient, { minLength: 1, maxLength: 50 }),
    fc.oneof(fc.integer({ min: 40, max: 200 }), fc.constant(Infinity)),
    (clients, columns) => {
      const lines = table(clients, columns);
      const maxLines = columns === Infinity ? Infinity : MAX_TABLE_LINES;
      assert(lines.length <= maxLines, `${lines.length} lines`);
      for (const line of lines) assert(line.length <= columns && /^[ -~]*$/.test(line), line);
      const [, titles = "", ...rest] = lines;
      const rows = pairRows(clients, rest);
      // This line may be broken into two.
      const [, more = 0] = rest.slice(-2).join(" ").match(/(?:^| )(\d+) more clients?: /) ?? [];
      const missing = Number(more);
      assertEquals(rows.length + missing, clients.length);
      assert(missing === 0 || lines.length >= maxLines - 1, `${lines.length} lines, ${missing} missing`);
      const hasSent = clients.some(({ payload, denied }) => payload !== "" || denied);
      assert(columns < 80 || titles.endsWith("Sent first") === hasSent, titles);
      assert(columns < 61 || titles.includes("First"), titles);

      // The start of each column, except for numbers, which are aligned to the right.
      const [first, last, ports, sent] = ["First", "Last", "Ports", "Sent first"].map((title) => titles.indexOf(title));
      for (const [client, row] of rows) {
        const counts = [`${client.connections}`, `${client.bytesReceived}`];
        const shown = ["Conns", "Bytes"].filter((title) => titles.includes(title)).length;
        assertEquals(row.slice(0, first === -1 ? ports : first).trim().split(/ +/), counts.slice(0, shown));
        for (const [start, end] of first === -1 ? [] : [[first, last], [last, ports]]) {
          assertMatch(row.slice(start, end), /^\d\d[:-]\d\d(:\d\d| \d\d:\d\d)? *$/);
        }
        assertPorts(row.slice(ports, sent === -1 ? undefined : sent).trimEnd(), client);
        if (sent !== -1) assertSent(row.slice(sent), client);
      }
    },
  ));
});
