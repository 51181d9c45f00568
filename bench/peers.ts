/** The servers and the scanners that are measured. @module */
import { has, programPath, shell, shortGreeting, shortGreetingText } from "./programs.ts";
import type { ServerCommand } from "./server.ts";

/** A server, and how it is started. */
export interface Server {
  readonly name: string;
  readonly command: ServerCommand;
  /** The same, for thousands of connections that are held. Default: `command`. */
  readonly commandForMany?: ServerCommand;
  /** Whether only what it survives is measured, because it has one client at a time or forks for each. */
  readonly isSlow?: boolean;
  /** Whether it cannot send another greeting than the tutorial's. */
  readonly hasFixedGreeting?: boolean;
}

/** A version of greeter, and its command without options. */
export type Greeter = Server & { readonly run: readonly string[] };

/** A program that scans ports of 127.0.0.1. */
export interface Scanner {
  readonly name: string;
  /** The command that scans a range of ports. */
  command(ports: string): readonly string[];
  /** Counts the open ports in what it has printed: those with the right greeting, if it reads greetings. */
  open(output: string): number;
  /** Whether it waits as long as the kernel for dropped ports, so that it scans only open ones. */
  readonly hasNoTimeout?: boolean;
}

const ROOT = `${import.meta.dirname}/..`;

function greeter(name: string, run: readonly string[]): Greeter {
  const command: ServerCommand = (ports, file) => [
    ...[...run, "--host", "127.0.0.1", "--port", ports],
    ...(file === shortGreeting ? [] : ["--stdin"]),
  ];
  const options = ["--max-connections", "20000", "--timeout", "600"];
  return { name, run, command, commandForMany: (ports, file) => [...command(ports, file), ...options] };
}

const denoRun = (directory: string) => [
  // The flags are those of `deno task start`.
  ...[Deno.execPath(), "run", "--allow-net", "--v8-flags=--max-semi-space-size=8", `${directory}/main.ts`],
];

/** greeter of this checkout, which all others are compared with. */
export const thisGreeter: Greeter = greeter("greeter", denoRun(ROOT));

/** greeter as an executable, and of other checkouts. */
export function otherGreeters(directories: readonly string[], leftOut: string[]): Greeter[] {
  const others = directories.map((directory) => greeter(`greeter in ${directory}`, denoRun(directory)));
  // The runtime in the executable need not be that of the Deno command that has made it.
  const runtime = shell(`grep -aoE 'Deno/[0-9.]+' '${ROOT}/dist/greeter' | head -n 1`)?.replace("/", " ");
  if (runtime) return [greeter(`greeter, executable (${runtime})`, [`${ROOT}/dist/greeter`]), ...others];
  leftOut.push("the executable (there is no dist/greeter; deno task compile makes it)");
  return others;
}

/** The other servers that can be started on this machine. Adds to `leftOut` those that cannot, and why. */
export function findPeers(hasSlowServers: boolean, leftOut: string[]): Server[] {
  const peer = (name: string) => `${import.meta.dirname}/peers/${name}`;
  const deno = (script: string): ServerCommand => (port, file) => [
    ...[Deno.execPath(), "run", "--allow-net", "--allow-read", peer(script), port, file],
  ];
  const tcpserver = ["tcpserver", "-H", "-R", "-l", "0", "-b", "4096", "-c", "20000", "-B"];
  const listen = (port: string) => `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,backlog=4096,fork`;
  const ncat = ["ncat", "-l", "-k", "-m", "20000", "--sh-exec"];
  const slow: Record<string, ServerCommand> = {
    tcpserver: (port, file) => [...tcpserver, Deno.readTextFileSync(file), "127.0.0.1", port, "true"],
    socat: (port, file) => ["socat", "-U", listen(port), `OPEN:${file},rdonly`],
    ncat: (port, file) => [...ncat, `cat ${file}`, "127.0.0.1", port],
  };
  const servers: Server[] = [
    { name: "minimal Deno loop", command: deno("minimal.ts") },
    { name: "textbook Deno loop", command: deno("textbook.ts") },
    { name: "Node", command: (port, file) => ["node", peer("node.mjs"), port, file] },
    { name: "C loop", command: (port, file) => [programPath("accept.c"), port, file] },
    {
      name: "tutorial",
      isSlow: true,
      hasFixedGreeting: true,
      command: (port) => ["python3", peer("tutorial.py"), port],
    },
    ...Object.entries(slow).map(([name, command]) => ({ name, isSlow: true, command })),
  ];
  return servers.filter(({ name, command, isSlow }) => {
    if (isSlow && !hasSlowServers) return false;
    const [program = ""] = command("1", shortGreeting);
    if (!has(program)) leftOut.push(`${name} (there is no ${program})`);
    return has(program);
  });
}

/**
 * greeter as a scanner, which compares every greeting, a minimal client in Deno that does the same, and nmap: without and
 * with the script that reads greetings.
 */
export function findScanners(greeters: readonly Greeter[], leftOut: string[]): Scanner[] {
  const scanners: Scanner[] = greeters.map(({ name, run }) => ({
    name: name.replace("greeter", "greeter connect"),
    command: (ports) => [...run, "connect", "127.0.0.1", "--expect", shortGreetingText, "--port", ports],
    open: (output) => Number(output.match(/^(\d+) of \d+ ports as expected/m)?.[1] ?? 0),
  }));
  const scan = `${import.meta.dirname}/peers/scan.ts`;
  const minimal: Scanner = {
    name: "minimal Deno client",
    command: (ports) => [Deno.execPath(), "run", "--allow-net", scan, ports, shortGreetingText],
    open: (output) => Number(output.match(/^(\d+) greeted/)?.[1] ?? 0),
    hasNoTimeout: true,
  };
  const nmap = ["nmap", "-sT", "-T5", "-n", "-Pn", "-oX", "-", "127.0.0.1", "-p"];
  const banner = ["--script", "banner"];
  const nmaps: Scanner[] = [[], banner].map((script) => ({
    name: ["nmap -sT -T5", ...script].join(" "),
    command: (ports) => [...nmap, ports, ...script],
    open: (output) =>
      output.split(script === banner ? `id="banner" output="${shortGreetingText}` : 'state="open"').length - 1,
  }));
  if (!has("nmap")) leftOut.push("port scans by nmap (there is no nmap)");
  return [...scanners, minimal, ...(has("nmap") ? nmaps : [])];
}
