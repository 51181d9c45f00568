/**
 * Waiting.
 *
 * @module
 */

/** Waits for so many milliseconds, or until the signal is aborted. */
export async function sleep(ms: number, signal: AbortSignal | undefined) {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  signal?.addEventListener("abort", () => resolve(), { once: true });
  if (signal?.aborted) resolve();
  await promise;
  clearTimeout(timer);
}
