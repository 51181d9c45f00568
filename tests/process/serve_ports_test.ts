/**
 * Tests of the addresses and ports that `greeter` listens on, and of the permissions and privileges they need.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { formatPorts, portRanges } from "../../shared/ports.ts";
import { DEFAULTS } from "../../server.ts";
import { greetingFrom } from "../helpers/clients.ts";
import { inNamespace } from "../helpers/namespaces.ts";
import { needs } from "../helpers/needs.ts";
import { freePort, freePorts } from "../helpers/ports.ts";
import {
  BINARY,
  DENO_RUN,
  GREETER,
  LOCAL,
  MAIN,
  portOf,
  rows,
  run,
  spawn,
  stop,
  withoutWarning,
} from "../helpers/processes.ts";
import { until } from "../helpers/waiting.ts";

Deno.test(needs("greeter serves IPv6, and IPv4 over an IPv6 socket", "IPv6", "signals"), async () => {
  await using greeter = spawn([...GREETER, "--host", "::", "--port", "0"]);
  const port = await portOf(greeter);
  assertEquals(await greetingFrom(port, "::1"), DEFAULTS.greeting);
  assertEquals(await greetingFrom(port, "127.0.0.1"), DEFAULTS.greeting);
  await stop(greeter);
  assertMatch(
    greeter.output.stdout,
    /^Listening on \[::\]:\d+\nReceived connection from \[::1\]:\d+ on port \d+\nReceived connection from 127\.0\.0\.1:\d+ on port \d+\nStopped: 2 /,
  );
});

Deno.test(needs("greeter listens on each port at each address", "IPv6"), async () => {
  const ports = freePorts(2).sort((a, b) => a - b);
  const list = formatPorts(ports);
  // An address that is given twice is one address.
  const hosts = ["-H", "127.0.0.1", "--host", "::1", "-H127.0.0.1"];
  await using greeter = spawn([...GREETER, ...hosts, "-p", `${ports}`, "--count", "2"]);
  await until(() => greeter.output.stdout.includes("\n"));
  for (const port of ports) {
    for (const address of ["127.0.0.1", "::1"]) {
      assertEquals(await greetingFrom(port, address), DEFAULTS.greeting);
    }
  }
  assertEquals([(await greeter.ended).code, greeter.output.stderr], [0, ""]);
  const lines = greeter.output.stdout.split("\n");
  assertEquals(lines[0], `Listening on 127.0.0.1 and ::1, 2 ports each: ${list}`);
  assertMatch(lines.at(-2) ?? "", new RegExp(`^Stopped: 4 greetings, .* Greeted: ${list}\\.$`));
});

const onlyIPv6Sockets = inNamespace("echo 1 > /proc/sys/net/ipv6/bindv6only");

Deno.test(needs("greeter listens on 0.0.0.0 and :: where :: accepts only IPv6", onlyIPv6Sockets, "IPv6"), async () => {
  const hosts = ["-H", "0.0.0.0", "-H", "::"];
  const command = [...onlyIPv6Sockets.command, ...GREETER, ...hosts, "-p", "80", "--within", "0.1"];
  const { stdout, stderr } = await run(command);
  assertEquals([stdout.split("\n")[0], stderr], ["Listening on 0.0.0.0:80 and [::]:80", ""]);
});

Deno.test(needs("greeter opens the same port 0 at all addresses, and logs it once as JSON", "IPv6"), async () => {
  const hosts = ["-H", "127.0.0.1", "-H", "::1"];
  await using greeter = spawn([...GREETER, ...hosts, "-p", "0", "--json", "--count", "3", "--within", "60"]);
  await until(() => rows(greeter).length === 1);
  const { dest_ip, dest_port, ports, addresses } = rows(greeter)[0] ?? {};
  assertEquals([dest_ip, ports, addresses], ["127.0.0.1", `${dest_port}`, ["127.0.0.1", "::1"]]);
  for (const address of ["127.0.0.1", "::1", "127.0.0.1"]) await greetingFrom(Number(dest_port), address);
  assertEquals([(await greeter.ended).code, greeter.output.stderr], [0, ""]);
  const accepted = rows(greeter).filter(({ event_type }) => event_type === "connection");
  assertEquals(accepted.map(({ dest_ip }) => dest_ip), ["127.0.0.1", "::1", "127.0.0.1"]);
  const { greetings, ports_greeted } = rows(greeter).at(-1) ?? {};
  assertEquals([greetings, ports_greeted], [3, ports]);
});

Deno.test(
  needs("greeter names each port once that did not reach --count at all addresses together", "IPv6"),
  async () => {
    const hosts = ["-H", "127.0.0.1", "-H", "::1"];
    const one = await run([...GREETER, ...hosts, "-p", "0", "--count", "2", "--within", "0.1"]);
    assertEquals([one.code, one.stderr], [
      1,
      "greeter: stopped before --count was reached: 0 of 2 clients were greeted\n",
    ]);
    const ports = freePorts(2);
    const two = await run([...GREETER, ...hosts, "-p", `${ports}`, "--count", "2", "--within", "0.1"]);
    assertEquals([two.code, two.stderr], [
      1,
      `greeter: stopped before --count was reached: too few clients were greeted on ports ${formatPorts(ports)}\n`,
    ]);
  },
);

Deno.test(
  needs("greeter exits 2 if it cannot listen at one of its addresses, and names it", "Linux", "IPv6"),
  async () => {
    using occupied = Deno.listen({ hostname: "::1", port: freePort() });
    const { port } = occupied.addr;
    const cases: [hosts: string[], port: number, message: string][] = [
      [["127.0.0.1", "::1"], port, `port ${port} is in use at "::1"; choose another with --port`],
      [["127.0.0.1", "192.0.2.1"], 0, `"192.0.2.1" is not an address of this machine; choose another with --host`],
      [["::1", "no-such-host.invalid"], 0, `unknown host "no-such-host.invalid"; choose another with --host`],
      [["0.0.0.0", "::"], 0, `"0.0.0.0" and "::" cannot share a port; write -H :: alone, which covers both`],
      [
        ["127.0.0.1", "::1", "0.0.0.0"],
        0,
        `"127.0.0.1" and "0.0.0.0" cannot share a port; remove -H 127.0.0.1, which 0.0.0.0 covers`,
      ],
      [["::1", "0::1"], 0, `"::1" and "0::1" cannot share a port; use only one of them with --host`],
    ];
    for (const [hosts, port, message] of cases) {
      const options = hosts.flatMap((host) => ["-H", host]);
      const { code, stdout, stderr } = await run([...GREETER, ...options, "-p", `${port}`, "--within", "0.1"]);
      assertEquals([code, stdout, withoutWarning(stderr)], [2, "", `greeter: cannot listen: ${message}\n`]);
    }
  },
);

Deno.test("greeter exits 2 if it cannot listen, and prints why and what to do", async () => {
  using occupied = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = occupied.addr;
  const cases: [command: string[], message: string][] = [
    [[...GREETER, "-H", "127.0.0.1", "-p", `${port}`], `port ${port} is in use; choose another with --port`],
    [
      [...GREETER, ...LOCAL, "-p", `${port}`],
      `port ${port} is in use; choose another with --port, or skip it with --skip-taken`,
    ],
    [
      [...GREETER, "-p", "0", "-H", "no-such-host.invalid"],
      `unknown host "no-such-host.invalid"; choose another with --host`,
    ],
    [
      [...GREETER, "-p", "0", "-H", "no\nname"],
      String.raw`"no\nname" is not a valid name or address; choose another with --host`,
    ],
    [
      [...GREETER, "-p", "0", "-H", "192.0.2.1"],
      `"192.0.2.1" is not an address of this machine; choose another with --host`,
    ],
  ];
  // The binary has its network permission built in.
  if (!BINARY) {
    cases.push([[...DENO_RUN, MAIN, ...LOCAL], "Deno has no network permission; run it with --allow-net"]);
  }
  for (const [command, message] of cases) {
    assertEquals(await run(command), {
      code: 2,
      signal: null,
      stdout: "",
      stderr: `greeter: cannot listen: ${message}\n`,
    });
  }
});

/** Makes a command unprivileged: root, or root of the namespace, loses the capability to listen on privileged ports. */
const UNPRIVILEGED = ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"];
const privilegedPorts = inNamespace("echo 20000 > /proc/sys/net/ipv4/ip_unprivileged_port_start");

Deno.test(
  needs("greeter exits 2 if a port requires privileges, even above 1023", privilegedPorts, "setpriv"),
  async () => {
    const advice = BINARY
      ? `run greeter with sudo, or permit it with sudo setcap cap_net_bind_service=+ep ${BINARY}`
      : "or run greeter with sudo";
    // Such a port is not in use, so --skip-taken does not skip it.
    for (
      const [port, ...options] of [["999"], ["9999", "-p", "9999"], ["19999", "--skip-taken", "-p", "0,19999,20000"]]
    ) {
      assertEquals(await run([...privilegedPorts.command, ...UNPRIVILEGED, ...GREETER, ...options]), {
        code: 2,
        signal: null,
        stdout: "",
        stderr: `greeter: cannot listen: port ${port} requires privileges; choose another with --port, ${advice}\n`,
      });
    }
  },
);

Deno.test(needs("greeter requires the permission for its own port only", "deno run"), async () => {
  const port = freePort();
  const options = ["--quiet", "-H", "127.0.0.1", "-p", `${port}`, "--within", "0.1"];
  const { code, stderr } = await run([...DENO_RUN, `--allow-net=127.0.0.1:${port}`, MAIN, ...options]);
  assertEquals([code, stderr], [0, ""]);
});

Deno.test(needs("greeter requires only the network permission", "deno run"), async () => {
  const denied = ["read", "write", "env", "run", "sys", "ffi", "import"].map((name) => `--deny-${name}`);
  await using greeter = spawn([...DENO_RUN, "--allow-net", ...denied, MAIN, ...LOCAL]);
  assertEquals(await greetingFrom(await portOf(greeter)), DEFAULTS.greeting);
});

Deno.test("greeter --skip-taken listens on the free ports and names the others", async () => {
  using occupied = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const [taken, free] = [occupied.addr.port, freePort()];
  const command = [...GREETER, "-H", "127.0.0.1", "--skip-taken", "--within", "0.1", "-p"];
  const { code, stdout, stderr } = await run([...command, `${taken},${free}`]);
  assertEquals([code, stderr], [0, `greeter: skipped ports that are in use: ${taken}\n`]);
  assertMatch(stdout, new RegExp(`^Listening on 127\\.0\\.0\\.1:${free}\n`));
  const none = await run([...command, `${taken}`]);
  assertEquals([none.code, none.stdout], [2, ""]);
  assertEquals(none.stderr, `greeter: cannot listen: port ${taken} is in use; choose another with --port\n`);
  using alsoOccupied = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const both = [taken, alsoOccupied.addr.port].sort((a, b) => a - b);
  const { stderr: message } = await run([...command, both.join(",")]);
  assertMatch(message, /^greeter: cannot listen: ports \d+[,-]\d+ are in use; choose others with --port\n$/);
});

Deno.test(needs("greeter --skip-taken skips a port that is in use at one of several addresses", "IPv6"), async () => {
  using occupied = Deno.listen({ hostname: "::1", port: freePort() });
  const [taken, free] = [occupied.addr.port, freePort()];
  const hosts = ["-H", "127.0.0.1", "-H", "::1"];
  const command = [...GREETER, ...hosts, "--skip-taken", "--within", "0.1", "-p"];
  const { code, stdout, stderr } = await run([...command, `${taken},${free}`]);
  assertEquals([code, stderr], [0, `greeter: skipped ports that are in use at one of the addresses: ${taken}\n`]);
  assertMatch(stdout, new RegExp(`^Listening on 127\\.0\\.0\\.1:${free} and \\[::1\\]:${free}\n`));
});

Deno.test("greeter names at most 10 ranges of ports that are skipped, and of ports that did not reach --count", async () => {
  const occupied: Deno.TcpListener[] = [];
  const ports = () => occupied.map(({ addr }) => addr.port);
  while (portRanges(ports()).length < 12) occupied.push(Deno.listen({ hostname: "127.0.0.1", port: 0 }));
  const free: number[] = [];
  while (portRanges(new Set(free)).length < 12) free.push(freePort());
  const list = [...ports(), ...new Set(free)].join(",");
  const { code, stderr } = await run(
    [...GREETER, "-H", "127.0.0.1", "--skip-taken", "--count", "1", "--within", "0.1", "-p", list],
  );
  for (const listener of occupied) listener.close();
  const ranges = String.raw`([\d-]+,){9}[\d-]+ and \d+ more ports`;
  assertMatch(
    stderr,
    new RegExp(
      `^greeter: skipped ports that are in use: ${ranges}\ngreeter: stopped before --count was reached: ` +
        `too few clients were greeted on ports ${ranges}\n$`,
    ),
  );
  assertEquals(code, 1);
});

const fewPorts = inNamespace("echo 40000 40009 > /proc/sys/net/ipv4/ip_local_port_range");

Deno.test(needs("greeter warns once if no local port is left", fewPorts), async () => {
  const command = [...fewPorts.command, ...GREETER, "-H", "127.0.0.1", "--within", "0.1", "-p"];
  const all = await run([...command, "39990-40060"]);
  assertEquals([all.code, all.stderr], [
    0,
    "greeter: no ephemeral port is left for outgoing connections from this machine; remove some ports from --port\n",
  ]);
  const allButOne = await run([...command, "40000-40008"]);
  assertEquals([allButOne.code, allButOne.stderr], [0, ""]);
});

Deno.test(
  needs("greeter warns once if no local port is left at one of several addresses", fewPorts, "IPv6"),
  async () => {
    // Another program has the last ephemeral port at only one of the addresses.
    const script = `
    directory=$(mktemp -d)
    mkfifo $directory/log
    "$@" -H $ADDRESS -p 40009 > $directory/log 2> /dev/null &
    read -r line < $directory/log
    "$@" -q -H 127.0.0.1 -H ::1 -p 40000-40008 --within 0.1
    kill $!
    rm -r $directory
  `;
    const command = [...fewPorts.command, "sh", "-ec", script, "sh", ...GREETER];
    for (const ADDRESS of ["127.0.0.1", "::1"]) {
      const { stderr } = await run(command, { env: { ADDRESS } });
      assertMatch(stderr, /^greeter: no ephemeral port is left for outgoing connections .*\n$/);
    }
    const both = [...GREETER, "-H", "127.0.0.1", "-H", "::1", "-p", "40000-40009", "--within", "0.1"];
    const { code, stderr } = await run([...fewPorts.command, ...both]);
    assertEquals(code, 0);
    assertMatch(stderr, /^greeter: no ephemeral port is left for outgoing connections .*\n$/);
  },
);

Deno.test(needs("greeter opens explicit ports before port 0", fewPorts), async () => {
  const command = [...fewPorts.command, ...GREETER, "-H", "127.0.0.1", "--within", "0.1", "-p"];
  // Only port 40009 is left for port 0.
  const mixed = await run([...command, "0", "-p", "40000-40008"]);
  assertEquals([mixed.code, mixed.stderr.includes("cannot listen")], [0, false]);
  assertMatch(mixed.stdout, /^Listening on 127\.0\.0\.1:40000-40009 \(10 ports\)\n/);
  const tooMany = await run([...command, "0,0", "-p", "40000-40008", "--skip-taken"]);
  assertEquals([tooMany.code, tooMany.stderr], [
    2,
    "greeter: cannot listen: no ephemeral port is left; choose ports other than 0 with --port\n",
  ]);
});

const onlyIPv6 = inNamespace("ip -4 address flush dev lo");

Deno.test(needs("greeter listens on 100 ports of a host without IPv4", onlyIPv6, "IPv6"), async () => {
  const list = Array(100).fill(0).join(",");
  const options = ["-H", "::1", "-p", list, "--within", "0.1"];
  const { code, stdout, stderr } = await run([...onlyIPv6.command, ...GREETER, ...options]);
  assertEquals([code, stderr], [0, ""]);
  assertMatch(stdout, /^Listening on \[::1\]:.* \(100 ports\)\n/);
});
