import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import * as fc from "fast-check";
import { createConnection } from "node:net";
import config from "./deno.json" with { type: "json" };
import { DEFAULTS } from "./server.ts";

// GREETER_BINARY=dist/greeter runs these tests on what `deno task compile` made.
const BINARY = Deno.env.get("GREETER_BINARY");
const MAIN = new URL("main.ts", import.meta.url).pathname;
const DENO_RUN = [Deno.execPath(), "run", "--no-prompt"];
const GREETER = BINARY ? [BINARY] : [...DENO_RUN, "--allow-net", MAIN];
const LOCAL = ["--host", "127.0.0.1", "--port", "0"];

const isWindows = Deno.build.os === "windows";
const isLinux = Deno.build.os === "linux";

/** A greeter that runs; killed at the end of its scope if it hasn't ended. */
interface Greeter extends AsyncDisposable {
  child: Deno.ChildProcess;
  /** What it has printed so far. */
  output: { stdout: string; stderr: string };
  /** How it ended, when it and its output have. */
  ended: Promise<Deno.CommandStatus>;
}

function spawn(command: string[], options: Deno.CommandOptions = {}): Greeter {
  const [program, ...args] = command;
  const child = new Deno.Command(program, { args, stdin: "null", stdout: "piped", stderr: "piped", ...options })
    .spawn();
  const output = { stdout: "", stderr: "" };
  const collect = async (stream: "stdout" | "stderr") => {
    for await (const text of child[stream].pipeThrough(new TextDecoderStream())) output[stream] += text;
  };
  const ended = Promise.all([child.status, collect("stdout"), collect("stderr")]).then(([status]) => status);
  let running = true;
  ended.then(() => running = false);
  return {
    child,
    output,
    ended,
    async [Symbol.asyncDispose]() {
      if (running) child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Runs a command that should end by itself, within 10 s. */
async function run(command: string[], options?: Deno.CommandOptions) {
  await using greeter = spawn(command, options);
  const timer = setTimeout(() => greeter.child.kill("SIGKILL"), 10_000);
  const { code, signal } = await greeter.ended;
  clearTimeout(timer);
  assertEquals(signal === "SIGKILL", false, `${command.join(" ")} did not end: ${greeter.output.stdout}`);
  return { code, signal, ...greeter.output };
}

/** Waits for what `condition` sees, and fails if it doesn't come within 10 s. */
async function until(condition: () => boolean | Promise<boolean>) {
  const deadline = performance.now() + 10_000;
  while (!await condition()) {
    assert(performance.now() < deadline, `never: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The port that a greeter listens on, once it does. */
async function portOf({ output }: Greeter): Promise<number> {
  await until(() => output.stdout.includes("\n") || output.stderr !== "");
  const [, port] = output.stdout.match(/^Listening on .*:(\d+)\n/) ?? [];
  assert(port, `does not listen: ${output.stdout}${output.stderr}`);
  return Number(port);
}

async function greetingFrom(port: number, hostname = "127.0.0.1"): Promise<string> {
  const conn = await Deno.connect({ hostname, port });
  return await new Response(conn.readable).text();
}

async function stop(greeter: Greeter) {
  greeter.child.kill("SIGTERM");
  const { code } = await greeter.ended;
  assertEquals([code, greeter.output.stderr], [0, ""]);
}

function assertNoStackTrace(text: string) {
  assert(!/^\s+at |Uncaught|panicked/m.test(text), text);
}

// What is asked for before it is used: signals, Linux's /proc, and that closing a connection frees its descriptor while
// a read is pending, which it doesn't in Deno 2.8.3 alone (denoland/deno#35292; 2.6.10 to 2.8.2 and 2.9.0 on do).
const needsSignals = { ignore: isWindows };
const needsProc = { ignore: !isLinux || (!BINARY && Deno.version.deno === "2.8.3") };

Deno.test("listens, logs, greets, stops (needs SIGTERM: not on Windows)", needsSignals, async () => {
  await using greeter = spawn([...GREETER, ...LOCAL]);
  const port = await portOf(greeter);
  const peers: number[] = [];
  for (let i = 0; i < 3; i++) {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    peers.push(conn.localAddr.port);
    assertEquals(await new Response(conn.readable).text(), "Thank you for connecting to the server.\r\n");
  }
  await stop(greeter);
  const [stopped] = greeter.output.stdout.match(/Stopped.*\n/) ?? [""];
  assertEquals(
    greeter.output.stdout,
    [
      `Listening on 127.0.0.1:${port}\n`,
      ...peers.map((peer) => `Received connection from 127.0.0.1:${peer}\n`),
      stopped,
    ].join(""),
  );
  assertMatch(stopped, /^Stopped: 3 greetings in \d+m?s\n$/);
});

Deno.test("--greeting is sent with CR LF, --stdin byte for byte", async () => {
  {
    await using greeter = spawn([...GREETER, ...LOCAL, "--greeting", "220 grüß dich"]);
    assertEquals(await greetingFrom(await portOf(greeter)), "220 grüß dich\r\n");
  }
  const everyByte = Uint8Array.from({ length: 16_384 }, (_, i) => i);
  await using greeter = spawn([...GREETER, ...LOCAL, "--stdin"], { stdin: "piped" });
  const writer = greeter.child.stdin.getWriter();
  await writer.write(everyByte);
  await writer.close();
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: await portOf(greeter) });
  assertEquals(await new Response(conn.readable).bytes(), everyByte);
});

Deno.test("--timeout takes fractions, --max-connections and --backlog numbers", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "-t", "0.2", "-m", "1", "-b", "16"]);
  const port = await portOf(greeter);
  const holder = await Deno.connect({ hostname: "127.0.0.1", port });
  assertEquals(await greetingFrom(port), DEFAULTS.greeting);
  holder.close();
  // Only the deadline closes this one, and only then can it be written to in vain.
  const silent = await Deno.connect({ hostname: "127.0.0.1", port });
  await until(async () => {
    try {
      await silent.write(new Uint8Array(1));
      return false;
    } catch {
      return true;
    }
  });
  silent.close();
});

Deno.test(
  "IPv6, and IPv4 over an IPv6 socket (needs IPv6 and SIGTERM)",
  { ignore: isWindows || !hasIPv6() },
  async () => {
    await using greeter = spawn([...GREETER, "--host", "::", "--port", "0"]);
    const port = await portOf(greeter);
    assertEquals(await greetingFrom(port, "::1"), DEFAULTS.greeting);
    assertEquals(await greetingFrom(port, "127.0.0.1"), DEFAULTS.greeting);
    await stop(greeter);
    assertMatch(
      greeter.output.stdout,
      /^Listening on \[::\]:\d+\nReceived connection from \[::1\]:\d+\nReceived connection from 127\.0\.0\.1:\d+\nStopped: 2 /,
    );
  },
);

function hasIPv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}

Deno.test("--help and --version go to stdout, exit 0, whatever else is given", async () => {
  for (const args of [["--version"], ["-V"], ["-V", "--port", "x"]]) {
    assertEquals(await run([...GREETER, ...args]), {
      code: 0,
      signal: null,
      stdout: `greeter ${config.version}\n`,
      stderr: "",
    });
  }
  for (const args of [["--help"], ["-h"], ["-hV"], ["--bogus", "-h"]]) {
    const { code, stdout, stderr } = await run([...GREETER, ...args]);
    assertEquals([code, stderr], [0, ""]);
    assertMatch(stdout, /^Usage: greeter \[OPTIONS\]\n/);
    assertStringIncludes(stdout, "-p, --port <PORT>");
  }
});

Deno.test("a bad command line: exit 2, and one line that names the option, the value and what is right", async () => {
  const tooLong = "x".repeat(16_383);
  const cases: [args: string[], ...says: string[]][] = [
    [["--bogus"], `"--bogus"`],
    [["--bogus=3"], `"--bogus=3"`],
    [["-x"], `"-x"`],
    [["--no-stdin"], `"--no-stdin"`],
    [["--port.x=3"], `"--port.x=3"`],
    [["--__proto__=3"], `"--__proto__=3"`],
    [["stray"], `"stray"`],
    [["--", "stray"], `"stray"`],
    [[""], `""`],
    [["--stdin", "-"], `"-"`],
    [["--port"], "--port", "<PORT>"],
    [["--port="], "--port", "<PORT>"],
    [["--port", ""], "--port"],
    [["--greeting", ""], "--greeting", "<TEXT>"],
    [["--host", "--stdin"], "--host", "<HOST>"],
    ...["0x50", "1e3", " 80", "-1", "65536", "Infinity", "80.5", "99999999999999999999"].map((
      port,
    ): [string[], ...string[]] => [[`--port=${port}`], "--port", JSON.stringify(port), "0 to 65535"]),
    [["--port", "٨٠"], "--port", `"\\u0668\\u0660"`],
    [["--backlog", "0"], "--backlog", `"0"`, "1 to 65535"],
    [["--max-connections", "0"], "--max-connections", `"0"`, "1 to 1000000"],
    [["--timeout", "0"], "--timeout", `"0"`, "0.001 to 86400"],
    [["--timeout", "1e3"], "--timeout", `"1e3"`],
    [["--timeout", "NaN"], "--timeout", `"NaN"`],
    [["--greeting", tooLong], "--greeting", "16385 bytes", "16384"],
    [["--stdin", "--greeting", "hi"], "--stdin", "--greeting", `"hi"`],
    [["--port", "0", "--port", "1"], "--port", `"1"`, "once"],
    [["-p", "0", "--port", "1"], "--port", `"1"`, "once"],
    [["--stdin", "--stdin"], "--stdin", "once"],
    [["--help=maybe"], "--help", `"maybe"`],
    [["--stdin=false"], "--stdin", `"false"`],
    [["-gab=c"], `"-gab=c"`],
    [["--g\u001b[31m"], "\\u001b"],
    [["--port", "1\n2"], "--port", `"1\\n2"`],
  ];
  for (const [args, ...says] of cases) {
    const { code, stdout, stderr } = await run([...GREETER, ...args]);
    assertEquals([code, stdout], [2, ""], `${args}: ${stderr}`);
    assertMatch(stderr, /^greeter: [ -~]+ Try 'greeter --help'\.\n$/);
    for (const part of says) assertStringIncludes(stderr, part);
  }
});

Deno.test("standard input over 16 KiB, even without an end: exit 2", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--stdin"], { stdin: "piped" });
  const writer = greeter.child.stdin.getWriter();
  await writer.write(new Uint8Array(16_385));
  const { code } = await greeter.ended;
  await writer.abort().catch(() => {}); // a pipe that nobody reads any more can't be closed in order
  assertEquals(code, 2);
  assertMatch(greeter.output.stderr, /^greeter: --stdin: .*16384 .* Try 'greeter --help'\.\n$/);
});

Deno.test("can't listen: exit 1, and one line that says which and what to do", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const cases: [command: string[], ...says: string[]][] = [
    [[...GREETER, "-H", "127.0.0.1", "-p", `${taken.addr.port}`], `port ${taken.addr.port} is taken`, "--port"],
    [[...GREETER, "-p", "0", "-H", "no-such-host.invalid"], `unknown host "no-such-host.invalid"`, "--host"],
    [[...GREETER, "-p", "0", "-H", "no\nname"], `"no\\nname"`, "--host"],
    [[...GREETER, "-p", "0", "-H", "192.0.2.1"], `"192.0.2.1" is no address of this machine`, "--host"],
  ];
  // The binary has its permission built in.
  if (!BINARY) cases.push([[...DENO_RUN, MAIN, ...LOCAL], "--allow-net"]);
  for (const [command, ...says] of cases) {
    const { code, stdout, stderr } = await run(command);
    assertEquals([code, stdout], [1, ""], stderr);
    assertMatch(stderr, /^greeter: can't listen: [ -~]+\n$/);
    for (const part of says) assertStringIncludes(stderr, part);
  }
});

Deno.test("a port below 1024 without the right (needs Linux, where it takes one): exit 1", {
  ignore: !isLinux || Number(Deno.readTextFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start")) < 1024,
}, async () => {
  const withoutTheRight = Deno.uid() === 0 ? ["setpriv", "--bounding-set=-net_bind_service"] : [];
  const { code, stdout, stderr } = await run([...withoutTheRight, ...GREETER, "--host", "127.0.0.1"]);
  assertEquals([code, stdout], [1, ""]);
  assertMatch(stderr, /^greeter: can't listen: port 999 [ -~]+ --port 9999, or root\n$/);
});

Deno.test("500 generated command lines: exit 0, 1 or 2, one line, never a stack trace (needs SIGTERM)", {
  ignore: isWindows,
}, async () => {
  const words = fc.oneof(
    fc.string({ unit: "binary", maxLength: 8 }).filter((text) => !text.includes("\0") && text.isWellFormed()),
    fc.constantFrom(
      "",
      "0",
      "1",
      "-1",
      "65536",
      "0x50",
      "1e3",
      " 80",
      "0.5",
      "Infinity",
      "NaN",
      "true",
      "-",
      "--",
      "=",
    ),
  );
  const names = fc.constantFrom(
    ...["host", "greeting", "stdin", "backlog", "max-connections", "timeout", "help", "version", "no-stdin", "x"]
      .map((name) => `--${name}`),
    ...["-H", "-g", "-b", "-m", "-t", "-h", "-V", "-x", "-bm"],
  );
  // No look-up of names that may exist, and no port that may be somebody's.
  const hosts = fc.constantFrom("127.0.0.1", "localhost", "::1", "192.0.2.1", "a b", "\u001b");
  const ports = fc.oneof(fc.constant("0"), words.filter((word) => !/^\d+$/.test(word.trim())));
  const pieces = fc.oneof(
    fc.tuple(names.filter((name) => !/-H|host/.test(name)), words),
    fc.tuple(names.filter((name) => !/-H|host/.test(name)), words).map(([name, word]) => [`${name}=${word}`]),
    fc.tuple(names).filter(([name]) => !/-H|host/.test(name)),
    fc.tuple(fc.constantFrom("-H", "--host"), hosts),
    fc.tuple(fc.constantFrom("-p", "--port"), ports),
    fc.tuple(words.filter((word) => !/^-+[Hp]/.test(word))),
  );
  const commandLines = fc.array(pieces, { maxLength: 3 }).map((lists) => ["--port=0", ...lists.flat()]);

  async function check(args: string[]) {
    await using greeter = spawn([...GREETER, ...args]);
    let ended = false;
    greeter.ended.then(() => ended = true);
    await until(() => ended || greeter.output.stdout.includes("Listening"));
    if (!ended) greeter.child.kill("SIGTERM");
    const { code, signal } = await greeter.ended;
    const { stdout, stderr } = greeter.output;
    assertEquals(signal, null);
    assertNoStackTrace(stdout + stderr);
    if (code === 0) assertEquals(stderr, "");
    else if (code === 1) assertMatch(stderr, /^greeter: can't listen: [^\n]+\n$/);
    else assertMatch(stderr, /^greeter: [^\n]+ Try 'greeter --help'\.\n$/);
    assert(code <= 2, `exit ${code}`);
  }
  // Four at a time: what takes time is the start of a process.
  const four = fc.array(commandLines, { minLength: 4, maxLength: 4 });
  await fc.assert(fc.asyncProperty(four, (lines) => Promise.all(lines.map(check)).then(() => {})), { numRuns: 125 });
});

Deno.test("a second signal ends it at once: 130 or 143 (needs signals: not on Windows)", needsSignals, async () => {
  for (const [signal, expected] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    await using greeter = spawn([...GREETER, ...LOCAL]);
    // A holder keeps the first signal's shutdown waiting for as long as it may.
    using _holder = await Deno.connect({ hostname: "127.0.0.1", port: await portOf(greeter) });
    await until(() => greeter.output.stdout.includes("Received"));
    greeter.child.kill("SIGTERM");
    // Standard signals don't queue: a second SIGTERM before the first is taken would be the same one.
    await until(() => refuses(greeter));
    greeter.child.kill(signal);
    assertEquals((await greeter.ended).code, expected);
    assert(!greeter.output.stdout.includes("Stopped"));
  }
});

async function refuses(greeter: Greeter): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port: await portOf(greeter) })).close();
    return false;
  } catch {
    return true;
  }
}

Deno.test("SIGINT stops it as SIGTERM does (needs signals: not on Windows)", needsSignals, async () => {
  await using greeter = spawn([...GREETER, ...LOCAL]);
  await portOf(greeter);
  greeter.child.kill("SIGINT");
  assertEquals((await greeter.ended).code, 0);
  assertMatch(greeter.output.stdout, /Stopped: 0 greetings in \d+ms\n$/);
});

Deno.test(
  "works with every permission but network denied (the binary has no other)",
  { ignore: !!BINARY },
  async () => {
    const denied = ["read", "write", "env", "run", "sys", "ffi", "import"].map((name) => `--deny-${name}`);
    await using greeter = spawn([...DENO_RUN, "--allow-net", ...denied, MAIN, ...LOCAL]);
    assertEquals(await greetingFrom(await portOf(greeter)), DEFAULTS.greeting);
  },
);

Deno.test("colour on a terminal, unless NO_COLOR is set (needs Linux's script(1))", { ignore: !isLinux }, async () => {
  const command = [...GREETER, ...LOCAL, "--bogus"].map((word) => `'${word}'`).join(" ");
  const onTerminal = (env: Record<string, string>) => run(["script", "-qec", command, "/dev/null"], { env });
  assertStringIncludes((await onTerminal({ NO_COLOR: "" })).stdout, "\u001b[31mgreeter:\u001b[39m");
  assertEquals((await onTerminal({ NO_COLOR: "1" })).stdout.includes("\u001b"), false);
});

Deno.test(
  "2,000 connections reset before they are accepted (needs SIGSTOP: not on Windows)",
  needsSignals,
  async () => {
    await using greeter = spawn([...GREETER, ...LOCAL]);
    const port = await portOf(greeter);
    async function reset() {
      const socket = createConnection(port, "127.0.0.1");
      const closed = new Promise((resolve) => socket.once("close", resolve));
      await new Promise((resolve) => socket.once("connect", resolve));
      socket.resetAndDestroy();
      await closed;
    }
    // Few enough at a time for the shortest backlog, macOS's of 128.
    for (let round = 0; round < 20; round++) {
      greeter.child.kill("SIGSTOP");
      await Promise.all(Array.from({ length: 100 }, reset));
      greeter.child.kill("SIGCONT");
      assertEquals(await greetingFrom(port), DEFAULTS.greeting);
    }
    await until(() => descriptors(greeter).then((count) => count < 30));
    await stop(greeter);
  },
);

/** How many descriptors it has open; none where Linux's /proc isn't there to tell. */
async function descriptors({ child }: Greeter): Promise<number> {
  return isLinux ? (await Array.fromAsync(Deno.readDir(`/proc/${child.pid}/fd`))).length : 0;
}

/** The processor time that it has used, in seconds; a tick is 10 ms on every Linux that Deno runs on. */
async function processorTime({ child }: Greeter): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${child.pid}/stat`);
  const [utime, stime] = stat.slice(stat.lastIndexOf(")")).split(" ").slice(12, 14);
  return (Number(utime) + Number(stime)) / 100;
}

Deno.test(
  "descriptors used up: a new client is greeted within a second (needs /proc and #35292)",
  needsProc,
  async () => {
    await using greeter = spawn(["sh", "-c", `ulimit -n 64; exec "$@"`, "sh", ...GREETER, ...LOCAL, "-t", "60"]);
    const port = await portOf(greeter);
    const silent = await Promise.all(Array.from({ length: 300 }, () => Deno.connect({ hostname: "127.0.0.1", port })));
    await until(() => greeter.output.stdout.split("Received").length === 301);

    const started = performance.now();
    assertEquals(await greetingFrom(port), DEFAULTS.greeting);
    assert(performance.now() - started < 1000, "greeted too late");

    // As long as it is full, it waits; it doesn't spin.
    const used = await processorTime(greeter);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    assert(await descriptors(greeter) > 50, "not full");
    assert(await processorTime(greeter) - used < 0.2, "spins");

    await stop(greeter);
    for (const conn of silent) conn.close();
  },
);

Deno.test("1,500 silent holders leave no descriptor open (needs /proc and #35292)", needsProc, async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "-m", "500", "-t", "2"]);
  const port = await portOf(greeter);
  const before = await descriptors(greeter);
  const holders = await Promise.all(Array.from({ length: 1500 }, () => Deno.connect({ hostname: "127.0.0.1", port })));
  await until(() => greeter.output.stdout.split("Received").length === 1501);
  assert(await descriptors(greeter) <= before + 501);
  assertEquals(await greetingFrom(port), DEFAULTS.greeting);
  await until(() => descriptors(greeter).then((count) => count === before));
  for (const holder of holders) holder.close();
  await stop(greeter);
});
