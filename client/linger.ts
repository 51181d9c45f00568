/**
 * The end of a probe whose greeting is complete. Used only by client/probe.ts.
 *
 * @module
 */
import type { LoopClock } from "./clock.ts";

/**
 * How long to wait until half-closing, and how long to wait altogether, in milliseconds. Most servers close at once, and
 * half-closing costs a system call.
 */
const HALF_CLOSE_MS = 10;
const LINGER_MS = 100;

/** How many bytes may arrive before the connection is closed anyway: a server may send without end. */
const MAX_LINGER_BYTES = 64 * 1024;

/** All probes read data that they discard into this buffer. */
const discardBuffer = new Uint8Array(MAX_LINGER_BYTES);

/**
 * Discards what the server sends until it closes the connection, and half-closes if it does not do so by itself. Closing
 * a socket with unread input would reset the connection, which the server would report. After {@linkcode LINGER_MS}, calls
 * `close`, which must close the connection.
 */
export async function linger(conn: Deno.TcpConn, clock: LoopClock, close: () => void): Promise<void> {
  const cancelHalfClose = clock.schedule(HALF_CLOSE_MS, () => {
    conn.closeWrite().catch(() => {}); // the connection has been reset or closed, which also ends the read below
  });
  const cancelClose = clock.schedule(LINGER_MS, close);
  try {
    for (let left = MAX_LINGER_BYTES; left > 0;) {
      const count = await conn.read(discardBuffer.subarray(0, left));
      if (count === null) break;
      left -= count;
    }
  } catch {
    // The server has reset the connection, or has not closed it in time. The greeting is complete in both cases.
  }
  cancelHalfClose();
  cancelClose();
}
