/**
 * Namespaces: tests and commands with a network and mounts of their own.
 *
 * @module
 */
import { assert } from "@std/assert";
import { canRun, isLinux, type Need, needs } from "./needs.ts";
import { DEADLINE_MS } from "./waiting.ts";
import { ROOT, run } from "./processes.ts";

/** Set in the processes of {@linkcode testsInNamespace}. */
const IN_NAMESPACE = "GREETER_TEST_IN_NAMESPACE";

/** A network and mounts of a test's own. */
export interface Namespace extends Need {
  /** Runs its arguments there. */
  command: string[];
}

/** A new network and mount namespace for each command, which a shell script sets up. */
export function inNamespace(setup: string): Namespace {
  const names = ["Linux", "ip", "unshare"];
  if (!isLinux || !canRun) return { command: [], names, isAvailable: false };
  const unshare = Deno.uid() !== 0 ? ["unshare", "-rnm"] : ["unshare", "-nm"];
  const command = [...unshare, "sh", "-ec", `ip link set lo up\n${setup}\nexec "$@"`, "sh"];
  const isPossible = () =>
    new Deno.Command("sh", { args: ["-c", '"$@" 2>&1', "sh", ...command, "true"] }).outputSync().success;
  return { command, names, isAvailable: Deno.env.has(IN_NAMESPACE) || isPossible() };
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

/**
 * Returns a function that registers a test, with what only this test needs. The test runs in its own process, in the
 * namespace that {@linkcode inNamespace} makes. `file` is the file of the tests, which that process runs again, with only
 * this test. `needed` is what all of its tests need besides the namespace.
 */
export function testsInNamespace(
  setup: string,
  file: string,
  ...needed: string[]
): (name: string, neededByTest: string[], body: () => Promise<void>) => void {
  const namespace = inNamespace(setup);
  return (name, neededByTest, body) => {
    const definition = needs(name, namespace, ...needed, ...neededByTest);
    if (Deno.env.has(IN_NAMESPACE)) return Deno.test(definition, body);
    Deno.test(definition, async () => {
      const filter = `/^${definition.name.replace(/[^\w ]/g, "\\$&")}$/`;
      const test = [Deno.execPath(), "test", "--no-lock", "--no-check", "--allow-all", "--filter", filter, file];
      const env = { [IN_NAMESPACE]: "1" };
      // The deadlines in that process come first, because they say more.
      const { code, stdout, stderr } = await run([...namespace.command, ...test], { cwd: ROOT, env }, 5 * DEADLINE_MS);
      // Indented, so that .ci/run does not count the results of this process.
      const output = `\n${stdout}${stderr}`.replaceAll("\n", "\n  ");
      assert(code === 0 && stdout.includes("| 1 passed | 0 failed"), output);
    });
  };
}
