/**
 * The measurements, each on servers started for it.
 *
 * @module
 */
import { greeterCommand, type Server } from "./peers.ts";
import {
  has,
  holding,
  load,
  longGreeting,
  type Running,
  shortGreeting,
  sleep,
  start,
  waitForGreeting,
} from "./processes.ts";
import { type Abuse, type Held, median, type Round, type Speed } from "./results.ts";

/** How much is measured. */
export interface Extent {
  rounds: number;
  /** How many connections are open at once. */
  levels: readonly number[];
  /** How long each level is measured, in seconds. */
  seconds: number;
  /** How many connections are held. */
  holds: readonly number[];
  /** How many clients a burst, the resets and the silent holders have. */
  burst: number;
  resets: number;
  silent: number;
  /** Whether nmap scans the server, ten times. */
  scans: boolean;
}

/** The whole benchmark, and `--quick`. */
export const FULL: Extent = {
  rounds: 3,
  levels: [64, 256, 1000, 4000],
  seconds: 2,
  holds: [1000, 10_000],
  burst: 4000,
  resets: 8000,
  silent: 3000,
  scans: has("nmap"),
};
export const QUICK: Extent = {
  rounds: 1,
  levels: [64, 256],
  seconds: 0.3,
  holds: [100],
  burst: 200,
  resets: 200,
  silent: 100,
  scans: false,
};

async function measureLoad(running: Running, level: number, seconds: number): Promise<Speed> {
  const before = running.cpu();
  const { whole, failed, seconds: took, p50, p99, max } = await load(
    running.port,
    shortGreeting,
    "load",
    level,
    seconds,
  );
  const cpu = (running.cpu() - before) / whole * 1e6;
  return { cpu, perSecond: whole / took, p50, p99, max, failed };
}

async function measureSpeed(server: Server, { levels, seconds }: Extent): Promise<Map<number, Speed>> {
  await using running = await start(server.command);
  await measureLoad(running, 64, seconds / 2); // to warm up
  const speed = new Map<number, Speed>();
  for (const level of levels) speed.set(level, await measureLoad(running, level, seconds));
  return speed;
}

async function measureScale(server: Server, extent: Extent): Promise<Pick<Round, "idle" | "held" | "burst">> {
  const held = new Map<number, Held>();
  let idle = 0;
  for (const count of extent.holds) {
    await using running = await start(server.holding ?? server.command);
    idle = running.memory();
    const measured = await holding(running.port, count, async () => {
      await sleep(200);
      return { memory: running.memory(), wait: await waitForGreeting(running.port) };
    });
    held.set(count, measured);
  }
  await using running = await start(server.command);
  const { whole, max } = await load(running.port, shortGreeting, "burst", extent.burst);
  return { idle, held, burst: { whole, clients: extent.burst, last: max } };
}

/** One round for one server. */
export async function measureRound(server: Server, extent: Extent): Promise<Round> {
  const speed = await measureSpeed(server, extent);
  const scale = await measureScale(server, extent);
  const started = performance.now();
  await using _running = await start(server.command);
  return { speed, ...scale, start: performance.now() - started };
}

/** What greeter's log costs: processor time per connection at 64 at once, in microseconds, by format. */
export async function measureLog({ rounds, seconds }: Extent): Promise<Map<string, number>> {
  const formats = [["quiet", ["--quiet"]], ["text", []], ["JSON", ["--json"]]] as const;
  const costs = new Map<string, number[]>(formats.map(([name]) => [name, []]));
  for (let round = 1; round <= 2 * rounds; round++) {
    for (const [name, options] of formats) {
      await using running = await start((port, file) => [...greeterCommand(port, file), ...options]);
      await measureLoad(running, 64, seconds / 2); // to warm up
      costs.get(name)?.push((await measureLoad(running, 64, seconds)).cpu);
    }
  }
  return new Map([...costs].map(([name, values]) => [name, median(values)]));
}

/** How a server fares under each kind of abuse. */
export async function measureAbuse(server: Server, extent: Extent): Promise<Map<string, Abuse | null>> {
  const abuse = new Map<string, Abuse | null>();
  const result = async (running: Running, whole: number, clients: number): Promise<Abuse> => {
    const wait = running.alive() ? await waitForGreeting(running.port) : null;
    return { alive: running.alive(), whole, clients, wait };
  };
  /** Four ordinary clients show whether the server still works. */
  const ordinary = async (running: Running) => {
    const { whole } = await load(running.port, shortGreeting, "burst", 4);
    return await result(running, whole, 4);
  };
  const newcomer = async (running: Running): Promise<Abuse> => {
    const wait = await waitForGreeting(running.port);
    return { alive: running.alive(), whole: Number(wait !== null), clients: 1, wait };
  };
  {
    await using running = await start(server.command);
    await load(running.port, shortGreeting, "reset", extent.resets);
    abuse.set("resets", await ordinary(running));
  }
  if (extent.scans) {
    await using running = await start(server.command);
    const args = ["-sT", "-n", "-Pn", "-p", `${running.port}`, "127.0.0.1"];
    for (let i = 0; i < 10; i++) await new Deno.Command("nmap", { args, stdout: "null" }).output();
    abuse.set("nmap -sT", await ordinary(running));
  }
  {
    await using running = await start(server.command, { descriptors: 64 });
    abuse.set("no descriptors left", await holding(running.port, 300, () => newcomer(running)));
  }
  if (server.fixed) abuse.set("talkative clients", null);
  else {
    await using running = await start(server.command, { file: longGreeting });
    const { whole } = await load(running.port, longGreeting, "talkative", 100);
    const wait = await waitForGreeting(running.port, longGreeting);
    abuse.set("talkative clients", { alive: running.alive(), whole, clients: 100, wait });
  }
  {
    await using running = await start(server.command);
    abuse.set("silent holders", await holding(running.port, extent.silent, () => newcomer(running)));
  }
  {
    await using running = await start(server.command, { unreadLog: true });
    const { whole, failed } = await load(running.port, shortGreeting, "load", 16, extent.seconds);
    abuse.set("unread log", await result(running, whole, whole + failed));
  }
  return abuse;
}
