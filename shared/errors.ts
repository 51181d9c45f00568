/**
 * The codes and messages of errors.
 *
 * @module
 */

/** Returns the system's name for an error, such as `EMFILE`, or `undefined`. Deno has no error classes for many of them. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if ("code" in error && typeof error.code === "string") return error.code;
  // Deno sets no code for it.
  return error.message.startsWith("Too many open files in system") ? "ENFILE" : undefined;
}

/** Whether no descriptor is left: EMFILE in this process, ENFILE in the system. */
export function isOutOfDescriptors(error: unknown): boolean {
  return ["EMFILE", "ENFILE"].includes(codeOf(error) ?? "");
}

/** Returns the message of any value that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
