/**
 * The servers that are measured.
 *
 * @module
 */
import { compileC, has, shortGreeting } from "./processes.ts";

const here = import.meta.dirname ?? ".";
const root = `${here}/..`;

/** A server, and how it is started. */
export interface Server {
  name: string;
  /** The command that listens on a port of 127.0.0.1 and sends the content of a file. */
  command(port: number, file: string): string[];
  /** The same, for thousands of connections that are held. Default: `command`. */
  holding?(port: number, file: string): string[];
  /** Whether it cannot send another greeting than the tutorial's. */
  fixed?: boolean;
  /** The path of its executable, if it has one of its own. */
  binary?: string;
}

/** How main.ts of a checkout is run; the flags are those of `deno task start`. */
function denoRun(directory: string): string[] {
  return [Deno.execPath(), "run", "--allow-net", "--v8-flags=--max-semi-space-size=8", `${directory}/main.ts`];
}

function greeter(run: string[]): Pick<Server, "command" | "holding"> {
  const local = (port: number) => ["--host", "127.0.0.1", "--port", `${port}`];
  return {
    command: (port, file) => [...run, ...local(port), ...(file === shortGreeting ? [] : ["--stdin"])],
    holding: (port) => [...run, ...local(port), "--max-connections", "20000", "--timeout", "600"],
  };
}

/** The command of this checkout. */
export const greeterCommand: Server["command"] = greeter(denoRun(root)).command;

/** Other checkouts of greeter, to compare two versions in one run. */
export function otherVersions(directories: readonly string[]): Server[] {
  return directories.map((directory) => ({
    name: `greeter in ${directory.replace(/\/+$/, "").replace(/.*\//, "")}`,
    ...greeter(denoRun(directory)),
  }));
}

/** The servers that can be started on this machine. Prints which cannot, and why. */
export async function findServers(quick: boolean): Promise<Server[]> {
  const found: Server[] = [];
  const leftOut: string[] = [];
  const add = (server: Server, missing: string | false) => {
    if (missing) leftOut.push(`${server.name} (${missing})`);
    else found.push(server);
  };
  const needs = (program: string) => !has(program) && `there is no ${program}`;

  add({ name: "greeter, deno run", ...greeter(denoRun(root)) }, false);
  const binary = `${root}/dist/greeter`;
  const isCompiled = await Deno.stat(binary).then(() => true, () => false);
  const compiled = { name: "greeter, compiled", binary, ...greeter([binary]) };
  add(compiled, !isCompiled && "there is no dist/greeter; deno task compile makes it");
  const accept = await compileC("peers/accept.c");
  add({ name: "C loop", command: (port, file) => [accept, `${port}`, file] }, false);
  const denoPeer = (script: string) => (port: number, file: string) => [
    ...[Deno.execPath(), "run", "--allow-net", "--allow-read", `${here}/peers/${script}`, `${port}`, file],
  ];
  add({ name: "minimal Deno loop", command: denoPeer("minimal.ts") }, false);
  if (!quick) {
    add({ name: "textbook Deno", command: denoPeer("textbook.ts") }, false);
    add({
      name: "tutorial, Python",
      fixed: true,
      command: (port) => ["python3", `${here}/peers/tutorial.py`, `${port}`],
    }, needs("python3"));
    add({
      name: "Node's net",
      command: (port, file) => ["node", `${here}/peers/node.mjs`, `${port}`, file],
    }, needs("node"));
    const tcpserver = ["tcpserver", "-H", "-R", "-l", "0", "-b", "4096", "-c", "20000", "-B"];
    add({
      name: "tcpserver -B",
      command: (port, file) => [...tcpserver, Deno.readTextFileSync(file), "127.0.0.1", `${port}`, "true"],
    }, needs("tcpserver"));
    const listen = (port: number) => `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,backlog=4096,fork`;
    add({
      name: "socat, fork",
      command: (port, file) => ["socat", "-U", listen(port), `OPEN:${file},rdonly`],
    }, needs("socat"));
    add({
      name: "ncat -l -k",
      command: (port, file) => ["ncat", "-l", "-k", "-m", "20000", "--sh-exec", `cat ${file}`, "127.0.0.1", `${port}`],
    }, needs("ncat"));
  }
  if (leftOut.length > 0) console.log(`Left out: ${leftOut.join(", ")}.\n`);
  return found;
}
