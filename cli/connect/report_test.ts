import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import type { ProbeResult } from "../../client.ts";
import { serve } from "../../server.ts";
import { inNamespace, SILENT_NAME_SERVER } from "../../tests/helpers/namespaces.ts";
import { needs } from "../../tests/helpers/needs.ts";
import { freePort, freePorts } from "../../tests/helpers/ports.ts";
import { GREETER, ROOT, run, spawn, start } from "../../tests/helpers/processes.ts";
import { hostCheck, probeResult } from "../../tests/helpers/results.ts";
import { startServer } from "../../tests/helpers/servers.ts";
import { delay, until, within } from "../../tests/helpers/waiting.ts";
import { ProbeReport } from "./report.ts";

const CONNECT = [...GREETER, "connect", "127.0.0.1"];

/** A server on many ports whose greetings are so long that 600 rows of JSON have 22 MB. */
function serveLongGreetings(count: number) {
  let connections = 0;
  const server = serve({
    hostname: "127.0.0.1",
    port: Array(count).fill(0),
    greeting: "x".repeat(16_384),
    onConnection: () => connections++,
  });
  return {
    ports: server.addrs.map(({ port }) => port).join(","),
    connections: () => connections,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Starts greeter without reading its standard output. */
function startUnread(args: readonly string[], command: readonly string[] = CONNECT) {
  return start([...command, ...args], { stderr: "null" });
}

/** Reads all rows that greeter prints. */
async function rowsOf(stdout: ReadableStream<Uint8Array<ArrayBuffer>>) {
  const text = await within(new Response(stdout).text());
  return text.trimEnd().split("\n").map((line) => JSON.parse(line));
}

/** Waits until a count has not changed for half a second. */
async function settled(count: () => number): Promise<number> {
  let last = -1;
  let since = performance.now();
  await until(() => {
    if (count() !== last) since = performance.now();
    last = count();
    return last > 0 && performance.now() - since > 500;
  });
  return last;
}

Deno.test("ProbeReport.close() returns whether every port of every host has a result and is as expected", async () => {
  const checks = ["lab", "web"].map((hostname) => hostCheck({ hostname, greeted: [22], blocked: [80] }));
  const closed = async (...results: ProbeResult[]) => {
    await using report = new ProbeReport({ checks, options: {}, json: false, quiet: true }, new AbortController());
    for (const result of results) await report.add(result);
    return await report.close();
  };
  const greeted = (host: string) => probeResult(22, "greeted", { host });
  const refused = (host: string, ok: boolean | null) => probeResult(80, "refused", { host, expected: "blocked", ok });
  const lab = [greeted("lab"), refused("lab", true)];
  assertEquals(await closed(...lab, greeted("web"), refused("web", true)), true);
  assertEquals(await closed(...lab, greeted("web"), refused("web", false)), false);
  assertEquals(await closed(...lab, greeted("web"), refused("web", null)), false);
  assertEquals(await closed(...lab, greeted("web")), false);
  assertEquals(await closed(), false);
});

Deno.test(
  needs(
    "ProbeReport prints rows and lines with the addresses, the rate and the states of the check",
    "the run permission",
  ),
  async () => {
    const result = (port: number, fields: Partial<Omit<ProbeResult, "greeting">>) =>
      probeResult(port, "refused", { expected: "blocked", ok: false, ...fields });
    const results = [
      result(80, { reason: "control_lost", error: "not proven: x" }),
      result(81, { reason: "no_control", error: "not proven at 192.0.2.1" }),
      result(82, { reason: "other_state" }),
    ];
    const script = (json: boolean) => `
    import { ProbeReport } from "${import.meta.resolve("./report.ts")}";
    import { hostCheck } from "${import.meta.resolve("../../tests/helpers/results.ts")}";
    const check = hostCheck({ blocked: [80, 81, 82], blockedState: () => "timeout" });
    const options = { checks: [check], options: { rate: 4 }, json: ${json}, quiet: false };
    const report = new ProbeReport(options, new AbortController());
    report.addAddresses("lab", ["192.0.2.1", "192.0.2.2"]);
    report.addPass({ host: "lab", pass: 1, left: 0, duration: 9000, pause: undefined, notTested: ["::1"] });
    for (const result of ${JSON.stringify(results)}) await report.add({ ...result, greeting: new Uint8Array() });
    await report.close();`;
    const print = async (json: boolean) => {
      const { stdout, stderr } = await run([Deno.execPath(), "eval", script(json)], { cwd: ROOT });
      assertEquals(stderr, "");
      return stdout.trimEnd().split("\n");
    };
    const rows = (await print(true)).map((line) => JSON.parse(line));
    const [lost, noControl] = [
      "not proven: x; try --rate 2",
      "not proven at 192.0.2.1; check one address instead of the name",
    ];
    assertEquals(rows.slice(0, 2).map(({ error }) => error), [lost, noControl]);
    assertEquals([rows[3].not_tested, rows[3].pass_ms], [["::1"], 9000]);
    const [header, ...lines] = await print(false);
    assertEquals(header, "lab is 192.0.2.1, 192.0.2.2");
    assertEquals(lines.slice(0, 3), [
      `80  refused  ${lost}`,
      `81  refused  ${noControl}`,
      "82  refused  expected timeout",
    ]);
    assertStringIncludes(
      lines[3] ?? "",
      "; the blocked ports took 9.0s; not tested, because this machine has no route: ::1",
    );
  },
);

Deno.test("greeter connect prints 256 bytes of a long greeting, and `...` if there are more", async () => {
  await using long = serveLongGreetings(1);
  await using short = serve({ hostname: "127.0.0.1", port: freePort(), greeting: "y".repeat(254) + "\r\n" });
  const { stdout } = await run([...CONNECT, "-p", `${long.ports},${short.addr.port}`]);
  assertMatch(stdout, /^\d+ +greeted +"x{256}"\.\.\.$/m);
  assertMatch(stdout, /^\d+ +greeted +"y{254}\\r\\n"$/m);
});

Deno.test("greeter connect --json waits for a slow reader, and drops no row", async () => {
  await using server = serveLongGreetings(600);
  await using child = startUnread(["--json", "-p", server.ports, "--concurrency", "10"]);
  // 8 MiB are about 220 rows.
  const connections = await settled(server.connections);
  assert(connections >= 150 && connections <= 400, `${connections} connections`);
  const rows = await rowsOf(child.stdout);
  assertEquals((await within(child.status)).code, 0);
  assertEquals([rows.length, rows.at(-1)?.greeted], [601, 600]);
});

Deno.test(needs("greeter connect --json drops no row if its pipe is non-blocking and full", "python3"), async () => {
  await using server = serveLongGreetings(100);
  // O_NONBLOCK belongs to the pipe, so any process that shares the pipe can set it.
  const script = `python3 -c 'import os; os.set_blocking(1, False)'; exec "$@"`;
  await using child = startUnread(["--json", "-p", server.ports], ["sh", "-c", script, "sh", ...CONNECT]);
  await settled(server.connections);
  const rows = await rowsOf(child.stdout);
  assertEquals((await within(child.status)).code, 0);
  assertEquals(rows.length, 101);
});

Deno.test(
  needs("greeter connect exits 1 if its reader is gone before every port is checked", "sh", "head"),
  async () => {
    await using server = serveLongGreetings(100);
    const script = `{ "$@"; echo $? >&2; } | head -n 1`;
    const options = ["--json", "-p", server.ports, "--concurrency", "1"];
    const { stdout, stderr } = await run(["sh", "-c", script, "sh", ...CONNECT, ...options]);
    assertEquals([JSON.parse(stdout).state, stderr], ["greeted", "1\n"]);
    assert(server.connections() < 100);
  },
);

Deno.test(needs("greeter connect ends soon after one signal although its reader has stopped", "signals"), async () => {
  await using server = serveLongGreetings(600);
  // While it waits for the reader during the run, and while it closes the output: 40 rows have 1.5 MB.
  for (const count of [600, 40]) {
    const ports = server.ports.split(",").slice(0, count).join(",");
    for (const [signal, status] of [["SIGTERM", 143], ["SIGINT", 130]] as const) {
      const before = server.connections();
      await using child = startUnread(["--json", "-p", ports, "--concurrency", "10"]);
      await settled(() => server.connections() - before);
      child.kill(signal);
      assertEquals((await within(child.status)).code, status);
      await child.stdout.cancel();
    }
  }
});

Deno.test(
  needs("greeter connect ends soon after one signal if the reader of its text has stopped", "python3"),
  async () => {
    await using silent = await startServer(() => {});
    await using server = serveLongGreetings(100);
    // Fills the pipe, which nobody reads.
    const script = `python3 -c 'import os
os.set_blocking(1, False)
try:
  while True: os.write(1, b"x" * 4096)
except BlockingIOError: os.set_blocking(1, True)'; exec "$@"`;
    const args = ["-p", `${server.ports},${silent.port}`, "-t", "600"];
    await using child = startUnread(args, ["sh", "-c", script, "sh", ...CONNECT]);
    await settled(server.connections);
    child.kill("SIGTERM");
    assertEquals((await within(child.status)).code, 143);
    await child.stdout.cancel();
  },
);

Deno.test(needs("greeter connect prints what is known after a signal if its reader reads on", "signals"), async () => {
  await using silent = await startServer(() => {});
  // 380 KB, which a reader gets long before the half second is over.
  await using server = serveLongGreetings(10);
  await using child = startUnread(["--json", "-p", `${server.ports},${silent.port}`, "-t", "600"]);
  await settled(server.connections);
  child.kill("SIGTERM");
  const rows = await rowsOf(child.stdout);
  assertEquals((await within(child.status)).code, 143);
  assertEquals([rows.length, rows.at(-1)?.greeted, rows.at(-1)?.interrupted], [11, 10, true]);
});

Deno.test(needs("greeter connect ignores SIGHUP without a terminal, as under nohup", "nohup"), async () => {
  const directory = await Deno.makeTempDir();
  for (const nohup of [["nohup"], []]) {
    const port = freePort();
    const args = ["-p", `${port}`, "--within", "600", "-e", "220"];
    await using client = spawn([...nohup, ...CONNECT, ...args, "--json"], { cwd: directory });
    // A probe shows that greeter has been started.
    await using first = listenOn(port, "closing");
    await until(() => first.connections() > 0);
    client.child.kill("SIGHUP");
    await first[Symbol.asyncDispose]();
    await using _second = listenOn(port, "220 ready\r\n");
    assertEquals((await client.ended).code, 0);
    assertStringIncludes(client.output.stdout, `"state":"greeted"`);
  }
  await Deno.remove(directory, { recursive: true });
});

/** Serves a greeting on a port of the loopback interface. */
function listenOn(port: number, greeting: string) {
  let connections = 0;
  const server = serve({ hostname: "127.0.0.1", port, greeting, onConnection: () => connections++ });
  return { connections: () => connections, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

/** Runs a shell command on a terminal, and returns its output with visible escapes. */
async function runOnTerminal(command: string) {
  const { code, stdout } = await run(["script", "-qec", command, "/dev/null"], { env: { NO_COLOR: "" } });
  return { code, shown: stdout.replaceAll("\u001b", "ESC") };
}

const quoted = (words: readonly string[]) => words.map((word) => `'${word}'`).join(" ");

Deno.test(
  needs("greeter connect prints what is known on SIGHUP if it has a terminal, and exits 129", "script"),
  async () => {
    const directory = await Deno.makeTempDir();
    await using server = serve({ hostname: "127.0.0.1", port: 0 });
    await using silent = await startServer(() => {});
    for (const redirect of [`> ${directory}/out`, ""]) {
      const words = quoted([...CONNECT, "-p", `${server.addr.port},${silent.port}`, "-t", "600"]);
      await using terminal = spawn([
        "script",
        "-qec",
        `echo $$ > ${directory}/pid; exec ${words} ${redirect}`,
        "/dev/null",
      ]);
      await until(() => terminal.output.stdout.includes("checked 1 of 2 ports"));
      Deno.kill(Number(await Deno.readTextFile(`${directory}/pid`)), "SIGHUP");
      assertEquals((await terminal.ended).code, 129);
      const output = redirect === "" ? terminal.output.stdout : await Deno.readTextFile(`${directory}/out`);
      assertMatch(output, /\n1 of 2 ports as expected .*; interrupted; 1 port without a result\r?\n/);
    }
    await Deno.remove(directory, { recursive: true });
  },
);

Deno.test(
  needs("greeter connect exits 129 when its terminal is closed, and prints its results to a file", "tmux"),
  async () => {
    const directory = await Deno.makeTempDir();
    await using server = serve({ hostname: "127.0.0.1", port: 0 });
    await using silent = await startServer(() => {});
    // The shell passes the signal on, and reports the status.
    const script = `
    trap 'kill -HUP $child' HUP
    ${quoted([...CONNECT, "-p", `${server.addr.port},${silent.port}`, "-t", "600"])} REDIRECT &
    child=$!
    wait $child
    wait $child
    echo $? > ${directory}/statusN`;
    for (const [n, redirect] of ["", `> ${directory}/out`, `> ${directory}/out 2>&1 < /dev/tty`].entries()) {
      const tmux = ["tmux", "-S", `${directory}/socket${n}`, "-f", "/dev/null"];
      const command = script.replace("REDIRECT", redirect).replace("statusN", `status${n}`);
      assertEquals((await run([...tmux, "new-session", "-d", command])).code, 0);
      await until(() => silent.connections() === n + 1);
      await run([...tmux, "kill-server"]);
      await until(async () => await Deno.readTextFile(`${directory}/status${n}`).catch(() => "") !== "");
      assertEquals(await Deno.readTextFile(`${directory}/status${n}`), "129\n");
      if (redirect !== "") {
        assertMatch(await Deno.readTextFile(`${directory}/out`), /\n1 of 2 ports as expected .*; interrupted/);
      }
    }
    await Deno.remove(directory, { recursive: true });
  },
);

Deno.test(
  needs("greeter connect shows no progress line with --quiet, or if JSON is on the same terminal", "script"),
  async () => {
    const command = quoted([...CONNECT, "-p", `${freePort()}`, "-w", "1.5"]);
    const [quiet, json, file, text] = await Promise.all([
      runOnTerminal(`${command} -q`),
      runOnTerminal(`${command} --json`),
      runOnTerminal(`${command} --json > /dev/null`),
      runOnTerminal(command),
    ]);
    assertEquals(quiet, { code: 1, shown: "" });
    assertEquals(json.shown.match(/ESC|waiting/g), null);
    assertStringIncludes(file.shown, "waiting for port ");
    assert(file.shown.endsWith("\rESC[K"), file.shown);
    assertStringIncludes(text.shown, "waiting for port ");
  },
);

Deno.test(
  needs("greeter connect does not show its progress before half a second, nor wider than the terminal", "script"),
  async () => {
    await using silent = await startServer(() => {});
    // The run takes between 150 and 200 ms, unless this machine is busy.
    await until(async () => {
      const { shown } = await runOnTerminal(quoted([...CONNECT, "-p", `${silent.port}`, "-t", "0.1"]));
      return !/ESC\[K|waiting|checked \d/.test(shown);
    });
    const ports = Array.from({ length: 9 }, () => freePort()).join(",");
    const { shown } = await runOnTerminal(`stty cols 20; ${quoted([...CONNECT, "-p", ports, "-w", "1.5"])}`);
    const lines = [...shown.matchAll(/ESC\[K(waiting[^\r\n]*)\r/g)].map(([, line]) => line);
    assert(lines.length > 0, shown);
    for (const line of lines) assertMatch(line ?? "", /^waiting for ports \d$/);
  },
);

Deno.test(needs("greeter connect shows on a terminal what it waits for in each phase", "script"), async () => {
  const [late = 0, open = 0, ...refused] = freePorts(4);
  await using blocked = listenOn(open, "hi\n");
  const args = ["-p", `${late}`, "-b", `${[open, ...refused]}`, "-w", "600"];
  await using terminal = spawn(["script", "-qec", quoted([...CONNECT, ...args]), "/dev/null"]);
  await until(() => terminal.output.stdout.includes(`\u001b[Kwaiting for port ${late} to greet\r`));
  assertEquals(blocked.connections(), 0);
  await using _server = listenOn(late, "hi\n");
  await until(() => terminal.output.stdout.includes(`\u001b[Kpass 1 over the blocked ports: `));
  // It is open. The next pass begins 3 s after the first one.
  const waiting = new RegExp(`\u001b\\[Kwaiting for port ${open} to be blocked; pass 2 begins in [1-3]s\r`);
  await until(() => waiting.test(terminal.output.stdout));
  await blocked[Symbol.asyncDispose]();
  assertEquals((await terminal.ended).code, 0);
  const shown = terminal.output.stdout.split("\r\u001b[K").at(-1) ?? "";
  assertMatch(shown, new RegExp(`^ *${open}  .*refused.*\\(reachable \\d+s before\\)`, "m"));
  assertStringIncludes(shown, "4 of 4 ports as expected");
});

Deno.test(
  needs("greeter connect erases its progress line, then prints what is known and the error", "script", "prlimit"),
  async () => {
    const directory = await Deno.makeTempDir();
    await using silent = await startServer(() => {});
    const words = quoted([...CONNECT, "-p", `${silent.port},${freePort()}`, "--concurrency", "1", "-t", "4"]);
    await using terminal = spawn(["script", "-qec", `echo $$ > ${directory}/pid; exec ${words}`, "/dev/null"]);
    await until(() => terminal.output.stdout.includes("checked 0 of 2 ports"));
    const pid = (await Deno.readTextFile(`${directory}/pid`)).trim();
    assertEquals((await run(["prlimit", "--pid", pid, "--nofile=1"])).code, 0);
    assertEquals((await terminal.ended).code, 2);
    const shown = terminal.output.stdout.split("\r\u001b[K").at(-1) ?? "";
    const [result = "", totals = "", error = "", ...rest] = shown.split("\r\n");
    assertEquals(result.split(/ +/)[0], `${silent.port}`);
    assertStringIncludes(totals, `; not: ${silent.port}; 1 port without a result`);
    assertStringIncludes(error, "greeter: cannot connect: too many open files; ");
    assertEquals(rest, [""]);
    await Deno.remove(directory, { recursive: true });
  },
);

Deno.test(
  needs("greeter connect ends soon after a signal if the terminal of its progress line is stopped", "Linux", "python3"),
  async () => {
    const script = `
import os, pty, subprocess, sys, termios, time
terminal, stderr = pty.openpty()
client = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)
shown = b""
while b"checked" not in shown: shown += os.read(terminal, 4096)
termios.tcflow(stderr, termios.TCOOFF)
time.sleep(0.5) # the next line is being written
client.terminate()
try: client.wait(timeout=30)
finally: client.kill()
print(client.returncode, client.stdout.read().decode())`;
    await using server = serve({ hostname: "127.0.0.1", port: 0 });
    await using silent = await startServer(() => {});
    const command = [...CONNECT, "-p", `${server.addr.port},${silent.port}`, "-t", "600"];
    const { stdout, stderr } = await run(["python3", "-c", script, ...command]);
    assertEquals(stderr, "");
    assertMatch(stdout, /^143 [^]*\n1 of 2 ports as expected .*; interrupted/);
  },
);

Deno.test(needs("greeter connect goes on after a momentary lack of descriptors", "prlimit"), async () => {
  await using silent = await startServer(() => {});
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  const options = ["-p", `${silent.port},${server.addr.port}`, "--concurrency", "1", "-t", "5", "--json"];
  await using client = spawn([...CONNECT, ...options]);
  await until(() => silent.connections() === 1);
  const setLimit = async (limit: number) => {
    assertEquals((await run(["prlimit", "--pid", `${client.child.pid}`, `--nofile=${limit}:`])).code, 0);
  };
  await setLimit(1);
  await until(() => client.output.stdout.includes(`"state":"silent"`));
  await delay(300); // less than the timeout
  await setLimit(1000);
  assertEquals((await client.ended).code, 1);
  const rows = client.output.stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(rows.map(({ state }) => state), ["silent", "greeted", undefined]);
});

Deno.test(
  needs("greeter connect prints known rows before an error, even to a slow reader", "script", "prlimit"),
  async () => {
    const directory = await Deno.makeTempDir();
    const pipe = `${directory}/pipe`;
    assertEquals((await run(["mkfifo", pipe])).code, 0);
    await using server = serveLongGreetings(40);
    await using silent = await startServer(() => {});
    const ports = `${server.ports},${silent.port},${freePort()}`;
    const words = quoted([...CONNECT, "--json", "-p", ports, "--concurrency", "1", "-t", "4"]);
    const script = `echo $$ > ${directory}/pid; exec ${words} > ${pipe}`;
    await using terminal = spawn(["script", "-qec", script, "/dev/null"]);
    const reader = await Deno.open(pipe);
    // 40 ports have been checked, and the silent port is next.
    await until(() => terminal.output.stdout.includes("checked 40 of 42 ports"));
    const pid = (await Deno.readTextFile(`${directory}/pid`)).trim();
    assertEquals((await run(["prlimit", "--pid", pid, "--nofile=1:"])).code, 0);
    // The error ends the run, and the progress line is erased. Then greeter waits for its reader, however long that takes.
    await until(() => terminal.output.stdout.endsWith("\r\u001b[K"));
    await assertRejects(() => within(terminal.ended, 2500), Error, "not within 2500 ms");
    const rows = await rowsOf(reader.readable);
    assertEquals((await terminal.ended).code, 2);
    assertEquals([rows.length, rows.at(-2).state, rows.at(-1).event_type], [42, "silent", "error"]);
    await Deno.remove(directory, { recursive: true });
  },
);

const noAnswer = inNamespace(SILENT_NAME_SERVER);

Deno.test(
  needs("greeter connect ends on a signal during the lookup, also as process 1", noAnswer, "pgrep"),
  async () => {
    const script = `
    stop() {
      until grep -q :0035 /proc/net/udp; do sleep 0.02; done
      kill -$1 $2
      wait $3 && status=0 || status=$?
      echo $1 $status
    }
    for signal in INT TERM; do
      "$@" & stop $signal $! $!
      unshare --fork --pid --mount-proc "$@" &
      until child=$(pgrep -P $!); do sleep 0.02; done
      stop $signal $child $!
    done
    unshare --fork --pid --mount-proc "$@" &
    until child=$(pgrep -P $!); do sleep 0.02; done
    until grep -q :0035 /proc/net/udp; do sleep 0.02; done
    kill -HUP $child
    stop TERM $child $!
  `;
    const command = [...GREETER, "connect", "lab.example"];
    const { stdout, stderr } = await run([...noAnswer.command, "sh", "-c", script, "sh", ...command]);
    const totals = /^0 of 1 port as expected .*; interrupted; 1 port without a result\n/gm;
    assertEquals(stdout.match(totals)?.length, 5, stdout);
    assertEquals(stdout.replaceAll(totals, ""), "INT 130\nINT 130\nTERM 143\nTERM 143\nTERM 143\n", stderr);
    // On a busy machine, a lookup can take more than 5 s until the signal comes.
    assertEquals(
      stderr.replaceAll(/^\(.*DEP0040.*\n|^\(Use .*\n|^Terminated\n|^greeter: looking up lab\.example\n/gm, ""),
      "",
    );
  },
);

Deno.test(
  needs("greeter connect exits 129 on SIGHUP during the lookup if it has a terminal", noAnswer, "script"),
  async () => {
    const words = quoted([...GREETER, "connect", "lab.example"]);
    const script = `
    script -qec "echo \\$\\$ > $0; exec $1" /dev/null > /dev/null &
    until grep -q :0035 /proc/net/udp; do sleep 0.02; done
    kill -HUP $(cat $0)
    wait $! || echo $?`;
    const pidFile = await Deno.makeTempFile();
    const { stdout, stderr } = await run([...noAnswer.command, "sh", "-c", script, pidFile, words]);
    assertEquals([stdout, stderr], ["129\n", ""]);
    await Deno.remove(pidFile);
  },
);

Deno.test(
  needs("greeter connect shows on a terminal that a name is being looked up, then exits 2", noAnswer, "script"),
  async () => {
    const words = quoted([...GREETER, "connect", "lab.example", "-b", "80", "-t", "1.5"]);
    const { code, stdout } = await run([...noAnswer.command, "script", "-qec", words, "/dev/null"]);
    assertEquals(code, 2);
    assertStringIncludes(
      stdout,
      "\r\u001b[Klooking up lab.example\r",
    );
    const last = stdout.split("\r\u001b[K").at(-1);
    assertEquals(
      last?.replaceAll("\u001b", "").replace(/\[\d+m/g, ""),
      'greeter: cannot look up "lab.example": the name server does not answer; check the network of this machine\r\n',
    );
  },
);
