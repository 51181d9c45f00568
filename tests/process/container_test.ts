/**
 * Tests of the executable in GREETER_BINARY in a container: in a directory that has no other files than the image of
 * contrib/Dockerfile and a container runtime provide, as process 1, without privileges, on a read-only file system.
 * The containers of a test share its network namespace, as those of a pod do.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { DEFAULTS } from "../../server.ts";
import { type Block, blockWith } from "../docs/docs_blocks.ts";
import { greetingFrom } from "../helpers/clients.ts";
import { testsInNamespace } from "../helpers/namespaces.ts";
import { BINARY, librariesOfBinary, type Process, ROOT, run, spawn, withoutWarning } from "../helpers/processes.ts";
import { startServer } from "../helpers/servers.ts";
import { DEADLINE_MS, until } from "../helpers/waiting.ts";
import { startNameServer } from "../helpers/name_server.ts";

const test = testsInNamespace("", import.meta.filename ?? "", "root", "a binary", "chroot", "ldd", "setpriv");

/** What contrib/Dockerfile says about how greeter is started. */
const image = readDockerfile();

function readDockerfile(): { executable: string; user: string; entrypoint: string[]; defaults: string[] } {
  const text = Deno.readTextFileSync(`${ROOT}/contrib/Dockerfile`);
  const argument = (instruction: string) => text.match(new RegExp(`^${instruction} (.+)$`, "m"))?.[1] ?? "";
  return {
    executable: argument("COPY").replace(/^.* /, ""),
    user: argument("USER"),
    // Not a list if a shell would start greeter. That is an error here.
    entrypoint: JSON.parse(argument("ENTRYPOINT")),
    defaults: JSON.parse(argument("CMD")),
  };
}

/**
 * Makes the root directory of a container: the executable, the libraries that it needs, and what a container runtime
 * adds to look up names. Names are looked up as in a pod, by the name server of the test. There is no `/dev`.
 */
async function makeRoot(): Promise<string> {
  const root = await Deno.makeTempDir();
  await Deno.chmod(root, 0o755);
  await Deno.mkdir(`${root}/proc`);
  await Deno.mkdir(`${root}/etc`);
  await Deno.writeTextFile(`${root}/etc/hosts`, "127.0.0.1 localhost\n::1 localhost\n");
  const search = "search default.svc.cluster.local svc.cluster.local cluster.local";
  await Deno.writeTextFile(`${root}/etc/resolv.conf`, `nameserver 127.0.0.1\n${search}\noptions ndots:5\n`);
  for (const library of await librariesOfBinary()) {
    await Deno.mkdir(`${root}${library.replace(/\/[^/]*$/, "")}`, { recursive: true });
    await Deno.copyFile(library, `${root}${library}`);
  }
  await Deno.copyFile(BINARY ?? "", `${root}${image.executable}`);
  return root;
}

/** The command that runs greeter in a container. */
function inContainer(root: string, args: readonly string[]): string[] {
  const script = `
    mount --bind ${root} ${root}
    mount -t proc proc ${root}/proc
    mount -o remount,bind,ro ${root}
    exec setpriv --no-new-privs chroot --userspec=${image.user} ${root} "$@"
  `;
  return ["unshare", "--mount", "--pid", "--fork", "sh", "-ec", script, "sh", ...image.entrypoint, ...args];
}

/** Starts greeter in a container. At the end of its scope, it is killed if it has not ended. */
function start(root: string, args: readonly string[]): Process {
  const process = spawn(inContainer(root, args), {}, 2 * DEADLINE_MS);
  return Object.assign(process, {
    async [Symbol.asyncDispose]() {
      // unshare does not end before greeter does, and ends with its status.
      await processIn(process).then((pid) => Deno.kill(pid, "SIGKILL")).catch(() => {}); // it has ended
      await process.ended;
    },
  });
}

/** Returns the process ID of greeter outside of its container. greeter is the child of `unshare`. */
async function processIn({ child: { pid } }: Process): Promise<number> {
  const child = Number(await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`));
  assert(child > 0, "greeter has ended");
  return child;
}

/** Waits until a server listens, and returns what it has printed. */
async function listening({ output }: Process): Promise<string> {
  await until(() => output.stdout.includes("\n") || output.stderr !== "");
  assertMatch(output.stdout, /^Listening on /, output.stderr);
  return output.stdout;
}

/** Sends SIGTERM to greeter, and returns its exit status. */
async function terminate(container: Process): Promise<number> {
  Deno.kill(await processIn(container), "SIGTERM");
  return (await container.ended).code;
}

test(
  "a container with the server is read-only, has no privileges, and exits 0 on SIGTERM",
  [],
  async () => {
    const root = await makeRoot();
    await using server = start(root, image.defaults);
    assertEquals(await listening(server), "Listening on 0.0.0.0:8080\n");
    const pid = await processIn(server);
    const status = await Deno.readTextFile(`/proc/${pid}/status`);
    const field = (name: string) => status.match(new RegExp(`^${name}:\\s*(.*?)\\s*$`, "m"))?.[1]?.split(/\s+/);
    assertEquals(field("NSpid")?.at(-1), "1");
    const [user = "", group = ""] = image.user.split(":");
    assertEquals(field("Uid"), Array(4).fill(user));
    assertEquals(field("Gid"), Array(4).fill(group));
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb"]) assertMatch(status, new RegExp(`^${set}:\t0+$`, "m"));
    assertEquals(field("NoNewPrivs"), ["1"]);
    assertMatch(await Deno.readTextFile(`/proc/${pid}/mountinfo`), /^\S+ \S+ \S+ \S+ \/ ro,/m);

    assertEquals(await greetingFrom(8080), DEFAULTS.greeting);
    assertEquals([await terminate(server), server.output.stderr], [0, ""]);
    assertMatch(server.output.stdout, /\nStopped: 1 greeting, 0 denied, 0 bytes received in \S+\n$/);
    await Deno.remove(root, { recursive: true });
  },
);

test(
  "a container with the client exits 0, 1, 2, or 143 on SIGTERM",
  [],
  async () => {
    const root = await makeRoot();
    await using _names = await startNameServer((name) =>
      name === "greeter.default.svc.cluster.local" ? ["127.0.0.1"] : "NXDOMAIN"
    );
    await using server = await startServer((socket) => socket.end("hello\r\n"));
    const exitsWith = async (code: number, ...args: string[]) => {
      const result = await run(inContainer(root, ["connect", ...args]));
      assertEquals(result.code, code, `${args}: ${result.stdout}${result.stderr}`);
      return result;
    };
    const passed = await exitsWith(0, "greeter", "-p", `${server.port}=hello`, "-b", "9");
    assertMatch(passed.stdout, /^greeter is 127\.0\.0\.1\n/);
    await exitsWith(0, "localhost", "-4", "-o", `${server.port}`);
    const failed = await exitsWith(1, "greeter", "-b", `${server.port}`);
    assertMatch(failed.stdout, /^\d+ {2}greeted {2}"hello\\r\\n" {2}expected blocked$/m);
    const unknown = await exitsWith(2, "other", "-b", "9");
    assertEquals(unknown.stdout, "");

    const before = server.connections();
    await using client = start(root, ["connect", "greeter", "-p", `${server.port}=other`, "--within", "60"]);
    // The second connection shows that the first has a result.
    await until(() => server.connections() >= before + 2);
    assertEquals([await terminate(client), withoutWarning(client.output.stderr)], [143, ""]);
    assertMatch(client.output.stdout, /^\d+ {2}mismatch {2}"hello\\r\\n" {2}expected "other"$/m);
    await Deno.remove(root, { recursive: true });
  },
);

/** The arguments of each container in a manifest of docs/kubernetes.md, in the order in which they run. */
function argsOf(manifest: string): string[][] {
  const args: string[][] = [...manifest.matchAll(/^ *args: (\[.*\])$/gm)].map(([, list = ""]) => JSON.parse(list));
  assert(args.length > 0);
  return args;
}

test(
  "docs/kubernetes.md: the control and the check, with a firewall as the policy",
  ["iptables"],
  async () => {
    const check = blockWith("docs/kubernetes.md", "kind: Job").text;
    const [, sed = ""] = blockWith("docs/kubernetes.md", "control.yaml").text.match(/^sed '(.*)' check\.yaml/m) ?? [];
    const directory = await Deno.makeTempDir();
    await Deno.writeTextFile(`${directory}/check.yaml`, `${check}\n`);
    const control = (await run(["sed", sed, `${directory}/check.yaml`])).stdout;
    assertMatch(control, /^ {2}name: greeter-control$/m);

    const root = await makeRoot();
    await using _names = await startNameServer((name) =>
      name === "greeter.default.svc.cluster.local" ? ["127.0.0.1"] : "NXDOMAIN"
    );
    const [serverArgs = []] = argsOf(blockWith("docs/kubernetes.md", "kind: Pod").text);
    await using server = start(root, serverArgs);
    await listening(server);
    for (const args of argsOf(control)) {
      const controlled = await run(inContainer(root, args));
      assertEquals(controlled.code, 0, controlled.stdout);
      assertMatch(controlled.stdout, /\n2 of 2 ports as expected /);
    }

    /** Compares what the client has printed with a block, except for the address and the times. */
    const assertShown = (output: string, { text: shown }: Block) => {
      const normalize = (text: string) =>
        text.trim().replace(/(?<= is )\S+/, "ADDRESS").replace(/ in \d.*?s\b/, "").replace(
          / +\(reachable \d+s before\)/,
          "",
        );
      assertEquals(normalize(output), normalize(shown));
    };
    const [wait = [], judge = [], ...others] = argsOf(check);
    assertEquals([judge.includes("--within"), others], [false, []]);
    // Without the policy. The page waits for a minute.
    const failed = await run(inContainer(root, wait.with(wait.indexOf("--within") + 1, "0.1")));
    assertEquals(failed.code, 1, failed.stdout);
    assertShown(failed.stdout, blockWith("docs/kubernetes.md", "expected blocked"));
    assertEquals((await run(inContainer(root, judge))).code, 1);

    const greetings = () => server.output.stdout.match(/on port 9090$/gm)?.length ?? 0;
    const before = greetings();
    await using client = start(root, wait);
    await until(() => greetings() > before);
    // The policy takes effect while the client waits.
    const drop = "iptables -A INPUT -p tcp --dport 9090 -j DROP";
    assertEquals((await run(drop.split(" "))).code, 0);
    assertEquals((await client.ended).code, 0, client.output.stdout);
    assertShown(client.output.stdout, blockWith("docs/kubernetes.md", "9090  timeout"));
    const judged = await run(inContainer(root, judge));
    assertEquals(judged.code, 0, judged.stdout);
    assertShown(judged.stdout, blockWith("docs/kubernetes.md", "9090  timeout"));
    assertEquals(await terminate(server), 0);
    await Deno.remove(root, { recursive: true });
    await Deno.remove(directory, { recursive: true });
  },
);
