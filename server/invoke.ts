/**
 * Calls the functions in `ServeOptions`.
 *
 * @module
 */

/** Calls a callback. If it throws, reports the exception instead of ending the accept loop, and returns undefined. */
export function invoke<T, R>(callback: ((value: T) => R) | undefined, value: T): R | undefined {
  try {
    return callback?.(value);
  } catch (error) {
    reportError(error);
  }
}
