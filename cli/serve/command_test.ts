/**
 * Tests of the arguments of `greeter`: what `parse()` accepts, and its errors.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertNotEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { type OptionTable, UsageError } from "../args.ts";
import { CONNECT_OPTIONS } from "../connect/command.ts";
import { SERVE_OPTIONS, type ServeCommand } from "./command.ts";
import { parse } from "../../main.ts";
import { fc } from "../../tests/deps.ts";

async function parseServe(args: string[]): Promise<ServeCommand> {
  const command = await parse(args);
  if (command.kind !== "serve") throw new Error(`not a command to serve: ${args}`);
  return command;
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
  const smallest = await parseServe(["-p0", "-n1", "--backlog=1", "-m1"]);
  const { skipTaken: _skipTaken, announce: _announce, ...numbers } = smallest.options;
  assertEquals(Object.values(numbers).filter((value) => value !== undefined), [[0], 1, 1, 1]);
  const largest = await parseServe(["-p65535", "-n1000000000", "--backlog=65535", "-m1000000"]);
  const { port, count, backlog, maxConnections } = largest.options;
  assertEquals([port, count, backlog, maxConnections], [[65_535], 1_000_000_000, 65_535, 1_000_000]);
  // CR LF makes it 16,384 bytes.
  assertEquals((await parseServe(["-g", "x".repeat(16_382)])).greeting?.text.length, 16_382);
});

Deno.test("parse() accepts \\c at the end of TEXT of the server, also of ports without the list of --announce", async () => {
  for (const text of [String.raw`\c`, String.raw`x\c`, String.raw`x\\\c`]) {
    const command = await parseServe(["--announce", "-p80", "-p", `21=${text}`]);
    assertEquals(command.greeting?.byPort, new Map([[21, text]]));
    assertEquals((await parseServe(["--http", "-g", text])).greeting?.text, text);
  }
  // Neither CR LF nor the escape itself counts.
  await parseServe(["-g", "x".repeat(16_384) + String.raw`\c`]);
  await assertRejects(() => parse(["-g", "x".repeat(16_385) + String.raw`\c`]), UsageError, "16385 bytes");
});

Deno.test("parse() returns undefined for options that are not given", async () => {
  const { options: { skipTaken, announce, ...options }, ...rest } = await parseServe([]);
  assertEquals([new Set(Object.values(options)), skipTaken, announce], [new Set([undefined]), false, false]);
  assertEquals(rest, {
    kind: "serve",
    greeting: { text: "Thank you for connecting to the server.", byPort: new Map(), http: new Set<number>() },
    within: undefined,
    clients: false,
    json: false,
    quiet: false,
    timestamps: false,
  });
});

Deno.test("each option of greeter changes what parse() returns", async () => {
  const without = await parse([]);
  for (const [name, option] of Object.entries<OptionTable[string]>(SERVE_OPTIONS)) {
    const value = option.value === undefined || option.omitted !== undefined
      ? ""
      : `=${option.example ?? option.value}`;
    assertNotEquals(await parse([`--${name}${value}`]), without, `nothing reads --${name}`);
  }
});

Deno.test("parse() returns help or version even if other arguments are unknown or invalid", async () => {
  for (
    const args of [["-h"], ["-hV"], ["--bogus", "-h"], ["-help"], ["--port", "x", "--help"], ["stray", "-qh"], [
      "-qx",
      "-h",
    ]]
  ) {
    assertEquals((await parse(args)).kind, "help");
  }
  for (const args of [["-V", "--port", "x"], ["connect", "-V"], ["connect", "--version"], ["connect", "lab", "-qV"]]) {
    assertEquals(await parse(args), { kind: "version" });
  }
  for (const args of [["connect", "-h"], ["connect", "--bogus", "--help"], ["connect", "lab", "-p", "x", "-qh"]]) {
    const command = await parse(args);
    assertStringIncludes(
      command.kind === "help" ? command.text : "",
      "Usage: greeter connect [OPTIONS] HOST...\n       greeter connect [OPTIONS] --checks < FILE\n\nChecks",
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
    // A group has no effect if one of its letters is unknown, also if help or version comes first.
    [["-h5"], `unknown option "-5" in "-h5"; see greeter --help`],
    [["-qVx"], `unknown option "-x" in "-qVx"; see greeter --help`],
    [["-xh"], `unknown option "-x" in "-xh"; see greeter --help`],
    [["-h=5"], `invalid option "-h=5": -h does not accept a value; write -h`],
    [["-qh=5"], `invalid option "-qh=5": -h does not accept a value; write -h`],
    [["--prot", "80"], 'unknown option "--prot" (did you mean --port?); see greeter --help'],
    [["--backlogs=3"], 'unknown option "--backlogs=3" (did you mean --backlog?); see greeter --help'],
    [["--JSON"], 'unknown option "--JSON" (did you mean --json?); see greeter --help'],
    [["-port", "80"], 'unknown option "-port" (did you mean --port?); see greeter --help'],
    [["-P", "80"], 'unknown option "-P" (did you mean -p?); see greeter --help'],
    [["--verbose"], 'unknown option "--verbose"; see greeter --help'],
    [["-b", "128"], 'unknown option "-b"; write --backlog for', "-b of greeter connect", "ports that must be blocked"],
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
    ...[["-p", "21", "=", "hi"], ["-p", "21", "=hi"], ["-p", "21=", "hi"], ["-p", "21=220", "ready"]].map((
      args,
    ): [string[], string] => [
      args,
      `unexpected argument "${
        args.at(args[2] === "=" ? 2 : -1)
      }"; write LIST=TEXT as one argument, as in -p '21=220 ready'`,
    ]),
    [["-p", "21 = hi"], "for any free port; write 21=hi instead of 21 = hi"],
    [["-p", "21 =hi"], "; write 21=hi instead of 21 =hi"],
    [["-p", "ssh, 80 = 200 "], '; write "22,80=200 " instead of "ssh, 80 = 200 "'],
    [["-p", " 21=hi"], '; write "21" instead of " 21"'],
    [["-p", "100-50"], "; write 50-100 instead of 100-50"],
    [["-p", "22,100-50,8-7=hi"], "; write 22,50-100,7-8 instead of 22,100-50,8-7"],
    [["--http=100-50"], "; write 50-100 instead of 100-50"],
    [["-p", "-100"], 'invalid value "-100" for -p: ', "; write 1-100 instead of -100"],
    [["help"], 'unexpected argument "help"; for help, write greeter --help'],
    [["help", "connect"], 'unexpected argument "help"; for help, write greeter connect --help'],
    [["version"], 'unexpected argument "version"; for the version, write greeter --version'],
    ...["serve", "server", "listen", "start"].map((name): [string[], string] => [
      [name, "-p", "80"],
      `unexpected argument "${name}"; the server needs no command name: write greeter [OPTIONS], such as greeter -p 8080`,
    ]),
    [
      ["-q", "connect", "lab"],
      'unexpected argument "connect"; connect must be the first argument: write greeter connect',
    ],
    [["-H", "::1", "127.0.0.1"], "; to listen on several addresses, write -H before each of them"],
    [["-p80", "--host=::1", "lab"], "; to listen on several addresses, write --host before each of them"],
    [["-H", "127.0.0.1,::1"], 'invalid value "127.0.0.1,::1" for -H: write -H before each address'],
    [["-H", "::1", "-H", "127.1"], 'invalid value "127.1" for -H: '],
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
    [["--http=80", "-p80", "--stdin"], "--http", "--stdin"],
    [["--announce", "--stdin"], "--announce and --stdin cannot be combined"],
    ...[["-p21=a"], ["-p21=a", "-p22-23="], ["-p21-22=a", "-p22"]].map((ports): [string[], string] => [
      ["--announce", ...ports],
      "--announce needs a port without a greeting in --port; add one, such as -p 8080, or remove --announce",
    ]),
    ...["-g", "--greeting"].map((option): [string[], string] => [
      ["--announce", "-p80", "-p", String.raw`21=x\c`, option, String.raw`hi\n\c`],
      String.raw`${option} ends in \c, but --announce appends a line; remove one of them`,
    ]),
    [["-p80", "--http=80", "-p", `80=${"x".repeat(16_300)}`], "-p", "16384"],
    [["-p80", "--http=80", "-g", "x".repeat(16_300)], "-g", "16384"],
    [["--http="], `"" for --http: expected ports from 1 to 65535`],
    [["--http=0", "-p0"], `"0" for --http`],
    [["--http=web"], `"web" for --http`],
    [["--http", "--http=80"], "--http appears more than once"],
    [["--http=80"], "--http has 80, but --port does not; add 80 to --port, or remove it from --http"],
    [["-p80,443", "--http=80,8443"], "--http has 8443, but"],
    [["-p8000-8100", "--http=8100-9000,22-23"], "--http has 22-23, but"],
    [["-p0", "--http=80"], "--http has 80, but"],
    [["--http", "80"], "to listen on ports, write -p 80; to select ports for --http, write --http=80"],
    [["-p22", "--http", "80,81"], "write -p 22,80,81; to select ports for --http, write --http=80,81"],
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
    [
      ["--allow", "10.99.0.010"],
      'invalid value "10.99.0.010" for --allow: a leading zero can mean octal; write 10.99.0.10',
    ],
    [["--ignore", "10.99.0.010/31"], "for --ignore: a leading zero can mean octal; write 10.99.0.10/31"],
    [["-H", "10.99.0.010"], 'invalid value "10.99.0.010" for -H: a leading zero can mean octal; write 10.99.0.10'],
    [["--host", "127.1"], 'invalid value "127.1" for --host: write four numbers from 0 to 255, such as 192.0.2.7'],
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

Deno.test("parse() advises to attach a value that begins with a hyphen only if it is valid then", async () => {
  const commands: [string[], OptionTable][] = [[[], SERVE_OPTIONS], [["connect", "lab"], CONNECT_OPTIONS]];
  const advised = new Set<string>();
  for (const [command, table] of commands) {
    for (const [name, { short, value }] of Object.entries(table)) {
      if (value === undefined || short === undefined) continue;
      for (
        const text of ["-1", "-5s", "-100", "-,80", "-x", "-q", "--json", "--", String.raw`-a\n`, String.raw`-a\q`]
      ) {
        const { message } = await assertRejects(() => parse([...command, `-${short}`, text]), UsageError);
        const [, advice] = message.match(/begins with a hyphen, write (.*)$/) ?? [];
        if (advice === undefined) {
          await assertRejects(() => parse([...command, `-${short}${text}`]), UsageError);
        } else {
          await parse([...command, advice]);
          advised.add(name);
        }
      }
    }
  }
  assertEquals(advised, new Set(["port", "greeting", "open", "blocked", "expect", "send"]));
});

Deno.test("parse() says what is wrong with a value that begins with a hyphen, or that the value is missing", async () => {
  const cases: [args: string[], message: string][] = [
    [["-t", "-1"], 'invalid value "-1" for -t: expected seconds from 0.001 to 86400'],
    [["--count", "-5"], 'invalid value "-5" for --count: expected a whole number from 1 to 1000000000'],
    [["-H", "-5"], 'invalid value "-5" for -H: expected a name or an address'],
    [
      ["--ignore", "-5"],
      'invalid value "-5" for --ignore: expected an address, or a network such as 192.0.2.0/24 or 2001:db8::/32',
    ],
    [["-t", "-q"], '-t requires a value, such as -t 5, not "-q"'],
    [["-p", "--quiet=1"], '-p requires a value, such as -p 8080, not "--quiet=1"'],
    [["-H", "--"], '-H requires a value, such as -H 127.0.0.1, not "--"'],
    [["-a", "-p80"], '-a requires a value, such as -a 10.0.0.0/8, not "-p80"'],
    [
      ["-g", String.raw`-a\n`],
      String
        .raw`-g requires a value, such as -g Hello; to use "-a\\n", which begins with a hyphen, write --greeting=-a\n`,
    ],
  ];
  for (const [args, message] of cases) {
    assertEquals((await assertRejects(() => parse(args), UsageError)).message, message);
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

Deno.test("parse() accepts port lists with and without a greeting", async () => {
  const { options, greeting } = await parseServe(["-p", "80,8000-8002", "-p25=220 mail, a=b", "-p443"]);
  assertEquals(options.port, [80, 8000, 8001, 8002, 25, 443]);
  assertEquals(greeting?.byPort, new Map([[25, "220 mail, a=b"]]));
});

Deno.test("parse() accepts --host more than once, and keeps the order", async () => {
  assertEquals((await parseServe(["-H", "::1"])).options.hostname, ["::1"]);
  const { options } = await parseServe(["-H", "::1", "--host=127.0.0.1", "-Hlab", "-H", "::1"]);
  assertEquals(options.hostname, ["::1", "127.0.0.1", "lab", "::1"]);
});

Deno.test("parse() accepts --http for all ports, and --http=LIST for some", async () => {
  for (const args of [["--http"], ["--http=-"], ["--http", "-p0"], ["-qp80", "--http"]]) {
    const { options, greeting } = await parseServe(args);
    assertEquals([greeting?.http, options.inputTimeout], ["all", 1000]);
  }
  for (const args of [["--http=999"], ["-p22,80", "--http=80"], ["-p0,8000-8100", "--http=8050-9000"]]) {
    const { options, greeting } = await parseServe(args);
    assert(typeof options.inputTimeout === "function" && greeting?.http instanceof Set);
    const addr = (port: number): Deno.NetAddr => ({ transport: "tcp", hostname: "192.0.2.1", port });
    for (const port of [1, 22, 80, 999, 8049, 8050, 8100]) {
      const wait = options.inputTimeout({ localAddr: addr(port), remoteAddr: addr(51514) });
      assertEquals(wait, greeting.http.has(port) ? 1000 : 0);
    }
  }
  assertEquals((await parseServe(["-p22,80,443", "--http=80,443"])).greeting?.http, new Set([80, 443]));
});

Deno.test("parse() has --http wait for 1 s, or for half of --timeout if that is shorter", async () => {
  for (const [timeout, wait] of [["60", 1000], ["2", 1000], ["1", 500], ["0.001", 0.5]] as const) {
    assertEquals((await parseServe(["--http", "-t", timeout])).options.inputTimeout, wait);
  }
});

Deno.test("parse() counts the head of an HTTP response only for greetings of the ports of --http", async () => {
  const long = "x".repeat(16_300);
  await parseServe(["-p80=page", "--http=80", "-p", `22=${long}`]);
  await parseServe(["-p80=page", "-p22", "--http=80", "-g", long]);
});

Deno.test("parse() accepts -p - and -p- for all ports", async () => {
  for (const args of [["-p-"], ["-p", "-"], ["--port", "-"], ["--port=-"], ["-p-", "-p-"]]) {
    const { options } = await parseServe(args);
    const ports = [options.port ?? []].flat();
    assertEquals([ports.length, ports[0], ports.at(-1)], [65_535, 1, 65_535]);
    const client = await parse(["connect", "lab", ...args]);
    assertEquals(client.kind === "connect" ? client.checks?.[0]?.greeted : [], ports);
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

Deno.test("parse() accepts --announce if a port has no greeting of its own", async () => {
  for (const ports of [[], ["-p0"], ["-p21=a", "-p80"], ["-p21-22=a", "-p22-23"], ["-p21=a", "-p0"]]) {
    assertEquals((await parseServe(["--announce", ...ports])).options.announce, true);
  }
});
