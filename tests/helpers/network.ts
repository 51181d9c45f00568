/**
 * Helpers for the tests of `greeter connect` that run in network namespaces of their own.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { GREETER, type Process, run, spawn, withoutWarning } from "./processes.ts";

/** The `greeter connect` command. */
export const CONNECT = [...GREETER, "connect"];

/** For `testsInNamespace`: names are looked up in these hosts and then by a name server at 127.0.0.1, if there is one. */
export function withNames(hosts: string): string {
  return `
    replace() {
      file=$(mktemp)
      chmod 644 $file
      cat > $file
      mount --bind $file $1
      rm $file
    }
    echo '${hosts.trim().replaceAll(/\n\s*/g, "\n")}' | sed 's/ *$//' | replace /etc/hosts
    echo nameserver 127.0.0.1 | replace /etc/resolv.conf
    if [ -e /etc/nsswitch.conf ]; then echo hosts: files dns | replace /etc/nsswitch.conf; fi
  `;
}

/**
 * For `testsInNamespace`: a client in a namespace of its own, which {@linkcode IN_CLIENT} runs commands in. It has the
 * address 192.0.2.1, and 2001:db8::1 if there is IPv6. The tests are the server, with 192.0.2.2 and 2001:db8::2.
 */
export const TWO_NAMESPACES = `
  mount -t tmpfs tmpfs /run
  ip netns add client
  ip -n client link set lo up
  ip link add server0 type veth peer name client0 netns client
  ip address add 192.0.2.2/24 dev server0
  ip -n client address add 192.0.2.1/24 dev client0
  ip address add 2001:db8::2/64 dev server0 nodad || true
  ip -n client address add 2001:db8::1/64 dev client0 nodad || true
  ip link set server0 up
  ip -n client link set client0 up
  iptables -L -n > /dev/null
`;

/** For a command in the namespace of the client that {@linkcode TWO_NAMESPACES} makes. */
export const IN_CLIENT = ["ip", "netns", "exec", "client"];

/** Runs a shell script. Fails if one of its commands fails. */
export async function sh(script: string): Promise<string> {
  const { code, stdout, stderr } = await run(["sh", "-ec", script]);
  assertEquals([code, stderr], [0, ""], script);
  return stdout;
}

/** What is known after `greeter connect` has ended. */
export interface ClientResult {
  /** The exit status. */
  code: number;
  /** Standard output. */
  stdout: string;
  /** Standard error, without progress and without the warning of the runtime of Deno 2.6. */
  stderr: string;
}

/** Returns what a client has printed, without what it says every 10 s while it waits: on a busy machine, it may. */
function resultWith(code: number, { stdout, stderr }: Process["output"]): ClientResult {
  return { code, stdout, stderr: withoutWarning(stderr).replace(/^greeter: (checked|waiting|pass) .*\n/gm, "") };
}

/** Returns what a client has printed, when it has ended. */
export async function resultOf({ ended, output }: Process): Promise<ClientResult> {
  return resultWith((await ended).code, output);
}

/** Starts `greeter connect`. The arguments are separated by spaces. `prefix` is what runs the command. */
export function startConnect(args: string, prefix: readonly string[] = []): Process {
  return spawn([...prefix, ...CONNECT, ...args.split(" ")]);
}

/**
 * Runs `greeter connect`. The arguments are separated by spaces. `prefix` is what runs the command. Fails if that takes
 * longer than `ms` milliseconds.
 */
export async function runConnect(args: string, prefix: readonly string[] = [], ms?: number): Promise<ClientResult> {
  const { code, ...output } = await run([...prefix, ...CONNECT, ...args.split(" ")], undefined, ms);
  return resultWith(code, output);
}

/** Returns the exit status and the lines, without the header and the totals, with single spaces. */
export function linesOf({ code, stdout, stderr }: ClientResult): (number | string)[] {
  assertEquals(stderr, "");
  const lines = stdout.trimEnd().split("\n").slice(0, -1).filter((line) => !/ is [\d.:a-f]+/.test(line));
  return [code, ...lines.map((line) => line.replaceAll(/ +/g, " "))];
}

/** A result or a summary in JSON. Only the fields that the tests read. */
export interface Row {
  /** `probe` or `summary`. */
  event_type: string;
  /** The host as given. */
  host: string;
  /** The state of a port. */
  state: string;
  /** The port of a result. */
  dest_port: number;
  /** The address of a result. */
  dest_ip: string;
  /** The message of the system, if a port is `unreachable`. */
  error?: string;
  /** Why a port that must be blocked does not pass. */
  reason?: string;
  /** Whether a port is as expected, or in a summary, how many are. */
  ok: boolean | number | null;
  /** In a summary: the addresses of the host. */
  addresses: string[];
  /** In a summary: `false` if no port must be greeted or open. */
  control?: boolean;
  /** In a summary: the addresses at which no blocked port was tested. */
  not_tested?: string[];
  /** In a summary: whether a signal has ended the run. */
  interrupted: boolean;
  /** How long it took, in milliseconds. */
  duration_ms: number;
}

/** Parses the output of `--json`: returns the results, sorted by port, and the summaries. There may be one error. */
export function rowsOf({ stdout }: { stdout: string }): { probes: Row[]; summaries: Row[] } {
  const rows: Row[] = stdout.split("\n").slice(0, -1).map((line) => JSON.parse(line));
  const probes = rows.filter(({ event_type }) => event_type === "probe");
  const summaries = rows.filter(({ event_type }) => event_type === "summary");
  const errors = rows.filter(({ event_type }) => event_type === "error");
  assertEquals([probes.length + summaries.length + errors.length, errors.length <= 1], [rows.length, true]);
  return { probes: probes.toSorted((a, b) => a.dest_port - b.dest_port), summaries };
}

/** Returns the only summary. */
export function summaryOf(result: { stdout: string }): Row {
  const [summary, ...others] = rowsOf(result).summaries;
  assert(summary && others.length === 0, result.stdout);
  return summary;
}
