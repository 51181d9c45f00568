/**
 * Free ports of 127.0.0.1.
 *
 * @module
 */

/** Ranges are taken from here: Linux gives clients ports from 32768 on, which could be in use when a server starts. */
const FIRST_PORT = 10_000;
const END_PORT = 32_768;

/** A port that the system chooses. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Returns the first port of a range of `count` free ports. */
export function freeRange(count: number): number {
  for (let first = FIRST_PORT; first + count <= END_PORT;) {
    const listeners: Deno.Listener[] = [];
    try {
      while (listeners.length < count) {
        listeners.push(Deno.listen({ hostname: "127.0.0.1", port: first + listeners.length }));
      }
      return first;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
      first += listeners.length + 1;
    } finally {
      for (const listener of listeners) listener.close();
    }
  }
  throw new Error(`there are no ${count} free ports in a row from ${FIRST_PORT} to ${END_PORT - 1}`);
}
