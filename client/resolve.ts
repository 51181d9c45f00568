/**
 * Resolves the name of a host to an address.
 *
 * @module
 */
import { unlessAborted } from "../shared/abort.ts";
import { ConnectError } from "./options.ts";

/** The cause of a `ConnectError` if the host has no IPv6 address. */
export const NO_IPV6 = new Error("the host has no IPv6 address");

/** Matches addresses, with or without a zone. Also matches some invalid ones, which the system rejects. */
const ADDRESS = /^\d+\.\d+\.\d+\.\d+$|:/;

/** Whether an address is link-local (fe80::/10). Only such an address needs a zone, as in `fe80::1%eth0`. */
export function isLinkLocal(address: string): boolean {
  return /^fe[89ab][0-9a-f]:/i.test(address);
}

/**
 * Resolves a name to an IPv4 address, or to an IPv6 address if it has no IPv4 address or if `ipv6` is set. Returns an
 * address unchanged. Returns `undefined` if the signal is aborted first.
 *
 * @throws {ConnectError} If the name has no address, or if `ipv6` is set and there is no IPv6 address.
 *
 * @example
 * ```ts
 * import { resolve } from "./resolve.ts";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(await resolve("127.0.0.1"), "127.0.0.1");
 * ```
 */
export async function resolve(hostname: string, ipv6 = false, signal?: AbortSignal): Promise<string | undefined> {
  if (ADDRESS.test(hostname)) {
    if (ipv6 && !hostname.includes(":")) throw new ConnectError(hostname, NO_IPV6);
    return hostname;
  }
  // Imported here because loading it takes 14 ms, and because Deno 2.6 prints a warning when it is loaded.
  const { lookup } = await import("node:dns/promises");
  let addresses: { address: string; family: number }[] | undefined;
  try {
    // Not left to Deno.connect(), which would resolve the name for each probe, and whose error has no code.
    addresses = await unlessAborted(lookup(hostname, { all: true }), signal);
  } catch (error) {
    throw new ConnectError(hostname, error);
  }
  if (!addresses) return undefined;
  const found = addresses.find(({ family }) => family === (ipv6 ? 6 : 4)) ?? (ipv6 ? undefined : addresses[0]);
  if (!found) throw new ConnectError(hostname, NO_IPV6);
  return found.address;
}
