import { assert, assertEquals, assertRejects } from "@std/assert";
import { getEventListeners } from "node:events";
import { type Check, ConnectError, type HostPort, type ProbeResult, type ProbeState } from "./client.ts";
import { type CloseReason, DEFAULTS, MAX_GREETING_BYTES, serve } from "./server.ts";
import { check, type CheckArguments } from "./tests/helpers/check.ts";
import { needs } from "./tests/helpers/needs.ts";
import { freePort } from "./tests/helpers/ports.ts";
import { startServer } from "./tests/helpers/servers.ts";
import { block, DEADLINE_MS, delay, ENDLESS_MS, timely, until, within } from "./tests/helpers/waiting.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** Probes ports on the loopback interface. */
async function probe(port: number | number[], options: CheckArguments = {}): Promise<ProbeResult[]> {
  return await within(
    Array.fromAsync(check({ hostname: "127.0.0.1", greeted: port, timeout: ENDLESS_MS, ...options })),
  );
}

async function probeOne(port: number, options: CheckArguments = {}): Promise<ProbeResult> {
  const [result] = await probe(port, options);
  if (!result) throw new Error("there is no result");
  return result;
}

async function stateOf(port: number, options: CheckArguments = {}): Promise<ProbeState> {
  return (await probeOne(port, options)).state;
}

Deno.test("checkPorts() reports the greeting, both addresses and the duration for a port that greets", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  const { port } = server.addr;
  const { duration, localAddr, ...rest } = await probeOne(port);
  assertEquals(rest, {
    host: "127.0.0.1",
    expected: "greeted",
    ok: true,
    state: "greeted",
    remoteAddr: { transport: "tcp", hostname: "127.0.0.1", port },
    greeting: bytes(DEFAULTS.greeting),
    error: undefined,
    reason: undefined,
    listening: null,
    reachableBefore: undefined,
  });
  assertEquals(localAddr?.hostname, "127.0.0.1");
  assert(duration > 0 && duration < DEADLINE_MS);
});

Deno.test("checkPorts() compares the greeting with the expected text or bytes, which may depend on the port", async () => {
  await using server = serve({
    hostname: "127.0.0.1",
    port: [0, 0],
    greeting: ({ localAddr }) => `<${localAddr.port}>\r\n`,
  });
  const [first = 0, second = 0] = server.addrs.map(({ port }) => port);
  const statesFor = async (expect: Check["expect"]) => {
    const results = await probe([first, second], { expect });
    return results.toSorted((a) => a.remoteAddr.port === first ? -1 : 1).map(({ state }) => state);
  };
  assertEquals(await statesFor(`<${first}>`), ["greeted", "mismatch"]);
  assertEquals(await statesFor(({ port }) => bytes(`<${port}>\r\n`)), ["greeted", "greeted"]);
  assertEquals(await statesFor("\r\n"), ["greeted", "greeted"]);
  assertEquals(await statesFor("é"), ["mismatch", "mismatch"]);
});

Deno.test("checkPorts() finds expected bytes that arrive in pieces", async () => {
  await using server = await startServer(async (socket) => {
    for (const byte of bytes("220 lab ready\r\n")) {
      socket.write(new Uint8Array([byte]));
      await delay(2);
    }
  });
  assertEquals(await stateOf(server.port, { expect: "lab ready\r\n" }), "greeted");
});

Deno.test("checkPorts() distinguishes servers that are silent, close, reset, or refuse", async () => {
  await using silent = await startServer(() => {});
  await using closing = await startServer((socket) => socket.end());
  await using resetting = await startServer((socket) => socket.resetAndDestroy());
  await using resettingLater = await startServer((socket) => setTimeout(() => socket.resetAndDestroy(), 20));
  assertEquals(await stateOf(silent.port, { timeout: 200 }), "silent");
  assertEquals(await stateOf(closing.port), "closed");
  assertEquals(await stateOf(resetting.port), "reset");
  assertEquals(await stateOf(resettingLater.port), "reset");
  assertEquals(await stateOf(freePort()), "refused");
});

Deno.test(needs("checkPorts() reports a port whose handshake is not answered as a timeout", "Linux"), async () => {
  // The kernel drops a SYN when the accept queue is full.
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
  const { port } = listener.addr;
  const conns = await Promise.all([1, 2].map(() => Deno.connect({ hostname: "127.0.0.1", port })));
  const { state, localAddr } = await probeOne(port, { timeout: 300 });
  assertEquals([state, localAddr], ["timeout", undefined]);
  for (const conn of conns) conn.close();
});

Deno.test("checkPorts() does not count the time in which its own event loop is blocked", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }); // nothing is accepted, so nothing is sent
  const result = stateOf(listener.addr.port, { timeout: 300 });
  await delay(20);
  block(1000);
  const unblocked = performance.now();
  assertEquals(await result, "silent");
  assert(performance.now() - unblocked > 200);
});

Deno.test("checkPorts() does not wait for the timeout if a server greets but does not close", async () => {
  await using server = await startServer((socket) => socket.write("SSH-2.0-OpenSSH_9.2p1\r\n\0\0binary"));
  const { state, greeting } = await probeOne(server.port);
  assertEquals([state, greeting], ["greeted", bytes("SSH-2.0-OpenSSH_9.2p1\r\n\0\0binary")]);
  assertEquals(await stateOf(server.port, { expect: "OpenSSH" }), "greeted");
});

Deno.test("checkPorts() waits for an expected text until the server closes or the time is over, not until it is silent", async () => {
  await using slow = await startServer(async (socket) => {
    socket.write("220-welcome\r\n");
    await delay(400);
    socket.write("220 ready\r\n");
  });
  assertEquals(await stateOf(slow.port, { expect: "ready" }), "greeted");
  assertEquals(await stateOf(slow.port, { timeout: 600, expect: "never" }), "mismatch");
  await using closing = await startServer((socket) => socket.end("220 ready\r\n"));
  assertEquals(await stateOf(closing.port, { expect: "never" }), "mismatch");
});

Deno.test("checkPorts() waits for the rest of a greeting that pauses before its first line end", async () => {
  await using server = await startServer(async (socket) => {
    socket.write("220 ");
    await delay(400);
    socket.write("ready\r\n");
  });
  assertEquals((await probeOne(server.port)).greeting, bytes("220 ready\r\n"));
});

Deno.test("checkPorts() reads at most 16 KiB from a server that never stops sending", async () => {
  await using server = await startServer((socket) => {
    const send = () => {
      while (!socket.destroyed && socket.write(new Uint8Array(65_536).fill(120)));
    };
    socket.on("drain", send);
    send();
  });
  const { state, greeting } = await probeOne(server.port);
  assertEquals([state, greeting.length], ["greeted", MAX_GREETING_BYTES]);
  assertEquals(await stateOf(server.port, { expect: "y" }), "mismatch");
});

Deno.test("checkPorts() ends at its timeout even if the server keeps sending single bytes", async () => {
  await using server = await startServer((socket) => {
    const timer = setInterval(() => socket.write("x"), 20);
    socket.on("close", () => clearInterval(timer));
  });
  const { state, greeting } = await probeOne(server.port, { timeout: 300 });
  assertEquals(state, "greeted");
  assert(greeting.length > 1, `${greeting.length}`);
});

Deno.test("checkPorts() closes connections so that a greeter server reports `closed`, never `reset`", async () => {
  const reasons: (CloseReason | undefined)[] = [];
  const long = `begin${"x".repeat(MAX_GREETING_BYTES - 8)}end`;
  await using server = serve({
    hostname: "127.0.0.1",
    port: [0, 0, 0, 0],
    greeting: ({ localAddr }) => localAddr.port === server.addr.port ? long : "a\r\n".repeat(20),
    onClose: ({ closeReason }) => reasons.push(closeReason),
  });
  const ports = server.addrs.map(({ port }) => port);
  for (const expect of [undefined, "begin", "end", "a", "none"]) {
    for (let i = 0; i < 5; i++) await probe(ports, { expect });
  }
  await until(() => reasons.length === 100);
  assertEquals(new Set(reasons), new Set(["closed"] as const));
});

Deno.test("checkPorts() probes at most `concurrency` ports at once", async () => {
  let connections = 0;
  const servers = await Promise.all(Array.from({ length: 12 }, () => startServer(() => connections++)));
  let atFirstResult = 0;
  const port = servers.map(({ port }) => port);
  const onAttempt = () => atFirstResult ||= connections;
  const results = await probe(port, { concurrency: 4, timeout: 300, onAttempt });
  assertEquals(results.map(({ state }) => state), Array(12).fill("silent"));
  assertEquals([atFirstResult, connections], [4, 12]);
  for (const server of servers) await server[Symbol.asyncDispose]();
});

Deno.test("checkPorts() closes every connection when the consumer stops", async () => {
  let open = 0;
  await using silent = await startServer((socket) => {
    open++;
    socket.resume();
    socket.on("close", () => open--);
  });
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  const greeted = [silent.port, server.addr.port];
  for await (const { state } of timely(check({ hostname: "127.0.0.1", greeted, timeout: ENDLESS_MS }))) {
    assertEquals(state, "greeted");
    await until(() => open === 1);
    break;
  }
  await until(() => open === 0);
  await assertRejects(
    async () => {
      for await (const _ of timely(check({ hostname: "127.0.0.1", greeted, timeout: ENDLESS_MS }))) {
        throw new Error("enough");
      }
    },
    Error,
    "enough",
  );
  await until(() => open === 0);
});

Deno.test("checkPorts() closes connections that are made just before they are aborted", async () => {
  // The connections stay in the queue of the listener. A connection that is left open fails the test.
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 4096 });
  for (let i = 0; i < 250; i++) {
    await Promise.all(Array.from({ length: 8 }, async (_, j) => {
      const stop = new AbortController();
      setTimeout(() => stop.abort(), j % 4);
      await probe(listener.addr.port, { signal: stop.signal });
    }));
  }
});

Deno.test("checkPorts() does not run ahead of a consumer that does not ask for results", async () => {
  let connections = 0;
  await using server = serve({
    hostname: "127.0.0.1",
    port: Array(40).fill(0),
    onConnection: () => connections++,
  });
  const greeted = server.addrs.map(({ port }) => port);
  const results = check({ hostname: "127.0.0.1", greeted, concurrency: 4 });
  await within(results.next());
  // One result has been read, four wait, and four more probes may run.
  await until(() => connections >= 5);
  await delay(200);
  assert(connections <= 9, `${connections}`);
  assertEquals((await within(Array.fromAsync(results))).length, 39);
});

Deno.test("checkPorts() ends with the known results when its signal is aborted", async () => {
  await using silent = await startServer(() => {});
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  const stop = new AbortController();
  const greeted = [silent.port, server.addr.port];
  const states: ProbeState[] = [];
  for await (
    const { state } of timely(check({ hostname: "127.0.0.1", greeted, timeout: ENDLESS_MS, signal: stop.signal }))
  ) {
    states.push(state);
    setTimeout(() => stop.abort(), 20);
  }
  assertEquals(states, ["greeted"]);
  assertEquals(await probe(greeted, { signal: AbortSignal.abort() }), []);
});

Deno.test("checkPorts() tries only those ports again that were not greeted", async () => {
  let connections = 0;
  await using up = serve({ hostname: "127.0.0.1", port: 0, onConnection: () => connections++ });
  const later = freePort();
  const never = freePort();
  const attempts: number[] = [];
  const results: [number, ProbeState][] = [];
  const stop = new AbortController();
  const onAttempt = ({ state, remoteAddr: { port } }: ProbeResult) => {
    attempts.push(port);
    if (port === later && state === "greeted") stop.abort();
  };
  let late: ReturnType<typeof serve> | undefined;
  const greeted = [up.addr.port, later, never];
  for await (
    const { state, remoteAddr } of timely(check({
      hostname: "127.0.0.1",
      greeted,
      within: ENDLESS_MS,
      onAttempt,
      signal: stop.signal,
    }))
  ) {
    results.push([remoteAddr.port, state]);
    late ??= serve({ hostname: "127.0.0.1", port: later });
  }
  assertEquals(results, [[up.addr.port, "greeted"], [later, "greeted"], [never, "refused"]]);
  assertEquals(connections, 1);
  const triesOf = (wanted: number) => attempts.filter((each) => each === wanted).length;
  assertEquals([triesOf(up.addr.port), triesOf(later)], [1, 2]);
  await late?.shutdown();
});

Deno.test("checkPorts() has one result for a port that is given twice", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  const { port } = server.addr;
  const results = await probe([port, port]);
  assertEquals(results.map(({ state }) => state), ["greeted"]);
});

Deno.test("checkPorts() uses only addresses of the family in `family`", async () => {
  await assertRejects(() => probe(freePort(), { family: 6 }), ConnectError, "the host has no IPv6 address");
  await assertRejects(
    () => probe(freePort(), { hostname: "::1", family: 4 }),
    ConnectError,
    "the host has no IPv4 address",
  );
  assertEquals(await stateOf(freePort(), { family: 4 }), "refused");
});

Deno.test("checkPorts() adds one listener to its signal, however often it pauses, and leaves none", async () => {
  const { signal } = new AbortController();
  const counts: number[] = [];
  const onAttempt = () => counts.push(getEventListeners(signal, "abort").length);
  await probe(freePort(), { within: 400, signal, onAttempt });
  assert(counts.length > 1);
  assertEquals(counts, counts.map(() => 1));
  assertEquals(getEventListeners(signal, "abort"), []);
});

Deno.test("checkPorts() yields the latest results when its signal is aborted between two attempts", async () => {
  const stop = new AbortController();
  const port = freePort();
  const onAttempt = () => stop.abort();
  const results = await probe(port, { within: ENDLESS_MS, signal: stop.signal, onAttempt });
  assertEquals(results.map(({ state }) => state), ["refused"]);
});

Deno.test("checkPorts() does not ask for the text of a port after its signal is aborted", async () => {
  const stop = new AbortController();
  let attempts = 0;
  let late = 0;
  const results = check({
    greeted: [freePort(), freePort(), freePort()],
    expect: () => {
      if (stop.signal.aborted) late++;
      return undefined;
    },
    onAttempt: () => {
      if (++attempts === 5) stop.abort(); // other ports wait for their next attempt
    },
    within: ENDLESS_MS,
    signal: stop.signal,
  });
  await within(Array.fromAsync(results));
  assertEquals(late, 0);
});

Deno.test(needs("checkPorts() probes IPv6 and names", "IPv6"), async () => {
  await using server = serve({ hostname: "::", port: 0 });
  for (const family of [6, undefined] as const) {
    const [result] = await within(Array.fromAsync(check({ hostname: "::1", greeted: server.addr.port, family })));
    assertEquals([result?.state, result?.remoteAddr.hostname], ["greeted", "::1"]);
  }
  // On Windows, `::` accepts IPv6 only.
  await using ipv4 = serve({ hostname: "127.0.0.1", port: 0 });
  const [result] = await within(Array.fromAsync(check({ hostname: "localhost", greeted: ipv4.addr.port })));
  assertEquals([result?.host, result?.state, result?.remoteAddr.hostname], ["localhost", "greeted", "127.0.0.1"]);
});

Deno.test("checkPorts() throws a ConnectError with hostname and cause if no port can be probed", async () => {
  for (const hostname of ["nope.invalid", "fe80::1"]) {
    const error = await assertRejects(() => within(Array.fromAsync(check({ hostname }))), ConnectError);
    assertEquals([error.name, error.hostname, error.cause instanceof Error], ["ConnectError", hostname, true]);
  }
});

Deno.test("checkPorts() throws what `expect` throws", async () => {
  const expect = ({ port }: HostPort) => {
    if (port === 2) throw new Error("no text");
    return "text";
  };
  await assertRejects(() => probe([1, 2, 3], { expect }), Error, "no text");
});

Deno.test("checkPorts() yields the results that are known before it throws, even to a slow consumer", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: [0, 0, 0] });
  const ports = server.addrs.map(({ port }) => port);
  const bad = freePort();
  const { promise: failed, resolve: fail } = Promise.withResolvers<void>();
  const expect = ({ port }: HostPort) => {
    if (port !== bad) return "Thank you";
    fail();
    throw new Error("no text");
  };
  const states: ProbeState[] = [];
  await assertRejects(
    async () => {
      for await (
        const { state } of timely(check({ hostname: "127.0.0.1", greeted: [...ports, bad], expect, concurrency: 2 }))
      ) {
        states.push(state);
        // The other probes end while the first result is used.
        if (states.length === 1) await within(failed);
        await delay(50);
      }
    },
    Error,
    "no text",
  );
  assertEquals(states, ["greeted", "greeted", "greeted"]);
});
