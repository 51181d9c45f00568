/**
 * A short form of `checkPorts()` for tests. It has no side effects, so that scripts in processes can import it.
 *
 * @module
 */
import { type Check, checkPorts, type ProbeResult } from "../../client.ts";
import type { PoolOptions } from "../../client/pool.ts";

/** A check, by default of 127.0.0.1, and its options in one object. */
export type CheckArguments = Partial<Check> & PoolOptions;

/** Calls `checkPorts()` with a single check. */
export function check(
  { hostname = "127.0.0.1", greeted, open, blocked, blockedState, expect, send, family, ...options }: CheckArguments,
): AsyncGenerator<ProbeResult, void, void> {
  return checkPorts({ hostname, greeted, open, blocked, blockedState, expect, send, family }, options);
}
