/**
 * Resolves the host that is probed.
 *
 * @module
 */
import { ConnectError } from "./connect_options.ts";

/** The cause of a `ConnectError` if the host has no IPv6 address. */
export const NO_IPV6 = new Error("the host has no IPv6 address");

/** An address, perhaps with a zone: the system rejects what only looks like one. */
const ADDRESS = /^\d+\.\d+\.\d+\.\d+$|:/;

/**
 * Resolves a name to an address: to IPv4 if it has an IPv4 address, unless `ipv6` is set. An address is returned as it is.
 *
 * @throws {ConnectError} If the name has no address, or none of the kind asked for.
 *
 * @example
 * ```ts
 * import { resolve } from "./resolve.ts";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(await resolve("127.0.0.1"), "127.0.0.1");
 * ```
 */
export async function resolve(hostname: string, ipv6 = false): Promise<string> {
  if (ADDRESS.test(hostname)) {
    if (ipv6 && !hostname.includes(":")) throw new ConnectError(hostname, NO_IPV6);
    return hostname;
  }
  // Imported here because loading it takes 14 ms, and because Deno 2.6 prints a warning when it is loaded.
  const { lookup } = await import("node:dns/promises");
  let addresses: { address: string; family: number }[];
  try {
    // Deno.connect() would resolve the name for each probe, and its error has no code.
    addresses = await lookup(hostname, { all: true });
  } catch (error) {
    throw new ConnectError(hostname, error);
  }
  const found = addresses.find(({ family }) => family === (ipv6 ? 6 : 4)) ?? (ipv6 ? undefined : addresses[0]);
  if (!found) throw new ConnectError(hostname, NO_IPV6);
  return found.address;
}
