/**
 * Checks the options of `checkPorts()`.
 *
 * @module
 */
import { checkAddress } from "../shared/addresses.ts";
import { MAX_GREETING_BYTES } from "../shared/limits.ts";
import { checkInteger, checkMilliseconds } from "../shared/ranges.ts";
import {
  type Check,
  CHECK_DEFAULTS,
  type CheckOptions,
  MAX_RATE,
  MIN_BLOCKED_TIMEOUT_MS,
  MIN_RATE,
  type TextOrBytes,
} from "./options.ts";
import { BLOCKED_STATES, type BlockedState, type Expectation, EXPECTATIONS } from "./results.ts";

/** Ports by what they should do. */
export type PortsByExpectation = Readonly<Record<Expectation, readonly number[]>>;

/** The ports of a check, each once. */
export function portsByExpectation(
  { greeted, open = [], blocked = [] }: Pick<Check, Expectation>,
): PortsByExpectation {
  const unique = (ports: number | readonly number[]) => [...new Set([ports].flat())];
  const isDefault = greeted === undefined && [open, blocked].flat().length === 0;
  return {
    greeted: unique(greeted ?? (isDefault ? CHECK_DEFAULTS.greeted : [])),
    open: unique(open),
    blocked: unique(blocked),
  };
}

/**
 * Rejects what is out of range.
 *
 * @throws {RangeError} If a number is out of range, there is no check, no host or no port, a numeric address is ambiguous,
 * a port has two expectations, or a text is empty or too long. The message begins with the option's name.
 */
export function validateChecks(checks: readonly Check[], { timeout, within, rate, concurrency }: CheckOptions) {
  if (checks.length === 0) throw new RangeError("checks: expected at least one check");
  for (const check of checks) validateCheck(check);
  checkMilliseconds("timeout", timeout);
  const hasBlocked = checks.some(({ blocked = [] }) => [blocked].flat().length > 0);
  if (hasBlocked && timeout !== undefined && timeout < MIN_BLOCKED_TIMEOUT_MS) {
    throw new RangeError(
      `timeout: expected at least ${MIN_BLOCKED_TIMEOUT_MS} milliseconds for blocked ports, not ${timeout}`,
    );
  }
  if (within !== 0) checkMilliseconds("within", within);
  if (rate !== undefined && !(rate >= MIN_RATE && rate <= MAX_RATE)) {
    throw new RangeError(`rate: expected from ${MIN_RATE} to ${MAX_RATE} connections a second, not ${rate}`);
  }
  checkInteger("concurrency", concurrency, 1, Number.MAX_SAFE_INTEGER);
}

function validateCheck(check: Check) {
  const { hostname, greeted, open, blocked, blockedState, family } = check;
  if ([hostname].flat().length === 0) throw new RangeError("hostname: expected at least one host");
  for (const each of [hostname].flat()) {
    if (each === "") throw new RangeError("hostname: expected a name or an address, not an empty text");
    checkAddress("hostname", each);
  }
  for (const [name, ports] of Object.entries({ greeted, open, blocked })) {
    if (ports === undefined) continue;
    for (const each of [ports].flat()) checkInteger(name, each, 1, 65_535);
  }
  const ports = portsByExpectation(check);
  if (Object.values(ports).every(({ length }) => length === 0)) {
    throw new RangeError("greeted: expected at least one port");
  }
  const expectationOf = new Map<number, Expectation>();
  for (const expectation of EXPECTATIONS) {
    for (const port of ports[expectation]) {
      const other = expectationOf.get(port);
      if (other) throw new RangeError(`${expectation}: port ${port} must be ${other} already`);
      expectationOf.set(port, expectation);
    }
  }
  if (typeof blockedState === "string") checkBlockedState(blockedState);
  if (family !== undefined && family !== 4 && family !== 6) {
    throw new RangeError(`family: expected 4 or 6, not ${family}`);
  }
}

/**
 * Accepts the states in which a blocked port can pass.
 *
 * @throws {RangeError} For any other state.
 */
export function checkBlockedState(state: BlockedState) {
  if (BLOCKED_STATES.includes(state)) return;
  throw new RangeError(`blockedState: expected ${BLOCKED_STATES.join(", ")}, not ${state}`);
}

/**
 * Encodes a text.
 *
 * @throws {RangeError} If it is empty or too long.
 */
export function encodeOption(name: string, text: TextOrBytes): Uint8Array {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  if (bytes.length > 0 && bytes.length <= MAX_GREETING_BYTES) return bytes;
  throw new RangeError(`${name}: expected from 1 to ${MAX_GREETING_BYTES} bytes, not ${bytes.length}`);
}
