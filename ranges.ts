/**
 * Checks of options. They reject numbers that would otherwise fail late, or be rounded silently.
 *
 * @module
 */

/** The longest delay of setTimeout(), in milliseconds; with a longer one it would fire at once. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * Accepts whole numbers in a range, and `undefined`.
 *
 * @throws {RangeError} If the value is anything else. The message begins with the option's name.
 */
export function checkInteger(name: string, value: number | undefined, min: number, max: number) {
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return;
  throw new RangeError(`${name}: expected a whole number from ${min} to ${max}, not ${value}`);
}

/**
 * Accepts durations that setTimeout() accepts, and `undefined`.
 *
 * @throws {RangeError} If the value is anything else. The message begins with the option's name.
 */
export function checkMilliseconds(name: string, value: number | undefined) {
  if (value === undefined || (value > 0 && value <= MAX_TIMEOUT_MS)) return;
  throw new RangeError(`${name}: expected milliseconds above 0 and up to ${MAX_TIMEOUT_MS}, not ${value}`);
}
