/**
 * Measures greeter beside what people would use instead, all in one run: `deno task bench`, or `deno task bench --quick`
 * for a look in seconds at greeter and the C loop. Prints tables, and writes `results.json`, `speed.svg` and `abuse.svg`.
 *
 * It needs Linux: what a server costs is read from /proc.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { format as formatBytes } from "@std/fmt/bytes";
import { drawAbuse, drawSpeed } from "./charts.ts";
import { greetingOf, type Seen } from "./load.ts";

/** A server to measure: how it is started. */
interface Server {
  name: string;
  /** The command that greets on 127.0.0.1 with what is in a file. */
  command(port: number, file: string): string[];
  /** The same, for when thousands of connections are to be held. */
  holding?(port: number, file: string): string[];
  /** It can't send another greeting than the tutorial's. */
  fixed?: boolean;
  /** Its executable, where it is one of its own. */
  binary?: string;
}

/** What one server's measurements came to. Times in milliseconds but for `cpu`, in microseconds. */
export interface Result {
  name: string;
  /** At so many connections at once. */
  speed: Record<string, { cpu: number; perSecond: number; p50: number; p99: number; max: number; failed: number }>;
  /** Resident memory in bytes, and a new client's wait, with so many connections held. */
  held: Record<string, { memory: number; wait: number | null }>;
  idle: number;
  burst: { whole: number; clients: number; last: number };
  start: number;
  size: number | null;
  abuse: Record<string, Abuse | null>;
}

/** How a server fared. `null` where there was nothing to count, or no answer in 5 s. */
export interface Abuse {
  alive: boolean;
  whole: number;
  clients: number;
  wait: number | null;
}

const here = import.meta.dirname ?? ".";
const root = `${here}/..`;
const deno = Deno.execPath();
const options: Record<string, unknown> = parseArgs(Deno.args, { boolean: ["quick"] });
const quick = options.quick === true;
const rounds = quick ? 1 : 3;
const seconds = quick ? 0.3 : 1.5;
const levels = quick ? [16, 64] : [1, 16, 64, 256, 4096];
const holds = quick ? [100] : [1000, 10_000];

const work = await Deno.makeTempDir();
const shortGreeting = `${work}/short`;
const longGreeting = `${work}/long`;
await Deno.writeFile(shortGreeting, greetingOf(41));
await Deno.writeFile(longGreeting, greetingOf(16_000));

function has(program: string): boolean {
  return new Deno.Command("sh", { args: ["-c", `command -v ${program}`], stdout: "null" }).outputSync().success;
}

// A core for the server, another for the clients.
const pinned = has("taskset") && navigator.hardwareConcurrency > 1;
const onCore = (core: number) => pinned ? ["taskset", "-c", `${core}`] : [];

const greeterRun = [deno, "run", "--allow-net", "--v8-flags=--max-semi-space-size=8", `${root}/main.ts`];
const greeter = (run: string[]): Pick<Server, "command" | "holding"> => {
  const local = (port: number) => ["--host", "127.0.0.1", "--port", `${port}`];
  const greeting = (file: string) => file === shortGreeting ? [] : ["--stdin"];
  return {
    command: (port, file) => [...run, ...local(port), ...greeting(file)],
    holding: (port) => [...run, ...local(port), "--max-connections", "20000", "--timeout", "600"],
  };
};

/** The servers that this machine has, and a word on those that it hasn't. */
async function servers(): Promise<Server[]> {
  const found: Server[] = [];
  const leftOut: string[] = [];
  const add = (server: Server, missing: string | false) => {
    if (missing) leftOut.push(`${server.name} (${missing})`);
    else found.push(server);
  };
  const needs = (program: string) => !has(program) && `there is no ${program}`;
  const exists = (path: string) => Deno.stat(path).then(() => true, () => false);

  add({ name: "greeter, deno run", ...greeter(greeterRun) }, false);
  const binary = `${root}/dist/greeter`;
  const compiled = { name: "greeter, compiled", binary, ...greeter([binary]) };
  add(compiled, !await exists(binary) && "no dist/greeter, which deno task compile makes");

  if (has("cc")) {
    const args = ["-O2", "-o", `${work}/accept`, `${here}/peers/accept.c`];
    const { success } = await new Deno.Command("cc", { args }).output();
    if (!success) throw new Error("cc could not compile peers/accept.c");
  }
  add({ name: "C loop", command: (port, file) => [`${work}/accept`, `${port}`, file] }, needs("cc"));
  if (!quick) {
    const textbook = [deno, "run", "--allow-net", "--allow-read", `${here}/peers/textbook.ts`];
    add({ name: "textbook Deno", command: (port, file) => [...textbook, `${port}`, file] }, false);
    add({
      name: "tutorial, Python",
      fixed: true,
      command: (port) => ["python3", `${here}/peers/tutorial.py`, `${port}`],
    }, needs("python3"));
    add({
      name: "Node's net",
      command: (port, file) => ["node", `${here}/peers/node.mjs`, `${port}`, file],
    }, needs("node"));
    const banner = (file: string) => Deno.readTextFileSync(file);
    const tcpserver = ["tcpserver", "-H", "-R", "-l", "0", "-b", "4096", "-c", "20000"];
    add({
      name: "tcpserver -B",
      command: (port, file) => [...tcpserver, "-B", banner(file), "127.0.0.1", `${port}`, "true"],
    }, needs("tcpserver"));
    add({
      name: "socat, fork",
      command: (port, file) => [
        ...["socat", "-U", `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,backlog=4096,fork`, `OPEN:${file},rdonly`],
      ],
    }, needs("socat"));
    add({
      name: "ncat -l -k",
      command: (port, file) => ["ncat", "-l", "-k", "-m", "20000", "--sh-exec", `cat ${file}`, "127.0.0.1", `${port}`],
    }, needs("ncat"));
  }
  if (leftOut.length > 0) console.log(`Left out: ${leftOut.join(", ")}.\n`);
  return found;
}

/** A server that runs. */
interface Running extends AsyncDisposable {
  port: number;
  alive(): boolean;
  /** Processor time so far, its children's included, in seconds. */
  cpu(): number;
  /** Resident memory, its children's included, in bytes. */
  memory(): number;
}

/** Starts a server, and waits for its first greeting. Its log goes to a file, or to a pipe that nobody reads. */
async function start(
  command: (port: number, file: string) => string[],
  { file = shortGreeting, descriptors = 0, unreadLog = false } = {},
): Promise<Running> {
  const port = freePort();
  const limit = descriptors > 0 ? `ulimit -n ${descriptors}; ` : "";
  const output = unreadLog ? "" : `>>${work}/log`;
  const script = `${limit}exec "$@" <${file} ${output} 2>>${work}/errors`;
  const child = new Deno.Command("sh", {
    args: ["-c", script, "sh", ...onCore(0), ...command(port, file)],
    stdin: "null",
    stdout: unreadLog ? "piped" : "null",
    stderr: "null",
  }).spawn();
  let running = true;
  const ended = child.status.then(() => running = false);
  const length = file === shortGreeting ? 41 : 16_000;
  const deadline = performance.now() + 10_000;
  while (await wait(port, length) === null) {
    if (performance.now() > deadline || !running) throw new Error(`${command(port, file).join(" ")} doesn't greet`);
    await sleep(2);
  }
  return {
    port,
    alive: () => running,
    cpu: () => running ? cpuOf(child.pid) : NaN,
    memory: () => running ? memoryOf(child.pid) : NaN,
    async [Symbol.asyncDispose]() {
      if (unreadLog) await child.stdout.cancel();
      if (running) child.kill("SIGKILL");
      await ended;
    },
  };
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** How long a new client waits for the last byte of its greeting, in milliseconds; null if it gets none within 5 s. */
async function wait(port: number, length = 41): Promise<number | null> {
  const started = performance.now();
  const expected = greetingOf(length);
  let conn: Deno.TcpConn;
  try {
    conn = await Deno.connect({ hostname: "127.0.0.1", port });
  } catch {
    return null;
  }
  const { promise: late, resolve } = Promise.withResolvers<null>();
  const timer = setTimeout(resolve, 5000, null);
  const received = new Uint8Array(length);
  const greeted = (async () => {
    let n = 0;
    while (n < length) {
      const count = await conn.read(received.subarray(n)).catch(() => null);
      if (count === null) return null;
      n += count;
    }
    return received.every((byte, i) => byte === expected[i]) ? performance.now() - started : null;
  })();
  const waited = await Promise.race([greeted, late]);
  clearTimeout(timer);
  conn.close();
  await greeted;
  return waited;
}

/** Fields 14 to 17 of /proc/PID/stat: a tick is 10 ms. Children count once they have ended. */
function cpuOf(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const times = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 15).map(Number);
  return times.reduce((sum, ticks) => sum + ticks) / 100;
}

function memoryOf(pid: number): number {
  try {
    const [, kilobytes = 0] = Deno.readTextFileSync(`/proc/${pid}/status`).match(/VmRSS:\s*(\d+)/) ?? [];
    const children = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean);
    return children.reduce((sum, child) => sum + memoryOf(Number(child)), Number(kilobytes) * 1024);
  } catch {
    return 0; // a child that has ended meanwhile
  }
}

/** Clients in a process of their own; see load.ts. */
function clients(port: number, length: number, ...mode: (string | number)[]): Deno.ChildProcess {
  const [program, ...args] = [...onCore(1), deno, "run", "--allow-net", `${here}/load.ts`];
  return new Deno.Command(program, {
    args: [...args, `${port}`, `${length}`, ...mode.map(String)],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

async function load(port: number, length: number, ...mode: (string | number)[]): Promise<Seen> {
  const child = clients(port, length, ...mode);
  await child.stdin.close();
  const seen: Seen = await new Response(child.stdout).json();
  await child.status;
  return seen;
}

/** Holds connections in silence while `during` runs; it is told how many are held. */
async function holding<T>(port: number, count: number, during: (held: Seen) => Promise<T>): Promise<T> {
  const child = clients(port, 41, "silent", count);
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  try {
    return await during(JSON.parse(new TextDecoder().decode(value)));
  } finally {
    await child.stdin.close();
    while (!(await reader.read()).done);
    await child.status;
  }
}

async function measureSpeed(server: Server): Promise<Result["speed"]> {
  await using running = await start(server.command);
  await load(running.port, 41, "load", 64, seconds / 2); // to warm up
  const speed: Result["speed"] = {};
  for (const level of levels) {
    const before = running.cpu();
    const { whole, failed, seconds: took, p50, p99, max } = await load(running.port, 41, "load", level, seconds);
    const cpu = (running.cpu() - before) / whole * 1e6;
    speed[level] = { cpu, perSecond: whole / took, p50, p99, max, failed };
  }
  return speed;
}

async function measureScale(server: Server): Promise<Pick<Result, "idle" | "held" | "burst">> {
  const held: Result["held"] = {};
  let idle = 0;
  for (const count of holds) {
    await using running = await start(server.holding ?? server.command);
    idle = running.memory();
    held[count] = await holding(running.port, count, async () => {
      await sleep(200);
      return { memory: running.memory(), wait: await wait(running.port) };
    });
  }
  await using running = await start(server.command);
  const count = quick ? 200 : 4000;
  const { whole, max } = await load(running.port, 41, "burst", count);
  return { idle, held, burst: { whole, clients: count, last: max } };
}

/** What the log costs: processor time a connection at 64 at once, in microseconds. */
async function measureLog(): Promise<Record<string, number>> {
  const flags = { quiet: ["--quiet"], text: [], json: ["--json"] };
  const costs: Record<string, number[]> = { quiet: [], text: [], json: [] };
  for (let round = 1; round <= 2 * rounds; round++) {
    for (const [name, more] of Object.entries(flags)) {
      await using running = await start((port, file) => [...greeter(greeterRun).command(port, file), ...more]);
      await load(running.port, 41, "load", 64, seconds / 2); // to warm up
      const before = running.cpu();
      const { whole } = await load(running.port, 41, "load", 64, 2 * seconds);
      costs[name].push((running.cpu() - before) / whole * 1e6);
    }
  }
  return Object.fromEntries(Object.entries(costs).map(([name, values]) => [name, median(values)]));
}

/** From exec to the first greeting, and the size of the executable. */
async function measureStart(server: Server): Promise<Pick<Result, "start" | "size">> {
  const started = performance.now();
  await using _running = await start(server.command);
  const elapsed = performance.now() - started;
  return { start: elapsed, size: server.binary ? (await Deno.stat(server.binary)).size : null };
}

async function measureAbuse(server: Server): Promise<Result["abuse"]> {
  const many = quick ? 200 : 8000;
  const after = async (running: Running, { whole, failed }: { whole: number; failed: number }): Promise<Abuse> => {
    const waited = running.alive() ? await wait(running.port) : null;
    return { alive: running.alive(), whole, clients: whole + failed, wait: waited };
  };
  /** Four ordinary clients afterwards say whether it still works. */
  const normal = (running: Running) => load(running.port, 41, "burst", 4);
  const abuse: Result["abuse"] = {};
  {
    await using running = await start(server.command);
    await load(running.port, 41, "reset", many);
    abuse["resets"] = await after(running, await normal(running));
  }
  if (has("nmap") && !quick) {
    await using running = await start(server.command);
    const args = ["-sT", "-n", "-Pn", "-p", `${running.port}`, "127.0.0.1"];
    for (let i = 0; i < 10; i++) await new Deno.Command("nmap", { args, stdout: "null" }).output();
    abuse["nmap -sT"] = await after(running, await normal(running));
  }
  {
    await using running = await start(server.command, { descriptors: 64 });
    abuse["no descriptors left"] = await holding(running.port, 300, async () => {
      const waited = await wait(running.port);
      return { alive: running.alive(), whole: Number(waited !== null), clients: 1, wait: waited };
    });
  }
  if (server.fixed) abuse["talkative clients"] = null;
  else {
    await using running = await start(server.command, { file: longGreeting });
    const seen = await load(running.port, 16_000, "talkative", 100);
    abuse["talkative clients"] = {
      alive: running.alive(),
      whole: seen.whole,
      clients: 100,
      wait: await wait(running.port, 16_000),
    };
  }
  {
    await using running = await start(server.command);
    abuse["silent holders"] = await holding(running.port, quick ? 100 : 3000, async () => {
      const waited = await wait(running.port);
      return { alive: running.alive(), whole: Number(waited !== null), clients: 1, wait: waited };
    });
  }
  {
    await using running = await start(server.command, { unreadLog: true });
    abuse["unread log"] = await after(running, await load(running.port, 41, "load", 16, quick ? 0.5 : 1.5));
  }
  return abuse;
}

function median(values: number[]): number {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

async function measureAll(servers: Server[]): Promise<Result[]> {
  type Round =
    & { speed: Result["speed"] }
    & Awaited<ReturnType<typeof measureScale>>
    & Awaited<ReturnType<typeof measureStart>>;
  const all = new Map<Server, Round[]>(servers.map((server) => [server, []]));
  // In turn, so that a machine that gets slower does so for all.
  for (let round = 1; round <= rounds; round++) {
    for (const [server, done] of all) {
      console.error(`round ${round} of ${rounds}: ${server.name}`);
      done.push({
        speed: await measureSpeed(server),
        ...await measureScale(server),
        ...await measureStart(server),
      });
    }
  }
  const results: Result[] = [];
  for (const [server, done] of all) {
    console.error(`abuse: ${server.name}`);
    const mid = (of: (round: Round) => number) => median(done.map(of));
    const speed: Result["speed"] = {};
    for (const level of levels) {
      speed[level] = {
        cpu: mid((round) => round.speed[level].cpu),
        perSecond: mid((round) => round.speed[level].perSecond),
        p50: mid((round) => round.speed[level].p50),
        p99: mid((round) => round.speed[level].p99),
        max: mid((round) => round.speed[level].max),
        failed: mid((round) => round.speed[level].failed),
      };
    }
    const held: Result["held"] = {};
    for (const count of holds) {
      const wait = mid((round) => round.held[count].wait ?? Infinity);
      held[count] = { memory: mid((round) => round.held[count].memory), wait: wait === Infinity ? null : wait };
    }
    results.push({
      name: server.name,
      speed,
      held,
      idle: mid((round) => round.idle),
      burst: {
        whole: mid((round) => round.burst.whole),
        clients: done[0].burst.clients,
        last: mid((round) => round.burst.last),
      },
      start: mid((round) => round.start),
      size: done[0].size,
      abuse: await measureAbuse(server),
    });
  }
  return results;
}

function printTable(title: string, head: string[], rows: string[][]) {
  console.log(`\n### ${title}\n`);
  console.log(`| ${head.join(" | ")} |\n| ${head.map((_, i) => i === 0 ? "---" : "---:").join(" | ")} |`);
  for (const row of rows) console.log(`| ${row.join(" | ")} |`);
}

function printTables(results: Result[]) {
  const ms = (value: number | null) => value === null ? "never" : value < 10 ? value.toFixed(1) : value.toFixed(0);
  const mib = (bytes: number) => formatBytes(bytes, { binary: true, maximumFractionDigits: 0 });
  const base = results.find(({ name }) => name === "C loop");
  const ratio = (cpu: number, level: number) => base ? (cpu / base.speed[level].cpu).toFixed(2) : "";
  printTable(
    "Speed, 64 at once",
    ["server", "CPU µs a connection", "× C", "connections/s", "p50 ms", "p99 ms", "max ms", "failed"],
    results.map(({ name, speed: { 64: at } }) => [
      ...[name, at.cpu.toFixed(1), ratio(at.cpu, 64), at.perSecond.toFixed(0), ms(at.p50), ms(at.p99), ms(at.max)],
      `${at.failed}`,
    ]),
  );
  for (const level of levels.filter((level) => level !== 64)) {
    printTable(
      `Speed, ${level} at once`,
      ["server", "CPU µs a connection", "× C", "connections/s", "p50 ms", "p99 ms", "max ms", "failed"],
      results.map(({ name, speed: { [level]: at } }) => [
        ...[name, at.cpu.toFixed(1), ratio(at.cpu, level), at.perSecond.toFixed(0), ms(at.p50), ms(at.p99), ms(at.max)],
        `${at.failed}`,
      ]),
    );
  }
  printTable(
    "Scale",
    [
      ...["server", "idle", ...holds.flatMap((count) => [`${count} held`, "a new client waits, ms"])],
      ...["burst: greeted", "the last one waits, ms", "first greeting after the start, ms", "executable"],
    ],
    results.map(({ name, idle, held, burst, start, size }) => [
      ...[name, mib(idle), ...holds.flatMap((count) => [mib(held[count].memory), ms(held[count].wait)])],
      ...[`${burst.whole} of ${burst.clients}`, ms(burst.last), ms(start), size === null ? "" : mib(size)],
    ]),
  );
  const kinds = Object.keys(results[0].abuse);
  printTable(
    "Abuse: alive after it? greetings whole, a new client's wait in ms",
    ["server", ...kinds],
    results.map(({ name, abuse }) => [
      name,
      ...kinds.map((kind) => {
        const seen = abuse[kind];
        if (!seen) return "can't";
        const share = `${seen.whole} of ${seen.clients}`;
        return seen.alive ? `alive, ${share}, ${ms(seen.wait)}` : `dead, ${share}`;
      }),
    ]),
  );
}

const found = await servers();
console.log(`${rounds} rounds of ${seconds} s; ${pinned ? "server and clients on a core each" : "not pinned"}.`);
const results = await measureAll(found);
const log = await measureLog();
await Deno.remove(work, { recursive: true });
printTables(results);
printTable(
  "What greeter's log costs, 64 at once",
  ["log", "CPU µs a connection", "× quiet"],
  Object.entries(log).map(([name, cpu]) => [name, cpu.toFixed(1), (cpu / log.quiet).toFixed(2)]),
);
if (!quick) {
  const cpu = (await Deno.readTextFile("/proc/cpuinfo")).match(/model name\s*: (.*)/)?.[1] ?? "unknown";
  const machine = `${navigator.hardwareConcurrency} cores of ${cpu}, ${Deno.build.os}, Deno ${Deno.version.deno}`;
  const day = new Date().toISOString().slice(0, 10);
  await Deno.writeTextFile(`${here}/results.json`, JSON.stringify({ machine, day, results, log }, null, 2) + "\n");
  await Deno.writeTextFile(`${here}/speed.svg`, drawSpeed(results, `${machine}, ${day}`));
  await Deno.writeTextFile(`${here}/abuse.svg`, drawAbuse(results, `${machine}, ${day}`));
}
