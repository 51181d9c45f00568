/**
 * The messages for errors that the user can fix.
 *
 * @module
 */
import {
  type ConnectError,
  isLinkLocal,
  isLocalError,
  isOutOfResources,
  LOOKUP_TIMEOUT,
  NO_IPV4,
  NO_IPV6,
} from "../client.ts";
import { codeOf, isOutOfDescriptors, messageOf } from "../shared/errors.ts";
import type { ListenError } from "../server.ts";
import { quote, truncate } from "./args.ts";
import { formatSomePorts } from "./ports.ts";

/** Thrown if standard input cannot be read, or standard output cannot be written. */
export class StreamError extends Error {
  /** Always `"StreamError"`. */
  override readonly name = "StreamError";
}

/** Returns the error to throw if standard output cannot be written. */
export function outputError(cause: unknown): StreamError {
  return new StreamError(`cannot write to standard output: ${messageOf(cause)}; redirect it elsewhere`);
}

/** For a cause that passes the test: what it means, and what to do. */
interface Advice<E extends ListenError | ConnectError> {
  test: (cause: unknown, error: E) => boolean;
  advice: (error: E) => string;
}

/** The `hostname` of an error. */
interface HasHostname {
  hostname: string;
}

// Without the permission, a lookup fails with EPERM.
const isPermissionMissing = (cause: unknown) =>
  cause instanceof Deno.errors.NotCapable || (isLookupFailure(cause) && codeOf(cause) === "EPERM");
const permissionAdvice = () => "Deno has no network permission; run it with --allow-net";
// Deno has no error class for a failed lookup. On Windows, it also looks up zones, and the message is in the language of
// the system, so only its number tells: WSAHOST_NOT_FOUND to WSANO_DATA.
const isLookupFailure = (cause: unknown) => /lookup|getaddrinfo|os error 1100[1-4]\b/.test(messageOf(cause));

const isZoneMissing = (cause: unknown, { hostname }: HasHostname) =>
  codeOf(cause) === "EINVAL" && isLinkLocal(hostname) && !hostname.includes("%");
// On Windows, a zone is the number of an interface.
const [zone, exampleZone] = Deno.build.os === "windows" ? ["the number", "12"] : ["the name", "eth0"];
const missingZoneAdvice = ({ hostname }: HasHostname) =>
  `${quote(hostname)} needs a zone; add the network interface, as in fe80::1%${exampleZone}`;
const isZoneInvalid = (cause: unknown, { hostname }: HasHostname) =>
  hostname.includes("%") && (isLookupFailure(cause) || /os error 19\b/.test(messageOf(cause))); // ENODEV, without a code
const zoneAdvice = ({ hostname }: HasHostname) =>
  isLinkLocal(hostname)
    ? `unknown network interface in ${quote(hostname)}; after the %, write ${zone} of an interface of this machine`
    : `${quote(hostname)} has a zone, which only a link-local address can have; write ${
      truncate(hostname.replace(/%.*/s, ""))
    }`;
/** Whether a host, such as `::g`, is not a valid address and cannot be a name. */
const isHostInvalid = (cause: unknown) => cause instanceof URIError;

/**
 * Says what to do if the system does not permit a port. The port may be above 1023: Linux can set another limit.
 * `executable` is the path of greeter if it has been compiled, or `undefined` if Deno runs it.
 */
export function portPermissionAdvice(port: number, os: typeof Deno.build.os, executable: string | undefined): string {
  if (os === "windows") {
    return `port ${port} may be reserved; choose another with --port, ` +
      "or list what is reserved with netsh interface ipv4 show excludedportrange protocol=tcp";
  }
  if (os !== "linux" || executable === undefined) {
    return `port ${port} requires privileges; choose another with --port, or run greeter with sudo`;
  }
  const path = /^[\w@%+=:,./-]+$/.test(executable) ? executable : `'${executable.replaceAll("'", String.raw`'\''`)}'`;
  return `port ${port} requires privileges; choose another with --port, run greeter with sudo, ` +
    `or permit it with sudo setcap cap_net_bind_service=+ep ${path}`;
}

/** The system has no descriptor left for any process, so a higher limit of this process would not help. */
const isSystemOutOfDescriptors = (cause: unknown) => codeOf(cause) === "ENFILE";
const systemDescriptorsAdvice = () =>
  "the system's limit on open files is reached; close other programs, or raise the limit";

/**
 * How many descriptors are needed in addition to one for each port at each address: those that the server reserves for connections, and
 * those of the runtime, with a margin.
 */
const MORE_DESCRIPTORS = 100;

/** A limit on open files that is enough for the client, which then checks fewer ports at once. */
const CLIENT_DESCRIPTORS = 1024;

/** Says which of two addresses to use if they exclude each other. Neither covers the other if they are the same address. */
function exclusionAdvice({ hostname, excludedBy = "", addressCount }: ListenError): string {
  const problem = `${quote(excludedBy)} and ${quote(hostname)} cannot share a port`;
  const both = [excludedBy, hostname];
  const isCovered = both.includes("::") || (both.includes("0.0.0.0") && both.every((each) => !each.includes(":")));
  if (!isCovered) return `${problem}; use only one of them with --host`;
  const all = both.includes("::") ? "::" : "0.0.0.0";
  if (addressCount <= 2) return `${problem}; write -H ${all} alone, which covers both`;
  return `${problem}; remove -H ${truncate(both.find((each) => each !== all) ?? "")}, which ${all} covers`;
}

/** Advice for the causes of a `ListenError`. The first entry whose test passes applies. */
const LISTEN_ADVICE: readonly Advice<ListenError>[] = [
  { test: (_, { excludedBy }) => excludedBy !== undefined, advice: exclusionAdvice },
  {
    test: (cause, { port }) => cause instanceof Deno.errors.AddrInUse && port === 0,
    advice: ({ addressCount }) => {
      const problem = addressCount > 1
        ? "found no ephemeral port that is free at each address"
        : "no ephemeral port is left";
      return `${problem}; choose ports other than 0 with --port`;
    },
  },
  {
    test: (cause) => cause instanceof Deno.errors.AddrInUse,
    advice: ({ hostname, portCount, addressCount, portsInUse }) => {
      const ports = formatSomePorts(portsInUse);
      const hasSeveral = addressCount > 1;
      if (portsInUse.length > 1) {
        return `ports ${ports} are in use${hasSeveral ? " at one of the addresses" : ""}; choose others with --port`;
      }
      // Without another port, nothing would be left to listen on.
      const skip = portCount > 1 ? ", or skip it with --skip-taken" : "";
      return `port ${ports} is in use${hasSeveral ? ` at ${quote(hostname)}` : ""}; choose another with --port${skip}`;
    },
  },
  { test: isSystemOutOfDescriptors, advice: systemDescriptorsAdvice },
  {
    test: (_, { maxPorts }) => maxPorts !== undefined,
    advice: ({ portCount, addressCount, maxPorts }) => {
      const where = addressCount > 1 ? ` at ${addressCount} addresses` : "";
      const problem = maxPorts === 0
        ? "the limit on open files is too low"
        : `too many ports: the limit on open files allows only ${maxPorts}${where}`;
      return `${problem}; raise it with ulimit -n ${portCount * addressCount + MORE_DESCRIPTORS}`;
    },
  },
  {
    test: (cause) => cause instanceof Deno.errors.PermissionDenied,
    advice: ({ port }) =>
      portPermissionAdvice(port, Deno.build.os, Deno.build.standalone ? Deno.execPath() : undefined),
  },
  { test: isPermissionMissing, advice: permissionAdvice },
  {
    test: (cause) => cause instanceof Deno.errors.AddrNotAvailable,
    advice: ({ hostname }) => `${quote(hostname)} is not an address of this machine; choose another with --host`,
  },
  { test: isZoneInvalid, advice: zoneAdvice },
  {
    test: isHostInvalid,
    advice: ({ hostname }) => `${quote(hostname)} is not a valid name or address; choose another with --host`,
  },
  {
    test: isLookupFailure,
    advice: ({ hostname }) => `unknown host ${quote(hostname)}; choose another with --host`,
  },
  { test: isZoneMissing, advice: missingZoneAdvice },
  {
    test: (cause) => codeOf(cause) === "EINVAL", // such as a multicast address
    advice: ({ hostname }) => `no program can listen on ${quote(hostname)}; choose another address with --host`,
  },
];

/** Advice for the causes of a `ConnectError`. The first entry whose test passes applies. */
const CONNECT_ADVICE: readonly Advice<ConnectError>[] = [
  { test: isZoneInvalid, advice: zoneAdvice },
  { test: isHostInvalid, advice: ({ hostname }) => `${quote(hostname)} is not a valid name or address; check it` },
  { test: isPermissionMissing, advice: permissionAdvice },
  { test: isLookupFailure, advice: ({ hostname }) => `unknown host ${quote(hostname)}; check the name` },
  {
    test: (cause) => cause === NO_IPV4,
    advice: ({ hostname }) => `${quote(hostname)} has no IPv4 address; check the host, or omit --ipv4`,
  },
  {
    test: (cause) => cause === NO_IPV6,
    advice: ({ hostname }) => `${quote(hostname)} has no IPv6 address; check the host, or omit --ipv6`,
  },
  { test: isZoneMissing, advice: missingZoneAdvice },
  { test: isSystemOutOfDescriptors, advice: systemDescriptorsAdvice },
  {
    test: isOutOfDescriptors,
    advice: () => `too many open files; raise the limit with ulimit -n ${CLIENT_DESCRIPTORS}`,
  },
  {
    test: (cause) => cause instanceof Deno.errors.PermissionDenied,
    advice: ({ hostname }) => `this machine does not permit connections to ${quote(hostname)}; nothing is proven`,
  },
  {
    test: (cause, { hostname }) => isLocalError(cause, hostname) && !isOutOfResources(cause),
    advice: ({ hostname }) => `this machine or a router has no route to ${quote(hostname)}; nothing is proven`,
  },
  {
    test: isOutOfResources,
    advice: ({ hostname }) =>
      `no local address or port is available for a connection to ${quote(hostname)}; check the network of this machine`,
  },
];

function adviceFor<E extends ListenError | ConnectError>(table: readonly Advice<E>[], error: E): string {
  return table.find(({ test }) => test(error.cause, error))?.advice(error) ?? messageOf(error.cause);
}

/** Returns the message for a `ListenError`: `cannot listen: port 80 is in use; choose another with --port`. */
export function listenMessage(error: ListenError): string {
  return `cannot listen: ${adviceFor(LISTEN_ADVICE, error)}`;
}

/** Returns the message for a `ConnectError`: `cannot connect: unknown host "lab.example"; check the name`. */
export function connectMessage(error: ConnectError): string {
  // EAI_AGAIN also means that the name server has a problem of its own. Deno 2.6 does not distinguish it from ENOTFOUND.
  if (error.cause === LOOKUP_TIMEOUT || codeOf(error.cause) === "EAI_AGAIN") {
    return `cannot look up ${
      quote(error.hostname)
    }: the name server does not answer; check the network of this machine`;
  }
  return `cannot connect: ${adviceFor(CONNECT_ADVICE, error)}`;
}
