// The types of what greeter uses of the standard library. The npm packages that deno.json maps its names to have none, so
// without this file, `assertEquals("a", 1, 2, 3)` passes the type check. With JSR, this file is not needed.
//
// A top-level import or export would make this a module, whose declarations do not apply to the names in the import map.

declare module "@std/assert" {
  export function assert(condition: unknown, message?: string): asserts condition;
  export function assertEquals<T>(actual: T, expected: T, message?: string): void;
  export function assertNotEquals<T>(actual: T, expected: T, message?: string): void;
  export function assertMatch(actual: string, expected: RegExp, message?: string): void;
  export function assertStringIncludes(actual: string, expected: string, message?: string): void;
  export function assertThrows<E extends Error = Error>(
    fn: () => unknown,
    ErrorClass?: abstract new (...args: never[]) => E,
    messageIncludes?: string,
    message?: string,
  ): E;
  export function assertRejects<E extends Error = Error>(
    fn: () => PromiseLike<unknown>,
    ErrorClass?: abstract new (...args: never[]) => E,
    messageIncludes?: string,
    message?: string,
  ): Promise<E>;
}

declare module "@std/cli/parse-args" {
  export function parseArgs(
    args: readonly string[],
    options?: { string?: readonly string[]; collect?: readonly string[]; boolean?: readonly string[] },
  ): Record<string, unknown>;
}

declare module "@std/fmt/colors" {
  export function dim(text: string): string;
  export function green(text: string): string;
  export function red(text: string): string;
  export function yellow(text: string): string;
}

declare module "@std/fmt/duration" {
  export function format(ms: number, options?: { ignoreZero?: boolean }): string;
}

declare module "@std/text/closest-string" {
  export function closestString(givenWord: string, possibleWords: readonly string[]): string;
}

declare module "@std/text/levenshtein-distance" {
  export function levenshteinDistance(str1: string, str2: string): number;
}
