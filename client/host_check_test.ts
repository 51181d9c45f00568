import { assert, assertEquals, assertRejects } from "@std/assert";
import { checkPorts, ConnectError, type Expectation, NO_IPV6, type PassProgress, type ProbeResult } from "../client.ts";
import { serve } from "../server.ts";
import { check, type CheckArguments } from "../tests/helpers/check.ts";
import { needs } from "../tests/helpers/needs.ts";
import { freePort } from "../tests/helpers/ports.ts";
import { startServer } from "../tests/helpers/servers.ts";
import { ENDLESS_MS, timely, within } from "../tests/helpers/waiting.ts";

/** Checks ports on the loopback interface. */
function resultsOf(options: CheckArguments): Promise<ProbeResult[]> {
  return within(Array.fromAsync(check({ hostname: "127.0.0.1", ...options })));
}

/** A result in short. */
function rowOf({ expected, state, ok }: ProbeResult): string {
  return `${expected} ${state} ${ok}`;
}

/** For messages about a control that was refused. It may have been reset before. */
function withoutNumbers(text: string | undefined): string | undefined {
  return text?.replace(/the \d+\w\w connection in \d+s/, "the nth connection in ns");
}

/** The results in short, sorted: ports with the same expectation have no order. */
async function rowsOf(options: CheckArguments): Promise<string[]> {
  return (await resultsOf(options)).map(rowOf).toSorted();
}

/** A server that notes when it accepts a connection, and greets. */
function notingServer(name: Expectation, connections: string[], port: number | number[] = 0) {
  return serve({ hostname: "127.0.0.1", port, onConnection: () => connections.push(name) });
}

Deno.test("checkPorts() tries blocked ports after all others are as expected, and connects to one of these meanwhile and at the end", async () => {
  const connections: string[] = [];
  await using greeted = notingServer("greeted", connections, [0, 0]);
  await using blocked = notingServer("blocked", connections, [0, 0]);
  const later = freePort();
  let open: ReturnType<typeof serve> | undefined;
  // The open port is refused at first.
  const onAttempt = ({ state, expected }: ProbeResult) => {
    if (state === "refused" && expected === "open") open ??= notingServer("open", connections, later);
  };
  const rows = await rowsOf({
    greeted: greeted.addrs.map(({ port }) => port),
    open: later,
    blocked: blocked.addrs.map(({ port }) => port),
    within: 600,
    onAttempt,
  });
  assertEquals(rows, [
    "blocked greeted false",
    "blocked greeted false",
    "greeted greeted true",
    "greeted greeted true",
    "open open true",
  ]);
  assertEquals(connections.slice(0, 3), ["greeted", "greeted", "open"]);
  // A greeting says more than an open port.
  const [last, ...others] = connections.slice(3).reverse();
  assertEquals([last, new Set(others)], ["greeted", new Set(["blocked", "greeted"])]);
  assertEquals(others.filter((name) => name === "blocked").length, 2);
  await open?.shutdown();
});

Deno.test("checkPorts() yields the results of blocked ports only when they have been judged", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  const attempts: string[] = [];
  const rows: string[] = [];
  let attemptsAtBlocked = 0;
  const options = { hostname: "127.0.0.1", greeted: server.addr.port, blocked: freePort() };
  for await (const result of timely(check({ ...options, onAttempt: (result) => attempts.push(rowOf(result)) }))) {
    rows.push(rowOf(result));
    if (result.expected === "blocked") attemptsAtBlocked = attempts.length;
  }
  assertEquals(rows, ["greeted greeted true", "blocked refused true"]);
  const [first, ...others] = attempts;
  assertEquals([first, others.at(-1)], ["greeted greeted true", "greeted greeted true"]);
  assertEquals(others.filter((row) => row === "blocked refused true").length, 2);
  assertEquals(attemptsAtBlocked, attempts.length);
});

Deno.test("checkPorts() does not judge blocked ports that cannot be reached if another port is not as expected", async () => {
  await using silent = await startServer((socket) => socket.resume());
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  const attempts: string[] = [];
  const onAttempt = (result: ProbeResult) => attempts.push(rowOf(result));
  const options = { open: [silent.port, freePort()], blocked: [freePort(), server.addr.port], within: 200, onAttempt };
  assertEquals(await rowsOf(options), [
    "blocked greeted false",
    "blocked refused null",
    "open open true",
    "open refused false",
  ]);
  // They are tried in one pass, after all attempts at the other ports, and without controls.
  const pass = attempts.slice(attempts.findIndex((row) => row.startsWith("blocked")));
  assertEquals(new Set(pass), new Set(["blocked greeted false", "blocked refused true"]));
  assertEquals(pass.filter((row) => row === "blocked greeted false").length, 1);
  assertEquals(await rowsOf({ greeted: silent.port, blocked: freePort(), timeout: 1500 }), [
    "blocked refused null",
    "greeted silent false",
  ]);
});

Deno.test("checkPorts() judges blocked ports alone if no other port is given", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  const rows = await rowsOf({ blocked: [freePort(), server.addr.port] });
  assertEquals(rows, ["blocked greeted false", "blocked refused true"]);
});

Deno.test(needs("checkPorts() judges a blocked port that does not answer after one attempt", "Linux"), async () => {
  // The kernel drops a SYN when the accept queue is full.
  using full = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
  const { port: blocked } = full.addr;
  const conns = await Promise.all([1, 2].map(() => Deno.connect({ hostname: "127.0.0.1", port: blocked })));
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  const attempts: string[] = [];
  const onAttempt = (result: ProbeResult) => attempts.push(rowOf(result));
  const rows = await rowsOf({ open: server.addr.port, blocked, timeout: 1500, onAttempt });
  assertEquals(rows, ["blocked timeout true", "open open true"]);
  // Two controls are made meanwhile, and one at the end.
  assertEquals(attempts.toSorted(), ["blocked timeout true", ...Array(4).fill("open open true")]);
  assertEquals(attempts.at(-1), "open open true");
  for (const conn of conns) conn.close();
});

Deno.test("checkPorts() does not let a blocked port pass if the host is no longer up afterwards", async () => {
  for (const expectation of ["greeted", "open"] as const) {
    const server = serve({ hostname: "127.0.0.1", port: freePort() });
    await using other = serve({ hostname: "127.0.0.1", port: 0 });
    const { port } = server.addr;
    const onAttempt = () => void server.shutdown();
    const blocked = [freePort(), other.addr.port];
    const results = await resultsOf({ [expectation]: port, blocked, onAttempt });
    const rows = results.map((result) => withoutNumbers(`${rowOf(result)} ${result.error}`)).toSorted();
    assertEquals(rows, [
      "blocked greeted false undefined",
      `blocked refused false not proven: port ${port} refused the nth connection in ns`,
      `${expectation} ${expectation} true undefined`,
    ]);
    await server.shutdown();
  }
});

Deno.test("checkPorts() makes another pass if the host is up again", async () => {
  let server = serve({ hostname: "127.0.0.1", port: freePort() });
  const { port } = server.addr;
  const passes: [number, number][] = [];
  const onPass = ({ pass, left, pause }: PassProgress) => {
    if (left !== undefined || pause === undefined) return;
    passes.push([pass, pause]);
    server = serve({ hostname: "127.0.0.1", port });
  };
  let attempts = 0;
  const onAttempt = () => {
    if (++attempts === 1) server.shutdown();
  };
  const rows = await rowsOf({ greeted: port, blocked: freePort(), within: ENDLESS_MS, onAttempt, onPass });
  assertEquals(rows, ["blocked refused true", "greeted greeted true"]);
  assertEquals(passes, [[1, 3000]]);
  await server.shutdown();
});

Deno.test("checkPorts() fails blocked ports if the host is not up again within the time", async () => {
  const server = serve({ hostname: "127.0.0.1", port: freePort() });
  const { port } = server.addr;
  const started = performance.now();
  const results = await resultsOf({
    greeted: port,
    blocked: freePort(),
    within: 2000,
    onAttempt: () => void server.shutdown(),
  });
  const elapsed = performance.now() - started;
  assertEquals(results.map(rowOf), ["greeted greeted true", "blocked refused false"]);
  assertEquals(results[1]?.reason, "control_refused");
  assertEquals(withoutNumbers(results[1]?.error), `not proven: port ${port} refused the nth connection in ns`);
  assert(elapsed >= 2000, `${elapsed} ms`);
  await server.shutdown();
});

Deno.test(needs("checkPorts() checks the other hosts although no port of one can be probed", "IPv6"), async () => {
  const port = freePort();
  const hostname = ["fe80::1", "127.0.0.1"]; // the zone is missing
  const found: string[] = [];
  let server: ReturnType<typeof serve> | undefined;
  const onAttempt = () => server ??= serve({ hostname: "127.0.0.1", port });
  const error = await assertRejects(async () => {
    const ports = Array.from({ length: 100 }, (_, i) => i + 1);
    for await (
      const { host, state } of timely(check({ hostname, greeted: port, open: ports, within: 2000, onAttempt }))
    ) {
      if (state === "greeted") found.push(host);
    }
  }, ConnectError);
  assertEquals([error.hostname, found], ["fe80::1", ["127.0.0.1"]]);
  await server?.shutdown();
});

Deno.test("checkPorts() checks the same ports on several hosts, and checks a host once that is given twice", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  const options = { hostname: ["localhost", "127.0.0.1", "localhost"], greeted: server.addr.port, open: freePort() };
  const lookups: [string, string | undefined][] = [];
  const onLookup = (host: string, addresses: readonly string[]) => lookups.push([host, addresses[0]]);
  const results = await resultsOf({ ...options, onLookup });
  assertEquals(results.map((result) => `${result.host} ${rowOf(result)}`).toSorted(), [
    "127.0.0.1 greeted greeted true",
    "127.0.0.1 open refused false",
    "localhost greeted greeted true",
    "localhost open refused false",
  ]);
  assertEquals(lookups.toSorted(), [["127.0.0.1", "127.0.0.1"], ["localhost", "127.0.0.1"]]);
});

Deno.test(
  needs("checkPorts() judges the blocked ports of each host by itself", "Linux"),
  async () => {
    await using server = serve({ hostname: "127.0.0.2", port: freePort() });
    const options = { hostname: ["127.0.0.1", "127.0.0.2"], greeted: server.addr.port, blocked: freePort() };
    const results = await resultsOf(options);
    assertEquals(results.map((result) => `${result.host} ${rowOf(result)}`).toSorted(), [
      "127.0.0.1 blocked refused null",
      "127.0.0.1 greeted refused false",
      "127.0.0.2 blocked refused true",
      "127.0.0.2 greeted greeted true",
    ]);
  },
);

Deno.test("checkPorts() calls onLookup without addresses for an unknown host, and throws a ConnectError after the results of all others", async () => {
  await using slow = await startServer((socket) => setTimeout(() => socket.end("220 ready\r\n"), 300));
  const hosts: string[] = [];
  const looked: string[] = [];
  const error = await assertRejects(async () => {
    const hostname = ["nope.invalid", "127.0.0.1", "localhost"];
    const onLookup = (host: string, [first]: readonly string[]) => looked.push(`${host} ${first}`);
    for await (const { host, ok } of timely(check({ hostname, greeted: slow.port, blocked: freePort(), onLookup }))) {
      hosts.push(`${host} ${ok}`);
    }
  }, ConnectError);
  assertEquals([error.hostname, error.cause instanceof Error], ["nope.invalid", true]);
  assertEquals(hosts.toSorted(), ["127.0.0.1 true", "127.0.0.1 true", "localhost true", "localhost true"]);
  assertEquals(looked.toSorted(), ["127.0.0.1 127.0.0.1", "localhost 127.0.0.1", "nope.invalid undefined"]);
});

Deno.test("checkPorts() throws the error of the first host, with those of the others in the order of the hosts", async () => {
  const hostname = ["nope.invalid", "127.0.0.1", "127.0.0.2", "127.0.0.3"];
  // The lookup of the first host takes longer.
  const error = await assertRejects(() => resultsOf({ hostname, family: 6 }), ConnectError);
  assertEquals([error, ...error.others].map((each) => each.hostname), hostname);
  assertEquals([error, ...error.others].map(({ family }) => family), [6, 6, 6, 6]);
  assertEquals(error.others.flatMap(({ others }) => others), []);
  const checks = [{ hostname: "nope.invalid" }, { hostname: "127.0.0.1", family: 6 as const }];
  const other = await assertRejects(() => Array.fromAsync(checkPorts(checks)), ConnectError);
  assertEquals([other.cause === NO_IPV6, other.others.map(({ cause }) => cause)], [false, [NO_IPV6]]);
});

Deno.test(
  needs("checkPorts() throws what a function of its caller has thrown first, rather than the error of a host", "Linux"),
  async () => {
    await using silent = await startServer(() => {});
    const checks = [
      { hostname: "nope.invalid", greeted: 80 },
      { hostname: "127.0.0.1", greeted: silent.port }, // its attempt ends last
      { hostname: "127.0.0.2", greeted: freePort() },
    ];
    let attempts = 0;
    const onAttempt = () => {
      throw new Error(`from call ${++attempts}`);
    };
    await assertRejects(
      () => within(Array.fromAsync(checkPorts(checks, { timeout: 1000, onAttempt }))),
      Error,
      "from call 1",
    );
  },
);

Deno.test(
  needs("checkPorts() tries no port of any host again after a function of its caller has thrown", "Linux"),
  async () => {
    await using silent = await startServer(() => {});
    const port = freePort();
    let hasThrown = false;
    let late = 0;
    const checks = [{ hostname: "127.0.0.1", greeted: [silent.port, port] }, { hostname: "127.0.0.2", greeted: port }];
    const onAttempt = ({ host }: ProbeResult) => {
      if (hasThrown) late++;
      if (host === "127.0.0.2") return;
      hasThrown = true;
      throw new Error("from onAttempt");
    };
    // The probe of the silent server runs on until its timeout.
    const results = checkPorts(checks, { within: ENDLESS_MS, timeout: 2000, onAttempt });
    await assertRejects(() => within(Array.fromAsync(results)), Error, "from onAttempt");
    assert(late <= 2, `${late}`); // those that were running
  },
);

Deno.test("checkPorts() looks an unknown host up again until the time of `within` is over", async () => {
  const started = performance.now();
  await assertRejects(() => resultsOf({ hostname: "nope.invalid", within: 1500 }), ConnectError);
  const elapsed = performance.now() - started;
  assert(elapsed >= 1500, `${elapsed} ms`);
});
