/**
 * What tests need, and whether it is there.
 *
 * @module
 */

/** Whether the tests run on Linux, which has `/proc`. */
export const isLinux = Deno.build.os === "linux";

/** For tests that send SIGTERM. */
export const needsSignals = { ignore: Deno.build.os === "windows" };

/** For tests that read `/proc`. */
export const needsProc = { ignore: !isLinux };

/** Whether tests may start processes. `deno task test:quick` forbids it. */
export const canRun: boolean = Deno.permissions.querySync({ name: "run" }).state === "granted";

/** For tests that run programs, which must be in PATH. */
export function needsPrograms(...programs: string[]): { ignore: boolean } {
  const isInstalled = (program: string) =>
    canRun && Deno.build.os !== "windows" &&
    new Deno.Command("sh", { args: ["-c", `command -v ${program}`] }).outputSync().success;
  return { ignore: !programs.every(isInstalled) };
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
