/**
 * Runs the commands in the documentation as printed, and compares what they print with what is shown. Each test
 * runs in its own network namespace, where every port is free, with `lab.example` and others as names of addresses there.
 *
 * @module
 */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { Socket } from "node:net";
import { PROBE_STATES } from "../../client.ts";
import { connectHelp } from "../../cli/connect/command.ts";
import { serveHelp } from "../../cli/serve/command.ts";
import { check } from "../helpers/check.ts";
import { type Block, blockWith, examplesOf, tableAfter } from "./docs_blocks.ts";
import { connectAndReset, connectFrom, greetingFrom, isRefused, readBytes } from "../helpers/clients.ts";
import { testsInNamespace } from "../helpers/namespaces.ts";
import { GREETER, type Process, ROOT, run, spawn, withoutWarning } from "../helpers/processes.ts";
import { startServer } from "../helpers/servers.ts";
import { until } from "../helpers/waiting.ts";

const test = testsInNamespace(
  `
    ip address add 192.0.2.7/32 dev lo
    ip address add 192.0.2.8/32 dev lo
    ip address add 2001:db8::7/128 dev lo || true
    hosts=$(mktemp)
    printf '%s\\n' '127.0.0.1 localhost' '::1 localhost' '192.0.2.7 lab.example web1' '192.0.2.8 web2' \\
      '192.0.2.7 both.example' '2001:db8::7 both.example' > "$hosts"
    mount --bind "$hosts" /etc/hosts
    rm "$hosts" 2> /dev/null || true
  `,
  import.meta.filename ?? "",
);

// `greeter`, `sudo`, `ssh` and `npx` as programs. `ssh` runs the command here.
const programs = await Deno.makeTempDir();
const scripts = {
  greeter: `exec ${GREETER.map((word) => `'${word}'`).join(" ")} "$@"`,
  sudo: 'exec "$@"',
  ssh: 'shift && exec "$@"',
  npx: `[ "$1 $2" = "-y deno@2.9.6" ] && shift 2 && exec '${Deno.execPath()}' "$@"`,
};
for (const [name, script] of Object.entries(scripts)) {
  await Deno.writeTextFile(`${programs}/${name}`, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}
globalThis.addEventListener("unload", () => Deno.removeSync(programs, { recursive: true }));
const env = { PATH: `${programs}:${Deno.env.get("PATH")}` };

const shell = (script: string) => ["sh", "-c", script];

/**
 * Starts a server's command in its own process group, and waits until it listens. At the end of its scope, the whole group
 * is killed: `deno task` would leave the server running.
 */
async function start(script: string, cwd?: string): Promise<Process> {
  const process = spawn(shell(`exec ${script}`), { env, cwd, detached: true });
  try {
    await until(() => /listening/i.test(process.output.stdout));
  } catch (error) {
    await process[Symbol.asyncDispose]();
    throw error;
  }
  return process;
}

/** Presses Ctrl-C, which a terminal sends to the whole process group. */
async function interrupt({ child, ended }: Process) {
  Deno.kill(-child.pid, "SIGINT");
  await ended;
}

/** The lines of commands, without continuation lines. */
function commands({ text }: Block): string[] {
  return text.replaceAll("\\\n", "").split("\n");
}

/** Replaces what differs from run to run. */
function normalize(output: string): string {
  return output.replace(/(127\.0\.0\.1|192\.0\.2\.7):\d{5}/g, "CLIENT").replace(/ in \d+(\.\d+)?m?s/g, " in TIME")
    .replace("^C", "");
}

/** Compares what a command has printed with a block that begins with the command. */
function assertShown({ text }: Block, output: string) {
  assertEquals(normalize(output), normalize(`${text.split("\n").slice(1).join("\n")}\n`));
}

function serverCommand({ text }: Block): string {
  return text.split("\n")[0]?.replace(/^\$ /, "") ?? "";
}

/** Listens on a port, and sends a reply to each client that has sent a request. */
function serveReply(port: number, request: string, reply: string): Deno.TcpListener {
  const listener = Deno.listen({ port });
  const answer = async (conn: Deno.TcpConn) => {
    const received = String.fromCharCode(...await readBytes(conn, request.length));
    if (received === request) await conn.write(new TextEncoder().encode(reply));
    conn.close();
  };
  (async () => {
    for await (const conn of listener) answer(conn).catch(() => {}); // a client that has sent nothing
  })();
  return listener;
}

test("README: quick start", ["git"], async () => {
  const commandsOf = ({ text }: Block) => [...text.matchAll(/^\$ (.*)$/gm)].map(([, command = ""]) => command);
  const shown = blockWith("README.md", "git clone REPOSITORY");
  const [clone = "", serve = ""] = commandsOf(shown);
  const check = blockWith("README.md", "task start connect");
  const cwd = await Deno.makeTempDir();
  const cloned = await run(shell(clone.replace("REPOSITORY", `'${ROOT}'`)), { cwd, env });
  assertEquals(cloned.code, 0, cloned.stderr);
  await using server = await start(serve, `${cwd}/greeter`);
  const client = await run(shell(serverCommand(check)), { cwd: `${cwd}/greeter`, env });
  assertEquals(client.code, 0);
  assertShown(check, client.stdout);
  await interrupt(server);
  assertEquals(normalize(server.output.stdout), normalize(`${shown.text.split("\n").slice(2).join("\n")}\n`));
  await Deno.remove(cwd, { recursive: true });
});

test("manual: TEXT of the server and of the client", [], async () => {
  const [serve = "", check = ""] = commands(blockWith("docs/manual.md", "Hello, {client}"));
  await using _server = await start(serve);
  assertMatch(await greetingFrom(8080), /^Hello, 127\.0\.0\.1:\d+\n$/);
  const { code, stdout } = await run(shell(check), { env });
  assertEquals(code, 0, stdout);
});

test("manual: greetings of single ports, and clients that are admitted or ignored", [], async () => {
  const ports = await start(blockWith("docs/manual.md", "-p 1-1024").text);
  assertEquals(await Promise.all([22, 21].map((port) => greetingFrom(port))), [
    "SSH-2.0-lab\r\n",
    "220 ProFTPD 1.3.5 Server (lab)\r\n",
  ]);
  assertMatch(await greetingFrom(999), /^Thank you/);
  await interrupt(ports);
  await run(["ip", "address", "add", "192.0.2.1/32", "dev", "lo"]);
  await using clients = await start(blockWith("docs/manual.md", "--ignore 192.0.2.1").text);
  await connectFrom("192.0.2.1", 999);
  await connectFrom("192.0.2.8", 999);
  await connectFrom("127.0.0.2", 999);
  await interrupt(clients);
  const [, ...lines] = normalize(clients.output.stdout).split("\n");
  assertEquals(lines.map((line) => line.replace(/:\d+ on/, " on")), [
    "Received connection from 192.0.2.8 on port 999",
    "Denied connection from 127.0.0.2 on port 999",
    "Stopped: 1 greeting, 1 denied, 0 bytes received in TIME",
    "",
  ]);
});

test("manual: ports that must greet, be open, and be blocked", [], async () => {
  const { text } = blockWith("docs/manual.md", "-b 1-1024");
  await using _server = await start("greeter -p 80,443 -p 22=SSH-2.0-lab");
  const { code, stdout } = await run(shell(text), { env });
  assertEquals(code, 0, stdout);
  assertMatch(stdout, /must be blocked: 1-21,23-79,81-442,444-1024\n[^]*\n1024 of 1024 ports as expected/);
});

test("greeter --help: the examples", ["curl"], async () => {
  const [range = "", banners = "", page = ""] = examplesOf(serveHelp());
  await using ranges = await start(range);
  assertMatch(await greetingFrom(8050), /^Thank you/);
  await interrupt(ranges);
  await using _banners = await start(banners);
  assertEquals([await greetingFrom(2121), await greetingFrom(2222)], ["220 FTP\r\n", "SSH-2.0-lab\r\n"]);
  await using _page = await start(page);
  assertMatch((await run(shell("curl -s http://127.0.0.1:8080"))).stdout, /^You are 127\.0\.0\.1:\d+\r\n$/);
});

test("greeter connect --help: the examples", ["iptables"], async () => {
  await setFirewall();
  await using _greeter = await start("greeter -p 80,443,3306,5432 -p 22=SSH-2.0-lab");
  using _redis = serveReply(6379, "PING\r\n", "+PONG\r\n");
  for (const example of examplesOf(connectHelp())) {
    const { code, stdout } = await run(shell(example), { env });
    assertEquals(code, 0, `${example}\n${stdout}`);
  }
});

test("manual: the log of a scan", [], async () => {
  const block = blockWith("docs/manual.md", "greeter -p 22,25,8000-8100");
  await using server = await start(serverCommand(block));
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: 22 });
  await conn.write(new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n"));
  await new Response(conn.readable).text();
  await until(() => server.output.stdout.includes(" sent "));
  server.child.kill("SIGSTOP");
  for (let port = 8000; port <= 8011; port++) await connectAndReset(port);
  server.child.kill("SIGCONT");
  await until(() => server.output.stdout.includes("reset before they could be accepted"));
  await interrupt(server);
  assertShown(block, server.output.stdout);
});

test("JSON: the log", [], async () => {
  const block = blockWith("docs/json.md", "greeter -p 8080 --json");
  await using server = await start(serverCommand(block));
  await greetingFrom(8080);
  await until(() => server.output.stdout.includes('"connection"'));
  await interrupt(server);
  const withoutTimes = (output: string) => normalize(output).replace(/"timestamp":"[^"]*"|"src_port":\d+/g, "");
  const [, ...shown] = withoutTimes(block.text).split("\n");
  assertEquals(withoutTimes(server.output.stdout).split("\n").slice(0, 2), shown);
});

/** Sets the firewall of the examples: it drops packets to port 3306, and rejects those to port 5432. */
async function setFirewall(command = "iptables") {
  for (const [port, target] of [["3306", "DROP"], ["5432", "REJECT"]] as const) {
    const { code, stderr } = await run([command, "-A", "INPUT", "-p", "tcp", "--dport", port, "-j", target]);
    assertEquals(code, 0, stderr);
  }
}

test(
  "README: a firewall from both sides",
  ["iptables"],
  async () => {
    const { text: serve } = blockWith("README.md", "sudo greeter -p 80,443,3306");
    const block = blockWith("README.md", "3306  timeout");
    const check = serverCommand(block);
    {
      await using server = await start(serve);
      // The firewall is not in place yet.
      const open = await run(shell(check), { env });
      assertEquals(open.code, 1);
      assertMatch(open.stdout, /\n3306 .* {2}expected blocked\n5432 .* {2}expected blocked\n/);
      await setFirewall();
      const { code, stdout, stderr } = await run(shell(check), { env });
      assertEquals([code, withoutWarning(stderr)], [0, ""]);
      assertShown(block, stdout);
      await interrupt(server);
    }
    const down = await run(shell(check), { env });
    assertEquals(down.code, 1);
    assertMatch(down.stdout, /\n3306 .*not judged.*\n5432 .*not judged.*\n/);
    const rules = Deno.readTextFileSync(`${ROOT}/docs/blocked-ports.md`);
    const [, states = ""] = rules.match(/`-b LIST=STATE`[^]*?as in `(-b [^`]*)`/) ?? [];
    await using _server = await start(serve);
    const withStates = async (states: string) => {
      const { code, stdout } = await run(shell(check.replace("-b 3306,5432", states)), { env });
      return [code, ...stdout.match(/^\d+ +(refused|timeout).*/gm) ?? []];
    };
    assertEquals(await withStates(states), [0, "3306  timeout", "5432  refused"]);
    assertEquals((await withStates("-b 5432=timeout")).slice(0, 2), [1, "5432  refused  expected timeout"]);
  },
);

test(
  "blocked ports: a spare port announces the ports that no other program uses",
  ["iptables"],
  async () => {
    const { text: serve } = blockWith("docs/blocked-ports.md", "greeter -p 3306,9999 --announce");
    const block = blockWith("docs/blocked-ports.md", "9999  greeted");
    // Other programs.
    using _http = Deno.listen({ port: 80 });
    using _https = Deno.listen({ port: 443 });
    const inUse = await run(shell(blockWith("README.md", "sudo greeter -p 80,443,3306").text), { env });
    assertEquals([inUse.code, inUse.stdout], [2, ""]);
    await using server = await start(serve);
    await setFirewall();
    const { code, stdout } = await run(shell(serverCommand(block)), { env });
    assertEquals(code, 0);
    assertShown(block, stdout);
    await interrupt(server);
    // The ports of the other programs are open, but greeter has not started yet.
    const early = await run(shell(serverCommand(block)), { env });
    assertEquals(early.code, 1);
    assertMatch(early.stdout, /\n3306 .*not judged/);
  },
);

test("README and manual: wait for services", [], async () => {
  await using _http = await start("greeter -p 80 --http");
  using _redis = serveReply(6379, "PING\r\n", "+PONG\r\n");
  await using _ssh = await start("greeter -p 22=SSH-2.0-lab");
  const [ssh = "", ...others] = commands(blockWith("README.md", "lab.example -p 6379=+PONG"));
  assertMatch((await run(shell(ssh), { env })).stdout, /\n22 {2}greeted {2}"SSH-2\.0-lab\\r\\n"\n1 of 1 .*\nready\n$/);
  assertEquals(ssh.replace(" && echo ready", ""), blockWith("docs/manual.md", "22=SSH-2.0 --within").text);
  assertEquals(others.length, 2);
  for (const command of others) {
    const { code, stdout } = await run(shell(command), { env });
    assertEquals(code, 0, `${command}\n${stdout}`);
    // The same options are in the manual's table.
    const [, options = ""] = command.match(/lab\.example (.*) --within 60$/) ?? [];
    assertStringIncludes(Deno.readTextFileSync(`${ROOT}/docs/manual.md`), ` | \`${options}\` `);
  }
});

test(
  "manual: a smoke test in CI, even if the service fails to start",
  ["python3"],
  async () => {
    const cwd = await Deno.makeTempDir();
    const { text } = blockWith("docs/manual.md", "http.server 8080");
    const passed = await run(shell(text), { cwd, env });
    assertEquals(passed.code, 0, passed.stderr);
    assertMatch(passed.stdout, /1 of 1 port as expected in .*\nThe service is up\.\n$/);
    // The script has stopped the service.
    await until(() => isRefused(8080));
    const failed = await run(shell(text.replace("python3 ", "false ").replace("--within 30", "--within 1")), {
      cwd,
      env,
    });
    assertEquals([failed.code, withoutWarning(failed.stderr)], [1, ""]);
    assertMatch(failed.stdout, /^8080 {2}refused {2}expected greeted\n0 of 1 port as expected .*\n$/);
    // Another program is on the port of the service.
    using _other = Deno.listen({ hostname: "127.0.0.1", port: 8080 });
    const inUse = await run(shell(text), { cwd, env });
    assertEquals([inUse.code, inUse.stdout, withoutWarning(inUse.stderr)], [1, "", "Port 8080 is in use.\n"]);
    // If the check itself fails, the port may be free.
    const unknown = await run(shell(text.replace("127.0.0.1 -b", "nope.invalid -b")), { cwd, env });
    assertEquals([unknown.code, unknown.stdout, unknown.stderr.includes("in use")], [1, "", false]);
    assertStringIncludes(unknown.stderr, "nope.invalid");
    await Deno.remove(cwd, { recursive: true });
  },
);

test(
  "the manual: record scans with tcpdump",
  ["nmap", "tcpdump"],
  async () => {
    const cwd = await Deno.makeTempDir();
    const { text } = blockWith("docs/manual.md", "sudo tcpdump");
    await using tcpdump = spawn(shell(`exec ${text.replace("tcpdump ", "tcpdump -l ")}`), { env, cwd }); // -l: unbuffered
    await until(() => tcpdump.output.stderr.includes("listening on any"));
    await using _server = await start("greeter -p 8080");
    const recorded = async () => {
      const log = await Deno.readTextFile(`${cwd}/scans.log`);
      return [...log.matchAll(/ IP (\S+)\.\d+ > \S+\.(\d+): Flags \[(\w+)\]/g)].map(([, ...parts]) => parts.join(" "));
    };
    // A client that asks for ECN sends SYN with two more flags.
    await Deno.writeTextFile("/proc/sys/net/ipv4/tcp_ecn", "1");
    await greetingFrom(8080, "192.0.2.7");
    await Deno.writeTextFile("/proc/sys/net/ipv4/tcp_ecn", "2");
    for (const scan of ["-sT", "-sS"]) {
      assertEquals((await run(shell(`nmap -n -Pn ${scan} -S 192.0.2.8 -e lo -p 8080 192.0.2.7`))).code, 0);
    }
    await until(async () => (await recorded()).length >= 3);
    assertEquals(await recorded(), ["192.0.2.7 8080 SEW", "192.0.2.8 8080 S", "192.0.2.8 8080 S"]);
    await Deno.remove(cwd, { recursive: true });
  },
);

test(
  "README: a lab machine with eight services, as nmap sees it",
  ["nmap"],
  async () => {
    const [serve = ""] = commands(blockWith("README.md", "RFB 003.008"));
    await using server = await start(serve);
    assertStringIncludes(server.output.stdout, "(8 ports)");
    const { stdout } = await run(shell("nmap -sV -p 21,22,25,80,110,143,587,5900 127.0.0.1"), { env });
    const services = [...stdout.matchAll(/^(\d+)\/tcp +open +\S+ +(\S.*)$/gm)].map(([, port, version]) =>
      `${port} ${version}`
    );
    assertEquals(services.slice(0, 2), ["21 ProFTPD 1.3.5", "22 OpenSSH 9.2p1 (protocol 2.0)"]);
    // All but the web page.
    assertEquals(services.map((service) => service.split(" ")[0]), "21 22 25 110 143 587 5900".split(" "));
  },
);

test("README: a page for curl", ["curl"], async () => {
  const [, serve = ""] = Deno.readTextFileSync(`${ROOT}/README.md`).match(/`(greeter -p 8080 --http .*?)`/) ?? [];
  await using _server = await start(serve);
  const { stdout } = await run(shell("curl http://lab.example:8080"), { env });
  assertMatch(stdout, /^You reached port 8080 as 192\.0\.2\.7:\d+\r\n$/);
});

test(
  "manual: a page beside a banner",
  ["curl", "nc"],
  async () => {
    const [serve = ""] = commands(blockWith("docs/manual.md", "--http=8080"));
    await using _server = await start(serve);
    const { stdout } = await run(shell("curl -s http://127.0.0.1:8080; nc -w 50 127.0.0.1 2121"), { env });
    assertMatch(stdout, /^You reached port 8080 as 127\.0\.0\.1:\d+\r\n220 lab FTP\r\n$/);
  },
);

test("manual: the list of open ports", [], async () => {
  await using _server = await start(blockWith("docs/manual.md", "-p 8000-8002 --announce").text);
  const [, line = ""] = Deno.readTextFileSync(`${ROOT}/docs/manual.md`).match(/`(greeter listens on .*?)`/) ?? [];
  assertEquals(await greetingFrom(8000), `Thank you for connecting to the server.\r\n${line}\r\n`);
  assertEquals(await greetingFrom(2121), "220 lab FTP\r\n");
});

test(
  "blocked ports: a firewall from both sides",
  ["iptables", "IPv6"],
  async () => {
    const without = blockWith("docs/blocked-ports.md", "not: 3306,5432; the server");
    const withFirewall = blockWith("README.md", "3306  timeout");
    const bothFamilies = blockWith("docs/blocked-ports.md", "both.example");
    const serve = blockWith("docs/blocked-ports.md", "--within 600").text;
    const check = async (block: Block, args = "") => {
      const { code, stdout } = await run(shell(`${serverCommand(block)} ${args}`), { env });
      if (args === "") assertShown(block, stdout);
      return code;
    };
    {
      await using server = await start(serve);
      assertEquals(await check(without), 1);
      await setFirewall();
      assertEquals(serverCommand(without), serverCommand(withFirewall));
      assertEquals(await check(withFirewall), 0);
      assertEquals(await check(bothFamilies), 1);
      assertEquals(await check(bothFamilies, "-4"), 0);
      await interrupt(server);
    }
    await using _server = await start(`${serve} -H ::`);
    assertEquals(await check(bothFamilies, "-q"), 1);
    await setFirewall("ip6tables");
    assertEquals(await check(bothFamilies, "-q"), 0);
  },
);

/**
 * Runs the CI job, with parts of it replaced. Returns its exit status and what it has printed. The server is
 * stopped when the clients have ended, instead of after a minute.
 */
async function runJob(...replaced: readonly (readonly [part: string, replacement: string])[]) {
  let job = blockWith("docs/blocked-ports.md", "ssh lab.example").text;
  for (const [part, replacement] of [["wait $!", "kill $!; wait $!"], ...replaced] as const) {
    assertStringIncludes(job, part);
    job = job.replaceAll(part, replacement);
  }
  const cwd = await Deno.makeTempDir();
  const { code, stdout } = await run(shell(job), { cwd, env });
  await Deno.remove(cwd, { recursive: true });
  return { code, stdout };
}

/** The exit status of a job whose first client has passed, and the lines of the ports that the second one fails. */
function failedPorts({ code, stdout }: { code: number; stdout: string }): (number | string)[] {
  const [, second = ""] = stdout.split("\n2 of 2 ports as expected in ");
  return [code, ...second.match(/^\d+ {2}.*(expected|not proven).*/gm) ?? []];
}

test(
  "blocked ports: the CI job passes behind a firewall, and fails without one",
  ["iptables"],
  async () => {
    const open = failedPorts(await runJob());
    assertEquals([open.length, open[0]], [3, 1]);
    await setFirewall();
    const { code, stdout } = await runJob();
    assertEquals(code, 0, stdout);
    assertMatch(stdout, /\n2 of 2 ports as expected[^]*\n4 of 4 ports as expected.*the server listens on 3306,5432\n$/);
  },
);

test(
  "blocked ports: the CI job fails if its server cannot start, because that of another job is still running",
  ["iptables"],
  async () => {
    await setFirewall();
    await using _server = await start(blockWith("docs/blocked-ports.md", "--within 600").text);
    const { code, stdout } = await runJob();
    assertEquals([code, stdout.includes("4 of 4 ports as expected")], [2, true]);
  },
);

const NOT_LISTENING = "not proven: the server does not listen on it; add it to --port of the server, or correct -b";

test(
  "blocked ports: the CI job fails if a blocked port is mistyped in the list of the server",
  ["iptables"],
  async () => {
    await setFirewall();
    const result = await runJob(['"$pass,$block"', "80,443,3360,5432"]);
    assertEquals(failedPorts(result), [1, `3306  timeout  ${NOT_LISTENING}`]);
  },
);

test(
  "blocked ports: the CI job fails if a blocked port is mistyped in the list of the client",
  ["iptables"],
  async () => {
    await setFirewall();
    const result = await runJob(['-b "$block"', "-b 3306,5423"]);
    assertEquals(failedPorts(result), [1, `5423  refused  ${NOT_LISTENING}`]);
  },
);

test(
  "blocked ports: the CI job fails if its server starts only when the clients have ended",
  ["iptables"],
  async () => {
    await setFirewall();
    const wait = "sh -c 'until [ -e ended ]; do sleep 0.1; done; exec \"$@\"' sh";
    const { code, stdout } = await runJob(
      ["ssh lab.example", `${wait} ssh lab.example`],
      ["kill $!; wait $!", "touch ended; wait $!"],
      ["--within 60", "--within 1"],
      ["--within 30", "--within 1"],
    );
    assertEquals(code, 1);
    assertMatch(stdout, /\n80 +refused {2}expected greeted\n443 +refused {2}expected greeted\n0 of 2 ports .*\n$/);
  },
);

test(
  "blocked ports: the CI job fails if another program has a blocked port, and the server skips it",
  ["iptables"],
  async () => {
    await setFirewall();
    // It cannot be reached from elsewhere, so it would look blocked without any firewall.
    await run(shell("iptables -D INPUT -p tcp --dport 3306 -j DROP"));
    using _other = Deno.listen({ hostname: "127.0.0.1", port: 3306 });
    const result = await runJob(["--announce", "--announce --skip-taken"]);
    assertEquals(failedPorts(result), [1, `3306  refused  ${NOT_LISTENING}`]);
  },
);

test(
  "blocked ports: the CI job fails if the name has an IPv6 address, and the server listens on IPv4 only",
  ["iptables", "IPv6"],
  async () => {
    await setFirewall();
    const result = await runJob(["connect lab.example", "connect both.example"]);
    const why =
      "not proven at 2001:db8::7: no port that must greet or be open could be reached there; -4 checks IPv4 only";
    assertEquals(failedPorts(result), [1, `3306  refused  ${why}`, `5432  refused  ${why}`]);
  },
);

test(
  "manual: --count 1 leaves no connection for a control, and --count 4 is enough for a few blocked ports",
  [],
  async () => {
    await using _server = await start("greeter -p 80,443 --count 1");
    await using _other = await start("greeter -p 81 --count 4");
    const { code, stdout } = await run(shell("greeter connect lab.example -p 80 -b 3306"), { env });
    assertEquals(code, 1);
    assertMatch(stdout, /\n3306 {2}refused {2}not proven: port 80 refused the 2nd connection /);
    assertEquals((await run(shell("greeter connect lab.example -p 81 -b 3306 --quiet"), { env })).code, 0);
  },
);

test(
  "JSON: the ports that are not as expected",
  ["bash", "jq"],
  async () => {
    const { text } = blockWith("docs/json.md", ".ok != true");
    const check = async (host: string) => {
      const [, ...args] = shell(text.replace("lab.example", host));
      const { code, stdout } = await run(["bash", ...args], { env });
      const rows: { event_type: string; dest_port?: number; state?: string }[] = stdout.split("\n").slice(0, -1)
        .map((row) => JSON.parse(row));
      const shown = rows.map(({ event_type, dest_port = "", state = "" }) => `${event_type} ${dest_port} ${state}`);
      return [code, ...shown.toSorted()];
    };
    await using _server = await start("greeter -p 80,3306");
    assertEquals(await check("lab.example"), [1, "probe 3306 greeted", "probe 443 refused"]);
    assertEquals(await check("nosuch.invalid"), [2, "error  "]);
  },
);

/** What servers do with a connection, by a name. */
const SERVERS: Record<string, (socket: Socket) => void> = {
  greeting: (socket) => socket.end("220 ready\r\n"),
  other: (socket) => socket.end("500 sorry\r\n"),
  silent: (socket) => socket.resume(),
  closing: (socket) => socket.end(),
  resetting: (socket) => socket.resetAndDestroy(),
};

test("manual: the table of states and expectations", [], async () => {
  // Nobody answers at 192.0.2.53, and there is a route that rejects packets to 192.0.2.54.
  await run(shell(`
    ip link add greeter0 type veth peer name greeter1
    ip address add 192.0.2.1/24 dev greeter0
    ip link set greeter0 up
    ip link set greeter1 up
    ip neighbor add 192.0.2.53 lladdr 02:00:00:00:00:01 dev greeter0
    ip route add unreachable 192.0.2.54
  `));
  const targets = [["127.0.0.1", 9], ["192.0.2.53", 80], ["192.0.2.54", 80]] as [hostname: string, port: number][];
  await using servers = new AsyncDisposableStack();
  for (const onConnection of Object.values(SERVERS)) {
    targets.push(["127.0.0.1", servers.use(await startServer(onConnection)).port]);
  }
  const columns = { "`-p`": "greeted", "`-o`": "open", "`-b`": "blocked" } as const;
  const cells = new Map<string, Set<string>>();
  const checks = Object.entries(columns).flatMap(([column, option]) =>
    targets.map(async ([hostname, port]) => {
      for await (const { state, ok } of check({ hostname, [option]: port, expect: "220", timeout: 1500 })) {
        const cell = `${state} ${column}`;
        cells.set(cell, (cells.get(cell) ?? new Set()).add(ok ? "pass" : "fail"));
      }
    })
  );
  await Promise.all(checks);
  const rows = tableAfter(
    "docs/manual.md",
    "Each port has one of these states. Which states pass depends on the option. A state with an empty cell cannot occur:",
  );
  assertEquals(rows.map(({ state }) => state), PROBE_STATES.map((state) => `\`${state}\``));
  for (const row of rows) {
    for (const column of Object.keys(columns)) {
      const cell = `${row.state?.replaceAll("`", "")} ${column}`;
      assertEquals(row[column], [...cells.get(cell) ?? []].join(), cell);
    }
  }
});

test("manual: several hosts", ["iptables"], async () => {
  const block = blockWith("docs/manual.md", "greeter connect web1 web2");
  await run(shell("iptables -A INPUT -d 192.0.2.7 -p tcp --dport 3306 -j DROP"));
  await using _web1 = await start("greeter -H web1 -p 80");
  await using _web2 = await start("greeter -H web2 -p 80,3306");
  const { code, stdout } = await run(shell(serverCommand(block)), { env });
  assertEquals(code, 1);
  assertShown(block, stdout);
});

test("manual: the table of clients", [], async () => {
  for (const address of ["192.0.2.21", "192.0.2.22", "192.0.2.23"]) {
    await run(["ip", "address", "add", `${address}/32`, "dev", "lo"]);
  }
  const block = blockWith("docs/manual.md", "--quiet --clients");
  await using server = spawn(shell(`exec ${serverCommand(block)}`), { env, detached: true });
  await until(() => connectFrom("192.0.2.23", 8009));
  for (const port of [21, 22]) await connectFrom("192.0.2.21", port, "GET /\r\n");
  await connectFrom("192.0.2.21", 80, "HELP\r\n");
  await connectFrom("192.0.2.22", 22, "SSH-2.0-Go\r\n");
  await connectFrom("192.0.2.22", 8000);
  server.child.kill("SIGSTOP");
  for (let port = 8000; port <= 8009; port++) await connectAndReset(port);
  server.child.kill("SIGCONT");
  await connectFrom("192.0.2.21", 80);
  await interrupt(server);
  const withoutTimes = (output: string) => normalize(output).replace(/\d\d:\d\d:\d\d/g, "HH:MM:SS");
  const [, ...shown] = withoutTimes(block.text.replace("\n^C", "\n")).split("\n");
  assertEquals(withoutTimes(server.output.stdout).trimEnd().split("\n"), shown);
});

test("JSON: which ports each client found", ["jq"], async () => {
  const cwd = await Deno.makeTempDir();
  await using server = await start("greeter -p 21-23,8000-8100 --json --clients");
  for (const port of [21, 22, 8000]) await connectFrom("127.0.0.2", port);
  // More ranges than are recorded.
  for (let port = 8000; port <= 8032; port += 2) await connectFrom("127.0.0.3", port);
  await interrupt(server);
  await Deno.writeTextFile(`${cwd}/log.jsonl`, server.output.stdout);
  const { text } = blockWith("docs/json.md", ".more_ports");
  assertEquals(text.includes("\n"), false);
  const { code, stdout } = await run(shell(text), { cwd, env });
  const ports = Array.from({ length: 16 }, (_, i) => 8000 + 2 * i).join();
  assertEquals([code, stdout], [0, `127.0.0.3 ${ports},...\n127.0.0.2 21-22,8000\n`]);
  await Deno.remove(cwd, { recursive: true });
});

test("manual: the log in a file", [], async () => {
  const cwd = await Deno.makeTempDir();
  const { text } = blockWith("docs/manual.md", "tee -i");
  for (const script of [text, text.replace("tee -i", "tee")]) {
    await using server = await start(script, cwd);
    await greetingFrom(80);
    await interrupt(server);
    const isComplete = script === text;
    const end = /1 client:\n.*\n127\.0\.0\.1 .*\nStopped: 1 greeting, /;
    assertEquals(end.test(await Deno.readTextFile(`${cwd}/class.log`)), isComplete);
    assertEquals(end.test(server.output.stderr), !isComplete);
  }
  await Deno.remove(cwd, { recursive: true });
});

test(
  "JSON: which clients sent the most data",
  ["jq"],
  async () => {
    const cwd = await Deno.makeTempDir();
    const closed = (src_ip: string, bytes_received: number) =>
      JSON.stringify({ event_type: "closed", src_ip, bytes_received });
    const log = [closed("192.0.2.1", 5), closed("192.0.2.2", 7), closed("192.0.2.1", 10), `{"event_type":"stopped"}`];
    await Deno.writeTextFile(`${cwd}/log.jsonl`, log.join("\n"));
    const { stdout } = await run(shell(blockWith("docs/json.md", "group_by(.src_ip)").text), { cwd, env });
    assertEquals(stdout, "15 192.0.2.1\n7 192.0.2.2\n");
    await Deno.remove(cwd, { recursive: true });
  },
);

test(
  "manual: deno install makes a command that runs main.ts of the checkout",
  [],
  async () => {
    const root = await Deno.makeTempDir();
    const { text } = blockWith("docs/manual.md", "deno install");
    const command = text.replace("deno install", `'${Deno.execPath()}' install --root '${root}'`);
    const installed = await run(shell(command), { cwd: ROOT, env });
    assertEquals(installed.code, 0, installed.stderr);
    const { stdout } = await run([`${root}/bin/greeter`, "--version"], {
      env: { PATH: `${Deno.execPath().replace(/\/[^/]*$/, "")}:${Deno.env.get("PATH")}` },
    });
    assertMatch(stdout, /^greeter \d+\.\d+\.\d+(-dev)?\n$/);
    await Deno.remove(root, { recursive: true });
  },
);
