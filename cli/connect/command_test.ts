/**
 * Tests of the arguments of `greeter connect`.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertNotEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { type OptionTable, UsageError } from "../args.ts";
import { CONNECT_OPTIONS, type ConnectCommand, connectHelp } from "./command.ts";
import { type Command, parse } from "../../main.ts";
import { MAX_GREETING_BYTES } from "../../server.ts";
import type { HostCheck } from "./host_checks.ts";

/** Returns the command, what is checked on its first host, and the names of all hosts. */
async function parseConnect(...args: string[]): Promise<ConnectCommand & { check: HostCheck; hostnames: string[] }> {
  const command = await parse(["connect", ...args]);
  if (command.kind !== "connect") throw new Error(`not a command to connect: ${args}`);
  const { checks = [] } = command;
  const [check] = checks;
  if (!check) throw new Error(`no host: ${args}`);
  return { ...command, check, hostnames: checks.map(({ hostname }) => hostname) };
}

/** Returns the message for an invalid command line. */
async function parseError(...args: string[]): Promise<string> {
  const { message } = await assertRejects(() => parseConnect(...args), UsageError, "", args.join(" "));
  assertMatch(message, /^[ -~]+$/);
  return message;
}

/** Returns the text of an option for a port, each byte as one character. */
function textOf(option: HostCheck["send"], port: number, host = "lab") {
  const bytes = option({ host, port });
  return bytes && String.fromCharCode(...bytes);
}

Deno.test("parse() accepts options of greeter connect before and after HOST", async () => {
  const { check: { expect, send, blockedState, lineOf, ...check }, checks, hostnames, ...command } = await parseConnect(
    "lab.example",
  );
  assertEquals(command, {
    kind: "connect",
    options: {
      timeout: undefined,
      within: undefined,
      rate: undefined,
      concurrency: undefined,
      requireControl: false,
    },
    timeout: undefined,
    json: false,
    quiet: false,
  });
  const ports = { greeted: [999], open: [], blocked: [], isReduced: false };
  assertEquals(checks?.length, 1);
  const single = { hostname: "lab.example", line: undefined, family: undefined, ...ports };
  assertEquals([hostnames, check], [["lab.example"], single]);
  const target = { host: "lab.example", port: 999 };
  assertEquals([expect(target), send(target), blockedState(target), lineOf(999)], Array(4).fill(undefined));
  for (const args of [["-6qp22,80-81", "[::1]", "-t.5"], ["-t", "0.5", "-p", "22,80", "-p81", "-q6", "--", "::1"]]) {
    const { check, hostnames, options, quiet } = await parseConnect(...args);
    assertEquals([hostnames, check.greeted, options.timeout], [["::1"], [22, 80, 81], 500]);
    assertEquals([check.family, quiet], [6, true]);
  }
  assertEquals((await parseConnect("lab", "-4")).check.family, 4);
  const afterHyphens = await parseConnect("-q", "--", "-p");
  assertEquals([afterHyphens.hostnames, afterHyphens.check.greeted], [["-p"], [999]]);
  const overlapping = await parseConnect("lab", "-p", "80,22,20-23", "-p22,81");
  assertEquals(overlapping.check.greeted, [80, 22, 20, 21, 23, 81]);
  const { options, json } = await parseConnect("lab", "--json", "-w", "10", "--concurrency=9");
  assertEquals([options.within, options.concurrency, json], [10_000, 9, true]);
});

/** Replaces the functions of a command, which always differ, by what they return for port 999. */
function withTexts(command: Command) {
  if (command.kind !== "connect") return command;
  const target = { host: "lab", port: 999 };
  const checks = command.checks?.map(({ expect, send, blockedState, lineOf, ...check }) => ({
    ...check,
    texts: [expect(target), send(target), blockedState(target), lineOf(999)],
  }));
  return { ...command, checks };
}

Deno.test("each option of greeter connect changes what parse() returns", async () => {
  const without = withTexts(await parse(["connect", "lab"]));
  for (const [name, option] of Object.entries<OptionTable[string]>(CONNECT_OPTIONS)) {
    const value = option.value === undefined || option.omitted !== undefined
      ? ""
      : `=${option.example ?? option.value}`;
    const host = name === "checks" ? [] : ["lab"];
    const command = await parse(["connect", ...host, `--${name}${value}`]);
    assertNotEquals(withTexts(command), without, `nothing reads --${name}`);
  }
});

Deno.test("parse() accepts several HOSTs, each once", async () => {
  const { hostnames } = await parseConnect("web1", "-p", "22", "[::1]", "web1", "10.0.0.1", "::1", "--", "-x");
  assertEquals(hostnames, ["web1", "::1", "10.0.0.1", "-x"]);
  const { checks = [] } = await parseConnect("web1", "web2", "-o", "22", "-b", "3306");
  assertEquals(checks.map(({ hostname, open, blocked }) => [hostname, open, blocked]), [
    ["web1", [22], [3306]],
    ["web2", [22], [3306]],
  ]);
});

Deno.test("parse() accepts ports of each expectation, also from several options", async () => {
  const { check } = await parseConnect("lab", "-p22", "--open=80", "-b9", "-p25=220", "-o443", "--blocked", "7");
  assertEquals([check.greeted, check.open, check.blocked], [[22, 25], [80, 443], [9, 7]]);
  assertEquals(check.isReduced, false);
  // Without ports that must greet, there is no default port.
  assertEquals((await parseConnect("lab", "-o80")).check.greeted, []);
  assertEquals((await parseConnect("lab", "-b80")).check.greeted, []);
});

Deno.test("parse() leaves out ports of -p and -o from a range of -b", async () => {
  const { check } = await parseConnect("lab", "-p", "22=SSH", "-o", "24", "-b", "21-25");
  assertEquals([check.greeted, check.open, check.blocked, check.isReduced], [[22], [24], [21, 23, 25], true]);
});

/** The state in which a port must be blocked, if only one passes. */
function stateOf({ check }: { check: HostCheck }, port: number) {
  return check.blockedState({ host: "lab", port });
}

Deno.test("parse() accepts a state after a list of -b, also if a list without a state has the same port", async () => {
  for (const lists of [["-b80-81", "--blocked=81-82=refused"], ["-b81-82=refused", "-b80-81"]]) {
    const command = await parseConnect("lab", ...lists);
    assertEquals(command.check.blocked.toSorted(), [80, 81, 82]);
    assertEquals([80, 81, 82].map((port) => stateOf(command, port)), [undefined, "refused", "refused"]);
  }
  const states = await parseConnect("lab", "-b1=refused", "-b2=timeout", "-b3=unreachable", "-b2=timeout");
  assertEquals([1, 2, 3, 4].map((port) => stateOf(states, port)), ["refused", "timeout", "unreachable", undefined]);
  assertEquals(stateOf(await parseConnect("lab", "-b80"), 80), undefined);
});

Deno.test("parse() leaves out ports of -p and -o from a range of -b with a state, and rejects single ports", async () => {
  const command = await parseConnect("lab", "-p22", "-o24", "-b", "21-25=timeout");
  assertEquals([command.check.blocked, command.check.isReduced], [[21, 23, 25], true]);
  assertEquals([21, 23, 25].map((port) => stateOf(command, port)), Array(3).fill("timeout"));
  for (const list of ["22=refused", "80,22=refused"]) {
    const message = "port 22 is in --port and --blocked; remove it from one of them";
    assertEquals(await parseError("lab", "-p22", "-b", list), message);
  }
});

Deno.test("parse() rejects another state after a list of -b, and names the three", async () => {
  const advice = "expected one of these states after LIST=: refused, timeout, unreachable";
  for (const option of ["-b", "--blocked"]) {
    for (const state of ["", "open", "greeted", "Refused", "refused,timeout", " refused", "refused=timeout"]) {
      assertEquals(
        await parseError("lab", option, `80=${state}`),
        `invalid value "80=${state}" for ${option}: ${advice}`,
      );
    }
  }
  assertEquals(
    await parseError("lab", "-b80-82=refused", "-b", "81=timeout"),
    "port 81 appears with two states; remove one of them from --blocked",
  );
});

Deno.test("parse() accepts a --rate from 0.1 to 100000 connections a second", async () => {
  for (const [text, rate] of [["0.1", 0.1], ["100000", 100_000], ["20", 20], [".5", 0.5], ["5.", 5]] as const) {
    assertEquals((await parseConnect("lab", "--rate", text)).options.rate, rate);
  }
  for (const text of ["0", "0.09", "100001", "100000.1", "1e3", "-1", "5/s", "", "x", "0x5", " 5"]) {
    assertEquals(
      await parseError("lab", `--rate=${text}`),
      `invalid value "${text}" for --rate: expected connections a second from 0.1 to 100000`,
    );
  }
});

Deno.test("parse() replaces {port} in every TEXT of greeter connect", async () => {
  const { check } = await parseConnect(
    ...["lab", "-p", "22-23", "-p25=<{port}>", "--expect={port}, {port}", "--send", "GET {port}"],
  );
  assertEquals([22, 23, 25].map((port) => textOf(check.expect, port)), ["22, 22", "23, 23", "<25>"]);
  assertEquals([22, 25].map((port) => textOf(check.send, port)), ["GET 22", "GET 25"]);
});

Deno.test("parse() replaces {host} in every TEXT of greeter connect as in the header Host", async () => {
  const { check } = await parseConnect(
    ...["lab", "-p", "80", "-p25=<{host}>", "-e", "{host}{port}", "-s", String.raw`Host: {host}\r\n\x7bhost}`],
  );
  for (
    const [host, expected] of [
      ["lab.example", "lab.example"],
      ["192.0.2.7", "192.0.2.7"],
      ["::1", "[::1]"],
      ["fe80::1%eth0", "[fe80::1]"],
      [String.raw`a\x41`, String.raw`a\x41`],
      ["{port}", "{port}"],
    ] as const
  ) {
    assertEquals([25, 80].map((port) => textOf(check.expect, port, host)), [`<${expected}>`, `${expected}80`]);
    assertEquals(textOf(check.send, 80, host), `Host: ${expected}\r\n{host}`);
  }
});

Deno.test("parse() decodes the escapes of every TEXT of greeter connect", async () => {
  const text = String.raw`\x7bport} {port}\r\n\t\\ü\xff`;
  const { check } = await parseConnect("lab", "-p", `22=${text}`, "-p80", "-e", `e${text}`, "-s", `s${text}`);
  const decoded = (port: number) => `{port} ${port}\r\n\t\\\xc3\xbc\xff`;
  assertEquals(textOf(check.expect, 22), decoded(22));
  assertEquals(textOf(check.expect, 80), `e${decoded(80)}`);
  assertEquals(textOf(check.send, 22), `s${decoded(22)}`);
});

Deno.test("parse() gives LIST=TEXT precedence over -e and a LIST without TEXT, which accept any greeting otherwise", async () => {
  for (const lists of [["-p22-24", "-p23=b"], ["-p23=b", "-p22-24"]]) {
    const { check } = await parseConnect("lab", ...lists);
    assertEquals(check.greeted.toString(), lists[0] === "-p22-24" ? "22,23,24" : "23,22,24");
    assertEquals([22, 23, 24].map((port) => textOf(check.expect, port)), [undefined, "b", undefined]);
    const { check: other } = await parseConnect("lab", ...lists, "-e", "c");
    assertEquals([22, 23, 24].map((port) => textOf(other.expect, port)), ["c", "b", "c"]);
  }
  // TEXT may contain "=" and commas. The same TEXT twice is no conflict.
  const { check: { expect } } = await parseConnect("lab", "-p", "22-23=a=b,1", "-p", "23=a=b,1");
  assertEquals([textOf(expect, 22), textOf(expect, 23)], ["a=b,1", "a=b,1"]);
});

Deno.test("parse() rejects an invalid TEXT of greeter connect, and names the option as typed", async () => {
  const advice = String.raw`: write \\ for a backslash, or one of \r \n \t \xHH`;
  const options = { "-e": "", "--expect": "", "-s": "", "--send": "", "-p": "22=", "--port": "22=" };
  for (const [option, prefix] of Object.entries(options)) {
    const error = (text: string) => parseError("lab", option, prefix + text);
    assertEquals(await error(String.raw`C:\dir`), String.raw`invalid escape \d in the value of ${option}` + advice);
    assertEquals(await error("a\\"), `invalid escape \\ at the end of the value of ${option}${advice}`);
    const length = `for ${option}: expected text of 1 to ${MAX_GREETING_BYTES} bytes`;
    const hint = "it can only end the TEXT of the server, which then appends nothing; remove it, or write";
    for (const text of [String.raw`x\c`, String.raw`\cx`]) {
      const start = String.raw`invalid escape \c in the value of ${option}: ${hint}`;
      assertStringIncludes(await error(text), start);
    }
    assertStringIncludes(await error(""), length);
    // The limit applies to the bytes for the longest port and the longest name, which may end in a dot.
    const longest = String.raw`\xff`.repeat(MAX_GREETING_BYTES - 5 - 254) + "{port}{host}";
    await parseConnect("lab", option, prefix + longest);
    assertStringIncludes(await error(`${longest}x`), length);
  }
});

Deno.test("parse() requires a timeout of 1.5 s for --blocked, unless it is the default", async () => {
  assertEquals((await parseConnect("lab", "-b22", "-t1.5")).options.timeout, 1500);
  assertEquals((await parseConnect("lab", "-p22", "-t1.4")).options.timeout, 1400);
  for (const option of ["-t", "--timeout"]) {
    assertEquals(
      await parseError("lab", "-b22", option, "1.499"),
      `invalid value "1.499" for ${option}: expected at least 1.5 seconds with --blocked, ` +
        "because with less, a lost packet looks like a firewall",
    );
  }
});

Deno.test("parse() rejects -e and -s without ports that must greet", async () => {
  const message = "applies only to ports that must greet; add them with -p LIST";
  for (const option of ["-e", "--expect", "-s", "--send"]) {
    assertEquals(await parseError("lab", "-o80", "-b22", option, "x"), `${option} ${message}`);
  }
  assertEquals((await parseConnect("lab", "-e", "x")).check.greeted, [999]);
});

Deno.test("parse() rejects --expect if each port that must greet has a text of its own", async () => {
  for (const option of ["-e", "--expect"]) {
    const message = `${option} applies to no port, because each port of -p has its own TEXT; remove ${option}`;
    assertEquals(await parseError("lab", "-p80=x", "-p81=y", option, "z"), message);
  }
  assertEquals((await parseConnect("lab", "-p80=x", "-p80,81", "-e", "z")).check.greeted, [80, 81]);
});

Deno.test("parse() rejects invalid command lines of greeter connect, and states what to write", async () => {
  const twice = "; remove it from one of them";
  const cases: [args: string[], ...says: string[]][] = [
    [[], "HOST is missing", "greeter connect [OPTIONS] HOST..."],
    [["a,b"], 'invalid HOST "a,b": write a b'],
    [["http://lab:8000/"], 'invalid HOST "http://lab:8000/": write lab -p 8000'],
    [["https://[::1]/x:1"], 'invalid HOST "https://[::1]/x:1": write [::1] -p PORT'],
    [["web1", "a,,b,"], 'invalid HOST "a,,b,": write a b'],
    [[","], 'invalid HOST ",": expected a name or an address'],
    [["22,80"], 'invalid HOST "22,80": to check ports, write -p 22,80'],
    [["-p9", "22,80"], 'invalid HOST "22,80": to check ports, write -p 9,22,80'],
    [["a", "b", "80"], 'invalid HOST "80": to check ports, write -p 80'],
    [["22", "80"], 'invalid HOST "22": to check ports, write -p 22,80'],
    [["1234"], 'invalid HOST "1234": to check ports, write -p 1234'],
    [["10.99.0.010"], 'invalid HOST "10.99.0.010": a leading zero can mean octal; write 10.99.0.10'],
    [
      ["lab", "[::ffff:1.2.3.04]"],
      'invalid HOST "[::ffff:1.2.3.04]": a leading zero can mean octal; write ::ffff:1.2.3.4',
    ],
    [["0"], 'invalid HOST "0": write four numbers from 0 to 255'],
    [["lab", "-p", "21 = "], 'write "21" instead of "21 = "'],
    [["127.1"], 'invalid HOST "127.1": write four numbers from 0 to 255, such as 192.0.2.7'],
    [["lab", "443"], 'invalid HOST "443": to check ports, write -p 443'],
    [["lab", "-p", "80", "443", "8000-8100"], 'invalid HOST "443": to check ports, write -p 80,443,8000-8100'],
    [["--port=80,", "443", "lab"], 'invalid HOST "443": to check ports, write --port 80,443'],
    [["lab", "-p", "80=x", "443"], 'invalid HOST "443": to check ports, write -p 443'],
    [["lab", "-b", "80", "443"], 'invalid HOST "443": to check ports, write -p 443'],
    [["lab", "--open=80", "443"], 'invalid HOST "443": to check ports, write --open 80,443'],
    [["lab", "-b", "80", "-o22", "443"], 'invalid HOST "443": to check ports, write -p 443'],
    [["lab", "-p", "ssh,80"], "expected ports from 1 to 65535, such as 22,80,8000-8100; write 22,80 instead of ssh,80"],
    [["lab", "-o", "https"], '"https" for -o: expected ports from 1 to 65535', "; write 443 instead of https"],
    [["lab", "-b", "mysql"], '"mysql" for -b: expected ports from 1 to 65535', "; write 3306 instead of mysql"],
    [["lab", "-p", "ssh=x"], '"ssh=x" for -p', "; write 22 instead of ssh"],
    [["lab", "-p", "ssh =x"], "; write 22=x instead of ssh =x"],
    [
      ["lab", "-p", "21", "=", "x"],
      `unexpected argument "="; write LIST=TEXT as one argument, as in -p '21=220 ready'`,
    ],
    [["-p", "21", "=x", "lab"], `unexpected argument "=x"; write LIST=TEXT as one argument`],
    [["lab", "-o", "100-50,80"], '"100-50,80" for -o: ', "; write 50-100,80 instead of 100-50,80"],
    [["lab", "-b", "100-50"], '"100-50" for -b: ', "; write 50-100 instead of 100-50"],
    [["lab", "-b", "-1024"], '"-1024" for -b: ', "; write 1-1024 instead of -1024"],
    [["lab", "-o", "0-1024"], '"0-1024" for -o: ', "; write 1-1024 instead of 0-1024"],
    [["lab", "-h5"], 'unknown option "-5" in "-h5"; see greeter connect --help'],
    [["lab", "-4=5"], 'invalid option "-4=5": -4 does not accept a value; write -4'],
    [["lab", "-o", "80=x"], `"80=x" for -o`],
    [["lab", "-b", "mysql=refused"], `"mysql=refused" for -b`, "; write 3306 instead of mysql"],
    [["lab", "-b", "80 = refused"], `"80 = refused" for -b`, "; write 80=refused instead of 80 = refused"],
    [["lab", "-o", "0"], `"0" for -o`, "1 to 65535"],
    [["lab", "-b", "0"], `"0" for -b`, "1 to 65535"],
    [["lab", "-p20-25", "-o22"], `port 22 is in --port and --open${twice}`],
    [["lab", "-p22", "-b22"], `port 22 is in --port and --blocked${twice}`],
    [["lab", "-o20-25", "-b80,22"], `port 22 is in --open and --blocked${twice}`],
    [["lab", "-p22-23", "-b22-23"], "all ports of --blocked are also in --port or --open"],
    [["lab", "-p22=a", "-p22=b"], "port 22 appears with two texts; remove one of them from --port"],
    [["lab", "-4", "-6"], "--ipv4 and --ipv6 cannot be combined; use only one of them"],
    [["lab", "-t", "5s"], "expected seconds from 0.001 to 86400; write 5 instead of 5s"],
    [["lab", "-w", "10m"], "; write 600 instead of 10m"],
    [["lab", "--quiet", "--json"], "--quiet and --json cannot be combined; use only one of them"],
    [["lab", "--expct", "x"], 'unknown option "--expct" (did you mean --expect?); see greeter connect --help'],
    [["lab", "--block", "1"], 'unknown option "--block" (did you mean --blocked?); see greeter connect --help'],
    [["lab", "-B", "1"], 'unknown option "-B" (did you mean -b?); see greeter connect --help'],
    [["lab", "-expect", "x"], 'unknown option "-expect" (did you mean --expect?); see greeter connect --help'],
    [["lab", "-port", "80"], 'unknown option "-port" (did you mean --port?); see greeter connect --help'],
    [["lab", "--retry", "x"], 'unknown option "--retry"; see greeter connect --help'],
    [[""], `""`, "HOST"],
    [["lab:22"], `"lab:22"`, "write lab -p 22"],
    [["web1", "lab:22"], `"lab:22"`, "write lab -p 22"],
    [["192.0.2.1:80"], "write 192.0.2.1 -p 80"],
    [["[::1]:22"], "write [::1] -p 22"],
    [["lab:"], "write lab -p PORT"],
    [["http://lab/"], `write lab -p PORT`],
    ...["192.0.2.0/30", "2001:db8::/64", "[2001:db8::]/64", "192.0.2.1-5", "192.0.2.*"].map((
      network,
    ): [string[], string] => [
      [network],
      `invalid HOST "${network}": networks are not supported; write each name or address`,
    ]),
    [["192.0.2.0/30:80"], 'invalid HOST "192.0.2.0/30": networks are not supported'],
    ...["%", "%eth0", "[%]", "[]", ":80", ":", "/", "lab/x", "http://:80/"].map((host): [string[], string] => [
      [host],
      `invalid HOST "${host}": expected a name or an address`,
    ]),
    // A suggestion is valid, too.
    [["%:80"], 'invalid HOST "%": expected a name or an address'],
    [["[]:80"], 'invalid HOST "[]": expected a name or an address'],
    [["a,%"], 'invalid HOST "%": expected a name or an address'],
    [["lab:0"], "write lab -p PORT"],
    [["lab:65536"], "write lab -p PORT"],
    [["a b"], "a name or an address"],
    [["lab", "-p", "0"], `"0" for -p`, "1 to 65535"],
    [["lab", "--concurrency", "0"], "--concurrency", "1 to 65535"],
    [["lab", "-t", "0"], "-t", "0.001 to 86400"],
    [["lab", "-w", "x"], "-w"],
    [["lab", "--rate"], "--rate requires a value, such as --rate 5"],
    [["lab", "--greeting", "hi"], 'unknown option "--greeting"; only the server has it: see greeter connect --help'],
    [["lab", "-n", "1"], `unknown option "-n"; see greeter connect --help`],
    [["--first", "lab", "--second"], `unknown option "--first"; `],
    [["lab/443"], 'invalid HOST "lab/443": expected a name or an address'],
    [["lab", "--json=yes"], `"--json=yes"`],
    [["lab", "-e", "x", "-e", "y"], "-e appears more than once; write it only once"],
    [["-p"], "-p requires a value, such as -p 8080"],
    [["-o"], "-o requires a value, such as -o 443"],
    [["lab", "-b"], "-b requires a value, such as -b 3306"],
    [["lab", "-s"], String.raw`-s requires a value, such as -s 'PING\r\n'`],
    [["lab", "--expect"], "--expect requires a value, such as --expect SSH-2.0"],
  ];
  for (const [args, ...says] of cases) {
    const message = await parseError(...args);
    for (const part of says) assertStringIncludes(message, part);
  }
  for (const args of [["lab"], ["-q", "connect", "lab"], ["conect", "lab"]]) {
    const { message } = await assertRejects(() => parse(args), UsageError);
    assertStringIncludes(message, "greeter connect [OPTIONS] HOST");
  }
});

Deno.test("parse() leaves what to check to the lines of --checks, and requires a control there", async () => {
  const command = await parse(["connect", "--checks", "-w", "60", "-t1.4", "--rate=5"]);
  assert(command.kind === "connect");
  const { within, timeout, rate, requireControl } = command.options;
  assertEquals([command.checks, within, timeout, rate, requireControl], [undefined, 60_000, 1400, 5, true]);
});

Deno.test("parse() rejects HOST and options that say what to check beside --checks", async () => {
  const lines = "write it in the lines of standard input";
  for (const option of ["-p80", "--port=80", "-o80", "-b80", "-ex", "--send=x", "-4", "--ipv6"]) {
    const typed = option.startsWith("--") ? option.replace(/=.*/, "") : option.slice(0, 2);
    for (const args of [["--checks", option], [option, "--checks"]]) {
      assertEquals(await parseError(...args), `--checks and ${typed} cannot be combined; ${lines}`);
    }
  }
  for (const args of [["--checks", "web1", "web2"], ["web1", "-p80", "--checks"], ["--checks", "--", "web1"]]) {
    const message = "--checks and HOST cannot be combined; write web1 in a line of standard input";
    assertEquals(await parseError(...args), message);
  }
});

Deno.test("parse() names the command of an option that only the other command has", async () => {
  for (const option of ["--open", "--blocked", "--expect", "--send", "--rate", "--checks"]) {
    const { message } = await assertRejects(() => parse([option, "22"]), UsageError);
    assertEquals(message, `unknown option "${option}"; only greeter connect has it: see greeter connect --help`);
  }
});

Deno.test("parse() suggests no value of greeter connect that is invalid too", async () => {
  const expectedPorts = "expected ports from 1 to 65535, such as 22,80,8000-8100";
  const expectedSeconds = "expected seconds from 0.001 to 86400";
  for (
    const [option = "", value = "", expected = ""] of [
      ["-p", "lab", expectedPorts],
      ["-p", "ssh,0", expectedPorts],
      ["-o", "ssh,0", expectedPorts],
      ["-b", "lab", expectedPorts],
      ["-t", "25h", expectedSeconds],
      ["-w", "0s", expectedSeconds],
    ]
  ) {
    assertEquals(await parseError("lab", option, value), `invalid value "${value}" for ${option}: ${expected}`);
  }
});

Deno.test("the help of greeter connect fits in 80 columns, and names every option", () => {
  const lines = connectHelp().split("\n");
  assertEquals(lines.filter((line) => line.length > 80), []);
  for (
    const option of ["-p, --port LIST[=TEXT] ", "-o, --open LIST ", "-b, --blocked LIST[=STATE] ", "-e, --expect TEXT "]
  ) {
    assert(lines.some((line) => line.startsWith(`  ${option}`)), option);
  }
});
