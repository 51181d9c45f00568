import { assertEquals } from "@std/assert";
import type { ProbeResult } from "../../client.ts";
import { needs } from "../../tests/helpers/needs.ts";
import { ROOT, run } from "../../tests/helpers/processes.ts";
import { hostSummary, probeResult as result } from "../../tests/helpers/results.ts";
import type { HostCheck } from "./host_checks.ts";
import { formatHeader, formatPortsOfHosts, formatResults } from "./lines.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** Formats results of a host whose first address is 192.0.2.1. */
const format = (results: readonly ProbeResult[], expect: HostCheck["expect"] = () => undefined) =>
  formatResults(hostSummary(results, { check: { expect } }), { rate: undefined });

const blocked = (port: number, state: ProbeResult["state"], fields: Parameters<typeof result>[2] = {}) =>
  result(port, state, { expected: "blocked", ok: true, ...fields });

Deno.test("formatResults() folds neighboring ports with the same state and greeting, sorted by port", () => {
  const results = [
    result(8001, "greeted", { greeting: "hello\r\n" }),
    result(443, "unreachable", { error: "No route to host" }),
    result(8000, "greeted", { greeting: "hello\r\n" }),
    result(80, "timeout"),
    result(8003, "greeted", { greeting: "hello\r\n" }),
    result(8004, "greeted", { greeting: "other\r\n" }),
    result(81, "timeout"),
    result(8005, "silent"),
  ];
  assertEquals(format(results), [
    "80-81      timeout      expected greeted",
    "443        unreachable  No route to host  expected greeted",
    String.raw`8000-8001  greeted      "hello\r\n"`,
    String.raw`8003       greeted      "hello\r\n"`,
    String.raw`8004       greeted      "other\r\n"`,
    "8005       silent       expected greeted",
  ]);
  assertEquals(format([]), []);
});

Deno.test("formatResults() does not fold ports with different expectations, judgments, addresses or errors", () => {
  const at = (port: number, hostname: string) => ({ remoteAddr: { transport: "tcp" as const, hostname, port } });
  assertEquals(
    format([
      result(80, "refused"),
      blocked(81, "refused"),
      blocked(82, "refused", { ok: null, reason: "required_failed" }),
      blocked(83, "refused", { ok: false, reason: "control_failed", error: "not proven: port 22 failed" }),
      result(84, "open", { expected: "open", ok: true }),
      result(85, "open", { expected: "open", ok: true, ...at(85, "2001:db8::7") }),
      result(86, "open", { expected: "open", ok: true, ...at(86, "2001:db8::7") }),
      result(87, "open", { expected: "blocked", ok: false, ...at(87, "2001:db8::7") }),
      blocked(88, "unreachable", { error: "No route to host" }),
      blocked(89, "unreachable", { error: "Network is unreachable" }),
    ]),
    [
      "80     refused      expected greeted",
      "81     refused",
      "82     refused      not judged: first fix the ports that failed",
      "83     refused      not proven: port 22 failed; check the host, or use another port with -p or -o",
      "84     open",
      "85-86  open         at 2001:db8::7",
      "87     open         at 2001:db8::7  expected blocked",
      "88     unreachable  No route to host",
      "89     unreachable  Network is unreachable",
    ],
  );
});

Deno.test("formatResults() says what was expected of each port that is not as expected", () => {
  assertEquals(
    format([
      blocked(22, "greeted", { ok: false, greeting: "SSH-2.0-x\r\n" }),
      blocked(80, "open", { ok: false }),
      blocked(82, "closed", { ok: false }),
      blocked(84, "unreachable", { ok: null, reason: "interrupted", error: "No route to host" }),
      result(86, "reset", { expected: "open" }),
      result(88, "closed", { expected: "open" }),
    ]),
    [
      String.raw`22  greeted      "SSH-2.0-x\r\n"  expected blocked`,
      "80  open         expected blocked",
      "82  closed       expected blocked",
      "84  unreachable  No route to host  not judged: interrupted",
      "86  reset        expected open",
      "88  closed       expected open",
    ],
  );
});

Deno.test("formatResults() shows no greeting of a port that only had to be open", () => {
  const open = (port: number, greeting: string) => result(port, "open", { expected: "open", ok: true, greeting });
  assertEquals(format([open(22, "SSH-2.0-x\r\n"), open(23, "")]), ["22-23  open"]);
});

Deno.test("formatResults() shows the expected text after a mismatch", () => {
  const expect: HostCheck["expect"] = ({ port }) => port === 83 ? undefined : bytes(`port "${port}"`);
  const results = [
    result(80, "greeted", { greeting: 'port "80"' }),
    result(81, "mismatch", { greeting: "x" }),
    result(82, "mismatch", { greeting: "x" }),
    result(83, "silent"),
    result(84, "refused"),
  ];
  assertEquals(format(results, expect), [
    String.raw`80  greeted   "port \x2280\x22"`,
    String.raw`81  mismatch  "x"  expected "port \x2281\x22"`,
    String.raw`82  mismatch  "x"  expected "port \x2282\x22"`,
    "83  silent    expected greeted",
    "84  refused   expected greeted",
  ]);
  assertEquals(format(results.slice(1, 3), () => bytes("y")), [`81-82  mismatch  "x"  expected "y"`]);
});

Deno.test("formatResults() folds greetings that differ if all contain the expected text, and shows the first", () => {
  const greeted = (port: number, greeting: string, hostname = "192.0.2.1") =>
    result(port, "greeted", { greeting, remoteAddr: { transport: "tcp", hostname, port } });
  const results = [greeted(80, "port 80"), greeted(81, "port 81"), greeted(82, "port 81")];
  assertEquals(format(results, () => bytes("port")), [`80-82  greeted  "port 80" (and others)`]);
  assertEquals(format(results), [`80     greeted  "port 80"`, `81-82  greeted  "port 81"`]);
  // Only if the text of each port was checked, and if everything else is the same.
  assertEquals(format(results.slice(0, 2), ({ port }) => port === 80 ? bytes("p") : undefined), [
    `80  greeted  "port 80"`,
    `81  greeted  "port 81"`,
  ]);
  const elsewhere = [greeted(80, "a", "::7"), greeted(81, "b", "::7"), greeted(82, "c")];
  assertEquals(format(elsewhere, () => bytes("")), [
    `80-81  greeted  "a" (and others)  at ::7`,
    `82     greeted  "c"`,
  ]);
  // A greeting proves that a port is not blocked, whatever it contains.
  const open = [80, 81].map((port) => blocked(port, "greeted", { ok: false, greeting: `${port}` }));
  assertEquals(format(open, () => bytes("8")), [
    `80  greeted  "80"  expected blocked`,
    `81  greeted  "81"  expected blocked`,
  ]);
});

Deno.test("formatResults() shows at most 256 bytes of a greeting or a text, as printable ASCII on one line", () => {
  const greeted = (greeting: string) => format([result(80, "greeted", { greeting })]);
  assertEquals(greeted("x".repeat(256)), [`80  greeted  "${"x".repeat(256)}"`]);
  assertEquals(greeted("x".repeat(257)), [`80  greeted  "${"x".repeat(256)}"...`]);
  assertEquals(greeted('\u001b[2J\r\n22  greeted  "real"'), [
    String.raw`80  greeted  "\x1b[2J\r\n22  greeted  \x22real\x22"`,
  ]);
  const long = "x".repeat(300);
  assertEquals(format([result(80, "mismatch", { greeting: long })], () => bytes("y".repeat(257))), [
    `80  mismatch  "${"x".repeat(256)}"...  expected "${"y".repeat(256)}"...`,
  ]);
  // Ports whose greetings differ only after 256 bytes share a line.
  const results = [
    result(80, "greeted", { greeting: `${long}a` }),
    result(81, "greeted", { greeting: `${long}b` }),
  ];
  assertEquals(format(results), [`80-81  greeted  "${"x".repeat(256)}"...`]);
});

Deno.test(
  needs(
    "formatResults() colors each state by whether it is as expected, without changing the columns",
    "the run permission",
  ),
  async () => {
    const results = [
      result(80, "greeted", { greeting: "x" }),
      result(81, "mismatch", { greeting: "x" }),
      result(83, "open", { expected: "open", ok: true }),
      blocked(85, "refused"),
      blocked(87, "greeted", { ok: false, greeting: "x" }),
      blocked(89, "unreachable", { ok: null, reason: "interrupted", error: "No route to host" }),
    ];
    // In a process of its own: @std/fmt has no colors if NO_COLOR was set when it was loaded.
    const script = `
    import { formatResults } from "${import.meta.resolve("./lines.ts")}";
    const results = ${JSON.stringify(results)};
    for (const result of results) result.greeting = new Uint8Array(Object.values(result.greeting));
    const check = { blocked: [], expect: () => undefined, blockedState: () => undefined };
    console.log(formatResults({ check, results, addresses: ["192.0.2.1"] }, {}, true).join("\\n"));`;
    const { stdout, stderr } = await run([Deno.execPath(), "eval", script], { cwd: ROOT, env: { NO_COLOR: "" } });
    assertEquals(stdout.trimEnd().replaceAll("\u001b", "ESC").split("\n"), [
      `80  ESC[32mgreetedESC[39m      ESC[2m"x"ESC[22m`,
      `81  ESC[31mmismatchESC[39m     ESC[2m"x"ESC[22m  ESC[2mexpected greetedESC[22m`,
      "83  ESC[32mopenESC[39m",
      "85  ESC[32mrefusedESC[39m",
      `87  ESC[31mgreetedESC[39m      ESC[2m"x"ESC[22m  ESC[2mexpected blockedESC[22m`,
      "89  ESC[33munreachableESC[39m  ESC[2mNo route to hostESC[22m  ESC[2mnot judged: interruptedESC[22m",
    ], stderr);
  },
);

Deno.test("formatHeader() names the addresses of a name, but not those of an address", () => {
  const addresses = ["192.0.2.1", "2001:db8::7"];
  assertEquals(formatHeader(hostSummary([], { addresses })), "lab is 192.0.2.1, 2001:db8::7");
  assertEquals(formatHeader(hostSummary([], { check: { hostname: "::1" }, addresses: ["::1"] })), "::1");
});

Deno.test("formatPortsOfHosts() names at most 10 ranges of all hosts together, and the host only if there are several", () => {
  const list = (count: number) => Array.from({ length: count }, (_, i) => 10 * i + 1);
  assertEquals(formatPortsOfHosts([{ host: "lab", ports: list(11) }]), `${list(10)} and 1 more port`);
  assertEquals(formatPortsOfHosts([{ host: "lab", ports: [] }]), "");
  const hosts = [{ host: "web1", ports: list(9) }, { host: "web2", ports: [] }, { host: "web3", ports: [1, 2, 9] }];
  assertEquals(
    formatPortsOfHosts(hosts),
    `${list(9).map((port) => `web1:${port}`)},web3:1-2 and 1 more port`,
  );
});
