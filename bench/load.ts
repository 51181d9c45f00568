/**
 * The clients: one process, so that it can have a core of its own. Each checks every byte that it gets. There is no timer
 * for a connection, only one for the whole load, after which those that still wait have failed.
 *
 *     load.ts PORT BYTES MODE [NUMBER...]
 *
 * prints a line of JSON. BYTES is the greeting's length; its content is `greetingOf(BYTES)`.
 *
 * @module
 */
import { createConnection } from "node:net";

/** What a load saw. */
export interface Seen {
  /** Clients that got the whole greeting, and nothing else, and then the end of the stream. */
  whole: number;
  /** Clients that didn't. */
  failed: number;
  /** How long all took, in seconds. */
  seconds: number;
  /** How long a whole one took from its connect to its end, in milliseconds: median, 99th percentile, longest. */
  p50: number;
  p99: number;
  max: number;
}

/** The tutorial's line for its 41 bytes, and letters for any other length. */
export function greetingOf(bytes: number): Uint8Array<ArrayBuffer> {
  if (bytes === 41) return new TextEncoder().encode("Thank you for connecting to the server.\r\n");
  return Uint8Array.from({ length: bytes }, (_, i) => 97 + i % 26);
}

/** After so many milliseconds whoever still waits has failed. */
const PATIENCE = 10_000;

if (import.meta.main) {
  const [port, bytes, mode, ...numbers] = Deno.args;
  const [first = 0, second = 0] = numbers.map(Number);
  const greeting = greetingOf(Number(bytes));
  const modes: Record<string, () => Promise<Seen>> = {
    /** `load CONCURRENCY SECONDS`: so many at once, one after the other. */
    load: () => load(Number(port), greeting, first, second),
    /** `burst CLIENTS`: all at the same moment. */
    burst: () => clients(Number(port), greeting, first, []),
    /** `talkative CLIENTS`: they speak before they read, twice, and read late. */
    talkative: () => clients(Number(port), greeting, first, ["GET / HTTP/1.0\r\n", "\r\n"]),
    /** `silent CLIENTS`: they read nothing and close nothing until standard input ends. */
    silent: () => silent(Number(port), first),
    /** `reset CLIENTS`: they connect and reset at once. */
    reset: () => reset(Number(port), first),
  };
  const seen = modes[mode]();
  console.log(JSON.stringify(await seen));
  Deno.exit(); // whoever was given up on would keep the process
}

function summary(waits: number[], failed: number, started: number): Seen {
  waits.sort((a, b) => a - b);
  const at = (share: number) => waits[Math.min(waits.length - 1, Math.floor(waits.length * share))] ?? 0;
  const seconds = (performance.now() - started) / 1000;
  return { whole: waits.length, failed, seconds, p50: at(0.5), p99: at(0.99), max: at(1) };
}

/** Reads to the end. Whether that was the greeting. */
async function isWhole(conn: Deno.Conn, greeting: Uint8Array, buffer: Uint8Array): Promise<boolean> {
  let length = 0;
  let same = true;
  for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
    for (let i = 0; i < n; i++) same &&= buffer[i] === greeting[length + i];
    length += n;
  }
  return same && length === greeting.length;
}

async function load(port: number, greeting: Uint8Array, concurrency: number, seconds: number): Promise<Seen> {
  const started = performance.now();
  const end = started + seconds * 1000;
  const waits: number[] = [];
  let failed = 0;
  let underWay = 0;
  async function client() {
    const buffer = new Uint8Array(greeting.length + 1);
    while (performance.now() < end) {
      const connecting = performance.now();
      underWay++;
      try {
        const conn = await Deno.connect({ hostname: "127.0.0.1", port });
        if (await isWhole(conn, greeting, buffer)) waits.push(performance.now() - connecting);
        else failed++;
        conn.close();
      } catch (error) {
        failed++;
        if (error instanceof Deno.errors.ConnectionRefused) return; // it's dead
      } finally {
        underWay--;
      }
    }
  }
  await patiently(Promise.all(Array.from({ length: concurrency }, client)), seconds * 1000);
  return summary(waits, failed + underWay, started);
}

async function clients(port: number, greeting: Uint8Array, count: number, says: string[]): Promise<Seen> {
  const started = performance.now();
  const waits: number[] = [];
  async function client() {
    try {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port });
      for (const text of says) {
        await conn.write(new TextEncoder().encode(text));
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      if (await isWhole(conn, greeting, new Uint8Array(greeting.length + 1))) waits.push(performance.now() - started);
      conn.close();
    } catch {
      // Reset, refused, or cut: it isn't whole.
    }
  }
  await patiently(Promise.all(Array.from({ length: count }, client)));
  return summary(waits, count - waits.length, started);
}

async function silent(port: number, count: number): Promise<Seen> {
  const started = performance.now();
  const held: Deno.Conn[] = [];
  const connect = async () => held.push(await Deno.connect({ hostname: "127.0.0.1", port }));
  // A few at a time, so that no backlog is too short for them.
  const some = async () => {
    for (let i = 0; i < count / 8; i++) await connect().catch(() => {});
  };
  await patiently(Promise.all(Array.from({ length: 8 }, some)));
  console.log(JSON.stringify(summary(held.map(() => 0), count - held.length, started)));
  for await (const _ of Deno.stdin.readable);
  Deno.exit();
}

async function reset(port: number, count: number): Promise<Seen> {
  const started = performance.now();
  const waits: number[] = [];
  let left = count;
  const connect = () =>
    new Promise<void>((resolve) => {
      const socket = createConnection(port, "127.0.0.1");
      socket.on("connect", () => {
        waits.push(0);
        socket.resetAndDestroy();
      });
      socket.on("error", () => {});
      socket.on("close", () => resolve());
    });
  const some = async () => {
    while (left-- > 0) await connect();
  };
  await patiently(Promise.all(Array.from({ length: 64 }, some)));
  return summary(waits, count - waits.length, started);
}

/** Waits for it, but not for ever. */
async function patiently(done: Promise<unknown>, more = 0) {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, PATIENCE + more);
  await Promise.race([done, late]);
  clearTimeout(timer);
}
