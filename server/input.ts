/**
 * What clients send: waiting for it, keeping the beginning of it, and discarding the rest.
 *
 * @module
 */
import type { OpenConnection } from "./connection.ts";

/** How many bytes of a client's input are kept in `Connection.received`. */
export const KEPT_BYTES = 256;

/**
 * Read buffers to reuse. Each connection needs its own buffer for the input that is kept: in a shared buffer, another
 * connection could overwrite that input before it is copied. Reusing buffers saves an allocation for each connection.
 */
const bufferPool: Uint8Array<ArrayBuffer>[] = [];

/** Input that is not kept is read into this buffer, which all connections share. */
const discardBuffer = new Uint8Array(64 * 1024);

/** Begins to read what the client sends first, and keeps it. Resolves to whether the client may send more. */
export async function readFirst(connection: OpenConnection): Promise<boolean> {
  const buffer = new Uint8Array(KEPT_BYTES);
  const n = await connection.conn.read(buffer);
  if (n === null) return false;
  connection.bytesReceived = n;
  connection.received = buffer.subarray(0, n);
  return true;
}

/**
 * Waits until `first`, which {@linkcode readFirst} has returned, has ended, until `ms` milliseconds are over, or until
 * the connection's `wake` is called.
 *
 * @throws If reading fails, for example because the client has reset the connection.
 */
export async function waitForFirst(connection: OpenConnection, first: Promise<boolean>, ms: number) {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  first.then(() => resolve(), reject);
  connection.wake = resolve;
  // The second timer lets the event loop process I/O that has completed: if this process was busy, the first timer may
  // be due before input is noticed that has arrived in time.
  let timer = setTimeout(() => timer = setTimeout(resolve, 0), ms);
  try {
    await promise;
  } finally {
    clearTimeout(timer);
  }
}

/** Reads until the client closes the connection. `first` is what {@linkcode readFirst} has returned, if it was called. */
export async function readUntilClosed(connection: OpenConnection, first?: Promise<boolean>) {
  if (first && !await first) return;
  const { conn } = connection;
  const buffer = bufferPool.pop() ?? new Uint8Array(KEPT_BYTES);
  if (first) buffer.set(connection.received);
  let target = first ? unusedPart(buffer, connection) : buffer;
  try {
    for (let n = await conn.read(target); n !== null; n = await conn.read(target)) {
      connection.bytesReceived += n;
      if (connection.received.length < KEPT_BYTES) connection.received = buffer.slice(0, connection.bytesReceived);
      target = unusedPart(buffer, connection);
    }
  } finally {
    bufferPool.push(buffer);
  }
}

/** Returns where to read the input that follows: into the rest of the buffer, or if that is full, where it is discarded. */
function unusedPart(buffer: Uint8Array, { bytesReceived }: OpenConnection): Uint8Array {
  return bytesReceived < KEPT_BYTES ? buffer.subarray(bytesReceived) : discardBuffer;
}
