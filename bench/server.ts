/** Starts a server, and reads what it uses from /proc. @module */
import { load } from "./clients.ts";
import { onServerCore, shortGreeting, sleep, workDirectory } from "./programs.ts";

/** A command that listens on a port, or a range of ports, of 127.0.0.1, and sends the content of a file. */
export type ServerCommand = (ports: string, file: string) => readonly string[];

/** A running server. */
export interface Running extends AsyncDisposable {
  readonly pid: number;
  /** The port, or the range of ports, and the last one. */
  readonly ports: string;
  readonly lastPort: number;
  /** How long it took from the start of the process to the first greeting on the last port, in milliseconds. */
  readonly startTime: number;
  /** How long a new client waits, in milliseconds; `null` if it does not receive the greeting in time. */
  wait(): Promise<number | null>;
  /** The processor time that it has used, in seconds. */
  cpu(): number;
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
  /** Whether standard output is a pipe that nobody reads, instead of a file. */
  unreadLog?: boolean;
}

const START_DEADLINE_MS = 10_000;
/** Ports are taken from here in turn, below those that Linux gives to clients. */
const FIRST_PORT = 10_000;
const END_PORT = 32_000;
let nextPort = FIRST_PORT;

/** Starts a server, and waits for the first greeting on its last port. */
export async function start(serverCommand: ServerCommand, options: StartOptions = {}): Promise<Running> {
  const { count = 1, file = shortGreeting, descriptors, unreadLog = false } = options;
  if (nextPort + count > END_PORT) nextPort = FIRST_PORT;
  const lastPort = nextPort + count - 1;
  const ports = count === 1 ? `${lastPort}` : `${nextPort}-${lastPort}`;
  nextPort += count;
  const [log, errors] = [`${workDirectory}/log`, `${workDirectory}/errors`];
  const limit = descriptors === undefined ? "" : `ulimit -n ${descriptors}; `;
  const command = [...onServerCore, ...serverCommand(ports, file)];
  const started = performance.now();
  const child = new Deno.Command("sh", {
    args: ["-c", `${limit}exec "$@" <${file} ${unreadLog ? "" : `>${log}`} 2>${errors}`, "sh", ...command],
    env: { DENO_NO_UPDATE_CHECK: "1" },
    stdin: "null",
    stdout: unreadLog ? "piped" : "null",
    stderr: "null",
  }).spawn();
  let running = true;
  const ended = child.status.then(() => running = false);
  const wait = async () => {
    const { whole, p50 } = await load(`${lastPort}`, file, "burst", 1);
    return whole === 1 ? p50 : null;
  };
  while (await wait() === null) {
    if (performance.now() - started > START_DEADLINE_MS || !running) {
      if (running) child.kill("SIGKILL");
      throw new Error(`${command.join(" ")} does not greet: ${await Deno.readTextFile(errors)}`);
    }
    await sleep(2);
  }
  const startTime = performance.now() - started;
  const proc = (name: string) => Deno.readTextFileSync(`/proc/${child.pid}/${name}`);
  return {
    ...{ pid: child.pid, ports, lastPort, startTime, wait },
    // Fields 14 and 15 of stat, in ticks of 10 ms.
    cpu: () => proc("stat").replace(/.*\) /, "").split(" ").slice(11, 13).reduce((sum, s) => sum + Number(s) / 100, 0),
    memory: () => Number(proc("status").match(/VmRSS:\s*(\d+)/)?.[1]) / 1024,
    async [Symbol.asyncDispose]() {
      if (unreadLog) await child.stdout.cancel();
      if (running) child.kill("SIGKILL");
      await ended;
    },
  };
}
