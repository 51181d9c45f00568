/**
 * The processes of a measurement: the server on one core, and the load generator on another.
 *
 * @module
 */
import type { Server } from "./peers.ts";
import type { Seen } from "./results.ts";

const here = import.meta.dirname ?? ".";

/** A directory for what the benchmark builds and writes. It is removed at the end. */
export const work = await Deno.makeTempDir();

/** The greetings are passed to the servers as files. */
export const shortGreeting = `${work}/short`;
export const longGreeting = `${work}/long`;
await Deno.writeTextFile(shortGreeting, "Thank you for connecting to the server.\r\n");
await Deno.writeFile(longGreeting, Uint8Array.from({ length: 16_000 }, (_, i) => 97 + i % 26));

/** Whether a program is in PATH. */
export function has(program: string): boolean {
  return new Deno.Command("sh", { args: ["-c", `command -v ${program}`], stdout: "null" }).outputSync().success;
}

/** Compiles a C source of this directory. Returns the path of the executable. */
export async function compileC(source: string): Promise<string> {
  const output = `${work}/${source.replace(/.*\/|\.c$/g, "")}`;
  const args = ["-O2", "-Wall", "-Wextra", "-o", output, `${here}/${source}`];
  const { success } = await new Deno.Command("cc", { args, stderr: "inherit" }).output();
  if (!success) throw new Error(`cc cannot compile ${source}`);
  return output;
}

if (!has("cc")) {
  console.error("bench: cannot build the load generator: there is no C compiler (cc); install one");
  Deno.exit(2);
}
const loadGenerator = await compileC("load.c");

/** Whether the server and the clients have a core each. */
export const pinned = has("taskset") && navigator.hardwareConcurrency > 1;
const onCore = (core: number) => pinned ? ["taskset", "-c", `${core}`] : [];

/** A server that runs. */
export interface Running extends AsyncDisposable {
  port: number;
  alive(): boolean;
  /** The processor time that it and its children have used, in seconds. */
  cpu(): number;
  /** The resident memory of it and its children, in bytes. */
  memory(): number;
}

/** How to start a server. */
interface StartOptions {
  /** The file with the greeting. Default: the tutorial's greeting. */
  file?: string;
  /** The limit of open descriptors. Default: the system's. */
  descriptors?: number;
  /** Whether standard output is a pipe that nobody reads, instead of a file. */
  unreadLog?: boolean;
}

/** Starts a server, and waits for its first greeting. */
export async function start(
  command: Server["command"],
  { file = shortGreeting, descriptors = 0, unreadLog = false }: StartOptions = {},
): Promise<Running> {
  const port = freePort();
  const limit = descriptors > 0 ? `ulimit -n ${descriptors}; ` : "";
  const output = unreadLog ? "" : `>>${work}/log`;
  const child = new Deno.Command("sh", {
    args: ["-c", `${limit}exec "$@" <${file} ${output} 2>>${work}/errors`, "sh", ...onCore(0), ...command(port, file)],
    stdin: "null",
    stdout: unreadLog ? "piped" : "null",
    stderr: "null",
  }).spawn();
  let running = true;
  const ended = child.status.then(() => running = false);
  const deadline = performance.now() + 10_000;
  while (await waitForGreeting(port, file) === null) {
    if (performance.now() > deadline || !running) throw new Error(`${command(port, file).join(" ")} does not greet`);
    await sleep(2);
  }
  return {
    port,
    alive: () => running,
    cpu: () => running ? cpuOf(child.pid) : NaN,
    memory: () => running ? memoryOf(child.pid) : NaN,
    async [Symbol.asyncDispose]() {
      if (unreadLog) await child.stdout.cancel();
      if (running) child.kill("SIGKILL");
      await ended;
    },
  };
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Waits for so many milliseconds. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** How long a new client waits for the whole greeting, in milliseconds; `null` if it is not greeted within 5 s. */
export async function waitForGreeting(port: number, file = shortGreeting): Promise<number | null> {
  const started = performance.now();
  const expected = await Deno.readFile(file);
  let conn: Deno.TcpConn;
  try {
    conn = await Deno.connect({ hostname: "127.0.0.1", port });
  } catch {
    return null; // the server does not listen (yet)
  }
  const timer = setTimeout(() => conn.close(), 5000);
  const received = new Uint8Array(expected.length);
  let length = 0;
  try {
    while (length < expected.length) {
      const count = await conn.read(received.subarray(length));
      if (count === null) return null;
      length += count;
    }
    conn.close();
  } catch {
    return null; // reset, or closed by the timer
  } finally {
    clearTimeout(timer);
  }
  return received.every((byte, i) => byte === expected[i]) ? performance.now() - started : null;
}

/** Fields 14 to 17 of /proc/PID/stat, in ticks of 10 ms. Children count when they have ended. */
function cpuOf(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const times = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 15).map(Number);
  return times.reduce((sum, ticks) => sum + ticks) / 100;
}

function memoryOf(pid: number): number {
  try {
    const [, kilobytes = 0] = Deno.readTextFileSync(`/proc/${pid}/status`).match(/VmRSS:\s*(\d+)/) ?? [];
    const children = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean);
    return children.reduce((sum, child) => sum + memoryOf(Number(child)), Number(kilobytes) * 1024);
  } catch {
    return 0; // a child that has ended
  }
}

function spawnLoad(port: number, file: string, mode: readonly (string | number)[]): Deno.ChildProcess {
  const [program = "", ...args] = [...onCore(1), loadGenerator, `${port}`, file, ...mode.map(String)];
  return new Deno.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "inherit" }).spawn();
}

/** Runs the load generator; load.c has its modes. */
export async function load(port: number, file: string, ...mode: (string | number)[]): Promise<Seen> {
  const child = spawnLoad(port, file, mode);
  await child.stdin.close();
  const seen: Seen = await new Response(child.stdout).json();
  await child.status;
  return seen;
}

/** Holds silent connections while `during` runs. */
export async function holding<T>(port: number, count: number, during: () => Promise<T>): Promise<T> {
  const child = spawnLoad(port, shortGreeting, ["silent", count]);
  const reader = child.stdout.getReader();
  await reader.read();
  try {
    return await during();
  } finally {
    await child.stdin.close();
    while (!(await reader.read()).done);
    await child.status;
  }
}
