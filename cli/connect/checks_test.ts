import { assert, assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../args.ts";
import { parseChecks, splitLines } from "./checks.ts";

/** The words of each line. */
const words = (text: string) => splitLines(text).map((line) => line.words);

Deno.test("splitLines() splits at spaces and tabs, and numbers the lines from 1, including those without words", () => {
  assertEquals(splitLines("web1  -p 80\n\n \t\n# comment\n\t db1\t-o\t5432 \n"), [
    { number: 1, words: ["web1", "-p", "80"] },
    { number: 5, words: ["db1", "-o", "5432"] },
  ]);
  assertEquals(splitLines(""), []);
});

Deno.test("splitLines() accepts the line ends of all systems, a missing one at the end, and a byte order mark", () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    assertEquals(splitLines(`\uFEFFa 1${end}${end}b${end}c # x${end}d`), [
      { number: 1, words: ["a", "1"] },
      { number: 3, words: ["b"] },
      { number: 4, words: ["c"] },
      { number: 5, words: ["d"] },
    ]);
  }
});

Deno.test("splitLines() keeps together what is between quotes, also in a part of a word", () => {
  assertEquals(words(`web1 -p '80= 200 ' -e"a 'b'"c'"d' "" ''`), [
    ["web1", "-p", "80= 200 ", `-ea 'b'c"d`, "", ""],
  ]);
});

Deno.test("splitLines() takes a backslash as any other character", () => {
  assertEquals(words(String.raw`\a -s 'PING\r\n' "\" b\ c \'d'`), [
    [String.raw`\a`, "-s", String.raw`PING\r\n`, "\\", "b\\", "c", "\\d"],
  ]);
});

Deno.test("splitLines() begins a comment only with a word that begins with #", () => {
  assertEquals(words("a#b c# '#d' ''#e #f 'g\nh\t#i \u2028 j\n#k"), [["a#b", "c#", "#d", "#e"], ["h"]]);
});

Deno.test("splitLines() rejects a quote that is not closed in its line", () => {
  for (
    const [text, message] of [
      [`a\nb -e "c 'd`, `line 2: unclosed quote at "\\"c 'd"; add the second quote`],
      [`a "b" c'`, `line 1: unclosed quote at "'"; add the second quote`],
      [`a 'b\nc'`, `line 1: unclosed quote at "'b"; add the second quote`],
      [`a # b'\nc "#'`, `line 2: unclosed quote at "\\"#'"; add the second quote`],
    ] as const
  ) {
    const error = assertThrows(() => splitLines(text), UsageError);
    assertEquals(error.message, message);
  }
});

Deno.test("parseChecks() reads a line like the command line", () => {
  const [web, db, ...others] = parseChecks(
    String.raw`web1 db1 -p80=200 -p 81-82 -o443 --blocked=22=refused -e "{port} ok" -s 'GET\r\n' -6`,
  );
  assert(web && db);
  assertEquals([web.hostname, db.hostname, others.length], ["web1", "db1", 0]);
  assertEquals([web.greeted, web.open, web.blocked, web.family], [[80, 81, 82], [443], [22], 6]);
  const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);
  const target = (port: number) => ({ host: "db1", port });
  assertEquals([80, 81].map((port) => text(db.expect(target(port)))), ["200", "81 ok"]);
  assertEquals(text(db.send(target(82))), "GET\r\n");
  assertEquals([db.blockedState(target(22)), db.lineOf(22), db.lineOf(23)], ["refused", 1, undefined]);
});

Deno.test("parseChecks() names the line of each error, and says what to write", () => {
  const onCommandLine = "applies to all checks; write it on the command line";
  const cases: [lines: string[], message: string][] = [
    [["web1", 'web2 -e "a'], 'line 2: unclosed quote at "\\"a"; add the second quote'],
    [
      ["web1", "", "web2 --pot 80"],
      'line 3: unknown option "--pot" (did you mean --port?); see greeter connect --help',
    ],
    [["web1 -P 80"], 'line 1: unknown option "-P" (did you mean -p?); see greeter connect --help'],
    [["web1 --retry 1"], 'line 1: unknown option "--retry"; see greeter connect --help'],
    [["web1", "web2 -t 5"], `line 2: -t ${onCommandLine}`],
    [["web1 -4t5"], `line 1: -t ${onCommandLine}`],
    [["web1 --within=60"], `line 1: --within ${onCommandLine}`],
    [["# x", "web1 --json"], `line 2: --json ${onCommandLine}`],
    [["web1 -q"], `line 1: -q ${onCommandLine}`],
    [["web1", "-p 80"], "line 2: HOST is missing; write it in the line, as in web1 -p 80"],
    [["web1:80"], 'line 1: invalid HOST "web1:80": write web1 -p 80'],
    [["web1 -p"], "line 1: -p requires a value, such as -p 8080"],
    [["web1 -e #1"], "line 1: -e requires a value, such as -e SSH-2.0"],
    [["web1", "web1 -p 80", "web2 -p x"], `line 3: invalid value "x" for -p: ${PORTS}`],
    [["web1 -p 80 -b 80"], "line 1: port 80 is in --port and --blocked; remove it from one of them"],
    [["web1 -4 -6"], "line 1: --ipv4 and --ipv6 cannot be combined; use only one of them"],
    [["web1 -o 80 -s x"], "line 1: -s applies only to ports that must greet; add them with -p LIST"],
    [["web1 -b 22=refused -b 22=timeout"], `line 1: port 22 appears with two states; ${FROM_BLOCKED}`],
    [
      ["web1 -b 22=drop"],
      'line 1: invalid value "22=drop" for -b: expected one of these states after LIST=: ' + STATES,
    ],
    [[""], NO_CHECK],
    [["# web1", "\t", "  # web2 -p 80"], NO_CHECK],
  ];
  for (const [lines, message] of cases) {
    const error = assertThrows(() => parseChecks(lines.join("\n")), UsageError, undefined, lines.join());
    assertEquals(error.message, message);
  }
});
const PORTS = "expected ports from 1 to 65535, such as 22,80,8000-8100";
const STATES = "refused, timeout, unreachable";
const FROM_BLOCKED = "remove one of them from --blocked";
const NO_CHECK = "there is no check on standard input; write one in each line, such as web1 -p 80 -b 22";

Deno.test("parseChecks() parses 1,000 lines of hosts of their own or of one host, or that repeat 1,000 hosts, soon", () => {
  const names = Array.from({ length: 1000 }, (_, i) => `host${i + 1}`);
  const list = (line: (i: number) => string) => names.map((_, i) => line(i + 1)).join("\n");
  const started = performance.now();
  const own = parseChecks(list((i) => `host${i} -p 80 -o ${1000 + i} -b 22`));
  assertEquals([own.length, own[999]?.hostname, own[999]?.lineOf(2000)], [1000, "host1000", 1000]);
  const [one, ...others] = parseChecks(list((i) => i === 500 ? "web1 -b 20000-" : `web1 -p ${i}`));
  assertEquals([one?.greeted.length, one?.blocked.length, one?.lineOf(65_535), others], [999, 45_536, 500, []]);
  const shared = parseChecks(list((i) => `${names.slice(0, 100).join(" ")} -o ${i}`));
  assertEquals([shared.length, shared[99]?.open.length], [100, 1000]);
  const ms = performance.now() - started;
  assert(ms < 10_000, `${ms} ms`);
});
