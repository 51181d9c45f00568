/**
 * Checks for numeric options. They reject numbers that would otherwise fail later, or be rounded silently.
 *
 * @module
 */

/** The longest delay that setTimeout() accepts, in milliseconds. A longer one would fire at once. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * Accepts whole numbers in a range, and `undefined`.
 *
 * @throws {RangeError} For any other value. The message begins with the option's name.
 */
export function checkInteger(name: string, value: number | undefined, min: number, max: number) {
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return;
  throw new RangeError(`${name}: expected a whole number from ${min} to ${max}, not ${value}`);
}

/**
 * Accepts durations above 0 that setTimeout() accepts, and `undefined`.
 *
 * @throws {RangeError} For any other value. The message begins with the option's name.
 */
export function checkMilliseconds(name: string, value: number | undefined) {
  if (value === undefined || (value > 0 && value <= MAX_TIMEOUT_MS)) return;
  throw new RangeError(`${name}: expected more than 0 and at most ${MAX_TIMEOUT_MS} milliseconds, not ${value}`);
}
