/**
 * What the errors of `Deno.connect` say about a port.
 *
 * @module
 */
import { codeOf } from "../shared/errors.ts";
import type { ProbeState } from "./options.ts";

/** Whether an address is link-local (fe80::/10). Only such an address needs a zone, as in `fe80::1%eth0`. */
export function isLinkLocal(address: string): boolean {
  return /^fe[89ab][0-9a-f]:/i.test(address);
}

/**
 * Returns the state of a port from the error of `Deno.connect`. Rethrows an error that says nothing about the port.
 * `isAlternative` is whether another address of the host has just been tried.
 */
export function stateOf(error: unknown, hostname: string, isAlternative = false): ProbeState {
  // Other errors are a missing permission, or a zone that the system does not know.
  const isFromSystem = error instanceof Error && error.message.includes("os error");
  // For other addresses, a blackhole route causes EINVAL.
  const isZoneMissing = codeOf(error) === "EINVAL" && isLinkLocal(hostname) && !hostname.includes("%");
  // In containers without IPv6, `localhost` often has the address ::1, too. Connecting to it causes EADDRNOTAVAIL, which
  // otherwise means that no local port is left. But for the other address, there was one.
  const isIPv6Missing = isAlternative && hostname.includes(":") && codeOf(error) === "EADDRNOTAVAIL";
  if (!isFromSystem || (isOutOfResources(error) && !isIPv6Missing) || isZoneMissing) throw error;
  // The class is not enough: EHOSTUNREACH is a plain `Error`.
  switch (codeOf(error)) {
    case "ECONNREFUSED":
      return "refused";
    case "ETIMEDOUT":
      return "timeout";
    // The server reset the connection before it could be used.
    case "ECONNRESET":
    case "ECONNABORTED":
    case "ENOTCONN":
      return "reset";
    // EHOSTUNREACH, ENETUNREACH, EACCES, EPERM and others. For ENOPROTOOPT, Deno sets no code.
    default:
      return "unreachable";
  }
}

/** Whether no descriptor, local port or memory is left for another connection, which says nothing about the port. */
export function isOutOfResources(error: unknown): boolean {
  return ["EMFILE", "ENFILE", "EADDRNOTAVAIL", "ENOBUFS"].includes(codeOf(error) ?? "");
}

/**
 * Whether this machine cannot send to an address, which says nothing about a firewall: it has no route to the address, or
 * no address of its own in that family, or its network is down.
 */
export function isRouteMissing(error: unknown): boolean {
  return ["ENETUNREACH", "ENETDOWN", "EADDRNOTAVAIL", "EAFNOSUPPORT"].includes(codeOf(error) ?? "");
}

/**
 * Whether the zone of an address could not be looked up. The system looks it up for each connection, which requires a
 * descriptor, and the error does not say whether there was none or whether there is no such interface.
 */
export function isZoneFailure(error: unknown, hostname: string): boolean {
  return hostname.includes("%") && codeOf(error) === undefined && !(error instanceof Deno.errors.NotCapable);
}

/** The system's message for an error, without the number. */
export function systemMessageOf(error: unknown): string {
  return error instanceof Error ? error.message.replace(/ \(os error \d+\)$/, "") : String(error);
}
