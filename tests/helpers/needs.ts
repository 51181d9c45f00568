/**
 * What tests need, and whether it is there.
 *
 * @module
 */

/** Whether the tests run on Linux, which has `/proc`. */
export const isLinux = Deno.build.os === "linux";

const isWindows = Deno.build.os === "windows";

/** Whether tests may start processes. `deno task test:quick` forbids it. */
export const canRun: boolean = Deno.permissions.querySync({ name: "run" }).state === "granted";

/** What a test may need, except programs, in the words of its name. */
const AVAILABLE: Record<string, () => boolean> = {
  "Linux": () => isLinux,
  "Linux or IPv6": () => isLinux || hasIPv6(),
  "Linux or Windows": () => isLinux || isWindows,
  "/proc": () => isLinux,
  "/dev/full": () => isLinux,
  "root": () => isLinux && Deno.uid() === 0,
  "signals": () => !isWindows,
  "symbolic links": () => !isWindows, // they need privileges there
  "IPv6": hasIPv6,
  "IPv6 sockets that accept IPv4": () => hasIPv6() && !isWindows,
  "the run permission": () => canRun,
  "a binary": () => Deno.env.has("GREETER_BINARY"),
  // Not the executable: its permissions are built in, and its runtime is older.
  "deno run": () => !Deno.env.has("GREETER_BINARY"),
  // In earlier versions, close() does not cancel a blocked write.
  "Deno 2.9.5": () => !/^2\.9\.[0-4]$/.test(Deno.version.deno),
  // Other systems have a program of that name with other options.
  "script": () => isLinux && isInstalled("script"),
  "GREETER_SOAK": () => Deno.env.has("GREETER_SOAK"),
};

/** Something that a test needs, and that only the test can describe, such as a network of its own. */
export interface Need {
  /** In the words of the name of a test. */
  names: string[];
  isAvailable: boolean;
}

const list = new Intl.ListFormat("en");

/**
 * The name and the `ignore` of a test that is skipped unless everything that it needs is there. A need that is not in the
 * list of this module is a program in PATH.
 */
export function needs(name: string, ...needed: (string | Need)[]): { name: string; ignore: boolean } {
  if (needed.length === 0) return { name, ignore: false };
  const names = needed.flatMap((need) => typeof need === "string" ? need : need.names);
  const isAvailable = (need: string | Need) =>
    typeof need === "string" ? AVAILABLE[need]?.() ?? isInstalled(need) : need.isAvailable;
  return { name: `${name} (needs ${list.format(names)})`, ignore: !needed.every(isAvailable) };
}

/** Whether a program is in PATH, and tests may run it. */
function isInstalled(program: string): boolean {
  return canRun && !isWindows &&
    new Deno.Command("sh", { args: ["-c", `command -v ${program}`] }).outputSync().success;
}

/** Whether this machine has IPv6 on its loopback interface. */
export function hasIPv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}
