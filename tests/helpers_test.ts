import { assertEquals, assertRejects } from "@std/assert";
import { DEADLINE_MS, freePort, freePorts, needsPrograms, run, spawn, until, within } from "./helpers.ts";

/** Whether a process runs. One that has ended is a zombie until its parent asks for its status. */
async function isRunning(pid: string): Promise<boolean> {
  return /^[^Z]/.test((await run(["ps", "-o", "stat=", "-p", pid])).stdout.trim());
}

// Each file of tests has its own copy of the helpers.
const copies: (typeof import("./helpers.ts"))[] = await Promise.all([1, 2, 3].map((n) => import(`./helpers.ts?${n}`)));

Deno.test(
  "run() ends a command at its deadline with all that it has started (needs sh and ps)",
  needsPrograms("sh", "ps"),
  async () => {
    const file = await Deno.makeTempFile();
    const command = ["sh", "-c", `sleep ${DEADLINE_MS} & echo $! > ${file}; wait`];
    await assertRejects(() => within(run(command, {}, 500)), Error, "did not end");
    const pid = (await Deno.readTextFile(file)).trim();
    await until(async () => !await isRunning(pid));
    await Deno.remove(file);
  },
);

Deno.test(
  "run() does not wait for processes that have left its group (needs setsid)",
  needsPrograms("setsid"),
  async () => {
    const file = await Deno.makeTempFile();
    const command = ["sh", "-c", `setsid sleep ${DEADLINE_MS} & echo $! > ${file}; wait`];
    await assertRejects(() => within(run(command, {}, 500)), Error, "did not end");
    const pid = (await Deno.readTextFile(file)).trim();
    assertEquals((await run(["kill", "-KILL", pid])).code, 0);
    await Deno.remove(file);
  },
);

Deno.test("a process has no colors unless a test asks for them (needs sh)", needsPrograms("sh"), async () => {
  const command = ["sh", "-c", "echo $NO_COLOR"];
  assertEquals((await run(command)).stdout, "1\n");
  await using process = spawn(command, { env: { NO_COLOR: "" } });
  await process.ended;
  assertEquals(process.output.stdout, "\n");
});

Deno.test("freePort() returns different ports of one block, which no other file gets at the same time", () => {
  const ports = freePorts(127);
  const blockOf = (port: number) => port - (port - 24_000) % 128;
  const block = blockOf(freePort());
  assertEquals([new Set(ports).size, new Set(ports.map(blockOf))], [127, new Set([block])]);
  const blocks = copies.map((copy) => blockOf(copy.freePort()));
  assertEquals(new Set([block, ...blocks]).size, 4);
});
