/**
 * Tests of the table of clients that `greeter --clients` prints when it stops.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { connectAndReset, connectFrom, greetingFrom } from "../helpers/clients.ts";
import { needs } from "../helpers/needs.ts";
import { freePort } from "../helpers/ports.ts";
import { GREETER, LOCAL, portOf, rows, run, spawn, stop } from "../helpers/processes.ts";
import { until } from "../helpers/waiting.ts";

/** A time, as in the table. */
const TIME = String.raw`\d\d:\d\d:\d\d`;

Deno.test(
  needs("greeter --clients prints each client that it has logged, before the last line", "Linux"),
  async () => {
    await using greeter = spawn(
      [...GREETER, ...LOCAL, "--clients", "--allow", "127.0.0.0/29", "--ignore", "127.0.0.5"],
      { env: { TZ: "Asia/Kolkata" } },
    );
    const port = await portOf(greeter);
    await connectFrom("127.0.0.2", port);
    await connectFrom("127.0.0.3", port, "GET / HTTP/1.0\r\n\r\n");
    await connectFrom("127.0.0.3", port, "QUIT\n");
    await connectFrom("127.0.0.5", port, "ignored");
    await connectFrom("127.0.0.9", port, "denied");
    await stop(greeter);
    const lines = greeter.output.stdout.trimEnd().split("\n").slice(-6);
    assertEquals(lines[0], "3 clients, busiest first:");
    assertMatch(lines[1] ?? "", /^Client {5}Conns {2}Bytes {2}First {5}Last {6}Ports {2}Sent first$/);
    assertMatch(
      lines[2] ?? "",
      new RegExp(String.raw`^127\.0\.0\.3 {6}2 {5}23  ${TIME}  ${TIME}  ${port}  "GET / HTTP/1\.0\\r\\n\\r\\n"$`),
    );
    assertMatch(lines[3] ?? "", new RegExp(String.raw`^127\.0\.0\.2 {6}1 {6}0  ${TIME}  ${TIME}  ${port}$`));
    assertMatch(
      lines[4] ?? "",
      new RegExp(String.raw`^127\.0\.0\.9 {6}1 {6}0  ${TIME}  ${TIME}  ${port}  \(denied\)$`),
    );
    assertMatch(lines[5] ?? "", /^Stopped: 3 greetings, 1 denied, 23 bytes /);
    const [time = ""] = lines[3]?.match(new RegExp(TIME)) ?? [];
    const [seen, current] = [time, new Date().toLocaleTimeString("sv-SE", { timeZone: "Asia/Kolkata" })]
      .map((time) => Date.parse(`1970-01-02T${time}Z`));
    const age = ((current ?? 0) - (seen ?? 0) + 86_400_000) % 86_400_000; // the test may run at midnight
    assert(age < 60_000, `${time} is not the local time`);
  },
);

Deno.test(needs("greeter --json --clients has a row for each client before the last row", "Linux"), async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--json", "--clients", "--allow", "127.0.0.0/29"]);
  await until(() => rows(greeter).length === 1);
  const port = Number(rows(greeter)[0]?.dest_port);
  const before = Date.now();
  await connectFrom("127.0.0.2", port, `\xe9${"x".repeat(300)}`);
  await connectFrom("127.0.0.2", port);
  await connectFrom("127.0.0.9", port);
  await stop(greeter);
  const after = Date.now();
  assertEquals(rows(greeter).at(-1)?.event_type, "stopped");
  const clients = rows(greeter).slice(-3, -1);
  for (const client of clients) {
    const [first, last] = [Date.parse(`${client.first_seen}`), Date.parse(`${client.last_seen}`)];
    assert(before <= first && first <= last && last <= after, JSON.stringify(client));
  }
  assertEquals(clients.map(({ timestamp: _timestamp, first_seen: _first, last_seen: _last, ...fields }) => fields), [
    {
      event_type: "client",
      src_ip: "127.0.0.2",
      connections: 2,
      bytes_received: 302,
      denied: false,
      ports: `${port}`,
      more_ports: false,
      payload: btoa(`\xc3\xa9${"x".repeat(62)}`),
      payload_printable: `..${"x".repeat(62)}`,
    },
    {
      event_type: "client",
      src_ip: "127.0.0.9",
      connections: 1,
      bytes_received: 0,
      denied: true,
      ports: `${port}`,
      more_ports: false,
    },
  ]);
});

Deno.test("greeter --quiet --clients prints only the table", async () => {
  const { code, stdout, stderr } = await run([...GREETER, ...LOCAL, "--quiet", "--clients", "--within", "0.1"]);
  assertEquals([code, stdout, stderr], [0, "No clients\n", ""]);
});

Deno.test(
  needs("greeter --quiet --clients counts connections that were reset before accept", "signals"),
  async () => {
    const port = freePort();
    await using greeter = spawn([...GREETER, "-H", "127.0.0.1", "-p", `${port}`, "--quiet", "--clients"]);
    await until(() => greetingFrom(port).then(() => true, () => false));
    greeter.child.kill("SIGSTOP");
    for (let i = 0; i < 3; i++) await connectAndReset(port);
    greeter.child.kill("SIGCONT");
    await greetingFrom(port);
    await stop(greeter);
    assertMatch(
      greeter.output.stdout,
      /^1 client:\n.*\n127\.0\.0\.1 .*\nUnknown clients: \d connections?, reset .*\n$/,
    );
  },
);

Deno.test("greeter --timestamps --clients prints the table without timestamps", async () => {
  const { stdout } = await run([...GREETER, ...LOCAL, "--timestamps", "--clients", "--within", "0.1"]);
  assertMatch(stdout, /^[\dT:.+-]+ Listening on .*\nNo clients\n[\dT:.+-]+ Stopped: .*\n$/);
});

Deno.test(
  needs("greeter prints the table to standard error if the log has no reader", "signals", "sh"),
  async () => {
    for (const options of [[], ["--quiet"]]) {
      const command = ["sh", "-c", `"$@" | exec true`, "sh", ...GREETER, ...LOCAL, "--clients", "--within", "1"];
      const { stdout, stderr } = await run([...command, ...options]);
      const last = options.length === 0 ? "Stopped: 0 greetings, .*\n" : "";
      // The first line of the log is lost.
      assertMatch(stderr, new RegExp(`^No clients\n${last}(greeter: the log is incomplete: .*\n)?$`));
      assertEquals(stdout, "");
    }
  },
);

Deno.test(needs("greeter fits the table to the width of the terminal", "script", "stty"), async () => {
  const sent = [[60, `  "${"x".repeat(9)}"...`], [150, `  "${"x".repeat(64)}"`], [40, ""]] as const;
  for (const [columns, shown] of sent) {
    const command = [...GREETER, ...LOCAL, "--clients", "--count", "1"].map((word) => `'${word}'`).join(" ");
    await using terminal = spawn(["script", "-qec", `stty cols ${columns}; ${command}`, "/dev/null"]);
    await until(() => terminal.output.stdout.includes("\n"));
    const [, port] = terminal.output.stdout.match(/:(\d+)\r\n/) ?? [];
    await connectFrom("127.0.0.2", Number(port), "x".repeat(64));
    await terminal.ended;
    const row = terminal.output.stdout.split("\r\n").find((line) => line.startsWith("127.0.0.2 ")) ?? "";
    assert(row.endsWith(`  ${port}${shown}`) && row.length <= columns, row);
  }
});

Deno.test(needs("greeter cuts nothing off in the table if its output goes to a file", "script", "stty"), async () => {
  const file = await Deno.makeTempFile();
  const port = freePort();
  const options = ["-H", "127.0.0.1", "-p", `${port}`, "--clients", "--count", "1"];
  const command = [...GREETER, ...options].map((word) => `'${word}'`).join(" ");
  await using terminal = spawn(["script", "-qec", `stty cols 40; ${command} > ${file}`, "/dev/null"]);
  await until(() => connectFrom("127.0.0.2", port, "x".repeat(64)));
  await terminal.ended;
  const row = (await Deno.readTextFile(file)).split("\n").find((line) => line.startsWith("127.0.0.2 ")) ?? "";
  assert(row.endsWith(`  ${port}  "${"x".repeat(64)}"`), row);
  await Deno.remove(file);
});
