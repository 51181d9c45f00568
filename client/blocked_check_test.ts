import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { fc } from "../tests/deps.ts";
import {
  type BlockedState,
  type Check,
  type CheckOptions,
  checkPorts,
  type PassProgress,
  type ProbeResult,
} from "../client.ts";
import { serve } from "../server.ts";
import { formatAnnouncement } from "../shared/announcement.ts";
import { needs } from "../tests/helpers/needs.ts";
import { freePort, freePorts } from "../tests/helpers/ports.ts";
import { startServer } from "../tests/helpers/servers.ts";
import { delay, ENDLESS_MS, within } from "../tests/helpers/waiting.ts";
import { pauseAfter } from "./blocked_check.ts";
import { toRequiredPort } from "./host_controls.ts";

const hostname = "127.0.0.1";

/** Checks ports of 127.0.0.1. Returns the results of those that must be blocked, sorted by port. */
async function blockedResults(check: Omit<Check, "hostname">, options: CheckOptions = {}): Promise<ProbeResult[]> {
  const results = await within(Array.fromAsync(checkPorts({ hostname, ...check }, options)));
  const blocked = results.filter(({ expected }) => expected === "blocked");
  return blocked.toSorted((a, b) => a.remoteAddr.port - b.remoteAddr.port);
}

/** When passes begin, in milliseconds after the first one, if each takes `duration` and none is proven. */
function passesWithin(within: number, duration: number): number[] {
  const starts = [0];
  for (let now = duration;; now += duration) {
    const pause = pauseAfter(starts.length, within - now);
    if (pause === undefined) return starts;
    now += pause;
    starts.push(now);
  }
}

Deno.test("pauseAfter() repeats passes 3, 6 and then 7 s after each other", () => {
  assertEquals(passesWithin(0, 0), [0]);
  assertEquals(passesWithin(40_000, 0), [0, 3000, 9000, 16_000, 23_000, 30_000, 37_000]);
  assertEquals(passesWithin(40_000, 1500), [0, 4500, 12_000, 20_500, 29_000, 37_500]);
});

Deno.test("pauseAfter() shortens the first pauses, so that the last of few passes begins at the end of the time", () => {
  assertEquals(passesWithin(1, 0), [0, 1]);
  assertEquals(passesWithin(8000, 0), [0, 3000, 8000]);
  assertEquals(passesWithin(13_000, 1000), [0, 4000, 11_000, 13_000]);
  assertEquals(passesWithin(17_000, 0), [0, 3000, 9000, 16_000]);
  assertEquals(passesWithin(5000, 6000), [0]);
});

Deno.test("pauseAfter() lets no more than 5 passes begin in 30 s, however long `within` and a pass are", () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 200_000 }), fc.integer({ min: 0, max: 5000 }), (within, duration) => {
    const starts = passesWithin(within, duration);
    for (const [i, start] of starts.entries()) {
      // The sixth one after this one.
      assert((starts[i + 5] ?? Infinity) - start >= 30_000, `${starts}`);
    }
    assert((starts.at(-1) ?? 0) <= within || starts.length === 1);
  }));
});

Deno.test("toRequiredPort() keeps the lists that a greeting announces, but not the greeting", async () => {
  await using server = await startServer((socket) => socket.end(`hi\r\n${formatAnnouncement([80, 81])}`));
  const [result] = await within(Array.fromAsync(checkPorts({ hostname, greeted: server.port })));
  assert(result && result.greeting.length > 0);
  const required = toRequiredPort({ result, started: 1, connectMs: 2, cause: undefined });
  assertEquals(required.result, { ...result, greeting: new Uint8Array() });
  assertEquals([required.started, required.connectMs], [1, 2]);
  assertEquals(required.announced.map((ports) => [...ports]), [[80, 81]]);
});

Deno.test("checkPorts() makes passes until a port is blocked, and says how long before it was reachable", async () => {
  const server = serve({ hostname, port: freePort() });
  await using other = serve({ hostname, port: 0 });
  const reached: number[] = [];
  const onAttempt = ({ expected, ok }: ProbeResult) => {
    if (expected !== "blocked" || ok) return;
    reached.push(performance.now());
    server.shutdown();
  };
  const pauses = new Map<number, number | undefined>();
  const onPass = ({ pass, pause }: PassProgress) => pauses.set(pass, pause);
  const blocked = server.addr.port;
  const options = { within: ENDLESS_MS, onAttempt, onPass };
  const [result] = await blockedResults({ greeted: other.addr.port, blocked }, options);
  const sinceReached = performance.now() - (reached[0] ?? 0);
  assertEquals([result?.state, result?.ok, result?.reason, reached.length], ["refused", true, undefined, 1]);
  assertEquals([...pauses], [[1, 3000], [2, undefined]]);
  // The second pass begins 3 s after the end of the first one. Timers can be early by a tick of 10 ms.
  const before = result?.reachableBefore ?? 0;
  assert(before > 2980 && before <= sinceReached, `${before} of ${sinceReached}`);
  await server.shutdown();
});

Deno.test("checkPorts() reports how many connections of a pass are left", async () => {
  await using server = serve({ hostname, port: [0, 0] });
  const [control = 0, open = 0] = server.addrs.map(({ port }) => port);
  const progress: PassProgress[] = [];
  const onPass = (each: PassProgress) => progress.push(each);
  await blockedResults({ greeted: control, blocked: [open, freePort()] }, { onPass });
  const last = progress.at(-1);
  assertEquals([progress[0]?.left, last?.left], [2, undefined]);
  assertEquals([last?.host, last?.pass, last?.pause, last?.notTested], [hostname, 1, undefined, []]);
  assert(last && last.duration >= 990, `${last?.duration}`);
});

Deno.test("checkPorts() reads the announcement of a server, even if it follows the expected text in another packet", async () => {
  const blocked = freePorts(2).toSorted((a, b) => a - b);
  const [first = 0, second = 0] = blocked;
  const cases: [announced: number[][], expected: (string | boolean | null | undefined)[][]][] = [
    [[[first, second]], [[true, undefined, true], [true, undefined, true]]],
    [[[first]], [[true, undefined, true], [false, "not_listening", false]]],
    // It has to be in each list.
    [[[first, second], [second]], [[false, "not_listening", false], [true, undefined, true]]],
    [[], [[true, undefined, null], [true, undefined, null]]],
  ];
  await Promise.all(cases.map(async ([announced, expected]) => {
    await using server = await startServer(async (socket) => {
      socket.write("220 ready\r\n");
      await delay(30);
      socket.end(announced.map(formatAnnouncement).join(""));
    });
    const results = await blockedResults({ greeted: server.port, expect: "ready", blocked });
    assertEquals(results.map(({ ok, reason, listening }) => [ok, reason, listening]), expected);
    for (const { error, reason } of results) {
      assertEquals(error, reason && "not proven: the server does not listen on it");
    }
  }));
});

Deno.test("checkPorts() lets a blocked port pass only in the state in `blockedState`", async () => {
  const ports = freePorts(2).toSorted((a, b) => a - b);
  const [first = 0, second = 0] = ports;
  await using server = serve({ hostname, port: 0 });
  const hosts: string[] = [];
  const states: Check["blockedState"][] = [
    "refused",
    "timeout",
    ({ host, port }) => {
      hosts.push(host);
      return port === first ? "unreachable" : undefined;
    },
  ];
  const rows = await Promise.all(states.map(async (blockedState) => {
    const results = await blockedResults({ greeted: server.addr.port, blocked: [first, second], blockedState });
    return results.map(({ state, ok, reason }) => `${state} ${ok} ${reason}`);
  }));
  const [passed, failed] = ["refused true undefined", "refused false other_state"];
  assertEquals(rows, [[passed, passed], [failed, failed], [failed, passed]]);
  assertEquals(new Set(hosts), new Set([hostname]));
});

Deno.test("checkPorts() throws what `blockedState` throws, or a RangeError if it returns another state", async () => {
  const blockedState = (): BlockedState => {
    throw new Error("no state");
  };
  await assertRejects(() => blockedResults({ blocked: freePort(), blockedState }), Error, "no state");
  const invalid = () => JSON.parse('"open"');
  const message = "blockedState: expected refused, timeout, unreachable, not open";
  await assertRejects(() => blockedResults({ blocked: freePort(), blockedState: invalid }), RangeError, message);
});

/** Starts a server whose nth connection is greeted, from 1, unless its number is in `failed`. Then it is closed. */
function startFailingServer(isFailed: (n: number) => boolean) {
  let connections = 0;
  return startServer((socket) => socket.end(isFailed(++connections) ? "" : "220 ready\r\n"));
}

Deno.test("checkPorts() tries a port again in the same pass if a control failed, and passes it when none does", async () => {
  await using server = await startFailingServer((n) => n === 2);
  let attempts = 0;
  const onAttempt = ({ expected }: ProbeResult) => {
    if (expected === "blocked") attempts++;
  };
  const passes = new Set<number>();
  const onPass = ({ pass }: PassProgress) => passes.add(pass);
  const [result] = await blockedResults({ greeted: server.port, blocked: freePort() }, { onAttempt, onPass });
  assertEquals([result?.ok, result?.reason, [...passes]], [true, undefined, [1]]);
  // Twice at first, and once more 2 s later. On a busy machine, that may be too early.
  assert(attempts >= 3 && attempts <= 5, `${attempts}`);
});

Deno.test("checkPorts() does not let a blocked port pass if the last control fails, with a message that says how", async () => {
  await using server = await startFailingServer((n) => n > 1);
  const [result] = await blockedResults({ greeted: server.port, blocked: freePort() });
  assertEquals([result?.state, result?.ok, result?.reason, result?.error], [
    "refused",
    false,
    "control_failed",
    `not proven: port ${server.port} failed when checked again (closed)`,
  ]);
});

Deno.test("checkPorts() says which connection to a control was refused, and counts the check of that port", async () => {
  const listener = Deno.listen({ hostname, port: 0 });
  const { port: greeted } = listener.addr;
  const greetOnce = async () => {
    using conn = await listener.accept();
    listener.close();
    await conn.write(new TextEncoder().encode("220 ready\r\n"));
    await conn.closeWrite();
    await conn.read(new Uint8Array(1));
  };
  const [[result]] = await Promise.all([blockedResults({ greeted, blocked: freePort() }), greetOnce()]);
  assertEquals([result?.state, result?.ok, result?.reason], ["refused", false, "control_refused"]);
  assertMatch(`${result?.error}`, new RegExp(`^not proven: port ${greeted} refused the 2nd connection in \\ds$`));
});

Deno.test("checkPorts() uses ports that must be open as controls only if none must greet", async () => {
  await using greeting = await startFailingServer(() => false);
  await using open = await startFailingServer(() => false);
  await blockedResults({ greeted: greeting.port, open: open.port, blocked: freePort() });
  assert(greeting.connections() >= 3, `${greeting.connections()}`);
  assertEquals(open.connections(), 1);
  await blockedResults({ open: open.port, blocked: freePort() });
  assert(open.connections() >= 4, `${open.connections()}`);
});

Deno.test("checkPorts() gives the reason for blocked ports that are not judged", async () => {
  const [result] = await blockedResults({ greeted: freePort(), blocked: freePort() });
  assertEquals([result?.ok, result?.reason, result?.error], [null, "required_failed", undefined]);
});

Deno.test("checkPorts() starts connections to blocked ports evenly, 4 a second if there are few", async () => {
  const starts = new Map<number, number>();
  const onAttempt = ({ remoteAddr: { port }, duration }: ProbeResult) => {
    if (!starts.has(port)) starts.set(port, performance.now() - duration);
  };
  await blockedResults({ blocked: freePorts(3) }, { onAttempt });
  const [first = 0, second = 0, third = 0] = [...starts.values()];
  // A start may be late by a tick, and the next one is not.
  assert(second - first >= 200 && third - first >= 450, `${second - first}, ${third - first}`);
});

Deno.test("checkPorts() starts connections at `rate`, also to ports that need not be blocked", async () => {
  const startsOf = async (check: Omit<Check, "hostname">, rate: number) => {
    const starts: number[] = [];
    // A port that is refused has its result at once.
    const onAttempt = ({ duration }: ProbeResult) => starts.push(performance.now() - duration);
    await within(Array.fromAsync(checkPorts({ hostname, ...check }, { rate, onAttempt })));
    return starts.map((start) => start - (starts[0] ?? 0));
  };
  const [required, blocked] = await Promise.all([
    startsOf({ greeted: freePorts(2), open: freePort() }, 5),
    startsOf({ blocked: freePorts(2) }, 1),
  ]);
  // A start may be late by a tick, and the next one is not.
  assert((required[2] ?? 0) >= 350, `${required}`);
  assert((blocked[1] ?? 0) >= 950, `${blocked}`);
});

Deno.test("checkPorts() confirms with `within` that many ports are blocked at one moment, also after that time", async () => {
  await using server = serve({ hostname, port: 0 });
  const blocked = freePorts(9);
  for (const [within, attempts] of [[0, 1], [1, 2]] as const) {
    const tried: number[] = [];
    const onAttempt = ({ expected, remoteAddr: { port } }: ProbeResult) => {
      if (expected === "blocked") tried.push(port);
    };
    // The port that must greet takes longer than 1 ms, so the pass begins when the time is over.
    await blockedResults({ greeted: server.addr.port, blocked }, { within, onAttempt });
    assertEquals(tried.filter((port) => port === blocked[0]).length, attempts);
  }
});

Deno.test("checkPorts() yields a blocked port that was reached before it throws the error of a later pass", async () => {
  await using server = serve({ hostname, port: [0, 0] });
  const [greeted, blocked] = server.addrs.map(({ port }) => port);
  const onPass = ({ pass }: PassProgress) => {
    if (pass === 2) throw new Error("second pass");
  };
  const states: unknown[] = [];
  const results = checkPorts({ hostname, greeted, blocked }, { within: ENDLESS_MS, onPass });
  await assertRejects(
    async () => {
      for await (const { expected, state, ok } of results) states.push([expected, state, ok]);
    },
    Error,
    "second pass",
  );
  assertEquals(states, [["greeted", "greeted", true], ["blocked", "greeted", false]]);
});

Deno.test(
  needs("checkPorts() tries no more blocked ports of any host after a function of its caller has thrown", "Linux"),
  async () => {
    await using server = serve({ hostname: "0.0.0.0", port: 0 });
    const { port: greeted } = server.addr;
    const hosts = ["127.0.0.1", "127.0.0.2"];
    let late = 0;
    let hasThrown = false;
    const onAttempt = ({ host, expected }: ProbeResult) => {
      if (expected !== "blocked") return;
      if (hasThrown) late++;
      if (host === hosts[1]) return;
      hasThrown = true;
      throw new Error("from onAttempt");
    };
    // The pass of the other host takes more than 4 s.
    const checks = [{ hostname: hosts[0] ?? "", greeted, blocked: freePort() }, {
      hostname: hosts[1] ?? "",
      greeted,
      blocked: freePorts(100),
    }];
    await assertRejects(() => within(Array.fromAsync(checkPorts(checks, { onAttempt }))), Error, "from onAttempt");
    assert(late <= 2, `${late}`); // those that were running
  },
);
