/**
 * Tests of `greeter connect` with names that have several addresses, or none. Each test runs in a network namespace of its
 * own, with its own hosts and name server.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { serve } from "../../server.ts";
import { testsInNamespace } from "../helpers/namespaces.ts";
import { freePort } from "../helpers/ports.ts";
import { DENO_RUN, MAIN, run } from "../helpers/processes.ts";
import { startServer } from "../helpers/servers.ts";
import { until } from "../helpers/waiting.ts";
import { startNameServer } from "../helpers/name_server.ts";
import { CONNECT, linesOf, rowsOf, runConnect, sh, summaryOf, withNames } from "../helpers/network.ts";

/** Nothing listens on 127.0.0.11, 127.0.0.21 drops all packets, and there is no route to 192.0.2.1 and 2001:db8:1::1. */
const HOSTS = `
  127.0.0.1 localhost
  ::1 localhost
  127.0.0.11 refused-first refused-or-ipv6 refused
  127.0.0.12 refused-first
  127.0.0.21 dropped-first dropped-or-ipv6
  127.0.0.22 dropped-first
  ::1 refused-or-ipv6 dropped-or-ipv6
  2001:db8::9 ipv6
  192.0.2.1 no-route-first
  2001:db8::21 no-route-first
  127.0.0.21 no-route-last
  2001:db8:1::1 no-route-last
  127.0.0.35 twice
  127.0.0.35 twice
  127.0.0.51 dual
  ::1 dual
  127.0.0.34 many
  127.0.0.31 many
  ::1 many
  127.0.0.33 many
  127.0.0.32 many
`;

const test = testsInNamespace(
  `${withNames(HOSTS)}
  iptables -A INPUT -d 127.0.0.21 -j DROP`,
  import.meta.filename ?? "",
  "iptables",
);

/** Starts a server on a free port of some addresses. Returns the port. */
function listen(...hostnames: string[]) {
  const port = freePort();
  const servers = hostnames.map((hostname) => serve({ hostname, port, greeting: "hello\n" }));
  return {
    port,
    async [Symbol.asyncDispose]() {
      for (const server of servers) await server[Symbol.asyncDispose]();
    },
  };
}

test(
  "greeter connect tries the second IPv4 address if the first one refuses or drops",
  [],
  async () => {
    await using server = listen("127.0.0.12", "127.0.0.22");
    const { port } = server;
    const [refused, dropped, open, blocked] = await Promise.all([
      runConnect(`refused-first -p ${port}`),
      runConnect(`dropped-first -p ${port} -t 3`),
      runConnect(`dropped-first -o ${port} -t 3`),
      runConnect(`dropped-first -b ${port} -t 3`),
    ]);
    assertStringIncludes(refused.stdout, "refused-first is 127.0.0.11, 127.0.0.12\n");
    assertEquals(linesOf(refused), [0, `${port} greeted "hello\\n" at 127.0.0.12`]);
    assertEquals(linesOf(dropped), [0, `${port} greeted "hello\\n" at 127.0.0.22`]);
    assertEquals(linesOf(open), [0, `${port} open at 127.0.0.22`]);
    assertEquals(linesOf(blocked), [1, `${port} greeted "hello\\n" at 127.0.0.22 expected blocked`]);
  },
);

test(
  "greeter connect shows the state of the first address if no address connects, and the state that says more",
  [],
  async () => {
    const port = freePort();
    const [refused, dropped, blocked] = await Promise.all([
      runConnect(`refused-first -o ${port}`),
      runConnect(`dropped-first -o ${port} -t 3`),
      runConnect(`dropped-first -b ${port} -t 3`),
    ]);
    assertEquals(linesOf(refused), [1, `${port} refused expected open`]);
    assertEquals(linesOf(dropped), [1, `${port} refused at 127.0.0.22 expected open`]);
    assertEquals(linesOf(blocked), [0, `${port} refused at 127.0.0.22`]);
  },
);

test(
  "greeter connect tries an IPv6 address after the IPv4 address",
  ["IPv6"],
  async () => {
    await using server = listen("::1");
    const { port } = server;
    const results = await Promise.all([
      runConnect(`refused-or-ipv6 -p ${port}`),
      runConnect(`dropped-or-ipv6 -o ${port} -t 3`),
      runConnect(`refused-or-ipv6 -b ${port}`),
      runConnect(`dropped-or-ipv6 -b ${port} -t 3`),
      runConnect(`localhost -p ${port}`),
      runConnect(`localhost -o ${port}`),
      runConnect(`localhost -b ${port}`),
    ]);
    assertStringIncludes(results[0].stdout, "refused-or-ipv6 is 127.0.0.11, ::1\n");
    assertStringIncludes(results[4].stdout, "localhost is 127.0.0.1, ::1\n");
    assertEquals(results.map(linesOf), [
      [0, `${port} greeted "hello\\n" at ::1`],
      [0, `${port} open at ::1`],
      [1, `${port} greeted "hello\\n" at ::1 expected blocked`],
      [1, `${port} greeted "hello\\n" at ::1 expected blocked`],
      [0, `${port} greeted "hello\\n" at ::1`],
      [0, `${port} open at ::1`],
      [1, `${port} greeted "hello\\n" at ::1 expected blocked`],
    ]);
  },
);

test(
  "greeter connect -4 and -6 use only the addresses of one family",
  ["IPv6"],
  async () => {
    await using _nameServer = await startNameServer(() => "NXDOMAIN"); // asked for names without an address of the family
    await using server = listen("::1");
    const { port } = server;
    const results = await Promise.all([
      runConnect(`localhost -4 -p ${port}`),
      runConnect(`localhost -4 -b ${port}`),
      runConnect(`localhost -6 -p ${port}`),
      runConnect(`localhost -6 -b ${port}`),
      runConnect(`::1 -6 -o ${port}`),
    ]);
    assertEquals(results.map(({ stdout }) => stdout.split("\n")[0]).slice(0, 4), [
      "localhost is 127.0.0.1",
      "localhost is 127.0.0.1",
      "localhost is ::1",
      "localhost is ::1",
    ]);
    assertEquals(results.map(linesOf), [
      [1, `${port} refused expected greeted`],
      [0, `${port} refused`],
      [0, `${port} greeted "hello\\n"`],
      [1, `${port} greeted "hello\\n" expected blocked`],
      [0, `${port} open`],
    ]);
    const missing = (family: number) => `has no IPv${family} address; check the host, or omit --ipv${family}`;
    const [noIPv6, noIPv4] = [missing(6), missing(4)];
    const cases = [
      ["127.0.0.1 -6 -p", noIPv6],
      ["127.0.0.1 -6 -b", noIPv6],
      ["::1 -4 -p", noIPv4],
      ["::1 -4 -b", noIPv4],
      ["refused -6 -b", noIPv6],
      ["ipv6 -4 -b", noIPv4],
      ["unknown.example -6 -b", noIPv6],
      ["unknown.example -4 -p", noIPv4],
    ] as const;
    const errors = await Promise.all(cases.map(([args]) => runConnect(`${args} ${port}`)));
    assertEquals(
      errors,
      cases.map(([args, message]) => ({
        code: 2,
        stdout: "",
        stderr: `greeter: cannot connect: "${args.split(" ")[0]}" ${message}\n`,
      })),
    );
  },
);

test(
  "greeter connect gives the right answer in a container without IPv6 where localhost has ::1, too",
  [],
  async () => {
    await sh("if [ -e /proc/sys/net/ipv6 ]; then echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; fi");
    await using server = listen("127.0.0.1");
    const { port } = server;
    const closed = freePort();
    const results = await Promise.all([
      // A deadline tells whether one of them waits for its timeout.
      runConnect(`localhost --json -t 600 -p ${port}`),
      runConnect(`localhost --json -t 600 -b ${port}`),
      runConnect(`localhost --json -t 600 -o ${closed}`),
      runConnect(`localhost --json -t 600 -b ${closed}`),
      runConnect(`localhost --json -t 600 -p ${port} -b ${closed}`),
    ]);
    assertEquals(results.map(({ code, stderr }) => [code, stderr]), [[0, ""], [1, ""], [1, ""], [0, ""], [0, ""]]);
    for (const result of results) {
      assertEquals(summaryOf(result).addresses, ["127.0.0.1", "::1"]);
    }
    // The only address cannot be used, so nothing is known about the port. The other host is checked nevertheless.
    for (const args of [`-b ${closed}`, `-p ${port}`, `-o ${port} --within 60`]) {
      const { code, stdout, stderr } = await runConnect(`ipv6 127.0.0.1 ${args}`);
      assertEquals(code, 2);
      assertMatch(stdout, /^127\.0\.0\.1\n\d+ +(refused|greeted|open)\b/m);
      assertMatch(stderr, /^greeter: cannot connect: no (local address|route) .*"ipv6"/);
    }
  },
);

test(
  "greeter connect exits 2 if it may not find out whether there is IPv6",
  ["IPv6", "deno run"],
  async () => {
    await sh("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
    const port = freePort();
    const permission = `--allow-net=localhost,127.0.0.1,[::1]:${port}`;
    const args = ["connect", "localhost", "-b", `${port}`, "-t", "1.5"];
    const { code, stderr } = await run([...DENO_RUN, permission, MAIN, ...args]);
    assertEquals(code, 2, stderr);
    assertStringIncludes(stderr, 'no local address or port is available for a connection to "localhost"');
  },
);

test(
  "greeter connect exits 2 if no local port is left for one of the addresses",
  ["IPv6"],
  async () => {
    await using server = listen("::1", "127.0.0.1");
    const { port } = server;
    await sh("echo 40000 40007 > /proc/sys/net/ipv4/ip_local_port_range");
    // Local ports run out for each address and port by itself.
    const conns: Deno.Conn[] = [];
    for (const hostname of ["::1", "127.0.0.1"]) {
      const connectAll = async () => {
        for (;;) conns.push(await Deno.connect({ hostname, port }));
      };
      await assertRejects(connectAll, Deno.errors.AddrNotAvailable);
    }
    const hosts = ["refused-or-ipv6", "::1", "127.0.0.1"].flatMap((host) => [host, host]);
    const results = await Promise.all(
      hosts.map((host, i) => runConnect(`${host} ${i % 2 ? "-p" : "-b"} ${port} -t 1.5`)),
    );
    const advice = "check the network of this machine";
    assertEquals(
      results.map(({ code, stderr }) => [code, stderr]),
      hosts.map((host) => [
        2,
        `greeter: cannot connect: no local address or port is available for a connection to "${host}"; ${advice}\n`,
      ]),
    );
    for (const { stdout } of results) assert(!stdout.includes(`${port}  `), stdout);
    for (const conn of conns) conn.close();
  },
);

test(
  "greeter connect exits 2 if no local port is left for a blocked port at one of the addresses",
  ["IPv6"],
  async () => {
    await using server = listen("127.0.0.51", "::1");
    await using blocked = listen("::1");
    await sh("echo 40000 40031 > /proc/sys/net/ipv4/ip_local_port_range");
    const conns: Deno.Conn[] = [];
    const connectAll = async () => {
      for (;;) conns.push(await Deno.connect({ hostname: "::1", port: blocked.port }));
    };
    await assertRejects(connectAll, Deno.errors.AddrNotAvailable);
    const { code, stderr } = await runConnect(`dual -p ${server.port} -b ${blocked.port} -t 1.5`);
    const message =
      'no local address or port is available for a connection to "dual"; check the network of this machine';
    assertEquals([code, stderr], [2, `greeter: cannot connect: ${message}\n`]);
    for (const conn of conns) conn.close();
    // Now it is found that the port is open there.
    await until(async () => (await runConnect(`dual -p ${server.port} -b ${blocked.port} -t 1.5`)).code === 1);
  },
);

test(
  "greeter connect reports the address that does not answer, not the one without a route",
  ["IPv6"],
  async () => {
    // Not in the other tests: with this address, getent leaves out IPv4 addresses.
    await sh("ip address add 2001:db8::21/128 dev lo nodad; ip6tables -A INPUT -d 2001:db8::21 -j DROP");
    const cases = [["no-route-first", " at 2001:db8::21"], ["no-route-last", ""]];
    for (const [host, address] of cases) {
      const [open, blocked] = await Promise.all([
        runConnect(`${host} -o 80 -t 1`),
        runConnect(`${host} -b 80 -t 1.5`),
      ]);
      assertEquals(linesOf(open), [1, `80 timeout${address} expected open`]);
      // Something has been sent, so this is a result.
      assertEquals(linesOf(blocked), [0, `80 timeout${address}`]);
    }
  },
);

test(
  "greeter connect names and tries all addresses in the order of the system, IPv4 first",
  [],
  async () => {
    const fromServer = ["127.0.0.44", "::1", "127.0.0.41", "127.0.0.43", "127.0.0.42"];
    await using _server = await startNameServer(() => fromServer);
    for (const name of ["many", "many.example"]) {
      const { stdout } = await runConnect(`${name} -o ${freePort()}`);
      const found = await sh(`getent ahosts ${name}`);
      const order = [...found.matchAll(/^(\S+) +STREAM/gm)].map(([, address = ""]) => address);
      assertEquals(order.length, 5, found);
      const isIPv4 = (address: string) => !address.includes(":");
      const expected = [...order.filter(isIPv4), ...order.filter((address) => !isIPv4(address))];
      assertEquals(stdout.split("\n")[0], `${name} is ${expected.join(", ")}`);
    }
  },
);

test(
  "greeter connect names and tries an address once that a name has twice",
  [],
  async () => {
    const result = await runConnect(`twice --json -o ${freePort()}`);
    assertEquals([result.code, summaryOf(result).addresses], [1, ["127.0.0.35"]]);
  },
);

test(
  "greeter connect -4 and -6 ask the name server only for addresses of that family",
  ["IPv6", "deno run"],
  async () => {
    const asked: [string, 4 | 6 | undefined][] = [];
    await using _nameServer = await startNameServer((name, family) => {
      asked.push([name, family]);
      // The family that is not wanted would not be answered.
      if (family !== (name === "four.example" ? 4 : 6)) return "silence";
      return ["127.0.0.1", "::1"];
    });
    await using server = listen("127.0.0.1", "::1");
    for (const [name, option, address] of [["four", "-4", "127.0.0.1"], ["six", "-6", "::1"]]) {
      const result = await runConnect(`${name}.example ${option} -p ${server.port} --json`);
      assertEquals([result.code, summaryOf(result).addresses], [0, [address]]);
    }
    // Deno itself may look up another name.
    const queries = asked.filter(([name]) => name.endsWith(".example"));
    assertEquals(queries, [["four.example", 4], ["six.example", 6]]);
  },
);

test(
  "greeter connect waits until the system asks again if a packet of a lookup was lost",
  [],
  async () => {
    let isLost = false;
    await using _nameServer = await startNameServer((name) => {
      if (isLost || name !== "lab.example") return ["127.0.0.1"];
      isLost = true;
      return "silence";
    });
    const result = await runConnect(`lab.example -b ${freePort()} --json`);
    assertEquals([result.code, summaryOf(result).addresses], [0, ["127.0.0.1"]], result.stderr);
  },
);

test(
  "greeter connect prints after 5 s that it is looking up a name, also without --within, and not if the lookup has failed",
  [],
  async () => {
    await using _nameServer = await startNameServer((name) => name === "silent.example" ? "silence" : "NXDOMAIN");
    await using silent = await startServer(() => {});
    const results = await Promise.all([
      runConnect("silent.example 127.0.0.1 -p 1 -t 6"),
      runConnect("silent.example -p 1 -t 6 -q"),
      runConnect(`unknown.example 127.0.0.1 -p ${silent.port} -t 6`),
    ]);
    const error =
      'greeter: cannot look up "silent.example": the name server does not answer; check the network of this machine\n';
    assertEquals(results.map(({ code, stderr }) => [code, stderr]), [
      [2, `greeter: looking up silent.example\n${error}`],
      [2, error],
      [2, 'greeter: cannot connect: unknown host "unknown.example"; check the name\n'],
    ]);
  },
);

test(
  "greeter connect exits 2 if a name does not exist, and checks the other hosts",
  [],
  async () => {
    await using _server = await startNameServer(() => "NXDOMAIN");
    await using server = listen("127.0.0.1");
    const { port } = server;
    const message = `greeter: cannot connect: unknown host "nope.example"; check the name\n`;
    const results = await Promise.all(["-p", "-o", "-b"].map((option) => runConnect(`nope.example ${option} ${port}`)));
    assertEquals(results, Array(3).fill({ code: 2, stdout: "", stderr: message }));
    const closed = freePort();
    for (
      const [args, line] of [[`-p ${port}`, `${port}  greeted  "hello\\n"`], [`-b ${closed}`, `${closed}  refused`]]
    ) {
      const { code, stdout, stderr } = await runConnect(`nope.example 127.0.0.1 ${args}`);
      assertEquals([code, stderr], [2, message]);
      assertStringIncludes(stdout, `127.0.0.1\n${line}\n1 of 2 ports as expected`);
      assertStringIncludes(stdout, "1 port without a result");
    }
  },
);

test(
  "greeter connect exits 2 if the name server does not answer within --timeout",
  [],
  async () => {
    // Otherwise, the system would give up after 10 s.
    await sh("echo options timeout:30 attempts:5 >> /etc/resolv.conf");
    await using server = await startNameServer(() => "silence");
    const results = await Promise.all(
      ["-p 1 -t 0.5", "-o 1 -t 0.5", "-b 1 -t 1.5"].map((args) => runConnect(`lab.example ${args}`)),
    );
    const stderr =
      `greeter: cannot look up "lab.example": the name server does not answer; check the network of this machine\n`;
    assertEquals(results, Array(3).fill({ code: 2, stdout: "", stderr }));
    assertEquals(server.lookups("lab.example").length, 3);
  },
);

test(
  "greeter connect does not wait longer than --within for a name server that is silent",
  [],
  async () => {
    // The system asks again after 5 s. That is after the 3 s of --within, but before twice its --timeout is over as well.
    let started = 0;
    await using _server = await startNameServer(() => {
      started ||= performance.now();
      return performance.now() - started < 4000 ? "silence" : ["127.0.0.1"];
    });
    const { code, stderr } = await runConnect("lab.example -p 1 --within 3 --timeout 2");
    const message = "the name server does not answer; check the network of this machine";
    assertEquals([code, stderr], [2, `greeter: cannot look up "lab.example": ${message}\n`]);
  },
);

test(
  "greeter connect --within does not wait for a lost packet of a lookup",
  [],
  async () => {
    const asked: string[] = [];
    await using _server = await startNameServer((name) => (asked.push(name), "silence"));
    const { code, stderr } = await runConnect("lab.example -p 1 --within 1");
    const message = "the name server does not answer; check the network of this machine";
    assertEquals([code, stderr], [2, `greeter: cannot look up "lab.example": ${message}\n`]);
    // One query for each family. After 5 s, the system would send them again. Deno itself may look up another name.
    assertEquals(asked.filter((name) => name === "lab.example").length, 2);
  },
);

test(
  "greeter connect exits 2 if the name server reports a failure of its own",
  ["deno run"],
  async () => {
    await using _server = await startNameServer(() => "SERVFAIL");
    const results = await Promise.all(["-p", "-o", "-b"].map((option) => runConnect(`lab.example ${option} 1`)));
    const stderr =
      `greeter: cannot look up "lab.example": the name server does not answer; check the network of this machine\n`;
    assertEquals(results, Array(3).fill({ code: 2, stdout: "", stderr }));
  },
);

test(
  "greeter connect --checks looks a host up once for each family that its lines use, and judges each by itself",
  ["IPv6", "deno run"],
  async () => {
    const queries: string[] = [];
    await using _nameServer = await startNameServer((name, family) => {
      if (name === "lab.example" || name === "web.example") queries.push(`${name} ${family}`);
      return ["127.0.0.1", "::1"];
    });
    await using server = listen("127.0.0.1");
    const { port } = server;
    const runChecks = async (lines: string[], ...args: string[]) => {
      const script = 'printf %s "$0" | "$@"';
      return await run(["sh", "-c", script, lines.join("\n"), ...CONNECT, "--checks", ...args]);
    };
    const more = [`web.example -o ${port}`, `web.example -p ${freePort()}`];
    const { stdout } = await runChecks(
      [`lab.example -4 -p ${port}`, `lab.example -6 -o ${port}`, ...more, `lab.example -4 -o ${freePort()}`],
    );
    // The system asks for both families unless it needs only one.
    assertEquals(queries.toSorted(), ["lab.example 4", "lab.example 6", "web.example 4", "web.example 6"]);
    assertEquals(stdout.match(/^.* is .*$/gm), [
      "lab.example is 127.0.0.1",
      "lab.example is ::1",
      "web.example is 127.0.0.1, ::1",
    ]);
    // What passes over IPv4 proves nothing over IPv6.
    const blocked = freePort();
    for (const required of ["-4", "-6"]) {
      const lines = [
        `lab.example ${required} -p ${port}`,
        `lab.example -4 -b ${blocked}`,
        `lab.example -6 -b ${blocked}`,
      ];
      const { code, stdout } = await runChecks(lines, "--json");
      const { probes } = rowsOf({ stdout });
      const judged = probes.filter(({ dest_port }) => dest_port === blocked);
      const ok = Object.fromEntries(judged.map((row) => [row.dest_ip, row.ok]));
      assertEquals([code, ok], [1, { "127.0.0.1": required === "-4" ? true : null, "::1": null }]);
    }
  },
);
