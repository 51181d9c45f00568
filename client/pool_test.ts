import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConnectError, type ProbeResult } from "../client.ts";
import { serve } from "../server.ts";
import { check } from "../tests/helpers/check.ts";
import { needs } from "../tests/helpers/needs.ts";
import { freePorts } from "../tests/helpers/ports.ts";
import { run } from "../tests/helpers/processes.ts";
import { startServer } from "../tests/helpers/servers.ts";
import { block, delay, ENDLESS_MS, timely, until, within } from "../tests/helpers/waiting.ts";
import { Pace } from "./pace.ts";
import { CONNECT, ProbePool } from "./pool.ts";

/** Descriptors are a resource of the process, so these tests run a script in a process that may have 64. */
async function runScript(ports: readonly number[], script: string): Promise<unknown> {
  const code = `
    import { CONNECT } from "${import.meta.resolve("./pool.ts")}";
    import { check } from "${import.meta.resolve("../tests/helpers/check.ts")}";
    Deno.addSignalListener("SIGTERM", () => {}); // without one, Deno 2.9 panics if there is no descriptor after 500 ms
    const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    /** Opens files until only \`left\` descriptors are left. */
    const takeDescriptors = (left = 0) => {
      const files = [];
      try {
        for (;;) files.push(Deno.openSync("/dev/null"));
      } catch {
        for (const file of files.splice(0, left)) file.close();
      }
      return () => files.forEach((file) => file.close());
    };
    const options = { hostname: "127.0.0.1", greeted: ${JSON.stringify(ports)} };
    ${script}
    Deno.exit();`;
  const command = ["sh", "-c", `ulimit -n 64; exec "$@"`, "sh", Deno.execPath(), "eval", code];
  const { code: status, stdout, stderr } = await run(command);
  assertEquals([status, stderr], [0, ""]);
  return JSON.parse(stdout);
}

Deno.test("ProbePool.stop() ends all pauses and waits, and those that begin later", async () => {
  const pool = new ProbePool({ concurrency: 1 }, () => false);
  const { signal } = new AbortController();
  await pool.acquire();
  const begun: number[] = [];
  const begin = (item: number) => pool.begin([item], signal, (item) => Promise.resolve(void begun.push(item)));
  const waits = [pool.sleep(ENDLESS_MS), pool.acquire(), begin(1)];
  pool.stop();
  await within(Promise.all([...waits, pool.sleep(ENDLESS_MS), pool.acquire(), begin(2)]));
  assertEquals(begun, []);
});

Deno.test("ProbePool begins all checks before one continues, and begins no more when their host has been stopped", async () => {
  const pool = new ProbePool({ concurrency: 2 }, () => false);
  const stop = new AbortController();
  const steps: string[] = [];
  const check = async (item: string) => {
    steps.push(item);
    pool.release();
    await pool.acquire();
    steps.push(`${item} again`);
  };
  const { signal } = new AbortController();
  await within(Promise.all([
    pool.begin(["a", "b", "c"], signal, check),
    pool.begin(["d", "e"], signal, check),
    pool.begin(["f", "g"], stop.signal, (item) => check(item).finally(() => stop.abort())),
  ]));
  const first = steps.findIndex((step) => step.endsWith("again"));
  assertEquals(steps.slice(0, first).toSorted(), ["a", "b", "c", "d", "e", "f", "g"]);
  assertEquals(steps.length, 14);
  await within(pool.begin(["h"], stop.signal, check));
  assertEquals(steps.length, 14);
  // All places have been given back.
  await within(Promise.all([pool.acquire(), pool.acquire()]));
  pool.end();
});

Deno.test("ProbePool.take() takes a place although none is free, which others then lack", async () => {
  const pool = new ProbePool({ concurrency: 1 }, () => false);
  await pool.acquire();
  pool.take();
  let isGranted = false;
  const wait = pool.acquire().then(() => isGranted = true);
  pool.release();
  await delay(0);
  assertEquals(isGranted, false);
  pool.release();
  await within(wait);
  pool.end();
});

Deno.test("ProbePool.begin() starts each check with a pace in its turn, and lets other checks continue meanwhile", async () => {
  const pool = new ProbePool({ concurrency: 2 }, () => false);
  const { signal } = new AbortController();
  const { promise, resolve: start } = Promise.withResolvers<void>();
  let waits = 0;
  // The second start has to wait.
  const pace = new Pace(0.001, () => {
    waits++;
    return promise;
  });
  const begun: string[] = [];
  const begin = pool.begin(["a", "b"], signal, (item) => Promise.resolve(void begun.push(item)), pace);
  await until(() => waits === 1);
  await within(pool.acquire());
  assertEquals(begun, ["a"]);
  start();
  await within(begin);
  assertEquals([begun, waits], [["a", "b"], 1]);
  pool.end();
});

Deno.test(
  needs("checkPorts() can prove that a port drops packets even if only one probe may run at once", "Linux"),
  async () => {
    // The kernel drops a SYN when the accept queue is full.
    using full = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
    const { port: blocked } = full.addr;
    const conns = await Promise.all([1, 2].map(() => Deno.connect({ hostname: "127.0.0.1", port: blocked })));
    await using server = serve({ hostname: "127.0.0.1", port: 0 });
    const options = { greeted: server.addr.port, blocked, timeout: 1500, concurrency: 1 };
    const results = await within(Array.fromAsync(check(options)));
    assertEquals(results.map(({ state, ok }) => [state, ok]), [["greeted", true], ["timeout", true]]);
    for (const conn of conns) conn.close();
  },
);

Deno.test("checkPorts() tries each of thousands of ports once before it tries one again", async () => {
  // No other test uses these ports.
  const greeted = Array.from({ length: 3000 }, (_, i) => 20_000 + i);
  const tried = new Set<number>();
  let early = 0;
  const stop = new AbortController();
  const onAttempt = ({ remoteAddr: { port } }: ProbeResult) => {
    if (tried.has(port) && tried.size < greeted.length) early++;
    if (tried.has(port)) stop.abort();
    tried.add(port);
  };
  await within(Array.fromAsync(check({ greeted, within: ENDLESS_MS, signal: stop.signal, onAttempt })));
  assertEquals([tried.size, early], [3000, 0]);
});

Deno.test(needs("checkPorts() pauses while there is no descriptor, and goes on when there is one", "sh"), async () => {
  await using server = serve({ hostname: "127.0.0.1", port: [0, 0, 0] });
  const [states, attempts] = await runScript(
    server.addrs.map(({ port }) => port),
    `
    let attempts = 0;
    const connect = (options) => {
      attempts++;
      return Deno.connect(options);
    };
    const results = Array.fromAsync(check({ ...options, timeout: 60_000, [CONNECT]: connect }));
    const release = takeDescriptors();
    setTimeout(release, 500);
    console.log(JSON.stringify([(await results).map(({ state }) => state), attempts]));
  `,
  ) as [string[], number];
  assertEquals(states, ["greeted", "greeted", "greeted"]);
  assert(attempts > 3 && attempts < 50, `${attempts} attempts`);
});

Deno.test(needs("checkPorts() does not take a slow consumer for a lack of descriptors", "sh"), async () => {
  await using server = serve({ hostname: "127.0.0.1", port: [0, 0, 0] });
  const states = await runScript(
    server.addrs.map(({ port }) => port),
    `
    const results = check({ ...options, concurrency: 1, timeout: 2000 });
    const states = [(await results.next()).value.state];
    await delay(2500);
    const release = takeDescriptors();
    setTimeout(release, 50);
    for await (const { state } of results) states.push(state);
    console.log(JSON.stringify(states));
  `,
  );
  assertEquals(states, ["greeted", "greeted", "greeted"]);
});

Deno.test(needs("checkPorts() counts each lack of descriptors from its own beginning", "sh"), async () => {
  await using server = serve({ hostname: "127.0.0.1", port: Array(10).fill(0) });
  // For every second port, there is no descriptor for 500 ms.
  const states = await runScript(
    server.addrs.map(({ port }) => port),
    `
    const states = [];
    for await (const { state } of check({ ...options, concurrency: 1, timeout: 1000 })) {
      states.push(state);
      await delay(50); // the next result is known then, and its descriptor is free
      setTimeout(takeDescriptors(), 500);
    }
    console.log(JSON.stringify(states));
  `,
  );
  assertEquals(states, Array(10).fill("greeted"));
});

Deno.test(needs("checkPorts() throws if there is no descriptor for as long as the timeout", "sh"), async () => {
  await using server = serve({ hostname: "127.0.0.1", port: [0, 0, 0] });
  const [name, code, elapsed] = await runScript(
    server.addrs.map(({ port }) => port),
    `
    const release = takeDescriptors();
    const started = performance.now();
    try {
      for await (const _ of check({ ...options, timeout: 500 }));
    } catch ({ name, cause }) {
      const elapsed = performance.now() - started;
      release();
      console.log(JSON.stringify([name, cause.code, elapsed]));
    }
  `,
  ) as [string, string, number];
  assertEquals([name, code], ["ConnectError", "EMFILE"]);
  assert(elapsed >= 500, `${elapsed} ms`);
});

Deno.test("checkPorts() ends, and keeps no timer, if its signal is aborted while there is no descriptor", async () => {
  let attempts = 0;
  const connect = () => {
    attempts++;
    return Promise.reject(Object.assign(new Error("Too many open files"), { code: "EMFILE" }));
  };
  const stop = new AbortController();
  const options = { greeted: [1, 2, 3], timeout: ENDLESS_MS, signal: stop.signal, [CONNECT]: connect };
  const results = Array.fromAsync(check(options));
  // The first three attempts are followed by a single one after each pause.
  await until(() => attempts >= 4);
  const before = attempts;
  stop.abort(); // in a pause, because the attempts fail at once
  assertEquals([await within(results), attempts], [[], before]); // the leak check finds a timer that is left
});

Deno.test(needs("checkPorts() runs more probes again when descriptors are free again", "sh"), async () => {
  let open = 0;
  let most = 0;
  const servers = await Promise.all(Array.from({ length: 120 }, () =>
    startServer((socket) => {
      most = Math.max(most, ++open);
      socket.on("close", () => open--);
      setTimeout(() => socket.end("220 ready\r\n"), 100);
    })));
  const count = await runScript(
    servers.map(({ port }) => port),
    `
    const release = takeDescriptors(3);
    let count = 0;
    for await (const { state } of check({ ...options, concurrency: 40, timeout: 60_000 })) {
      if (state === "greeted" && ++count === 20) release();
    }
    console.log(count);
  `,
  );
  assertEquals(count, 120);
  assert(most >= 15, `at most ${most} connections at once`);
  for (const server of servers) await server[Symbol.asyncDispose]();
});

Deno.test(
  needs("checkPorts() reports an unknown zone at once, however many ports there are", "IPv6", "sh"),
  async () => {
    // In a process of its own, because Deno 2.9.1 leaks a resource when it cannot look up an address.
    const name = await runScript(
      Array.from({ length: 100 }, (_, i) => i + 1),
      `
    const { name } = await Array.fromAsync(check({ ...options, hostname: "fe80::1%nope", timeout: ${ENDLESS_MS} }))
      .catch((error) => error);
    console.log(JSON.stringify(name));
  `,
    );
    assertEquals(name, "ConnectError");
  },
);

Deno.test(
  needs("checkPorts() is not affected by an earlier call that has thrown", "IPv6"),
  async () => {
    await using server = serve({ hostname: "127.0.0.1", port: Array(50).fill(0) });
    const greeted = server.addrs.map(({ port }) => port);
    for (let i = 0; i < 5; i++) {
      await assertRejects(
        () => Array.fromAsync(check({ hostname: "fe80::1", greeted: [1, 2, 3, 4, 5] })),
        ConnectError,
      );
      const results = await Array.fromAsync(check({ hostname: "127.0.0.1", greeted }));
      assertEquals(results.map(({ state }) => state), Array(50).fill("greeted"));
    }
  },
);

Deno.test("checkPorts() has a result for a port that was greeted, and none for others, if it is aborted", async () => {
  let isHalfClosed = false;
  await using greeting = await startServer((socket) => {
    socket.resume().on("end", () => isHalfClosed = true);
    socket.write("220 ready\r\n");
  }, { allowHalfOpen: true });
  await using silent = await startServer((socket) => socket.resume());
  const stop = new AbortController();
  const greeted = [silent.port, greeting.port];
  const options = { hostname: "127.0.0.1", greeted, expect: "ready", timeout: ENDLESS_MS, signal: stop.signal };
  const results = Array.fromAsync(check(options));
  await until(() => isHalfClosed); // the connection lingers
  stop.abort();
  const states = (await within(results)).map(({ state, remoteAddr }) => [remoteAddr.port, state]);
  assertEquals(states, [[greeting.port, "greeted"]]);
});

Deno.test("checkPorts() closes all connections at once when the consumer stops, throws, or aborts the signal", async () => {
  let open = 0;
  await using silent = await startServer((socket) => {
    open++;
    socket.resume().on("close", () => open--);
  });
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  const greeted = [silent.port, server.addr.port];
  const end: ((stop: AbortController) => boolean)[] = [
    () => true,
    () => {
      throw new Error("enough");
    },
    (stop) => {
      stop.abort();
      return false;
    },
  ];
  for (const each of end) {
    const stop = new AbortController();
    const consume = async () => {
      for await (
        const _ of timely(check({ hostname: "127.0.0.1", greeted, timeout: ENDLESS_MS, signal: stop.signal }))
      ) {
        await until(() => open === 1);
        if (each(stop)) break;
      }
    };
    await within(consume().catch(() => {}));
    await until(() => open === 0);
  }
});

Deno.test("checkPorts() does not start probes faster than a late event loop can finish them", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: Array(1000).fill(0) });
  let connecting = 0;
  let most = 0;
  const connect = (options: Deno.ConnectOptions) => {
    most = Math.max(most, ++connecting);
    return Deno.connect(options).finally(() => connecting--);
  };
  // Each turn of the event loop takes longer than a probe counts as active by time alone.
  const blocking = setInterval(() => block(50), 0);
  try {
    const results = await Array.fromAsync(
      check({ greeted: server.addrs.map(({ port }) => port), [CONNECT]: connect }),
    );
    assertEquals(results.filter(({ state }) => state === "greeted").length, 1000);
    assert(most < 200, `${most} probes were connecting at once`);
  } finally {
    clearInterval(blocking);
  }
});

Deno.test("checkPorts() starts no probe after its consumer has stopped", async () => {
  let connections = 0;
  await using server = serve({
    hostname: "127.0.0.1",
    port: Array(20).fill(0),
    onConnection: () => connections++,
  });
  const greeted = server.addrs.map(({ port }) => port);
  for await (const _ of timely(check({ hostname: "127.0.0.1", greeted, concurrency: 2 }))) break;
  await delay(100);
  assert(connections <= 5, `${connections}`);
});

Deno.test(needs("checkPorts() has ended every attempt to connect when its iteration ends", "Linux"), async () => {
  // The kernel drops a SYN when the accept queue is full.
  using full = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
  const conns = await Promise.all([1, 2].map(() => Deno.connect({ hostname: "127.0.0.1", port: full.addr.port })));
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  let pending = 0;
  const connect = (options: Deno.ConnectOptions) => {
    pending++;
    return Deno.connect(options).finally(() => pending--);
  };
  const greeted = [full.addr.port, server.addr.port];
  for await (const _ of timely(check({ greeted, timeout: ENDLESS_MS, [CONNECT]: connect }))) {
    assertEquals(pending, 1);
    break;
  }
  assertEquals(pending, 0);
  for (const conn of conns) conn.close();
});

Deno.test("checkPorts() has ended every control when its iteration ends", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  const stop = new AbortController();
  let controls = 0;
  let pending = 0;
  const connect = async (options: Deno.ConnectOptions) => {
    if (options.port !== server.addr.port || ++controls === 1) return await Deno.connect(options);
    pending++;
    stop.abort();
    await delay(50); // as if the connection had been made just before
    pending--;
    return await Deno.connect({ port: options.port });
  };
  const options = { greeted: server.addr.port, blocked: freePorts(40), signal: stop.signal, [CONNECT]: connect };
  await within(Array.fromAsync(check(options)));
  assertEquals([controls, pending], [2, 0]);
});
