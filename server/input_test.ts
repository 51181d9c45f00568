import { assert, assertEquals, assertRejects } from "@std/assert";
import { createConnection, type Socket } from "node:net";
import { type CloseReason, type Connection, DEFAULTS, KEPT_BYTES, serve } from "../server.ts";
import { startList } from "../tests/helpers/connection_list.ts";
import { GREETING_BYTES, greetingFrom, readBytes, receive } from "../tests/helpers/clients.ts";
import { listenWithErrors, OpenConnections, outOfDescriptors } from "../tests/helpers/servers.ts";
import { block, delay, ENDLESS_MS, eventOf, until, within } from "../tests/helpers/waiting.ts";
import { readInput, waitForInput } from "./input.ts";
import { LISTEN, type ListenOptions } from "./listen.ts";

const REQUEST = new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n");

/** A server that waits for its clients, and its connections. */
function start(options: ListenOptions = {}) {
  const accepted: Connection[] = [];
  const closed: Connection[] = [];
  const server = serve({
    hostname: "127.0.0.1",
    port: 0,
    timeout: 2 * ENDLESS_MS,
    inputTimeout: ENDLESS_MS,
    onConnection: (connection) => accepted.push(connection),
    onClose: (connection) => closed.push(connection),
    ...options,
  });
  return {
    server,
    accepted,
    closed,
    reasons: () => closed.map(({ closeReason }) => closeReason),
    connect: (i = 0) => Deno.connect({ hostname: "127.0.0.1", port: server.addrs[i]?.port ?? 0 }),
    /** Connects clients that send nothing, one after the other. */
    async connectSilent(count: number): Promise<Deno.TcpConn[]> {
      const before = accepted.length;
      const conns: Deno.TcpConn[] = [];
      while (conns.length < count) {
        conns.push(await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port }));
        await until(() => accepted.length === before + conns.length);
      }
      return conns;
    },
  };
}

/** Sends a request, and reads the whole answer. */
async function ask(conn: Deno.TcpConn): Promise<string> {
  await conn.write(REQUEST);
  return new TextDecoder().decode(await receive(conn));
}

/** Whether a client has been sent something. It must not read itself. */
async function isGreeted(conn: Deno.TcpConn): Promise<boolean> {
  const read = conn.read(new Uint8Array(1));
  return await Promise.race([read.then(() => true), delay(100).then(() => false)]);
}

Deno.test("serve({ inputTimeout }) sends nothing before the client has sent something", async () => {
  const { server, accepted, closed, connectSilent } = start();
  const [silent, other] = await connectSilent(2);
  assert(silent && other);
  // The other client is answered although this one has been silent for longer.
  assertEquals(await ask(other), DEFAULTS.greeting);
  assertEquals(await isGreeted(silent), false);
  assertEquals([accepted[0]?.bytesSent, accepted[0]?.greeted], [0, false]);
  await silent.write(REQUEST.subarray(0, 1));
  await until(() => accepted[0]?.greeted === true);
  silent.close();
  await until(() => closed.length === 2);
  await server.shutdown();
});

Deno.test("serve({ inputTimeout }) greets a client that says nothing when the time is over, and not before", async () => {
  const { server, connect } = start({ inputTimeout: 300 });
  const started = performance.now();
  assertEquals(new TextDecoder().decode(await receive(await connect())), DEFAULTS.greeting);
  const waited = performance.now() - started;
  assert(waited >= 299, `greeted after ${waited} ms`);
  await server.shutdown();
});

Deno.test("serve({ inputTimeout }) greets a client at once that ends its input without sending anything", async () => {
  const { server, reasons, connect } = start();
  const conn = await connect();
  await conn.closeWrite();
  assertEquals(new TextDecoder().decode(await receive(conn)), DEFAULTS.greeting);
  await until(() => reasons().length === 1);
  assertEquals(reasons(), ["closed"]);
  await server.shutdown();
});

Deno.test("serve() sends the greeting first if `inputTimeout` is not given, is 0, or returns 0 for the connection", async () => {
  const options: ListenOptions[] = [{ inputTimeout: undefined }, { inputTimeout: 0 }, { inputTimeout: () => 0 }];
  for (const option of options) {
    const { server, connect } = start(option);
    assertEquals(new TextDecoder().decode(await receive(await connect())), DEFAULTS.greeting);
    await server.shutdown();
  }
});

Deno.test("serve() passes both addresses to `inputTimeout`, and can wait on one port and not on another", async () => {
  const seen: string[] = [];
  const { server, connect } = start({
    port: [0, 0],
    inputTimeout: ({ localAddr, remoteAddr }) => {
      seen.push(remoteAddr.hostname);
      return localAddr.port === server.addr.port ? ENDLESS_MS : 0;
    },
  });
  const conn = await connect();
  assertEquals(await greetingFrom(server.addrs[1]?.port ?? 0), DEFAULTS.greeting);
  assertEquals(await isGreeted(conn), false);
  assertEquals(seen, ["127.0.0.1", "127.0.0.1"]);
  conn.close();
  await server.shutdown();
});

Deno.test("serve() reports an exception of `inputTimeout`, and greets the client at once", async () => {
  const reported: unknown[] = [];
  const report = (event: ErrorEvent) => {
    event.preventDefault();
    reported.push(event.error);
  };
  const thrown = new Error("from the callback");
  addEventListener("error", report);
  try {
    const { server, connect } = start({
      inputTimeout() {
        throw thrown;
      },
    });
    assertEquals(new TextDecoder().decode(await receive(await connect())), DEFAULTS.greeting);
    await server.shutdown();
    assertEquals(reported, [thrown]);
  } finally {
    removeEventListener("error", report);
  }
});

Deno.test("serve({ inputTimeout }) counts and keeps what a client sends before and after its greeting", async () => {
  const { server, closed, connect } = start();
  const pieces = [[10, 20, 300], [KEPT_BYTES, 5], [KEPT_BYTES - 1, 1, 1], [5], [1000, 100_000]];
  for (const lengths of pieces) {
    const conn = await connect();
    const sent = Uint8Array.from({ length: lengths.reduce((a, b) => a + b) }, (_, i) => i);
    let start = 0;
    for (const length of lengths) {
      for (let n = 0; n < length;) n += await conn.write(sent.subarray(start + n, start + length));
      start += length;
      // The first piece has been read when the greeting arrives.
      if (start === length) assertEquals((await readBytes(conn, GREETING_BYTES)).length, GREETING_BYTES);
    }
    conn.close();
    await until(() => closed.length > 0);
    const [{ bytesReceived, received, closeReason } = { bytesReceived: 0, received: sent, closeReason: undefined }] =
      closed.splice(0);
    assertEquals([bytesReceived, received, closeReason], [sent.length, sent.subarray(0, KEPT_BYTES), "closed"]);
  }
  await server.shutdown();
});

Deno.test("serve({ inputTimeout }) uses the read that is pending when the time is over", async () => {
  const { server, accepted, closed, connect } = start({ inputTimeout: 10 });
  const conn = await connect();
  assertEquals((await readBytes(conn, GREETING_BYTES)).length, GREETING_BYTES);
  await conn.write(REQUEST.subarray(0, 3));
  await until(() => accepted[0]?.bytesReceived === 3);
  await conn.write(REQUEST.subarray(3));
  await conn.closeWrite();
  await receive(conn);
  await until(() => closed.length === 1);
  assertEquals([closed[0]?.bytesReceived, closed[0]?.received], [REQUEST.length, REQUEST]);
  await server.shutdown();
});

Deno.test("waitForInput() notices input that arrived in time even if this process was busy until later", async () => {
  const { clients: [client], add, end } = await startList(10, 1);
  const [connection] = add(1);
  if (!connection || !client) throw new Error("expected a connection");
  const input = readInput(connection);
  const wait = waitForInput(connection, 50).then(() => connection.bytesReceived);
  const written = client.write(REQUEST);
  block(100);
  assertEquals([await wait, await written], [REQUEST.length, REQUEST.length]);
  end();
  await assertRejects(() => input); // the connection has been closed
});

Deno.test("serve({ inputTimeout }) closes a silent connection at its timeout if that comes first", async () => {
  const { server, closed, connect } = start({ timeout: 200 });
  const started = performance.now();
  assertEquals(await receive(await connect()), new Uint8Array());
  const waited = performance.now() - started;
  assert(waited >= 199, `closed after ${waited} ms`);
  await until(() => closed.length === 1);
  assertEquals([closed[0]?.closeReason, closed[0]?.greeted], ["timeout", false]);
  // Connections that were closed while they were silent do not hold the gate.
  const silent = await Promise.all(Array.from({ length: 40 }, () => connect()));
  await until(() => closed.length === 41);
  assertEquals(await ask(await connect()), DEFAULTS.greeting);
  for (const conn of silent) conn.close();
  // Nothing is left to wait for, so the shutdown does not last for its grace period of 1 s.
  const stopped = performance.now();
  await within(server.shutdown());
  assert(performance.now() - stopped < 900, "waited for the grace period");
});

Deno.test("serve({ inputTimeout }) reports a reset while it waits, keeps what was sent, and serves on", async () => {
  const { server, accepted, reasons, connect } = start();
  const sockets: Socket[] = [];
  for (let i = 0; i < 20; i++) {
    const socket = createConnection(server.addr.port, "127.0.0.1");
    await eventOf(socket, "connect");
    sockets.push(socket);
  }
  await until(() => accepted.length === 20);
  for (const socket of sockets) socket.resetAndDestroy();
  await until(() => reasons().length === 20);
  assertEquals(reasons(), Array<CloseReason>(20).fill("reset"));
  assertEquals(await ask(await connect()), DEFAULTS.greeting);
  await server.shutdown();
});

Deno.test("serve({ inputTimeout }) lets 100 silent clients hold neither the gate nor a slot", async () => {
  const { server, accepted, reasons, connectSilent, connect } = start({ count: 3 });
  const silent = await connectSilent(100);
  for (let i = 0; i < 3; i++) assertEquals(await ask(await connect()), DEFAULTS.greeting);
  await within(server.finished);
  // The port was closed before they said anything.
  const results = await Promise.all(silent.map(receive));
  assertEquals(results, Array(100).fill(new Uint8Array()));
  assertEquals(accepted.filter(({ greeted }) => greeted).length, 3);
  assertEquals(reasons().filter((reason) => reason === "shutdown").length, 100);
});

Deno.test("serve({ inputTimeout }) greets exactly `count` clients if more of them speak at the same time", async () => {
  for (const count of [1, 20]) {
    const { server, closed, connectSilent } = start({ port: [0, 0], count });
    const conns = await connectSilent(50);
    const answers = await Promise.allSettled(conns.map(ask));
    const whole = answers.filter((answer) => answer.status === "fulfilled" && answer.value === DEFAULTS.greeting);
    await server.shutdown();
    assertEquals([whole.length, closed.filter(({ greeted }) => greeted).length], [count, count]);
  }
});

Deno.test("serve({ inputTimeout }) greets the oldest silent client when room is needed, and then evicts it", async () => {
  const { server, accepted, reasons, connectSilent, connect } = start({ maxConnections: 10 });
  const silent = await connectSilent(10);
  assertEquals(accepted.map(({ bytesSent }) => bytesSent), Array(10).fill(0));
  // Each newcomer makes room, and is not greeted itself.
  for (let i = 0; i < 5; i++) {
    const newcomer = await connect();
    await until(() => reasons().length === i + 1);
    silent.push(newcomer);
  }
  await until(() => accepted.length === 15);
  assertEquals(reasons(), Array<CloseReason>(5).fill("evicted"));
  assertEquals(accepted.map(({ greeted }) => greeted), [...Array(5).fill(true), ...Array(10).fill(false)]);
  for (const conn of silent.slice(0, 5)) assertEquals((await receive(conn)).length, GREETING_BYTES);
  for (const conn of silent.slice(5)) conn.close();
  await server.shutdown();
});

Deno.test("serve({ inputTimeout }) evicts greeted clients before it cuts the wait of silent ones short", async () => {
  const { server, accepted, closed, connectSilent, connect } = start({ maxConnections: 4 });
  const [silent, talkative] = await connectSilent(2);
  assert(silent && talkative);
  await talkative.write(REQUEST);
  assertEquals((await readBytes(talkative, GREETING_BYTES)).length, GREETING_BYTES);
  const others = [await connect(), await connect(), await connect()];
  await until(() => closed.length === 1);
  assertEquals([closed[0]?.remoteAddr.port, accepted[0]?.greeted], [talkative.localAddr.port, false]);
  for (const conn of [silent, talkative, ...others]) conn.close();
  await server.shutdown();
});

Deno.test("serve({ inputTimeout }) greets 1,000 clients of 500 ports at once, and never exceeds its limit", async () => {
  for (const maxConnections of [10, 100]) {
    const open = new OpenConnections();
    const { server, reasons } = start({
      port: Array(500).fill(0),
      maxConnections,
      onConnection: (conn) => open.add(conn),
    });
    // Every second client says nothing. Nobody waits for the endless time: the others need room.
    const clients = server.addrs.flatMap(({ port }) =>
      [true, false].map(async (speaks) => {
        const conn = await Deno.connect({ hostname: "127.0.0.1", port });
        if (speaks) await conn.write(REQUEST);
        return (await receive(conn)).length;
      })
    );
    // The last ones stay silent, until the shutdown.
    await until(() => reasons().length >= 1000 - maxConnections);
    assertEquals(new Set(reasons()).has("timeout"), false);
    await within(server.shutdown());
    assertEquals(await Promise.all(clients), Array(1000).fill(GREETING_BYTES));
    assert(open.most <= maxConnections, `${open.most}`);
  }
});

Deno.test("serve({ inputTimeout }) greets a silent client when no descriptor is left, so that it can be evicted", async () => {
  const errors: unknown[] = [];
  const { server, reasons, connectSilent, connect } = start({
    [LISTEN]: listenWithErrors(["accept", "accept", outOfDescriptors("EMFILE"), outOfDescriptors("EMFILE")].values()),
    onAcceptError: (error) => errors.push(error),
  });
  const [first, second] = await connectSilent(2);
  assert(first && second);
  assertEquals((await receive(first)).length, GREETING_BYTES);
  await until(() => reasons().length === 1);
  assertEquals([await ask(await connect()), await isGreeted(second), errors], [DEFAULTS.greeting, false, []]);
  second.close();
  await server.shutdown();
});

Deno.test("shutdown() greets silent clients at once, also one that is accepted while it begins", async () => {
  const { server, closed, connectSilent } = start();
  const silent = await connectSilent(100);
  const shutdown = server.shutdown();
  // After the grace period, they would be closed without a greeting.
  const greetings = await Promise.all(silent.map(receive));
  assertEquals(greetings.map(({ length }) => length), Array(100).fill(GREETING_BYTES));
  await within(shutdown);
  const other = start({ onConnection: () => void other.server.shutdown() });
  assertEquals((await receive(await other.connect())).length, GREETING_BYTES);
  await within(other.server.finished);
  assertEquals(closed.map(({ closeReason }) => closeReason), Array(100).fill("closed"));
});

Deno.test("serve({ inputTimeout }) answers 2,000 clients at once that send their request late", async () => {
  const { server } = start({ timeout: ENDLESS_MS, maxConnections: 2000 });
  const answers = await Promise.all(Array.from({ length: 2000 }, async (_, i) => {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
    await delay(i % 50);
    await conn.write(REQUEST);
    return new TextDecoder().decode(await receive(conn));
  }));
  assertEquals(answers, Array(2000).fill(DEFAULTS.greeting));
  await server.shutdown();
});

Deno.test("serve() rejects an `inputTimeout` that is out of range", async () => {
  for (const inputTimeout of [-1, NaN, Infinity, 2 ** 31]) {
    // deno-lint-ignore require-await
    await assertRejects(async () => start({ inputTimeout }), RangeError, "inputTimeout: ");
  }
});
