/**
 * Text for terminals: color, and untrusted bytes without control characters.
 *
 * @module
 */

/** Colors text if it goes to a terminal. @std/fmt respects NO_COLOR, but does not know where the text goes. */
export function paint(color: (text: string) => string, stream: { isTerminal(): boolean }, text: string): string {
  return stream.isTerminal() ? color(text) : text;
}

const ESCAPES: Record<string, string> = { "\t": "\\t", "\n": "\\n", "\r": "\\r", '"': '\\"', "\\": "\\\\" };

/**
 * Quotes bytes and escapes all but printable ASCII, so that no client can control the reader's terminal or forge a line
 * of the log.
 *
 * @example
 * ```ts
 * import { quoteBytes } from "./terminal.ts";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(quoteBytes(new TextEncoder().encode("\u001b[2J\r\n")), String.raw`"\x1b[2J\r\n"`);
 * ```
 */
export function quoteBytes(bytes: Uint8Array): string {
  const escaped = latin1(bytes).replace(
    /[^ !#-[\]-~]/g,
    (char) => ESCAPES[char] ?? `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return `"${escaped}"`;
}

/** Decodes each byte to the character with its number. TextDecoder cannot do this: its latin1 is windows-1252. */
export function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
