/**
 * Tests of `greeter connect --within`. Each test runs in a network namespace of its own, with its own name server.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { testsInNamespace } from "../helpers/namespaces.ts";
import { delay, until, within } from "../helpers/waiting.ts";
import { startNameServer } from "../helpers/name_server.ts";
import {
  type ClientResult,
  linesOf,
  resultOf,
  rowsOf,
  runConnect,
  sh,
  startConnect,
  summaryOf,
  withNames,
} from "../helpers/network.ts";

/** Nobody has an address in 192.0.2.0/24 except for this machine, which has 192.0.2.1. */
const test = testsInNamespace(
  `${withNames("127.0.0.1 localhost")}
  ip link add greeter0 type veth peer name greeter1
  ip address add 192.0.2.1/24 dev greeter0
  ip link set greeter0 up
  ip link set greeter1 up
  iptables -L -n > /dev/null`,
  import.meta.filename ?? "",
  "iptables",
);

/** A server that keeps its connections open. */
interface Listener extends Disposable {
  /** Resolves when there has been a connection. */
  readonly connected: Promise<void>;
  /** Returns how many connections there have been. */
  count: () => number;
}

/**
 * Listens on a port. In the namespace of the test, no other program does. Calls `onConnection` for each connection, and
 * sends nothing itself.
 */
function listen(port: number, hostname = "0.0.0.0", onConnection?: (conn: Deno.Conn) => void): Listener {
  const listener = Deno.listen({ hostname, port });
  const { promise, resolve } = Promise.withResolvers<void>();
  const conns: Deno.Conn[] = [];
  (async () => {
    for await (const conn of listener) {
      conns.push(conn);
      resolve();
      onConnection?.(conn);
    }
  })();
  return {
    get connected() {
      return within(promise);
    },
    count: () => conns.length,
    [Symbol.dispose]() {
      listener.close();
      for (const conn of conns) conn.close();
    },
  };
}

/** The exit status and the lines, without how long before a port was reachable. */
function withoutSeconds(result: ClientResult): (number | string)[] {
  return linesOf(result).map((line) => typeof line === "string" ? line.replace(/reachable \d+s/, "reachable") : line);
}

test(
  "greeter connect --within retries a port that is refused for the whole time",
  [],
  async () => {
    const results = await Promise.all([1, 2, 3].map((s) => runConnect(`127.0.0.1 -p 7000 --json --within ${s}`)));
    results.forEach((result, i) => {
      const seconds = i + 1;
      const { duration_ms } = summaryOf(result);
      assertEquals([result.code, rowsOf(result).probes.map(({ state }) => state)], [1, ["refused"]]);
      assert(duration_ms >= seconds * 1000, `${seconds} s: ${duration_ms} ms`);
    });
  },
);

test(
  "greeter connect --within finds a server that appears after 80% of the time",
  [],
  async () => {
    // The port is tried after 0, 0.1, 0.3, 0.7, 1.5 s, then each second, and at the end of the time.
    using first = listen(7000);
    await using client = startConnect("127.0.0.1 -o 7000,7001 --within 9");
    await first.connected;
    await delay(0.8 * 9000);
    using _second = listen(7001);
    assertEquals(linesOf(await resultOf(client)), [0, "7000-7001 open"]);
  },
);

test(
  "greeter connect --within waits for a name that does not resolve yet, and exits 2 if it never does",
  [],
  async () => {
    const firstLookup = new Map<string, number>();
    await using server = await startNameServer((name) => {
      const now = performance.now();
      const first = firstLookup.get(name) ?? now;
      firstLookup.set(name, first);
      const isLate = !name.startsWith("never") && now - first >= 2000;
      return isLate ? ["127.0.0.1"] : name.startsWith("failing") ? "SERVFAIL" : "NXDOMAIN";
    });
    using _listener = listen(7000);
    const [late, failing, blocked, never] = await Promise.all([
      runConnect("late.example -o 7000 --within 50"),
      runConnect("failing.example -o 7000 --within 50"),
      runConnect("late-blocked.example -o 7000 -b 7001 --within 50"),
      runConnect("never.example -b 7001 --within 2"),
    ]);
    assertStringIncludes(late.stdout, "late.example is 127.0.0.1\n");
    assertEquals(linesOf(late), [0, "7000 open"]);
    assertEquals(linesOf(failing), [0, "7000 open"]);
    assertEquals(linesOf(blocked), [0, "7000 open", "7001 refused"]);
    const stderr = `greeter: cannot connect: unknown host "never.example"; check the name\n`;
    assertEquals(never, { code: 2, stdout: "", stderr });
    // At the start, after 1 s, and at the end of the time.
    assertEquals(server.lookups("never.example").length, 3);
  },
);

test(
  "greeter connect --within follows a name whose address changes",
  [],
  async () => {
    // Each name moves 2 s after its first lookup.
    const firstLookup = new Map<string, number>();
    await using _server = await startNameServer((name) => {
      const now = performance.now();
      const first = firstLookup.get(name) ?? now;
      firstLookup.set(name, first);
      return now - first < 2000 ? ["127.0.0.31"] : ["127.0.0.32"];
    });
    using _open = listen(7000, "127.0.0.32");
    using _notBlocked = listen(7001, "127.0.0.32");
    // Greets the first time after the address has changed.
    let isLate = true;
    const greetLate = async (conn: Deno.Conn) => {
      const ms = isLate ? 2500 : 0;
      isLate = false;
      await delay(ms);
      await conn.write(new TextEncoder().encode("hello\n"));
    };
    using _late = listen(7005, "127.0.0.31", greetLate);
    using _lateToo = listen(7005, "127.0.0.32", greetLate);
    const [moved, blocked, notBlocked, movedMeanwhile] = await Promise.all([
      runConnect("moved-1.example -o 7000 --within 50"),
      runConnect("moved-2.example -o 7000 -b 7002 --within 50"),
      // Refused at the old address, open at the new one.
      runConnect("moved-3.example -o 7000 -b 7001 --within 8"),
      runConnect("moved-4.example -p 7005 -b 7001 --within 8 -t 8"),
    ]);
    assertEquals(linesOf(moved), [0, "7000 open at 127.0.0.32"]);
    assertEquals(linesOf(blocked), [0, "7000 open at 127.0.0.32", "7002 refused at 127.0.0.32"]);
    assertEquals(linesOf(notBlocked), [1, "7000 open at 127.0.0.32", "7001 open at 127.0.0.32 expected blocked"]);
    const lines = ["7001 open at 127.0.0.32 expected blocked", '7005 greeted "hello\\n"'];
    assertEquals(linesOf(movedMeanwhile), [1, ...lines]);
  },
);

test(
  "greeter connect --within looks up a name at most once a second for all ports together",
  [],
  async () => {
    await using server = await startNameServer(() => ["127.0.0.1"]);
    const { code } = await runConnect("lab.example -o 7000-7199 -b 7200 --within 3 -q");
    assertEquals(code, 1);
    // At the start, after 1 and 2 s, at the end of the time, and before the blocked port is checked.
    const count = server.lookups("lab.example").length;
    assert(count >= 2 && count <= 5, `${count} lookups`);
  },
);

test(
  "greeter connect --within retries 199 ports while another port drops packets",
  [],
  async () => {
    await sh("iptables -A INPUT -p tcp --dport 7100 -j DROP");
    using first = listen(7000);
    // The only attempt at the dropped port lasts longer than this test.
    await using client = startConnect("127.0.0.1 -o 7000-7199 -t 600 --within 600 --json");
    await first.connected;
    await delay(500);
    using servers = new DisposableStack();
    for (let port = 7001; port < 7200; port++) servers.use(listen(port));
    await until(() => client.output.stdout.split("\n").length > 199);
    client.child.kill("SIGINT");
    const result = await resultOf(client);
    const { probes } = rowsOf(result);
    assertEquals([result.code, probes.length, probes.filter(({ state }) => state !== "open")], [130, 199, []]);
    assertEquals(summaryOf(result).interrupted, true);
  },
);

test(
  "greeter connect --within waits until a firewall blocks a port",
  [],
  async () => {
    using servers = new DisposableStack();
    const [, second, third] = [7000, 7001, 7002].map((port) => servers.use(listen(port)));
    await using rejecting = startConnect("127.0.0.1 -o 7000 -b 7001 --within 50");
    await using dropping = startConnect("127.0.0.1 -o 7000 -b 7002 --within 50 -t 1.5");
    await Promise.all([second?.connected, third?.connected]);
    await delay(2000);
    await sh("iptables -A INPUT -p tcp --dport 7001 -j REJECT --reject-with tcp-reset");
    await sh("iptables -A INPUT -p tcp --dport 7002 -j DROP");
    const results = await Promise.all([rejecting, dropping].map(resultOf));
    assertEquals(results.map(withoutSeconds), [
      [0, "7000 open", "7001 refused (reachable before)"],
      [0, "7000 open", "7002 timeout (reachable before)"],
    ]);
  },
);

test(
  "greeter connect --within judges blocked ports only when the host is up",
  [],
  async () => {
    using _open = listen(7000);
    using _notBlocked = listen(7001);
    await using client = startConnect("192.0.2.9 -o 7000 -b 7001-7002 -t 1.5 --within 10");
    await using down = startConnect("192.0.2.10 -o 7000 -b 7001-7002 -t 1.5 --within 2 --json");
    await delay(2000);
    await sh("ip address add 192.0.2.9/32 dev lo");
    assertEquals(linesOf(await resultOf(client)), [1, "7000 open", "7001 open expected blocked", "7002 refused"]);
    const result = await resultOf(down);
    const { probes } = rowsOf(result);
    assertEquals([result.code, ...probes.map(({ dest_port, ok }) => [dest_port, ok])], [
      1,
      [7000, false],
      [7001, null],
      [7002, null],
    ]);
  },
);

test(
  "greeter connect does not pass blocked ports if the host has gone down meanwhile",
  [],
  async () => {
    await sh("ip address add 192.0.2.9/32 dev lo; iptables -A INPUT -p tcp --dport 7001 -j DROP");
    using server = listen(7000);
    await using once = startConnect("192.0.2.9 -o 7000 -b 7001 -t 2.5");
    await using waiting = startConnect("192.0.2.9 -o 7000 -b 7001 -t 2.5 --within 6");
    await until(() => server.count() === 2);
    await delay(500); // Observing the open port takes 100 ms.
    await sh("ip address delete 192.0.2.9/32 dev lo");
    for (const client of [once, waiting]) {
      const result = await resultOf(client);
      const [code, open, blocked] = linesOf(result);
      assertEquals([code, open], [1, "7000 open"]);
      // The kernel resolves an address once for all connections, which takes 3 s. So a later one can be told `unreachable` before
      // its timeout.
      assertMatch(
        `${blocked}`,
        /^7001 (timeout|unreachable) not proven: port 7000 failed when checked again \((timeout|unreachable)\); check the host, or use another port with -p or -o$/,
      );
    }
  },
);

test(
  "greeter connect --within uses the last addresses while the name server hangs, and does not ask again meanwhile",
  [],
  async () => {
    let lookups = 0;
    await using server = await startNameServer(() => ++lookups > 2 ? "silence" : ["127.0.0.1"]); // A and AAAA
    await using client = startConnect("lab.example -o 7000 --within 50 -t 1.5");
    await until(() => server.lookups("lab.example").length === 2);
    await delay(2500);
    using _listener = listen(7000);
    assertEquals(linesOf(await resultOf(client)), [0, "7000 open"]);
    assertEquals(server.lookups("lab.example").length, 2);
  },
);

test(
  "greeter connect --within does not pass blocked ports if the last lookup failed",
  [],
  async () => {
    let hasFailed = false;
    let isRecovered = false;
    await using server = await startNameServer((name) => {
      if (!hasFailed || (isRecovered && name.startsWith("recovers"))) return ["127.0.0.1"];
      return name.startsWith("silent") ? "silence" : "NXDOMAIN";
    });
    using notBlocked = listen(7001);
    using open = listen(7003);
    await using processes = new AsyncDisposableStack();
    const clients = [
      // The last required port opens while the lookup fails.
      ["opens", "opens.example -o 7000,7003 -b 7002 --within 15"],
      ["recovers", "recovers-1.example -o 7000,7003 -b 7002 --within 50"],
      // The port is blocked while the lookup fails.
      ["blocks", "blocks.example -o 7003 -b 7001 --within 15"],
      ["silent", "silent.example -o 7003 -b 7001 --within 15 -t 1.5"],
      ["recovers", "recovers-2.example -o 7003 -b 7001 --within 50"],
    ].map(([kind = "", args = ""]) => ({
      kind,
      name: args.split(" ", 1)[0] ?? "",
      client: processes.use(startConnect(args)),
    }));
    let ended = 0;
    const recovering = clients.filter(({ kind }) => kind === "recovers");
    for (const { client } of recovering) client.ended.then(() => ended++);
    await until(() => open.count() >= 5 && notBlocked.count() >= 3);
    hasFailed = true;
    const before = clients.map(({ name }) => server.lookups(name).length);
    await until(() => clients.every(({ name }, i) => server.lookups(name).length > (before[i] ?? 0)));
    await delay(2000); // longer than the timeout of the lookup that is not answered
    await sh("iptables -A INPUT -p tcp --dport 7001 -j REJECT --reject-with tcp-reset");
    using _late = listen(7000);
    await delay(1000);
    assertEquals(ended, 0);
    isRecovered = true;
    const results = await Promise.all(clients.map(({ client }) => resultOf(client)));
    const [opens, recovers, blocks, silent, recovers2] = results;
    assert(opens && recovers && blocks && silent && recovers2);
    assertEquals([opens, blocks, silent].map(({ code, stderr }) => [code, stderr]), [
      [2, 'greeter: cannot connect: unknown host "opens.example"; check the name\n'],
      [2, 'greeter: cannot connect: unknown host "blocks.example"; check the name\n'],
      [
        2,
        `greeter: cannot look up "silent.example": the name server does not answer; check the network of this machine\n`,
      ],
    ]);
    for (const { stdout } of [opens, blocks, silent]) assertMatch(stdout, /s; 1 port without a result$/m);
    assertEquals(linesOf(recovers), [0, "7000 open", "7002 refused", "7003 open"]);
    assertEquals(withoutSeconds(recovers2), [0, "7001 refused (reachable before)", "7003 open"]);
  },
);

test(
  "greeter connect --within exits 2 if a name that is looked up again is unknown, or its lookup pending, when the time is over",
  [],
  async () => {
    const first = new Map<string, number>();
    await using _server = await startNameServer((name) => {
      const now = performance.now();
      const started = first.get(name) ?? now;
      first.set(name, started);
      if (now - started < 500) return ["127.0.0.1"];
      return name === "silent.example" ? "silence" : "NXDOMAIN";
    });
    using notBlocked = listen(7001);
    const [unknown, silent] = await Promise.all([
      runConnect("unknown.example -b 7001 --within 4 -t 1.5"),
      runConnect("silent.example -b 7001 --within 4 -t 1.5"),
    ]);
    assertEquals(notBlocked.count(), 2); // the name was unknown after the first pass
    assertEquals([unknown, silent], [
      {
        code: 2,
        stdout: "unknown.example is 127.0.0.1\n",
        stderr: 'greeter: cannot connect: unknown host "unknown.example"; check the name\n',
      },
      {
        code: 2,
        stdout: "silent.example is 127.0.0.1\n",
        stderr:
          'greeter: cannot look up "silent.example": the name server does not answer; check the network of this machine\n',
      },
    ]);
  },
);

test(
  "greeter connect prints the error of a host when Ctrl-C ends the check of another one",
  [],
  async () => {
    using listeners = new DisposableStack();
    const [first, second] = [7000, 7001].map((port) => listeners.use(listen(port)));
    const args = "::1%nope 127.0.0.1 --within 60 -t 0.2";
    await using text = startConnect(`${args} -p 7000`);
    await using json = startConnect(`${args} -p 7001 --json`);
    const message = 'cannot connect: "::1%nope" has a zone, which only a link-local address can have; write ::1';
    // The error is known before the third attempt at the other host.
    await until(() => [first, second].every((listener) => listener && listener.count() >= 3));
    for (const { child } of [text, json]) child.kill("SIGINT");
    const results = await Promise.all([text, json].map(resultOf));
    assertEquals(results.map(({ code, stderr }) => [code, stderr]), Array(2).fill([130, `greeter: ${message}\n`]));
    assertMatch(results[0]?.stdout ?? "", /^7000 .* expected greeted\n0 of 2 ports .*; interrupted; 1 port without/m);
    assertStringIncludes(results[1]?.stdout ?? "", `"host":"::1%nope","error":${JSON.stringify(message)}`);
  },
);

test(
  "greeter connect prints the known results when Ctrl-C ends a pause or a lookup",
  [],
  async () => {
    // The lookup itself would take more than a minute.
    await sh("echo options timeout:30 attempts:5 >> /etc/resolv.conf");
    await using server = await startNameServer(() => "silence");
    using listener = listen(7000);
    await using pausing = startConnect("127.0.0.1 -o 7000,7001 -b 7002 --within 600");
    await listener.connected;
    using notBlocked = listen(7003);
    await using blocking = startConnect("127.0.0.1 -o 7000 -b 7003,7004 --within 600");
    await notBlocked.connected;
    await using lookingUp = startConnect("127.0.0.1 lab.example -o 7000 -t 600 --json");
    await until(() => server.lookups("lab.example").length > 0 && lookingUp.output.stdout.includes("\n"));
    await delay(1000); // between the attempts after 0.7 and 1.5 s
    const clients = [pausing, blocking, lookingUp];
    for (const { child } of clients) child.kill("SIGINT");
    const [paused, blocked, lookedUp] = await Promise.all(clients.map(resultOf));
    assert(paused && blocked && lookedUp);
    assertEquals(linesOf(paused).slice(0, 3), [130, "7000 open", "7001 refused expected open"]);
    assertMatch(paused.stdout, /^1 of 3 ports as expected in .*; not: 7001; interrupted; 1 port without a result$/m);
    const lines = [130, "7000 open", "7003 open expected blocked", "7004 refused not judged: interrupted"];
    assertEquals(linesOf(blocked), lines);
    assertEquals([lookedUp.code, lookedUp.stderr], [130, ""]);
    const { probes, summaries } = rowsOf(lookedUp);
    assertEquals(probes.map(({ host, state }) => [host, state]), [["127.0.0.1", "open"]]);
    assertEquals(summaries.map(({ host, ok, interrupted }) => [host, ok, interrupted]), [
      ["127.0.0.1", 1, true],
      ["lab.example", 0, true],
    ]);
  },
);
