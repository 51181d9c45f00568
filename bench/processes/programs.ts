/**
 * The programs and files that the benchmark uses, and the cores that it runs them on.
 *
 * @module
 */

/** A directory for what the benchmark builds and writes. `bench.ts` removes it at the end. */
export const workDirectory = Deno.makeTempDirSync({ prefix: "greeter-bench-" });

/** The greetings are passed to the servers as files. */
export const shortGreeting = `${workDirectory}/short`;
export const longGreeting = `${workDirectory}/long`;
export const shortGreetingText = "Thank you for connecting to the server.";
Deno.writeTextFileSync(shortGreeting, `${shortGreetingText}\r\n`);
Deno.writeFileSync(longGreeting, Uint8Array.from({ length: 16_000 }, (_, i) => 97 + i % 26));

/** Whether a program is in PATH. */
export function has(program: string): boolean {
  return new Deno.Command("sh", { args: ["-c", `command -v ${program}`], stdout: "null" }).outputSync().success;
}

/** Compiles a C source, given by its URL. Returns the path of the executable. */
export async function compileC(source: URL): Promise<string> {
  const output = `${workDirectory}/${source.pathname.replace(/.*\/|\.c$/g, "")}`;
  const args = ["-O2", "-Wall", "-Wextra", "-o", output, source.pathname];
  const { success } = await new Deno.Command("cc", { args, stderr: "inherit" }).output();
  if (!success) throw new Error(`cc cannot compile ${source.pathname}`);
  return output;
}

/** Whether the server and the clients each have their own core. */
export const pinned = has("taskset") && navigator.hardwareConcurrency > 1;

const onCore = (core: number) => pinned ? ["taskset", "-c", `${core}`] : [];

/** The words before a command that run it on the server's core or on the clients' core. */
export const onServerCore: readonly string[] = onCore(0);
export const onClientCore: readonly string[] = onCore(1);

/** How many descriptors a process may have. */
export function descriptorLimit(): number {
  const { stdout } = new Deno.Command("sh", { args: ["-c", "ulimit -Hn"] }).outputSync();
  const limit = new TextDecoder().decode(stdout).trim();
  return limit === "unlimited" ? Infinity : Number(limit);
}

/** Waits for `ms` milliseconds. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
