/**
 * Runs the commands in the documentation as printed, and compares what they print with what is shown. Each test
 * runs in its own network namespace, where every port is free, with `lab.example` as a name of the loopback address.
 *
 * @module
 */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { type Block, blockWith } from "./docs_blocks.ts";
import { DEFAULTS } from "../server.ts";
import {
  connectAndReset,
  GREETER,
  greetingFrom,
  needsPrograms,
  type Process,
  ROOT,
  run,
  spawn,
  testsInNamespace,
  until,
} from "./helpers.ts";

const test = testsInNamespace(
  `
    hosts=$(mktemp)
    printf '127.0.0.1 localhost lab.example\\n' > "$hosts"
    mount --bind "$hosts" /etc/hosts
    rm "$hosts" 2> /dev/null || true
  `,
  import.meta.filename ?? "",
);

/** For tests that need only the namespace. */
const always = { ignore: false };

// `greeter`, `sudo` and `npx` as programs.
const programs = await Deno.makeTempDir();
const scripts = {
  greeter: `exec ${GREETER.map((word) => `'${word}'`).join(" ")} "$@"`,
  sudo: 'exec "$@"',
  npx: `[ "$1 $2" = "-y deno@2.9.6" ] && shift 2 && exec '${Deno.execPath()}' "$@"`,
};
for (const [name, script] of Object.entries(scripts)) {
  await Deno.writeTextFile(`${programs}/${name}`, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}
globalThis.addEventListener("unload", () => Deno.removeSync(programs, { recursive: true }));
const env = { PATH: `${programs}:${Deno.env.get("PATH")}`, NO_COLOR: "1" };

const shell = (script: string) => ["sh", "-c", script];

/** Starts a server's command in its own process group, and waits until it listens. */
async function start(script: string, cwd?: string): Promise<Process> {
  const process = spawn(["setsid", ...shell(`exec ${script}`)], { env, cwd });
  await until(() => process.output.stdout.includes("istening"));
  return process;
}

/** Presses Ctrl-C, which a terminal sends to the whole process group. */
async function interrupt({ child, ended }: Process) {
  await run(["kill", "-INT", "--", `-${child.pid}`]);
  await ended;
}

/** The lines of commands, without continuation lines. */
function commands({ text }: Block): string[] {
  return text.replaceAll("\\\n", "").split("\n");
}

/** Replaces what differs from run to run. */
function normalize(output: string): string {
  return output.replace(/127\.0\.0\.1:\d{5}/g, "CLIENT").replace(/ in \d+(\.\d+)?m?s/g, " in TIME").replace("^C", "");
}

/** Compares what a command has printed with a block that begins with the command. */
function assertShown({ text }: Block, output: string) {
  assertEquals(normalize(output), normalize(`${text.split("\n").slice(1).join("\n")}\n`));
}

function serverCommand({ text }: Block): string {
  return text.split("\n")[0]?.replace(/^\$ /, "") ?? "";
}

test("README: quick start (needs Linux, ip, unshare -nm, and git)", needsPrograms("git"), async () => {
  const [clone = "", serve = "", connect = "", test = ""] = commands(blockWith("README.md", "git clone REPOSITORY"));
  const cwd = await Deno.makeTempDir();
  const cloned = await run(shell(clone.replace("REPOSITORY", `'${ROOT}'`)), { cwd, env });
  assertEquals(cloned.code, 0, cloned.stderr);
  await using server = await start(serve, `${cwd}/greeter`);
  const client = await run(shell(connect), { cwd: `${cwd}/greeter`, env });
  assertStringIncludes(client.stdout, `9999  greeted  "Thank you for connecting to the server.\\r\\n"`);
  assertEquals(client.code, 0);
  // This test is a part of the tests, so it does not run them again.
  assertMatch(test, /^npx -y deno@2\.9\.6 task test +#/);
  await interrupt(server);
  assertMatch(server.output.stdout, /Stopped: 1 greeting/);
  await Deno.remove(cwd, { recursive: true });
});

test("README: the log (needs Linux, ip, and unshare -nm)", always, async () => {
  const block = blockWith("README.md", "greeter -p 8080,8443");
  await using server = await start(serverCommand(block));
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: 8080 });
  await conn.write(new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n"));
  await new Response(conn.readable).text();
  await interrupt(server);
  assertShown(block, server.output.stdout);
  const jsonBlock = blockWith("README.md", "event_type");
  await using json = await start(serverCommand(jsonBlock));
  await greetingFrom(8080);
  await until(() => json.output.stdout.includes('"connection"'));
  await interrupt(json);
  const withoutTimes = (output: string) => normalize(output).replace(/"timestamp":"[^"]*"|"src_port":\d+/g, "");
  const [, ...shown] = withoutTimes(jsonBlock.text).split("\n");
  assertEquals(withoutTimes(json.output.stdout).split("\n").slice(0, 2), shown);
});

test(
  "README: which ports a firewall lets through (needs Linux, ip, unshare -nm, and iptables)",
  needsPrograms("iptables"),
  async () => {
    const [serve = "", check = ""] = commands(blockWith("README.md", "--count 1 --within 600"));
    const iptables = (action: string) => run(["iptables", action, "INPUT", "-p", "tcp", "--dport", "80", "-j", "DROP"]);
    assertEquals((await iptables("-A")).code, 0);
    await using server = await start(serve);
    const blocked = await run(shell(check), { env });
    assertEquals(normalize(blocked.stdout).split("\n"), [
      "lab.example is 127.0.0.1",
      String.raw`22         greeted  "Thank you for connecting to the server.\r\n"`,
      "80         timeout",
      String.raw`443        greeted  "Thank you for connecting to the server.\r\n"`,
      String.raw`8000-8100  greeted  "Thank you for connecting to the server.\r\n"`,
      "103 of 104 ports greeted (content not checked; see --expect) in TIME",
      "",
    ]);
    assertEquals((await iptables("-D")).code, 0);
    assertEquals(await greetingFrom(80), DEFAULTS.greeting);
    assertEquals([(await server.ended).code, server.output.stderr], [0, ""]);
  },
);

test(
  "README: a smoke test in CI, even if the server fails to start (needs Linux, ip, and unshare -nm)",
  always,
  async () => {
    const { text } = blockWith("README.md", "greeter -H 127.0.0.1 -p 8080");
    const passed = await run(shell(text), { env });
    assertEquals([passed.code, passed.stderr], [0, ""]);
    assertStringIncludes(passed.stdout, "1 of 1 port greeted");
    using _occupied = Deno.listen({ hostname: "127.0.0.1", port: 8080 });
    const failed = await run(shell(text.replace("--within 30", "--within 1 --timeout 1")), { env });
    assertEquals(failed.code, 2);
    assertStringIncludes(failed.stderr, "greeter: cannot listen: port 8080 is in use");
  },
);

test(
  "README: a lab machine with ten services, as nmap sees it (needs Linux, ip, unshare -nm, and nmap)",
  needsPrograms("nmap"),
  async () => {
    const [serve = ""] = commands(blockWith("README.md", "No one is logged on"));
    await using server = await start(serve);
    assertStringIncludes(server.output.stdout, "(10 ports)");
    const { stdout } = await run(shell("nmap -sV -p 21,22,25 127.0.0.1"), { env }, 60_000);
    assertMatch(stdout, /21\/tcp open +ftp +ProFTPD 1\.3\.5/);
    assertMatch(stdout, /22\/tcp open +ssh +OpenSSH 9\.2p1/);
    assertMatch(stdout, /25\/tcp open +smtp +Postfix/);
    // Another recipe waits for one of these services.
    const waiting = await run(shell(blockWith("README.md", "--expect SSH-2.0").text), { env });
    assertMatch(waiting.stdout, /\n22 {2}greeted {2}"SSH-2\.0"\n1 of 1 port greeted in .*\nready\n$/);
  },
);

test("README: a page for curl (needs Linux, ip, unshare -nm, and curl)", needsPrograms("curl"), async () => {
  const [serve = "", curl = ""] = commands(blockWith("README.md", "--http -g"));
  await using _server = await start(serve);
  const { stdout } = await run(shell(curl), { env });
  assertMatch(stdout, /^You reached port 8080 as 127\.0\.0\.1:\d+\r\n$/);
});

test("README: what a scanner sends (needs Linux, ip, unshare -nm, and jq)", needsPrograms("jq"), async () => {
  const { text } = blockWith("README.md", "jq -r --unbuffered");
  await using watching = spawn(shell(text.replace("--json", "--json --count 1")), { env });
  await until(() =>
    Deno.connect({ hostname: "127.0.0.1", port: 8080 }).then(async (conn) => {
      await conn.write(new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n"));
      await new Response(conn.readable).text();
      return true;
    }, () => false)
  );
  await watching.ended;
  assertEquals(watching.output.stdout, String.raw`127.0.0.1 "GET / HTTP/1.0\r\n\r\n"` + "\n");
});

test("manual: which address the server sees (needs Linux, ip, and unshare -nm)", always, async () => {
  const [serve = "", check = ""] = commands(blockWith("docs/manual.md", "You are {client}"));
  await using _server = await start(serve);
  assertMatch((await run(shell(check), { env })).stdout, /\n9999 {2}greeted {2}"You are 127\.0\.0\.1:\d+\\r\\n"\n/);
});

test("manual: the log of a scan (needs Linux, ip, and unshare -nm)", always, async () => {
  const block = blockWith("docs/manual.md", "greeter -p 22,25,8000-8100");
  await using server = await start(serverCommand(block));
  await greetingFrom(22);
  server.child.kill("SIGSTOP");
  for (let port = 8000; port <= 8011; port++) await connectAndReset(port);
  server.child.kill("SIGCONT");
  await until(() => server.output.stdout.includes("reset before they could be accepted"));
  await interrupt(server);
  assertShown(block, server.output.stdout);
});

test(
  "manual: which clients sent the most data (needs Linux, ip, unshare -nm, and jq)",
  needsPrograms("jq"),
  async () => {
    const cwd = await Deno.makeTempDir();
    const closed = (src_ip: string, bytes_received: number) =>
      JSON.stringify({ event_type: "closed", src_ip, bytes_received });
    const log = [closed("192.0.2.1", 5), closed("192.0.2.2", 7), closed("192.0.2.1", 10), `{"event_type":"stopped"}`];
    await Deno.writeTextFile(`${cwd}/log.jsonl`, log.join("\n"));
    const { stdout } = await run(shell(blockWith("docs/manual.md", "group_by(.src_ip)").text), { cwd, env });
    assertEquals(stdout, "15 192.0.2.1\n7 192.0.2.2\n");
    await Deno.remove(cwd, { recursive: true });
  },
);

test(
  "manual: deno install makes a command that runs main.ts of the checkout (needs Linux, ip, and unshare -nm)",
  always,
  async () => {
    const root = await Deno.makeTempDir();
    const { text } = blockWith("docs/manual.md", "deno install");
    const command = text.replace("deno install", `'${Deno.execPath()}' install --root '${root}'`);
    const installed = await run(shell(command), { cwd: ROOT, env });
    assertEquals(installed.code, 0, installed.stderr);
    const { stdout } = await run([`${root}/bin/greeter`, "--version"], {
      env: { PATH: `${Deno.execPath().replace(/\/[^/]*$/, "")}:${Deno.env.get("PATH")}` },
    });
    assertMatch(stdout, /^greeter \d+\.\d+\.\d+\n$/);
    await Deno.remove(root, { recursive: true });
  },
);
