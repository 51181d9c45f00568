/**
 * The bytes of the greeting.
 *
 * @module
 */
import { MAX_GREETING_BYTES } from "../shared/limits.ts";
import type { ConnInfo } from "./connection.ts";
import type { ServeOptions } from "./options.ts";

const LINE_FEED = 10;

/** Returns the bytes for a connection. */
export type GreetingFunction = (info: ConnInfo) => Uint8Array;

/**
 * Checks and encodes a constant greeting. Returns a function that adds the announcement, which is known only when the
 * ports are open, and returns the greeting of each connection. A constant greeting is encoded only here, once.
 */
export function prepareGreeting(
  greeting: Exclude<ServeOptions["greeting"], undefined>,
): (announcement: string) => GreetingFunction {
  if (typeof greeting === "function") return (announcement) => (info) => toBytes(greeting(info, announcement));
  const encoded = toBytes(greeting);
  return (announcement) => {
    const bytes = announcement === "" ? encoded : withAnnouncement(encoded, announcement);
    return () => bytes;
  };
}

/** Appends the announcement as a line of its own. */
function withAnnouncement(greeting: Uint8Array, announcement: string): Uint8Array {
  const isWithinLine = greeting.length > 0 && greeting.at(-1) !== LINE_FEED;
  const line = new TextEncoder().encode((isWithinLine ? "\r\n" : "") + announcement);
  const length = greeting.length + line.length;
  if (length > MAX_GREETING_BYTES) {
    throw new RangeError(
      `announce: expected at most ${MAX_GREETING_BYTES} bytes of greeting and list of ports, not ${length}`,
    );
  }
  const bytes = new Uint8Array(length);
  bytes.set(greeting);
  bytes.set(line, greeting.length);
  return bytes;
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
