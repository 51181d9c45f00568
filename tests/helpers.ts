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

/** Whether tests may start processes. `deno task test:quick` forbids it. */
export const canRun: boolean = Deno.permissions.querySync({ name: "run" }).state === "granted";

/** For tests that run programs, which must be in PATH. */
export function needsPrograms(...programs: string[]): { ignore: boolean } {
  const isInstalled = (program: string) =>
    canRun && Deno.build.os !== "windows" &&
    new Deno.Command("sh", { args: ["-c", `command -v ${program}`] }).outputSync().success;
  return { ignore: !programs.every(isInstalled) };
}

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

/** Whether this machine has IPv6 on its loopback interface. */
export function hasIPv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}

/** How long a test waits for anything, in milliseconds. This only has to tell a hang, also on a busy machine. */
export const DEADLINE_MS = 60_000;

/** For time limits of what is tested that must not end before {@linkcode DEADLINE_MS}. */
export const ENDLESS_MS = 3_600_000;

/** Waits until the condition is true. Fails if it is not true within {@linkcode DEADLINE_MS}. */
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

/** Waits until a socket emits an event. */
export async function eventOf(socket: Socket, event: string) {
  await within(new Promise((resolve) => socket.once(event, resolve)));
}

/** Connects, and resets the connection. */
export async function connectAndReset(port: number) {
  const socket = createConnection(port, "127.0.0.1");
  const closed = eventOf(socket, "close");
  await eventOf(socket, "connect");
  socket.resetAndDestroy();
  await closed;
}

/**
 * Connects to 127.0.0.1 from one of this machine's addresses, sends a text, and waits until the connection is closed.
 * Returns whether anything was received.
 */
export async function connectFrom(localAddress: string, port: number, text = ""): Promise<boolean> {
  const socket = createConnection({ host: "127.0.0.1", port, localAddress });
  const closed = eventOf(socket, "close");
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
export async function within<T>(promise: Promise<T>, ms: number = DEADLINE_MS): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`not within ${ms} ms`)), ms);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Yields what a generator yields. Fails if it takes longer than the deadline for a value, or to end. */
export async function* timely<T>(values: AsyncGenerator<T>): AsyncGenerator<T> {
  try {
    for (let next = await within(values.next()); !next.done; next = await within(values.next())) yield next.value;
  } finally {
    await within(values.return(undefined));
  }
}

/**
 * Whether a check is true in at least one of five attempts. For upper limits of times, because a busy machine may delay an
 * attempt.
 */
export async function sometimes(check: () => Promise<boolean>): Promise<boolean> {
  for (let i = 0; i < 5; i++) {
    if (await check()) return true;
  }
  return false;
}

const PORTS_PER_FILE = 128;

/**
 * A block of ports from 24000 to 32703, which no other file has at the same time. It is reserved as long as this file
 * listens on its first port. Files run at the same time, so two of them could find the same port free. There are no
 * ephemeral ports in this range (Linux: from 32768 on), which could be assigned to another test before they are used.
 */
const portBlock = await reservePorts();

async function reservePorts(): Promise<Deno.TcpListener> {
  for (const deadline = performance.now() + DEADLINE_MS;;) {
    const port = 24_000 + Math.floor(Math.random() * 68) * PORTS_PER_FILE;
    try {
      return Deno.listen({ hostname: "127.0.0.1", port });
    } catch (error) {
      // Another file has the block.
      if (!(error instanceof Deno.errors.AddrInUse) || performance.now() > deadline) throw error;
      await delay(1);
    }
  }
}

let lastPort = 0;

/** Returns a free port of 127.0.0.1 that stays free until it is used. The next calls return other ports. */
export function freePort(): number {
  for (let i = 0; i < PORTS_PER_FILE; i++) {
    // Not in order, so that a test can expect several ranges. 37 and 128 have no common divisor, so each port has its turn.
    lastPort = (lastPort + 37) % PORTS_PER_FILE;
    const port = portBlock.addr.port + lastPort;
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch {
      // The port is in use, or is the first one of the block.
    }
  }
  throw new Error("no port of this file is free");
}

/** Returns different ports for which {@linkcode freePort} holds. */
export function freePorts(count: number): number[] {
  return Array.from({ length: count }, freePort);
}

/** Reads everything that a server sends, and closes the connection. Rejects if the connection is reset. */
export function receive(conn: Deno.Conn): Promise<Uint8Array> {
  return within(new Response(conn.readable).bytes());
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
    const count = await within(conn.read(buffer.subarray(n)));
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
  /** The status of the process when it has ended and its output is complete. Each access waits at most for the deadline. */
  readonly ended: Promise<Deno.CommandStatus>;
  /** Kills the process, and its group if it is `detached`. Has no effect if it has already ended. */
  kill(): void;
}

/** The environment of a process that may download packages. `spawn()` passes on no certificates unless `options` have them. */
export const DOWNLOAD_ENV = { NODE_EXTRA_CA_CERTS: Deno.env.get("NODE_EXTRA_CA_CERTS") ?? "" };

/** Starts a process. It has no standard input and no colors unless `options` say otherwise. */
export function start(command: readonly string[], options: Deno.CommandOptions = {}): Deno.ChildProcess {
  const [program = "", ...args] = command;
  // Deno would print a warning if it could not read this file because no descriptor is left.
  const env = { NODE_EXTRA_CA_CERTS: "", NO_COLOR: "1", ...options.env };
  return new Deno.Command(program, { args, stdin: "null", stdout: "piped", stderr: "piped", ...options, env }).spawn();
}

/** Starts a process as {@linkcode start} does, and collects its output. `ms` is the deadline for its end. */
export function spawn(
  command: readonly string[],
  options: Deno.CommandOptions = {},
  ms: number = DEADLINE_MS,
): Process {
  const child = start(command, options);
  const output = { stdout: "", stderr: "" };
  const readers = { stdout: child.stdout.getReader(), stderr: child.stderr.getReader() };
  const collect = async (stream: "stdout" | "stderr") => {
    const decoder = new TextDecoder();
    for (let chunk = await readers[stream].read(); !chunk.done; chunk = await readers[stream].read()) {
      output[stream] += decoder.decode(chunk.value, { stream: true });
    }
  };
  let hasEnded = false;
  const ended = Promise.all([child.status, collect("stdout"), collect("stderr")]).then(([status]) => {
    hasEnded = true;
    return status;
  });
  const kill = () => {
    try {
      if (options.detached && Deno.build.os !== "windows") Deno.kill(-child.pid, "SIGKILL");
      else child.kill("SIGKILL");
    } catch {
      // The process has ended, although its status may not have been delivered yet.
    }
  };
  return {
    child,
    output,
    get ended() {
      return within(ended, ms).catch((cause) => {
        throw new Error(`${command.join(" ")} did not end: ${output.stdout}${output.stderr}`, { cause });
      });
    },
    kill,
    async [Symbol.asyncDispose]() {
      if (hasEnded) return;
      kill();
      // A process that has left the group may keep the pipes open.
      await Promise.all([readers.stdout.cancel(), readers.stderr.cancel()]);
      await ended;
    },
  };
}

/**
 * Runs a command until it ends. If it does not end within `ms` milliseconds, this fails, and kills the process group of the
 * command. On Windows, it kills only the command.
 */
export async function run(
  command: readonly string[],
  options?: Deno.CommandOptions,
  ms?: number,
): Promise<{ code: number; signal: Deno.Signal | null; stdout: string; stderr: string }> {
  // In a process group of its own, which can be killed as a whole.
  await using process = spawn(command, { ...options, detached: Deno.build.os !== "windows" }, ms);
  const { code, signal } = await process.ended;
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
      for (let n: number | null = 0; n !== null; n = await within(conn.read(buffer))) length += n;
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
