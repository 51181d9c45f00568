/**
 * Waiting for what a test expects, with a deadline that only tells a hang.
 *
 * @module
 */
import { assert } from "@std/assert";
import type { Socket } from "node:net";

/** How long a test waits for anything, in milliseconds. This only has to tell a hang, also on a busy machine. */
export const DEADLINE_MS = 60_000;

/** For time limits of what is tested that must not end before {@linkcode DEADLINE_MS}. */
export const ENDLESS_MS = 3_600_000;

/** Waits until the condition is true. Fails if it is not true within {@linkcode DEADLINE_MS}. */
export async function until(condition: () => boolean | Promise<boolean>) {
  const deadline = performance.now() + DEADLINE_MS;
  while (!await condition()) {
    assert(performance.now() < deadline, `not within ${DEADLINE_MS} ms: ${condition}`);
    await delay(5);
  }
}

/** Waits for `ms` milliseconds. */
export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until a socket emits an event. */
export async function eventOf(socket: Socket, event: string) {
  await within(new Promise((resolve) => socket.once(event, resolve)));
}

/** Blocks the event loop for `ms` milliseconds. */
export function block(ms: number) {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** Returns the value of a promise. Fails after `ms` milliseconds. */
export async function within<T>(promise: Promise<T>, ms: number = DEADLINE_MS): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`not within ${ms} ms`)), ms);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Yields what a generator yields. Fails if it takes longer than the deadline for a value, or to end. */
export async function* timely<T>(values: AsyncGenerator<T>): AsyncGenerator<T> {
  try {
    for (let next = await within(values.next()); !next.done; next = await within(values.next())) yield next.value;
  } finally {
    await within(values.return(undefined));
  }
}

/**
 * Whether a check is true in at least one of five attempts. For upper limits of times, because a busy machine may delay an
 * attempt.
 */
export async function sometimes(check: () => Promise<boolean>): Promise<boolean> {
  for (let i = 0; i < 5; i++) {
    if (await check()) return true;
  }
  return false;
}
