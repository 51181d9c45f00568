/**
 * Lists of addresses and networks: `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`.
 *
 * @module
 */
import type { BlockList } from "node:net";
import { addressAdvice } from "../../shared/addresses.ts";
import type { Given } from "../args.ts";
import { valueError } from "../values.ts";

/** What a rule must be, for a message. */
const EXPECTED_RULE = "expected an address, or a network such as 192.0.2.0/24 or 2001:db8::/32";

/** Thrown for a rule that is not a valid address or network. `advice` says what to write, for a message. */
export class InvalidRule extends Error {
  /** Always `"InvalidRule"`. */
  override readonly name = "InvalidRule";

  /** `rule` is the invalid rule. */
  constructor(readonly rule: string, readonly advice: string) {
    super(`invalid address ${rule}: ${advice}`);
  }
}

/**
 * The rules are checked later, because that is asynchronous. A rule that begins with a hyphen is rejected here: otherwise,
 * the message would advise attaching it.
 */
export function network(given: Given): Given {
  if (!given.text.startsWith("-")) return given;
  throw valueError(given, EXPECTED_RULE);
}

/**
 * Returns a function that checks whether an address matches a rule, or `undefined` if there are no rules.
 *
 * @throws {UsageError} If a rule is invalid.
 */
export async function matcher(rules: readonly Given[]): Promise<((addr: Deno.NetAddr) => boolean) | undefined> {
  if (rules.length === 0) return undefined;
  try {
    return await addressMatcher(rules.map(({ text }) => text));
  } catch (error) {
    const given = error instanceof InvalidRule && rules.find(({ text }) => text === error.rule);
    throw given ? valueError(given, error.advice) : error;
  }
}

/**
 * Returns a function that checks whether an address matches a list of addresses and networks. As in iptables, the host
 * bits of a network are ignored: `127.0.0.1/8` is `127.0.0.0/8`.
 *
 * @throws {InvalidRule} If a rule is not an address or a network, or if it is an IPv4-mapped address, such as
 * `::ffff:192.0.2.7`. The server reports IPv4 clients by their IPv4 address, so such a rule would never match.
 */
export async function addressMatcher(rules: readonly string[]): Promise<(addr: Deno.NetAddr) => boolean> {
  // Imported here because loading it delays the start, and most servers have no rules.
  const net = await import("node:net");
  const list = new net.BlockList();
  for (const rule of rules) add(list, rule, net.isIP);
  return ({ hostname }) => list.check(hostname, hostname.includes(":") ? "ipv6" : "ipv4");
}

function add(list: BlockList, rule: string, isIP: (text: string) => number) {
  const [, address = "", prefixText] = rule.match(/^([^/]+)(?:\/(0|[1-9]\d*))?$/) ?? [];
  const version = isIP(address);
  const bits = version === 4 ? 32 : 128;
  const prefix = Number(prefixText ?? bits);
  // A zone, as in fe80::1%eth0, is the name of an interface of this machine. BlockList does not support zones.
  if (version === 0 || prefix > bits || address.includes("%")) {
    throw new InvalidRule(rule, addressAdvice(rule) ?? EXPECTED_RULE);
  }
  const ipv4 = version === 6 ? mappedAddress(address) : undefined;
  if (ipv4 !== undefined) {
    const network = prefix >= 96 && prefix < 128 ? `/${prefix - 96}` : "";
    throw new InvalidRule(rule, `expected an IPv4 address without ::ffff:, such as ${ipv4}${network}`);
  }
  list.addSubnet(address, prefix, version === 4 ? "ipv4" : "ipv6");
}

/** Returns the IPv4 address in an IPv4-mapped IPv6 address, or `undefined` for any other IPv6 address. */
function mappedAddress(ipv6: string): string | undefined {
  // URL shortens IPv6 addresses, and converts an IPv4 part at the end to hexadecimal.
  const { hostname } = new URL(`http://[${ipv6}]`);
  const [, high, low] = hostname.match(/^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/) ?? [];
  if (high === undefined || low === undefined) return undefined;
  const [h, l] = [parseInt(high, 16), parseInt(low, 16)];
  return [h >> 8, h & 255, l >> 8, l & 255].join(".");
}
