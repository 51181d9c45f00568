import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Socket } from "node:net";
import { EXPECTATIONS, type HostPort, type ProbeResult } from "../client.ts";
import { MAX_GREETING_BYTES, serve } from "../server.ts";
import { check, type CheckArguments } from "../tests/helpers/check.ts";
import { inNamespace } from "../tests/helpers/namespaces.ts";
import { isLinux, needs } from "../tests/helpers/needs.ts";
import { freePort } from "../tests/helpers/ports.ts";
import { run, spawn } from "../tests/helpers/processes.ts";
import { startServer } from "../tests/helpers/servers.ts";
import { block, delay, ENDLESS_MS, until, within } from "../tests/helpers/waiting.ts";
import { CONNECT } from "./pool.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** Probes a single port on the loopback interface. */
async function probe(options: CheckArguments): Promise<ProbeResult> {
  const results = await within(
    Array.fromAsync(check({ hostname: "127.0.0.1", timeout: ENDLESS_MS, ...options })),
  );
  const [result] = results;
  if (!result || results.length > 1) throw new Error(`there are ${results.length} results`);
  return result;
}

/** What servers do with a new connection. */
const SERVERS: Record<string, (socket: Socket) => void> = {
  silent: (socket) => socket.resume(),
  greeting: (socket) => socket.write("220 ready\r\n"),
  "greeting and closing": (socket) => socket.end("220 ready\r\n"),
  "greeting after 50 ms": (socket) => setTimeout(() => socket.write("220 ready\r\n"), 50),
  closing: (socket) => socket.end(),
  resetting: (socket) => socket.resetAndDestroy(),
  "closing after 50 ms": (socket) => setTimeout(() => socket.end(), 50),
  "resetting after 50 ms": (socket) => setTimeout(() => socket.resetAndDestroy(), 50),
};

/** Returns for each of the servers its result, as `state ok greeting`. */
async function statesOf(optionsFor: (port: number) => CheckArguments): Promise<Record<string, string>> {
  const entries = Object.entries(SERVERS).map(async ([name, onConnection]) => {
    await using server = await startServer(onConnection);
    const { state, ok, greeting, localAddr } = await probe(optionsFor(server.port));
    assertEquals(localAddr?.hostname, "127.0.0.1");
    return [name, `${state} ${ok} ${JSON.stringify(text(greeting))}`];
  });
  const { state, ok, localAddr } = await probe(optionsFor(freePort()));
  return { ...Object.fromEntries(await Promise.all(entries)), none: `${state} ${ok} ${localAddr}` };
}

Deno.test("checkPorts() takes a port for open if the server keeps the connection for 100 ms, or sends data", async () => {
  assertEquals(await statesOf((open) => ({ open })), {
    silent: 'open true ""',
    greeting: String.raw`open true "220 ready\r\n"`,
    "greeting and closing": String.raw`open true "220 ready\r\n"`,
    "greeting after 50 ms": String.raw`open true "220 ready\r\n"`,
    closing: 'closed false ""',
    resetting: 'reset false ""',
    "closing after 50 ms": 'closed false ""',
    "resetting after 50 ms": 'reset false ""',
    none: "refused false undefined",
  });
});

Deno.test(
  needs(
    "checkPorts() takes ports that are half-closed and reset at once for reset or closed, and checks all of them",
    "the run permission",
  ),
  async () => {
    // In another process, so that connections are reset while this one is busy.
    await using server = spawn([
      Deno.execPath(),
      "eval",
      `
    import { createServer } from "node:net";
    for (let i = 0; i < 20; i++) {
      const server = createServer((socket) => socket.end(() => socket.resetAndDestroy()));
      server.listen(0, "127.0.0.1", () => console.log(server.address().port));
    }`,
    ]);
    await until(() => server.output.stdout.split("\n").length > 20);
    const ports = server.output.stdout.trim().split("\n").map(Number);
    const blocking = setInterval(() => block(20), 0);
    try {
      for (const expectation of EXPECTATIONS) {
        const results = await within(Array.fromAsync(check({ hostname: "127.0.0.1", [expectation]: ports })));
        assertEquals(results.length, 20);
        for (const { state, ok } of results) assert(ok === false && ["reset", "closed"].includes(state), state);
      }
    } finally {
      clearInterval(blocking);
    }
  },
);

Deno.test("checkPorts() says what a port does that should be blocked, which is as expected only if it is not reachable", async () => {
  assertEquals(await statesOf((blocked) => ({ blocked })), {
    silent: 'open false ""',
    greeting: String.raw`greeted false "220 ready\r\n"`,
    "greeting and closing": String.raw`greeted false "220 ready\r\n"`,
    "greeting after 50 ms": String.raw`greeted false "220 ready\r\n"`,
    closing: 'closed false ""',
    resetting: 'reset false ""',
    "closing after 50 ms": 'closed false ""',
    "resetting after 50 ms": 'reset false ""',
    none: "refused true undefined",
  });
});

Deno.test("checkPorts() does not wait for the timeout to see that a port is open", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }); // nothing is accepted, so nothing is sent
  for (const options of [{ open: listener.addr.port }, { blocked: listener.addr.port }]) {
    const { state, duration } = await probe({ ...options, timeout: ENDLESS_MS });
    assertEquals(state, "open");
    assert(duration >= 80, `${duration} ms`);
  }
});

Deno.test("checkPorts() observes an open port for 100 ms even if the timeout is shorter", async () => {
  await using server = await startServer((socket) => setTimeout(() => socket.end(), 80));
  const { state, duration } = await probe({ open: server.port, timeout: 1 });
  assertEquals(state, "closed");
  assert(duration >= 60, `${duration} ms`);
});

/** Connects as `Deno.connect` does, but takes `ms` milliseconds longer, and cannot be aborted. */
function connectAfter(ms: number) {
  return async ({ signal: _, ...options }: Deno.ConnectOptions) => {
    const conn = await Deno.connect(options);
    await delay(ms);
    return conn;
  };
}

Deno.test("checkPorts() takes an open port for a timeout if the connection is made when the timeout is over", async () => {
  await using server = await startServer((socket) => socket.resume());
  const { state, ok } = await probe({ open: server.port, timeout: 100, [CONNECT]: connectAfter(500) });
  assertEquals([state, ok], ["timeout", false]);
});

Deno.test("checkPorts() observes an open port for 100 ms plus the time that connecting took", async () => {
  await using server = await startServer((socket) => setTimeout(() => socket.end(), 800));
  const { state } = await probe({ open: server.port, [CONNECT]: connectAfter(500) });
  assertEquals(state, "closed");
});

Deno.test("checkPorts() sends nothing to ports that must be open or blocked, and does not compare what they send", async () => {
  for (const expectation of ["open", "blocked"] as const) {
    let received = "";
    let ended = 0;
    await using server = await startServer((socket) => {
      socket.on("data", (data) => received += data).on("end", () => ended++);
      setTimeout(() => socket.write("220 ready\r\n"), 20);
    });
    const asked: number[] = [];
    const expect = ({ port }: HostPort) => {
      asked.push(port);
      return "other";
    };
    const { state } = await probe({ [expectation]: server.port, expect, send: "HELO\r\n" });
    await until(() => ended === 1);
    assertEquals([state, received, asked], [expectation === "open" ? "open" : "greeted", "", []]);
  }
});

Deno.test("checkPorts() closes the connection to an open or blocked port without a reset", async () => {
  const errors: string[] = [];
  let closed = 0;
  await using server = await startServer(async (socket) => {
    socket.on("error", ({ message }) => errors.push(message)).on("close", () => closed++).resume();
    socket.write("220-welcome\r\n");
    await delay(5);
    socket.write("220 ready\r\n");
  });
  for (let i = 0; i < 5; i++) {
    await probe({ open: server.port });
    await probe({ blocked: server.port });
  }
  await until(() => closed === 10);
  assertEquals(errors, []);
});

Deno.test("checkPorts() sends text or bytes after connecting, whether the server has spoken or not", async () => {
  for (const greetsFirst of [true, false]) {
    await using server = await startServer((socket) => {
      if (greetsFirst) socket.write("220 ready\r\n");
      let received = "";
      socket.on("data", (data) => {
        received += data;
        if (received.endsWith("\n")) socket.end(`you said ${received}`);
      });
    });
    for (
      const send of [
        "é\n",
        new TextEncoder().encode("é\n"),
        ({ port }: HostPort) => port === server.port ? "é\n" : undefined,
      ]
    ) {
      const { state, greeting } = await probe({ greeted: server.port, send, expect: "said é" });
      const sent = "you said é\n";
      assertEquals([state, text(greeting)], ["greeted", greetsFirst ? `220 ready\r\n${sent}` : sent]);
    }
  }
});

Deno.test("checkPorts() sends only to the ports for which `send` returns a text", async () => {
  const received: [port: number | undefined, text: string][] = [];
  const onConnection = (socket: Socket) => {
    socket.write("220 ready\r\n");
    socket.on("data", (data) => received.push([socket.localPort, `${data}`]));
  };
  await using first = await startServer(onConnection);
  await using second = await startServer(onConnection);
  const greeted = [first.port, second.port];
  const send = ({ port }: HostPort) => port === first.port ? `port ${port}` : undefined;
  const results = await within(Array.fromAsync(check({ hostname: "127.0.0.1", greeted, send })));
  assertEquals(results.map(({ state }) => state), ["greeted", "greeted"]);
  assertEquals(received, [[first.port, `port ${first.port}`]]);
});

/** Accepts one connection, reads a single byte, sends a greeting, and closes, which also resets the connection. */
async function closeUnread(listener: Deno.TcpListener) {
  using conn = await within(listener.accept());
  await conn.read(new Uint8Array(1));
  await conn.write(new TextEncoder().encode("220 ready\r\n"));
  if (!isLinux) await delay(20); // otherwise the reset may discard the greeting
}

Deno.test("checkPorts() uses what a server has sent before it closes the connection without having read everything", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const send = new Uint8Array(MAX_GREETING_BYTES);
  for (const [expect, expected] of [[undefined, "greeted"], ["ready", "greeted"], ["never", "mismatch"]] as const) {
    const [result] = await Promise.all([probe({ greeted: listener.addr.port, send, expect }), closeUnread(listener)]);
    assertEquals([result.state, text(result.greeting)], [expected, "220 ready\r\n"]);
  }
});

Deno.test("checkPorts() uses what a server has sent before it resets the connection", async () => {
  for (const greeting of ["220 ready\r\n", ""]) {
    await using server = await startServer((socket) => {
      socket.once("data", async () => {
        socket.write(greeting);
        if (!isLinux) await delay(20); // otherwise the reset may discard the greeting
        socket.resetAndDestroy();
      });
    });
    const states = [];
    for (const expect of [undefined, "ready", "never"]) {
      const result = await probe({ greeted: server.port, send: "HELO\r\n", expect });
      states.push(result.state);
      assertEquals(text(result.greeting), greeting);
    }
    assertEquals(states, greeting === "" ? ["reset", "reset", "reset"] : ["greeted", "greeted", "mismatch"]);
  }
});

Deno.test("checkPorts() sends up to 16 KiB to a server that never reads, and is silent until the timeout", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }); // nothing is accepted, so nothing is read
  const { port } = listener.addr;
  const { state } = await probe({ greeted: port, send: new Uint8Array(MAX_GREETING_BYTES), timeout: 300 });
  assertEquals(state, "silent");
});

Deno.test("checkPorts() sends all bytes of a long text", async () => {
  const sent = Array.from({ length: MAX_GREETING_BYTES }, (_, i) => String.fromCharCode(97 + i % 26)).join("");
  let received = "";
  await using server = await startServer((socket) => {
    socket.on("data", (data) => {
      received += data;
      if (received.length === sent.length) socket.end("250 ok\r\n");
    });
  });
  assertEquals((await probe({ greeted: server.port, send: sent })).state, "greeted");
  assertEquals(received, sent);
});

// Buffers so small that a long text is not sent at once.
const smallBuffers = inNamespace(`
  echo 4096 4096 4096 > /proc/sys/net/ipv4/tcp_wmem
  echo 4096 4096 4096 > /proc/sys/net/ipv4/tcp_rmem
`);

Deno.test(
  needs("checkPorts() sends a long text in pieces, until the server closes or the time is over", smallBuffers),
  async () => {
    const script = `
    import { check } from "${import.meta.resolve("../tests/helpers/check.ts")}";
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 999 });
    const send = new Uint8Array(16_384).fill(120);
    const rows = [];
    // How many bytes the server reads.
    for (const length of [send.length, 1, 0]) {
      const serve = async () => {
        using conn = await listener.accept();
        let count = 0;
        while (count < length) count += await conn.read(new Uint8Array(length - count));
        rows.push(count);
        if (length === send.length) await conn.write(new TextEncoder().encode("250 ok"));
        if (length === 0) await conn.closeWrite().then(() => done);
      };
      const { promise: done, resolve } = Promise.withResolvers();
      const served = serve();
      for await (const { state } of check({ hostname: "127.0.0.1", greeted: 999, send, timeout: 500 })) rows.push(state);
      resolve();
      await served;
    }
    // Nothing is accepted.
    for await (const { state } of check({ hostname: "127.0.0.1", greeted: 999, send, timeout: 300 })) rows.push(state);
    listener.close();
    console.log(JSON.stringify(rows));`;
    const { stdout, stderr } = await run([...smallBuffers.command, Deno.execPath(), "eval", script]);
    const [first, second, third, fourth, fifth, sixth, seventh] = JSON.parse(stdout || stderr);
    assertEquals([first, second, third, fifth, sixth, seventh], [
      MAX_GREETING_BYTES,
      "greeted",
      1,
      0,
      "closed",
      "silent",
    ]);
    assert(["closed", "reset"].includes(fourth), fourth);
  },
);

Deno.test("checkPorts() accepts any greeting of a port for which `expect` returns undefined", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: [0, 0], greeting: "220 ready\r\n" });
  const [first = 0, second = 0] = server.addrs.map(({ port }) => port);
  const expect = ({ port }: HostPort) => port === first ? undefined : "other";
  const results = await within(Array.fromAsync(check({ hostname: "127.0.0.1", greeted: [first, second], expect })));
  const states = Object.fromEntries(results.map(({ remoteAddr, state, ok }) => [remoteAddr.port, [state, ok]]));
  assertEquals(states, { [first]: ["greeted", true], [second]: ["mismatch", false] });
});

Deno.test("checkPorts() throws a RangeError if `expect` or `send` returns an empty or too long text", async () => {
  for (const name of ["expect", "send"] as const) {
    for (const value of ["", new Uint8Array(), "x".repeat(MAX_GREETING_BYTES + 1)]) {
      await assertRejects(
        () => probe({ greeted: freePort(), [name]: () => value }),
        RangeError,
        `${name}: expected from 1`,
      );
    }
  }
});
