/**
 * Tests of how `greeter` ends on signals: with and without a terminal, and while it reads standard input.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { DEFAULTS } from "../../server.ts";
import { GREETING_BYTES, greetingFrom, isRefused, readBytes } from "../helpers/clients.ts";
import { inNamespace } from "../helpers/namespaces.ts";
import { needs } from "../helpers/needs.ts";
import { freePort } from "../helpers/ports.ts";
import { GREETER, LOCAL, portOf, run, signalUntilEnded, spawn, stop } from "../helpers/processes.ts";
import { until } from "../helpers/waiting.ts";

/** Whether a thread of a process waits for input from a pipe. */
async function readsPipe(pid: number): Promise<boolean> {
  const tasks = await Array.fromAsync(Deno.readDir(`/proc/${pid}/task`));
  const places = tasks.map(({ name }) => Deno.readTextFile(`/proc/${pid}/task/${name}/wchan`).catch(() => ""));
  return (await Promise.all(places)).some((place) => place.includes("pipe_read"));
}

Deno.test(
  needs("greeter --stdin ignores SIGHUP, and ends on a signal, while it reads standard input", "/proc", "root"),
  async () => {
    for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
      await using greeter = spawn([...GREETER, ...LOCAL, "--stdin"], { stdin: "piped" });
      await until(() => readsPipe(greeter.child.pid));
      greeter.child.kill("SIGHUP");
      greeter.child.kill(signal);
      assertEquals([(await greeter.ended).code, greeter.output], [status, { stdout: "", stderr: "" }]);
      await greeter.child.stdin.abort().catch(() => {}); // the pipe has no reader anymore
    }
  },
);

const asProcess1 = ["unshare", "--fork", "--pid", "--mount-proc"];

Deno.test(
  needs(
    "greeter --stdin ends on a signal as process 1 while it reads standard input",
    inNamespace(""),
    "root",
  ),
  async () => {
    for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
      await using greeter = spawn([...asProcess1, ...GREETER, ...LOCAL, "--stdin"], { stdin: "piped" });
      const { pid } = greeter.child;
      let child = 0;
      await until(async () => {
        child = Number(await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`));
        return child > 0 && await readsPipe(child);
      });
      Deno.kill(child, signal);
      assertEquals([(await greeter.ended).code, greeter.output], [status, { stdout: "", stderr: "" }]);
      await greeter.child.stdin.abort().catch(() => {}); // the pipe has no reader anymore
    }
  },
);

Deno.test(needs("greeter stops on SIGINT", "signals"), async () => {
  await using greeter = spawn([...GREETER, ...LOCAL]);
  await portOf(greeter);
  greeter.child.kill("SIGINT");
  assertEquals((await greeter.ended).code, 0);
  assertMatch(greeter.output.stdout, /Stopped: 0 greetings, 0 denied, 0 bytes received in \d+ms\n$/);
});

Deno.test(needs("greeter exits 130 or 143 on a second signal", "signals"), async () => {
  for (const [signal, expected] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    await using greeter = spawn([...GREETER, ...LOCAL]);
    const port = await portOf(greeter);
    // A silent client makes the shutdown after the first signal last as long as possible.
    using _holder = await Deno.connect({ hostname: "127.0.0.1", port });
    await until(() => greeter.output.stdout.includes("Received"));
    greeter.child.kill("SIGTERM");
    // The kernel merges two SIGTERMs if the first has not been handled yet. So wait until the port is closed.
    await until(() => isRefused(port));
    // Signals within 100 ms after the first one are ignored as copies of it.
    await signalUntilEnded(greeter, () => greeter.child.kill(signal));
    assertEquals((await greeter.ended).code, expected);
    assert(!greeter.output.stdout.includes("Stopped"));
  }
});

Deno.test(
  needs("greeter stops gracefully if two signals arrive at once, as Ctrl-C does under deno task", "signals"),
  async () => {
    await using greeter = spawn([...GREETER, ...LOCAL]);
    using _holder = await Deno.connect({ hostname: "127.0.0.1", port: await portOf(greeter) });
    await until(() => greeter.output.stdout.includes("Received"));
    greeter.child.kill("SIGINT");
    // Not SIGINT again, which the kernel would merge with the first one while that is not handled.
    await stop(greeter);
    assertStringIncludes(greeter.output.stdout, "\nStopped: 1 greeting");
  },
);

Deno.test(
  needs("greeter ignores SIGHUP without a terminal, as under nohup", "nohup"),
  async () => {
    const directory = await Deno.makeTempDir();
    for (const nohup of [["nohup"], []]) {
      await using greeter = spawn([...nohup, ...GREETER, ...LOCAL], { cwd: directory });
      const port = await portOf(greeter);
      greeter.child.kill("SIGHUP");
      for (let i = 0; i < 3; i++) assertEquals(await greetingFrom(port), DEFAULTS.greeting);
      greeter.child.kill("SIGTERM");
      assertEquals((await greeter.ended).code, 0);
      assertMatch(greeter.output.stdout, /\nStopped: 3 greetings, /);
    }
    await Deno.remove(directory, { recursive: true });
  },
);

Deno.test(
  needs("greeter stops on SIGHUP if a stream is a terminal, and exits 129 on a second one", "script"),
  async () => {
    const directory = await Deno.makeTempDir();
    // In the last two, only standard output or only standard error is a terminal.
    for (
      const [signals, redirects] of [
        [1, ""],
        [2, ""],
        [1, "< /dev/null 2> /dev/null"],
        [1, "< /dev/null > /dev/null"],
      ] as const
    ) {
      const pidFile = `${directory}/pid`;
      const port = freePort();
      const words = [...GREETER, "-H", "127.0.0.1", "-p", `${port}`].map((word) => `'${word}'`).join(" ");
      await using terminal = spawn(["script", "-qec", `echo $$ > ${pidFile}; exec ${words} ${redirects}`, "/dev/null"]);
      await until(async () => !await isRefused(port));
      const pid = Number(await Deno.readTextFile(pidFile));
      // A silent client makes the shutdown last for a second.
      using holder = await Deno.connect({ hostname: "127.0.0.1", port });
      await readBytes(holder, GREETING_BYTES);
      Deno.kill(pid, "SIGHUP");
      await until(() => isRefused(port));
      if (signals === 2) await signalUntilEnded(terminal, () => Deno.kill(pid, "SIGHUP"));
      else holder.close();
      assertEquals((await terminal.ended).code, signals === 2 ? 129 : 0);
      assertEquals(terminal.output.stdout.includes("Stopped: "), signals === 1 && !redirects.includes(" > "));
    }
    await Deno.remove(directory, { recursive: true });
  },
);

Deno.test(needs("greeter stops when its terminal is closed", "tmux"), async () => {
  const directory = await Deno.makeTempDir();
  const tmux = ["tmux", "-S", `${directory}/socket`];
  const words = [...GREETER, ...LOCAL].map((word) => `'${word}'`).join(" ");
  // The log goes to a file. Standard input is the terminal.
  const start = ["-f", "/dev/null", "new-session", "-d", `exec ${words} > ${directory}/log 2>&1`];
  assertEquals((await run([...tmux, ...start])).code, 0);
  const log = () => Deno.readTextFile(`${directory}/log`).catch(() => "");
  await until(async () => (await log()).includes("Listening"));
  await run([...tmux, "kill-server"]);
  await until(async () => (await log()).includes("\nStopped: "));
  await Deno.remove(directory, { recursive: true });
});
