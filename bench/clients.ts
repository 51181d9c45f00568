/** Clients: the load generator, silent clients, and port scanners. @module */
import { onClientCore, programPath } from "./programs.ts";

/** How many silent clients connect at once. */
const HELD_AT_ONCE = 100;

/** What a run of the load generator has seen. load.c describes it. */
export interface Seen {
  /** How many clients received exactly the greeting and then end of stream, and how many did not. */
  readonly whole: number;
  readonly failed: number;
  readonly seconds: number;
  /** The time from connect to end of stream, in milliseconds: median, 99th percentile, maximum. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** The CPU time of the load generator, in seconds. */
  readonly cpu: number;
}

const PEAK_INTERVAL_MS = 100;

async function runClient(command: readonly (string | number)[], poll?: (pid: number) => void) {
  const [program = "", ...args] = [...onClientCore, ...command.map(String)];
  const child = new Deno.Command(program, { args, stdout: "piped", stderr: "piped" }).spawn();
  const timer = poll && setInterval(() => poll(child.pid), PEAK_INTERVAL_MS);
  const { stdout, stderr } = await child.output();
  clearInterval(timer);
  return { stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** Runs the load generator on a port or a range of ports. The modes are those of load.c. */
export async function load(ports: string, file: string, ...mode: (string | number)[]): Promise<Seen> {
  const { stdout, stderr } = await runClient([programPath("load.c"), ports, file, ...mode]);
  if (stdout === "") throw new Error(`the load generator has failed: ${stderr}`);
  return JSON.parse(stdout);
}

/**
 * Runs a scanner. Returns what it has printed, the time and processor time that it has used, in seconds, and its peak of
 * resident memory, in MiB. The peak is read every 100 ms, so a short run may have none.
 */
export async function measureCommand(command: readonly string[]) {
  const script = `TIMEFORMAT='{"seconds":%3R,"user":%3U,"system":%3S}'; time "$@"`;
  let peak: number | null = null;
  const { stdout, stderr } = await runClient(["bash", "-c", script, "bash", ...command], (pid) => {
    peak = peakOfChild(pid) ?? peak;
  });
  const [, errors = "", last = ""] = stderr.match(/^([^]*?)(.*)\n$/) ?? [];
  const used: { seconds: number; user: number; system: number } = JSON.parse(last);
  return { ...used, stdout, stderr: errors, peak };
}

/** The peak of the resident memory of the first child of a process, in MiB; `undefined` if there is none. */
function peakOfChild(pid: number): number | undefined {
  try {
    const [child] = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).split(" ");
    const kibibytes = Deno.readTextFileSync(`/proc/${child}/status`).match(/VmHWM:\s*(\d+)/)?.[1];
    return kibibytes === undefined ? undefined : Number(kibibytes) / 1024;
  } catch {
    return undefined; // the process has ended
  }
}

/** Holds silent connections while `during` runs. */
export async function whileHolding<T>(port: number, count: number, during: () => Promise<T>): Promise<T> {
  const held: Deno.Conn[] = [];
  try {
    for (let i = 0; i < count; i += HELD_AT_ONCE) {
      const connecting = Array.from({ length: HELD_AT_ONCE }, () => Deno.connect({ hostname: "127.0.0.1", port }));
      // A connection that is refused shows that the server has ended. Then `during` finds that out.
      for (const result of await Promise.allSettled(connecting)) {
        if (result.status === "fulfilled") held.push(result.value);
      }
    }
    return await during();
  } finally {
    for (const conn of held) conn.close();
  }
}
