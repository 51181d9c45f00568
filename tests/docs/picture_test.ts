/**
 * Runs the two commands in `docs/greeter.svg`, and compares what they print with the picture.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { testsInNamespace } from "../helpers/namespaces.ts";
import { GREETER, ROOT, run, spawn, withoutWarning } from "../helpers/processes.ts";
import { until } from "../helpers/waiting.ts";
import { IN_CLIENT, TWO_NAMESPACES, withNames } from "../helpers/network.ts";

/** An address of the client's machine that the server's `--allow` does not cover. */
const DENIED_ADDRESS = "203.0.113.7";

const test = testsInNamespace(
  `${withNames("127.0.0.1 localhost\n192.0.2.2 lab.example")}
  ${TWO_NAMESPACES}
  ip -n client address add ${DENIED_ADDRESS}/32 dev client0
  ip route add ${DENIED_ADDRESS}/32 dev server0
  iptables -A INPUT -p tcp -m multiport --dports 80,3306 -j DROP`,
  import.meta.filename ?? "",
  "iptables",
);

/** The width of the terminals in the picture. */
const COLUMNS = 80;
const CHARACTER_WIDTH_PX = 7.8;
const PADDING_PX = 14;

/** The lines of a picture, which consists of texts at positions. */
function linesIn(svg: string): string[] {
  const lines = new Map<string, string>();
  for (const [, x, y = "", text = ""] of svg.matchAll(/<text x="(.*?)" y="(.*?)"[^>]*>(.*?)<\/text>/gs)) {
    const column = Math.round((Number(x) - PADDING_PX) / CHARACTER_WIDTH_PX);
    lines.set(y, (lines.get(y) ?? "").padEnd(column) + text);
  }
  return [...lines.values()].map((line) =>
    line.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&")
  );
}

/** Replaces what differs from run to run: the ports of clients, and times. */
function normalize(line: string): string {
  return line.replace(/(?<=from \S+):\d+/, ":PORT").replace(/ in \d+(\.\d+)?s/, " in TIME").replace("^C", "");
}

/**
 * Returns the lines of a server without the order of connections, and without their number, which must only agree with the
 * last line: the client connects to ports of -p again while it tries those of -b, and to how many can differ.
 */
function serverLines(lines: readonly string[]): { received: Set<string>; others: string[] } {
  const received = lines.filter((line) => line.startsWith("Received"));
  const others = lines.filter((line) => !line.startsWith("Received"));
  assertStringIncludes(others.at(-1) ?? "", `Stopped: ${received.length} greetings, `);
  const totals = (line: string) => line.replace(/\d+ greetings/, "N greetings");
  return { received: new Set(received.map(normalize)), others: others.map((line) => totals(normalize(line))) };
}

/** A command in the picture, as a shell runs it. */
function shell(command: string): string[] {
  return ["sh", "-c", `greeter() { exec ${GREETER.map((word) => `'${word}'`).join(" ")} "$@"; }; ${command}`];
}

/** Connects from {@linkcode DENIED_ADDRESS}. */
async function connectDenied(port: number) {
  const script = `import { connect } from "node:net";
    const address = { host: "192.0.2.2", port: ${port}, localAddress: "${DENIED_ADDRESS}" };
    connect(address).on("error", () => {}).resume();`;
  const { code, stderr } = await run([...IN_CLIENT, Deno.execPath(), "eval", script]);
  assertEquals([code, stderr], [0, ""]);
}

test(
  "docs/greeter.svg shows what its two commands print",
  [],
  async () => {
    const lines = linesIn(await Deno.readTextFile(`${ROOT}/docs/greeter.svg`));
    for (const line of lines) assert(line.length <= COLUMNS, line);
    const prompts = lines.filter((line) => line.startsWith("$ "));
    const [serverCommand = "", clientCommand = ""] = prompts.map((line) => line.slice(2));
    const second = lines.lastIndexOf(`$ ${clientCommand}`);
    assertEquals([prompts.length, lines[0]], [2, `$ ${serverCommand}`]);

    // Another program on a port that must be open.
    using _ssh = Deno.listen({ port: 22 });
    await using server = spawn(shell(serverCommand));
    await until(() => server.output.stdout.includes("\n"));
    await connectDenied(21);
    await until(() => server.output.stdout.includes("Denied"));
    await using client = spawn([...IN_CLIENT, ...shell(clientCommand)]);
    assertEquals([(await client.ended).code, withoutWarning(client.output.stderr)], [0, ""]);
    server.child.kill("SIGINT");
    assertEquals([(await server.ended).code, server.output.stderr], [0, ""]);

    const clientLines = client.output.stdout.trimEnd().split("\n");
    assertEquals(lines.slice(second + 1).map(normalize), clientLines.map(normalize));
    const shown = serverLines(lines.slice(1, second));
    assertEquals(shown, serverLines(server.output.stdout.trimEnd().split("\n")));
  },
);
