/**
 * Tests of the server's command under load: descriptors, memory, and a log that nobody reads.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { formatPorts, parsePorts } from "../../shared/ports.ts";
import { DEFAULTS } from "../../server.ts";
import { GREETING_BYTES, greetingFrom, load, readBytes, receive } from "../helpers/clients.ts";
import { needs } from "../helpers/needs.ts";
import { descriptors, GREETER, LOCAL, portOf, type Process, run, spawn, start, stop } from "../helpers/processes.ts";
import { delay, sometimes, until, within } from "../helpers/waiting.ts";

/** Returns the CPU time that a process has used, in seconds. A tick is 10 ms on every Linux that Deno supports. */
async function processorTime({ child }: Process): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${child.pid}/stat`);
  const [utime, stime] = stat.slice(stat.lastIndexOf(")")).split(" ").slice(12, 14);
  return (Number(utime) + Number(stime)) / 100;
}

Deno.test(
  needs("greeter greets a new client within 1 s when no descriptor is left", "/proc"),
  async () => {
    await using greeter = spawn(["sh", "-c", `ulimit -n 64; exec "$@"`, "sh", ...GREETER, ...LOCAL, "-t", "600"]);
    const port = await portOf(greeter);
    const silent = await Promise.all(Array.from({ length: 300 }, () => Deno.connect({ hostname: "127.0.0.1", port })));
    for (const conn of silent) assertEquals((await readBytes(conn, GREETING_BYTES)).length, GREETING_BYTES);

    // Each new client evicts only one of the others.
    for (let i = 0; i < 40; i++) {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port });
      silent.push(conn);
      assertEquals((await readBytes(conn, GREETING_BYTES)).length, GREETING_BYTES);
      assert(await descriptors(greeter) > 50, "evicts too many connections");
    }

    const isInTime = await sometimes(async () => {
      const started = performance.now();
      assertEquals(await greetingFrom(port), DEFAULTS.greeting);
      return performance.now() - started < 1000;
    });
    assert(isInTime, "greeted too late");

    // While no descriptor is left, greeter waits without using CPU time.
    const used = await processorTime(greeter);
    await delay(500);
    assert(await descriptors(greeter) > 50, "descriptors are left");
    assert(await processorTime(greeter) - used < 0.1, "uses CPU time");

    await stop(greeter);
    for (const conn of silent) conn.close();
  },
);

Deno.test(
  needs("greeter greets 600 clients of 150 ports at once with fewer descriptors", "sh"),
  async () => {
    const ports = Array(150).fill(0).join(",");
    const options = ["-H", "127.0.0.1", "-p", ports, "-t", "600", "--json"];
    await using greeter = spawn(["sh", "-c", `ulimit -n 256; exec "$@"`, "sh", ...GREETER, ...options]);
    await until(() => greeter.output.stdout.includes("\n"));
    const listening = parsePorts(JSON.parse(greeter.output.stdout).ports) ?? [];
    const greetings = await Promise.all([1, 2, 3, 4].flatMap(() => listening.map((port) => greetingFrom(port))));
    assertEquals(greetings, Array(600).fill(DEFAULTS.greeting));
    await stop(greeter);
  },
);

Deno.test(needs("greeter notices every port that nmap -sT scans", "nmap"), async () => {
  const options = ["-H", "127.0.0.1", "-p", Array(100).fill(0).join(","), "--json"];
  await using greeter = spawn([...GREETER, ...options]);
  const rows = () => greeter.output.stdout.split("\n").slice(0, -1).map((line) => JSON.parse(line));
  await until(() => rows().length === 1);
  const [{ ports }] = rows();
  // The list of ports is valid for nmap.
  const scan = await run(["nmap", "-n", "-Pn", "-sT", "-oG", "-", "-p", ports, "127.0.0.1"]);
  assertEquals(scan.stdout.match(/\/open\/tcp/g)?.length, 100, scan.stdout);
  // Most connections are reset before they can be accepted.
  await until(() => {
    const noticed = rows().slice(1).flatMap(({ dest_port, ports }) => parsePorts(`${ports ?? dest_port}`));
    return new Set(noticed).size === 100;
  });
  await stop(greeter);
  const { ports_greeted, ports_reset, ports_not_greeted } = rows().at(-1);
  const noticed = [ports_greeted, ports_reset].flatMap((list) => parsePorts(list) ?? []);
  assertEquals([formatPorts(noticed), ports_not_greeted], [ports, ""]);
});

Deno.test(needs("greeter frees every descriptor of 1,500 silent clients", "/proc"), async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "-m", "500", "-t", "1"]);
  const port = await portOf(greeter);
  const before = await descriptors(greeter);
  const holders = await Promise.all(Array.from({ length: 1500 }, () => Deno.connect({ hostname: "127.0.0.1", port })));
  for (const holder of holders) assertEquals((await readBytes(holder, GREETING_BYTES)).length, GREETING_BYTES);
  assert(await descriptors(greeter) <= before + 501);
  assertEquals(await greetingFrom(port), DEFAULTS.greeting);
  await until(() => descriptors(greeter).then((count) => count === before));
  for (const holder of holders) holder.close();
  await stop(greeter);
});

Deno.test("greeter writes a line to the log within 50 ms when it is idle", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL]);
  const port = await portOf(greeter);
  const waits: number[] = [];
  for (let i = 0; i < 9; i++) {
    const before = greeter.output.stdout.length;
    await greetingFrom(port);
    const greeted = performance.now();
    await until(() => greeter.output.stdout.length > before);
    waits.push(performance.now() - greeted);
  }
  // The shortest, because a busy machine delays both processes.
  assert(Math.min(...waits) < 50, `${waits}`);
});

/** Starts greeter, and reads only the first line of its log, which has the port. */
async function spawnWithUnreadLog(...args: string[]) {
  const child = start([...GREETER, ...LOCAL, ...args]);
  const reader = child.stdout.getReader();
  const line = new TextDecoder().decode((await within(reader.read())).value);
  const port = Number(line.match(/^Listening on .*:(\d+)\n$|"dest_port":(\d+)/)?.slice(1).join(""));
  return { child, reader, port };
}

Deno.test(
  needs(
    "greeter keeps serving when the reader of its log is gone, and prints the summary to standard error",
    "signals",
  ),
  async () => {
    const { child, reader, port } = await spawnWithUnreadLog();
    await using _child = child;
    await reader.cancel();
    for (let i = 0; i < 100; i++) assertEquals(await greetingFrom(port), DEFAULTS.greeting);
    child.kill("SIGTERM");
    assertEquals((await within(child.status)).code, 0);
    assertMatch(
      await within(new Response(child.stderr).text()),
      /^Stopped: 100 greetings, .*\ngreeter: the log is incomplete: at least 100 lines were not written\n$/,
    );
  },
);

Deno.test(
  needs("greeter logs all 10,000 clients even if its log is read late", "signals"),
  async () => {
    const { child, reader, port } = await spawnWithUnreadLog("--json");
    await using _child = child;
    assertEquals(await load(port, 10_000), 10_000);
    const decoder = new TextDecoder();
    let log = "";
    async function readLog() {
      const { value, done } = await within(reader.read());
      log += decoder.decode(value, { stream: true });
      return !done;
    }
    const count = (event: string) => log.split(`"event_type":"${event}"`).length - 1;
    while (count("closed") < 10_000) assert(await readLog());
    // Not before, because greeter waits only half a second for the reader when it stops.
    child.kill("SIGTERM");
    while (await readLog());
    assertEquals([(await within(child.status)).code, await within(new Response(child.stderr).text())], [0, ""]);
    assertEquals([count("connection"), count("closed"), count("stopped")], [10_000, 10_000, 1]);
  },
);

Deno.test(needs("greeter loses no row of a JSON log while it is read", "signals"), async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--json"]);
  await until(() => greeter.output.stdout.includes("\n"));
  const port = Number(JSON.parse(greeter.output.stdout).dest_port);
  const payload = new TextEncoder().encode("GET / HTTP/1.0\r\nUser-Agent: ".padEnd(250, "x"));
  async function client() {
    for (let i = 0; i < 100; i++) {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port });
      await conn.write(payload);
      await receive(conn);
    }
  }
  await Promise.all(Array.from({ length: 32 }, client));
  await stop(greeter);
  const log = greeter.output.stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(log.filter(({ event_type, payload }) => event_type === "closed" && payload !== undefined).length, 3200);
  assertEquals(log.at(-1)?.dropped, 0);
});

Deno.test(needs("greeter loses no line of its log when the pipe is non-blocking and full", "python3"), async () => {
  // O_NONBLOCK belongs to the pipe, so any process that shares the pipe can set it.
  const script = `python3 -c 'import os; os.set_blocking(1, False)'; exec "$@"`;
  await using child = start(["sh", "-c", script, "sh", ...GREETER, ...LOCAL]);
  const reader = child.stdout.getReader();
  let log = new TextDecoder().decode((await within(reader.read())).value);
  const port = Number(log.match(/^Listening on .*:(\d+)\n$/)?.[1]);
  assertEquals(await load(port, 6000), 6000); // 350 KiB of log; a pipe holds 64 KiB
  let stderr = "";
  const errors = (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) stderr += text;
  })();
  await until(() => stderr !== "");
  const reading = (async () => {
    for (let chunk = await within(reader.read()); !chunk.done; chunk = await within(reader.read())) {
      log += new TextDecoder().decode(chunk.value);
    }
  })();
  await until(() => log.split("Received").length === 6001);
  child.kill("SIGTERM");
  assertEquals((await within(child.status)).code, 0);
  await within(Promise.all([reading, errors]));
  assertEquals(
    stderr,
    "greeter: cannot write the log: Resource temporarily unavailable (os error 11); trying again\n" +
      "greeter: the log can be written again\n",
  );
});

Deno.test("greeter marks in its log where rows were dropped, and counts them in the summary", async () => {
  // More than 8 MiB of rows. As many connections would take too long, so only the report of a server runs.
  const script = `
    import { Report } from "${import.meta.resolve("../../cli/serve/report.ts")}";
    const report = new Report({ json: true, quiet: false, timestamps: false }, {});
    const addr = { transport: "tcp", hostname: "127.0.0.1", port: 80 };
    const { onDenied } = report.callbacks();
    for (let i = 0; i < 100_000; i++) onDenied?.({ remoteAddr: addr, localAddr: addr });
    report.error("full");
    await Deno.stdin.read(new Uint8Array(1));
    Deno.exit(await report.close(0) ? 0 : 1);
  `;
  await using child = start([Deno.execPath(), "eval", "--no-check", "--ext=ts", script], { stdin: "piped" });
  let stderr = "";
  const errors = (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) stderr += text;
  })();
  await until(() => stderr !== "");
  let log = "";
  let isStopped = false;
  const reading = (async () => {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      log += text;
      if (isStopped || log.length < 8_000_000) continue;
      isStopped = true;
      await child.stdin.close();
    }
  })();
  await within(Promise.all([reading, errors]));
  assertEquals([(await within(child.status)).code, stderr], [0, "greeter: full\n"]);
  const rows = log.trimEnd().split("\n");
  const [gap, stopped] = rows.slice(-2).map((row) => JSON.parse(row));
  assertEquals([gap.event_type, gap.lines, stopped.dropped], ["log_dropped", 100_002 - rows.length, gap.lines]);
});

Deno.test(needs("greeter stops within 10 s even if nobody reads its log", "signals"), async () => {
  const { child, reader, port } = await spawnWithUnreadLog();
  await using _child = child;
  assertEquals(await load(port, 10_000), 10_000); // 600 KiB of log; a pipe holds 64 KiB
  const started = performance.now();
  child.kill("SIGTERM");
  assertEquals((await within(child.status)).code, 0);
  assert(performance.now() - started < 10_000, "stopped too late");
  const stderr = await within(new Response(child.stderr).text());
  const [, missing] = stderr.match(/^Stopped: 10000 greetings, .*\n.* incomplete: at least (\d+) lines were /) ?? [];
  let log = "";
  for (let chunk = await within(reader.read()); !chunk.done; chunk = await within(reader.read())) {
    log += new TextDecoder().decode(chunk.value);
  }
  // The last line in the pipe may be truncated.
  const written = log.split("\n").length - 1;
  assert(Number(missing) > 0 && Number(missing) <= 10_000 - written, `${missing} missing, ${written} written`);
});

Deno.test(
  needs("greeter uses no more memory after 500,000 connections than after 50,000", "GREETER_SOAK", "/proc"),
  async () => {
    await using greeter = spawn([...GREETER, ...LOCAL]);
    const port = await portOf(greeter);
    const resident = async () => {
      const [, kilobytes] = (await Deno.readTextFile(`/proc/${greeter.child.pid}/status`)).match(/VmRSS:\s*(\d+)/) ??
        [];
      return Number(kilobytes);
    };
    assertEquals(await load(port, 50_000), 50_000);
    const before = await resident();
    assertEquals(await load(port, 450_000), 450_000);
    const after = await resident();
    assert(after < before * 1.25, `${before} kB, then ${after} kB`);
  },
);
