/**
 * A network namespace with a firewall that drops packets.
 *
 * @module
 */
import { has } from "./programs.ts";

/** A network namespace. It exists until it is disposed of. */
export interface Network extends AsyncDisposable {
  /** The words to put before a command to run it in the namespace. */
  readonly enter: readonly string[];
}

/** Why no network namespace can be created, or undefined if one can. */
export function whyNoNetwork(): string | undefined {
  const missing = ["unshare", "nsenter", "ip", "iptables"].find((program) => !has(program));
  if (missing) return `there is no ${missing}`;
  const args = ["--net", "iptables", "--list"];
  const { success } = new Deno.Command("unshare", { args, stdout: "null", stderr: "null" }).outputSync();
  return success ? undefined : "this user may not create a network namespace";
}

/** Creates a network namespace that has only a loopback interface. Packets to the ports from `first` to `last` are dropped. */
export async function createNetwork(first: number, last: number): Promise<Network> {
  // The namespace lasts as long as `cat`, which ends with this process, however that ends.
  const script = `ip link set lo up && iptables -A INPUT -p tcp --dport ${first}:${last} -j DROP && echo && exec cat`;
  const child = new Deno.Command("unshare", {
    args: ["--net", "sh", "-c", script],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.getReader();
  if ((await reader.read()).done) throw new Error("cannot set up a network namespace");
  return {
    enter: ["nsenter", `--net=/proc/${child.pid}/ns/net`],
    async [Symbol.asyncDispose]() {
      await child.stdin.close();
      await reader.cancel();
      await child.status;
    },
  };
}
