/**
 * Tests of which clients `greeter` greets, how many, and for how long: `--allow`, `--ignore`, `--count`, `--within`,
 * `--timeout`, `--max-connections`.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { DEFAULTS } from "../../server.ts";
import { greetingFrom, isRefused } from "../helpers/clients.ts";
import { needs } from "../helpers/needs.ts";
import { freePort } from "../helpers/ports.ts";
import { GREETER, LOCAL, portOf, run, spawn } from "../helpers/processes.ts";
import { until } from "../helpers/waiting.ts";

Deno.test("greeter accepts --timeout, --max-connections and --backlog", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "-t", "0.2", "-m", "1", "--backlog", "16"]);
  const port = await portOf(greeter);
  const holder = await Deno.connect({ hostname: "127.0.0.1", port });
  assertEquals(await greetingFrom(port), DEFAULTS.greeting);
  holder.close();
  const silent = await Deno.connect({ hostname: "127.0.0.1", port });
  // Writing fails when the timeout has closed the connection.
  await until(() => silent.write(new Uint8Array(1)).then(() => false, () => true));
  silent.close();
});

Deno.test("greeter --count exits 0 after N greetings", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--count", "3", "--within", "600"]);
  const port = await portOf(greeter);
  const clients = await Promise.allSettled(Array.from({ length: 20 }, () => greetingFrom(port)));
  const greeted = clients.filter(({ status, ...result }) =>
    status === "fulfilled" && "value" in result && result.value === DEFAULTS.greeting
  );
  assertEquals([greeted.length, (await greeter.ended).code, greeter.output.stderr], [3, 0, ""]);
  assertMatch(greeter.output.stdout, /\nStopped: 3 greetings, /);
});

Deno.test("greeter --within exits 0 without --count, and 1 if --count was not reached", async () => {
  const { code, stdout } = await run([...GREETER, ...LOCAL, "--within", "0.1"]);
  assertEquals(code, 0);
  assertMatch(stdout, /\nStopped: 0 greetings, /);
  assertEquals(await run([...GREETER, ...LOCAL, "--quiet", "--within", "0.1", "--count", "3"]), {
    code: 1,
    signal: null,
    stdout: "",
    stderr: "greeter: stopped before --count was reached: 0 of 3 clients were greeted\n",
  });
});

Deno.test(needs("greeter exits 1 if a signal comes before --count is reached", "signals"), async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--count", "2"]);
  assertEquals(await greetingFrom(await portOf(greeter)), DEFAULTS.greeting);
  greeter.child.kill("SIGTERM");
  assertEquals((await greeter.ended).code, 1);
  assertMatch(greeter.output.stdout, /\nStopped: 1 greeting, /);
  assertEquals(greeter.output.stderr, "greeter: stopped before --count was reached: 1 of 2 clients were greeted\n");
});

Deno.test("greeter --allow refuses other clients", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--allow", "192.0.2.0/24", "--within", "3"]);
  assertEquals(await greetingFrom(await portOf(greeter)), "");
  await greeter.ended;
  assertMatch(
    greeter.output.stdout,
    /\nDenied connection from 127\.0\.0\.1:\d+ on port \d+\nStopped: 0 greetings, 1 denied, /,
  );
});

Deno.test("greeter --allow accepts a network with host bits", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--allow", "127.9.9.9/8", "--count", "1"]);
  assertEquals(await greetingFrom(await portOf(greeter)), DEFAULTS.greeting);
  assertEquals((await greeter.ended).code, 0);
});

Deno.test("greeter --count applies to each port, and the ports that did not reach it are named", async () => {
  const [first, second] = [freePort(), freePort()];
  const command = [...GREETER, "-H", "127.0.0.1", "-p", `${first},${second}`, "--count", "2", "--within"];
  {
    await using greeter = spawn([...command, "600"]);
    await until(() => greeter.output.stdout.includes("\n"));
    for (const port of [first, first, second, second]) assertEquals(await greetingFrom(port), DEFAULTS.greeting);
    assertEquals([(await greeter.ended).code, greeter.output.stderr], [0, ""]);
  }
  await using greeter = spawn([...command, "5"]);
  await until(() => greeter.output.stdout.includes("\n"));
  for (const port of [first, first, second]) assertEquals(await greetingFrom(port), DEFAULTS.greeting);
  // A port that has reached its count refuses new clients.
  await until(() => isRefused(first));
  assertEquals((await greeter.ended).code, 1);
  assertEquals(
    greeter.output.stderr,
    `greeter: stopped before --count was reached: too few clients were greeted on port ${second}\n`,
  );
});

Deno.test(
  needs("greeter --ignore greets clients without logging or counting them", "signals"),
  async () => {
    await using greeter = spawn([...GREETER, ...LOCAL, "--ignore", "127.0.0.0/8", "--count", "1"]);
    const port = await portOf(greeter);
    for (let i = 0; i < 3; i++) assertEquals(await greetingFrom(port), DEFAULTS.greeting);
    greeter.child.kill("SIGTERM");
    assertEquals((await greeter.ended).code, 1);
    assertMatch(greeter.output.stdout, /^Listening on .*\nStopped: 0 greetings, 0 denied, .*\n$/);
  },
);
