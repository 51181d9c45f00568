/**
 * Namespaces: tests and commands with a network and mounts of their own.
 *
 * @module
 */
import { assert } from "@std/assert";
import { canRun, isLinux } from "./needs.ts";
import { DEADLINE_MS } from "./waiting.ts";
import { ROOT, run } from "./processes.ts";

/**
 * A command that runs its arguments in a new network and mount namespace, after a shell script has set it up. `ignore` is
 * true where that is not possible.
 */
export function inNamespace(setup: string): { command: string[]; ignore: boolean } {
  if (!isLinux || !canRun) return { command: [], ignore: true };
  const unshare = Deno.uid() !== 0 ? ["unshare", "-rnm"] : ["unshare", "-nm"];
  const command = [...unshare, "sh", "-ec", `ip link set lo up\n${setup}\nexec "$@"`, "sh"];
  const isPossible = () =>
    new Deno.Command("sh", { args: ["-c", '"$@" 2>&1', "sh", ...command, "true"] }).outputSync().success;
  return { command, ignore: !isPossible() };
}

/** For {@linkcode inNamespace}: a network that drops all packets, so that the name server does not answer. */
export const SILENT_NAME_SERVER = `
  file=$(mktemp)
  echo nameserver 192.0.2.53 > $file
  mount --bind $file /etc/resolv.conf
  rm $file
  ip link add greeter0 type veth peer name greeter1
  ip address add 192.0.2.1/24 dev greeter0
  ip link set greeter0 up
  ip link set greeter1 up
  ip neighbor add 192.0.2.53 lladdr 02:00:00:00:00:01 dev greeter0
`;

/** Set in the processes of {@linkcode testsInNamespace}. */
const IN_NAMESPACE = "GREETER_TEST_IN_NAMESPACE";

/**
 * Returns a function that registers a test. The test runs in its own process, in the namespace that
 * {@linkcode inNamespace} makes, and is skipped where that is not possible. `file` is the file of the tests, which that
 * process runs again, with only this test.
 */
export function testsInNamespace(
  setup: string,
  file: string,
): (name: string, options: { ignore: boolean }, body: () => Promise<void>) => void {
  if (Deno.env.has(IN_NAMESPACE)) return Deno.test;
  const { command, ignore } = inNamespace(setup);
  return (name, options) =>
    Deno.test(name, { ignore: ignore || options.ignore }, async () => {
      const filter = `/^${name.replace(/[^\w ]/g, "\\$&")}$/`;
      const test = [Deno.execPath(), "test", "--no-lock", "--no-check", "--allow-all", "--filter", filter, file];
      const env = { [IN_NAMESPACE]: "1" };
      // The deadlines in that process come first, because they say more.
      const { code, stdout, stderr } = await run([...command, ...test], { cwd: ROOT, env }, 5 * DEADLINE_MS);
      // Indented, so that .ci/run does not count the results of this process.
      const output = `\n${stdout}${stderr}`.replaceAll("\n", "\n  ");
      assert(code === 0 && stdout.includes("| 1 passed | 0 failed"), output);
    });
}
