/**
 * Tests of `greeter connect`.
 *
 * @module
 */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createServer, type Socket } from "node:net";
import { DEFAULTS, serve } from "../../server.ts";
import { inNamespace } from "../helpers/namespaces.ts";
import { hasIPv6, needs } from "../helpers/needs.ts";
import { freePort } from "../helpers/ports.ts";
import { DENO_RUN, GREETER, MAIN, run, spawn, withoutWarning } from "../helpers/processes.ts";
import { DEADLINE_MS, until, within } from "../helpers/waiting.ts";

const CONNECT = [...GREETER, "connect"];
const LINE = String.raw`"Thank you for connecting to the server.\r\n"`;
const HINT = "(content not checked; see --expect)";

/** Runs greeter. */
async function runGreeter(command: string[]) {
  const { code, stdout, stderr } = await run(command);
  return { code, stdout, stderr: withoutWarning(stderr) };
}

Deno.test("greeter connect prints a line for each range of ports, and exits 1 if a port was not greeted", async () => {
  await using server = serve({
    hostname: "127.0.0.1",
    port: [0, 0],
    greeting: ({ localAddr }) => localAddr.port === server.addr.port ? "first\r\n" : DEFAULTS.greeting,
  });
  const [first = 0, second = 0] = server.addrs.map(({ port }) => port);
  const refused = freePort();
  const ports = `${second},${refused},${first}`;
  const { code, stdout, stderr } = await runGreeter([...CONNECT, "localhost", "-4", "-p", ports]);
  assertEquals([code, stderr], [1, ""]);
  const [address, ...lines] = stdout.split("\n");
  assertEquals(address, "localhost is 127.0.0.1");
  const expected = [
    [first, `${first}  greeted  "first\\r\\n"`],
    [second, `${second}  greeted  ${LINE}`],
    [refused, `${refused}  refused  expected greeted`],
  ] as const;
  assertEquals(lines.slice(0, 3), expected.toSorted(([a], [b]) => a - b).map(([, line]) => line));
  const totals = lines[3]?.replace(/\d+\.\ds/, "TIME");
  assertEquals(totals, `2 of 3 ports as expected ${HINT} in TIME; not: ${refused}`);
  assertEquals(lines.slice(4), [""]);
});

Deno.test("greeter connect exits 0 if the greeting of every port contains the --expect text", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0, greeting: ({ localAddr }) => `<${localAddr.port}>` });
  const { port } = server.addr;
  const greeted = await run([...CONNECT, "127.0.0.1", "-p", `${port}`, "-e", "<{port}>"]);
  assertEquals([greeted.code, greeted.stderr], [0, ""]);
  assertMatch(greeted.stdout, new RegExp(`^${port}  greeted  "<${port}>"\n1 of 1 port as expected in \\d\\.\\ds\n$`));
  const mismatch = await run([...CONNECT, "127.0.0.1", "-p", `${port}`, "-e", "<{port}>>"]);
  assertEquals(mismatch.code, 1);
  assertEquals(mismatch.stdout.split("\n")[0], `${port}  mismatch  "<${port}>"  expected "<${port}>>"`);
  assertMatch(mismatch.stdout, new RegExp(`\n0 of 1 port as expected in \\d\\.\\ds; not: ${port}\n$`));
});

Deno.test("greeter connect --json prints a row for each port and a summary", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  const ports = [server.addr.port, freePort()];
  const { code, stdout } = await run([...CONNECT, "localhost", "-4", "--json", "-p", `${ports}`]);
  assertEquals(code, 1);
  const rows = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(rows.map(({ event_type }) => event_type), ["probe", "probe", "summary"]);
  const states = rows.slice(0, 2).map(({ dest_port, state, payload_printable }) => [
    dest_port,
    state,
    payload_printable,
  ]);
  assertEquals(new Map(states.map(([port, ...rest]) => [port, rest])).get(ports[0]), ["greeted", DEFAULTS.greeting]);
  const { host, addresses, ok, not_ok, greeted, refused, interrupted } = rows[2];
  assertEquals([host, addresses, ok, not_ok], ["localhost", ["127.0.0.1"], 1, `${ports[1]}`]);
  assertEquals([greeted, refused, interrupted], [1, 1, false]);
});

Deno.test("greeter connect --quiet prints nothing", async () => {
  const result = await run([...CONNECT, "127.0.0.1", "-q", "-p", `${freePort()}`]);
  assertEquals(result, { code: 1, signal: null, stdout: "", stderr: "" });
});

Deno.test("greeter connect exits 2 with one line for an error that is not a result", async () => {
  const cases = [
    [["nope.invalid"], `cannot connect: unknown host "nope.invalid"; check the name`],
    [["127.0.0.1", "-6"], `cannot connect: "127.0.0.1" has no IPv6 address; check the host, or omit --ipv6`],
    [["fe80::1%nope"], `cannot connect: unknown network interface in "fe80::1%nope"; `],
    ...hasIPv6() ? [[["fe80::1"], `cannot connect: "fe80::1" needs a zone; `] as const] : [],
  ] as const;
  for (const [args, message] of cases) {
    const { code, stdout, stderr } = await runGreeter([...CONNECT, ...args]);
    assertEquals([code, stdout, stderr.trimEnd().split("\n").length], [2, "", 1]);
    assertStringIncludes(stderr, `greeter: ${message}`);
  }
});

Deno.test(
  needs("greeter connect requires the network permission", "deno run"),
  async () => {
    const { code, stderr } = await run([...DENO_RUN, MAIN, "connect", "127.0.0.1"]);
    assertEquals([code, stderr], [
      2,
      "greeter: cannot connect: Deno has no network permission; run it with --allow-net\n",
    ]);
  },
);

Deno.test(
  needs("greeter connect exits 2 if its output cannot be written, unless the reader is gone", "/dev/full", "sh"),
  async () => {
    const command = [...CONNECT, "localhost", "-p", `${freePort()}`];
    const full = await runGreeter(["sh", "-c", `exec "$@" > /dev/full`, "sh", ...command]);
    assertEquals([full.code, full.stderr.split("\n").length], [2, 2]);
    assertMatch(full.stderr, /^greeter: cannot write to standard output: No space left on device/);
    const gone = await runGreeter(["sh", "-c", `{ "$@"; echo $? >&2; } | true`, "sh", ...command]);
    assertEquals(gone.stderr, "1\n");
    // The first row cannot be written, so there is no use in waiting for the other port.
    await using server = serve({ hostname: "127.0.0.1", port: 0 });
    const waiting = [...command, "-p", `${server.addr.port}`, "--json", "--within", "600"];
    const ended = await runGreeter(["sh", "-c", `exec "$@" > /dev/full`, "sh", ...waiting]);
    assertEquals(ended.code, 2);
  },
);

Deno.test("greeter connect escapes a greeting that forges a result line or contains control characters", async () => {
  const forged = `x\r\n22  greeted  "SSH"\n\u001b[2J\u001b]0;title\u0007`;
  await using server = serve({ hostname: "127.0.0.1", port: 0, greeting: forged });
  const { stdout } = await run([...CONNECT, "127.0.0.1", "-p", `${server.addr.port}`]);
  assertMatch(stdout, /^[ -~\n]*$/);
  assertEquals(stdout.split("\n").length, 3);
  assertStringIncludes(stdout, String.raw`"x\r\n22  greeted  \x22SSH\x22\n\x1b[2J\x1b]0;title\x07"`);
});

Deno.test("greeter connect --within waits for a server that is not up yet", async () => {
  const port = freePort();
  await using client = spawn([...CONNECT, "127.0.0.1", "-p", `${port}`, "--within", "600", "--json"]);
  await using _server = spawn([...GREETER, "-H", "127.0.0.1", "-p", `${port}`, "--count", "1"]);
  const { code } = await client.ended;
  assertEquals(code, 0);
  const [first = "", ...rest] = client.output.stdout.trimEnd().split("\n");
  assertEquals([JSON.parse(first).state, rest.length], ["greeted", 1]);
});

/** Starts a server on the loopback interface that accepts connections, but sends nothing. */
async function startSilent() {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => sockets.add(socket));
  return {
    port: typeof address === "object" ? address?.port : undefined,
    connected: () => within(new Promise<void>((resolve) => server.once("connection", () => resolve()))),
    [Symbol.dispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

Deno.test(
  needs("greeter connect prints the known results at the first signal, and exits 130 or 143", "signals"),
  async () => {
    await using server = serve({ hostname: "127.0.0.1", port: 0 });
    using silent = await startSilent();
    const command = [...CONNECT, "127.0.0.1", "-t", "600", "-p", `${server.addr.port},${silent.port}`];
    for (const [signal, status, options] of [["SIGINT", 130, ["--json"]], ["SIGTERM", 143, []]] as const) {
      const connected = silent.connected();
      await using client = spawn([...command, ...options]);
      await connected;
      if (status === 130) await until(() => client.output.stdout.includes("\n"));
      client.child.kill(signal);
      assertEquals([(await client.ended).code, client.output.stderr], [status, ""]);
      const last = client.output.stdout.trimEnd().split("\n").at(-1) ?? "";
      if (status === 143) {
        assertMatch(last, /^[01] of 2 ports as expected .* in .*; interrupted; [12] ports? without a result$/);
      } else assertEquals([JSON.parse(last).interrupted, JSON.parse(last).greeted], [true, 1]);
    }
  },
);

Deno.test(needs("greeter connect checks every port even if descriptors run out", "sh"), async () => {
  await using server = serve({ hostname: "127.0.0.1", port: Array(500).fill(0) });
  const ports = server.addrs.map(({ port }) => port).join(",");
  const limited = ["sh", "-c", `ulimit -n 64; exec "$@"`, "sh", ...CONNECT];
  const options = ["-p", ports, "--concurrency", "400", "-e", "Thank you", "-t", "60"];
  const { code, stdout, stderr } = await run([...limited, "127.0.0.1", ...options]);
  assertEquals([code, stderr], [0, ""]);
  assertMatch(stdout, /\n500 of 500 ports as expected in/);
});

Deno.test(
  needs("greeter connect exits 2 if there is no descriptor for a single probe", "prlimit"),
  async () => {
    using silent = await startSilent();
    const connected = silent.connected();
    const ports = `${silent.port},${freePort()}`;
    await using client = spawn([...CONNECT, "127.0.0.1", "-p", ports, "--concurrency", "1", "-t", "4"]);
    await connected;
    assertEquals((await run(["prlimit", "--pid", `${client.child.pid}`, "--nofile=1"])).code, 0);
    assertEquals((await client.ended).code, 2);
    // Deno itself may have printed a warning first.
    assertMatch(
      client.output.stderr,
      /(^|\n)greeter: cannot connect: too many open files; raise the limit with ulimit -n 1024\n$/,
    );
  },
);

Deno.test(needs("greeter connect finds thousands of open ports with 4,096 probes at once", "sh"), async () => {
  // As many ports as this machine's limit on descriptors and the ports below its ephemeral ports allow.
  const { stdout: limit } = await run(["sh", "-c", "ulimit -Hn"]);
  const count = Math.min(14_000, (Number(limit) || 20_000) - 1000);
  const list = `10000-${10_000 + count - 1}`;
  await using greeter = spawn([...GREETER, "-H", "127.0.0.1", "-p", list, "--skip-taken", "--json", "-t", "600"]);
  await until(() => greeter.output.stdout.includes("\n"));
  const { ports } = JSON.parse(greeter.output.stdout.split("\n")[0] ?? "");
  const options = ["--concurrency", "4096", "--timeout", "60", "--expect", "Thank you"];
  const { code, stdout } = await run([...CONNECT, "127.0.0.1", "-p", ports, ...options]);
  assertEquals(code, 0, stdout);
  greeter.child.kill("SIGTERM");
  await greeter.ended;
  const rows = greeter.output.stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  const closeReasons = rows.filter(({ event_type }) => event_type === "closed").map(({ close_reason }) => close_reason);
  // On a busy machine, the client may be so late that the server has to evict connections that it has greeted.
  assertEquals(new Set(closeReasons.filter((reason) => reason !== "evicted")), new Set(["closed"]));
});

const emptyNetwork = inNamespace("");

Deno.test(needs("greeter connect checks all 65,535 ports", emptyNetwork), async () => {
  // In a network of its own, only this server listens: on as many ports as the limit of descriptors allows.
  const { stdout: limit } = await run(["sh", "-c", "ulimit -Hn"]);
  const last = Math.min(14_000, (Number(limit) || 20_000) - 1000);
  const script = `
    "$@" -H 127.0.0.1 -p 1-${last} -q &
    "$@" connect 127.0.0.1 -p 1 -w 60 -q
    "$@" connect 127.0.0.1 -p-
    kill $!`;
  const command = [...emptyNetwork.command, "sh", "-c", script, "sh", ...GREETER];
  const { stdout } = await run(command, {}, 3 * DEADLINE_MS);
  assertEquals(stdout.split("\n").slice(0, 2).map((line) => line.replace(/ {2,}/g, " ")), [
    `1-${last} greeted ${LINE}`,
    `${last + 1}-65535 refused expected greeted`,
  ]);
  assertMatch(stdout, new RegExp(`\n${last} of 65535 ports as expected `));
});

Deno.test(needs("greeter connect shows its progress on a terminal, and erases it", "script"), async () => {
  const [port, refused] = [freePort(), freePort()];
  const command = [...CONNECT, "127.0.0.1", "-p", `${port},${refused}`, "-w", "1.5", "-t", "1"];
  const quoted = command.map((word) => `'${word}'`).join(" ");
  await using _server = serve({ hostname: "127.0.0.1", port });
  const { stdout } = await run(["script", "-qec", quoted, "/dev/null"], { env: { NO_COLOR: "" } });
  const shown = stdout.replaceAll("\u001b", "ESC");
  assertStringIncludes(shown, `\rESC[Kwaiting for port ${refused} to greet`);
  const result = shown.split("\rESC[K").at(-1) ?? "";
  assertStringIncludes(result, `${port}  ESC[32mgreetedESC[39m  ESC[2m"Thank you`);
  assertStringIncludes(result, `${refused}  ESC[31mrefusedESC[39m  ESC[2mexpected greetedESC[22m\r\n`);
  assertMatch(result, /1 of 2 ports as expected/);
});

// Real firewall rules and routes, in a separate network namespace. No packet leaves it.
const firewall = inNamespace(`
  for port in 7001 8001; do iptables -A INPUT -p tcp --dport $port -j DROP; done
  iptables -A INPUT -p tcp --dport 7002 -j REJECT --reject-with tcp-reset
  iptables -A INPUT -p tcp --dport 7003 -j REJECT --reject-with icmp-port-unreachable
  iptables -A INPUT -p tcp --dport 7004 -j REJECT --reject-with icmp-host-unreachable
  iptables -A INPUT -p tcp --dport 7005 -j REJECT --reject-with icmp-admin-prohibited
  iptables -A INPUT -p tcp --dport 7006 -j REJECT --reject-with icmp-proto-unreachable
  ip route add prohibit 203.0.113.1
  ip route add blackhole 203.0.113.2
`);

Deno.test(needs("greeter connect reports what a firewall does with each port", firewall, "iptables"), async () => {
  const script = `
    "$@" -H 127.0.0.1 -p 7000-7006 -q &
    "$@" connect 127.0.0.1 -p 7000 -w 60 -q
    "$@" connect 127.0.0.1 -p 7000-7006 -t 2
    "$@" connect 203.0.113.1 -p 80
    "$@" connect 203.0.113.2 -p 80
    "$@" connect 198.51.100.1 -p 80
    kill $!`;
  const { stdout, stderr } = await run([...firewall.command, "sh", "-c", script, "sh", ...GREETER]);
  const totals = (ok: number, ports: string, not: string) =>
    `${ok} of ${ports} as expected ${HINT} in TIME; not: ${not}`;
  assertEquals(stdout.replaceAll(/ in \d\.\ds/gm, " in TIME").trimEnd().split("\n"), [
    `7000       greeted      ${LINE}`,
    "7001       timeout      expected greeted",
    "7002-7003  refused      expected greeted",
    "7004-7005  unreachable  No route to host  expected greeted",
    "7006       unreachable  Protocol not available  expected greeted",
    totals(1, "7 ports", "7001-7006"),
    "80  unreachable  Permission denied  expected greeted",
    totals(0, "1 port", "80"),
    "80  unreachable  Invalid argument  expected greeted",
    totals(0, "1 port", "80"),
    "80  unreachable  Network is unreachable  expected greeted",
    totals(0, "1 port", "80"),
  ]);
  assertEquals(stderr, "");
});

// Every second port that the system chooses for a socket is one of the closed ports.
const fewLocalPorts = inNamespace(`echo 40000 40003 > /proc/sys/net/ipv4/ip_local_port_range`);

Deno.test(needs("greeter connect is not connected to itself on a closed local port", fewLocalPorts), async () => {
  const script = `for i in 1 2 3 4 5; do "$@" connect 127.0.0.1 -p 40000-40003 -t 0.5; done; true`;
  const { stdout } = await run([...fewLocalPorts.command, "sh", "-c", script, "sh", ...GREETER]);
  assertEquals(stdout.match(/^\d.* expected greeted$/gm), Array(5).fill("40000-40003  refused  expected greeted"));
});

const linkLocal = inNamespace(`
  ip link add greeter0 type veth peer name greeter1
  ip address add fe80::1/64 dev greeter0 nodad
  ip link set greeter0 up
  ip link set greeter1 up
`);

Deno.test(
  needs("greeter connect goes on if descriptors for looking up a zone run out", linkLocal, "IPv6"),
  async () => {
    // Nobody has the address, so each probe holds its descriptor until its timeout.
    const script = `ulimit -n 64; "$@" connect fe80::2%greeter0 -p 1-100 -t 0.5`;
    const { stdout } = await run([...linkLocal.command, "sh", "-c", script, "sh", ...GREETER]);
    assertStringIncludes(stdout, "1-100  timeout  expected greeted\n0 of 100 ports as expected");
  },
);

Deno.test(
  needs("greeter connect prints its results if the terminal of its progress line is gone", "script", "setsid"),
  async () => {
    const file = await Deno.makeTempFile();
    // Other tests may use the system's free ports meanwhile.
    const command = [...CONNECT, "127.0.0.1", "-p", "1", "-w", "6"].map((word) => `'${word}'`).join(" ");
    // The terminal is closed when the shell ends, after the line has been shown.
    const script = `setsid ${command} > ${file} & until [ -e ${file}.shown ]; do sleep 0.02; done`;
    await using terminal = spawn(["script", "-qec", script, "/dev/null"]);
    await until(() => terminal.output.stdout.includes("waiting for port 1 to greet"));
    await Deno.writeTextFile(`${file}.shown`, "");
    await terminal.ended;
    await until(async () => (await Deno.readTextFile(file)).includes("0 of 1 port as expected"));
    for (const each of [file, `${file}.shown`]) await Deno.remove(each);
  },
);
