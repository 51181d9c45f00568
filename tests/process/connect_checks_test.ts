/**
 * Tests of `greeter connect --checks`, whose checks are lines of standard input.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { serve } from "../../server.ts";
import { needs } from "../helpers/needs.ts";
import { freePort, freePorts } from "../helpers/ports.ts";
import { GREETER, run, spawn, withoutWarning } from "../helpers/processes.ts";
import { startServer } from "../helpers/servers.ts";
import { until } from "../helpers/waiting.ts";

const CHECKS = [...GREETER, "connect", "--checks"];

/** Runs `greeter connect --checks` with these lines. Returns its exit status and what it has printed. */
async function check(lines: readonly string[], ...args: string[]) {
  await using client = spawn([...CHECKS, ...args], { stdin: "piped" });
  const writer = client.child.stdin.getWriter();
  // A process that has ended because of its arguments reads nothing.
  await writer.write(new TextEncoder().encode(lines.join("\n"))).then(() => writer.close()).catch(() => {});
  const { code } = await client.ended;
  return { code, ...client.output };
}

/** Removes the time from the last line, and the padding of the columns. */
const plain = (stdout: string) => stdout.replace(/ in \d+\.\ds/, "").replaceAll(/ +/g, " ").trimEnd().split("\n");

const rowsOf = (stdout: string) => stdout.trimEnd().split("\n").map((line) => JSON.parse(line));

/** Servers on 127.0.0.1 to 127.0.0.3, which Linux has without further setup. */
function serveOn(hosts: readonly string[], port: number, greeting = "hello\n") {
  const servers = hosts.map((hostname) => serve({ hostname, port, greeting }));
  return {
    async [Symbol.asyncDispose]() {
      for (const server of servers) await server[Symbol.asyncDispose]();
    },
  };
}
const HOSTS = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
const [WEB, DB, ADMIN] = HOSTS;

Deno.test(
  needs("greeter connect --checks groups the results by host, and the last line counts the ports of all", "Linux"),
  async () => {
    const [port = 0, down = 0, blocked = 0] = freePorts(3).toSorted((a, b) => a - b);
    await using _servers = serveOn(HOSTS, port);
    const policy = [
      "# A comment",
      `${DB} -o ${port}`,
      `${WEB} ${ADMIN} -p '${port}=he' # from the office`,
      "",
      `${ADMIN} -o ${down}`,
      `${DB} -b ${blocked}`,
    ];
    const { code, stdout, stderr } = await check(policy);
    assertEquals([code, stderr], [1, ""]);
    assertEquals(plain(stdout), [
      `${DB}`,
      `${port} open`,
      `${blocked} refused`,
      `${WEB}`,
      `${port} greeted "hello\\n"`,
      `${ADMIN}`,
      `${port} greeted "hello\\n"`,
      `${down} refused expected open`,
      `4 of 5 ports as expected; not: ${ADMIN}:${down}; ` +
      "refused may mean that nothing listens; use --announce on the server, and -p here",
    ]);
    const { stdout: json } = await check(policy, "--json");
    const rows = rowsOf(json);
    const probes = rows.filter(({ event_type }) => event_type === "probe");
    assertEquals(
      probes.map(({ host, dest_port, line }) => `${host}:${dest_port} ${line}`).toSorted(),
      [
        `${WEB}:${port} 3`,
        `${DB}:${port} 2`,
        `${DB}:${blocked} 6`,
        `${ADMIN}:${port} 3`,
        `${ADMIN}:${down} 5`,
      ].toSorted(),
    );
    const summaries = rows.filter(({ event_type }) => event_type === "summary");
    assertEquals(summaries.map(({ host, line }) => [host, line]), [DB, WEB, ADMIN].map((host) => [host, undefined]));
  },
);

/** The same policy of one host: as one line, as one line for each option, and in the other order. */
function split(host: string, ...options: string[]): string[][] {
  const lines = options.map((option) => `${host} ${option}`);
  return [[`${host} ${options.join(" ")}`], lines, lines.toReversed()];
}

Deno.test("greeter connect --checks says the same however the checks of a host are split into lines", async () => {
  const [down = 0, listed = 0, other = 0] = freePorts(3);
  await using server = serve({ hostname: "127.0.0.1", port: 0, greeting: `greeter listens on ${listed}\r\n` });
  await using silent = serve({ hostname: "127.0.0.1", port: 0, greeting: "hello" });
  const [announcing, plain] = [server.addr.port, silent.addr.port];
  /** Ports with their results, and the exit status. */
  const cases: [options: string[], ...expected: unknown[]][] = [
    [[`-o ${plain}`, `-b ${other}`], 0, `${plain} true`, `${other} true`],
    [[`-b ${other}`, `-o ${down}`], 1, `${down} false`, `${other} null required_failed`],
    // The announcement is in the greeting of another line, and the other port announces nothing.
    [
      [`-p ${announcing}`, `-o ${plain}`, `-b ${listed}`, `-b ${other}`],
      ...[1, `${announcing} true`, `${plain} true`, `${listed} true`, `${other} false not_listening`],
    ],
    [[`-b ${listed}`, `-p ${announcing}=no`], 1, `${announcing} false`, `${listed} null required_failed`],
    [[`-b ${other}=timeout`, `-p ${plain}`], 1, `${plain} true`, `${other} false other_state`],
  ];
  for (const [options, status, ...expected] of cases) {
    await Promise.all(
      split("127.0.0.1", ...options).map(async (lines) => {
        const { code, stdout } = await check(lines, "--json");
        const results = rowsOf(stdout).filter(({ event_type }) => event_type === "probe")
          .map(({ dest_port, ok, reason }) => `${dest_port} ${ok} ${reason ?? ""}`.trimEnd());
        assertEquals([code, results.toSorted()], [status, expected.toSorted()], lines.join("\n"));
      }),
    );
  }
});

Deno.test(
  needs(
    "greeter connect --checks judges no blocked port of a host without another port, and does not wait for one",
    "Linux",
  ),
  async () => {
    const port = freePort();
    await using _servers = serveOn([DB ?? ""], port);
    const blocked = freePort();
    const advice = "not judged: add a port of this host with -p or -o";
    // The port of the other host proves nothing, not even in the same line. Waiting would not help.
    for (
      const lines of [[`${WEB} -b ${blocked}`, `${DB} -p ${port}`], [`${WEB} ${DB} -b ${blocked}`, `${DB} -p ${port}`]]
    ) {
      const { code, stdout } = await check(lines, "--within", "600");
      assertEquals(code, 1);
      assertStringIncludes(stdout.replaceAll(/ +/g, " "), `${WEB}\n${blocked} refused ${advice}\n`);
      assertStringIncludes(stdout, `; not judged: ${WEB}:${blocked}`);
    }
    // Without --checks, it passes as before.
    assertEquals((await run([...GREETER, "connect", `${WEB}`, "-b", `${blocked}`])).code, 0);
  },
);

Deno.test("greeter connect --checks waits for Redis, HTTP and PostgreSQL, each with a request of its own", async () => {
  const requests: string[] = [];
  const answer = (request: string, response: string) =>
    startServer((socket) =>
      socket.on("data", (data) => {
        requests.push(`${data}`);
        socket.end(`${data}` === request ? response : "ERROR\r\n");
      })
    );
  await using redis = await answer("PING\r\n", "+PONG\r\n");
  await using http = await answer("HEAD / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n");
  const sslRequest = "\0\0\0\x08\x04\xd2\x16/";
  const port = freePort();
  await using client = spawn([...CHECKS, "--within", "600", "--json"], { stdin: "piped" });
  const lines = [
    String.raw`127.0.0.1 -p ${redis.port}=+PONG -s 'PING\r\n'`,
    String.raw`127.0.0.1 -p '${http.port}= 200 ' -s "HEAD / HTTP/1.0\r\n\r\n"`,
    String.raw`localhost -4 -p ${port}=N -s \x00\x00\x00\x08\x04\xd2\x16/`,
  ];
  const writer = client.child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(lines.join("\r\n")));
  await writer.close();
  await until(() => client.output.stdout.split("\n").length > 2);
  await using postgres = listenOn(port, (request) => request === sslRequest ? "N" : "E");
  assertEquals((await client.ended).code, 0, client.output.stdout);
  assertEquals(requests.toSorted(), ["HEAD / HTTP/1.0\r\n\r\n", "PING\r\n"]);
  assert(postgres.connections() > 0);
});

/** A server that answers on a port. */
function listenOn(port: number, answer: (request: string) => string) {
  let connections = 0;
  const listener = Deno.listen({ hostname: "127.0.0.1", port });
  const serving = (async () => {
    for await (const connection of listener) {
      connections++;
      const buffer = new Uint8Array(100);
      const length = await connection.read(buffer) ?? 0;
      // Latin-1, so that each byte is a character.
      await connection.write(new TextEncoder().encode(answer(String.fromCharCode(...buffer.subarray(0, length)))));
      connection.close();
    }
  })();
  return {
    connections: () => connections,
    async [Symbol.asyncDispose]() {
      listener.close();
      await serving;
    },
  };
}

Deno.test("greeter connect --checks sends nothing if a line is invalid, and exits 2", async () => {
  await using server = await startServer((socket) => socket.end("hello\n"));
  const valid = `127.0.0.1 -p ${server.port}`;
  const cases: [lines: string[], args: string[], message: string][] = [
    [[valid, "127.0.0.1 -p"], [], "line 2: -p requires a value, such as -p 8080"],
    [[valid, `127.0.0.1 -b ${freePort()}`], ["-t", "1.4"], TOO_SHORT],
    [[], [], "there is no check on standard input; write one in each line, such as web1 -p 80 -b 22"],
  ];
  for (const [lines, args, message] of cases) {
    assertEquals(await check(lines, ...args), { code: 2, stdout: "", stderr: `greeter: ${message}\n` });
  }
  assertEquals(server.connections(), 0);
  assertEquals((await check([valid], "-t", "1.4")).code, 0);
});
const TOO_SHORT = 'invalid value "1.4" for -t: expected at least 1.5 seconds with --blocked in line 2, ' +
  "because with less, a lost packet looks like a firewall";

Deno.test(needs("greeter connect --checks does not wait for a terminal, and says what to type", "script"), async () => {
  const command = CHECKS.map((word) => `'${word}'`).join(" ");
  const { code, stdout } = await run(["script", "-qec", command, "/dev/null"]);
  assertEquals(code, 2);
  assertEquals(
    stdout.trimEnd(),
    "greeter: --checks reads from standard input; write greeter connect --checks < FILE",
  );
});

Deno.test(needs("greeter connect --checks says that standard input cannot be read", "signals"), async () => {
  const { code, stdout, stderr } = await run(["sh", "-c", '"$@" < /', "sh", ...CHECKS]);
  assertEquals([code, stdout], [2, ""]);
  assertStringIncludes(stderr, "greeter: cannot read standard input: ");
});

/** Whether a thread of a process waits for input from a pipe. */
async function readsPipe(pid: number): Promise<boolean> {
  const tasks = await Array.fromAsync(Deno.readDir(`/proc/${pid}/task`));
  const places = tasks.map(({ name }) => Deno.readTextFile(`/proc/${pid}/task/${name}/wchan`).catch(() => ""));
  return (await Promise.all(places)).some((place) => place.includes("pipe_read"));
}

Deno.test(
  needs(
    "greeter connect --checks ignores SIGHUP, and ends on a signal, while it reads standard input",
    "/proc",
    "root",
  ),
  async () => {
    for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
      await using client = spawn(CHECKS, { stdin: "piped" });
      await until(() => readsPipe(client.child.pid));
      client.child.kill("SIGHUP");
      client.child.kill(signal);
      assertEquals([(await client.ended).code, client.output], [status, { stdout: "", stderr: "" }]);
      await client.child.stdin.abort().catch(() => {}); // the pipe has no reader anymore
    }
  },
);

Deno.test(needs("greeter connect --checks checks 1,000 lines with as many hosts in one run", "Linux"), async () => {
  const port = freePort();
  await using _server = serveOn(["0.0.0.0"], port);
  const lines = Array.from({ length: 1000 }, (_, i) => `127.0.${1 + i % 4}.${1 + Math.floor(i / 4)} -p ${port}=hello`);
  const { code, stdout } = await check(lines);
  assertEquals(code, 0, stdout);
  const [, last = ""] = stdout.trimEnd().match(/.*\n(.*)$/) ?? [];
  const [, seconds] = last.match(/^1000 of 1000 ports as expected in ([\d.]+)s$/) ?? [];
  // One after the other, with two tenths of a second for each, it would take 200 s.
  assert(Number(seconds) < 30, last);
  assertEquals(stdout.match(/^127.*$/gm), lines.map((line) => line.split(" ")[0] ?? ""));
});

Deno.test("greeter connect --checks prints the error of each host, with its line, in the order of the lines", async () => {
  const lines = [
    "nope1.invalid",
    "# comment",
    "nope2.invalid",
    "127.0.0.1 -6",
    "::1 -6 -o 80",
    "nope2.invalid -o 80",
    "::1 -4",
  ];
  const unknown = (host: string) => `cannot connect: unknown host "${host}"; check the name`;
  const { code, stdout, stderr } = await check(lines, "--json", "-t", "1");
  const errors = rowsOf(stdout).filter(({ event_type }) => event_type === "error");
  assertEquals(errors.slice(0, 2).map(({ host, line, error }) => [host, line, error]), [
    ["nope1.invalid", 1, unknown("nope1.invalid")],
    ["nope2.invalid", 3, unknown("nope2.invalid")],
  ]);
  assertEquals(errors.slice(2).filter(({ line }) => line !== 5).map(({ host, line }) => [host, line]), [
    ["127.0.0.1", 4],
    ["::1", 7],
  ]);
  assertEquals([code, withoutWarning(stderr)], [
    2,
    errors.map(({ line, error }) => `greeter: line ${line}: ${error}\n`).join(""),
  ]);
});

Deno.test(
  needs("greeter connect prints what is known when a signal comes after a host has had an error", "signals"),
  async () => {
    let accepted = false;
    await using silent = await startServer(() => accepted = true);
    await using client = spawn([...CHECKS, "-t", "60"], { stdin: "piped" });
    const writer = client.child.stdin.getWriter();
    const lines = `127.0.0.2 -6\n127.0.0.1 -p ${silent.port}\n`; // the error of the first host is known at once
    await writer.write(new TextEncoder().encode(lines));
    await writer.close();
    await until(() => accepted);
    client.child.kill("SIGINT");
    assertEquals((await client.ended).code, 130);
    assertStringIncludes(client.output.stdout, "0 of 2 ports as expected");
    assertStringIncludes(client.output.stdout, "interrupted; 2 ports without a result");
  },
);

Deno.test(
  needs("greeter connect prints the errors of hosts even if standard output cannot be written", "/dev/full", "sh"),
  async () => {
    const command = `exec "$@" > /dev/full`;
    const args = ["connect", "nope1.invalid", "127.0.0.1", "nope2.invalid", "-o", `${freePort()}`];
    const { code, stderr } = await run(["sh", "-c", command, "sh", ...GREETER, ...args]);
    const [first = "", second = "", third = ""] = withoutWarning(stderr).split("\n");
    assertEquals([code, first.includes("nope1.invalid"), second.includes("nope2.invalid")], [2, true, true]);
    assertStringIncludes(third, "cannot write to standard output");
  },
);
