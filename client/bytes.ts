/**
 * Buffers of bytes.
 *
 * @module
 */
import { MAX_GREETING_BYTES } from "../shared/limits.ts";

/** Returns a copy of a buffer with four times its size, but at most that of the longest greeting. */
export function enlarge(buffer: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.min(4 * buffer.length, MAX_GREETING_BYTES));
  larger.set(buffer);
  return larger;
}

/** Whether bytes contain others, of which there is at least one. */
export function includes(bytes: Uint8Array, part: Uint8Array): boolean {
  const [first = 0] = part;
  for (let i = bytes.indexOf(first); i >= 0; i = bytes.indexOf(first, i + 1)) {
    if (part.every((byte, j) => bytes[i + j] === byte)) return true;
  }
  return false;
}
