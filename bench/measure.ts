/** The measurements. Each one starts its own server. @module */
import type { Extent } from "./all.ts";
import { holding, load, measureCommand, type Seen } from "./clients.ts";
import type { Scanner, Server } from "./peers.ts";
import { shell, shortGreeting, sleep, workDirectory } from "./programs.ts";
import { formatNumber, type Sample } from "./samples.ts";
import { type Running, start } from "./server.ts";

/** A sample without its round. Without `program`, it is that of the server or scanner that is measured. */
export type Measured = Pick<Sample, "table" | "figures"> & Partial<Pick<Sample, "program">>;

const waits = ({ whole, p50, p99, max, failed }: Seen, { last = false } = {}) => {
  const [median, slow, slowest] = whole > 0 ? [p50, p99, max] : [null, null, null];
  return { "p50 ms": median, "p99 ms": slow, ...(last && { "last ms": slowest }), failed };
};

/** One round of the speed of a server: processor time, waits, a burst, start and memory. */
export async function* measureSpeed({ command, holding: hold = command }: Server, extent: Extent) {
  {
    await using running = await start(command);
    yield* measureLevels(running, extent);
    const burst = waits(await load(running.ports, shortGreeting, "burst", extent.burst), { last: true });
    yield { table: `Servers: ${formatNumber(extent.burst)} clients connect at once`, figures: burst };
  }
  await using running = await start(hold);
  const idle = { "start ms": running.startTime, "idle MiB": running.memory() };
  const figures = await holding(running.lastPort, extent.held, async () => {
    await sleep(200); // until the memory no longer grows
    return {
      [`${formatNumber(extent.held)} held MiB`]: running.memory(),
      "then a new client, ms": await running.wait(),
    };
  });
  yield { table: "Start and memory", figures: { ...idle, ...figures } };
}

async function* measureLevels(running: Running, { levels, seconds }: Extent): AsyncGenerator<Measured> {
  await load(running.ports, shortGreeting, "load", 64, seconds / 2); // to warm up
  for (const level of levels) {
    const before = running.cpu();
    const seen = await load(running.ports, shortGreeting, "load", level, seconds);
    const cpu = (running.cpu() - before) / seen.whole * 1e6;
    const figures = { "CPU µs": cpu, "clients per second": seen.whole / seen.seconds, ...waits(seen) };
    yield { table: `Servers: ${formatNumber(level)} connections at once`, figures };
  }
}

/** Counts system calls that name a socket, while clients connect all at once. */
export async function* measureCalls({ command }: Server, { traced }: Extent): AsyncGenerator<Measured> {
  await using running = await start(command);
  await load(running.ports, shortGreeting, "burst", traced); // the first clients may cause more calls
  await sleep(500); // until the server has closed their connections
  const file = `${workDirectory}/calls`;
  const args = ["-f", "-y", "-o", file, "-p", `${running.pid}`];
  const strace = new Deno.Command("strace", { args, stderr: "piped" }).spawn();
  const messages = strace.stderr.getReader();
  await messages.read(); // "Process N attached"
  const { whole } = await load(running.ports, shortGreeting, "burst", traced);
  await sleep(500);
  strace.kill("SIGINT");
  while (!(await messages.read()).done);
  await strace.status;
  const figures: Record<string, number> = { all: 0 };
  for (const [, call = ""] of Deno.readTextFileSync(file).matchAll(/^\d+ +(\w+?)4?\(.*<socket:\[/gm)) {
    for (const column of ["all", call]) figures[column] = (figures[column] ?? 0) + 1 / whole;
  }
  yield { table: "System calls", figures };
}

/** One round of greeter on many ports, with at least one client for each. */
export async function* measurePorts({ command }: Server, { ports, burst }: Extent): AsyncGenerator<Measured> {
  for (const count of [1, burst, ports]) {
    await using running = await start(command, { count });
    const clients = Math.max(count, burst);
    const used = { "start ms": running.startTime, "MiB": running.memory() };
    const seen = await load(running.ports, shortGreeting, "burst", clients);
    const program = `${formatNumber(clients)} clients, ${count === 1 ? "one port" : `${formatNumber(count)} ports`}`;
    yield { table: "Many ports", program, figures: { ...used, ...waits(seen, { last: true }) } };
  }
}

/** One round of a scanner: ports that are all open, and then, if it is possible, ports that a firewall drops. */
export async function* measureScan(scanner: Scanner, server: Server, { ports, dropped }: Extent, canDrop: boolean) {
  for (const silent of canDrop ? [0, dropped] : [0]) {
    await using running = await start(server.command, { count: ports });
    const rule = `INPUT -p tcp --dport ${running.lastPort - silent}:${running.lastPort - 1} -j DROP`;
    if (silent > 0 && shell(`iptables -A ${rule}`) === undefined) throw new Error(`iptables -A ${rule}`);
    try {
      const { stdout, stderr, ...used } = await measureCommand(scanner.command(running.ports));
      const open = scanner.open(stdout);
      if (open === 0) throw new Error(`${scanner.name} has found no open port: ${stderr || stdout.slice(0, 200)}`);
      const figures = { seconds: used.seconds, "CPU s": used.user + used.system, "open ports found": open };
      const title = `${formatNumber(ports - silent)} open ports and ${formatNumber(silent)} dropped ones`;
      yield { table: `Port scans: ${title}`, figures };
    } finally {
      if (silent > 0) shell(`iptables -D ${rule}`);
    }
  }
}
