import { assert, assertEquals, assertRejects } from "@std/assert";
import { getEventListeners } from "node:events";
import type { CheckOptions, PassProgress, ProbeResult } from "../client.ts";
import { MAX_GREETING_BYTES, serve } from "../server.ts";
import { check, type CheckArguments } from "../tests/helpers/check.ts";
import { isLinux } from "../tests/helpers/needs.ts";
import { freePort } from "../tests/helpers/ports.ts";
import { startServer } from "../tests/helpers/servers.ts";
import { delay, ENDLESS_MS, sometimes, timely, until, within } from "../tests/helpers/waiting.ts";

/** A result in short. */
function rowOf({ expected, state, ok }: ProbeResult): string {
  return `${expected} ${state} ${ok}`;
}

/** A state of a check in which it is ended. */
interface Phase {
  /** What to check. One of the ports greets at once. */
  options: CheckArguments;
  /** Resolves when the check is in this phase. */
  reached: Promise<unknown>;
  /** The results of the ports that are known in this phase, apart from the one that greets. */
  known: string[];
}

/** Starts servers, which are closed at the end of the test, and returns what to check. */
type StartPhase = (stack: AsyncDisposableStack) => Promise<Phase>;

const WAIT = { timeout: ENDLESS_MS, within: ENDLESS_MS };

/** Starts a server that greets its first `greeted` connections, and then is silent. */
async function startSilentServer(stack: AsyncDisposableStack, greeted = 0) {
  const { promise: reached, resolve } = Promise.withResolvers<void>();
  const server = stack.use(
    await startServer((socket) => {
      socket.resume();
      if (greeted-- > 0) socket.end("220 ready\r\n");
      else resolve();
    }),
  );
  return { port: server.port, reached };
}

/** Starts a server that closes connections, but greets the first `greeted` ones. */
async function startClosingServer(stack: AsyncDisposableStack, greeted = 0) {
  return stack.use(await startServer((socket) => socket.end(greeted-- > 0 ? "220 ready\r\n" : "")));
}

/** Returns options that note when an attempt has this result for the nth time. */
function untilAttempt(row: string, count = 1): Pick<CheckOptions, "onAttempt"> & { reached: Promise<void> } {
  const { promise: reached, resolve } = Promise.withResolvers<void>();
  const onAttempt = (result: ProbeResult) => {
    if (rowOf(result) === row && --count === 0) resolve();
  };
  return { onAttempt, reached };
}

async function startGreetingServer(stack: AsyncDisposableStack): Promise<number> {
  return (await startSilentServer(stack, Infinity)).port;
}

const PHASES: Record<string, StartPhase> = {
  "a server has not greeted yet": async (stack) => {
    const { port, reached } = await startSilentServer(stack);
    return { options: { ...WAIT, greeted: [await startGreetingServer(stack), port] }, reached, known: [] };
  },
  "an open port is observed": async (stack) => {
    const { port, reached } = await startSilentServer(stack);
    return { options: { ...WAIT, greeted: await startGreetingServer(stack), open: port }, reached, known: [] };
  },
  "it pauses before the next attempt": async (stack) => {
    const { onAttempt, reached } = untilAttempt("greeted refused false");
    const greeted = [await startGreetingServer(stack), freePort()];
    return { options: { ...WAIT, greeted, onAttempt }, reached, known: ["greeted refused false"] };
  },
  "it tries a port again": async (stack) => {
    const { promise: reached, resolve } = Promise.withResolvers<void>();
    let connections = 0;
    const server = stack.use(
      await startServer((socket) => {
        if (++connections === 1) socket.end();
        else resolve();
      }),
    );
    const greeted = [await startGreetingServer(stack), server.port];
    return { options: { ...WAIT, greeted }, reached, known: ["greeted closed false"] };
  },
  "a blocked port is observed": async (stack) => {
    const { port: blocked, reached } = await startSilentServer(stack);
    return { options: { ...WAIT, greeted: await startGreetingServer(stack), blocked }, reached, known: [] };
  },
  "it waits until it may try the next blocked port": async (stack) => {
    const { onAttempt, reached } = untilAttempt("blocked closed false");
    const blocked = [(await startClosingServer(stack)).port, freePort()];
    const greeted = await startGreetingServer(stack);
    return { options: { ...WAIT, greeted, blocked, onAttempt }, reached, known: ["blocked closed false"] };
  },
  "it pauses before the next pass": async (stack) => {
    const { promise: reached, resolve } = Promise.withResolvers<void>();
    const onPass = ({ pause }: PassProgress) => {
      if (pause !== undefined) resolve();
    };
    const blocked = [(await startClosingServer(stack)).port, freePort()];
    const greeted = await startGreetingServer(stack);
    return {
      options: { ...WAIT, greeted, blocked, onPass },
      reached,
      known: ["blocked closed false", "blocked refused null"],
    };
  },
  "a control lingers": async (stack) => {
    const { promise: reached, resolve } = Promise.withResolvers<void>();
    let connections = 0;
    const server = stack.use(
      await startServer((socket) => {
        socket.resume();
        if (++connections === 1) socket.end("220 ready\r\n");
        // The client half-closes the connection when it has the greeting.
        else socket.on("end", resolve).write("220 ready\r\n");
      }, { allowHalfOpen: true }),
    );
    const options = { ...WAIT, greeted: server.port, blocked: freePort() };
    return { options, reached, known: ["blocked refused null"] };
  },
  "a control is not answered": async (stack) => {
    const { port: greeted, reached } = await startSilentServer(stack, 1);
    return { options: { ...WAIT, greeted, blocked: freePort() }, reached, known: ["blocked refused null"] };
  },
  "a control has failed": async (stack) => {
    const { onAttempt, reached } = untilAttempt("greeted closed false", 2);
    const { port: greeted } = await startClosingServer(stack, 1);
    return {
      options: { ...WAIT, greeted, blocked: freePort(), onAttempt },
      reached,
      known: ["blocked refused null"],
    };
  },
};

if (isLinux) {
  PHASES["a port is not answered"] = async (stack) => {
    // The kernel drops a SYN when the accept queue is full.
    const listener = stack.use(Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 }));
    const { port } = listener.addr;
    for (let i = 0; i < 2; i++) stack.use(await Deno.connect({ hostname: "127.0.0.1", port }));
    const { onAttempt, reached } = untilAttempt("greeted greeted true");
    return { options: { ...WAIT, greeted: [await startGreetingServer(stack), port], onAttempt }, reached, known: [] };
  };
}

for (const [name, start] of Object.entries(PHASES)) {
  Deno.test(`checkPorts() yields what is known and leaves nothing behind if it is aborted while ${name}`, async () => {
    await using stack = new AsyncDisposableStack();
    const { options, reached, known } = await start(stack);
    const stop = new AbortController();
    const rows: string[] = [];
    let hasEnded = false;
    const onAttempt = (result: ProbeResult) => {
      assert(!hasEnded, "an attempt was reported at the end");
      options.onAttempt?.(result);
    };
    const consume = async () => {
      for await (const result of check({ hostname: "127.0.0.1", ...options, onAttempt, signal: stop.signal })) {
        rows.push(rowOf(result));
        if (rows.length > 1) continue;
        await within(reached);
        assertEquals(getEventListeners(stop.signal, "abort").length, 1);
        stop.abort();
      }
    };
    await within(consume());
    hasEnded = true;
    assertEquals(rows[0], "greeted greeted true");
    assertEquals(rows.slice(1).toSorted(), known);
    assertEquals(getEventListeners(stop.signal, "abort"), []);
  });

  Deno.test(`checkPorts() leaves nothing behind if its consumer stops or throws while ${name}`, async () => {
    for (const error of [undefined, new Error("enough")]) {
      await using stack = new AsyncDisposableStack();
      const { options, reached } = await start(stack);
      const { signal } = new AbortController();
      const consume = async () => {
        for await (const result of check({ hostname: "127.0.0.1", ...options, signal })) {
          assertEquals(rowOf(result), "greeted greeted true");
          await within(reached);
          if (error) throw error;
          break;
        }
      };
      const thrown = await within(consume().catch((error) => error));
      assertEquals([thrown, getEventListeners(signal, "abort")], [error, []]);
    }
  });
}

Deno.test("checkPorts() has a result for a port that must be blocked and has greeted if it is aborted while it lingers", async () => {
  const stop = new AbortController();
  await using server = await startServer((socket) => {
    // The client half-closes the connection when it has the greeting.
    socket.resume().on("end", () => stop.abort());
    socket.write("220 ready\r\n");
  }, { allowHalfOpen: true });
  const options = { hostname: "127.0.0.1", blocked: server.port, signal: stop.signal, ...WAIT };
  const results = await within(Array.fromAsync(check(options)));
  assertEquals(results.map(rowOf), ["blocked greeted false"]);
});

Deno.test("checkPorts() does not wait for the next lookup of another host when a function has thrown", async () => {
  // The lookup fails without a query, because a label has at most 63 characters.
  const hostname = ["127.0.0.1", `${"x".repeat(64)}.invalid`];
  const isInTime = async () => {
    const started = performance.now();
    let thrown = 0;
    const onAttempt = () => {
      const now = performance.now();
      // Between two lookups, which follow each other after a second: one that is running would be left behind.
      const sinceLookup = (now - started) % 1000;
      if (sinceLookup < 200 || sinceLookup > 700) return;
      thrown = now;
      throw new Error("no result");
    };
    const results = Array.fromAsync(check({ hostname, greeted: freePort(), onAttempt, ...WAIT }));
    await assertRejects(() => within(results), Error, "no result");
    return performance.now() - thrown < 250; // the next lookup is at least 300 ms away
  };
  assert(await sometimes(isInTime));
});

Deno.test("checkPorts() yields nothing and calls no function if its signal has been aborted before", async () => {
  const calls: string[] = [];
  const options = {
    hostname: ["127.0.0.1", "localhost", "::1"],
    greeted: freePort(),
    blocked: freePort(),
    signal: AbortSignal.abort(),
    onLookup: (host: string) => calls.push(host),
    onAttempt: (result: ProbeResult) => calls.push(rowOf(result)),
    expect: () => {
      calls.push("expect");
      return undefined;
    },
  };
  assertEquals([await within(Array.fromAsync(check(options))), calls], [[], []]);
});

Deno.test("checkPorts() yields known results to a consumer that has not read them when the signal is aborted", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: [0, 0, 0, 0, 0] });
  const greeted = server.addrs.map(({ port }) => port);
  const stop = new AbortController();
  let attempts = 0;
  const onAttempt = () => attempts++;
  const results = check({ hostname: "127.0.0.1", greeted, concurrency: 2, onAttempt, signal: stop.signal });
  await within(results.next());
  await until(() => attempts >= 3);
  stop.abort();
  const { length } = await within(Array.fromAsync(results));
  // One was read before. Two or three could be known, and no other was started.
  assert(length >= 2 && length < 4 && length === attempts - 1, `${length} of ${attempts}`);
});

Deno.test("checkPorts() throws what onAttempt throws, after any kind of attempt", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  const options = { greeted: server.addr.port, blocked: freePort(), ...WAIT };
  // The third attempt is a control.
  for (const [count, known] of [[1, []], [2, ["greeted greeted true"]], [3, ["greeted greeted true"]]] as const) {
    let attempts = 0;
    const onAttempt = () => {
      if (++attempts === count) throw new Error(`attempt ${count}`);
    };
    const rows: string[] = [];
    await assertRejects(
      async () => {
        for await (const result of timely(check({ hostname: "127.0.0.1", ...options, onAttempt }))) {
          rows.push(rowOf(result));
        }
      },
      Error,
      `attempt ${count}`,
    );
    assertEquals([rows.filter((row) => row.startsWith("greeted")), attempts], [known, count]);
    assert(!rows.includes("blocked refused true"), "the blocked port was judged");
  }
});

Deno.test("checkPorts() throws what onLookup throws", async () => {
  const onLookup = () => {
    throw new Error("no lookup");
  };
  await assertRejects(
    () => within(Array.fromAsync(check({ hostname: "127.0.0.1", greeted: freePort(), onLookup, ...WAIT }))),
    Error,
    "no lookup",
  );
});

Deno.test("checkPorts() ends at once when onLookup throws while another host is checked", async () => {
  const hostname = ["127.0.0.1", "::1"];
  const onLookup = (host: string) => {
    if (host === "::1") throw new Error("no lookup");
  };
  const results = check({ hostname, greeted: freePort(), onLookup, ...WAIT });
  await assertRejects(() => within(Array.fromAsync(results)), Error, "no lookup");
});

Deno.test("checkPorts() throws what `expect` or `send` throws, in the first attempt and in later ones", async () => {
  for (const name of ["expect", "send"] as const) {
    for (const count of [1, 3]) {
      let calls = 0;
      const text = () => {
        if (++calls === count) throw new Error(`no text to ${name}`);
        return "text";
      };
      const options = { hostname: "127.0.0.1", greeted: freePort(), [name]: text, ...WAIT };
      const rows: string[] = [];
      await assertRejects(
        async () => {
          for await (const result of timely(check(options))) rows.push(rowOf(result));
        },
        Error,
        `no text to ${name}`,
      );
      assertEquals(rows, count === 1 ? [] : ["greeted refused false"]);
    }
  }
});

Deno.test("checkPorts() leaves no timer if its consumer stops while a probe lingers that is not as expected", async () => {
  let greet = () => {};
  await using expected = await startServer((socket) => {
    socket.resume();
    greet = () => socket.end("hi");
  });
  // A greeting of this length is complete. The probe half-closes the connection, and then lingers.
  await using other = await startServer((socket) => {
    socket.resume().on("end", () => greet());
    socket.write("x".repeat(MAX_GREETING_BYTES));
  }, { allowHalfOpen: true });
  const greeted = [expected.port, other.port];
  for await (const { ok } of timely(check({ greeted, expect: "hi", ...WAIT }))) {
    assertEquals(ok, true);
    break;
  }
});

Deno.test("checkPorts() tries no port again while as many results as `concurrency` have not been read", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: [0, 0, 0] });
  const later = freePort();
  let attempts = 0;
  const onAttempt = ({ remoteAddr }: ProbeResult) => {
    if (remoteAddr.port === later) attempts++;
  };
  const greeted = [later, ...server.addrs.map(({ port }) => port)];
  const results = check({ hostname: "127.0.0.1", greeted, concurrency: 1, onAttempt, ...WAIT });
  await within(results.next());
  // The result of the second port is known soon. The pause of the refused port ends after 100 ms.
  await delay(500);
  assertEquals(attempts, 1);
  await within(results.next());
  await within(results.next());
  await until(() => attempts === 2);
  await within(results.return());
});
