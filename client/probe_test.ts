import { assert, assertEquals } from "@std/assert";
import type { Socket } from "node:net";
import { type Connect, Probe, type ProbeOutcome } from "./probe.ts";
import { LoopClock } from "./clock.ts";
import { serve } from "../server.ts";
import { freePort } from "../tests/helpers/ports.ts";
import { startServer } from "../tests/helpers/servers.ts";
import { block, delay, ENDLESS_MS, eventOf, until, within } from "../tests/helpers/waiting.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** Probes a port on the loopback interface. */
async function probe(
  port: number,
  expected?: string,
  timeout = ENDLESS_MS,
  connect: Connect = Deno.connect,
  readsToEnd = false,
): Promise<ProbeOutcome> {
  const clock = new LoopClock();
  const expectedBytes = expected === undefined ? undefined : bytes(expected);
  const probe = new Probe({
    hostname: "127.0.0.1",
    port,
    expectation: "greeted",
    expect: expectedBytes,
    readsToEnd,
    timeout,
    clock,
    connect,
  });
  const result = await within(probe.run());
  if (!result) throw new Error("there is no result");
  return result;
}

Deno.test("Probe has a cause only if the state is unreachable", async () => {
  const { state, error, cause } = await probe(freePort());
  assertEquals([state, error, cause], ["refused", undefined, undefined]);
});

/** Writes pieces of text, with pauses in which the client can read each of them. */
async function writePieces(socket: Socket, pieces: readonly string[], ms: number) {
  for (const piece of pieces) {
    socket.write(piece);
    await delay(ms);
  }
}

/** Sends a greeting, which ends the probe, and then more. Returns the state, and the error that the server gets. */
async function sendMore(more: (socket: Socket) => Promise<void>) {
  const errors: string[] = [];
  let ended = 0;
  await using server = await startServer(async (socket) => {
    socket.on("error", ({ message }) => errors.push(message));
    socket.write("220 ready\r\n");
    socket.resume(); // otherwise the end of the connection is not noticed
    await more(socket);
    socket.end();
    ended++;
  }, { allowHalfOpen: true });
  const { state } = await probe(server.port, "ready");
  await until(() => ended === 1);
  await delay(20); // for a reset that is on its way
  return { state, errors };
}

Deno.test("Probe discards what the server sends after the greeting, so that the server can send it", async () => {
  const pieces = ["250-a\r\n", "250-b\r\n", "250 c\r\n"];
  const result = await sendMore(async (socket) => {
    await delay(5);
    await writePieces(socket, pieces, 5);
  });
  assertEquals(result, { state: "greeted", errors: [] });
});

Deno.test("Probe half-closes when the greeting is complete, and then reads on", async () => {
  const result = await sendMore(async (socket) => {
    await eventOf(socket, "end");
    await writePieces(socket, ["221 bye", "\r\n"], 20);
  });
  assertEquals(result, { state: "greeted", errors: [] });
});

Deno.test("Probe reads at most 16 KiB of a greeting, and 64 KiB after it, from a server that never stops sending", async () => {
  const written: number[] = [];
  await using server = await startServer((socket) => {
    const chunk = new Uint8Array(65_536).fill(120);
    const send = () => {
      while (!socket.destroyed && socket.write(chunk));
    };
    socket.on("drain", send);
    socket.on("close", () => written.push(socket.bytesWritten));
    send();
  });
  let bytesRead = 0;
  const connect = async (options: Deno.ConnectOptions) => {
    const conn = await Deno.connect(options);
    const read = conn.read.bind(conn);
    conn.read = async (buffer) => {
      const count = await read(buffer);
      bytesRead += count ?? 0;
      return count;
    };
    return conn;
  };
  for (
    const [expected, state, length] of [
      [undefined, "greeted", 16_384],
      ["y", "mismatch", 16_384],
      ["x", "greeted", 512],
    ] as const
  ) {
    bytesRead = 0;
    const result = await probe(server.port, expected, ENDLESS_MS, connect);
    assertEquals([result.state, result.greeting.length, bytesRead], [state, length, length + 65_536]);
  }
  await until(() => written.length === 3);
  // The rest was in the buffers of both sockets, which is 4 MB on Linux.
  for (const size of written) assert(size < 20_000_000, `${size} bytes`);
});

Deno.test("Probe closes a connection that the server keeps open 100 ms after the greeting, and does not count that", async () => {
  await using server = await startServer((socket) => {
    socket.write("220 ready\r\n");
    socket.resume();
  }, { allowHalfOpen: true });
  const durations: number[] = [];
  for (let i = 0; i < 5; i++) {
    const started = performance.now();
    durations.push((await probe(server.port, "ready")).duration);
    assert(performance.now() - started >= 80); // lingering
  }
  // Lingering takes 100 ms.
  assert(Math.min(...durations) < 80, `${durations}`);
});

Deno.test("Probe reads on while one line follows another, and ends when none does", async () => {
  const lines = Array.from({ length: 20 }, (_, i) => `220-${i}\r\n`);
  await using server = await startServer((socket) => writePieces(socket, lines, 20));
  const { greeting } = await probe(server.port);
  assertEquals(text(greeting), lines.join(""));
});

Deno.test("Probe waits for silence after a first line, even if the last piece has no line end", async () => {
  await using server = await startServer((socket) => writePieces(socket, ["220 ready\r\n", "login: "], 20));
  const { state, greeting, duration } = await probe(server.port);
  assertEquals([state, text(greeting)], ["greeted", "220 ready\r\nlogin: "]);
  assert(duration >= 80, `${duration} ms`);
});

Deno.test("Probe finds an expected text that begins with a part of itself", async () => {
  await using whole = await startServer((socket) => socket.end("ababac"));
  await using pieces = await startServer((socket) => writePieces(socket, ["ab", "ab", "a", "c"], 5));
  await using other = await startServer((socket) => socket.end("ababab"));
  assertEquals((await probe(whole.port, "abac")).state, "greeted");
  assertEquals((await probe(pieces.port, "abac")).state, "greeted");
  assertEquals((await probe(other.port, "abac")).state, "mismatch");
});

Deno.test("Probe returns a greeting that is its own copy, and no longer than what was read", async () => {
  await using server = serve({
    hostname: "127.0.0.1",
    port: [0, 0],
    greeting: ({ localAddr }) => `port ${localAddr.port}\r\n`,
  });
  const [first = 0, second = 0] = server.addrs.map(({ port }) => port);
  const results = [await probe(first), await probe(second)];
  assertEquals(results.map(({ greeting }) => text(greeting)), [`port ${first}\r\n`, `port ${second}\r\n`]);
  for (const { greeting } of results) assertEquals(greeting.buffer.byteLength, greeting.length);
});

Deno.test("Probe reads a greeting of any length up to 16 KiB, in one piece or in several", async () => {
  for (const length of [1, 511, 512, 513, 2048, 8193, 16_383, 16_384]) {
    const greeting = Array.from({ length }, (_, i) => String.fromCharCode(97 + i % 26)).join("");
    await using server = await startServer((socket) => socket.end(greeting));
    const result = await probe(server.port);
    assertEquals([result.state, text(result.greeting)], ["greeted", greeting]);
    await using halves = await startServer(async (socket) => {
      await writePieces(socket, [greeting.slice(0, length / 2), greeting.slice(length / 2)], 5);
      socket.end();
    });
    assertEquals(text((await probe(halves.port)).greeting), greeting);
  }
});

Deno.test("Probe does not overlook that it was connected in time while the event loop was blocked", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }); // nothing is accepted, so nothing is sent
  const probes = [1, 5, 10, 15, 20].map((timeout) => probe(listener.addr.port, undefined, timeout));
  block(500);
  assertEquals((await Promise.all(probes)).map(({ state }) => state), Array(5).fill("silent"));
});

Deno.test("Probe has no result if it is aborted before its greeting is complete, but has one if it lingers", async () => {
  let isClosed = false;
  let isHalfClosed = false;
  await using server = await startServer((socket) => {
    socket.resume().on("end", () => isHalfClosed = true).on("close", () => isClosed = true);
    socket.write("220 ready\r\n");
  }, { allowHalfOpen: true });
  const run = async (expected: string, isReady: () => boolean) => {
    const clock = new LoopClock();
    const probe = new Probe({
      hostname: "127.0.0.1",
      port: server.port,
      expectation: "greeted",
      expect: bytes(expected),
      timeout: ENDLESS_MS,
      clock,
      connect: Deno.connect,
    });
    const result = probe.run();
    await until(isReady);
    probe.abort();
    return (await within(result))?.state;
  };
  assertEquals(await run("never", () => server.connections() === 1), undefined);
  // The first connection ends with a reset if the client has not read anything yet, and half-closed otherwise.
  await until(() => isClosed || isHalfClosed);
  isHalfClosed = false;
  assertEquals(await run("ready", () => isHalfClosed), "greeted");
});

Deno.test("Probe reads on when it has found the expected text only if it is to read to the end", async () => {
  const pieces = ["220 ready\r\n", "greeter listens on 80\r\n"];
  await using server = await startServer(async (socket) => {
    await writePieces(socket, pieces, 20);
    socket.end();
  });
  const greetingOf = async (expected: string | undefined, readsToEnd: boolean) => {
    const { state, greeting } = await probe(server.port, expected, ENDLESS_MS, Deno.connect, readsToEnd);
    return [state, text(greeting)];
  };
  assertEquals(await greetingOf("ready", false), ["greeted", pieces[0]]);
  assertEquals(await greetingOf("ready", true), ["greeted", pieces.join("")]);
  assertEquals(await greetingOf(undefined, true), ["greeted", pieces.join("")]);
  assertEquals(await greetingOf("listens", true), ["greeted", pieces.join("")]);
  assertEquals(await greetingOf("never", true), ["mismatch", pieces.join("")]);
});

Deno.test("Probe that is to read to the end waits for the rest of an announcement, but not for other text", async () => {
  const greetingOf = async (pieces: readonly string[], ms: number, readsToEnd = true) => {
    let writing: Promise<void> | undefined;
    await using server = await startServer((socket) => void (writing = writePieces(socket, pieces, ms)));
    const { greeting } = await probe(server.port, "hi", ENDLESS_MS, Deno.connect, readsToEnd);
    await writing;
    return text(greeting);
  };
  const cut = ["hi\r\ngreeter", " listens on 80,", "443\r", "\n"];
  const other = ["hi\r\nlogin: ", "greeter listens on 80\r\n"];
  const [whole, part, unread] = await Promise.all([
    greetingOf(cut, 150), // longer than the silence that ends a greeting
    greetingOf(other, 400),
    greetingOf(cut, 150, false),
  ]);
  assertEquals([whole, part, unread], [cut.join(""), other[0], cut[0]]);
});
