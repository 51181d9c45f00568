import { assert, assertEquals, assertThrows } from "@std/assert";
import { BlockList, createConnection } from "node:net";
import {
  type CloseReason,
  DEFAULTS,
  ListenError,
  MAX_GREETING_BYTES,
  serve,
  type ServeOptions,
  type Server,
} from "./server.ts";

/** A server on a free port of the loopback address, and how its connections ended, by the peer's port. */
function start(options: ServeOptions = {}): { server: Server; ends: Map<number, CloseReason | undefined> } {
  const ends = new Map<number, CloseReason | undefined>();
  const server = serve({
    hostname: "127.0.0.1",
    port: 0,
    onClose: ({ remoteAddr, closeReason }) => ends.set(remoteAddr.port, closeReason),
    ...options,
  });
  return { server, ends };
}

function matches(list: BlockList): (addr: Deno.NetAddr) => boolean {
  return ({ hostname }) => list.check(hostname, hostname.includes(":") ? "ipv6" : "ipv4");
}

/** A port that was free a moment ago. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

async function connect(server: Server): Promise<Deno.TcpConn> {
  return await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
}

/** All that a server sends, to its end; rejects if the connection is reset. Closes the connection. */
async function receive(conn: Deno.Conn): Promise<Uint8Array> {
  return await new Response(conn.readable).bytes();
}

async function greetingFrom(server: Server): Promise<string> {
  return new TextDecoder().decode(await receive(await connect(server)));
}

/** Waits for what `condition` sees, and fails if it doesn't come within 10 s. */
async function until(condition: () => boolean) {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    assert(performance.now() < deadline, `never: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  const started = performance.now();
  const value = await promise;
  const elapsed = performance.now() - started;
  assert(elapsed < ms, `took ${elapsed} ms, not ${ms}`);
  return value;
}

Deno.test("the greeting arrives byte for byte", async () => {
  const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i);
  for (const greeting of [everyByte, new Uint8Array(MAX_GREETING_BYTES).fill(7), new Uint8Array()]) {
    await using server = start({ greeting }).server;
    assertEquals(await receive(await connect(server)), greeting);
  }
  await using server = start({ greeting: "grüß dich\n" }).server;
  assertEquals(await greetingFrom(server), "grüß dich\n");
  await using tutorial = start().server;
  assertEquals(await greetingFrom(tutorial), "Thank you for connecting to the server.\r\n");
});

Deno.test("after the greeting a client sees the end at once, not when its time is over", async () => {
  await using server = start({ timeout: 10_000 }).server;
  assertEquals(await within(2000, greetingFrom(server)), DEFAULTS.greeting);
});

Deno.test("a greeting that is changed after serve() is sent as it was", async () => {
  const greeting = new TextEncoder().encode("before");
  await using server = start({ greeting }).server;
  greeting.fill(0);
  assertEquals(await greetingFrom(server), "before");
});

Deno.test("options out of range are refused", () => {
  const bad: ServeOptions[] = [
    { greeting: "x".repeat(MAX_GREETING_BYTES + 1) },
    { maxConnections: 0 },
    { maxConnections: NaN },
    { count: 0 },
    { timeout: 0 },
    { timeout: Infinity },
    { port: 65536 },
    { port: [] },
    { port: [0, 80.5] },
    { count: 1.5 },
    { maxConnections: 1.5 },
    { backlog: 0 },
    { timeout: 2 ** 31 },
  ];
  for (const options of bad) {
    const [name = ""] = Object.keys(options);
    assertThrows(() => start(options), RangeError, `${name}: `);
  }
});

Deno.test("what is undefined is the default", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0, greeting: undefined, timeout: undefined });
  assertEquals(await greetingFrom(server), DEFAULTS.greeting);
});

Deno.test("callbacks are told of the listener and of each connection, with both its ends", async () => {
  const told: unknown[] = [];
  const server = serve({
    hostname: "127.0.0.1",
    port: 0,
    onListen: (addr) => told.push(addr),
    onConnection: ({ remoteAddr, localAddr, closeReason }) => told.push([remoteAddr.port, localAddr.port, closeReason]),
    onClose: ({ greeted, bytesSent, closeReason }) => told.push([greeted, bytesSent, closeReason]),
  });
  const conn = await connect(server);
  const { port } = conn.localAddr;
  await receive(conn);
  await server.shutdown();
  assertEquals(told, [server.addr, [port, server.addr.port, undefined], [true, 41, "closed"]]);
});

Deno.test("a callback that throws is reported, and the server goes on", async () => {
  const reported: unknown[] = [];
  const report = (event: ErrorEvent) => {
    event.preventDefault();
    reported.push(event.error);
  };
  const thrown = new Error("from a callback");
  const fails = () => {
    throw thrown;
  };
  addEventListener("error", report);
  try {
    await using server = start({ maxConnections: 1, onConnection: fails, onClose: fails }).server;
    for (let i = 0; i < 3; i++) assertEquals(await greetingFrom(server), DEFAULTS.greeting);
    await server.shutdown();
    assertEquals(reported, Array(6).fill(thrown));
  } finally {
    removeEventListener("error", report);
  }
});

Deno.test("1,000 clients at once are greeted, all whole", async () => {
  await using server = start().server;
  const greetings = await Promise.all(Array.from({ length: 1000 }, () => greetingFrom(server)));
  assertEquals(greetings, Array(1000).fill(DEFAULTS.greeting));
});

Deno.test("100 clients that speak first, twice, and read late, get 16,000 bytes and no reset", async () => {
  const greeting = "a".repeat(16_000);
  let accepted = 0;
  const { server, ends } = start({ greeting, onConnection: () => accepted++ });
  const conns = await Promise.all(Array.from({ length: 100 }, () => connect(server)));
  const request = new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n");
  for (const conn of conns) await conn.write(request);
  await until(() => accepted === 100);
  for (const conn of conns) await conn.write(request);
  for (const conn of conns) assertEquals(new TextDecoder().decode(await receive(conn)), greeting);
  await until(() => ends.size === 100);
  assertEquals(new Set(ends.values()), new Set(["closed"] as const));
  await server.shutdown();
});

Deno.test("a client that resets its connection is an closeReason, not an error", async () => {
  const { server, ends } = start();
  const socket = createConnection(server.addr.port, "127.0.0.1");
  await new Promise((resolve) => socket.once("data", resolve));
  const gone = new Promise((resolve) => socket.once("close", resolve));
  socket.resetAndDestroy();
  await gone;
  await until(() => ends.size === 1);
  assertEquals([...ends.values()], ["reset"]);
  assertEquals(await greetingFrom(server), DEFAULTS.greeting);
  await server.shutdown();
});

Deno.test("1,500 silent holders against a limit of 500: a new client is greeted within 250 ms", async () => {
  let accepted = 0;
  const { server, ends } = start({ maxConnections: 500, timeout: 60_000, onConnection: () => accepted++ });
  const holders = await Promise.all(Array.from({ length: 1500 }, () => connect(server)));
  await until(() => accepted === 1500);
  assertEquals(await within(250, greetingFrom(server)), DEFAULTS.greeting);
  // The new client took the place of the oldest of the 500, and has left it.
  await until(() => ends.size === 1002);
  const evicted = [...ends.values()].filter((closeReason) => closeReason === "evicted");
  assertEquals(evicted.length, 1001);
  // Whoever was evicted had its greeting before.
  for (const holder of holders) assertEquals((await read(holder, 41)).length, 41);
  for (const holder of holders) holder.close();
  await server.shutdown();
});

async function read(conn: Deno.Conn, length: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(length);
  for (let n = 0; n < length;) {
    const count = await conn.read(buffer.subarray(n));
    if (count === null) return buffer.subarray(0, n);
    n += count;
  }
  return buffer;
}

Deno.test("a holder is gone when its deadline is over, and not before", async () => {
  const { server, ends } = start({ timeout: 500 });
  const started = performance.now();
  const holder = await connect(server);
  await until(() => ends.size === 1);
  assert(performance.now() - started >= 499, "too early");
  assertEquals([...ends.values()], ["timeout"]);
  // A second one has a deadline of its own.
  const later = await connect(server);
  await until(() => ends.size === 2);
  holder.close();
  later.close();
  await server.shutdown();
});

Deno.test("a client that never stops sending is gone when its deadline is over", async () => {
  const { server, ends } = start({ timeout: 300 });
  const conn = await connect(server);
  const flood = new Uint8Array(16_384);
  try {
    for (;;) await conn.write(flood);
  } catch {
    // The server closed with unread input, so the kernel has reset the connection.
  }
  conn.close();
  await until(() => ends.size === 1);
  assertEquals([...ends.values()], ["timeout"]);
  await server.shutdown();
});

Deno.test("shutdown() under load: whoever was accepted gets every byte, and the port is free at once", async () => {
  const greeting = "b".repeat(MAX_GREETING_BYTES);
  const accepted = new Set<number>();
  const { server } = start({ greeting, onConnection: ({ remoteAddr }) => accepted.add(remoteAddr.port) });
  const whole = new Set<number>();
  async function client() {
    for (;;) {
      const conn = await connect(server);
      const { port } = conn.localAddr;
      const received = await receive(conn);
      if (received.length === greeting.length) whole.add(port);
    }
  }
  // Each ends when it is refused, or reset before it was accepted.
  const clients = Promise.allSettled(Array.from({ length: 50 }, client));
  await until(() => whole.size > 500);
  await server.shutdown();
  const again = Deno.listen({ hostname: "127.0.0.1", port: server.addr.port });
  again.close();
  await clients;
  assertEquals(accepted.difference(whole), new Set());
});

Deno.test("shutdown() waits for no holder longer than its grace", async () => {
  for (const [timeout, grace] of [[60_000, 1000], [200, 200]] as const) {
    let accepted = 0;
    const { server, ends } = start({ timeout, onConnection: () => accepted++ });
    const holder = await connect(server);
    await until(() => accepted === 1);
    // Timers of a busy machine are late; a server without a grace would take 60 s.
    await within(grace * 5, server.shutdown());
    assertEquals([...ends.values()].length, 1);
    assertEquals((await receive(holder)).length, 41);
  }
});

Deno.test("shutdown() may be called twice, and finished tells of it", async () => {
  const { server } = start();
  await Promise.all([server.shutdown(), server.shutdown(), server.finished]);
});

Deno.test("aborting the signal shuts down, before and after serve()", async () => {
  const controller = new AbortController();
  const { server } = start({ signal: controller.signal });
  assertEquals(await greetingFrom(server), DEFAULTS.greeting);
  controller.abort();
  await server.finished;
  await start({ signal: controller.signal }).server.finished;
});

Deno.test("several ports are served as one: one limit, one shutdown", async () => {
  const heard: number[] = [];
  const { server, ends } = start({
    port: [0, 0, 0],
    maxConnections: 2,
    onListen: ({ port }) => heard.push(port),
  });
  const ports = server.addrs.map(({ port }) => port);
  assertEquals([heard, server.addr, new Set(ports).size], [ports, server.addrs[0], 3]);
  const holders = await Promise.all(ports.map((port) => Deno.connect({ hostname: "127.0.0.1", port })));
  for (const holder of holders) assertEquals(new TextDecoder().decode(await read(holder, 41)), DEFAULTS.greeting);
  await until(() => ends.size === 1);
  assertEquals([...ends.values()], ["evicted"]);
  for (const holder of holders) holder.close();
  await server.shutdown();
  for (const port of ports) Deno.listen({ hostname: "127.0.0.1", port }).close();
});

Deno.test("if one of several ports is taken, none is served", () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const free = freePort();
  assertThrows(() => start({ port: [free, taken.addr.port] }), ListenError);
  Deno.listen({ hostname: "127.0.0.1", port: free }).close();
});

Deno.test("whoever isn't allowed is closed without a greeting", async () => {
  const allow = new BlockList();
  allow.addSubnet("192.0.2.0", 24, "ipv4");
  const refused: string[] = [];
  const { server, ends } = start({
    allow: matches(allow),
    onRefuse: ({ remoteAddr }) => refused.push(remoteAddr.hostname),
  });
  assertEquals(await greetingFrom(server), "");
  assertEquals([refused, ends.size], [["127.0.0.1"], 0]);
  allow.addAddress("127.0.0.1", "ipv4");
  assertEquals(await greetingFrom(server), DEFAULTS.greeting);
  await server.shutdown();
});

Deno.test("exactly `count` peers are greeted, over all ports, then it shuts down", async () => {
  for (const count of [1, 7]) {
    let greeted = 0;
    const { server } = start({
      port: [0, 0, 0],
      count,
      onClose: (connection) => greeted += Number(connection.greeted),
    });
    const clients = Array.from({ length: 60 }, async (_, i) => {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.addrs[i % 3]?.port ?? 0 });
      return (await receive(conn)).length;
    });
    const results = await Promise.allSettled(clients);
    const received = results.map((result) => result.status === "fulfilled" ? result.value : 0);
    assertEquals(received.filter((length) => length === 41).length, count);
    assertEquals(received.filter((length) => length === 0).length, 60 - count);
    await server.finished;
    assertEquals(greeted, count);
  }
});

Deno.test("what a peer sends is counted, and its beginning kept, each connection's own", async () => {
  const received = new Map<number, [number, string]>();
  const { server } = start({
    onClose: ({ remoteAddr, bytesReceived, received: bytes }) =>
      received.set(remoteAddr.port, [bytesReceived, new TextDecoder().decode(bytes)]),
  });
  const expected = new Map<number, [number, string]>();
  await Promise.all(Array.from({ length: 200 }, async (_, i) => {
    const conn = await connect(server);
    const text = `client ${i} `.repeat(i);
    expected.set(conn.localAddr.port, [text.length, text.slice(0, 256)]);
    // In two pieces, so that most are read in more than one.
    const bytes = new TextEncoder().encode(text);
    const half = bytes.length / 2;
    for (const piece of [bytes.subarray(0, half), bytes.subarray(half)]) {
      for (let n = 0; n < piece.length;) n += await conn.write(piece.subarray(n));
      await new Promise((resolve) => setTimeout(resolve));
    }
    await conn.closeWrite();
    await receive(conn);
  }));
  await until(() => received.size === 200);
  assertEquals(received, expected);
  await server.shutdown();
});

Deno.test(
  "an IPv4 peer of an IPv6 socket has an IPv4 address, and IPv4 rules (needs IPv6)",
  { ignore: !hasIPv6() },
  async () => {
    const allow = new BlockList();
    allow.addSubnet("127.0.0.0", 8, "ipv4");
    const told: string[] = [];
    const refused: string[] = [];
    const { server } = start({
      hostname: "::",
      allow: matches(allow),
      onConnection: ({ remoteAddr, localAddr }) => told.push(remoteAddr.hostname, localAddr.hostname),
      onRefuse: ({ remoteAddr }) => refused.push(remoteAddr.hostname),
    });
    assertEquals(await greetingFrom(server), DEFAULTS.greeting);
    const overIPv6 = await Deno.connect({ hostname: "::1", port: server.addr.port });
    assertEquals((await receive(overIPv6)).length, 0);
    assertEquals([told, refused], [["127.0.0.1", "127.0.0.1"], ["::1"]]);
    await server.shutdown();
  },
);

function hasIPv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}

Deno.test("a port that is taken is an error of serve()", async () => {
  await using server = start().server;
  assertThrows(() => serve({ hostname: "127.0.0.1", port: server.addr.port }), ListenError);
});
