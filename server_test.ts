import { assert, assertEquals, assertThrows } from "@std/assert";
import { getEventListeners } from "node:events";
import { createConnection } from "node:net";
import {
  type CloseReason,
  type Connection,
  DEFAULTS,
  ListenError,
  MAX_GREETING_BYTES,
  serve,
  type ServeOptions,
  type Server,
} from "./server.ts";
import { LISTEN, type ListenOptions } from "./server/listen.ts";
import { GREETING_BYTES, greetingFrom, readBytes, receive } from "./tests/helpers/clients.ts";
import { needs } from "./tests/helpers/needs.ts";
import { freePort } from "./tests/helpers/ports.ts";
import { listenWithErrors, OpenConnections, outOfDescriptors } from "./tests/helpers/servers.ts";
import { DEADLINE_MS, delay, ENDLESS_MS, eventOf, sometimes, until, within } from "./tests/helpers/waiting.ts";

/** A server on a free loopback port, and the close reasons of its connections by the client's port. */
function start(options: ListenOptions = {}): { server: Server; reasons: Map<number, CloseReason | undefined> } {
  const reasons = new Map<number, CloseReason | undefined>();
  const server = serve({
    hostname: "127.0.0.1",
    port: 0,
    onClose: ({ remoteAddr, closeReason }) => reasons.set(remoteAddr.port, closeReason),
    ...options,
  });
  return { server, reasons };
}

async function connect(server: Server): Promise<Deno.TcpConn> {
  return await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
}

Deno.test("serve() sends every greeting byte for byte", async () => {
  const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i);
  for (const greeting of [everyByte, new Uint8Array(MAX_GREETING_BYTES).fill(7), new Uint8Array()]) {
    await using server = start({ greeting }).server;
    assertEquals(await receive(await connect(server)), greeting);
  }
  await using server = start({ greeting: "grüß dich\n" }).server;
  assertEquals(await greetingFrom(server.addr.port), "grüß dich\n");
});

Deno.test("serve() sends the tutorial's greeting by default", async () => {
  await using server = start({ greeting: undefined, timeout: undefined }).server;
  assertEquals(await greetingFrom(server.addr.port), "Thank you for connecting to the server.\r\n");
});

Deno.test("serve() half-closes right after the greeting instead of at the timeout", async () => {
  await using server = start({ timeout: ENDLESS_MS }).server;
  assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
});

Deno.test("serve() is not affected by later changes to the greeting", async () => {
  const greeting = new TextEncoder().encode("before");
  await using server = start({ greeting }).server;
  greeting.fill(0);
  assertEquals(await greetingFrom(server.addr.port), "before");
});

Deno.test("serve() throws a RangeError that names the option", async () => {
  const invalid: ServeOptions[] = [
    { greeting: "x".repeat(MAX_GREETING_BYTES + 1) },
    ...[0, 1.5, NaN].map((maxConnections) => ({ maxConnections })),
    ...[0, 1.5, NaN, -1].map((count) => ({ count })),
    ...[0, Infinity, NaN, 2 ** 31].map((timeout) => ({ timeout })),
    ...[65_536, -1, [], [0, 80.5]].map((port) => ({ port })),
    ...[0, 65_536].map((backlog) => ({ backlog })),
    ...["10.99.0.010", "127.1", [], ["127.0.0.1", "127.1"]].map((hostname) => ({ hostname })),
  ];
  for (const options of invalid) {
    const [name = ""] = Object.keys(options);
    assertThrows(() => start(options), RangeError, `${name}: `);
  }
  assertThrows(
    () => start({ count: 0 }),
    RangeError,
    "count: expected a whole number from 1 to 9007199254740991, not 0",
  );
  assertThrows(
    () => start({ timeout: 0 }),
    RangeError,
    "timeout: expected more than 0 and at most 2147483647 milliseconds, not 0",
  );
  assertThrows(() => start({ port: [] }), RangeError, "port: expected at least one port");
  await start({ timeout: 2 ** 31 - 1, backlog: 65_535 }).server.shutdown();
});

Deno.test("serve() throws a ListenError with hostname, port and cause, and opens no port", () => {
  using occupied = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = occupied.addr;
  const free = freePort();
  const error = assertThrows(() => start({ port: [free, port] }), ListenError);
  assertEquals([error.hostname, error.port], ["127.0.0.1", port]);
  assert(error.cause instanceof Deno.errors.AddrInUse);
  Deno.listen({ hostname: "127.0.0.1", port: free }).close();
});

Deno.test("serve() opens port 0 last, because the system could choose one of the other ports for it", async () => {
  const requested: number[] = [];
  const listen = (options: Deno.TcpListenOptions) => {
    requested.push(options.port ?? -1);
    return Deno.listen(options);
  };
  const [first, second] = [freePort(), freePort()];
  const { server } = start({ port: [0, first, 0, second], [LISTEN]: listen });
  assertEquals(requested, [first, second, 0, 0]);
  // The addresses are in the order of the option.
  const [any, ...addrs] = server.addrs.map(({ port }) => port);
  assertEquals([addrs[0], addrs[2], server.addr.port], [first, second, any]);
  await server.shutdown();
});

Deno.test("serve() throws a ListenError that says how many ports are possible if no descriptor is left", () => {
  for (
    const [descriptors, maxPorts] of [[300, 236], [128, 64], [100, 64], [65, 64], [64, 63], [1, 0], [0, 0]] as const
  ) {
    let opened = 0;
    const listen = (options: Deno.TcpListenOptions) => {
      if (++opened > descriptors) throw outOfDescriptors("EMFILE");
      return Deno.listen(options);
    };
    assertEquals(
      assertThrows(() => start({ port: Array(500).fill(0), [LISTEN]: listen }), ListenError).maxPorts,
      maxPorts,
    );
  }
});

Deno.test("serve() calls onListen, onConnection and onClose with both addresses", async () => {
  const calls: unknown[] = [];
  const server = serve({
    hostname: "127.0.0.1",
    port: 0,
    onListen: (addr) => calls.push(addr),
    onConnection: ({ remoteAddr, localAddr, closeReason }) =>
      calls.push([remoteAddr.port, localAddr.port, closeReason]),
    onClose: ({ greeted, bytesSent, closeReason }) => calls.push([greeted, bytesSent, closeReason]),
  });
  const conn = await connect(server);
  const { port } = conn.localAddr;
  await receive(conn);
  await server.shutdown();
  assertEquals(calls, [server.addr, [port, server.addr.port, undefined], [true, GREETING_BYTES, "closed"]]);
});

Deno.test("serve() reports an exception in a callback and keeps serving", async () => {
  const reported: unknown[] = [];
  const report = (event: ErrorEvent) => {
    event.preventDefault();
    reported.push(event.error);
  };
  const thrown = new Error("from a callback");
  const fail = () => {
    throw thrown;
  };
  addEventListener("error", report);
  try {
    await using server = start({ maxConnections: 1, onConnection: fail, onClose: fail }).server;
    for (let i = 0; i < 3; i++) assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
    await server.shutdown();
    assertEquals(reported, Array(6).fill(thrown));
  } finally {
    removeEventListener("error", report);
  }
});

Deno.test("serve() greets 1,000 clients at once", async () => {
  await using server = start().server;
  const greetings = await Promise.all(Array.from({ length: 1000 }, () => greetingFrom(server.addr.port)));
  assertEquals(greetings, Array(1000).fill(DEFAULTS.greeting));
});

Deno.test("serve() does not reset 100 clients that send twice before they read 16,000 bytes", async () => {
  const greeting = "a".repeat(16_000);
  let accepted = 0;
  const { server, reasons } = start({ greeting, onConnection: () => accepted++ });
  const conns = await Promise.all(Array.from({ length: 100 }, () => connect(server)));
  const request = new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n");
  for (const conn of conns) await conn.write(request);
  await until(() => accepted === 100);
  for (const conn of conns) await conn.write(request);
  for (const conn of conns) assertEquals(new TextDecoder().decode(await receive(conn)), greeting);
  await until(() => reasons.size === 100);
  assertEquals(new Set(reasons.values()), new Set(["closed"] as const));
  await server.shutdown();
});

Deno.test("serve() keeps serving after a client resets its connection", async () => {
  const { server, reasons } = start();
  const socket = createConnection(server.addr.port, "127.0.0.1");
  await eventOf(socket, "data");
  const closed = eventOf(socket, "close");
  socket.resetAndDestroy();
  await closed;
  await until(() => reasons.size === 1);
  assertEquals([...reasons.values()], ["reset"]);
  assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
  await server.shutdown();
});

Deno.test("serve() ignores accept errors that clients cause", async () => {
  const { NotConnected, ConnectionReset, ConnectionAborted } = Deno.errors;
  const errors: unknown[] = [];
  const steps = [new NotConnected(), new ConnectionReset(), new ConnectionAborted()].values();
  await using server =
    start({ [LISTEN]: listenWithErrors(steps), onAcceptError: (error) => errors.push(error) }).server;
  assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
  assertEquals([errors, steps.next().done], [[], true]);
});

Deno.test("serve() reports an accept error once, and again after a success", async () => {
  const steps = [1, 2, 3, "accept", 4, 5].map((step) => typeof step === "number" ? new Error(`error ${step}`) : step);
  const errors: unknown[] = [];
  await using server = start({
    [LISTEN]: listenWithErrors(steps.values()),
    onAcceptError: (error) => errors.push(error),
  }).server;
  for (let i = 0; i < 2; i++) assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
  assertEquals(errors, [steps[0], steps[4]]);
});

Deno.test("serve() reports an accept error only once if it affects many ports", async () => {
  const errors: unknown[] = [];
  const steps = Array.from({ length: 50 }, (_, i) => new Error(`error ${i}`));
  await using server = start({
    port: Array(50).fill(0),
    [LISTEN]: listenWithErrors(steps.values()),
    onAcceptError: (error) => errors.push(error),
  }).server;
  assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
  assertEquals(errors, [steps[0]]);
});

Deno.test("serve() pauses between accept errors, and shutdown() ends the pause", async () => {
  for (const error of [new Error("any other error"), outOfDescriptors("EMFILE")]) {
    let attempts = 0;
    const errors: unknown[] = [];
    const endlessErrors = function* () {
      for (;; attempts++) yield error;
    };
    const { server } = start({
      [LISTEN]: listenWithErrors(endlessErrors()),
      onAcceptError: (error) => errors.push(error),
    });
    const started = performance.now();
    // The ninth attempt is made after 1,275 ms: the pauses double from 5 ms on. The next one would last 1 s.
    await until(() => attempts === 8);
    assert(performance.now() - started > 255, "the pauses are too short");
    const stopped = performance.now();
    await within(server.shutdown());
    assert(performance.now() - stopped < 900, "waited for the end of the pause");
    assertEquals([attempts, errors], [8, [error]]);
  }
});

Deno.test("serve() pauses only briefly after an accept error, even if there were many before the last success", async () => {
  const steps = [...Array(8).fill(new Error("before")), "accept", ...Array(5).fill(new Error("after"))];
  await using server = start({ [LISTEN]: listenWithErrors(steps.values()) }).server;
  assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
  // The pauses are 155 ms in all. Without the success, each would be 1 s. Up to three end early, with the first client.
  const started = performance.now();
  assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
  const waited = performance.now() - started;
  assert(waited < 1800, `waited ${waited} ms`);
});

Deno.test("serve() reports an accept error again after a client's reset, which shows that accepting works", async () => {
  const errors: unknown[] = [];
  const reset = new Deno.errors.NotConnected();
  const [first, second] = [new Error("first"), new Error("second")];
  await using server = start({
    [LISTEN]: listenWithErrors([...Array(8).fill(first), reset, ...Array(5).fill(second)].values()),
    onAcceptError: (error) => errors.push(error),
  }).server;
  await until(() => errors.length === 2);
  // The pauses after the reset are 155 ms in all. Without it, each would be 1 s.
  const started = performance.now();
  assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
  const waited = performance.now() - started;
  assert(waited < 3000, `waited ${waited} ms`);
  assertEquals(errors, [first, second]);
});

Deno.test("serve() counts a client that is sent an empty greeting", async () => {
  let accepted = 0;
  const { server, reasons } = start({ greeting: "", count: 1, onConnection: () => accepted++ });
  assertEquals(await greetingFrom(server.addr.port), "");
  await within(server.finished);
  assertEquals([accepted, [...reasons.values()]], [1, ["closed"]]);
});

Deno.test("serve() evicts the oldest greeted connection when no descriptor is left", async () => {
  for (const code of ["EMFILE", "ENFILE"] as const) {
    const errors: unknown[] = [];
    const { server, reasons } = start({
      [LISTEN]: listenWithErrors(["accept", "accept", outOfDescriptors(code)].values()),
      onAcceptError: (error) => errors.push(error),
    });
    const first = await connect(server);
    await readBytes(first, GREETING_BYTES);
    const second = await connect(server);
    await readBytes(second, GREETING_BYTES);
    const { port } = first.localAddr;
    await until(() => reasons.size === 1);
    assertEquals(reasons, new Map([[port, "evicted"]]));
    assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
    assertEquals(errors, []);
    first.close();
    second.close();
    await server.shutdown();
  }
});

Deno.test("serve() reports that no descriptor is left if it cannot close any connection", async () => {
  const errors: unknown[] = [];
  const error = outOfDescriptors("EMFILE");
  await using server = start({
    [LISTEN]: listenWithErrors([error].values()),
    onAcceptError: (error) => errors.push(error),
  }).server;
  assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
  assertEquals(errors, [error]);
});

Deno.test("serve() evicts the oldest greeted connection when the limit is reached", async () => {
  const { server, reasons } = start({ maxConnections: 500, timeout: ENDLESS_MS });
  const holders = await Promise.all(Array.from({ length: 500 }, () => connect(server)));
  for (const holder of holders) assertEquals((await readBytes(holder, GREETING_BYTES)).length, GREETING_BYTES);
  assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
  await until(() => reasons.size === 2);
  assertEquals([...reasons.values()].sort(), ["closed", "evicted"]);
  for (const holder of holders) holder.close();
  await server.shutdown();
});

Deno.test("serve() evicts 2,000 of 3,000 clients in the order in which they were accepted", async () => {
  const accepted: number[] = [];
  const evicted: number[] = [];
  const { server } = start({
    timeout: ENDLESS_MS,
    onConnection: ({ remoteAddr }) => accepted.push(remoteAddr.port),
    onClose: ({ remoteAddr, closeReason }) => closeReason === "evicted" && evicted.push(remoteAddr.port),
  });
  const clients = await Promise.all(Array.from({ length: 3000 }, () => connect(server)));
  await until(() => evicted.length >= 2000);
  assertEquals(evicted, accepted.slice(0, 2000));
  // Each received its greeting before it was evicted.
  for (const client of clients) assertEquals((await readBytes(client, GREETING_BYTES)).length, GREETING_BYTES);
  for (const client of clients) client.close();
  await server.shutdown();
});

Deno.test("serve() closes a silent connection at its own timeout, and not before", async () => {
  const closed: number[] = [];
  const { server } = start({
    timeout: 500,
    onClose: ({ remoteAddr, closeReason }) => closeReason === "timeout" && closed.push(remoteAddr.port),
  });
  // The timer that was set for this connection is too early for the others.
  await greetingFrom(server.addr.port);
  await delay(100);
  const started = performance.now();
  const first = await connect(server);
  await delay(50);
  const second = await connect(server);
  await delay(250);
  const third = await connect(server);
  await until(() => closed.length >= 1);
  assert(performance.now() - started >= 499, "closed before the timeout");
  // The timer must be set to the second connection's deadline, not to a full timeout: the third would expire as well.
  await until(() => closed.length >= 2);
  assertEquals(closed, [first.localAddr.port, second.localAddr.port]);
  await until(() => closed.length === 3);
  for (const conn of [first, second, third]) conn.close();
  await server.shutdown();
});

Deno.test("serve() closes a connection at its timeout even if the client never stops sending", async () => {
  const { server, reasons } = start({ timeout: 300 });
  const conn = await connect(server);
  const flood = new Uint8Array(16_384);
  try {
    for (;;) await conn.write(flood);
  } catch {
    // The server has closed the socket with unread input, so the kernel has reset the connection.
  }
  conn.close();
  await until(() => reasons.size === 1);
  assertEquals([...reasons.values()], ["timeout"]);
  await server.shutdown();
});

Deno.test("shutdown() under load sends the whole greeting to every accepted client, and frees the port", async () => {
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
  // Each client runs until its connection is refused, or reset before it is accepted.
  const clients = Promise.allSettled(Array.from({ length: 50 }, client));
  await until(() => whole.size > 500);
  await server.shutdown();
  Deno.listen({ hostname: "127.0.0.1", port: server.addr.port }).close();
  await clients;
  assertEquals(accepted.difference(whole), new Set());
});

Deno.test("shutdown() closes silent connections after 1 s, or after the timeout if it is shorter", async () => {
  for (const [timeout, limit] of [[ENDLESS_MS, 5000], [200, 1000]] as const) {
    const isInTime = await sometimes(async () => {
      let accepted = 0;
      const { server, reasons } = start({ timeout, onConnection: () => accepted++ });
      const holders = [await connect(server), await connect(server), await connect(server)];
      await until(() => accepted === 3);
      const stopped = performance.now();
      await within(server.shutdown());
      const waited = performance.now() - stopped;
      // With the short timeout, either timer may fire first.
      if (timeout === ENDLESS_MS) assertEquals([...reasons.values()], ["shutdown", "shutdown", "shutdown"]);
      for (const holder of holders) assertEquals((await receive(holder)).length, GREETING_BYTES);
      return waited < limit;
    });
    assert(isInTime, `waited longer than ${limit} ms`);
  }
});

Deno.test("shutdown() ends as soon as the last connection is closed", async () => {
  const isInTime = await sometimes(async () => {
    let accepted = 0;
    const { server } = start({ timeout: 10, onConnection: () => accepted++ });
    using _holder = await connect(server);
    await until(() => accepted === 1);
    const started = performance.now();
    await server.shutdown();
    return performance.now() - started < 500;
  });
  assert(isInTime, "waited for the grace period of 1 s");
});

Deno.test("shutdown() may be called more than once", async () => {
  const { server } = start();
  await within(Promise.all([server.shutdown(), server.shutdown(), server.finished]));
});

Deno.test("serve() shuts down when its signal is aborted, or if it was aborted before the call", async () => {
  const controller = new AbortController();
  const { server } = start({ signal: controller.signal });
  assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
  controller.abort();
  await within(server.finished);
  await within(start({ signal: controller.signal }).server.finished);
});

Deno.test("serve() removes its listener from the signal when it has finished", async () => {
  const { signal } = new AbortController();
  const { server } = start({ signal });
  assertEquals(getEventListeners(signal, "abort").length, 1);
  await server.shutdown();
  assertEquals(getEventListeners(signal, "abort"), []);
});

Deno.test("serve() applies the connection limit and the shutdown to all ports together", async () => {
  const listening: number[] = [];
  const { server, reasons } = start({
    port: [0, 0, 0],
    maxConnections: 2,
    onListen: ({ port }) => listening.push(port),
  });
  const ports = server.addrs.map(({ port }) => port);
  assertEquals([listening, server.addr, new Set(ports).size], [ports, server.addrs[0], 3]);
  const holders = await Promise.all(ports.map((port) => Deno.connect({ hostname: "127.0.0.1", port })));
  for (const holder of holders) assertEquals((await readBytes(holder, GREETING_BYTES)).length, GREETING_BYTES);
  await until(() => reasons.size === 1);
  assertEquals([...reasons.values()], ["evicted"]);
  for (const holder of holders) holder.close();
  await server.shutdown();
  for (const port of ports) Deno.listen({ hostname: "127.0.0.1", port }).close();
});

Deno.test("serve() sends no greeting to clients that `allow` rejects", async () => {
  let allowed = false;
  const refused: string[] = [];
  const { server, reasons } = start({
    allow: () => allowed,
    onDenied: ({ remoteAddr }) => refused.push(remoteAddr.hostname),
  });
  assertEquals(await greetingFrom(server.addr.port), "");
  assertEquals([refused, reasons.size], [["127.0.0.1"], 0]);
  allowed = true;
  assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
  await server.shutdown();
});

Deno.test("serve() greets exactly `count` clients on each port, closes the port, and then shuts down", async () => {
  for (const count of [1, 7]) {
    const greeted = new Map<number, number>();
    const { server } = start({
      port: [0, 0, 0],
      count,
      onClose: ({ greeted: isGreeted, localAddr: { port } }) =>
        greeted.set(port, (greeted.get(port) ?? 0) + Number(isGreeted)),
    });
    const ports = server.addrs.map(({ port }) => port);
    const received = new Map<number, number>();
    const clients = Array.from({ length: 60 }, async (_, i) => {
      const port = ports[i % 3] ?? 0;
      const { length } = await receive(await Deno.connect({ hostname: "127.0.0.1", port }));
      if (length === GREETING_BYTES) received.set(port, (received.get(port) ?? 0) + 1);
    });
    await Promise.allSettled(clients);
    await within(server.finished);
    const expected = new Map(ports.map((port) => [port, count]));
    assertEquals([received, greeted], [expected, expected]);
  }
});

Deno.test("serve() closes a port when it has greeted `count` clients, and keeps serving the others", async () => {
  const { server } = start({ port: [0, 0], count: 1 });
  const [first = 0, second = 0] = server.addrs.map(({ port }) => port);
  assertEquals(await greetingFrom(first), DEFAULTS.greeting);
  await until(() => greetingFrom(first).then(() => false, () => true));
  assertEquals(await greetingFrom(second), DEFAULTS.greeting);
  await within(server.finished);
});

Deno.test("serve() sends what the greeting function returns, and reports its errors", async () => {
  const reported: unknown[] = [];
  const report = (event: ErrorEvent) => {
    event.preventDefault();
    reported.push(event.error);
  };
  // Without type checks, the function could be async.
  const promise: string = JSON.parse("null") ?? Promise.resolve("text");
  const greetings = [new Error("no greeting"), "x".repeat(MAX_GREETING_BYTES + 1), promise, "text", new Uint8Array([1])]
    .values();
  let closed = 0;
  addEventListener("error", report);
  try {
    await using server = start({
      greeting({ remoteAddr, localAddr }) {
        const next = greetings.next().value;
        if (next instanceof Error) throw next;
        return next ?? `${remoteAddr.hostname} ${localAddr.port}`;
      },
      onClose: () => closed++,
    }).server;
    const received: string[] = [];
    for (let i = 0; i < 6; i++) received.push(await greetingFrom(server.addr.port));
    assertEquals(received, ["", "", "", "text", "\u0001", `127.0.0.1 ${server.addr.port}`]);
    await server.shutdown();
    assertEquals([closed, reported.map((error) => error instanceof RangeError)], [3, [false, true, true]]);
    assertEquals(`${reported[2]}`, "RangeError: greeting: expected text or bytes; a greeting function cannot be async");
  } finally {
    removeEventListener("error", report);
  }
});

Deno.test("serve() greets clients that `ignore` selects, without calling callbacks or counting them", async () => {
  let calls = 0;
  const { server } = start({
    count: 1,
    ignore: () => true,
    onConnection: () => calls++,
    onClose: () => calls++,
  });
  for (let i = 0; i < 3; i++) assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
  await server.shutdown();
  assertEquals(calls, 0);
});

Deno.test("serve() calls `allow` before `ignore`", async () => {
  const { server } = start({ allow: () => false, ignore: () => true });
  assertEquals(await greetingFrom(server.addr.port), "");
  await server.shutdown();
});

Deno.test("serve() skips ports that are in use if `skipTaken` is set, unless all are in use", async () => {
  using occupied = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = occupied.addr;
  const { server } = start({ port: [port, 0], skipTaken: true });
  assertEquals([server.skipped, server.addrs.length], [[port], 1]);
  await server.shutdown();
  using alsoOccupied = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const taken = [port, alsoOccupied.addr.port];
  assertEquals(assertThrows(() => start({ port: taken, skipTaken: true }), ListenError).portsInUse, taken);
  assertEquals(assertThrows(() => start({ port: taken }), ListenError).portsInUse, [port]);
  const listen = (options: Deno.TcpListenOptions) => {
    if (options.port === 1) throw new Deno.errors.PermissionDenied();
    return Deno.listen(options);
  };
  assertThrows(() => start({ port: [1, 0], [LISTEN]: listen, skipTaken: true }), ListenError);
});

Deno.test("serve() passes the backlog to the kernel, 4,096 by default", async () => {
  const backlogs: unknown[] = [];
  const listen = (options: Deno.TcpListenOptions) => {
    backlogs.push(options.tcpBacklog);
    return Deno.listen(options);
  };
  await start({ [LISTEN]: listen }).server.shutdown();
  await start({ [LISTEN]: listen, backlog: 7 }).server.shutdown();
  assertEquals(backlogs, [4096, 7]);
});

Deno.test("serve() greets 1,000 clients that connect to 500 ports at once, and never exceeds its limit", async () => {
  // With a limit below 16, the limit decides who has to wait. With a higher one, it is the gate.
  for (const maxConnections of [10, 100]) {
    const open = new OpenConnections();
    const { server, reasons } = start({
      port: Array(500).fill(0),
      maxConnections,
      onConnection: (conn) => open.add(conn),
    });
    const greetings = await Promise.all(
      server.addrs.flatMap(({ port }) => Array.from({ length: 2 }, () => greetingFrom(port))),
    );
    assertEquals(greetings, Array(1000).fill(DEFAULTS.greeting));
    await server.shutdown();
    assertEquals([new Set(reasons.values()).has("timeout"), open.most <= maxConnections], [false, true]);
  }
});

Deno.test("serve() reports the port of a connection that is reset before it is accepted", async () => {
  const resets: number[] = [];
  await using server = start({
    [LISTEN]: listenWithErrors([new Deno.errors.NotConnected(), new Deno.errors.ConnectionReset()].values()),
    onResetBeforeAccept: ({ port }) => resets.push(port),
  }).server;
  assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
  assertEquals(resets, [server.addr.port, server.addr.port]);
});

Deno.test("serve() counts a greeting that was sent completely even if the timeout closes the connection", async () => {
  let greeted = 0;
  let closed = 0;
  const { server } = start({
    timeout: 0.001,
    onClose: (connection) => (closed++, greeted += Number(connection.greeted)),
  });
  let whole = 0;
  await Promise.allSettled(Array.from({ length: 2000 }, async () => {
    if ((await receive(await connect(server))).length === GREETING_BYTES) whole++;
  }));
  await until(() => closed === 2000);
  await server.shutdown();
  assertEquals(greeted, whole);
});

Deno.test("serve() calls onClose when the last read of a connection has ended, and nothing changes afterwards", async () => {
  const mayEnd = Promise.withResolvers<void>();
  const listen = (options: Deno.TcpListenOptions) => {
    const listener = Deno.listen(options);
    const connections = listener[Symbol.asyncIterator].bind(listener);
    listener[Symbol.asyncIterator] = async function* () {
      const iterator = connections();
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
        const conn = next.value;
        const read = conn.read.bind(conn);
        conn.read = (buffer) => read(buffer).finally(() => mayEnd.promise);
        yield conn;
      }
    };
    return listener;
  };
  const connections: Connection[] = [];
  const closed: [number, Uint8Array][] = [];
  const { server } = start({
    timeout: 300,
    inputTimeout: 60_000,
    [LISTEN]: listen,
    onConnection: (connection) => connections.push(connection),
    onClose: ({ bytesReceived, received }) => closed.push([bytesReceived, received]),
  });
  const conn = await connect(server);
  await conn.write(new TextEncoder().encode("hello"));
  await until(() => connections[0]?.closeReason === "timeout");
  assertEquals([connections[0]?.bytesReceived, closed], [0, []]);
  mayEnd.resolve();
  await until(() => closed.length === 1);
  assertEquals(closed, [[5, new TextEncoder().encode("hello")]]);
  conn.close();
  await server.shutdown();
});

Deno.test("serve() greets exactly `count` clients even if the timeout closes many connections", async () => {
  let greeted = 0;
  const { server } = start({
    timeout: 0.001,
    count: 200,
    onClose: (connection) => greeted += Number(connection.greeted),
  });
  let whole = 0;
  let isFinished = false;
  server.finished.then(() => isFinished = true);
  const deadline = performance.now() + DEADLINE_MS;
  await Promise.all(Array.from({ length: 50 }, async () => {
    for (let i = 0; i < 1000 && !isFinished && performance.now() < deadline; i++) {
      const length = await connect(server).then(receive).then(({ length }) => length, () => 0);
      if (length === 41) whole++;
    }
  }));
  await server.shutdown();
  assertEquals([greeted, whole], [200, 200]);
});

Deno.test("serve() counts what each client sends, and keeps its first 256 bytes", async () => {
  const received = new Map<number, [number, Uint8Array]>();
  const { server } = start({
    onClose: (connection) => received.set(connection.remoteAddr.port, [connection.bytesReceived, connection.received]),
  });
  const expected = new Map<number, [number, Uint8Array]>();
  async function client(i: number) {
    const conn = await connect(server);
    const bytes = new TextEncoder().encode(`client ${i} `.repeat(i));
    expected.set(conn.localAddr.port, [bytes.length, bytes.subarray(0, 256)]);
    // Sent in two pieces, so that the server reads most inputs in several pieces.
    const half = bytes.length / 2;
    for (const piece of [bytes.subarray(0, half), bytes.subarray(half)]) {
      for (let n = 0; n < piece.length;) n += await conn.write(piece.subarray(n));
      await delay(0);
    }
    await conn.closeWrite();
    await receive(conn);
  }
  // First at once, then one by one: reusing read buffers must not change what was received earlier.
  await Promise.all(Array.from({ length: 200 }, (_, i) => client(i)));
  for (let i = 0; i < 5; i++) await client(300 + i);
  await until(() => received.size === 205);
  assertEquals(received, expected);
  await server.shutdown();
});

Deno.test(
  needs("serve() reports IPv4 clients of an IPv6 socket by their IPv4 addresses", "IPv6 sockets that accept IPv4"),
  async () => {
    const addresses: string[] = [];
    const refused: string[] = [];
    const asked: string[] = [];
    const allowed = new Set(["127.0.0.1"]);
    const { server } = start({
      hostname: "::",
      allow: ({ hostname }) => allowed.has(hostname),
      ignore: ({ hostname }) => asked.push(hostname) === 0,
      onConnection: ({ remoteAddr, localAddr }) => addresses.push(remoteAddr.hostname, localAddr.hostname),
      onDenied: ({ remoteAddr }) => refused.push(remoteAddr.hostname),
    });
    assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
    assertEquals(await greetingFrom(server.addr.port, "::1"), "");
    allowed.clear();
    assertEquals(await greetingFrom(server.addr.port), "");
    assertEquals([addresses, refused], [["127.0.0.1", "127.0.0.1"], ["::1", "127.0.0.1"]]);
    assertEquals(asked, ["127.0.0.1"]);
    await server.shutdown();
  },
);
