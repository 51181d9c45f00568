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
  EHOSTUNREACH: "unreachable",
  ENETUNREACH: "unreachable",
  EAFNOSUPPORT: "unreachable",
  EACCES: "unreachable",
  EPERM: "unreachable",
  // A blackhole route causes it. For link-local addresses, it means that the zone is missing.
  EINVAL: "unreachable",
};

/** The message of ENOPROTOOPT (ICMP protocol unreachable), EHOSTDOWN and ENETDOWN, for which Deno sets no code. */
const UNREACHABLE_WITHOUT_CODE = /^(Protocol not available|Host is down|Network is down)\b/;

/**
 * Returns the state of a port from the error of `Deno.connect`. Rethrows an error that says nothing about the port.
 * `isAlternative` is whether another address of the host has just been tried.
 */
export function stateOf(error: unknown, hostname: string, isAlternative = false): ProbeState {
  // Other errors are a missing permission, or a zone that the system does not know.
  if (!(error instanceof Error && error.message.includes("os error"))) throw error;
  const code = codeOf(error);
  const isZoneMissing = code === "EINVAL" && isLinkLocal(hostname) && !hostname.includes("%");
  // In containers without IPv6, `localhost` often has the address ::1, too. Connecting to it causes EADDRNOTAVAIL, which
  // otherwise means that no local port is left. Here, one was left for the address that was tried before.
  const isIPv6Missing = isAlternative && hostname.includes(":") && code === "EADDRNOTAVAIL";
  // The class of the error is not enough: EHOSTUNREACH is a plain `Error`.
  const state = isIPv6Missing || UNREACHABLE_WITHOUT_CODE.test(error.message) ? "unreachable" : STATES[code ?? ""];
  if (state === undefined || isZoneMissing) throw error;
  return state;
}

/** Whether no descriptor, local port or memory is left for another connection, which says nothing about the port. */
export function isOutOfResources(error: unknown): boolean {
  return ["EMFILE", "ENFILE", "EADDRNOTAVAIL", "EADDRINUSE", "EAGAIN", "ENOBUFS", "ENOMEM"].includes(
    codeOf(error) ?? "",
  );
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
