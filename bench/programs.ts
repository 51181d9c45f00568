/** The machine, and the programs and files that the benchmark uses. @module */

/** A directory for what the benchmark builds and writes. */
export const workDirectory = `/tmp/greeter-bench-${Deno.pid}`;

/** The greetings are passed to the servers as files. */
export const shortGreeting = `${workDirectory}/short`;
export const longGreeting = `${workDirectory}/long`;
export const shortGreetingText = "Thank you for connecting to the server.";

/** The words before a command that run it on the server's core, or on the clients' core, if there are two. */
const onCore = (core: number) => navigator.hardwareConcurrency > 1 ? ["taskset", "-c", `${core}`] : [];
export const onServerCore: readonly string[] = onCore(0);
export const onClientCore: readonly string[] = onCore(1);

/** Writes the greetings, and compiles the C programs. To dispose of what it returns removes the directory. */
export function prepare(): Disposable {
  if (Deno.build.os !== "linux" || !has("cc")) throw new Error("the benchmark requires Linux and a C compiler (cc)");
  Deno.mkdirSync(workDirectory);
  Deno.writeTextFileSync(shortGreeting, `${shortGreetingText}\r\n`);
  Deno.writeFileSync(longGreeting, Uint8Array.from({ length: 16_000 }, (_, i) => 97 + i % 26));
  for (const source of ["load.c", "peers/accept.c"]) {
    const args = ["-O2", "-Wall", "-Wextra", "-o", programPath(source), `${import.meta.dirname}/${source}`];
    const { success, stderr } = new Deno.Command("cc", { args }).outputSync();
    if (!success) throw new Error(`cc cannot compile ${source}: ${new TextDecoder().decode(stderr)}`);
  }
  return { [Symbol.dispose]: () => Deno.removeSync(workDirectory, { recursive: true }) };
}

/** The path of the program that {@linkcode prepare} compiles from a source. */
export function programPath(source: string): string {
  return `${workDirectory}/${source.replace(/.*\/|\.c$/g, "")}`;
}

/** Runs a shell command. Returns what it prints to standard output, or `undefined` if it fails. */
export function shell(command: string): string | undefined {
  const { success, stdout } = new Deno.Command("sh", { args: ["-c", command], stderr: "null" }).outputSync();
  return success ? new TextDecoder().decode(stdout).trim() : undefined;
}

/** Whether a program is in PATH. */
export function has(program: string): boolean {
  return shell(`command -v ${program}`) !== undefined;
}

/** Whether this process is in a network namespace that has only a loopback interface. */
export function isAlone(): boolean {
  return shell("ip -o link")?.split("\n").length === 1;
}

/** Waits for `ms` milliseconds. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The machine and the versions of programs, for the page. */
export function describeMachine(): string {
  const cpu = Deno.readTextFileSync("/proc/cpuinfo").match(/model name\s*: (.*)/)?.[1] ?? "an unknown processor";
  const linux = `Linux ${Deno.osRelease().match(/^\d+\.\d+/)?.[0]}`;
  const version = (program: string) => shell(`${program} --version`)?.match(/\d+\.\d+/)?.[0] ?? "missing";
  const versions = `Deno ${Deno.version.deno}, Node ${version("node")}, nmap ${version("nmap")}`;
  return `${navigator.hardwareConcurrency} cores of ${cpu}, ${linux}, ${versions}`;
}
