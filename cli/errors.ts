/**
 * The messages for errors that the user can fix.
 *
 * @module
 */
import { type ConnectError, isOutOfResources, NO_IPV6 } from "../client.ts";
import { codeOf } from "../error_code.ts";
import { isOutOfDescriptors, type ListenError } from "../server.ts";
import { quote } from "./args.ts";
import { messageOf } from "./format.ts";
import { formatPorts } from "./ports.ts";

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

const isInvalidArgument = (cause: unknown) => codeOf(cause) === "EINVAL";
const isPermissionMissing = (cause: unknown) => cause instanceof Deno.errors.NotCapable;
const permissionAdvice = () => "Deno has no network permission; run it with --allow-net";
// Deno has no error class for a failed lookup.
const isLookupFailure = (cause: unknown) => /lookup|getaddrinfo|No such host/.test(messageOf(cause));
const hasZone = (_cause: unknown, { hostname }: { hostname: string }) => /:.*%/.test(hostname);
const zoneAdvice = ({ hostname }: { hostname: string }) =>
  `unknown network interface in ${quote(hostname)}; after the %, write the name of an interface of this machine`;
const missingZoneAdvice = ({ hostname }: { hostname: string }) =>
  `${quote(hostname)} needs a zone; add the network interface, as in fe80::1%eth0`;

/** Advice for the causes of a `ListenError`. The first entry whose test passes applies. */
const LISTEN_ADVICE: readonly Advice<ListenError>[] = [
  {
    test: (cause, { port }) => cause instanceof Deno.errors.AddrInUse && port === 0,
    advice: () => "no ephemeral port is left; choose ports other than 0 with --port",
  },
  {
    test: (cause) => cause instanceof Deno.errors.AddrInUse,
    advice: ({ portsInUse }) =>
      portsInUse.length === 1
        ? `port ${formatPorts(portsInUse)} is in use; choose another with --port`
        : `ports ${formatPorts(portsInUse)} are in use; choose others with --port`,
  },
  {
    test: isOutOfDescriptors,
    advice: ({ maxPorts }) =>
      `too many ports: the limit on open files allows only ${maxPorts}; raise it with ulimit -n`,
  },
  {
    test: (cause) => cause instanceof Deno.errors.PermissionDenied,
    advice: ({ port }) => `port ${port} requires privileges; try --port 9999 or --port 1024-, or run as root`,
  },
  { test: isPermissionMissing, advice: permissionAdvice },
  {
    test: (cause) => cause instanceof Deno.errors.AddrNotAvailable,
    advice: ({ hostname }) => `${quote(hostname)} is not an address of this machine; choose another with --host`,
  },
  {
    test: (cause) => cause instanceof URIError,
    advice: ({ hostname }) => `${quote(hostname)} is not a valid host name; choose another with --host`,
  },
  { test: (cause, error) => isLookupFailure(cause) && hasZone(cause, error), advice: zoneAdvice },
  {
    test: isLookupFailure,
    advice: ({ hostname }) => `unknown host ${quote(hostname)}; choose another with --host`,
  },
  { test: isInvalidArgument, advice: missingZoneAdvice },
];

/** Advice for the causes of a `ConnectError`. The first entry whose test passes applies. */
const CONNECT_ADVICE: readonly Advice<ConnectError>[] = [
  { test: (cause, error) => isLookupFailure(cause) && hasZone(cause, error), advice: zoneAdvice },
  { test: isLookupFailure, advice: ({ hostname }) => `unknown host ${quote(hostname)}; check the name` },
  {
    test: (cause) => cause === NO_IPV6,
    advice: ({ hostname }) => `${quote(hostname)} has no IPv6 address; omit --ipv6`,
  },
  { test: isPermissionMissing, advice: permissionAdvice },
  { test: isInvalidArgument, advice: missingZoneAdvice },
  { test: isOutOfDescriptors, advice: () => "too many open files; raise the limit with ulimit -n" },
  {
    test: isOutOfResources,
    advice: ({ hostname }) =>
      `no local address or port is left for a connection to ${quote(hostname)}; check the network of this machine`,
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
  return `cannot connect: ${adviceFor(CONNECT_ADVICE, error)}`;
}
