/**
 * What clients send: the beginning of it is kept, the rest is discarded.
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

/**
 * Reads until the client closes the connection. Ends the wait for the client to speak when it has sent something, or when
 * nothing more can be read.
 *
 * @throws If reading fails, for example because the client has reset the connection.
 */
export async function readInput(connection: OpenConnection) {
  const { conn } = connection;
  const buffer = bufferPool.pop() ?? new Uint8Array(KEPT_BYTES);
  let target = buffer;
  try {
    for (let n = await conn.read(target); n !== null; n = await conn.read(target)) {
      connection.bytesReceived += n;
      if (connection.received.length < KEPT_BYTES) connection.received = buffer.slice(0, connection.bytesReceived);
      target = connection.bytesReceived < KEPT_BYTES ? buffer.subarray(connection.bytesReceived) : discardBuffer;
      connection.endWait?.();
    }
  } finally {
    connection.endWait?.();
    bufferPool.push(buffer);
  }
}

/** Waits until the client has spoken, for at most `ms` milliseconds, or until `endWait` ends the wait. */
export async function waitForInput(connection: OpenConnection, ms: number) {
  const { promise, resolve } = Promise.withResolvers<void>();
  connection.endWait = resolve;
  // The second timer lets the event loop process I/O that has completed: if this process was busy, the first timer may
  // be due before input is noticed that has arrived in time.
  let timer = setTimeout(() => timer = setTimeout(resolve, 0), ms);
  await promise;
  clearTimeout(timer);
}
