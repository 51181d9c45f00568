/**
 * Helpers for the tests: waiting with a deadline, free ports, clients, and greeter as a process.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { createConnection, createServer, type Socket } from "node:net";
import type { ProbeResult } from "../client.ts";
import { type Connection, DEFAULTS } from "../server.ts";

/** The size of the default greeting, which is ASCII. */
export const GREETING_BYTES: number = DEFAULTS.greeting.length;

/** Whether the tests run on Linux, which has `/proc`. */
export const isLinux = Deno.build.os === "linux";

/** For tests that send SIGTERM. */
export const needsSignals = { ignore: Deno.build.os === "windows" };

/** For tests that read `/proc`. */
export const needsProc = { ignore: !isLinux };

/** For tests that run programs, which must be in PATH. */
export function needsPrograms(...programs: string[]): { ignore: boolean } {
  const isInstalled = (program: string) =>
    Deno.build.os !== "windows" &&
    new Deno.Command("sh", { args: ["-c", `command -v ${program}`] }).outputSync().success;
  return { ignore: !programs.every(isInstalled) };
}

/**
 * A command that runs its arguments in a new network and mount namespace, after a shell script has set it up. `ignore` is
 * true where that is not possible.
 */
export function inNamespace(setup: string): { command: string[]; ignore: boolean } {
  const unshare = isLinux && Deno.uid() !== 0 ? ["unshare", "-rnm"] : ["unshare", "-nm"];
  const command = [...unshare, "sh", "-ec", `ip link set lo up\n${setup}\nexec "$@"`, "sh"];
  const isPossible = () =>
    new Deno.Command("sh", { args: ["-c", '"$@" 2>&1', "sh", ...command, "true"] }).outputSync().success;
  return { command, ignore: !isLinux || !isPossible() };
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
      const env = { [IN_NAMESPACE]: "1", NO_COLOR: "1" };
      const { code, stdout, stderr } = await run([...command, ...test], { cwd: ROOT, env }, 120_000);
      // Indented, so that .ci/run does not count the results of this process.
      const output = `\n${stdout}${stderr}`.replaceAll("\n", "\n  ");
      assert(code === 0 && stdout.includes("| 1 passed | 0 failed"), output);
    });
}

/** Whether this machine has IPv6 on its loopback interface. */
export function hasIPv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}

/** How long {@linkcode until} and {@linkcode run} wait, in milliseconds. */
const DEADLINE_MS = 10_000;

/** Waits until the condition is true. Fails if it is not true within 10 s. */
export async function until(condition: () => boolean | Promise<boolean>) {
  const deadline = performance.now() + DEADLINE_MS;
  while (!await condition()) {
    assert(performance.now() < deadline, `not within ${DEADLINE_MS} ms: ${condition}`);
    await delay(5);
  }
}

/** Waits for `ms` milliseconds. */
export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Connects, and resets the connection. */
export async function connectAndReset(port: number) {
  const socket = createConnection(port, "127.0.0.1");
  const closed = new Promise((resolve) => socket.once("close", resolve));
  await new Promise((resolve) => socket.once("connect", resolve));
  socket.resetAndDestroy();
  await closed;
}

/**
 * Connects to 127.0.0.1 from one of this machine's addresses, sends a text, and waits until the connection is closed.
 * Returns whether anything was received.
 */
export async function connectFrom(localAddress: string, port: number, text = ""): Promise<boolean> {
  const socket = createConnection({ host: "127.0.0.1", port, localAddress });
  const closed = new Promise((resolve) => socket.once("close", resolve));
  // Refused or reset connections are closed, too.
  socket.on("error", () => {}).resume().write(text);
  await closed;
  return socket.bytesRead > 0;
}

/** Blocks the event loop for `ms` milliseconds. */
export function block(ms: number) {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** Returns the value of a promise. Fails after `ms` milliseconds. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`not within ${ms} ms`)), ms);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Returns a free port from 24000 to 32767. Test files run at the same time, so an ephemeral port (Linux:
 * from 32768 on) could be assigned to another test before it is used.
 */
export function freePort(): number {
  for (;;) {
    const port = 24_000 + Math.floor(Math.random() * 8768);
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch {
      // The port is in use.
    }
  }
}

/** Returns different ports for which {@linkcode freePort} holds. */
export function freePorts(count: number): number[] {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(freePort());
  return [...ports];
}

/** Reads everything that a server sends, and closes the connection. Rejects if the connection is reset. */
export async function receive(conn: Deno.Conn): Promise<Uint8Array> {
  const timer = setTimeout(() => conn.close(), DEADLINE_MS);
  try {
    return await new Response(conn.readable).bytes();
  } finally {
    clearTimeout(timer);
  }
}

/** Connects to a server, and returns everything that it sends, as text. */
export async function greetingFrom(port: number, hostname = "127.0.0.1"): Promise<string> {
  return new TextDecoder().decode(await receive(await Deno.connect({ hostname, port })));
}

/** Whether a port refuses connections. */
export async function isRefused(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return false;
  } catch {
    return true;
  }
}

/** Reads `length` bytes from a connection, or fewer if the server closes it first. */
export async function readBytes(conn: Deno.Conn, length: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(length);
  for (let n = 0; n < length;) {
    const count = await conn.read(buffer.subarray(n));
    if (count === null) return buffer.subarray(0, n);
    n += count;
  }
  return buffer;
}

/** Like `Deno.listen`, but accepting first performs these steps: it throws an error, or for `"accept"`, accepts. */
export function listenWithErrors(steps: Iterator<unknown>): (options: Deno.TcpListenOptions) => Deno.TcpListener {
  return (options) => {
    const listener = Deno.listen(options);
    const connections = listener[Symbol.asyncIterator].bind(listener);
    listener[Symbol.asyncIterator] = async function* () {
      for (let step = steps.next(); !step.done; step = steps.next()) {
        if (step.value !== "accept") throw step.value;
        yield await listener.accept();
      }
      // Not `yield*`, which would call this method again: the iterator of a listener is the listener itself.
      const iterator = connections();
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
    };
    return listener;
  };
}

/** The accept error when no descriptor is left: in the process, or in the system. */
export function outOfDescriptors(code: "EMFILE" | "ENFILE"): Error {
  return Object.assign(new Error("Too many open files"), { code });
}

/** The executable in GREETER_BINARY, if set. The tests of the command then run it instead of main.ts. */
export const BINARY: string | undefined = Deno.env.has("GREETER_BINARY")
  ? Deno.realPathSync(Deno.env.get("GREETER_BINARY") ?? "")
  : undefined;

/** The directory of this checkout. */
export const ROOT = `${import.meta.dirname}/..`;

/** `main.ts` of this checkout. */
export const MAIN = `${ROOT}/main.ts`;

/** The command that runs main.ts, without the network permission. It has the V8 flag of `deno task start`. */
export const DENO_RUN = [Deno.execPath(), "run", "--no-prompt", "--v8-flags=--max-semi-space-size=8"];

/** The greeter command. */
export const GREETER = BINARY ? [BINARY] : [...DENO_RUN, "--allow-net", MAIN];

/** Options that make greeter listen on a free port of the loopback interface. */
export const LOCAL = ["--host", "127.0.0.1", "--port", "0"];

/** A process whose output is collected. It is killed at the end of its scope if it has not ended. */
export interface Process extends AsyncDisposable {
  /** The process. */
  child: Deno.ChildProcess;
  /** What the process has printed so far. */
  output: { stdout: string; stderr: string };
  /** The status of the process. Resolves when it has ended and its output is complete. */
  ended: Promise<Deno.CommandStatus>;
  /** Kills the process. Has no effect if it has already ended. */
  kill(): void;
}

/** The environment of a process that may download packages. `spawn()` passes on no certificates unless `options` have them. */
export const DOWNLOAD_ENV = { NO_COLOR: "1", NODE_EXTRA_CA_CERTS: Deno.env.get("NODE_EXTRA_CA_CERTS") ?? "" };

/** Starts a process. Its standard input is empty unless `options` say otherwise. */
export function spawn(command: readonly string[], options: Deno.CommandOptions = {}): Process {
  const [program = "", ...args] = command;
  // Deno would print a warning if it could not read this file because no descriptor is left.
  const env = { NODE_EXTRA_CA_CERTS: "", ...options.env };
  const child = new Deno.Command(program, { args, stdin: "null", stdout: "piped", stderr: "piped", ...options, env })
    .spawn();
  const output = { stdout: "", stderr: "" };
  const collect = async (stream: "stdout" | "stderr") => {
    for await (const text of child[stream].pipeThrough(new TextDecoderStream())) output[stream] += text;
  };
  const ended = Promise.all([child.status, collect("stdout"), collect("stderr")]).then(([status]) => status);
  const kill = () => {
    try {
      child.kill("SIGKILL");
    } catch {
      // The process has ended, although its status may not have been delivered yet.
    }
  };
  return {
    child,
    output,
    ended,
    kill,
    async [Symbol.asyncDispose]() {
      kill();
      await ended;
    },
  };
}

/** Runs a command until it ends. Fails if it does not end within `ms` milliseconds. */
export async function run(
  command: readonly string[],
  options?: Deno.CommandOptions,
  ms: number = DEADLINE_MS,
): Promise<{ code: number; signal: Deno.Signal | null; stdout: string; stderr: string }> {
  await using process = spawn(command, options);
  const timer = setTimeout(process.kill, ms);
  const { code, signal } = await process.ended;
  clearTimeout(timer);
  assert(signal !== "SIGKILL", `${command.join(" ")} did not end: ${process.output.stdout}${process.output.stderr}`);
  return { code, signal, ...process.output };
}

/** The dynamic loader and the libraries of the executable, as `ldd` prints them. */
export async function librariesOfBinary(): Promise<string[]> {
  const { stdout } = await run(["ldd", BINARY ?? ""]);
  return [...stdout.matchAll(/(?<= |\t)\/\S+/g)].map(([path]) => path);
}

/** Removes the warnings that processes with the runtime of Deno 2.6 print when they resolve a name. */
export function withoutWarning(stderr: string): string {
  return stderr.replace(/^\(node:\d+\) \[DEP0040\].*\n(\(Use .*\n)?/gm, "");
}

/** Waits until greeter has logged the port that it listens on, and returns the port. */
export async function portOf({ output }: Process): Promise<number> {
  await until(() => output.stdout.includes("\n") || output.stderr !== "");
  const [, port] = output.stdout.match(/^Listening on .*:(\d+)\n/) ?? [];
  assert(port, `greeter does not listen: ${output.stdout}${output.stderr}`);
  return Number(port);
}

/** The rows of a log in JSON. */
export function rows({ output }: Process): Record<string, unknown>[] {
  return output.stdout.split("\n").slice(0, -1).map((line) => JSON.parse(line));
}

/** Sends SIGTERM to greeter, and asserts that it exits 0 without an error. */
export async function stop(greeter: Process) {
  greeter.child.kill("SIGTERM");
  const { code } = await greeter.ended;
  assertEquals([code, greeter.output.stderr], [0, ""]);
}

/** Calls `send`, which sends a signal, repeatedly until the process has ended. */
export async function signalUntilEnded({ ended }: Process, send: () => void) {
  let running = true;
  ended.finally(() => running = false);
  await until(() => {
    try {
      if (running) send();
    } catch {
      // The process has ended, but its output is not complete yet.
    }
    return !running;
  });
}

/** Returns how many descriptors a process has open, or 0 where there is no `/proc`. */
export async function descriptors({ child }: Process): Promise<number> {
  return isLinux ? (await Array.fromAsync(Deno.readDir(`/proc/${child.pid}/fd`))).length : 0;
}

/** Runs `clients` clients, 64 at a time. Returns how many received the whole default greeting. */
export async function load(port: number, clients: number): Promise<number> {
  let left = clients;
  let greeted = 0;
  async function client() {
    const buffer = new Uint8Array(64);
    while (left-- > 0) {
      using conn = await Deno.connect({ hostname: "127.0.0.1", port });
      let length = 0;
      for (let n: number | null = 0; n !== null; n = await conn.read(buffer)) length += n;
      if (length === GREETING_BYTES) greeted++;
    }
  }
  await Promise.all(Array.from({ length: 64 }, client));
  return greeted;
}

/** A server for tests of the client. Its sockets are destroyed at the end of its scope. */
export interface TestServer extends AsyncDisposable {
  /** The port on 127.0.0.1. */
  port: number;
  /** Returns how many connections there have been. */
  connections: () => number;
}

/**
 * Starts a server that calls a function for each connection. A socket answers a half-close by closing, unless
 * `allowHalfOpen` is set.
 */
export async function startServer(
  onConnection: (socket: Socket) => void,
  options: { allowHalfOpen?: boolean } = {},
): Promise<TestServer> {
  const sockets = new Set<Socket>();
  const server = createServer(options, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {}); // the client may close before everything is sent
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    connections: () => sockets.size,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Returns a result of the client: by default, of a port of 192.0.2.1 that had to greet, and is as expected if it did. */
export function probeResult(
  port: number,
  state: ProbeResult["state"],
  { greeting = "", ...fields }: Partial<Omit<ProbeResult, "greeting">> & { greeting?: string } = {},
): ProbeResult {
  return {
    host: "lab",
    expected: "greeted",
    ok: state === "greeted",
    state,
    remoteAddr: { transport: "tcp", hostname: "192.0.2.1", port },
    localAddr: undefined,
    greeting: new TextEncoder().encode(greeting),
    duration: 1.23456,
    error: undefined,
    ...fields,
  };
}

/** Counts the connections of a server that are open at the same time. */
export class OpenConnections {
  #open: Connection[] = [];
  /** The largest number of connections that were open at the same time. */
  most = 0;

  /** Adds a connection that was accepted. While it waits to be admitted and has not been sent anything, it does not count. */
  add(connection: Connection) {
    this.#open = this.#open.filter(({ closeReason }) => !closeReason);
    this.most = Math.max(this.most, this.#open.filter(({ bytesSent }) => bytesSent > 0).length);
    this.#open.push(connection);
  }
}
