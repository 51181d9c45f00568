/**
 * Compares tables and figures in the documentation with the code: the JSON fields, the escapes of TEXT, and the limits and
 * messages that it quotes.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { formatErrorRow, formatResultRow, formatSummaryRow } from "../../cli/connect/rows.ts";
import { SHOWN_BYTES } from "../../cli/connect/lines.ts";
import { Progress } from "../../cli/connect/progress.ts";
import { encodeText, splitEnd } from "../../cli/escapes.ts";
import { MAX_BUFFERED_BYTES } from "../../cli/log.ts";
import { formatSomePorts } from "../../cli/ports.ts";
import { MAX_CLIENTS, MAX_PAYLOAD_BYTES, MAX_RANGES } from "../../cli/serve/clients.ts";
import { MAX_TABLE_LINES } from "../../cli/serve/clients_table.ts";
import { jsonFormat, textFormat } from "../../cli/serve/events.ts";
import { defaultRate, EXPECTATIONS, MIN_BLOCKED_TIMEOUT_MS, PROBE_STATES } from "../../client.ts";
import { LOOKUP_TIMEOUT_MS } from "../../client/resolve.ts";
import config from "../../deno.json" with { type: "json" };
import { parse } from "../../main.ts";
import type { CloseReason, Connection } from "../../server.ts";
import { KEPT_BYTES } from "../../server/input.ts";
import { MAX_GREETING_BYTES } from "../../shared/limits.ts";
import { tableAfter } from "./docs_blocks.ts";
import { ROOT } from "../helpers/processes.ts";
import { hostCheck, hostSummary, probeResult } from "../helpers/results.ts";

const read = (file: string) => Deno.readTextFileSync(`${ROOT}/${file}`);

/** A page on one line, so that quoted texts may be wrapped. */
const onOneLine = (file: string) => read(file).replaceAll(/\n */g, " ");
const MANUAL = onOneLine("docs/manual.md");
const JSON_PAGE = onOneLine("docs/json.md");
const BLOCKED_PORTS = onOneLine("docs/blocked-ports.md");

/** The names of fields in a cell. What else is between backticks, such as an option, does not look like one. */
function namesIn(cell = ""): string[] {
  return [...cell.matchAll(/`([a-z_]+)`/g)].map(([, name = ""]) => name);
}

/** The fields of each type of row that the program prints, and those that the page lists, in the same form. */
function assertFields(rows: readonly string[], documented: ReadonlyMap<string, readonly string[]>) {
  const printed = rows.map((line) => {
    const { event_type, ...fields }: Record<string, unknown> = JSON.parse(line);
    return [`${event_type}`, Object.keys(fields).sort()] as const;
  });
  const listed = [...documented].map(([type, fields]) => [type, fields.toSorted()] as const);
  assertEquals(Object.fromEntries(listed), Object.fromEntries(printed));
}

const address: Deno.NetAddr = { transport: "tcp", hostname: "192.0.2.7", port: 51514 };

Deno.test("the page on JSON lists the fields of each row that greeter --json prints", () => {
  const connection: Connection = {
    remoteAddr: address,
    localAddr: address,
    acceptedAt: 0,
    bytesSent: 1,
    greeted: true,
    bytesReceived: 1,
    received: Uint8Array.of(1),
    closeReason: "closed",
  };
  const client = { address: "192.0.2.7", connections: 1, bytesReceived: 1, denied: false, firstSeen: 0, lastSeen: 0 };
  const recorded = { bounds: [22, 23], hasMorePorts: true, payload: "x", isPayloadCut: false, payloadAcceptedAt: 0 };
  const counts = { greetings: 1, denied: 1, bytesReceived: 1, resets: 1, dropped: 1, duration: 1 };
  const others = { connections: 1, bytesReceived: 1 };
  const rows = [
    jsonFormat.listening([address]),
    jsonFormat.connection(connection),
    jsonFormat.closed(connection) ?? "",
    jsonFormat.denied(connection),
    jsonFormat.resets(1, [22]),
    jsonFormat.gap(1),
    jsonFormat.error(new Error("message")) ?? "",
    ...jsonFormat.clients({ busiest: [{ ...client, ...recorded }], others, resetsBeforeAccept: 1 }, 80),
    jsonFormat.stopped({ ...counts, ports: { greeted: [1], notGreeted: [2], onlyReset: [3] } }),
  ];
  const documented = new Map<string, string[]>();
  for (const { "`event_type`": type = "", fields } of tableAfter("docs/json.md", "## The server")) {
    const base = fields?.match(/those of `(\w+)`/)?.[1] ?? "all";
    documented.set(type.replaceAll("`", ""), [
      ...documented.get(base) ?? [],
      ...namesIn(fields?.replace(/those of `\w+`/, "")),
    ]);
  }
  documented.delete("all");
  assertFields(rows, documented);
});

Deno.test("the page on JSON lists each close_reason, and no other", () => {
  const reasons: Record<CloseReason, true> = {
    closed: true,
    reset: true,
    timeout: true,
    evicted: true,
    shutdown: true,
  };
  const [sentence = ""] = JSON_PAGE.match(/(?<=`close_reason` is ).*?\. /) ?? [];
  assertEquals(namesIn(sentence), Object.keys(reasons));
});

Deno.test("the page on JSON lists the fields of each row that greeter connect --json prints", () => {
  const error = "No route to host";
  const blocked = { expected: "blocked", ok: false, reason: "other_state", reachableBefore: 1 } as const;
  const results = [probeResult(22, "unreachable", { localAddr: address, greeting: "x", error, ...blocked })];
  const pass = { host: "lab", family: undefined, pass: 1, left: 0, duration: 1, pause: undefined, notTested: [] };
  const host = hostSummary(results, { check: { lineOf: () => 1 }, pass });
  const summary = formatSummaryRow(host, { hosts: [], rate: undefined, duration: 1, interrupted: false });
  const documented = new Map<string, string[]>();
  let fields: string[] = [];
  for (const { "`event_type`": type = "", field, meaning } of tableAfter("docs/json.md", "## The client")) {
    if (type !== "") documented.set(type.replaceAll("`", ""), fields = [...documented.get("all") ?? []]);
    fields.push(...field?.endsWith("all other states") ? PROBE_STATES : namesIn(field));
    if (field === "`expected`") assertEquals(namesIn(meaning), [...EXPECTATIONS]);
  }
  documented.delete("all");
  const probes = results.map((result) => formatResultRow(result, host, undefined));
  assertFields([...probes, summary, formatErrorRow("lab", 3, error)], documented);
});

Deno.test("the manual's table of escapes has those that TEXT accepts, and no others", () => {
  const isEscape = (text: string) => {
    try {
      return encodeText(text).length === 1;
    } catch {
      return false;
    }
  };
  const characters = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i));
  const accepted = characters.map((character) => `\\${character}`).filter(isEscape);
  const documented = tableAfter("docs/manual.md", "### TEXT").flatMap(({ escape = "" }) =>
    escape.replaceAll("`", "").split(" ")
  );
  assertEquals(documented.toSorted(), [...accepted, "\\xHH", "\\c"].toSorted());
  assert(isEscape("\\xfF"));
  assert(splitEnd("\\c").isExact);
});

/** Where packets of services have a length: the first byte, the end, and what is not counted. */
const LENGTHS = {
  "PostgreSQL": [[0, 4, 0]],
  "HTTPS": [[3, 5, 5], [6, 9, 9]],
  "MQTT": [[1, 2, 2]],
  "LDAP": [[1, 2, 2], [6, 7, 7]],
};

Deno.test("the options of the 13 services in the manual are valid, and binary packets have the lengths that they state", async () => {
  const rows = tableAfter("docs/manual.md", "### Wait for a service");
  const hello = read("docs/manual.md").match(/^ {2}`(\\x16\\x03\\x01.*)`$/m)?.[1] ?? "";
  const sent = new Map<string, Uint8Array>();
  for (const { service = "", "options of `greeter connect HOST`": options = "" } of rows) {
    const words = options.replaceAll("`", "").replace("HELLO", `'${hello}'`).match(/(?:'[^']*'|[^\s'])+/g) ?? [];
    const command = await parse(["connect", "lab", ...words.map((word) => word.replaceAll("'", ""))]);
    assert(command.kind === "connect");
    const [check] = command.checks ?? [];
    const [port = 0] = check?.greeted ?? [];
    assert(check?.expect({ host: "lab", port }) !== undefined, service);
    sent.set(service, new Uint8Array(check.send({ host: "lab", port }) ?? []));
  }
  assertEquals([rows.length, sent.size], [13, 13]);
  for (const [service, fields] of Object.entries(LENGTHS)) {
    const bytes = sent.get(service) ?? new Uint8Array();
    for (const [start = 0, end = 0, uncounted = 0] of fields) {
      const length = bytes.subarray(start, end).reduce((sum, byte) => sum * 256 + byte, 0);
      assert(length > 0, service);
      assertEquals(length, bytes.length - uncounted, service);
    }
  }
});

Deno.test("the manual quotes messages as they are printed", async () => {
  const odd = Array.from({ length: 30 }, (_, i) => 2 * i + 1);
  assertStringIncludes(MANUAL, `\`${formatSomePorts(odd)}\``);
  assertStringIncludes(MANUAL, `(\`${textFormat.gap(3)}\`)`);
  const [, args = "", ports] = MANUAL.match(/with `(-p \d+ -o \d+ -b [\d-]+)`, .*?`must be blocked: (.*?)`/) ?? [];
  const command = await parse(["connect", "lab", ...args.split(" ")]);
  assert(command.kind === "connect");
  assertEquals(ports, formatSomePorts(command.checks?.[0]?.blocked ?? []));
  const progress = new Progress([hostCheck({ greeted: [80] })]);
  progress.resolved("lab", undefined);
  progress.add(probeResult(80, "refused"));
  assertStringIncludes(MANUAL, `\`greeter: ${progress.text()}\``);
  progress.addPass({
    host: "lab",
    family: undefined,
    pass: 1,
    left: 12,
    duration: 1,
    pause: undefined,
    notTested: [],
  });
  assertStringIncludes(MANUAL, `\`greeter: ${progress.text()}\``);
});

Deno.test("the documentation states the limits that the code has", () => {
  const module = read("docs/module.md").replaceAll("\n", " ");
  const kib = MAX_GREETING_BYTES / 1024;
  for (
    const [page, text] of [
      [MANUAL, `keeps up to ${MAX_BUFFERED_BYTES / 1024 / 1024} MiB of lines`],
      [MANUAL, `records the first ${MAX_CLIENTS.toLocaleString("en-US")} addresses`],
      [JSON_PAGE, `of clients beyond the first ${MAX_CLIENTS.toLocaleString("en-US")}`],
      [MANUAL, `at most ${MAX_RANGES} ranges of ports, and ${MAX_PAYLOAD_BYTES} bytes of what was sent first`],
      [JSON_PAGE, `In a \`client\` row, they have at most ${MAX_PAYLOAD_BYTES} bytes`],
      [MANUAL, `On a terminal, the table has at most ${MAX_TABLE_LINES} lines`],
      [JSON_PAGE, `\`payload\` has the first ${KEPT_BYTES} bytes`],
      [MANUAL, `At most ${SHOWN_BYTES} bytes of a greeting are shown`],
      [MANUAL, `The client's TEXT has 1 byte to ${kib} KiB`],
      [MANUAL, `The server's TEXT and the headers of \`--http\` have at most ${kib} KiB together`],
      [MANUAL, `The list and the greeting have at most ${kib} KiB together`],
      [module, `If both together have more than ${kib} KiB`],
      [BLOCKED_PORTS, `\`-b\` requires a timeout of at least ${MIN_BLOCKED_TIMEOUT_MS / 1000} s`],
      [MANUAL, `may take ${LOOKUP_TIMEOUT_MS / 1000} s`],
      [BLOCKED_PORTS, `with up to 8 connections starts ${defaultRate(8)} a second.`],
      [
        BLOCKED_PORTS,
        `starts at least ${defaultRate(9)} a second, and all within ${1e4 / defaultRate(1e4)} s`,
      ],
      [module, `\`received\` (at most the first ${KEPT_BYTES} bytes)`],
      [module, `the bytes that were received, at most ${kib} KiB`],
    ] as const
  ) assertStringIncludes(page, text);
});

Deno.test("the documentation installs the latest release, with the flag and the limit of the project", () => {
  const [, current = "", released] = read("CHANGELOG.md").match(/^## (?:(\S+-dev)\n[^]*?^## )?\[([\d.]+)\] - /m) ?? [];
  assertEquals(config.version, current || released);
  const pages = MANUAL + read("docs/kubernetes.md") + read("contrib/Dockerfile");
  const versions = [...pages.matchAll(/greeter[-:](\d+\.\d+\.\d+)/g)].map(([, version]) => version);
  assertEquals([...new Set(versions)], [released]);
  const flags = [MANUAL, config.tasks.start, read("tools/compile.ts")].map((text) =>
    text.match(/--v8-flags=[\w=-]+/)?.[0]
  );
  assertEquals(new Set(flags).size, 1, flags.join());
  const [, limit = ""] = read("contrib/greeter.service").match(/^LimitNOFILE=(\d+)$/m) ?? [];
  assertStringIncludes(MANUAL, `\`LimitNOFILE\` is ${limit}`);
});
