/**
 * Values for each host that is checked.
 *
 * @module
 */
import type { Check, ProbeResult } from "../../client.ts";
import type { HostCheck } from "./host_checks.ts";

/** A value for each host and family. */
export class HostMap<T> {
  readonly #values = new Map<string, T>();

  /** Creates the values. */
  constructor(checks: readonly HostCheck[], create: (check: HostCheck) => T) {
    for (const check of checks) this.#values.set(keyOf(check.hostname, check.family), create(check));
  }

  /** How many there are. */
  get size(): number {
    return this.#values.size;
  }

  /** Returns the value of a host and family. */
  get(hostname: string, family: Check["family"]): T | undefined {
    return this.#values.get(keyOf(hostname, family));
  }

  /** Returns the value of the host that a result belongs to. */
  of({ host, remoteAddr }: ProbeResult): T | undefined {
    // A host with a family has one for each check.
    return this.get(host, undefined) ?? this.get(host, remoteAddr.hostname.includes(":") ? 6 : 4);
  }

  /** Returns all values, in the order of the checks. */
  values(): T[] {
    return [...this.#values.values()];
  }
}

function keyOf(hostname: string, family: Check["family"]): string {
  return `${hostname} ${family}`;
}
