import { assertEquals } from "@std/assert";
import type { ProbeResult } from "../../client.ts";
import { ROOT, run } from "../../tests/helpers.ts";
import { formatResultRow, formatResults, formatSummaryRow, formatTotals, type ProbeSummary } from "./results.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

function result(port: number, state: ProbeResult["state"], greeting = "", error?: string): ProbeResult {
  return {
    state,
    remoteAddr: { transport: "tcp", hostname: "192.0.2.1", port },
    localAddr: undefined,
    greeting: bytes(greeting),
    duration: 1.23456,
    error,
  };
}

Deno.test("formatResults() folds neighboring ports with the same state and greeting, sorted by port", () => {
  const results = [
    result(8001, "greeted", "hello\r\n"),
    result(443, "unreachable", "", "No route to host"),
    result(8000, "greeted", "hello\r\n"),
    result(80, "timeout"),
    result(8003, "greeted", "hello\r\n"),
    result(8004, "greeted", "other\r\n"),
    result(8005, "mismatch", "other\r\n"),
    result(81, "timeout"),
  ];
  assertEquals(formatResults(results), [
    "80-81      timeout",
    "443        unreachable  No route to host",
    String.raw`8000-8001  greeted      "hello\r\n"`,
    String.raw`8003       greeted      "hello\r\n"`,
    String.raw`8004       greeted      "other\r\n"`,
    String.raw`8005       mismatch     "other\r\n"`,
  ]);
  assertEquals(formatResults([]), []);
});

Deno.test("formatResults() shows the expected text for ports that match, and folds them by state", () => {
  const results = [result(80, "greeted", "port 80"), result(81, "greeted", "port 81"), result(82, "mismatch", "x")];
  assertEquals(formatResults(results, 'port "{port}"'), [
    String.raw`80-81  greeted   "port \x22\x7bport}\x22"`,
    `82     mismatch  "x"`,
  ]);
});

Deno.test("formatResults() shows at most 256 bytes of a greeting, as printable ASCII on one line", () => {
  assertEquals(formatResults([result(80, "greeted", "x".repeat(256))]), [`80  greeted  "${"x".repeat(256)}"`]);
  assertEquals(formatResults([result(80, "greeted", "x".repeat(257))]), [`80  greeted  "${"x".repeat(256)}"...`]);
  const forged = '\u001b[2J\r\n22  greeted  "real"';
  assertEquals(formatResults([result(80, "greeted", forged)]), [
    String.raw`80  greeted  "\x1b[2J\r\n22  greeted  \x22real\x22"`,
  ]);
});

Deno.test("formatResults() shows `...` after a long greeting only if there is more, also for a mismatch", () => {
  const long = "x".repeat(300);
  assertEquals(formatResults([result(80, "mismatch", long)], "y"), [`80  mismatch  "${"x".repeat(256)}"...`]);
  // Ports whose greetings differ only after 256 bytes share a line.
  const results = [result(80, "greeted", `${long}a`), result(81, "greeted", `${long}b`)];
  assertEquals(formatResults(results), [`80-81  greeted  "${"x".repeat(256)}"...`]);
});

Deno.test("formatResults() colors each state, and dims what follows, without changing the columns", async () => {
  const results = [
    ...(["greeted", "mismatch", "silent", "closed", "reset", "refused", "timeout"] as const)
      .map((state, i) => result(80 + i, state, i < 2 ? "x" : "")),
    result(87, "unreachable", "", "No route to host"),
  ];
  // In a process of its own: @std/fmt has no colors if NO_COLOR was set when it was loaded.
  const script = `
    import { formatResults } from "${import.meta.resolve("./results.ts")}";
    const results = ${JSON.stringify(results)};
    for (const result of results) result.greeting = new Uint8Array(Object.values(result.greeting));
    console.log(formatResults(results, undefined, true).join("\\n"));`;
  const { stdout, stderr } = await run([Deno.execPath(), "eval", script], { cwd: ROOT, env: { NO_COLOR: "" } });
  assertEquals(stdout.trimEnd().replaceAll("\u001b", "ESC").split("\n"), [
    `80  ESC[32mgreetedESC[39m      ESC[2m"x"ESC[22m`,
    `81  ESC[33mmismatchESC[39m     ESC[2m"x"ESC[22m`,
    "82  ESC[33msilentESC[39m",
    "83  ESC[33mclosedESC[39m",
    "84  ESC[33mresetESC[39m",
    "85  ESC[31mrefusedESC[39m",
    "86  ESC[31mtimeoutESC[39m",
    "87  ESC[31munreachableESC[39m  ESC[2mNo route to hostESC[22m",
  ], stderr);
  assertEquals(formatResults([result(80, "refused")]), ["80  refused"]);
});

const summary: ProbeSummary = {
  host: "lab.example",
  address: "192.0.2.1",
  ports: [22, 80, 81],
  results: [result(22, "greeted", "x"), result(80, "refused"), result(81, "greeted", "x")],
  expected: undefined,
  duration: 2960,
  interrupted: false,
};

Deno.test("formatTotals() counts the greeted ports, and shows whether the run was interrupted", () => {
  assertEquals(formatTotals(summary), "2 of 3 ports greeted (content not checked; see --expect) in 3.0s");
  assertEquals(formatTotals({ ...summary, expected: "x", ports: [22] }), "2 of 1 port greeted in 3.0s");
  assertEquals(
    formatTotals({ ...summary, expected: "x", ports: [22, 23, 80, 81], interrupted: true }),
    "2 of 4 ports greeted in 3.0s; interrupted, 1 port without a result",
  );
});

Deno.test("both JSON rows have the field names of the server's log", () => {
  const withoutTime = (line: string) => {
    const { timestamp, ...rest } = JSON.parse(line);
    assertEquals(typeof timestamp, "string");
    return rest;
  };
  const localAddr = { transport: "tcp", hostname: "192.0.2.9", port: 51514 } as const;
  assertEquals(withoutTime(formatResultRow({ ...result(22, "mismatch", "é\n"), localAddr })), {
    event_type: "probe",
    state: "mismatch",
    proto: "TCP",
    src_ip: "192.0.2.9",
    src_port: 51514,
    dest_ip: "192.0.2.1",
    dest_port: 22,
    duration_ms: 1.235,
    payload: "w6kK",
    payload_printable: "..\n",
  });
  assertEquals(withoutTime(formatResultRow(result(23, "unreachable", "", "No route to host"))), {
    event_type: "probe",
    state: "unreachable",
    proto: "TCP",
    dest_ip: "192.0.2.1",
    dest_port: 23,
    duration_ms: 1.235,
    error: "No route to host",
  });
  assertEquals(withoutTime(formatSummaryRow(summary)), {
    event_type: "summary",
    host: "lab.example",
    dest_ip: "192.0.2.1",
    ports: "22,80-81",
    greeted: 2,
    mismatch: 0,
    silent: 0,
    closed: 0,
    reset: 0,
    refused: 1,
    timeout: 0,
    unreachable: 0,
    duration_ms: 2960,
    interrupted: false,
  });
});
