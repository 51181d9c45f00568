/**
 * Tests of `greeter` when descriptors are short or clients reset their connections.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { DEFAULTS } from "../../server.ts";
import { connectAndReset, greetingFrom } from "../helpers/clients.ts";
import { needs } from "../helpers/needs.ts";
import { descriptors, GREETER, LOCAL, portOf, rows, run, spawn, stop } from "../helpers/processes.ts";
import { until } from "../helpers/waiting.ts";

Deno.test(needs("greeter reports that it cannot accept connections", "prlimit"), async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--json"]);
  await until(() => rows(greeter).length === 1);
  const port = Number(rows(greeter)[0]?.dest_port);
  // greeter cannot open another descriptor, and has no connection to evict.
  assertEquals((await run(["prlimit", "--pid", `${greeter.child.pid}`, "--nofile=5"])).code, 0);
  using _conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await until(() => greeter.output.stderr !== "" && rows(greeter).length === 2);
  assertEquals(
    greeter.output.stderr,
    "greeter: cannot accept connections: Too many open files (os error 24); trying again\n",
  );
  const { event_type, message } = rows(greeter)[1] ?? {};
  assertEquals([event_type, message], ["error", "Too many open files (os error 24)"]);
});

Deno.test(
  needs("greeter survives 2,000 connections that are reset before they are accepted", "signals"),
  async () => {
    await using greeter = spawn([...GREETER, ...LOCAL]);
    const port = await portOf(greeter);
    // 100 at once fit the smallest backlog, which is 128 on macOS.
    for (let round = 0; round < 20; round++) {
      greeter.child.kill("SIGSTOP");
      await Promise.all(Array.from({ length: 100 }, () => connectAndReset(port)));
      greeter.child.kill("SIGCONT");
      assertEquals(await greetingFrom(port), DEFAULTS.greeting);
    }
    await until(() => descriptors(greeter).then((count) => count < 30));
    await stop(greeter);
  },
);

Deno.test(
  needs("greeter prints how many ports are possible if there are too many", "sh"),
  async () => {
    for (const limit of [64, 256]) {
      const listenOn = (ports: number) => {
        const list = Array(ports).fill(0).join(",");
        const options = ["-H", "127.0.0.1", "-p", list, "--skip-taken", "--quiet", "--within", "0.1"];
        return run(["sh", "-c", `ulimit -n ${limit}; exec "$@"`, "sh", ...GREETER, ...options]);
      };
      const possibleOf = async (ports: number) => {
        const { code, stderr } = await listenOn(ports);
        assertEquals(code, 2);
        const [, possible] = stderr.match(
          /^greeter: cannot listen: too many ports: the limit on open files allows only (\d+); raise it with ulimit -n \d+\n$/,
        ) ?? [];
        return Number(possible);
      };
      const possible = await possibleOf(1000);
      // If many are possible, 64 descriptors are kept for connections.
      assert(possible > limit / 4 && possible < (limit > 128 ? limit - 64 : limit), `${possible}`);
      // A process may have one descriptor more or less than another one.
      assert(Math.abs(await possibleOf(possible + 3) - possible) <= 2);
      const most = await listenOn(possible - 2);
      assertEquals([most.code, most.stderr], [0, ""]);
    }
  },
);

Deno.test(needs("greeter starts only if a descriptor is left for a connection", "sh"), async () => {
  const listenOn = (ports: number) => {
    const options = ["-H", "127.0.0.1", "-p", Array(ports).fill(0).join(",")];
    return spawn(["sh", "-c", 'ulimit -n 40; exec "$@"', "sh", ...GREETER, ...options]);
  };
  /** How many ports are possible according to greeter, or `undefined` if it has started and greets a client. */
  const possibleOf = async (ports: number) => {
    await using greeter = listenOn(ports);
    await until(() => greeter.output.stdout.includes("\n") || greeter.output.stderr.includes("\n"));
    const [, port] = greeter.output.stdout.match(/^Listening on 127\.0\.0\.1:(\d+)/) ?? [];
    if (port !== undefined) {
      assertEquals(await greetingFrom(Number(port)), DEFAULTS.greeting, `${ports} ports`);
      return undefined;
    }
    assertEquals((await greeter.ended).code, 2);
    const [, possible] = greeter.output.stderr.match(/the limit on open files allows only (\d+); raise it/) ?? [];
    return Number(possible);
  };
  const possible = await possibleOf(40) ?? NaN;
  const started = new Set<boolean>();
  // A process may have one descriptor more or less than another one.
  for (let ports = possible - 2; ports <= possible + 3; ports++) started.add(await possibleOf(ports) === undefined);
  assertEquals(started, new Set([true, false]));
});

Deno.test(needs("greeter prints a limit on open files with which all ports are possible", "sh"), async () => {
  for (const [limit, ports] of [[32, 40], [40, 40], [64, 65], [64, 400], [256, 192]] as const) {
    const listenWith = (limit: string) => {
      const options = ["-H", "127.0.0.1", "-p", Array(ports).fill(0).join(","), "--within", "0.1"];
      return run(["sh", "-c", `ulimit -n ${limit}; exec "$@"`, "sh", ...GREETER, ...options]);
    };
    const failed = await listenWith(`${limit}`);
    assertEquals([failed.code, failed.stdout], [2, ""]);
    const [, command = "", raised] = failed.stderr.match(/raise it with (ulimit -n (\d+))\n$/) ?? [];
    // Each port needs a descriptor. A few more are for connections and for the runtime.
    assert(Number(raised) > ports && Number(raised) <= ports + 100, failed.stderr);
    const { code, stdout } = await listenWith(command.replace("ulimit -n ", ""));
    assertEquals([code, stdout.includes(`(${ports} ports)`)], [0, true], stdout);
  }
});
