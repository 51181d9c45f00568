import { assert, assertEquals, assertMatch } from "@std/assert";
import * as fc from "fast-check";
import { hostAndPort, jsonFormat as json, textFormat as text } from "./format.ts";
import { openLog } from "./log.ts";
import { quoteBytes as printable } from "./terminal.ts";
import type { Connection } from "../server.ts";

const localAddr: Deno.NetAddr = { transport: "tcp", hostname: "198.51.100.1", port: 21 };

function connection(sent: Uint8Array, more: Partial<Connection> = {}): Connection {
  return {
    remoteAddr: { transport: "tcp", hostname: "192.0.2.7", port: 51514 },
    localAddr,
    accepted: performance.now(),
    bytesSent: 41,
    greeted: true,
    bytesReceived: sent.length,
    received: sent.subarray(0, 256),
    closeReason: "closed",
    ...more,
  };
}

const bytes = (text: string) => new TextEncoder().encode(text);
const addresses = { src_ip: "192.0.2.7", src_port: 51514, dest_ip: "198.51.100.1", dest_port: 21 };

/** A row without what the clock says, after a look at it. */
function parsed(line: string): Record<string, unknown> {
  const { timestamp, duration_ms, ...rest } = JSON.parse(line);
  assertMatch(timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  if (duration_ms !== undefined) assert(typeof duration_ms === "number" && duration_ms >= 0);
  return rest;
}

/** A stream that takes what it is given only when it is read. */
function unreadPipe() {
  const { promise: read, resolve: startReading } = Promise.withResolvers<void>();
  const chunks: string[] = [];
  return {
    startReading,
    contents: () => chunks.join(""),
    async write(data: Uint8Array) {
      await read;
      const some = data.subarray(0, 1000); // as a pipe may, it doesn't take all at once
      chunks.push(new TextDecoder().decode(some));
      return some.length;
    },
  };
}

Deno.test("text: a line an event, and one more for what was sent", () => {
  const quiet = connection(new Uint8Array());
  const loud = connection(bytes("GET / HTTP/1.0\r\n\r\n"));
  assertEquals(text.listening(localAddr), "Listening on 198.51.100.1:21");
  assertEquals(text.connection(quiet), "Received connection from 192.0.2.7:51514");
  assertEquals(text.closed(quiet), undefined);
  assertEquals(text.closed(loud), String.raw`192.0.2.7:51514 sent 18 bytes: "GET / HTTP/1.0\r\n\r\n"`);
  assertEquals(text.closed(connection(bytes("x"))), `192.0.2.7:51514 sent 1 byte: "x"`);
  assertEquals(
    text.closed(connection(bytes("x".repeat(300)))),
    `192.0.2.7:51514 sent 300 bytes: "${"x".repeat(256)}"...`,
  );
  assertEquals(text.refused(quiet), "Refused connection from 192.0.2.7:51514");
});

Deno.test("text: the last line has the totals", () => {
  const totals = { greetings: 3, refused: 1, bytesReceived: 41, dropped: 0, duration: 12_345 };
  assertEquals(text.stopped(totals), "Stopped: 3 greetings, 1 refused, 41 bytes received in 12s");
  const dropped = { ...totals, greetings: 1, bytesReceived: 1, dropped: 2, duration: 3_723_000 };
  assertEquals(
    text.stopped(dropped),
    "Stopped: 1 greeting, 1 refused, 1 byte received in 1h 2m 3s, 2 log lines dropped",
  );
  assertMatch(text.stopped({ ...totals, duration: 0.4 }), / in 1ms$/);
  assertMatch(text.stopped({ ...totals, duration: 999.6 }), / in 1s$/);
});

Deno.test("IPv6 is in brackets", () => {
  assertEquals(hostAndPort({ transport: "tcp", hostname: "2001:db8::7", port: 51514 }), "[2001:db8::7]:51514");
});

Deno.test("json: flat rows with the names of Suricata's EVE log", () => {
  const conn = connection(new Uint8Array());
  assertEquals(parsed(json.listening(localAddr)), { event: "listening", dest_ip: "198.51.100.1", dest_port: 21 });
  assertEquals(parsed(json.connection(conn)), { event: "connection", ...addresses });
  assertEquals(parsed(json.refused(conn)), { event: "refused", ...addresses });
  assertEquals(parsed(json.error(new Error("Too many")) ?? ""), { event: "error", message: "Too many" });
  assertEquals(parsed(json.closed(conn) ?? ""), {
    event: "closed",
    ...addresses,
    bytes_sent: 41,
    bytes_received: 0,
    outcome: "closed",
  });
  assertEquals(parsed(json.closed(connection(bytes("\0GET /\r\n\u007fé"), { closeReason: "timeout" })) ?? ""), {
    event: "closed",
    ...addresses,
    bytes_sent: 41,
    bytes_received: 11,
    outcome: "timeout",
    payload: "AEdFVCAvDQp/w6k=",
    payload_printable: ".GET /\r\n...",
  });
  assertEquals(parsed(json.stopped({ greetings: 3, refused: 1, bytesReceived: 41, dropped: 2, duration: 12 })), {
    event: "stopped",
    greetings: 3,
    refused: 1,
    bytes_received: 41,
    dropped: 2,
  });
});

Deno.test("whatever is sent, a line is one line of printable ASCII, and tells the bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (sent) => {
    const conn = connection(sent);
    assertMatch(text.closed(conn) ?? "", /^[ -~]*$/);
    assertMatch(json.closed(conn) ?? "", /^[ -~]*$/);
    assertEquals(unescape(printable(sent.subarray(0, 256))), [...sent.subarray(0, 256)]);
    const { payload = "" } = JSON.parse(json.closed(conn) ?? "");
    assertEquals([...atob(payload)].map((char) => char.charCodeAt(0)), [...sent.subarray(0, 256)]);
  }));
});

/** The bytes that a quoted text stands for. */
function unescape(quoted: string): number[] {
  const plain = quoted.slice(1, -1).replace(/\\(x..|.)/g, (_, code: string) => {
    const named: Record<string, string> = { t: "\t", n: "\n", r: "\r" };
    return code.length === 3 ? String.fromCharCode(parseInt(code.slice(1), 16)) : named[code] ?? code;
  });
  return [...plain].map((char) => char.charCodeAt(0));
}

Deno.test("lines come out whole and in order, the last one at once when the log is closed", async () => {
  const pipe = unreadPipe();
  pipe.startReading();
  const log = openLog(pipe);
  const lines = Array.from({ length: 1000 }, (_, i) => `line ${i}`);
  for (const line of lines) log.print(line);
  log.print(undefined);
  await log.close(10_000, "last");
  assertEquals(pipe.contents(), [...lines, "last", ""].join("\n"));
});

Deno.test("a log that nobody reads keeps 1 MiB, counts the rest, and close() doesn't wait for it", async () => {
  const pipe = unreadPipe();
  const log = openLog(pipe);
  const line = "x".repeat(99);
  for (let i = 0; i < 8000; i++) log.print(line);
  await new Promise((resolve) => setTimeout(resolve, 50)); // so that a write is under way, and counts as unread too
  for (let i = 0; i < 8000; i++) log.print(line);
  const kept = Math.floor(1024 * 1024 / 100);
  assertEquals(log.dropped, 16_000 - kept);
  const started = performance.now();
  await log.close(100, "last");
  assert(performance.now() - started < 5000);
  pipe.startReading();
  await log.close(10_000);
  assertEquals(pipe.contents(), `${line}\n`.repeat(kept) + "last\n");
});

Deno.test("a closed pipe ends the log without a word, any other error with one", async () => {
  for (const [error, told] of [[new Deno.errors.BrokenPipe(), 0], [new Error("No space left on device"), 1]] as const) {
    const errors: unknown[] = [];
    let writes = 0;
    const log = openLog({ write: () => (writes++, Promise.reject(error)) }, (error) => errors.push(error));
    log.print("one");
    await log.close(10_000, "two");
    log.print("three");
    await log.close(10_000, "four");
    assertEquals([writes, errors], [1, Array(told).fill(error)]);
  }
});
