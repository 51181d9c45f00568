/**
 * Runs a server on its own core, and reads from /proc what it uses.
 *
 * @module
 */
import { waitForGreeting } from "./load.ts";
import { freePort } from "./ports.ts";
import { onServerCore, shortGreeting, sleep, workDirectory } from "./programs.ts";

/** A command that listens on a port, or a range of ports, of 127.0.0.1, and sends the content of a file. */
export type ServerCommand = (ports: string, file: string) => readonly string[];

/** A running server. */
export interface Running extends AsyncDisposable {
  /** The port, or the range of ports. */
  readonly ports: string;
  /** How long it took from the start of the process to the first greeting, in milliseconds. */
  readonly startTime: number;
  /** Returns how long a new client waits, like {@linkcode waitForGreeting}. */
  wait(): Promise<number | null>;
  alive(): boolean;
  /** The processor time that it and its children have used, in seconds; `null` if it has ended. */
  cpu(): number | null;
  /** The resident memory of it and its children, in bytes; `null` if it has ended. */
  memory(): number | null;
}

/** How to start a server. */
export interface StartOptions {
  /** The port, or the range of ports. Default: a free port. */
  ports?: string;
  /** The file with the greeting. Default: the tutorial's greeting. */
  file?: string;
  /** The limit of open descriptors. Default: the system's. */
  descriptors?: number;
  /** Whether standard output is a pipe that nobody reads, instead of a file. */
  unreadLog?: boolean;
  /** The words before the command that run it in a network namespace. */
  enter?: readonly string[];
}

/** Starts a server, and waits for the first greeting on its last port; in a network namespace, for its log. */
export async function start(serverCommand: ServerCommand, options: StartOptions = {}): Promise<Running> {
  const { ports = `${freePort()}`, file = shortGreeting, descriptors = 0, unreadLog = false, enter = [] } = options;
  const lastPort = Number(ports.replace(/.*-/, ""));
  const limit = descriptors > 0 ? `ulimit -n ${descriptors}; ` : "";
  const [log, errors] = [`${workDirectory}/log`, `${workDirectory}/errors`];
  for (const path of [log, errors]) await Deno.writeTextFile(path, "");
  const command = [...enter, ...onServerCore, ...serverCommand(ports, file)];
  const started = performance.now();
  const child = new Deno.Command("sh", {
    args: ["-c", `${limit}exec "$@" <${file} ${unreadLog ? "" : `>>${log}`} 2>>${errors}`, "sh", ...command],
    stdin: "null",
    stdout: unreadLog ? "piped" : "null",
    stderr: "null",
  }).spawn();
  let running = true;
  const ended = child.status.then(() => running = false);
  const isReady = enter.length > 0
    ? async () => (await Deno.readTextFile(log)).startsWith("Listening on ")
    : async () => await waitForGreeting(lastPort, file) !== null;
  while (!await isReady()) {
    if (performance.now() - started > 10_000 || !running) {
      if (running) child.kill("SIGKILL");
      throw new Error(`${command.join(" ")} does not greet: ${await Deno.readTextFile(errors)}`);
    }
    await sleep(2);
  }
  return {
    ports,
    startTime: performance.now() - started,
    wait: () => waitForGreeting(lastPort, file),
    alive: () => running,
    cpu: () => running ? cpuOf(child.pid) : null,
    memory: () => running ? memoryOf(child.pid) : null,
    async [Symbol.asyncDispose]() {
      if (unreadLog) await child.stdout.cancel();
      if (running) child.kill("SIGKILL");
      await ended;
    },
  };
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
