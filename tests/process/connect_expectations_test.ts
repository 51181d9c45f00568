/**
 * Tests of what `greeter connect` says about ports that must greet, must be open, or must be blocked.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { serve } from "../../server.ts";
import { isRefused } from "../helpers/clients.ts";
import { inNamespace } from "../helpers/namespaces.ts";
import { needs } from "../helpers/needs.ts";
import { freePort, freePorts } from "../helpers/ports.ts";
import { DENO_RUN, GREETER, MAIN, run, spawn, withoutWarning } from "../helpers/processes.ts";
import { startServer } from "../helpers/servers.ts";
import { until } from "../helpers/waiting.ts";

const CONNECT = [...GREETER, "connect"];

/** A timeout for servers that say nothing, which is long enough for those that do. */
const TIMEOUT = ["-t", "1.5"];

/** What the last line says if a blocked port is refused, and the server does not announce its ports. */
const REFUSED_HINT = "refused may mean that nothing listens; use --announce on the server, and -p here";

/** Runs greeter connect, and returns its lines with `TIME` instead of how long it took. */
async function connect(...args: string[]) {
  const { code, stdout, stderr } = await run([...CONNECT, ...args]);
  const lines = stdout.replaceAll(/ in \d+\.\ds/g, " in TIME").trimEnd().split("\n");
  return { code, lines, stderr: withoutWarning(stderr) };
}

/** Runs greeter connect with --json, and returns its rows. */
async function connectJson(...args: string[]) {
  const { code, lines, stderr } = await connect("--json", ...args);
  const rows: Record<string, unknown>[] = lines.filter((line) => line !== "").map((line) => JSON.parse(line));
  const isProbe = ({ event_type }: Record<string, unknown>) => event_type === "probe";
  return { code, stderr, probes: rows.filter(isProbe), summaries: rows.filter((row) => !isProbe(row)) };
}

/** Starts a server of each kind, and returns its port. */
async function startServers(stack: AsyncDisposableStack) {
  const start = async (...args: Parameters<typeof startServer>) => stack.use(await startServer(...args)).port;
  return {
    greeter: stack.use(serve({ hostname: "127.0.0.1", port: 0 })).addr.port,
    ssh: await start((socket) => socket.write("SSH-2.0-OpenSSH_9.9\r\n")),
    smtp: await start((socket) => socket.write("220 mail.example ESMTP\r\n")),
    http: await start((socket) => socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\n\r\n"))),
    // What a proxy does whose backend is down, at once or after a short time.
    closes: await start((socket) => socket.end()),
    closesLater: await start((socket) => setTimeout(() => socket.end(), 10)),
    resets: await start((socket) => socket.resetAndDestroy()),
    resetsLater: await start((socket) => setTimeout(() => socket.resetAndDestroy(), 10)),
    refuses: freePort(),
  };
}

Deno.test("greeter connect judges each kind of server by what is expected of it", async () => {
  await using stack = new AsyncDisposableStack();
  const servers = await startServers(stack);
  const ports = `${Object.values(servers)}`;
  const request = String.raw`GET / HTTP/1.0\r\n\r\n`;
  const columns = [["-p", ports], ["-p", ports, "-s", request], ["-o", ports], ["-b", ports]];
  // One after the other, so that the servers are not kept from running.
  const runs = [];
  for (const args of columns) runs.push(await connectJson("127.0.0.1", ...TIMEOUT, ...args));
  const table: Record<keyof typeof servers, string[]> = {
    //       -p               -p with --send   -o              -b
    greeter: ["greeted true", "greeted true", "open true", "greeted false"],
    ssh: ["greeted true", "greeted true", "open true", "greeted false"],
    smtp: ["greeted true", "greeted true", "open true", "greeted false"],
    http: ["silent false", "greeted true", "open true", "open false"],
    closes: ["closed false", "* false", "closed false", "closed false"],
    closesLater: ["closed false", "* false", "closed false", "closed false"],
    resets: ["reset false", "* false", "reset false", "reset false"],
    resetsLater: ["reset false", "* false", "reset false", "reset false"],
    refuses: ["refused false", "refused false", "refused false", "refused true"],
  };
  for (const [kind, port] of Object.entries(servers)) {
    const judgments = runs.map(({ probes }) => {
      const { state, ok } = probes.find(({ dest_port }) => dest_port === port) ?? {};
      return `${state} ${ok}`;
    });
    const expected = Object.entries(table).find(([name]) => name === kind)?.[1] ?? [];
    // A server that closes without reading what was sent resets the connection. After a reset, the system reports the error
    // only once: if sending gets it, reading finds that the connection is closed.
    const shown = judgments.map((text, i) => expected[i]?.startsWith("* ") ? text.replace(/closed|reset/, "*") : text);
    assertEquals(shown, expected, kind);
  }
  assertEquals(runs.map(({ code, stderr }) => [code, stderr]), Array(4).fill([1, ""]));
  assertEquals(runs.map(({ summaries: [summary] }) => [summary?.ok, summary?.not_judged]), [
    [3, ""],
    [4, ""],
    [4, ""],
    [1, ""],
  ]);
  // A server that says nothing is open 0.1 s after connecting, not after the timeout.
  const { duration_ms } = runs[2]?.probes.find(({ dest_port }) => dest_port === servers.http) ?? {};
  assert(Number(duration_ms) > 20 && Number(duration_ms) < 1400, `${duration_ms} ms`);
});

Deno.test("greeter connect exits 0 if ports of all expectations are as expected", async () => {
  await using stack = new AsyncDisposableStack();
  const { ssh, http, refuses } = await startServers(stack);
  const args = ["127.0.0.1", "-p", `${ssh}=SSH`, "-o", `${http}`, "-b", `${refuses}`];
  const { code, lines, stderr } = await connect(...args);
  assertEquals([code, stderr], [0, ""]);
  const expected = [
    [ssh, String.raw`${ssh}  greeted  "SSH-2.0-OpenSSH_9.9\r\n"`],
    [http, `${http}  open`],
    [refuses, `${refuses}  refused`],
  ] as const;
  assertEquals(lines, [
    ...expected.toSorted(([a], [b]) => a - b).map(([, line]) => line),
    `3 of 3 ports as expected in TIME; ${REFUSED_HINT}`,
  ]);
  const { summaries: [summary] } = await connectJson(...args);
  assertEquals([summary?.ok, summary?.not_ok, summary?.not_judged, summary?.control], [3, "", "", true]);
});

Deno.test("greeter connect exits 1 if a port that must be blocked is open, and says what was expected", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  await using http = await startServer(() => {});
  const { code, lines } = await connect("127.0.0.1", "-p", `${server.addr.port}=Thank`, "-b", `${http.port}`);
  assertEquals(code, 1);
  assert(lines.includes(`${http.port}  open     expected blocked`), lines.join("\n"));
  assertEquals(lines.at(-1), `1 of 2 ports as expected in TIME; not: ${http.port}`);
});

Deno.test("greeter connect shows the ports that are left of a range of -b", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: freePort(), greeting: "hi" });
  const { port } = server.addr;
  const args = ["127.0.0.1", "-o", `${port}`, "-b", `${port}-${port},1`];
  const { code, lines } = await connect(...args);
  assertEquals([code, lines], [0, [
    "must be blocked: 1",
    `1      refused`,
    `${port}  open`,
    `2 of 2 ports as expected in TIME; ${REFUSED_HINT}`,
  ]]);
  const { probes, summaries } = await connectJson(...args);
  assertEquals(probes.map(({ dest_port, expected }) => [dest_port, expected]), [[port, "open"], [1, "blocked"]]);
  assertEquals(summaries[0]?.ports, `1,${port}`);
});

Deno.test("greeter connect judges no blocked port while a port that must be open is not", async () => {
  const [required, blocked] = freePorts(2);
  const args = ["127.0.0.1", "-o", `${required}`, "-b", `${blocked}`];
  const { code, lines } = await connect(...args);
  assertEquals(code, 1);
  assert(lines.includes(`${required}  refused  expected open`), lines.join("\n"));
  assert(lines.includes(`${blocked}  refused  not judged: first fix the ports that failed`), lines.join("\n"));
  assertEquals(lines.at(-1), `0 of 2 ports as expected in TIME; not: ${required}; not judged: ${blocked}`);
  const { probes, summaries: [summary] } = await connectJson(...args);
  assertEquals(probes.map(({ ok, reason }) => [ok, reason]), [[false, undefined], [null, "required_failed"]]);
  assertEquals([summary?.ok, summary?.not_ok, summary?.not_judged], [0, `${required}`, `${blocked}`]);
});

Deno.test("greeter connect says that only blocked ports prove little", async () => {
  const port = freePort();
  const { code, lines } = await connect("127.0.0.1", "-b", `${port}`);
  assertEquals([code, lines], [0, [
    `${port}  refused`,
    "1 of 1 port as expected in TIME; the host may be down or limit connections; " +
    "add a port that must be open with --open",
  ]]);
  const { summaries: [summary] } = await connectJson("127.0.0.1", "-b", `${port}`);
  assertEquals([summary?.ok, summary?.control], [1, false]);
});

Deno.test("greeter connect does not take ports for blocked if the host could not be reached afterwards", async () => {
  for (const options of [[], ["--json"]]) {
    let connections = 0;
    await using once = await startServer((socket) => connections++ === 0 ? socket.write("hi\n") : socket.end());
    const blocked = freePort();
    const error =
      `not proven: port ${once.port} failed when checked again (closed); check the host, or use another port with -p or -o`;
    const { code, lines } = await connect("127.0.0.1", "-p", `${once.port}`, "-b", `${blocked}`, ...options);
    assertEquals([code, connections > 1], [1, true]);
    if (options.length === 0) {
      assert(lines.includes(`${blocked}  refused  ${error}`), lines.join("\n"));
      assert(lines.at(-1)?.endsWith(`; not: ${blocked}`), lines.at(-1));
    } else {
      const row = JSON.parse(lines[1] ?? "");
      assertEquals([row.dest_port, row.state, row.ok], [blocked, "refused", false]);
      assertEquals([row.error, row.reason], [error, "control_failed"]);
    }
  }
});

Deno.test("greeter connect --expect shows the first of several greetings that match, and says that others differ", async () => {
  // Neighboring ports.
  let first = freePort();
  while (!await isRefused(first + 1)) first = freePort();
  await using stack = new AsyncDisposableStack();
  for (const port of [first, first + 1]) {
    stack.use(serve({ hostname: "127.0.0.1", port, greeting: ({ localAddr }) => `port ${localAddr.port}\n` }));
  }
  const ports = `${first}-${first + 1}`;
  const { code, lines } = await connect("127.0.0.1", "-p", ports, "-e", "port {port}");
  assertEquals([code, lines], [0, [
    String.raw`${ports}  greeted  "port ${first}\n" (and others)`,
    "2 of 2 ports as expected in TIME",
  ]]);
});

Deno.test("greeter connect groups the results of several hosts, in the order of the command line", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0, greeting: "hi\n" });
  const { port } = server.addr;
  const blocked = freePort();
  const args = ["localhost", "127.0.0.1", "-4", "-p", `${port}`, "-b", `${blocked}`];
  const { code, lines, stderr } = await connect(...args);
  const group = [[port, String.raw`${port}  greeted  "hi\n"`], [blocked, `${blocked}  refused`]] as const;
  const results = group.toSorted(([a], [b]) => a - b).map(([, line]) => line);
  assertEquals([code, stderr, lines], [0, "", [
    "localhost is 127.0.0.1",
    ...results,
    "127.0.0.1",
    ...results,
    `4 of 4 ports as expected (content not checked; see --expect) in TIME; ${REFUSED_HINT}`,
  ]]);
  const { probes, summaries } = await connectJson(...args);
  assertEquals(probes.map(({ host }) => host).sort(), ["127.0.0.1", "127.0.0.1", "localhost", "localhost"]);
  assertEquals(summaries.map(({ host, addresses, ok }) => [host, addresses, ok]), [
    ["localhost", ["127.0.0.1"], 2],
    ["127.0.0.1", ["127.0.0.1"], 2],
  ]);
  const failed = await connect("127.0.0.1", "localhost", "-4", "-o", `${blocked}`);
  assertEquals(failed.code, 1);
  assertEquals(failed.lines.at(-1), `0 of 2 ports as expected in TIME; not: 127.0.0.1:${blocked},localhost:${blocked}`);
});

Deno.test("greeter connect checks the other hosts if a name is unknown, prints their results, and exits 2", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0, greeting: "hi\n" });
  const { port } = server.addr;
  const message = 'greeter: cannot connect: unknown host "nope.invalid"; check the name\n';
  const args = ["nope.invalid", "127.0.0.1", "-p", `${port}=hi`];
  const { code, lines, stderr } = await connect(...args);
  assertEquals([code, stderr, lines], [2, message, [
    "127.0.0.1",
    String.raw`${port}  greeted  "hi\n"`,
    "1 of 2 ports as expected in TIME; 1 port without a result",
  ]]);
  const json = await connectJson(...args);
  assertEquals([json.code, json.stderr, json.probes.length], [2, message, 1]);
  assertEquals(json.summaries.map(({ event_type, host, error }) => [event_type, host, error]), [
    ["error", "nope.invalid", 'cannot connect: unknown host "nope.invalid"; check the name'],
    ["summary", "127.0.0.1", undefined],
  ]);
});

Deno.test("greeter connect takes no error for a blocked port: unknown host", async () => {
  for (const option of ["-p", "-o", "-b"]) {
    const { code, lines, stderr } = await connect("nope.invalid", option, "80");
    assertEquals([code, lines], [2, [""]]);
    assertEquals(stderr, 'greeter: cannot connect: unknown host "nope.invalid"; check the name\n');
  }
});

Deno.test(
  needs("greeter connect takes no error for a blocked port: no permission", "deno run"),
  async () => {
    for (const option of ["-p", "-o", "-b"]) {
      const { code, stdout, stderr } = await run([...DENO_RUN, MAIN, "connect", "127.0.0.1", option, "80"]);
      assertEquals([code, stdout], [2, ""]);
      assertEquals(stderr, "greeter: cannot connect: Deno has no network permission; run it with --allow-net\n");
    }
  },
);

Deno.test(needs("greeter connect takes no error for a blocked port: no descriptor", "prlimit"), async () => {
  await using silent = await startServer(() => {});
  const args = ["127.0.0.1", "-p", `${silent.port}`, "-b", `${freePort()}`, "-t", "4"];
  await using client = spawn([...CONNECT, ...args]);
  await until(() => silent.connections() === 1);
  assertEquals((await run(["prlimit", "--pid", `${client.child.pid}`, "--nofile=1"])).code, 0);
  assertEquals((await client.ended).code, 2);
  assertStringIncludes(client.output.stderr, "greeter: cannot connect: too many open files; ");
  assertMatch(client.output.stdout, /0 of 2 ports as expected .*; 1 port without a result; .*\n$/);
});

const noRoute = inNamespace("ip route add prohibit 203.0.113.1");

Deno.test(needs("greeter connect takes a missing route for no blocked port", noRoute), async () => {
  const script = `
    "$@" connect 198.51.100.1 -b 80 || echo $?
    "$@" connect 198.51.100.1 -o 22 -b 80 || echo $?
    "$@" connect 203.0.113.1 -b 80 || echo $?`;
  const { stdout, stderr } = await run([...noRoute.command, "sh", "-c", script, "sh", ...GREETER]);
  const message =
    'greeter: cannot connect: this machine or a router has no route to "198.51.100.1"; nothing is proven\n';
  const denied =
    'greeter: cannot connect: this machine does not permit connections to "203.0.113.1"; nothing is proven\n';
  assertEquals(stderr, message + message + denied);
  assertEquals(stdout.replaceAll(/ in \d\.\ds/g, "").split("\n"), [
    "2",
    "22  unreachable  Network is unreachable  expected open",
    "0 of 2 ports as expected; not: 22; 1 port without a result",
    "2",
    "2",
    "",
  ]);
});

Deno.test(needs("greeter connect prints what is known after a signal during a pause", "signals"), async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  const blocked = freePort();
  for (const [signal, status, options] of [["SIGINT", 130, ["--json"]], ["SIGTERM", 143, []]] as const) {
    await using closing = await startServer((socket) => socket.end());
    const args = ["-p", `${server.addr.port},${closing.port}`, "-b", `${blocked}`, "-w", "600"];
    await using client = spawn([...CONNECT, "127.0.0.1", ...args, ...options]);
    // The next pause takes at least 0.2 s.
    await until(() => closing.connections() > 2);
    client.child.kill(signal);
    assertEquals([(await client.ended).code, client.output.stderr], [status, ""]);
    const lines = client.output.stdout.trimEnd().split("\n");
    if (options.length === 0) {
      assert(lines.includes(`${closing.port}  closed   expected greeted`), client.output.stdout);
      assertMatch(lines.at(-1) ?? "", new RegExp(`; not: ${closing.port}; interrupted; 1 port without a result$`));
      assertEquals(lines.length, 3);
    } else {
      const rows = lines.map((line) => JSON.parse(line));
      assertEquals(rows.map(({ state, ok, interrupted }) => [state, ok, interrupted]), [
        ["greeted", true, undefined],
        ["closed", false, undefined],
        [undefined, 1, true],
      ]);
    }
  }
});

Deno.test("greeter connect says every 10 s on standard error what it does, unless --quiet is set", async () => {
  await using silent = await startServer(() => {});
  const [port, waiting] = [freePort(), ["-w", "600"]];
  await using text = spawn([...CONNECT, "127.0.0.1", "-p", `${port}`, ...waiting]);
  await using json = spawn([...CONNECT, "127.0.0.1", "-o", `${port}`, ...waiting, "--json"]);
  await using quiet = spawn([...CONNECT, "127.0.0.1", "-p", `${port}`, ...waiting, "--quiet"]);
  await using once = spawn([...CONNECT, "127.0.0.1", "-p", `${silent.port}`, "-t", "600"]);
  // Without --within, only a pass over blocked ports can take long.
  await using pass = spawn([...CONNECT, "127.0.0.1", "-b", `${freePorts(3)}`, "--rate", "0.1"]);
  const started = performance.now();
  await until(() => [text, json, pass].every(({ output }) => output.stderr.includes("\n")));
  assert(performance.now() - started > 2000);
  assertEquals([text, json, quiet, once].map(({ output }) => output.stderr), [
    `greeter: waiting for port ${port} to greet\n`,
    `greeter: waiting for port ${port} to be open\n`,
    "",
    "",
  ]);
  assertMatch(pass.output.stderr, /^greeter: pass 1 over the blocked ports: [12] connections? left\n$/);
  assertEquals([text, json, pass].map(({ output }) => output.stdout), ["", "", ""]);
});
