/**
 * Reads the greeting from standard input.
 *
 * @module
 */
import { MAX_GREETING_BYTES } from "../../server.ts";
import { messageOf } from "../../shared/errors.ts";
import { StreamError } from "../errors.ts";

/** Reads the greeting from standard input. Stops at the limit, because an input such as /dev/zero never ends. */
export async function readGreeting(): Promise<Uint8Array> {
  const buffer = new Uint8Array(MAX_GREETING_BYTES + 1);
  let length = 0;
  while (length < buffer.length) {
    let n: number | null;
    try {
      n = await Deno.stdin.read(buffer.subarray(length));
    } catch (error) {
      throw new StreamError(`cannot read standard input: ${messageOf(error)}; redirect it from a file or a pipe`);
    }
    if (n === null) return buffer.subarray(0, length);
    length += n;
  }
  throw new StreamError(`standard input is too long: at most ${MAX_GREETING_BYTES} bytes can be sent; shorten it`);
}
