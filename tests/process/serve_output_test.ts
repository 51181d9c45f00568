/**
 * Tests of what `greeter` prints: its help, the log as text and as JSON, colors, totals.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createConnection } from "node:net";
import { parsePorts } from "../../shared/ports.ts";
import config from "../../deno.json" with { type: "json" };
import { DEFAULTS } from "../../server.ts";
import { connectAndReset, greetingFrom, receive } from "../helpers/clients.ts";
import { needs } from "../helpers/needs.ts";
import { freePort } from "../helpers/ports.ts";
import { GREETER, LOCAL, portOf, type Process, rows, run, spawn, stop } from "../helpers/processes.ts";
import { DEADLINE_MS, delay, eventOf, until } from "../helpers/waiting.ts";

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

Deno.test(needs("greeter exits 2 with one line if its output cannot be written", "/dev/full"), async () => {
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

Deno.test("greeter --json logs one row for each event", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--port", "0", "--json", "--count", "1"]);
  await until(() => rows(greeter).length === 1);
  const { dest_port, ports } = rows(greeter)[0] ?? {};
  const first = Number(dest_port);
  const second = parsePorts(`${ports}`)?.find((port) => port !== first) ?? 0;
  await greetingFrom(first);
  await until(() => rows(greeter).length === 3); // the connection is closed
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

Deno.test(
  needs("greeter logs what a client sends on one line, with control characters escaped", "signals"),
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

Deno.test(needs("greeter uses color on a terminal unless NO_COLOR is set", "script"), async () => {
  const command = [...GREETER, ...LOCAL, "--bogus"].map((word) => `'${word}'`).join(" ");
  const onTerminal = (env: Record<string, string>) => run(["script", "-qec", command, "/dev/null"], { env });
  assertStringIncludes((await onTerminal({ NO_COLOR: "" })).stdout, "\u001b[31mgreeter:\u001b[39m");
  assertEquals((await onTerminal({ NO_COLOR: "1" })).stdout.includes("\u001b"), false);
});

Deno.test(needs("greeter colors a text log on a terminal, but not with NO_COLOR, and no JSON", "script"), async () => {
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
    // The shell may write the file later than greeter its first line.
    await until(async () => (await Deno.readTextFile(pidFile).catch(() => "")).endsWith("\n"));
    const pid = Number(await Deno.readTextFile(pidFile));
    await Deno.remove(pidFile);
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    await conn.write(new TextEncoder().encode("hi"));
    await receive(conn);
    await until(() => lines() === 3);
    const refused = createConnection({ port, host: "127.0.0.1", localAddress: "127.0.0.2" }).resume();
    await eventOf(refused, "close");
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
  assert(duration_ms >= 299 && duration_ms < DEADLINE_MS, `${duration_ms} ms`);
});

/** Time zones whose offset is constant, and one with daylight saving time. Marquesas: -09:30. */
const ZONES = ["UTC", "Asia/Kolkata", "Asia/Kathmandu", "Pacific/Marquesas", "Pacific/Kiritimati", "America/St_Johns"];

Deno.test("greeter --timestamps begins each line of the log with the local time and its offset from UTC", async () => {
  await Promise.all(ZONES.map(async (zone) => {
    const command = [...GREETER, ...LOCAL, "--timestamps", "--within", "0.1"];
    const { stdout } = await run(command, { env: { TZ: zone } });
    // Deno ignores TZ on Windows, and uses the system's time zone.
    const timeZone = Deno.build.os === "windows" ? undefined : zone;
    const format = new Intl.DateTimeFormat("en", { timeZone, timeZoneName: "longOffset" });
    const name = format.formatToParts().find(({ type }) => type === "timeZoneName")?.value;
    const lines = stdout.trimEnd().split("\n");
    for (const line of lines) {
      const [, time = "", offset] =
        line.match(/^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}([+-]\d\d:\d\d)) (Listening|Stopped)/) ?? [];
      assertEquals(offset, name === "GMT" ? "+00:00" : name?.replace("GMT", ""), line);
      assert(Math.abs(Date.now() - Date.parse(time)) < DEADLINE_MS, line);
    }
    assertEquals(lines.length, 2, zone);
  }));
});

Deno.test(
  needs("greeter reports resets before accept by port, at most once a second", "signals"),
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

Deno.test(
  needs("greeter --ignore reports resets before accept at most once a minute, and the rest at the end", "signals"),
  async () => {
    const options = ["-H", "127.0.0.1", "-p", "0", "--json"];
    // The same number of resets is reported again and again without --ignore.
    await using usual = spawn([...GREETER, ...options]);
    await using ignoring = spawn([...GREETER, ...options, "--ignore", "127.0.0.0/8"]);
    const servers = [usual, ignoring];
    await until(() => servers.every((server) => rows(server).length > 0));
    const reports = (server: Process) => rows(server).filter(({ event_type }) => event_type === "resets_before_accept");
    await until(async () => {
      for (const server of servers) {
        const port = Number(rows(server)[0]?.dest_port);
        server.child.kill("SIGSTOP");
        await Promise.all(Array.from({ length: 5 }, () => connectAndReset(port)));
        server.child.kill("SIGCONT");
        assertEquals(await greetingFrom(port), DEFAULTS.greeting);
      }
      return reports(usual).length === 3;
    });
    assertEquals(reports(ignoring).length, 1);
    await stop(ignoring);
    const counts = reports(ignoring).map(({ count }) => Number(count));
    assertEquals(counts.length, 2);
    assertEquals(counts.reduce((sum, count) => sum + count, 0), rows(ignoring).at(-1)?.resets_before_accept);
  },
);
