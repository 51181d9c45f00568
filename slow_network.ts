/**
 * Tests with send and receive buffers of 4 KiB, so that a client that does not read blocks its greeting. server_test.ts
 * runs them in a network namespace.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { type CloseReason, serve, type ServeOptions, type Server } from "./server.ts";
import {
  delay,
  GREETER,
  greetingFrom,
  listenWithErrors,
  LOCAL,
  outOfDescriptors,
  portOf,
  receive,
  spawn,
  until,
  within,
} from "./testing.ts";

const greeting = "x".repeat(16_000);

/** Starts a server. Returns it, and what it has seen so far: how many clients, and why their connections ended. */
function start(options: ServeOptions) {
  const reasons: (CloseReason | undefined)[] = [];
  const seen = { accepted: 0, greeted: 0, reasons };
  const server = serve({
    hostname: "127.0.0.1",
    port: 0,
    greeting,
    onConnection: () => seen.accepted++,
    onClose: ({ closeReason, greeted }) => {
      reasons.push(closeReason);
      seen.greeted += Number(greeted);
    },
    ...options,
  });
  return { server, seen };
}

/** Connects clients that do not read, in turn on each port. */
function connectAll({ addrs }: Server, count: number): Promise<Deno.TcpConn[]> {
  return Promise.all(
    Array.from(
      { length: count },
      (_, i) => Deno.connect({ hostname: "127.0.0.1", port: addrs[i % addrs.length]?.port ?? 0 }),
    ),
  );
}

Deno.test("serve() greets a new client within 100 ms while 100 clients do not read, on one port or on 100", async () => {
  for (const port of [0, Array(100).fill(0)]) {
    const { server, seen } = start({ port, timeout: 15_000 });
    const readers = await connectAll(server, 100);
    await until(() => seen.accepted === 100);
    for (let i = 0; i < 5; i++) {
      const started = performance.now();
      assertEquals(await greetingFrom(server.addr.port), greeting);
      const elapsed = performance.now() - started;
      assert(elapsed < 100, `waited ${elapsed} ms`);
    }
    // The others still receive the whole greeting when they read.
    for (const reader of readers) assertEquals((await receive(reader)).length, greeting.length);
    await server.shutdown();
    assertEquals(seen.greeted, 105);
  }
});

Deno.test("serve() does not pause for every 16 of 3,000 clients that do not read", async () => {
  const { server, seen } = start({ timeout: 15_000, maxConnections: 3000 });
  const readers = await within(
    3500, // with a pause of 20 ms for every 16 clients, this would take at least 3,750 ms
    connectAll(server, 3000).then(async (readers) => {
      await until(() => seen.accepted === 3000);
      return readers;
    }),
  );
  for (const reader of readers) reader.close();
  await server.shutdown();
});

Deno.test(
  "serve() does not count a client that timed out before it received the whole greeting (needs Deno 2.9.5)",
  {
    // In earlier versions, close() does not cancel a blocked write.
    ignore: /^2\.9\.[0-4]$/.test(Deno.version.deno),
  },
  async () => {
    let isIgnored = false;
    const { server, seen } = start({ timeout: 500, count: 1, ignore: () => isIgnored });
    const [reader] = await connectAll(server, 1);
    await until(() => seen.accepted === 1);
    // A client that is not counted does not wait for the one that is.
    isIgnored = true;
    assertEquals(await greetingFrom(server.addr.port), greeting);
    assertEquals(seen.reasons, []);
    isIgnored = false;
    // This one waits until it is known whether the first one is greeted.
    assertEquals(await greetingFrom(server.addr.port), greeting);
    assertEquals([seen.accepted, seen.reasons[0]], [2, "timeout"]);
    await server.finished;
    assertEquals(seen.greeted, 1);
    reader?.close();
  },
);

Deno.test("serve() does not evict a connection before its greeting", async () => {
  const { server, seen } = start({ timeout: 15_000, maxConnections: 1 });
  const readers = await connectAll(server, 2);
  await until(() => seen.accepted === 1);
  // Give the server time to evict a connection.
  await delay(100);
  assertEquals([seen.accepted, seen.reasons], [1, []]);
  for (const reader of readers) assertEquals((await receive(reader)).length, greeting.length);
  await server.shutdown();
});

Deno.test("shutdown() ends after 1 s, or after a shorter timeout, even if 40 clients do not read or wait for the limit", async () => {
  for (const [timeout, grace] of [[15_000, 1000], [100, 100]] as const) {
    let arrived = 0;
    const { server, seen } = start({
      port: Array(40).fill(0),
      maxConnections: 1,
      timeout,
      allow: () => (arrived++, true),
    });
    const readers = await connectAll(server, 40);
    await until(() => arrived === 40);
    await within(grace * 5, server.shutdown());
    // Ends the pending writes if close() has not canceled them.
    for (const reader of readers) reader.close();
    await until(() => seen.reasons.length === seen.accepted);
    assertEquals(seen.greeted, 0);
    if (timeout > grace) assertEquals(new Set(seen.reasons), new Set(["shutdown"] as const));
  }
});

Deno.test("serve() retries when no descriptor is left and no connection can be evicted", async () => {
  const { server, seen } = start({
    timeout: 15_000,
    // Another process may use up the system's descriptors, and free them later.
    listen: listenWithErrors(["accept", outOfDescriptors("ENFILE"), outOfDescriptors("ENFILE")].values()),
  });
  const [reader] = await connectAll(server, 1);
  await until(() => seen.accepted === 1);
  const started = performance.now();
  assertEquals(await greetingFrom(server.addr.port), greeting);
  assert(performance.now() - started < 1000, "did not retry");
  assertEquals(seen.reasons.includes("evicted"), false);
  reader?.close();
  await server.shutdown();
});

Deno.test("greeter does not count a client that has not received the whole greeting", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--stdin", "--timeout", "0.2", "--within", "1"], {
    stdin: "piped",
  });
  const writer = greeter.child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(greeting));
  await writer.close();
  using _reader = await Deno.connect({ hostname: "127.0.0.1", port: await portOf(greeter) });
  await greeter.ended;
  assertMatch(greeter.output.stdout, /\nReceived .*\nStopped: 0 greetings, /);
});
