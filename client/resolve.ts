/**
 * Looks up the addresses of a host.
 *
 * @module
 */
import { unlessAborted } from "../shared/abort.ts";
import { codeOf } from "../shared/errors.ts";
import { type Check, CHECK_DEFAULTS, type CheckOptions } from "./options.ts";
import { ConnectError } from "./results.ts";

/** The causes of a `ConnectError` if the host has no address of the family in `family`. The name may be unknown. */
export const NO_IPV4: Error = new Error("the host has no IPv4 address");
/** The same for IPv6. */
export const NO_IPV6: Error = new Error("the host has no IPv6 address");

/** The cause of a `ConnectError` if the system's resolver has not answered in time. */
export const LOOKUP_TIMEOUT: Error = new Error("the lookup was not answered");

/**
 * How long a lookup may take by default, in milliseconds. glibc sends its query again after 5 s, and gives up after 10 to
 * 15 s.
 */
export const LOOKUP_TIMEOUT_MS = 16_000;

/**
 * The shortest time from the start of one lookup of a name to the next one, in milliseconds. Only the last lookup, which
 * starts at the deadline, may follow sooner.
 */
const LOOKUP_INTERVAL_MS = 1000;

/** Matches addresses, with or without a zone. Also matches some invalid ones, which the system rejects. */
const ADDRESS = /^\d+\.\d+\.\d+\.\d+$|:/;

/** A host, and what is known about its addresses. */
export class Host {
  /** The name or address as given. */
  readonly name: string;
  readonly #family: 4 | 6 | undefined;
  /** A lookup ends after this time, in milliseconds, or at the deadline if that is later. */
  readonly #timeout: number;
  readonly #isAddress: boolean;
  /** The addresses of the last lookup that succeeded. */
  #addresses: readonly string[] = [];
  /** What the last lookup threw, or `undefined` if it succeeded. */
  #error: unknown;
  /** When the last lookup was started. */
  #started = -Infinity;
  /** The lookup that is running. It cannot be canceled. */
  #running: Promise<void> | undefined;

  /** Looks nothing up yet. */
  constructor(
    name: string,
    { family, timeout, within = 0 }: Pick<Check, "family"> & Pick<CheckOptions, "timeout" | "within">,
  ) {
    this.name = name;
    this.#family = family;
    this.#timeout = timeout ?? (within > 0 ? CHECK_DEFAULTS.timeout : LOOKUP_TIMEOUT_MS);
    this.#isAddress = ADDRESS.test(name);
  }

  /** The addresses of the last lookup that succeeded, in the order in which they are tried: IPv4 first. */
  get addresses(): readonly string[] {
    return this.#addresses;
  }

  /** Whether the last lookup failed, or has not been answered for as long as the timeout. */
  get isLookupFailing(): boolean {
    const isLate = this.#running !== undefined && performance.now() - this.#started >= this.#timeout;
    return this.#error !== undefined || isLate;
  }

  /** Waits until no lookup is running, or the one that is has not been answered for as long as the timeout. */
  async lookupEnded(signal: AbortSignal) {
    const left = this.#started + this.#timeout - performance.now();
    if (this.#running && left > 0) await endsWithin(this.#running, left, signal);
  }

  /** Starts a lookup in the background, unless the last one was started less than a second ago or has not ended. */
  refresh() {
    if (!this.#isRecent) this.#lookUp();
  }

  /**
   * Waits until a recent lookup has succeeded. Tries again until `deadline`, on the clock of `performance.now()`, or until
   * the signal is aborted. A lookup that is running at the deadline is the last one.
   *
   * @throws {ConnectError} If the last lookup failed, or was not answered within the timeout.
   */
  async resolve(deadline: number, signal: AbortSignal) {
    while (!signal.aborted) {
      if (this.#isRecent && !this.#running && this.#error === undefined) return;
      let start = performance.now();
      if (!this.#running) {
        const pause = Math.min(this.#started + LOOKUP_INTERVAL_MS, Math.max(deadline, start)) - start;
        if (pause > 0) await sleep(pause, signal);
        start += Math.max(pause, 0); // not the time after the pause: a timer can be early by less than a millisecond
      }
      // A lookup cannot be canceled, and would keep the process alive.
      if (signal.aborted) return;
      const lookup = this.#lookUp();
      // A lookup that is not answered may run until the deadline, because another one would not be answered either.
      const end = Math.max(this.#started + this.#timeout, deadline);
      const isAnswered = await endsWithin(lookup, end - performance.now(), signal);
      if (isAnswered && this.#error === undefined) return;
      const isLast = Math.max(start, performance.now()) >= deadline;
      // Neither the family of an address changes, nor whether the program may look up names: Deno throws EPERM if not.
      const isFinal = this.#isAddress || codeOf(this.#error) === "EPERM";
      if ((isLast || isFinal) && !signal.aborted) {
        throw new ConnectError(this.name, isAnswered ? this.#error : LOOKUP_TIMEOUT);
      }
    }
  }

  get #isRecent(): boolean {
    if (this.#isAddress && this.#addresses.length > 0) return true;
    return performance.now() - this.#started < LOOKUP_INTERVAL_MS;
  }

  #lookUp(): Promise<void> {
    // Not at the end of replaceAddresses(), which may run before this assignment: nothing is awaited for an address.
    return this.#running ??= this.#replaceAddresses().finally(() => this.#running = undefined);
  }

  async #replaceAddresses() {
    this.#started = performance.now();
    const family = this.#family;
    try {
      const addresses = this.#isAddress ? [this.name] : await lookUpAddresses(this.name, family);
      const found = addresses.filter((address) => family === undefined || familyOf(address) === family);
      if (found.length === 0) throw family === 4 ? NO_IPV4 : NO_IPV6;
      this.#addresses = found;
      this.#error = undefined;
    } catch (error) {
      // The system does not say whether the name has an address of the other family.
      const isNotFound = family !== undefined && codeOf(error) === "ENOTFOUND";
      this.#error = isNotFound ? (family === 4 ? NO_IPV4 : NO_IPV6) : error;
    }
  }
}

function familyOf(address: string): 4 | 6 {
  return address.includes(":") ? 6 : 4;
}

/**
 * Returns the addresses of a name, each once: IPv4 first, otherwise in the order of the system. With a family, asks only
 * for that one, because some name servers never answer for the other. Deno 2.6 asks for both, and omits the other.
 */
export async function lookUpAddresses(name: string, family?: 4 | 6): Promise<string[]> {
  // Imported here because loading it takes time, and because Deno 2.6 prints a warning when it is loaded.
  const { lookup } = await import("node:dns/promises");
  // Not left to Deno.connect(), which would resolve the name for each probe, and whose error has no code. `verbatim` is
  // not the default in Deno 2.6.
  const found = await lookup(name, { all: true, verbatim: true, family: family ?? 0 });
  const addresses = [...new Set(found.map(({ address }) => address))];
  return addresses.toSorted((a, b) => familyOf(a) - familyOf(b));
}

/** Waits for `ms` milliseconds, or until the signal is aborted. */
async function sleep(ms: number, signal: AbortSignal) {
  await endsWithin(new Promise<void>(() => {}), ms, signal);
}

/** Whether a promise resolves within `ms` milliseconds, and before the signal is aborted. */
async function endsWithin(promise: Promise<void>, ms: number, signal: AbortSignal): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), Math.max(ms, 0)); // Deno warns about a negative delay
  const isInTime = await unlessAborted(Promise.race([promise.then(() => true), late]), signal);
  clearTimeout(timer);
  return isInTime ?? false;
}
