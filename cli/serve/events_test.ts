import { assert, assertEquals, assertMatch } from "@std/assert";
import { fc } from "../../tests/deps.ts";
import type { Connection } from "../../server.ts";
import { jsonFormat, textFormat } from "./events.ts";
import { encodeText } from "../escapes.ts";
import { hostAndPort } from "../text.ts";

const localAddr: Deno.NetAddr = { transport: "tcp", hostname: "198.51.100.1", port: 21 };

function connection(sent: Uint8Array, more: Partial<Connection> = {}): Connection {
  return {
    remoteAddr: { transport: "tcp", hostname: "192.0.2.7", port: 51514 },
    localAddr,
    acceptedAt: performance.now(),
    bytesSent: 41,
    greeted: true,
    bytesReceived: sent.length,
    received: sent.subarray(0, 256),
    closeReason: "closed",
    ...more,
  };
}

const onePort = { greeted: [21], notGreeted: [], onlyReset: [] };
const bytes = (text: string) => new TextEncoder().encode(text);
const addresses = { proto: "TCP", src_ip: "192.0.2.7", src_port: 51514, dest_ip: "198.51.100.1", dest_port: 21 };

/** Parses a row. Checks the form of its times, and removes them. */
function parsed(line: string): Record<string, unknown> {
  const { timestamp, duration_ms, ...rest } = JSON.parse(line);
  assertMatch(timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  if (duration_ms !== undefined) assert(typeof duration_ms === "number" && duration_ms >= 0);
  return rest;
}

Deno.test("textFormat formats each event as a line, and what a client sent as another one", () => {
  const quiet = connection(new Uint8Array());
  const loud = connection(bytes("GET / HTTP/1.0\r\n\r\n"));
  assertEquals(textFormat.listening([localAddr]), "Listening on 198.51.100.1:21");
  assertEquals(textFormat.connection(quiet), "Received connection from 192.0.2.7:51514 on port 21");
  assertEquals(textFormat.closed(quiet), undefined);
  assertEquals(textFormat.closed(loud), String.raw`192.0.2.7:51514 sent 18 bytes to port 21: "GET / HTTP/1.0\r\n\r\n"`);
  assertEquals(textFormat.closed(connection(bytes("x"))), `192.0.2.7:51514 sent 1 byte to port 21: "x"`);
  assertEquals(
    textFormat.closed(connection(bytes("x".repeat(300)))),
    `192.0.2.7:51514 sent 300 bytes to port 21: "${"x".repeat(256)}"...`,
  );
  assertEquals(textFormat.denied(quiet), "Denied connection from 192.0.2.7:51514 on port 21");
});

Deno.test("textFormat ends with the totals", () => {
  const totals = {
    greetings: 3,
    denied: 1,
    bytesReceived: 41,
    resets: 0,
    dropped: 0,
    duration: 12_345,
    ports: onePort,
  };
  assertEquals(textFormat.stopped(totals), "Stopped: 3 greetings, 1 denied, 41 bytes received in 12s");
  const dropped = { ...totals, greetings: 1, bytesReceived: 1, dropped: 2, duration: 3_723_000 };
  assertEquals(
    textFormat.stopped(dropped),
    "Stopped: 1 greeting, 1 denied, 1 byte received in 1h 2m 3s, 2 log lines dropped",
  );
  assertMatch(textFormat.stopped({ ...totals, resets: 1 }), /, 41 bytes received, 1 reset before accept in 12s$/);
  assertMatch(textFormat.stopped({ ...totals, duration: 0.4 }), / in 1ms$/);
  assertMatch(textFormat.stopped({ ...totals, duration: 999.6 }), / in 1s$/);
  assertMatch(textFormat.stopped({ ...totals, duration: 12_500 }), / in 13s$/);
});

Deno.test("hostAndPort() puts IPv6 addresses in brackets", () => {
  assertEquals(hostAndPort({ transport: "tcp", hostname: "2001:db8::7", port: 51514 }), "[2001:db8::7]:51514");
});

Deno.test("jsonFormat formats events as flat rows with the field names of Suricata's EVE log", () => {
  const conn = connection(new Uint8Array());
  assertEquals(parsed(jsonFormat.listening([localAddr])), {
    event_type: "listening",
    proto: "TCP",
    dest_ip: "198.51.100.1",
    dest_port: 21,
    ports: "21",
    addresses: ["198.51.100.1"],
  });
  assertEquals(parsed(jsonFormat.connection(conn)), { event_type: "connection", ...addresses });
  assertEquals(parsed(jsonFormat.denied(conn)), { event_type: "denied", ...addresses });
  assertEquals(parsed(jsonFormat.error(new Error("Too many")) ?? ""), { event_type: "error", message: "Too many" });
  assertEquals(parsed(jsonFormat.closed(conn) ?? ""), {
    event_type: "closed",
    ...addresses,
    bytes_sent: 41,
    bytes_received: 0,
    close_reason: "closed",
  });
  assertEquals(parsed(jsonFormat.closed(connection(bytes("\0GET /\r\n\u007fé"), { closeReason: "timeout" })) ?? ""), {
    event_type: "closed",
    ...addresses,
    bytes_sent: 41,
    bytes_received: 11,
    close_reason: "timeout",
    payload: "AEdFVCAvDQp/w6k=",
    payload_printable: ".GET /\r\n...",
  });
  assertEquals(
    parsed(
      jsonFormat.stopped({
        greetings: 3,
        denied: 1,
        bytesReceived: 41,
        resets: 4,
        dropped: 2,
        duration: 12,
        ports: onePort,
      }),
    ),
    {
      event_type: "stopped",
      greetings: 3,
      denied: 1,
      bytes_received: 41,
      resets_before_accept: 4,
      dropped: 2,
      ports_greeted: "21",
      ports_not_greeted: "",
      ports_reset: "",
    },
  );
});

Deno.test("both formats turn any bytes into one line of printable ASCII from which they can be restored", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (sent) => {
    const conn = connection(sent);
    assertMatch(textFormat.closed(conn) ?? "", /^[ -~]*$/);
    assertMatch(jsonFormat.closed(conn) ?? "", /^[ -~]*$/);
    const [, text] = textFormat.closed(conn)?.match(/: "(.*)"(?:\.\.\.)?$/) ?? [];
    assertEquals(text === undefined ? [] : [...encodeText(text)], [...sent.subarray(0, 256)]);
    const { payload = "" } = JSON.parse(jsonFormat.closed(conn) ?? "");
    assertEquals([...atob(payload)].map((char) => char.charCodeAt(0)), [...sent.subarray(0, 256)]);
  }));
});

Deno.test("both formats mark where lines were dropped", () => {
  assertEquals(textFormat.gap(1), "1 log line was dropped");
  assertEquals(textFormat.gap(2), "2 log lines were dropped");
  assertEquals(parsed(jsonFormat.gap(2)), { event_type: "log_dropped", lines: 2 });
});

Deno.test("jsonFormat includes the time of each event, and durations with three decimal places", async () => {
  const rowAt = () => JSON.parse(jsonFormat.denied(connection(new Uint8Array())));
  const before = Date.now();
  const first = Date.parse(rowAt().timestamp);
  assert(first >= before && first <= Date.now(), `${first}`);
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert(Date.parse(rowAt().timestamp) > first, "the timestamp is frozen");

  const closed = connection(new Uint8Array(), { acceptedAt: performance.now() - 1234.5678 });
  const { duration_ms } = JSON.parse(jsonFormat.closed(closed) ?? "");
  assert(duration_ms >= 1234.5 && duration_ms < 6000, `${duration_ms}`);
  const totals = { greetings: 0, denied: 0, bytesReceived: 0, resets: 0, dropped: 0, ports: onePort };
  for (const [duration, expected] of [[12.34567, 12.346], [0.0004, 0], [1e6, 1e6]] as const) {
    assertEquals(JSON.parse(jsonFormat.stopped({ ...totals, duration })).duration_ms, expected);
  }
});

Deno.test("jsonFormat replaces everything except printable ASCII, CR and LF in payload_printable with dots", () => {
  const sent = bytes("a\tb\r\n\u001b\u0000\u007f~ ");
  assertEquals(JSON.parse(jsonFormat.closed(connection(sent)) ?? "").payload_printable, "a.b\r\n...~ ");
});

Deno.test("both formats show the ports that the server listens on as ranges", () => {
  const addrs = [8001, 22, 8000].map((port) => ({ ...localAddr, port }));
  assertEquals(textFormat.listening(addrs), "Listening on 198.51.100.1:22,8000-8001 (3 ports)");
  const ipv6 = addrs.map((addr) => ({ ...addr, hostname: "::" }));
  assertEquals(textFormat.listening(ipv6), "Listening on [::]:22,8000-8001 (3 ports)");
  const { dest_port, ports } = parsed(jsonFormat.listening(addrs));
  assertEquals([dest_port, ports], [8001, "22,8000-8001"]);
});

Deno.test("both formats show all addresses that the server listens on, and each port once", () => {
  const listener = (hostname: string, port: number): Deno.NetAddr => ({ transport: "tcp", hostname, port });
  const at = (hostnames: string[], ...ports: number[]) =>
    ports.flatMap((port) => hostnames.map((hostname) => listener(hostname, port)));
  const two = ["127.0.0.1", "::1"];
  const cases: [addrs: Deno.NetAddr[], text: string, ports: string, addresses: string[]][] = [
    [at(two, 80), "127.0.0.1:80 and [::1]:80", "80", two],
    [at(two, 8001, 22, 8000), "127.0.0.1 and ::1, 3 ports each: 22,8000-8001", "22,8000-8001", two],
    [at([...two, "127.0.0.2"], 80), "127.0.0.1:80, [::1]:80 and 127.0.0.2:80", "80", [...two, "127.0.0.2"]],
    // Of two interfaces: Deno removes the zones.
    [at(["fe80::1", "fe80::1"], 80, 81), "fe80::1 and fe80::1, 2 ports each: 80-81", "80-81", ["fe80::1", "fe80::1"]],
  ];
  for (const [addrs, text, ports, addresses] of cases) {
    assertEquals(textFormat.listening(addrs), `Listening on ${text}`);
    const row = parsed(jsonFormat.listening(addrs));
    assertEquals([row.dest_ip, row.dest_port, row.ports, row.addresses], [
      addrs[0]?.hostname,
      addrs[0]?.port,
      ports,
      addresses,
    ]);
  }
});

Deno.test("both formats report resets before accept", () => {
  assertEquals(
    textFormat.resets(12, [8000, 8001]),
    "12 connections were reset before they could be accepted (a port scan?): 8000-8001",
  );
  assertMatch(textFormat.resets(1, [22]), /^1 connection was reset before it could be accepted /);
  assertEquals(parsed(jsonFormat.resets(12, [8001, 8000])), {
    event_type: "resets_before_accept",
    ports: "8000-8001",
    count: 12,
  });
});

Deno.test("both formats show in the summary what happened on each port if there are several", () => {
  const totals = { greetings: 1, denied: 0, bytesReceived: 0, resets: 5, dropped: 0, duration: 1000 };
  const ports = { greeted: [22], notGreeted: [25], onlyReset: [8001, 8000] };
  assertEquals(
    textFormat.stopped({ ...totals, ports }),
    "Stopped: 1 greeting, 0 denied, 0 bytes received, 5 reset before accept in 1s. " +
      "Greeted: 22. Not greeted: 25. Only reset: 8000-8001.",
  );
  assertEquals(
    textFormat.stopped({ ...totals, resets: 0, ports: { greeted: [22, 23], notGreeted: [], onlyReset: [] } }),
    "Stopped: 1 greeting, 0 denied, 0 bytes received in 1s. Greeted: 22-23.",
  );
  const greetedAndReset = textFormat.stopped({ ...totals, ports: { greeted: [22], notGreeted: [], onlyReset: [23] } });
  assertMatch(greetedAndReset, / in 1s\. Greeted: 22\. Only reset: 23\.$/);
  const { ports_greeted, ports_not_greeted, ports_reset } = JSON.parse(jsonFormat.stopped({ ...totals, ports }));
  assertEquals([ports_greeted, ports_not_greeted, ports_reset], ["22", "25", "8000-8001"]);
});

Deno.test("textFormat names at most 10 ranges of ports, and jsonFormat all", () => {
  const ports = Array.from({ length: 30 }, (_, i) => 2 * i + 1);
  const some = "1,3,5,7,9,11,13,15,17,19 and 20 more ports";
  const addrs = ports.map((port) => ({ ...localAddr, port }));
  assertEquals(textFormat.listening(addrs), `Listening on 198.51.100.1:${some} (30 ports)`);
  assertMatch(textFormat.resets(30, ports), new RegExp(`: ${some}$`));
  const summary = {
    greetings: 30,
    denied: 0,
    bytesReceived: 0,
    resets: 30,
    dropped: 0,
    duration: 1000,
    ports: { greeted: ports, notGreeted: ports.map((port) => port + 100), onlyReset: ports.map((port) => port + 200) },
  };
  assertMatch(
    textFormat.stopped(summary),
    / Greeted: 1,[^:]*,19 and 20 more ports\. Not greeted: 101,[^:]* more ports\. Only reset: 201,[^:]* more ports\.$/,
  );
  assertEquals(JSON.parse(jsonFormat.listening(addrs)).ports, `${ports}`);
  assertEquals(JSON.parse(jsonFormat.resets(30, ports)).ports, `${ports}`);
  const { ports_greeted, ports_not_greeted, ports_reset } = JSON.parse(jsonFormat.stopped(summary));
  assertEquals([ports_greeted, ports_not_greeted, ports_reset], [
    `${summary.ports.greeted}`,
    `${summary.ports.notGreeted}`,
    `${summary.ports.onlyReset}`,
  ]);
});

Deno.test("jsonFormat has a row for each client, and one for those that are not recorded", () => {
  const client = {
    address: "192.0.2.7",
    connections: 20,
    bytesReceived: 341,
    denied: false,
    firstSeen: Date.UTC(2026, 10, 25, 9, 2, 11, 5),
    lastSeen: Date.UTC(2026, 10, 26, 1, 2, 3),
    bounds: [22, 23, 80, 82],
    hasMorePorts: true,
    payload: "\xe9\n",
    isPayloadCut: false,
    payloadAcceptedAt: 0,
  };
  const others = { connections: 7, bytesReceived: 5 };
  const rows = jsonFormat.clients({ busiest: [client], others, resetsBeforeAccept: 3 }, 80);
  assertEquals(rows.map(parsed), [
    {
      event_type: "client",
      src_ip: "192.0.2.7",
      connections: 20,
      bytes_received: 341,
      first_seen: "2026-11-25T09:02:11.005Z",
      last_seen: "2026-11-26T01:02:03.000Z",
      denied: false,
      ports: "22,80-81",
      more_ports: true,
      payload: btoa("\xe9\n"),
      payload_printable: ".\n",
    },
    { event_type: "other_clients", connections: 7, bytes_received: 5 },
  ]);
  const none = { connections: 0, bytesReceived: 0 };
  assertEquals(jsonFormat.clients({ busiest: [], others: none, resetsBeforeAccept: 0 }, 80), []);
});
