/**
 * The messages for errors that the user can fix.
 *
 * @module
 */
import { isOutOfDescriptors, type ListenError } from "../server.ts";
import { quote } from "./args.ts";
import { messageOf } from "./format.ts";

/** Standard input cannot be read, or standard output cannot be written. */
export class StreamError extends Error {
  /** Always `"StreamError"`. */
  override readonly name = "StreamError";
}

/** What each cause of a `ListenError` means, and what to do. The first entry whose test passes applies. */
const LISTEN_ADVICE: readonly {
  test: (cause: unknown) => boolean;
  advice: (error: ListenError) => string;
}[] = [
  {
    test: (cause) => cause instanceof Deno.errors.AddrInUse,
    advice: ({ port }) => `port ${port} is in use; choose another with --port`,
  },
  {
    test: isOutOfDescriptors,
    advice: ({ possible = 0 }) =>
      `too many ports: only ${possible} are possible with this limit of open files; raise it with ulimit -n`,
  },
  {
    test: (cause) => cause instanceof Deno.errors.PermissionDenied,
    advice: ({ port }) => `port ${port} requires privileges; try --port 9999 or --port 1024-, or run as root`,
  },
  {
    test: (cause) => cause instanceof Deno.errors.NotCapable,
    advice: () => "Deno has no network permission; run it with --allow-net",
  },
  {
    test: (cause) => cause instanceof Deno.errors.AddrNotAvailable,
    advice: ({ hostname }) => `${quote(hostname)} is not an address of this machine; choose another with --host`,
  },
  {
    test: (cause) => cause instanceof URIError,
    advice: ({ hostname }) => `${quote(hostname)} is not a valid host name; choose another with --host`,
  },
  {
    // Deno has no error class for a failed lookup.
    test: (cause) => /lookup|No such host/.test(messageOf(cause)),
    advice: ({ hostname }) => `unknown host ${quote(hostname)}; choose another with --host`,
  },
  { test: () => true, advice: ({ cause }) => messageOf(cause) },
];

/** The message for a `ListenError`: `cannot listen: port 80 is in use; choose another with --port`. */
export function listenMessage(error: ListenError): string {
  const entry = LISTEN_ADVICE.find(({ test }) => test(error.cause));
  return `cannot listen: ${entry?.advice(error) ?? error.message}`;
}
