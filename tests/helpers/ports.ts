/**
 * Ports that stay free until a test uses them.
 *
 * @module
 */
import { DEADLINE_MS, delay } from "./waiting.ts";

const PORTS_PER_FILE = 128;

/**
 * A block of ports from 24000 to 32703, which no other file has at the same time. It is reserved as long as this file
 * listens on its first port. Files run at the same time, so two of them could find the same port free. There are no
 * ephemeral ports in this range (Linux: from 32768 on), which could be assigned to another test before they are used.
 */
const portBlock = await reservePorts();

async function reservePorts(): Promise<Deno.TcpListener> {
  for (const deadline = performance.now() + DEADLINE_MS;;) {
    const port = 24_000 + Math.floor(Math.random() * 68) * PORTS_PER_FILE;
    try {
      return Deno.listen({ hostname: "127.0.0.1", port });
    } catch (error) {
      // Another file has the block.
      if (!(error instanceof Deno.errors.AddrInUse) || performance.now() > deadline) throw error;
      await delay(1);
    }
  }
}

let lastPort = 0;

/** Returns a free port of 127.0.0.1 that stays free until it is used. The next calls return other ports. */
export function freePort(): number {
  for (let i = 0; i < PORTS_PER_FILE; i++) {
    // Not in order, so that a test can expect several ranges. 37 and 128 have no common divisor, so each port has its turn.
    lastPort = (lastPort + 37) % PORTS_PER_FILE;
    const port = portBlock.addr.port + lastPort;
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch {
      // The port is in use, or is the first one of the block.
    }
  }
  throw new Error("no port of this file is free");
}

/** Returns different ports for which {@linkcode freePort} holds. */
export function freePorts(count: number): number[] {
  return Array.from({ length: count }, freePort);
}
