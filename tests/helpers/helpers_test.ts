import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { needs } from "./needs.ts";
import { freePort, freePorts } from "./ports.ts";
import { run, spawn } from "./processes.ts";
import { until, within } from "./waiting.ts";

/** Runs a command that writes the number of a process to a file, and does not end. Returns the number. */
async function pidFromEndless(start: string): Promise<string> {
  const file = await Deno.makeTempFile();
  // The deadline is long enough for the number to be written on a busy machine.
  await assertRejects(() => run(["sh", "-c", `${start} & echo $! > ${file}; wait`], {}, 5000), Error, "did not end");
  const pid = (await Deno.readTextFile(file)).trim();
  assertMatch(pid, /^\d+$/);
  await Deno.remove(file);
  return pid;
}

/** Whether a process runs. One that has ended is a zombie until its parent asks for its status. */
async function isRunning(pid: string): Promise<boolean> {
  return /^[^Z]/.test((await run(["ps", "-o", "stat=", "-p", pid])).stdout.trim());
}

// Each file of tests has its own copy of the helpers.
const copies: (typeof import("./ports.ts"))[] = await Promise.all(
  Array.from({ length: 20 }, (_, n) => import(`./ports.ts?${n}`)),
);

Deno.test(
  needs("run() ends a command at its deadline with all that it has started", "sh", "ps"),
  async () => {
    const pid = await within(pidFromEndless("sleep 600"));
    await until(async () => !await isRunning(pid));
  },
);

Deno.test(
  needs("run() does not wait for processes that have left its group", "sh", "setsid"),
  async () => {
    const pid = await within(pidFromEndless("setsid sleep 600"));
    assertEquals((await run(["kill", "-KILL", pid])).code, 0);
  },
);

Deno.test(needs("a process has no colors unless a test asks for them", "sh"), async () => {
  const command = ["sh", "-c", "echo $NO_COLOR"];
  assertEquals((await run(command)).stdout, "1\n");
  await using process = spawn(command, { env: { NO_COLOR: "" } });
  await process.ended;
  assertEquals(process.output.stdout, "\n");
});

Deno.test("freePort() returns different ports of one block, which no other file gets at the same time", () => {
  const ports = freePorts(100);
  const blockOf = (port: number) => port - (port - 24_000) % 128;
  const block = blockOf(freePort());
  assertEquals([new Set(ports).size, new Set(ports.map(blockOf))], [100, new Set([block])]);
  const blocks = copies.map((copy) => blockOf(copy.freePort()));
  assertEquals(new Set([block, ...blocks]).size, 21);
});
