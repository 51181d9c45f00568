/**
 * Clients for tests of the server.
 *
 * @module
 */
import { createConnection } from "node:net";
import { DEFAULTS } from "../../server.ts";
import { eventOf, within } from "./waiting.ts";

/** The size of the default greeting, which is ASCII. */
export const GREETING_BYTES: number = DEFAULTS.greeting.length;

/** Connects, and resets the connection. */
export async function connectAndReset(port: number) {
  const socket = createConnection(port, "127.0.0.1");
  const closed = eventOf(socket, "close");
  await eventOf(socket, "connect");
  socket.resetAndDestroy();
  await closed;
}

/**
 * Connects to 127.0.0.1 from one of this machine's addresses, sends a text, and waits until the connection is closed.
 * Returns whether anything was received.
 */
export async function connectFrom(localAddress: string, port: number, text = ""): Promise<boolean> {
  const socket = createConnection({ host: "127.0.0.1", port, localAddress });
  const closed = eventOf(socket, "close");
  // Refused or reset connections are closed, too.
  socket.on("error", () => {}).resume().write(text);
  await closed;
  return socket.bytesRead > 0;
}

/** Reads everything that a server sends, and closes the connection. Rejects if the connection is reset. */
export function receive(conn: Deno.Conn): Promise<Uint8Array> {
  return within(new Response(conn.readable).bytes());
}

/** Connects to a server, and returns everything that it sends, as text. */
export async function greetingFrom(port: number, hostname = "127.0.0.1"): Promise<string> {
  return new TextDecoder().decode(await receive(await Deno.connect({ hostname, port })));
}

/** Whether a port refuses connections. */
export async function isRefused(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return false;
  } catch {
    return true;
  }
}

/** Reads `length` bytes from a connection, or fewer if the server closes it first. */
export async function readBytes(conn: Deno.Conn, length: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(length);
  for (let n = 0; n < length;) {
    const count = await within(conn.read(buffer.subarray(n)));
    if (count === null) return buffer.subarray(0, n);
    n += count;
  }
  return buffer;
}

/** Runs `clients` clients, 64 at a time. Returns how many received the whole default greeting. */
export async function load(port: number, clients: number): Promise<number> {
  let left = clients;
  let greeted = 0;
  async function client() {
    const buffer = new Uint8Array(64);
    while (left-- > 0) {
      using conn = await Deno.connect({ hostname: "127.0.0.1", port });
      let length = 0;
      for (let n: number | null = 0; n !== null; n = await within(conn.read(buffer))) length += n;
      if (length === GREETING_BYTES) greeted++;
    }
  }
  await Promise.all(Array.from({ length: 64 }, client));
  return greeted;
}
