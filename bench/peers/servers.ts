/**
 * The servers that are measured.
 *
 * @module
 */
import { compileC, has, shortGreeting } from "../processes/programs.ts";
import type { ServerCommand } from "../processes/server.ts";

const root = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** A server, and how it is started. */
export interface Server {
  name: string;
  command: ServerCommand;
  /** The same, for thousands of connections that are held. Default: `command`. */
  holding?: ServerCommand;
  /** Whether it cannot send another greeting than the tutorial's. */
  fixed?: boolean;
  /** The path of its executable, if it has one of its own. */
  binary?: string;
}

/** A version of greeter. */
export interface Greeter {
  name: string;
  /** The command without its options. */
  run: readonly string[];
  binary?: string;
}

/** How main.ts of a checkout is run; the flags are those of `deno task start`. */
function denoRun(directory: string): string[] {
  return [Deno.execPath(), "run", "--allow-net", "--v8-flags=--max-semi-space-size=8", `${directory}/main.ts`];
}

/** greeter of this checkout, run by Deno. */
export const thisGreeter: Greeter = { name: "greeter (deno run)", run: denoRun(root) };

/** greeter of this checkout: run by Deno, and compiled. Adds to `leftOut` if it is not compiled. */
export async function findGreeters(leftOut: string[]): Promise<Greeter[]> {
  const binary = `${root}/dist/greeter`;
  if (await Deno.stat(binary).then(() => true, () => false)) {
    return [thisGreeter, { name: "greeter (compiled)", run: [binary], binary }];
  }
  leftOut.push("greeter (compiled): there is no dist/greeter; deno task compile makes it");
  return [thisGreeter];
}

/** Other checkouts of greeter, to compare two versions in one run. */
export function otherGreeters(directories: readonly string[]): Greeter[] {
  return directories.map((directory) => ({
    name: `greeter in ${directory.replace(/\/+$/, "").replace(/.*\//, "")}`,
    run: denoRun(directory),
  }));
}

/** greeter as a server. */
export function greeterServer({ name, run, binary }: Greeter): Server {
  const command: ServerCommand = (ports, file) => [
    ...[...run, "--host", "127.0.0.1", "--port", ports],
    ...(file === shortGreeting ? [] : ["--stdin"]),
  ];
  return {
    ...{ name, binary, command },
    holding: (ports, file) => [...command(ports, file), "--max-connections", "20000", "--timeout", "600"],
  };
}

/** The other servers that can be started on this machine. Adds to `leftOut` those that cannot, and why. */
export async function findPeers(quick: boolean, leftOut: string[]): Promise<Server[]> {
  const peer = (path: string) => new URL(path, import.meta.url);
  const accept = await compileC(peer("accept.c"));
  const denoPeer = (script: string): ServerCommand => (port, file) => [
    ...[Deno.execPath(), "run", "--allow-net", "--allow-read", peer(script).pathname, port, file],
  ];
  const servers: Server[] = [
    { name: "C loop", command: (port, file) => [accept, port, file] },
    { name: "minimal Deno loop", command: denoPeer("minimal.ts") },
  ];
  if (quick) {
    leftOut.push("other servers: --quick measures only a few");
    return servers;
  }
  servers.push({ name: "textbook Deno", command: denoPeer("textbook.ts") });
  const add = (program: string, server: Server) => {
    if (has(program)) servers.push(server);
    else leftOut.push(`${server.name}: there is no ${program}`);
  };
  add("python3", {
    name: "tutorial in Python",
    fixed: true,
    command: (port) => ["python3", peer("tutorial.py").pathname, port],
  });
  add("node", { name: "Node's net", command: (port, file) => ["node", peer("node.mjs").pathname, port, file] });
  const tcpserver = ["tcpserver", "-H", "-R", "-l", "0", "-b", "4096", "-c", "20000", "-B"];
  add("tcpserver", {
    name: "tcpserver",
    command: (port, file) => [...tcpserver, Deno.readTextFileSync(file), "127.0.0.1", port, "true"],
  });
  const listen = (port: string) => `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,backlog=4096,fork`;
  add("socat", {
    name: "socat",
    command: (port, file) => ["socat", "-U", listen(port), `OPEN:${file},rdonly`],
  });
  add("ncat", {
    name: "ncat",
    command: (port, file) => ["ncat", "-l", "-k", "-m", "20000", "--sh-exec", `cat ${file}`, "127.0.0.1", port],
  });
  return servers;
}
