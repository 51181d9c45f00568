/**
 * The bytes of the greeting.
 *
 * @module
 */
import { MAX_GREETING_BYTES } from "../shared/limits.ts";
import type { ConnInfo } from "./connection.ts";
import type { ServeOptions } from "./options.ts";

/** Returns a function that encodes the greeting for a connection. A constant greeting is encoded only once, here. */
export function toGreetingFunction(
  greeting: Exclude<ServeOptions["greeting"], undefined>,
): (info: ConnInfo) => Uint8Array {
  if (typeof greeting === "function") return (info) => toBytes(greeting(info));
  const encoded = toBytes(greeting);
  return () => encoded;
}

/** Encodes text, and copies bytes because the caller may change them later. */
function toBytes(greeting: string | Uint8Array): Uint8Array {
  if (typeof greeting !== "string" && !(greeting instanceof Uint8Array)) {
    // Only a program without type checks can return something else.
    throw new RangeError("greeting: expected text or bytes; a greeting function cannot be async");
  }
  const bytes = typeof greeting === "string" ? new TextEncoder().encode(greeting) : greeting.slice();
  if (bytes.length <= MAX_GREETING_BYTES) return bytes;
  throw new RangeError(`greeting: expected at most ${MAX_GREETING_BYTES} bytes, not ${bytes.length}`);
}
