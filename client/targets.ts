/**
 * What to send to each port, and what its greeting must contain.
 *
 * @module
 */
import { type ConnectOptions, encodeOption, type Expectation, type TextOrBytes } from "./options.ts";
import type { ProbeTarget } from "./probe.ts";

/**
 * Returns a function that returns the target for a port and its expectation, without the address.
 *
 * @throws {RangeError} When that function is called, if a text is empty or too long.
 */
export function targetFunction(
  { expect, send }: ConnectOptions,
): (port: number, expectation: Expectation) => Omit<ProbeTarget, "hostname"> {
  const bytesToExpect = bytesFunction("expect", expect);
  const bytesToSend = bytesFunction("send", send);
  return (port, expectation) => {
    if (expectation !== "greeted") return { port, expectation };
    return { port, expectation, expect: bytesToExpect(port), send: bytesToSend(port) };
  };
}

/** Returns a function that encodes the text of a port. A constant text is encoded only once, here. */
function bytesFunction(name: string, text: ConnectOptions["expect"]): (port: number) => Uint8Array | undefined {
  const encode = (text: TextOrBytes | undefined) => text === undefined ? undefined : encodeOption(name, text);
  if (typeof text === "function") return (port) => encode(text(port));
  const encoded = encode(text);
  return () => encoded;
}
