/** Starts a server, and reads what it uses from /proc. @module */
import { onServerCore, shortGreeting, sleep, workDirectory } from "./programs.ts";

/** A command that listens on a port, or a range of ports, of 127.0.0.1, and sends the content of a file. */
export type ServerCommand = (ports: string, file: string) => readonly string[];

/** A running server. */
export interface Running extends AsyncDisposable {
  readonly pid: number;
  /** The port, such as `80`, or the range of ports, such as `80-89`. */
  readonly ports: string;
  readonly lastPort: number;
  /** How long it took from the start of the process to the first greeting on the last port, in milliseconds. */
  readonly startTime: number;
  /** The CPU time that it has used, in seconds; `null` if it has ended. */
  cpu(): number | null;
  /** Its resident memory, in MiB. */
  memory(): number;
}

/** How to start a server. */
export interface StartOptions {
  /** How many ports. Default: 1. */
  count?: number;
  /** The file with the greeting. Default: the tutorial's greeting. */
  file?: string;
  /** The limit of open descriptors. Default: the system's. */
  descriptors?: number;
}

const START_DEADLINE_MS = 10_000;
const TICKS_PER_SECOND = 100; // in /proc/PID/stat
/** Ports are taken from here in turn, below those that Linux gives to clients. */
const FIRST_PORT = 10_000;
const END_PORT = 32_000;
let nextPort = FIRST_PORT;

/** Starts a server, and waits for the first greeting on its last port. */
export async function start(serverCommand: ServerCommand, options: StartOptions = {}): Promise<Running> {
  const { count = 1, file = shortGreeting, descriptors } = options;
  if (nextPort + count > END_PORT) nextPort = FIRST_PORT;
  const lastPort = nextPort + count - 1;
  const ports = count === 1 ? `${lastPort}` : `${nextPort}-${lastPort}`;
  nextPort += count;
  const errors = `${workDirectory}/errors`;
  const limit = descriptors === undefined ? "" : `ulimit -n ${descriptors}; `;
  const command = [...onServerCore, ...serverCommand(ports, file)];
  const started = performance.now();
  const child = new Deno.Command("sh", {
    args: ["-c", `${limit}exec "$@" <${file} >${workDirectory}/log 2>${errors}`, "sh", ...command],
    env: { DENO_NO_UPDATE_CHECK: "1" },
    stdin: "null",
  }).spawn();
  let running = true;
  const ended = child.status.then(() => running = false);
  const greets = () =>
    Deno.connect({ hostname: "127.0.0.1", port: lastPort }).then((conn) => new Response(conn.readable).text())
      .then((text) => text !== "", () => false);
  while (!await greets()) {
    if (performance.now() - started > START_DEADLINE_MS || !running) {
      if (running) child.kill("SIGKILL");
      throw new Error(`${command.join(" ")} does not greet: ${await Deno.readTextFile(errors)}`);
    }
    await sleep(2);
  }
  const startTime = performance.now() - started;
  const proc = (name: string) => Deno.readTextFileSync(`/proc/${child.pid}/${name}`);
  return {
    ...{ pid: child.pid, ports, lastPort, startTime },
    cpu() {
      if (!running) return null;
      const [user, system] = proc("stat").replace(/.*\) /, "").split(" ").slice(11, 13).map(Number);
      return ((user ?? 0) + (system ?? 0)) / TICKS_PER_SECOND;
    },
    memory: () => Number(proc("status").match(/VmRSS:\s*(\d+)/)?.[1]) / 1024,
    async [Symbol.asyncDispose]() {
      if (running) child.kill("SIGKILL");
      await ended;
    },
  };
}
