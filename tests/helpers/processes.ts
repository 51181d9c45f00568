/**
 * Processes: greeter and other commands.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { isLinux } from "./needs.ts";
import { DEADLINE_MS, until, within } from "./waiting.ts";

/** The executable in GREETER_BINARY, if set. The tests of the command then run it instead of main.ts. */
export const BINARY: string | undefined = Deno.env.has("GREETER_BINARY")
  ? Deno.realPathSync(Deno.env.get("GREETER_BINARY") ?? "")
  : undefined;

/** The directory of this checkout. */
export const ROOT = `${import.meta.dirname}/../..`;

/** `main.ts` of this checkout. */
export const MAIN = `${ROOT}/main.ts`;

/** The command that runs main.ts, without the network permission. It has the V8 flag of `deno task start`. */
export const DENO_RUN = [Deno.execPath(), "run", "--no-prompt", "--v8-flags=--max-semi-space-size=8"];

/** The greeter command. */
export const GREETER = BINARY ? [BINARY] : [...DENO_RUN, "--allow-net", MAIN];

/** Options that make greeter listen on a free port of the loopback interface. */
export const LOCAL = ["--host", "127.0.0.1", "--port", "0"];

/** A process whose output is collected. It is killed at the end of its scope if it has not ended. */
export interface Process extends AsyncDisposable {
  /** The process. */
  child: Deno.ChildProcess;
  /** What the process has printed so far. */
  output: { stdout: string; stderr: string };
  /** The status of the process when it has ended and its output is complete. Each access waits at most for the deadline. */
  readonly ended: Promise<Deno.CommandStatus>;
  /** Kills the process, and its group if it is `detached`. Has no effect if it has already ended. */
  kill(): void;
}

/** The environment of a process that may download packages. `spawn()` passes on no certificates unless `options` have them. */
export const DOWNLOAD_ENV = { NODE_EXTRA_CA_CERTS: Deno.env.get("NODE_EXTRA_CA_CERTS") ?? "" };

/** Starts a process. It has no standard input and no colors unless `options` say otherwise. */
export function start(command: readonly string[], options: Deno.CommandOptions = {}): Deno.ChildProcess {
  const [program = "", ...args] = command;
  // Deno would print a warning if it could not read this file because no descriptor is left.
  const env = { NODE_EXTRA_CA_CERTS: "", NO_COLOR: "1", ...options.env };
  return new Deno.Command(program, { args, stdin: "null", stdout: "piped", stderr: "piped", ...options, env }).spawn();
}

/** Starts a process as {@linkcode start} does, and collects its output. `ms` is the deadline for its end. */
export function spawn(
  command: readonly string[],
  options: Deno.CommandOptions = {},
  ms: number = DEADLINE_MS,
): Process {
  const child = start(command, options);
  const output = { stdout: "", stderr: "" };
  const readers = { stdout: child.stdout.getReader(), stderr: child.stderr.getReader() };
  const collect = async (stream: "stdout" | "stderr") => {
    const decoder = new TextDecoder();
    for (let chunk = await readers[stream].read(); !chunk.done; chunk = await readers[stream].read()) {
      output[stream] += decoder.decode(chunk.value, { stream: true });
    }
  };
  let hasEnded = false;
  const ended = Promise.all([child.status, collect("stdout"), collect("stderr")]).then(([status]) => {
    hasEnded = true;
    return status;
  });
  const kill = () => {
    try {
      if (options.detached && Deno.build.os !== "windows") Deno.kill(-child.pid, "SIGKILL");
      else child.kill("SIGKILL");
    } catch {
      // The process has ended, although its status may not have been delivered yet.
    }
  };
  return {
    child,
    output,
    get ended() {
      return within(ended, ms).catch((cause) => {
        throw new Error(`${command.join(" ")} did not end: ${output.stdout}${output.stderr}`, { cause });
      });
    },
    kill,
    async [Symbol.asyncDispose]() {
      if (hasEnded) return;
      kill();
      // A process that has left the group may keep the pipes open.
      await Promise.all([readers.stdout.cancel(), readers.stderr.cancel()]);
      await ended;
    },
  };
}

/**
 * Runs a command until it ends. If it does not end within `ms` milliseconds, this fails, and kills the process group of the
 * command. On Windows, it kills only the command.
 */
export async function run(
  command: readonly string[],
  options?: Deno.CommandOptions,
  ms?: number,
): Promise<{ code: number; signal: Deno.Signal | null; stdout: string; stderr: string }> {
  // In a process group of its own, which can be killed as a whole.
  await using process = spawn(command, { ...options, detached: Deno.build.os !== "windows" }, ms);
  const { code, signal } = await process.ended;
  return { code, signal, ...process.output };
}

/** The dynamic loader and the libraries of the executable, as `ldd` prints them. */
export async function librariesOfBinary(): Promise<string[]> {
  const { stdout } = await run(["ldd", BINARY ?? ""]);
  return [...stdout.matchAll(/(?<= |\t)\/\S+/g)].map(([path]) => path);
}

/** Removes the warnings that processes with the runtime of Deno 2.6 print when they resolve a name. */
export function withoutWarning(stderr: string): string {
  return stderr.replace(/^\(node:\d+\) \[DEP0040\].*\n(\(Use .*\n)?/gm, "");
}

/** Waits until greeter has logged the port that it listens on, and returns the port. */
export async function portOf({ output }: Process): Promise<number> {
  await until(() => output.stdout.includes("\n") || output.stderr !== "");
  const [, port] = output.stdout.match(/^Listening on .*:(\d+)\n/) ?? [];
  assert(port, `greeter does not listen: ${output.stdout}${output.stderr}`);
  return Number(port);
}

/** The rows of a log in JSON. */
export function rows({ output }: Process): Record<string, unknown>[] {
  return output.stdout.split("\n").slice(0, -1).map((line) => JSON.parse(line));
}

/** Sends SIGTERM to greeter, and asserts that it exits 0 without an error. */
export async function stop(greeter: Process) {
  greeter.child.kill("SIGTERM");
  const { code } = await greeter.ended;
  assertEquals([code, greeter.output.stderr], [0, ""]);
}

/** Calls `send`, which sends a signal, repeatedly until the process has ended. */
export async function signalUntilEnded({ ended }: Process, send: () => void) {
  let running = true;
  ended.finally(() => running = false);
  await until(() => {
    try {
      if (running) send();
    } catch {
      // The process has ended, but its output is not complete yet.
    }
    return !running;
  });
}

/** Returns how many descriptors a process has open, or 0 where there is no `/proc`. */
export async function descriptors({ child }: Process): Promise<number> {
  return isLinux ? (await Array.fromAsync(Deno.readDir(`/proc/${child.pid}/fd`))).length : 0;
}
