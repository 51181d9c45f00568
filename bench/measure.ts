/** The measurements. Each one starts its own server. @module */
import type { Extent } from "./all.ts";
import { load, measureCommand, type Seen, whileHolding } from "./clients.ts";
import type { Greeter, Scanner, Server } from "./peers.ts";
import { shell, shortGreeting, sleep, workDirectory } from "./programs.ts";
import { formatNumber, type Sample } from "./samples.ts";
import { type Running, start } from "./server.ts";

/** A sample without its round. Without `program`, it is that of the server or scanner that is measured. */
export type Measured = Pick<Sample, "table" | "figures"> & Partial<Pick<Sample, "program">>;

/** The waits of the clients that were greeted, and how many were not. */
const waits = ({ whole, p50, p99, max, failed }: Seen): Record<string, number> =>
  whole > 0 ? { "p50 ms": p50, "p99 ms": p99, "last ms": max, failed } : { failed };

/** One round of the speed of a server: processor time, waits, a burst, start and memory. */
export async function* measureSpeed({ command, commandForMany = command }: Server, extent: Extent) {
  {
    await using running = await start(command);
    yield* measureLevels(running, extent);
    const burst = waits(await load(running.ports, shortGreeting, "burst", extent.burst));
    yield { table: `Servers: ${formatNumber(extent.burst)} clients connect at once`, figures: burst };
  }
  await using running = await start(commandForMany);
  const idle = { "start ms": running.startTime, "idle MiB": running.memory() };
  const figures = await whileHolding(running.lastPort, extent.held, async () => {
    await sleep(200); // until the memory no longer grows
    const { p50, whole } = await load(running.ports, shortGreeting, "burst", 1);
    const wait = { "new client ms": whole === 1 ? p50 : null };
    return { [`${formatNumber(extent.held)} held MiB`]: running.memory(), ...wait };
  });
  yield { table: "Start and memory", figures: { ...idle, ...figures } };
}

async function* measureLevels(running: Running, { levels, seconds }: Extent): AsyncGenerator<Measured> {
  await load(running.ports, shortGreeting, "load", 64, seconds / 2); // to warm up
  for (const level of levels) {
    const before = running.cpu();
    const seen = await load(running.ports, shortGreeting, "load", level, seconds);
    const after = running.cpu();
    const cpu = before === null || after === null ? null : (after - before) / seen.whole * 1e6;
    const figures = { "CPU µs": cpu, ...waits(seen), "client core, %": 100 * seen.cpu / seen.seconds };
    yield { table: `Servers: ${formatNumber(level)} connections at once`, figures };
  }
}

/** Counts system calls that name a socket, while clients connect all at once. */
export async function* countCalls({ command }: Server, { traced }: Extent): AsyncGenerator<Measured> {
  await using running = await start(command);
  await load(running.ports, shortGreeting, "burst", traced); // the first clients may cause more calls
  await sleep(500); // until the server has closed their connections
  const file = `${workDirectory}/calls`;
  const args = ["-f", "-y", "-o", file, "-p", `${running.pid}`];
  const strace = new Deno.Command("strace", { args, stderr: "piped" }).spawn();
  const messages = strace.stderr.getReader();
  const message = new TextDecoder().decode((await messages.read()).value);
  if (!message.includes(" attached")) throw new Error(`cannot trace system calls: ${message}`);
  const { whole } = await load(running.ports, shortGreeting, "burst", traced);
  await sleep(500);
  strace.kill("SIGINT");
  while (!(await messages.read()).done);
  await strace.status;
  const figures: Record<string, number> = { all: 0 };
  // accept4 counts as accept.
  for (const [, call = ""] of Deno.readTextFileSync(file).matchAll(/^\d+ +(\w+?)4?\(.*<socket:\[/gm)) {
    for (const column of ["all", call]) figures[column] = (figures[column] ?? 0) + 1 / whole;
  }
  yield { table: "System calls", figures };
}

/** One round of greeter on many ports. Each client has a port of its own, if there are enough. */
export async function* measurePorts({ command }: Server, { ports, burst }: Extent): AsyncGenerator<Measured> {
  for (const count of [1, burst, ports]) {
    await using running = await start(command, { count });
    const used = { "start ms": running.startTime, "MiB": running.memory() };
    const seen = await load(running.ports, shortGreeting, "burst", burst);
    const program = count === 1 ? "one port" : `${formatNumber(count)} ports`;
    yield { table: "Many ports", program, figures: { ...used, ...waits(seen) } };
  }
}

/** Runs something while the firewall drops the packets to a range of ports of this machine. */
async function whileDropping<T>(first: number, last: number, during: () => Promise<T>): Promise<T> {
  const rule = `INPUT -p tcp --dport ${first}:${last} -j DROP`;
  if (shell(`iptables -A ${rule}`) === undefined) throw new Error(`iptables -A ${rule} has failed`);
  try {
    return await during();
  } finally {
    shell(`iptables -D ${rule}`);
  }
}

/** One round of a scanner: ports that are all open, and then, if it is possible, ports that a firewall drops. */
export async function* measureScan(scanner: Scanner, server: Server, { ports, dropped }: Extent, canDrop: boolean) {
  const scan = async (running: Running) => {
    const { stdout, stderr, ...used } = await measureCommand(scanner.command(running.ports));
    const open = scanner.open(stdout);
    if (open === 0) throw new Error(`${scanner.name} has found no open port: ${stderr || stdout.slice(0, 200)}`);
    return { seconds: used.seconds, "CPU s": used.user + used.system, "peak MiB": used.peak, "open ports found": open };
  };
  {
    await using running = await start(server.command, { count: ports });
    yield { table: `Port scans: ${formatNumber(ports)} open ports`, figures: await scan(running) };
  }
  if (!canDrop || scanner.hasNoTimeout) return;
  await using running = await start(server.command, { count: ports });
  const last = running.lastPort - 1;
  const figures = await whileDropping(last - dropped + 1, last, () => scan(running));
  const title = `${formatNumber(ports - dropped)} open ports and ${formatNumber(dropped)} dropped ones`;
  yield { table: `Port scans: ${title}`, figures };
}

/** One round of `greeter connect` on ports that a firewall drops, and one more that must be open. */
export async function* measureBlocked({ command, run }: Greeter, { blocked }: Extent): AsyncGenerator<Measured> {
  for (const count of blocked) {
    await using running = await start(command, { count: count + 1 });
    const last = running.lastPort;
    const check = ["connect", "127.0.0.1", "--open", `${last}`, "--blocked", `${last - count}-${last - 1}`];
    const { stdout, stderr, ...used } = await whileDropping(
      last - count,
      last - 1,
      () => measureCommand([...run, ...check]),
    );
    const all = count + 1;
    if (!stdout.includes(`${all} of ${all} ports as expected`)) {
      throw new Error(`${check.join(" ")}: ${stderr}${stdout}`);
    }
    const figures = { seconds: used.seconds, "CPU s": used.user + used.system, "peak MiB": used.peak };
    yield { table: "Blocked ports", program: `${formatNumber(count)} dropped ports`, figures };
  }
}
