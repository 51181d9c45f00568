/**
 * Accept errors: which ones clients cause, and how the server continues after the others.
 *
 * @module
 */
import { isOutOfDescriptors } from "../shared/errors.ts";
import type { ConnectionList } from "./connections.ts";
import { invoke } from "./invoke.ts";

/**
 * Whether an accept error was caused by a client. After `accept4()`, which returns the client's address, Deno requests it
 * again with `getpeername()`. That fails if the client has reset the connection, as `nmap -sT` does: with ENOTCONN on
 * Linux, and with EINVAL on macOS.
 */
export function isClientReset(error: unknown, os: typeof Deno.build.os = Deno.build.os): boolean {
  return error instanceof Deno.errors.NotConnected ||
    error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.ConnectionAborted ||
    // The class of EINVAL depends on the version of Deno: TypeError or InvalidInput, with or without a code. accept()
    // itself fails with EINVAL only on a socket that does not listen, so this cannot become a busy loop.
    (os === "darwin" && error instanceof Error && /os error 22\b/.test(error.message));
}

/** The shortest and the longest pause after an accept error, in milliseconds, as in Go's net/http. */
const ACCEPT_BACKOFF_MIN_MS = 5;
const ACCEPT_BACKOFF_MAX_MS = 1000;

/** The pause after an accept error, in milliseconds: twice the previous one, which is 0 after a success. */
export function nextBackoff(previous: number): number {
  return Math.min(Math.max(ACCEPT_BACKOFF_MIN_MS, 2 * previous), ACCEPT_BACKOFF_MAX_MS);
}

/** How long to wait for an evicted connection to free its descriptor before accepting again, in milliseconds. */
const EVICTION_WAIT_MS = 5;

/**
 * How long a lack of descriptors may last before it is reported, in milliseconds, while connections are being handled. A
 * settling connection has left the list, but still has its descriptor.
 */
const OUT_OF_DESCRIPTORS_GRACE_MS = 1000;

/** Handles accept errors. All ports share it, because errors such as a lack of descriptors affect all of them. */
export class AcceptErrors {
  readonly #connections: ConnectionList;
  readonly #onError: ((error: unknown) => void) | undefined;
  /** When accepting began to fail, or `undefined` if it works. */
  #failingSince: number | undefined;
  /** Whether an error has been reported since then. */
  #isReported = false;

  /** `onError` is called with the first error that is reported, and not again until accepting has worked. */
  constructor(connections: ConnectionList, onError: ((error: unknown) => void) | undefined) {
    this.#connections = connections;
    this.#onError = onError;
  }

  /** Records that accepting works. */
  end() {
    this.#failingSince = undefined;
    this.#isReported = false;
  }

  /**
   * Handles an accept error that was not caused by a client. If no descriptor is left, evicts a connection. Reports the
   * error unless it is likely to be temporary, and pauses. `isHandling` is whether connections are being handled, those
   * that are settling included, which will free their descriptors. Returns the pause in milliseconds. It ends early when a
   * connection can be evicted or is closed.
   */
  async pauseAfter(error: unknown, backoff: number, isHandling: boolean): Promise<number> {
    const isEvicted = isOutOfDescriptors(error) && this.#connections.evictOldest();
    // A silent client that is greeted now can be evicted after the next error.
    if (isOutOfDescriptors(error) && !isEvicted) this.#connections.endOldestWait();
    // Without a pause, a persistent error would make this a busy loop.
    const pause = isEvicted ? EVICTION_WAIT_MS : nextBackoff(backoff);
    const now = performance.now();
    this.#failingSince ??= now;
    const isTemporary = isOutOfDescriptors(error) && isHandling &&
      now - this.#failingSince < OUT_OF_DESCRIPTORS_GRACE_MS;
    if (!isTemporary && !this.#isReported) {
      this.#isReported = true;
      invoke(this.#onError, error);
    }
    await this.#connections.changed.wait(pause);
    return pause;
  }
}
