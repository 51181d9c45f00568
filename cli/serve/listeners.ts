/**
 * What a server listens on, from its list of an address and port for each listener. It listens on each port at each
 * address.
 *
 * @module
 */

/** Returns the ports, each once, in their order. */
export function portsOf(addrs: readonly Deno.NetAddr[]): number[] {
  return [...new Set(addrs.map(({ port }) => port))];
}

/**
 * Returns the addresses, with the first port. They are not compared with each other: Deno removes the zone, so
 * `fe80::1%eth0` and `fe80::1%eth1` look the same.
 */
export function addressesOf(addrs: readonly Deno.NetAddr[]): Deno.NetAddr[] {
  return addrs.filter(({ port }) => port === addrs[0]?.port);
}
