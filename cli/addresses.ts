/**
 * Lists of addresses and networks: `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`.
 *
 * @module
 */
import type { BlockList } from "node:net";

/** Thrown for a rule that is not a valid address or network. `expected` describes a valid rule, for a message. */
export class InvalidRule extends Error {
  /** Always `"InvalidRule"`. */
  override readonly name = "InvalidRule";

  /** `rule` is the invalid rule. */
  constructor(readonly rule: string, readonly expected: string) {
    super(`invalid address ${rule}: expected ${expected}`);
  }
}

/**
 * Returns a function that checks whether an address matches a list of addresses and networks.
 *
 * @throws {InvalidRule} If a rule is not an address or a network, or if it is ambiguous, such as `192.0.2.7/24`.
 *
 * @example
 * ```ts
 * import { addressMatcher } from "./addresses.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const isLocal = await addressMatcher(["127.0.0.0/8", "::1"]);
 * assertEquals(isLocal({ transport: "tcp", hostname: "127.0.0.1", port: 80 }), true);
 * assertEquals(isLocal({ transport: "tcp", hostname: "192.0.2.7", port: 80 }), false);
 * ```
 */
export async function addressMatcher(rules: readonly string[]): Promise<(addr: Deno.NetAddr) => boolean> {
  // Imported here because loading it takes as long as the rest of the startup.
  const net = await import("node:net");
  const list = new net.BlockList();
  for (const rule of rules) add(list, rule, net.isIP);
  return ({ hostname }) => list.check(hostname, hostname.includes(":") ? "ipv6" : "ipv4");
}

function add(list: BlockList, rule: string, isIP: (text: string) => number) {
  const invalid = (expected: string) => new InvalidRule(rule, expected);
  const [, address = "", prefixText] = rule.match(/^([^/]+)(?:\/(0|[1-9]\d*))?$/) ?? [];
  const version = isIP(address);
  const bits = version === 4 ? 32 : 128;
  const prefix = Number(prefixText ?? bits);
  // A zone, as in fe80::1%eth0, is the name of an interface of this machine. BlockList does not support zones.
  if (version === 0 || prefix > bits || address.includes("%")) {
    throw invalid("an address, or a network such as 192.0.2.0/24 or 2001:db8::/32");
  }
  const [network, canonical] = [formatNetwork(address, prefix), formatNetwork(address, bits)];
  const [, high, low] = canonical.match(/^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/) ?? [];
  if (high !== undefined && low !== undefined) {
    const [h, l] = [parseInt(high, 16), parseInt(low, 16)];
    const ipv4 = [h >> 8, h & 255, l >> 8, l & 255].join(".");
    const meant = prefix >= 96 && prefix < 128 ? `${formatNetwork(ipv4, prefix - 96)}/${prefix - 96}` : ipv4;
    throw invalid(`an IPv4 address without ::ffff:, such as ${meant}`);
  }
  if (network !== canonical) throw invalid(`a network without host bits: ${network}/${prefix}, or ${address}`);
  list.addSubnet(address, prefix, version === 4 ? "ipv4" : "ipv6");
}

/** Returns the first address of a network, in canonical form. */
function formatNetwork(address: string, prefix: number): string {
  const mask = (parts: number[], bits: number) =>
    parts.map((part, i) => {
      const kept = Math.min(Math.max(prefix - i * bits, 0), bits);
      return part >> (bits - kept) << (bits - kept);
    });
  if (!address.includes(":")) return mask(address.split(".").map(Number), 8).join(".");
  // URL shortens IPv6 addresses, and converts an IPv4 part at the end to hexadecimal.
  const canonical = (text: string) => new URL(`http://[${text}]`).hostname.slice(1, -1);
  const [head = "", tail] = canonical(address).split("::");
  const groups = (text: string) => text === "" ? [] : text.split(":").map((group) => parseInt(group, 16));
  const [before, after] = [groups(head), groups(tail ?? "")];
  const zeros = Array<number>(8 - before.length - after.length).fill(0);
  return canonical(mask([...before, ...zeros, ...after], 16).map((group) => group.toString(16)).join(":"));
}
