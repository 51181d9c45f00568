/**
 * What the errors of `Deno.connect` say about a port.
 *
 * @module
 */
import { codeOf } from "../shared/errors.ts";
import type { ProbeState } from "./results.ts";

/** Whether an address is link-local (fe80::/10). Only such an address needs a zone, as in `fe80::1%eth0`. */
export function isLinkLocal(address: string): boolean {
  return /^fe[89ab][0-9a-f]:/i.test(address);
}

/**
 * The errors that say something about a port, by their code. All others are thrown: a check for blocked ports must not pass
 * because of an error that has nothing to do with the network.
 */
const STATES: Readonly<Record<string, ProbeState>> = {
  ECONNREFUSED: "refused",
  ETIMEDOUT: "timeout",
  // The server reset the connection before it could be used.
  ECONNRESET: "reset",
  ECONNABORTED: "reset",
  ENOTCONN: "reset",
  // On Linux, if the server half-closed the connection before it reset it.
  EPIPE: "reset",
  EHOSTUNREACH: "unreachable",
  ENETUNREACH: "unreachable",
  EAFNOSUPPORT: "unreachable",
  EACCES: "unreachable",
  EPERM: "unreachable",
  // On Linux, a blackhole route causes it. For link-local addresses, it means that the zone is missing.
  EINVAL: "unreachable",
};

/**
 * The messages of ENOPROTOOPT, EOPNOTSUPP, EHOSTDOWN, ENONET, EPROTO and ENETDOWN. Deno sets no code for them, or ENOTSUP.
 * On Linux, ICMP messages cause all of them but the last: destination unreachable with code 2, 5, 7 or 8, and parameter
 * problem. For IPv6, unknown types and codes cause EPROTO, too.
 */
const UNREACHABLE_BY_MESSAGE =
  /^(Protocol not available|Operation not supported|Host is down|Machine is not on the network|Protocol error|Network is down)\b/;

/**
 * Returns the state of a port from the error of `Deno.connect`. Rethrows an error that says nothing about the port. `os` is
 * the system of this machine.
 */
export function stateOf(error: unknown, hostname: string, os = Deno.build.os): ProbeState {
  // Other errors are a missing permission, or a zone that the system does not know.
  if (!(error instanceof Error && error.message.includes("os error"))) throw error;
  const code = codeOf(error);
  const isZoneMissing = code === "EINVAL" && isLinkLocal(hostname) && !hostname.includes("%");
  // In containers without IPv6, `localhost` often has the address ::1, too. Connecting to it causes EADDRNOTAVAIL, which
  // otherwise means that no local port is left for this address.
  const isIPv6Missing = code === "EADDRNOTAVAIL" && hostname.includes(":") && !hasIPv6();
  // The class of the error is not enough: EHOSTUNREACH is a plain `Error`.
  const state = isIPv6Missing || UNREACHABLE_BY_MESSAGE.test(error.message) ? "unreachable" : STATES[code ?? ""];
  if (state === undefined || isZoneMissing) throw error;
  // After connecting, Deno asks for the addresses of the connection. If it has been reset by then, macOS returns EINVAL.
  return code === "EINVAL" && os === "darwin" ? "reset" : state;
}

/** Whether this machine has IPv6. True if that cannot be told, for example without the permission to listen. */
function hasIPv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch (error) {
    return codeOf(error) !== "EADDRNOTAVAIL";
  }
}

/** Whether no descriptor, local port or memory is left for another connection, which says nothing about the port. */
export function isOutOfResources(error: unknown): boolean {
  return ["EMFILE", "ENFILE", "EADDRNOTAVAIL", "EADDRINUSE", "EAGAIN", "ENOBUFS", "ENOMEM"].includes(
    codeOf(error) ?? "",
  );
}

/** Whether an error that makes a port `unreachable` says that this machine does not have the family of the address. */
export function isFamilyMissing(error: unknown): boolean {
  return ["EADDRNOTAVAIL", "EAFNOSUPPORT"].includes(codeOf(error) ?? "");
}

/**
 * Whether this machine has caused an error by itself, which says nothing about a firewall: it has no route to the address,
 * no address of its own in that family, or a rule that forbids the connection, or its network is down. ENETUNREACH can
 * also come from a router.
 */
export function isLocalError(error: unknown, hostname: string): boolean {
  // For IPv6, a firewall that rejects packets as administratively prohibited causes it, too.
  if (codeOf(error) === "EACCES") return !hostname.includes(":");
  return ["ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EPERM", "EINVAL"].includes(codeOf(error) ?? "") ||
    (error instanceof Error && error.message.startsWith("Network is down"));
}

/** Whether this machine has no route to an address, or no address of its own in its family. A router can say so, too. */
export function isRouteMissing(error: unknown): boolean {
  return isFamilyMissing(error) || codeOf(error) === "ENETUNREACH" ||
    (error instanceof Error && error.message.startsWith("Network is down"));
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
