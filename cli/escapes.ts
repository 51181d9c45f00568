/**
 * The syntax of TEXT in options: placeholders, and escapes for bytes that are hard to type.
 *
 * @module
 */

/** Thrown if a backslash is not followed by what makes it an escape. */
export class InvalidEscape extends Error {
  /** Always `"InvalidEscape"`. */
  override readonly name = "InvalidEscape";
  /** The escape as typed, such as `\q`, `\x4`, or a single `\` at the end. */
  readonly escape: string;

  /** Creates the error for an escape as typed. */
  constructor(escape: string) {
    super(`invalid escape: ${escape}`);
    this.escape = escape;
  }
}

const PLACEHOLDER = /\{(\w+)\}/g;

/** Matches text without backslashes, or something that begins with a backslash. */
const PART = /[^\\]+|(\\(?:x[\dA-Fa-f]{0,2}|[^]?))/gu;

/** The bytes of escapes, except for `\xHH`. */
const BYTES: Readonly<Record<string, number>> = { "\\r": 0x0d, "\\n": 0x0a, "\\t": 0x09, "\\\\": 0x5c };

/** Matches `\c` at the end, unless its backslash is the second one of `\\`. */
const EXACT = /(?<!\\)(?:\\\\)*\\c$/;

/** The maximum number of bytes that a UTF-16 code unit takes in UTF-8. */
const MAX_BYTES_PER_CODE_UNIT = 3;

const encoder = new TextEncoder();

/** Removes `\c` from the end of TEXT. The greeting is then exact: the server appends nothing. */
export function splitEnd(text: string): { text: string; isExact: boolean } {
  const isExact = EXACT.test(text);
  return { text: isExact ? text.slice(0, -"\\c".length) : text, isExact };
}

/**
 * Converts TEXT to bytes. First replaces each placeholder `{name}` that `values` has. Then encodes the text as UTF-8,
 * and decodes the escapes `\r`, `\n`, `\t`, `\\` and `\xHH`, which is exactly one byte. A backslash in a value begins
 * no escape.
 *
 * @throws {InvalidEscape} If a backslash is not followed by what makes it an escape.
 */
export function encodeText(text: string, values: Readonly<Record<string, string>> = {}): Uint8Array<ArrayBuffer> {
  const expanded = text.replace(
    PLACEHOLDER,
    (placeholder, name) =>
      (Object.hasOwn(values, name) ? values[name]?.replaceAll("\\", "\\\\") : undefined) ?? placeholder,
  );
  return expanded.includes("\\") ? decodeEscapes(expanded) : encoder.encode(expanded);
}

/** Encodes text as UTF-8, except for its escapes, which it decodes. */
function decodeEscapes(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length * MAX_BYTES_PER_CODE_UNIT);
  let length = 0;
  for (const [part, escape] of text.matchAll(PART)) {
    if (escape === undefined) length += encoder.encodeInto(part, bytes.subarray(length)).written;
    else bytes[length++] = byteOf(escape);
  }
  return bytes.slice(0, length);
}

/** Returns the byte that an escape stands for. */
function byteOf(escape: string): number {
  const byte = escape.length === "\\xHH".length ? parseInt(escape.slice(2), 16) : BYTES[escape];
  if (byte === undefined) throw new InvalidEscape(escape);
  return byte;
}
