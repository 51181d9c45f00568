/**
 * Tests of what `greeter connect` says about passes over blocked ports: their states, what they prove, and signals.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { serve } from "../../server.ts";
import { needs } from "../helpers/needs.ts";
import { freePort, freePorts } from "../helpers/ports.ts";
import { GREETER, run, spawn } from "../helpers/processes.ts";
import { startServer } from "../helpers/servers.ts";
import { until } from "../helpers/waiting.ts";

const CONNECT = [...GREETER, "connect", "127.0.0.1"];

/** Runs greeter connect, and returns its lines by port, and what the last line says after the time. */
async function connect(...args: string[]) {
  const { code, stdout } = await run([...CONNECT, ...args]);
  return { code, ...parse(stdout) };
}

function parse(stdout: string) {
  const lines = stdout.trimEnd().split("\n");
  const last = lines.pop()?.replace(/^.* in \d+\.\ds(; )?/, "");
  return { byPort: new Map(lines.map((line) => [parseInt(line), line.replace(/^\d+ +/, "")])), last };
}

const parseRows = (stdout: string) => stdout.trimEnd().split("\n").map((line) => JSON.parse(line));

Deno.test("greeter connect -b LIST=STATE passes only in that state, and says what was expected", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0 });
  const [refused = 0, other = 0] = freePorts(2);
  const args = ["-o", `${server.addr.port}`, "-b", `${refused}=refused`];
  const passed = await connect(...args);
  assertEquals([passed.code, passed.byPort.get(refused)], [0, "refused"]);
  const failed = await connect(...args, "-b", `${other}=timeout`);
  assertEquals([failed.code, failed.byPort.get(other)], [1, "refused  expected timeout"]);
  const { stdout } = await run([...CONNECT, ...args, "-b", `${other}=timeout`, "--json"]);
  const row = parseRows(stdout).find(({ dest_port }) => dest_port === other);
  assertEquals([row.ok, row.state, row.reason], [false, "refused", "other_state"]);
});

Deno.test("greeter connect says whether the server listens on blocked ports, if it announces that", async () => {
  const [listed = 0, other = 0] = freePorts(2);
  const greeting = `hi\r\ngreeter listens on ${listed}\r\n`;
  await using server = serve({ hostname: "127.0.0.1", port: 0, greeting });
  const args = ["-p", `${server.addr.port}=hi`, "-b", `${listed}`];
  const passed = await connect(...args);
  assertEquals([passed.code, passed.last], [0, `the server listens on ${listed}`]);
  const failed = await connect(...args, "-b", `${other}`);
  const error = "not proven: the server does not listen on it; add it to --port of the server, or correct -b";
  assertEquals([failed.code, failed.byPort.get(other), failed.last], [1, `refused  ${error}`, `not: ${other}`]);
  const { stdout } = await run([...CONNECT, ...args, "-b", `${other}`, "--json"]);
  const rows = parseRows(stdout);
  assertEquals(
    [listed, other].map((port) => rows.find(({ dest_port }) => dest_port === port)).map((row) => [
      row.ok,
      row.listening,
      row.reason,
      row.error,
    ]),
    [[true, true, undefined, undefined], [false, false, "not_listening", error]],
  );
});

Deno.test("greeter connect proves nothing if a control is refused, and advises another one", async () => {
  const control = serve({ hostname: "127.0.0.1", port: freePort(), onConnection: () => void control.shutdown() });
  await using _control = control;
  const { port } = control.addr;
  const blocked = freePort();
  const { code, byPort } = await connect("-p", `${port}`, "-b", `${blocked}`);
  assertEquals(code, 1);
  const advice = "add another port with -p or -o";
  const line = new RegExp(`^refused  not proven: port ${port} refused the 2nd connection in \\ds; ${advice}$`);
  assertMatch(byPort.get(blocked) ?? "", line);
});

Deno.test("greeter connect --within says in lines and in rows that a blocked port was reachable before", async () => {
  await using control = serve({ hostname: "127.0.0.1", port: 0 });
  await using stack = new AsyncDisposableStack();
  const [first, second] = [0, 0].map(() => {
    let connections = 0;
    const server = serve({ hostname: "127.0.0.1", port: freePort(), onConnection: () => connections++ });
    return { port: server.addr.port, connections: () => connections, stop: () => stack.use(server).shutdown() };
  });
  assert(first && second);
  const args = (port: number) => ["-o", `${control.addr.port}`, "-b", `${port}`, "-w", "600"];
  await using text = spawn([...CONNECT, ...args(first.port)]);
  await using json = spawn([...CONNECT, ...args(second.port), "--json"]);
  await until(() => first.connections() > 0 && second.connections() > 0);
  first.stop();
  second.stop();
  assertEquals((await text.ended).code, 0);
  assertMatch(parse(text.output.stdout).byPort.get(first.port) ?? "", /^refused {2}\(reachable \d+s before\)$/);
  assertEquals((await json.ended).code, 0);
  const rows = parseRows(json.output.stdout);
  const row = rows.find(({ dest_port }) => dest_port === second.port);
  // The second pass begins 3 s after the first one.
  assert(row.ok && row.reachable_before_ms > 3000, JSON.stringify(row));
  const { not_tested, pass_ms } = rows.at(-1);
  assert(pass_ms > 0 && pass_ms < row.reachable_before_ms + 60_000);
  assertEquals(not_tested, []);
});

Deno.test(
  needs("greeter connect judges no blocked port after Ctrl-C during a pass, unless it is open", "signals"),
  async () => {
    await using control = serve({ hostname: "127.0.0.1", port: 0 });
    const ports = freePorts(3);
    const [refused = 0, , untried = 0] = ports;
    for (const options of [[], ["--json"]]) {
      let closed = 0;
      await using open = await startServer((socket) => socket.resume().once("close", () => closed++));
      const list = `${[refused, open.port, untried]}`;
      // The last port is tried much later than the other two.
      const args = ["-o", `${control.addr.port}`, "-b", list, "--rate", "0.5", ...options];
      await using client = spawn([...CONNECT, ...args]);
      await until(() => closed > 0);
      client.child.kill("SIGINT");
      assertEquals([(await client.ended).code, client.output.stderr], [130, ""]);
      if (options.length === 0) {
        const { byPort, last } = parse(client.output.stdout);
        assertEquals(byPort.get(refused), "refused  not judged: interrupted");
        assertEquals([byPort.get(open.port), byPort.has(untried)], ["open     expected blocked", false]);
        assertEquals(last, `not: ${open.port}; not judged: ${refused}; interrupted; 1 port without a result`);
      } else {
        const rows = parseRows(client.output.stdout);
        const row = rows.find(({ dest_port }) => dest_port === refused);
        assertEquals([row.state, row.ok, row.reason, row.error], [
          "refused",
          null,
          "interrupted",
          undefined,
        ]);
        const { not_ok, not_judged, interrupted } = rows.at(-1);
        assertEquals([not_ok, not_judged, interrupted], [`${open.port}`, `${refused}`, true]);
      }
    }
  },
);

Deno.test(
  needs("greeter connect prints what is known after Ctrl-C in the pause between two passes", "script"),
  async () => {
    const directory = await Deno.makeTempDir();
    await using control = serve({ hostname: "127.0.0.1", port: 0 });
    await using open = serve({ hostname: "127.0.0.1", port: 0, greeting: "hi\n" });
    const refused = freePort();
    const args = ["-o", `${control.addr.port}`, "-b", `${open.addr.port},${refused}`, "-w", "600"];
    const words = [...CONNECT, ...args].map((word) => `'${word}'`).join(" ");
    const script = `echo $$ > ${directory}/pid; exec ${words} > ${directory}/out`;
    await using terminal = spawn(["script", "-qec", script, "/dev/null"]);
    await until(() => terminal.output.stdout.includes("; pass 2 begins in "));
    Deno.kill(Number(await Deno.readTextFile(`${directory}/pid`)), "SIGINT");
    assertEquals((await terminal.ended).code, 130);
    const { byPort, last } = parse(await Deno.readTextFile(`${directory}/out`));
    assertEquals(
      [control.addr.port, open.addr.port, refused].map((port) => byPort.get(port)),
      ["open", String.raw`greeted  "hi\n"  expected blocked`, "refused  not judged: interrupted"],
    );
    assertEquals(last, `not: ${open.addr.port}; not judged: ${refused}; interrupted`);
    await Deno.remove(directory, { recursive: true });
  },
);
