/**
 * Clients: the load generator, and a single client.
 *
 * @module
 */
import type { Seen } from "../results.ts";
import { compileC, onClientCore, shortGreeting } from "./programs.ts";

let loadGenerator: Promise<string> | undefined;

/** Which clients the load generator has. load.c describes them. */
type Mode =
  | readonly ["load", concurrency: number, seconds: number]
  | readonly ["burst" | "talkative" | "silent" | "reset", clients: number];

async function spawnLoad(ports: string, file: string, mode: Mode): Promise<Deno.ChildProcess> {
  loadGenerator ??= compileC(new URL("load.c", import.meta.url));
  const [program = "", ...args] = [...onClientCore, await loadGenerator, ports, file, ...mode.map(String)];
  return new Deno.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "inherit" }).spawn();
}

/** Runs the load generator on a port or a range of ports. */
export async function load(ports: string, file: string, ...mode: Mode): Promise<Seen> {
  const child = await spawnLoad(ports, file, mode);
  await child.stdin.close();
  const seen: Seen = await new Response(child.stdout).json();
  await child.status;
  return seen;
}

/** Holds silent connections while `during` runs. */
export async function holding<T>(ports: string, count: number, during: () => Promise<T>): Promise<T> {
  const child = await spawnLoad(ports, shortGreeting, ["silent", count]);
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
