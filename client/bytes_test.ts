import { assertEquals } from "@std/assert";
import { MAX_GREETING_BYTES } from "../shared/limits.ts";
import { enlarge, includes } from "./bytes.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("includes() finds bytes at the beginning, in the middle and at the end", () => {
  for (const part of ["a", "abac", "b", "abc", "ababacabc"]) {
    assertEquals(includes(bytes("ababacabc"), bytes(part)), true);
  }
  for (const part of ["d", "acb", "aba ", "ababacabca"]) assertEquals(includes(bytes("ababacabc"), bytes(part)), false);
  assertEquals(includes(bytes(""), bytes("a")), false);
  assertEquals(includes(new Uint8Array([0, 255, 0, 0]), new Uint8Array([0, 0])), true);
});

Deno.test("enlarge() copies the bytes, and makes the buffer four times as long, up to 16 KiB", () => {
  assertEquals(enlarge(bytes("ab")), bytes("ab\0\0\0\0\0\0"));
  assertEquals(enlarge(new Uint8Array(8192)).length, MAX_GREETING_BYTES);
});
