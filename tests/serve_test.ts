import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { fc } from "./deps.ts";
import { createConnection } from "node:net";
import { UsageError } from "../cli/args.ts";
import type { ServeCommand } from "../cli/serve/command.ts";
import { parsePorts } from "../cli/ports.ts";
import config from "../deno.json" with { type: "json" };
import { parse } from "../main.ts";
import { DEFAULTS } from "../server.ts";
import {
  BINARY,
  connectAndReset,
  delay,
  DENO_RUN,
  descriptors,
  freePort,
  GREETER,
  GREETING_BYTES,
  greetingFrom,
  hasIPv6,
  inNamespace,
  isLinux,
  LOCAL,
  MAIN,
  needsPrograms,
  needsSignals,
  portOf,
  type Process,
  readBytes,
  receive,
  run,
  signalUntilEnded,
  spawn,
  stop,
  until,
} from "./helpers.ts";

async function parseServe(args: string[]): Promise<ServeCommand> {
  const command = await parse(args);
  if (command.kind !== "serve") throw new Error(`not a command to serve: ${args}`);
  return command;
}

/** Whether a port refuses connections. */
async function isRefused(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return false;
  } catch {
    return true;
  }
}

Deno.test("parse() accepts a value in any of four forms, and grouped flags", async () => {
  for (const args of [["-qp5"], ["-q", "-p", "5"], ["--quiet", "--port", "5"], ["--port=5", "-q"]]) {
    const command = await parseServe(args);
    assertEquals([command.options.port, command.quiet], [[5], true]);
  }
});

Deno.test("parse() accepts seconds with or without digits before the point", async () => {
  for (const [text, ms] of [["0.001", 1], [".5", 500], ["5.", 5000], ["86400", 86_400_000]] as const) {
    const { options, within } = await parseServe(["-t", text, "-w", text]);
    assertEquals([options.timeout, within], [ms, ms]);
  }
});

Deno.test("parse() accepts the smallest and the largest numbers", async () => {
  const smallest = await parseServe(["-p0", "-n1", "-b1", "-m1"]);
  assertEquals(Object.values(smallest.options).filter((value) => value !== undefined), [[0], 1, 1, 1]);
  const largest = await parseServe(["-p65535", "-n1000000000", "-b65535", "-m1000000"]);
  const { port, count, backlog, maxConnections } = largest.options;
  assertEquals([port, count, backlog, maxConnections], [[65_535], 1_000_000_000, 65_535, 1_000_000]);
  // CR LF makes it 16,384 bytes.
  assertEquals((await parseServe(["-g", "x".repeat(16_382)])).greeting?.text.length, 16_382);
});

Deno.test("parse() returns undefined for options that are not given", async () => {
  const { options, ...rest } = await parseServe([]);
  assertEquals(new Set(Object.values(options)), new Set([undefined]));
  assertEquals(rest, {
    kind: "serve",
    greeting: { text: "Thank you for connecting to the server.", byPort: new Map(), http: false },
    within: undefined,
    skipTaken: false,
    json: false,
    quiet: false,
    timestamps: false,
  });
});

Deno.test("parse() returns help or version even if other arguments are unknown or invalid", async () => {
  for (const args of [["-h"], ["-hV"], ["--bogus", "-h"], ["-hx"], ["--port", "x", "--help"], ["stray", "-qh"]]) {
    assertEquals((await parse(args)).kind, "help");
  }
  for (const args of [["-V", "--port", "x"], ["connect", "-V"], ["connect", "--version"], ["connect", "lab", "-qV"]]) {
    assertEquals(await parse(args), { kind: "version" });
  }
  for (const args of [["connect", "-h"], ["connect", "--bogus", "--help"], ["connect", "lab", "-p", "x", "-qh"]]) {
    const command = await parse(args);
    assertStringIncludes(
      command.kind === "help" ? command.text : "",
      "Usage: greeter connect [OPTIONS] HOST\n\nChecks",
    );
  }
});

Deno.test("parse() does not change a greeting, whatever it contains", async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: "binary", maxLength: 8 }), async (text) => {
      const forms = [[`--greeting=${text}`]];
      if (!text.startsWith("-")) forms.push(["--greeting", text], ["-g", text]);
      if (text !== "" && !text.startsWith("=")) forms.push([`-g${text}`]);
      for (const args of forms) {
        const command = await parseServe(args);
        assertEquals(command.greeting?.text, text);
      }
    }),
    { examples: [[""], ["-h"], ["=x"], ["a\nb"]] },
  );
});

Deno.test("parse() throws a UsageError that names the option as typed, the value, and what is expected", async () => {
  const tooLong = "x".repeat(16_383);
  const cases: [args: string[], ...says: string[]][] = [
    [["--bogus"], `"--bogus"`],
    [["--bogus=3"], `"--bogus=3"`],
    [["-x"], `"-x"`],
    [["--no-stdin"], `"--no-stdin"`],
    [["--port.x=3"], `"--port.x=3"`],
    [["--__proto__=3"], `unknown option "--__proto__=3"`],
    [["--constructor"], `unknown option "--constructor"`],
    [["stray"], `"stray"`],
    [["--", "stray"], `"stray"`],
    [[""], `""`],
    [["--stdin", "-"], `"-"`],
    [["--port"], "--port requires a value, such as --port 8080"],
    [["--port="], `"" for --port`],
    [["--port", ""], "--port"],
    [["--greeting", "-hello"], "--greeting requires a value", 'to use "-hello"', "write --greeting=-hello"],
    [["-g", "-h"], "-g", `"-h"`],
    [["--p", "0"], `"--p"`],
    [["--_=x"], `"--_=x"`],
    [["--_", "x"], `"--_"`],
    [["-_", "x"], `"-_"`],
    [["-qx"], `unknown option "-x" in "-qx"; see greeter --help`],
    [["--prot", "80"], 'unknown option "--prot" (did you mean --port?); see greeter --help'],
    [["--backlogs=3"], 'unknown option "--backlogs=3" (did you mean --backlog?); see greeter --help'],
    [["--JSON"], 'unknown option "--JSON" (did you mean --json?); see greeter --help'],
    [["-port", "80"], 'unknown option "-port" (did you mean --port?); see greeter --help'],
    [["-P", "80"], 'unknown option "-P" (did you mean -p?); see greeter --help'],
    [["--verbose"], 'unknown option "--verbose"; see greeter --help'],
    [["--expect", "hi"], 'unknown option "--expect"; only greeter connect has it: see greeter connect --help'],
    [["--first", "--second", "-x"], `unknown option "--first"; `],
    [["-yz", "--first"], `unknown option "-y" in "-yz"; `],
    [["stray", "--first", "--second"], `unknown option "--first"; `],
    [["-q", "--", "-n", "5"], `unexpected argument "-n"`],
    [["--", "--"], `unexpected argument "--"`],
    [["-p=5"], `"-p=5"`, "-p 5", "--port=5"],
    [["-qp=5"], `"-qp=5"`, "-p 5"],
    [["--quiet="], `"--quiet="`],
    [["-p", "x"], `"x" for -p: `],
    [["8080"], 'unexpected argument "8080"; to listen on ports, write -p 8080'],
    [["-p", "80", "443"], 'unexpected argument "443"; to listen on ports, write -p 80,443'],
    [
      ["--port", "80,", "443", "8000-8100"],
      'unexpected argument "443"; to listen on ports, write --port 80,443,8000-8100',
    ],
    [["-p", "80=hi", "443"], 'unexpected argument "443"; to listen on ports, write -p 443'],
    [["help"], 'unexpected argument "help"; for help, write greeter --help'],
    [["help", "connect"], 'unexpected argument "help"; for help, write greeter connect --help'],
    [["version"], 'unexpected argument "version"; for the version, write greeter --version'],
    ...["serve", "server", "listen", "start"].map((name): [string[], string] => [
      [name, "-p", "80"],
      `unexpected argument "${name}"; the server has no command name: write greeter [OPTIONS], such as greeter -p 8080`,
    ]),
    [
      ["-q", "connect", "lab"],
      'unexpected argument "connect"; connect must be the first argument: write greeter connect',
    ],
    [["lab"], 'unexpected argument "lab"; to check the ports of a host, write greeter connect [OPTIONS] HOST'],
    [["-p", "ssh"], "or 0 for any free port; write 22 instead of ssh"],
    [["-p", "ssh=SSH-2.0"], "; write 22 instead of ssh"],
    [["-t", "5s"], "expected seconds from 0.001 to 86400; write 5 instead of 5s"],
    [["-w", "10m"], "; write 600 instead of 10m"],
    [["-q", "--json"], "--quiet and --json cannot be combined; use only one of them"],
    [["-q", "--timestamps"], "--quiet and --timestamps cannot be combined; use only one of them"],
    [["--timestamps", "--json"], "--json and --timestamps cannot be combined; use only one of them"],
    [["-p", "80", "--port", "x"], `"x" for --port: `],
    [["--host", "--stdin"], "--host", `"--stdin"`],
    ...["0x50", "1e3", " 80", "-1", "65536", "Infinity", "80.5", "99999999999999999999"].map((
      port,
    ): [string[], ...string[]] => [[`--port=${port}`], "--port", JSON.stringify(port), "1 to 65535", "or 0"]),
    [["--port", "٨٠"], "--port", `"\\u0668\\u0660"`],
    ...["0x50", "1e3", " 80", "80.5"].flatMap((value) =>
      ["--count", "--backlog", "--max-connections"].map((
        name,
      ): [string[], ...string[]] => [[`${name}=${value}`], name, JSON.stringify(value), "whole number"])
    ),
    [["--backlog", "0"], "--backlog", `"0"`, "1 to 65535"],
    [["--max-connections", "0"], "--max-connections", `"0"`, "1 to 1000000"],
    [["--timeout", "0"], "--timeout", `"0"`, "0.001 to 86400"],
    [["--timeout", "0.0009"], "--timeout", `"0.0009"`],
    [["--timeout", "86401"], "--timeout", `"86401"`],
    [["--within", "0"], "--within", `"0"`],
    [["--within", "86401"], "--within", `"86401"`],
    [["--within", "."], "--within", `"."`],
    [["--timeout", "1e3"], "--timeout", `"1e3"`],
    [["--timeout", "NaN"], "--timeout", `"NaN"`],
    [["--greeting", tooLong], "--greeting", "16385 bytes", "16384"],
    [["--http", "-g", "x".repeat(16_300)], "-g", "16384"],
    [["--http", "-p", `22=${"x".repeat(16_300)}`], "-p", "16384"],
    [["-g", "{client}".repeat(1000)], "-g", "16384"],
    [["--port", `22=${tooLong}`], "--port", "16384"],
    [["--port", "22=a", "--stdin"], "--port", "--stdin"],
    [["--http", "--stdin"], "--http", "--stdin"],
    [["--port", "0=a"], "--port", `"0=a"`],
    [["-p", "20-25=a", "-p", "80", "-p", "22=b"], "port 22 appears with two greetings; remove one of them"],
    [["-p", "22=", "-p", "22= "], "port 22 appears with two greetings"],
    [["--port", "--"], "--port", `"--"`],
    [["--ignore", "::ffff:127.0.0.1/104"], "--ignore", "127.0.0.1/8"],
    [["--stdin", "--greeting", "hi"], "--stdin", "--greeting"],
    [["--stdin", "--greeting="], "--stdin", "--greeting"],
    [["--stdin", "-p", "22="], "--stdin", "--port"],
    [["--timeout", "1", "-t", "2"], "-t appears more than once; write it only once"],
    [["-n", "1", "--count", "2"], "--count", "once"],
    [["--count", "0"], "--count", `"0"`, "1 to 1000000000"],
    [["--port", "-1"], "--port", `"-1"`],
    [["--within=-1"], "--within", `"-1"`, "0.001 to 86400"],
    [["--allow", "192.0.2.7", "-a", "127.0.0.1/33"], `"127.0.0.1/33" for -a: `, "192.0.2.0/24"],
    [["--json=yes"], `"--json=yes"`],
    [["--quiet", "--quiet"], "--quiet", "once"],
    [["--stdin", "--stdin"], "--stdin", "once"],
    [["--help=maybe"], `"--help=maybe"`],
    [["--stdin=false"], `"--stdin=false"`],
    [["--g\u001b[31m"], "\\u001b"],
    [["--port", "1\n2"], "--port", `"1\\n2"`],
  ];
  for (const [args, ...says] of cases) {
    const { message } = await assertRejects(() => parse(args), UsageError);
    assertMatch(message, /^[ -~]+$/);
    for (const part of says) assertStringIncludes(message, part);
  }
});

Deno.test("parse() throws only UsageErrors for 2,000 generated command lines", async () => {
  const numbers = ["", "0", "1", "-1", "65536", "0x50", "1e3", " 80", "0.5", "Infinity", "NaN"];
  const odd = ["true", "-", "--", "=", "10.0.0.0/8", "2001:db8::/32", "::ffff:192.0.2.1", "10.0.0.1/33", "1.2.3/"];
  const words = fc.oneof(
    fc.string({ unit: "binary", maxLength: 8 }),
    fc.constantFrom(...numbers, ...odd),
  );
  const given = (names: string, values: fc.Arbitrary<string>) => {
    const pair = fc.tuple(fc.constantFrom(...names.split(" ")), values);
    return fc.oneof(pair, pair.map(([name, value]) => [`${name}=${value}`]));
  };
  const option = (names: string) => fc.oneof(given(names, words), fc.tuple(fc.constantFrom(...names.split(" "))));
  const pieces = fc.oneof(
    option("--greeting -g --stdin --allow -a --count -n --json --quiet -q --backlog -b --timeout -t"),
    option("--max-connections -m --help -h --version -V --no-stdin --bogus -x -qn -hV"),
    fc.tuple(words),
    given("--host -H", fc.constantFrom("127.0.0.1", "localhost", "::1", "192.0.2.1", "a b", "\u001b")),
    given("--port -p --within -w", fc.constantFrom(...numbers)),
  );
  const commandLines = fc.array(pieces, { maxLength: 3 }).map((lists) => lists.flat());

  await fc.assert(
    fc.asyncProperty(commandLines, async (args) => {
      try {
        await parse(args);
      } catch (error) {
        if (!(error instanceof UsageError)) throw error;
        assertMatch(error.message, /^[ -~]+$/);
      }
    }),
    { numRuns: 2000 },
  );
});

Deno.test("greeter --help and --version print to standard output and exit 0", async () => {
  assertEquals(await run([...GREETER, "-V"]), {
    code: 0,
    signal: null,
    stdout: `greeter ${config.version}\n`,
    stderr: "",
  });
  const { code, stdout, stderr } = await run([...GREETER, "--help"]);
  assertEquals([code, stderr], [0, ""]);
  assertMatch(stdout, /^Usage: greeter \[OPTIONS\]\n/);
});

Deno.test("greeter exits 2 with one line on standard error if the command line is invalid", async () => {
  assertEquals(await run([...GREETER, "--bogus"], { env: { NO_COLOR: "" } }), {
    code: 2,
    signal: null,
    stdout: "",
    stderr: `greeter: unknown option "--bogus"; see greeter --help\n`,
  });
});

Deno.test("greeter listens, logs, greets and stops (needs SIGTERM)", needsSignals, async () => {
  // Without NO_COLOR, so that this also shows that there is no color in a pipe.
  await using greeter = spawn([...GREETER, ...LOCAL], { env: { NO_COLOR: "" } });
  const port = await portOf(greeter);
  const clients: number[] = [];
  for (let i = 0; i < 3; i++) {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    clients.push(conn.localAddr.port);
    assertEquals(new TextDecoder().decode(await receive(conn)), "Thank you for connecting to the server.\r\n");
  }
  await stop(greeter);
  const [stopped] = greeter.output.stdout.match(/Stopped.*\n/) ?? [""];
  assertEquals(
    greeter.output.stdout,
    [
      `Listening on 127.0.0.1:${port}\n`,
      ...clients.map((client) => `Received connection from 127.0.0.1:${client} on port ${port}\n`),
      stopped,
    ].join(""),
  );
  assertMatch(stopped, /^Stopped: 3 greetings, 0 denied, 0 bytes received in \d+m?s\n$/);
});

Deno.test("greeter --greeting appends CR LF", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--greeting", "220 grüß dich"]);
  assertEquals(await greetingFrom(await portOf(greeter)), "220 grüß dich\r\n");
});

Deno.test("greeter --stdin sends standard input byte for byte, even if it arrives in pieces", async () => {
  const everyByte = Uint8Array.from({ length: 16_384 }, (_, i) => i);
  await using greeter = spawn([...GREETER, ...LOCAL, "--stdin"], { stdin: "piped" });
  const writer = greeter.child.stdin.getWriter();
  for (let i = 0; i < 100; i++) {
    await writer.write(everyByte.subarray(i, i + 1));
    await delay(5);
  }
  await writer.write(everyByte.subarray(100));
  await writer.close();
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: await portOf(greeter) });
  assertEquals(await receive(conn), everyByte);
});

/** Whether a thread of a process waits for input from a pipe. */
async function readsPipe(pid: number): Promise<boolean> {
  const tasks = await Array.fromAsync(Deno.readDir(`/proc/${pid}/task`));
  const places = tasks.map(({ name }) => Deno.readTextFile(`/proc/${pid}/task/${name}/wchan`).catch(() => ""));
  return (await Promise.all(places)).some((place) => place.includes("pipe_read"));
}

Deno.test(
  "greeter --stdin ignores SIGHUP, and ends on a signal, while it reads standard input (needs /proc and root)",
  {
    ignore: !isLinux || Deno.uid() !== 0,
  },
  async () => {
    for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
      await using greeter = spawn([...GREETER, ...LOCAL, "--stdin"], { stdin: "piped" });
      await until(() => readsPipe(greeter.child.pid));
      greeter.child.kill("SIGHUP");
      greeter.child.kill(signal);
      assertEquals([(await greeter.ended).code, greeter.output], [status, { stdout: "", stderr: "" }]);
      await greeter.child.stdin.abort().catch(() => {}); // the pipe has no reader anymore
    }
  },
);

const asProcess1 = ["unshare", "--fork", "--pid", "--mount-proc"];

Deno.test(
  "greeter --stdin ends on a signal as process 1 while it reads standard input (needs Linux, root and unshare)",
  {
    ignore: !isLinux || Deno.uid() !== 0 || inNamespace("").ignore,
  },
  async () => {
    for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
      await using greeter = spawn([...asProcess1, ...GREETER, ...LOCAL, "--stdin"], { stdin: "piped" });
      const { pid } = greeter.child;
      let child = 0;
      await until(async () => {
        child = Number(await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`));
        return child > 0 && await readsPipe(child);
      });
      Deno.kill(child, signal);
      assertEquals([(await greeter.ended).code, greeter.output], [status, { stdout: "", stderr: "" }]);
      await greeter.child.stdin.abort().catch(() => {}); // the pipe has no reader anymore
    }
  },
);

Deno.test("greeter --stdin exits 2 if standard input is longer than 16 KiB, even if it never ends", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--stdin"], { stdin: "piped" });
  const writer = greeter.child.stdin.getWriter();
  await writer.write(new Uint8Array(16_385));
  assertEquals((await greeter.ended).code, 2);
  await writer.abort().catch(() => {}); // the pipe has no reader anymore
  assertEquals(
    greeter.output.stderr,
    "greeter: standard input is too long: at most 16384 bytes can be sent; shorten it\n",
  );
});

Deno.test(
  "greeter exits 2 with one line if standard input cannot be read (needs sh)",
  needsPrograms("sh"),
  async () => {
    for (const redirect of ["< /tmp", "0> /dev/null"]) {
      const command = ["sh", "-c", `exec "$@" ${redirect}`, "sh", ...GREETER, ...LOCAL, "--stdin"];
      const { code, stdout, stderr } = await run(command);
      assertEquals([code, stdout], [2, ""]);
      assertMatch(stderr, /^greeter: cannot read standard input: [^\n]+; redirect it from a file or a pipe\n$/);
    }
  },
);

Deno.test("greeter exits 2 with one line if its output cannot be written (needs /dev/full)", {
  ignore: !isLinux,
}, async () => {
  for (const option of ["--help", "--version"]) {
    assertEquals(await run(["sh", "-c", `exec "$@" > /dev/full`, "sh", ...GREETER, option]), {
      code: 2,
      signal: null,
      stdout: "",
      stderr:
        "greeter: cannot write to standard output: No space left on device (os error 28); redirect it elsewhere\n",
    });
  }
  const { code } = await run(["sh", "-c", `exec "$@" 2> /dev/full`, "sh", ...GREETER, "--bogus"]);
  assertEquals(code, 2);
});

Deno.test("greeter accepts --timeout, --max-connections and --backlog", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "-t", "0.2", "-m", "1", "-b", "16"]);
  const port = await portOf(greeter);
  const holder = await Deno.connect({ hostname: "127.0.0.1", port });
  assertEquals(await greetingFrom(port), DEFAULTS.greeting);
  holder.close();
  const silent = await Deno.connect({ hostname: "127.0.0.1", port });
  // Writing fails when the timeout has closed the connection.
  await until(() => silent.write(new Uint8Array(1)).then(() => false, () => true));
  silent.close();
});

Deno.test("greeter --count exits 0 after N greetings", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--count", "3", "--within", "60"]);
  const port = await portOf(greeter);
  const clients = await Promise.allSettled(Array.from({ length: 20 }, () => greetingFrom(port)));
  const greeted = clients.filter(({ status, ...result }) =>
    status === "fulfilled" && "value" in result && result.value === DEFAULTS.greeting
  );
  assertEquals([greeted.length, (await greeter.ended).code, greeter.output.stderr], [3, 0, ""]);
  assertMatch(greeter.output.stdout, /\nStopped: 3 greetings, /);
});

Deno.test("greeter --within exits 0 without --count, and 1 if --count was not reached", async () => {
  const { code, stdout } = await run([...GREETER, ...LOCAL, "--within", "0.1"]);
  assertEquals(code, 0);
  assertMatch(stdout, /\nStopped: 0 greetings, /);
  assertEquals(await run([...GREETER, ...LOCAL, "--quiet", "--within", "0.1", "--count", "3"]), {
    code: 1,
    signal: null,
    stdout: "",
    stderr: "greeter: stopped before --count was reached: 0 of 3 clients were greeted\n",
  });
});

Deno.test("greeter exits 1 if a signal comes before --count is reached (needs SIGTERM)", needsSignals, async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--count", "2"]);
  assertEquals(await greetingFrom(await portOf(greeter)), DEFAULTS.greeting);
  greeter.child.kill("SIGTERM");
  assertEquals((await greeter.ended).code, 1);
  assertMatch(greeter.output.stdout, /\nStopped: 1 greeting, /);
  assertEquals(greeter.output.stderr, "greeter: stopped before --count was reached: 1 of 2 clients were greeted\n");
});

Deno.test("greeter --allow refuses other clients", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--allow", "192.0.2.0/24", "--within", "0.5"]);
  assertEquals(await greetingFrom(await portOf(greeter)), "");
  await greeter.ended;
  assertMatch(
    greeter.output.stdout,
    /\nDenied connection from 127\.0\.0\.1:\d+ on port \d+\nStopped: 0 greetings, 1 denied, /,
  );
});

Deno.test("greeter --allow accepts a network with host bits", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--allow", "127.9.9.9/8", "--count", "1"]);
  assertEquals(await greetingFrom(await portOf(greeter)), DEFAULTS.greeting);
  assertEquals((await greeter.ended).code, 0);
});

Deno.test("greeter --json logs one row for each event", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--port", "0", "--json", "--count", "1"]);
  await until(() => rows(greeter).length === 1);
  const { dest_port, ports } = rows(greeter)[0] ?? {};
  const first = Number(dest_port);
  const second = parsePorts(`${ports}`)?.find((port) => port !== first) ?? 0;
  await greetingFrom(first);
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: second });
  await conn.write(new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n"));
  await receive(conn);
  assertEquals([(await greeter.ended).code, greeter.output.stderr], [0, ""]);
  const log = rows(greeter);
  assertEquals(log.map(({ event_type, dest_port }) => [event_type, dest_port]), [
    ["listening", first],
    ["connection", first],
    ["closed", first],
    ["connection", second],
    ["closed", second],
    ["stopped", undefined],
  ]);
  const { payload, payload_printable } = log[4] ?? {};
  assertEquals([payload, payload_printable], [btoa("GET / HTTP/1.0\r\n\r\n"), "GET / HTTP/1.0\r\n\r\n"]);
  const { greetings, denied, bytes_received, dropped } = log[5] ?? {};
  assertEquals({ greetings, denied, bytes_received, dropped }, {
    greetings: 2,
    denied: 0,
    bytes_received: 18,
    dropped: 0,
  });
});

/** The rows of a log in JSON. */
function rows({ output }: Process): Record<string, unknown>[] {
  return output.stdout.split("\n").slice(0, -1).map((line) => JSON.parse(line));
}

Deno.test(
  "greeter logs what a client sends on one line, with control characters escaped (needs SIGTERM)",
  needsSignals,
  async () => {
    await using greeter = spawn([...GREETER, ...LOCAL]);
    const port = await portOf(greeter);
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    await conn.write(new TextEncoder().encode("\u001b]0;title\u0007\nReceived connection from 192.0.2.1:1"));
    await receive(conn);
    await stop(greeter);
    assertStringIncludes(
      greeter.output.stdout,
      String.raw` sent 47 bytes to port ${port}: "\x1b]0;title\x07\nReceived connection from 192.0.2.1:1"` +
        "\nStopped: 1 greeting,",
    );
  },
);

Deno.test("greeter serves IPv6, and IPv4 over an IPv6 socket (needs IPv6 and SIGTERM)", {
  ignore: needsSignals.ignore || !hasIPv6(),
}, async () => {
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

Deno.test("greeter exits 2 if it cannot listen, and prints why and what to do", async () => {
  using occupied = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = occupied.addr;
  const cases: [command: string[], message: string][] = [
    [[...GREETER, "-H", "127.0.0.1", "-p", `${port}`], `port ${port} is in use; choose another with --port`],
    [[...GREETER, ...LOCAL, "-p", `${port}`], `port ${port} is in use; choose another with --port`],
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

Deno.test("greeter exits 2 if a port requires privileges, even above 1023 (needs Linux, ip, setpriv, unshare -n)", {
  ignore: privilegedPorts.ignore || needsPrograms("setpriv").ignore,
}, async () => {
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
});

Deno.test("greeter stops on SIGINT (needs signals)", needsSignals, async () => {
  await using greeter = spawn([...GREETER, ...LOCAL]);
  await portOf(greeter);
  greeter.child.kill("SIGINT");
  assertEquals((await greeter.ended).code, 0);
  assertMatch(greeter.output.stdout, /Stopped: 0 greetings, 0 denied, 0 bytes received in \d+ms\n$/);
});

Deno.test("greeter exits 130 or 143 on a second signal (needs signals)", needsSignals, async () => {
  for (const [signal, expected] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    await using greeter = spawn([...GREETER, ...LOCAL]);
    const port = await portOf(greeter);
    // A silent client makes the shutdown after the first signal last as long as possible.
    using _holder = await Deno.connect({ hostname: "127.0.0.1", port });
    await until(() => greeter.output.stdout.includes("Received"));
    greeter.child.kill("SIGTERM");
    // The kernel merges two SIGTERMs if the first has not been handled yet. So wait until the port is closed.
    await until(() => isRefused(port));
    // Signals within 100 ms after the first one are ignored as copies of it.
    await signalUntilEnded(greeter, () => greeter.child.kill(signal));
    assertEquals((await greeter.ended).code, expected);
    assert(!greeter.output.stdout.includes("Stopped"));
  }
});

Deno.test("greeter stops gracefully if two signals arrive at once, as Ctrl-C does under deno task (needs signals)", {
  ...needsSignals,
}, async () => {
  await using greeter = spawn([...GREETER, ...LOCAL]);
  using _holder = await Deno.connect({ hostname: "127.0.0.1", port: await portOf(greeter) });
  await until(() => greeter.output.stdout.includes("Received"));
  greeter.child.kill("SIGINT");
  // Not SIGINT again, which the kernel would merge with the first one while that is not handled.
  await stop(greeter);
  assertStringIncludes(greeter.output.stdout, "\nStopped: 1 greeting");
});

Deno.test(
  "greeter ignores SIGHUP without a terminal, as under nohup (needs nohup)",
  needsPrograms("nohup"),
  async () => {
    const directory = await Deno.makeTempDir();
    for (const nohup of [["nohup"], []]) {
      await using greeter = spawn([...nohup, ...GREETER, ...LOCAL], { cwd: directory });
      const port = await portOf(greeter);
      greeter.child.kill("SIGHUP");
      for (let i = 0; i < 3; i++) assertEquals(await greetingFrom(port), DEFAULTS.greeting);
      greeter.child.kill("SIGTERM");
      assertEquals((await greeter.ended).code, 0);
      assertMatch(greeter.output.stdout, /\nStopped: 3 greetings, /);
    }
    await Deno.remove(directory, { recursive: true });
  },
);

Deno.test("greeter stops on SIGHUP if a stream is a terminal, and exits 129 on a second one (needs script)", {
  ignore: !isLinux || needsPrograms("script").ignore,
}, async () => {
  const directory = await Deno.makeTempDir();
  // In the last two, only standard output or only standard error is a terminal.
  for (
    const [signals, redirects] of [
      [1, ""],
      [2, ""],
      [1, "< /dev/null 2> /dev/null"],
      [1, "< /dev/null > /dev/null"],
    ] as const
  ) {
    const pidFile = `${directory}/pid`;
    const port = freePort();
    const words = [...GREETER, "-H", "127.0.0.1", "-p", `${port}`].map((word) => `'${word}'`).join(" ");
    await using terminal = spawn(["script", "-qec", `echo $$ > ${pidFile}; exec ${words} ${redirects}`, "/dev/null"]);
    await until(async () => !await isRefused(port));
    const pid = Number(await Deno.readTextFile(pidFile));
    // A silent client makes the shutdown last for a second.
    using holder = await Deno.connect({ hostname: "127.0.0.1", port });
    await readBytes(holder, GREETING_BYTES);
    Deno.kill(pid, "SIGHUP");
    await until(() => isRefused(port));
    if (signals === 2) await signalUntilEnded(terminal, () => Deno.kill(pid, "SIGHUP"));
    else holder.close();
    assertEquals((await terminal.ended).code, signals === 2 ? 129 : 0);
    assertEquals(terminal.output.stdout.includes("Stopped: "), signals === 1 && !redirects.includes(" > "));
  }
  await Deno.remove(directory, { recursive: true });
});

Deno.test("greeter stops when its terminal is closed (needs tmux)", needsPrograms("tmux"), async () => {
  const directory = await Deno.makeTempDir();
  const tmux = ["tmux", "-S", `${directory}/socket`];
  const words = [...GREETER, ...LOCAL].map((word) => `'${word}'`).join(" ");
  // The log goes to a file. Standard input is the terminal.
  const start = ["-f", "/dev/null", "new-session", "-d", `exec ${words} > ${directory}/log 2>&1`];
  assertEquals((await run([...tmux, ...start])).code, 0);
  const log = () => Deno.readTextFile(`${directory}/log`).catch(() => "");
  await until(async () => (await log()).includes("Listening"));
  await run([...tmux, "kill-server"]);
  await until(async () => (await log()).includes("\nStopped: "));
  await Deno.remove(directory, { recursive: true });
});

Deno.test("greeter reports that it cannot accept connections (needs prlimit)", needsPrograms("prlimit"), async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--json"]);
  await until(() => rows(greeter).length === 1);
  const port = Number(rows(greeter)[0]?.dest_port);
  // greeter cannot open another descriptor, and has no connection to evict.
  assertEquals((await run(["prlimit", "--pid", `${greeter.child.pid}`, "--nofile=5"])).code, 0);
  using _conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await until(() => greeter.output.stderr !== "" && rows(greeter).length === 2);
  assertEquals(
    greeter.output.stderr,
    "greeter: cannot accept connections: Too many open files (os error 24); trying again\n",
  );
  const { event_type, message } = rows(greeter)[1] ?? {};
  assertEquals([event_type, message], ["error", "Too many open files (os error 24)"]);
});

Deno.test("greeter requires the permission for its own port only (not tested on the binary, which has it built in)", {
  ignore: !!BINARY,
}, async () => {
  const port = freePort();
  const options = ["--quiet", "-H", "127.0.0.1", "-p", `${port}`, "--within", "0.1"];
  const { code, stderr } = await run([...DENO_RUN, `--allow-net=127.0.0.1:${port}`, MAIN, ...options]);
  assertEquals([code, stderr], [0, ""]);
});

Deno.test("greeter requires only the network permission (not tested on the binary, which has it built in)", {
  ignore: !!BINARY,
}, async () => {
  const denied = ["read", "write", "env", "run", "sys", "ffi", "import"].map((name) => `--deny-${name}`);
  await using greeter = spawn([...DENO_RUN, "--allow-net", ...denied, MAIN, ...LOCAL]);
  assertEquals(await greetingFrom(await portOf(greeter)), DEFAULTS.greeting);
});

Deno.test("greeter uses color on a terminal unless NO_COLOR is set (needs script)", {
  ignore: !isLinux || needsPrograms("script").ignore,
}, async () => {
  const command = [...GREETER, ...LOCAL, "--bogus"].map((word) => `'${word}'`).join(" ");
  const onTerminal = (env: Record<string, string>) => run(["script", "-qec", command, "/dev/null"], { env });
  assertStringIncludes((await onTerminal({ NO_COLOR: "" })).stdout, "\u001b[31mgreeter:\u001b[39m");
  assertEquals((await onTerminal({ NO_COLOR: "1" })).stdout.includes("\u001b"), false);
});

Deno.test("greeter colors a text log on a terminal, but not with NO_COLOR, and no JSON (needs script)", {
  ignore: !isLinux || needsPrograms("script").ignore,
}, async () => {
  const directory = await Deno.makeTempDir();
  const pidFile = `${directory}/pid`;
  const logOf = async (option: string, NO_COLOR = "") => {
    const port = freePort();
    const options = ["-H", "127.0.0.1", "-p", `${port}`, "--allow", "127.0.0.1", option];
    const command = [...GREETER, ...options].map((word) => `'${word}'`).join(" ");
    const env = { NO_COLOR };
    // In the background, because script stops when its child is stopped.
    await using terminal = spawn(["script", "-qec", `${command} & echo $! > ${pidFile}; wait`, "/dev/null"], { env });
    const lines = () => terminal.output.stdout.split("\n").length - 1;
    await until(() => lines() === 1);
    const pid = Number(await Deno.readTextFile(pidFile));
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    await conn.write(new TextEncoder().encode("hi"));
    await receive(conn);
    await until(() => lines() === 3);
    const refused = createConnection({ port, host: "127.0.0.1", localAddress: "127.0.0.2" }).resume();
    await new Promise((resolve) => refused.once("close", resolve));
    await until(() => lines() === 4);
    Deno.kill(pid, "SIGSTOP");
    await connectAndReset(port);
    Deno.kill(pid, "SIGCONT");
    await greetingFrom(port);
    Deno.kill(pid, "SIGTERM");
    await terminal.ended;
    return terminal.output.stdout.replaceAll("\r\n", "\n").replaceAll("\u001b", "ESC").replace(/\d+(?=m?s\b)/, "0");
  };
  const plain = await logOf("--backlog=16", "1");
  assertMatch(
    plain,
    /^Listening .*\nReceived .*\n.* "hi"\nDenied .*\nReceived .*\n1 connection was reset .*\nStopped: .*\n$/,
  );
  const colored = await logOf("--backlog=16");
  assertMatch(
    colored,
    /^ESC\[32mListening .*ESC\[39m\nReceived [^E]*\n[^E]* sent 2 bytes to port \d+: ESC\[2m"hi"ESC\[22m\nESC\[33mDenied .*ESC\[39m\nReceived [^E]*\nESC\[33m1 connection was reset .*ESC\[39m\nESC\[32mStopped: .*ESC\[39m\n$/,
  );
  assertEquals((await logOf("--json")).includes("ESC"), false);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("greeter logs how long it ran", async () => {
  const { stdout } = await run([...GREETER, ...LOCAL, "--json", "--within", "0.3"]);
  const { duration_ms } = JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "");
  assert(duration_ms >= 299 && duration_ms < 1500, `${duration_ms} ms`);
});

Deno.test(
  "greeter survives 2,000 connections that are reset before they are accepted (needs SIGSTOP)",
  needsSignals,
  async () => {
    await using greeter = spawn([...GREETER, ...LOCAL]);
    const port = await portOf(greeter);
    // 100 at once fit the smallest backlog, which is 128 on macOS.
    for (let round = 0; round < 20; round++) {
      greeter.child.kill("SIGSTOP");
      await Promise.all(Array.from({ length: 100 }, () => connectAndReset(port)));
      greeter.child.kill("SIGCONT");
      assertEquals(await greetingFrom(port), DEFAULTS.greeting);
    }
    await until(() => descriptors(greeter).then((count) => count < 30));
    await stop(greeter);
  },
);

Deno.test("parse() accepts port lists with and without a greeting", async () => {
  const { options, greeting } = await parseServe(["-p", "80,8000-8002", "-p25=220 mail, a=b", "-p443"]);
  assertEquals(options.port, [80, 8000, 8001, 8002, 25, 443]);
  assertEquals(greeting?.byPort, new Map([[25, "220 mail, a=b"]]));
});

Deno.test("parse() accepts -p - and -p- for all ports", async () => {
  for (const args of [["-p-"], ["-p", "-"], ["--port", "-"], ["--port=-"], ["-p-", "-p-"]]) {
    const { options } = await parseServe(args);
    const ports = [options.port ?? []].flat();
    assertEquals([ports.length, ports[0], ports.at(-1)], [65_535, 1, 65_535]);
    const client = await parse(["connect", "lab", ...args]);
    assertEquals(client.kind === "connect" ? client.options.port : [], ports);
  }
});

Deno.test("parse() accepts overlapping ports, and keeps their order and each 0", async () => {
  for (
    const [args, ports] of [
      [["-p80,22,20-23,80"], [80, 22, 20, 21, 23]],
      [["-p80,22", "-p", "20-23", "-p80"], [80, 22, 20, 21, 23]],
      [["-p0,80,0", "-p0,80"], [0, 80, 0, 0]],
    ] as const
  ) assertEquals((await parseServe([...args])).options.port, [...ports]);
});

Deno.test("parse() prefers the greeting of a port to no greeting, and accepts the same greeting twice", async () => {
  for (const args of [["-p22=a", "-p20-23"], ["-p20-23", "-p22=a"], ["-p22=a", "-p22=a", "-p20-23"]]) {
    const { options, greeting } = await parseServe(args);
    assertEquals(new Set([options.port].flat()), new Set([20, 21, 22, 23]));
    assertEquals(greeting?.byPort, new Map([[22, "a"]]));
  }
});

Deno.test("parse() accepts an empty greeting and a line feed for a port", async () => {
  const { greeting } = await parseServe(["-p22=", "-p23=a\nb", "-p24,25=\n"]);
  assertEquals(greeting?.byPort, new Map([[22, ""], [23, "a\nb"], [24, "\n"], [25, "\n"]]));
});

Deno.test(
  "greeter sends each port its greeting, with {client} and {port} replaced (needs SIGTERM)",
  needsSignals,
  async () => {
    const [ftp, web] = [freePort(), freePort()];
    const texts = ["-p", `${ftp}=220 FTP, port {port}`, "-p", `${web}`, "-g", "You are {client}; {unknown}"];
    await using greeter = spawn([...GREETER, "-H", "127.0.0.1", ...texts]);
    await until(() => greeter.output.stdout.includes("\n"));
    assertEquals(await greetingFrom(ftp), `220 FTP, port ${ftp}\r\n`);
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: web });
    const { port } = conn.localAddr;
    assertEquals(new TextDecoder().decode(await receive(conn)), `You are 127.0.0.1:${port}; {unknown}\r\n`);
    await stop(greeter);
  },
);

Deno.test("greeter --http answers curl (needs curl and SIGTERM)", needsPrograms("curl"), async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--http", "-g", "port {port} für {client}"]);
  const port = await portOf(greeter);
  const { code, stdout } = await run(["curl", "-si", `http://127.0.0.1:${port}/`]);
  assertEquals(code, 0);
  const [, length, client] = stdout.match(
    /^HTTP\/1\.1 200 OK\r\nContent-Type: text\/plain; charset=utf-8\r\nContent-Length: (\d+)\r\nConnection: close\r\n\r\nport \d+ für (.*)\r\n$/,
  ) ?? [];
  assertEquals(Number(length), new TextEncoder().encode(`port ${port} für ${client}\r\n`).length, stdout);
  await stop(greeter);
});

Deno.test("greeter --count applies to each port, and the ports that did not reach it are named", async () => {
  const [first, second] = [freePort(), freePort()];
  const command = [...GREETER, "-H", "127.0.0.1", "-p", `${first},${second}`, "--count", "2", "--within"];
  {
    await using greeter = spawn([...command, "60"]);
    await until(() => greeter.output.stdout.includes("\n"));
    for (const port of [first, first, second, second]) assertEquals(await greetingFrom(port), DEFAULTS.greeting);
    assertEquals([(await greeter.ended).code, greeter.output.stderr], [0, ""]);
  }
  await using greeter = spawn([...command, "1"]);
  await until(() => greeter.output.stdout.includes("\n"));
  for (const port of [first, first, second]) assertEquals(await greetingFrom(port), DEFAULTS.greeting);
  // A port that has reached its count refuses new clients.
  await until(() => isRefused(first));
  assertEquals((await greeter.ended).code, 1);
  assertEquals(
    greeter.output.stderr,
    `greeter: stopped before --count was reached: too few clients were greeted on port ${second}\n`,
  );
});

Deno.test(
  "greeter --ignore greets clients without logging or counting them (needs SIGTERM)",
  needsSignals,
  async () => {
    await using greeter = spawn([...GREETER, ...LOCAL, "--ignore", "127.0.0.0/8", "--count", "1"]);
    const port = await portOf(greeter);
    for (let i = 0; i < 3; i++) assertEquals(await greetingFrom(port), DEFAULTS.greeting);
    greeter.child.kill("SIGTERM");
    assertEquals((await greeter.ended).code, 1);
    assertMatch(greeter.output.stdout, /^Listening on .*\nStopped: 0 greetings, 0 denied, .*\n$/);
  },
);

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

Deno.test("greeter --timestamps begins each line of the log with the local date and time", async () => {
  const options = { env: { TZ: "Asia/Kolkata" } };
  const { stdout } = await run([...GREETER, ...LOCAL, "--timestamps", "--within", "0.1"], options);
  for (const line of stdout.trimEnd().split("\n")) {
    const [, time = ""] = line.match(/^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) (Listening|Stopped)/) ?? [];
    assert(Math.abs(Date.now() - Date.parse(`${time}+05:30`)) < 10_000, line);
  }
});

Deno.test(
  "greeter reports resets before accept by port, at most once a second (needs SIGSTOP)",
  needsSignals,
  async () => {
    await using greeter = spawn([...GREETER, "-H", "127.0.0.1", "-p", "0,0,0", "--json"]);
    await until(() => rows(greeter).length === 1);
    const { dest_port, ports } = rows(greeter)[0] ?? {};
    const greeted = Number(dest_port);
    const [scanned = 0, untouched] = parsePorts(`${ports}`)?.filter((port) => port !== greeted) ?? [];
    const reports = () => rows(greeter).filter(({ event_type }) => event_type === "resets_before_accept");
    const started = performance.now();
    let sent = 0;
    // A scan that does not end before it is reported, twice.
    await until(async () => {
      greeter.child.kill("SIGSTOP");
      await Promise.all(Array.from({ length: 5 }, () => connectAndReset(scanned)));
      sent += 5;
      greeter.child.kill("SIGCONT");
      assertEquals(await greetingFrom(greeted), DEFAULTS.greeting);
      await delay(50);
      return reports().length > 1;
    });
    assert(reports().length <= (performance.now() - started) / 1000, "reports too often");
    greeter.child.kill("SIGTERM");
    await greeter.ended;
    assertEquals(new Set(reports().map(({ ports }) => ports)), new Set([`${scanned}`]));
    // On a busy machine, a few may be accepted before they are reset.
    const accepted =
      rows(greeter).filter(({ event_type, dest_port }) => event_type === "connection" && dest_port === scanned).length;
    const reported = reports().reduce((sum, { count }) => sum + Number(count), 0);
    assertEquals(reported + accepted, sent);
    assert(reported > sent / 2, `${reported} of ${sent}`);
    const { resets_before_accept, ports_greeted, ports_not_greeted, ports_reset } = rows(greeter).at(-1) ?? {};
    assertEquals(
      [resets_before_accept, ports_greeted, ports_not_greeted, ports_reset],
      [reported, `${greeted}`, `${untouched}`, `${scanned}`],
    );
  },
);

const fewPorts = inNamespace("echo 40000 40009 > /proc/sys/net/ipv4/ip_local_port_range");

Deno.test("greeter warns once if no local port is left (needs Linux, ip, and unshare -n)", {
  ignore: fewPorts.ignore,
}, async () => {
  const command = [...fewPorts.command, ...GREETER, "-H", "127.0.0.1", "--within", "0.1", "-p"];
  const all = await run([...command, "39990-40060"]);
  assertEquals([all.code, all.stderr], [
    0,
    "greeter: no ephemeral port is left for outgoing connections from this machine; remove some ports from --port\n",
  ]);
  const allButOne = await run([...command, "40000-40008"]);
  assertEquals([allButOne.code, allButOne.stderr], [0, ""]);
});

Deno.test("greeter opens explicit ports before port 0 (needs Linux, ip, and unshare -n)", {
  ignore: fewPorts.ignore,
}, async () => {
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

Deno.test("greeter listens on 100 ports of a host without IPv4 (needs Linux, ip, unshare -n and IPv6)", {
  ignore: onlyIPv6.ignore || !hasIPv6(),
}, async () => {
  const list = Array(100).fill(0).join(",");
  const options = ["-H", "::1", "-p", list, "--within", "0.1"];
  const { code, stdout, stderr } = await run([...onlyIPv6.command, ...GREETER, ...options]);
  assertEquals([code, stderr], [0, ""]);
  assertMatch(stdout, /^Listening on \[::1\]:.* \(100 ports\)\n/);
});

Deno.test("greeter --http shows a page in a browser (needs chromium)", needsPrograms("chromium"), async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--http", "-g", "You reached port {port} as {client}"]);
  const port = await portOf(greeter);
  const options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"];
  const url = `http://127.0.0.1:${port}/`;
  const { stdout } = await run(["chromium", ...options, "--dump-dom", url], {}, 30_000);
  assertMatch(stdout, new RegExp(`>You reached port ${port} as 127\\.0\\.0\\.1:\\d+\\s*<`));
});

Deno.test(
  "greeter prints how many ports are possible if there are too many (needs sh)",
  needsPrograms("sh"),
  async () => {
    for (const limit of [64, 256]) {
      const listenOn = (ports: number) => {
        const list = Array(ports).fill(0).join(",");
        const options = ["-H", "127.0.0.1", "-p", list, "--skip-taken", "--quiet", "--within", "0.1"];
        return run(["sh", "-c", `ulimit -n ${limit}; exec "$@"`, "sh", ...GREETER, ...options]);
      };
      const possibleOf = async (ports: number) => {
        const { code, stderr } = await listenOn(ports);
        assertEquals(code, 2);
        const [, possible] = stderr.match(
          /^greeter: cannot listen: too many ports: the limit on open files allows only (\d+); raise it with ulimit -n \d+\n$/,
        ) ?? [];
        return Number(possible);
      };
      const possible = await possibleOf(1000);
      // If many are possible, 64 descriptors are kept for connections.
      assert(possible > limit / 4 && possible < (limit > 128 ? limit - 64 : limit), `${possible}`);
      // A process may have one descriptor more or less than another one.
      assert(Math.abs(await possibleOf(possible + 3) - possible) <= 2);
      const most = await listenOn(possible - 2);
      assertEquals([most.code, most.stderr], [0, ""]);
      // Without any descriptor left, it is not known whether a local port is left.
      assertEquals((await listenOn(possible)).stderr.includes("no local port"), false);
    }
  },
);

Deno.test("greeter prints a limit on open files with which all ports are possible (needs sh)", {
  ...needsPrograms("sh"),
}, async () => {
  for (const [limit, ports] of [[32, 40], [64, 65], [64, 400], [256, 192]] as const) {
    const listenWith = (limit: string) => {
      const options = ["-H", "127.0.0.1", "-p", Array(ports).fill(0).join(","), "--within", "0.1"];
      return run(["sh", "-c", `ulimit -n ${limit}; exec "$@"`, "sh", ...GREETER, ...options]);
    };
    const failed = await listenWith(`${limit}`);
    assertEquals([failed.code, failed.stdout], [2, ""]);
    const [, command = "", raised] = failed.stderr.match(/raise it with (ulimit -n (\d+))\n$/) ?? [];
    // Each port needs a descriptor. A few more are for connections and for the runtime.
    assert(Number(raised) > ports && Number(raised) <= ports + 100, failed.stderr);
    const { code, stdout } = await listenWith(command.replace("ulimit -n ", ""));
    assertEquals([code, stdout.includes(`(${ports} ports)`)], [0, true], stdout);
  }
});
