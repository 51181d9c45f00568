/**
 * Servers under load: what a connection costs, and how long the clients wait.
 *
 * @module
 */
import { greeterServer, type Server, thisGreeter } from "../peers/servers.ts";
import { holding, load } from "../processes/load.ts";
import { shortGreeting, sleep } from "../processes/programs.ts";
import { type Running, start } from "../processes/server.ts";
import { type Held, median, type Round, type Speed } from "../results.ts";
import type { Extent } from "./extent.ts";

async function measureLoad(running: Running, level: number, seconds: number): Promise<Speed> {
  const before = running.cpu();
  const seen = await load(running.ports, shortGreeting, "load", level, seconds);
  const after = running.cpu();
  const cpu = before === null || after === null || seen.whole === 0 ? null : (after - before) / seen.whole * 1e6;
  return { ...seen, cpu };
}

async function measureSpeed(server: Server, { levels, seconds }: Extent): Promise<Record<string, Speed>> {
  await using running = await start(server.command);
  await measureLoad(running, 64, seconds / 2); // to warm up
  const speed: Record<string, Speed> = {};
  for (const level of levels) speed[level] = await measureLoad(running, level, seconds);
  return speed;
}

async function measureHeld(server: Server, count: number): Promise<Held> {
  await using running = await start(server.holding ?? server.command);
  return await holding(running.ports, count, async () => {
    await sleep(200);
    return { memory: running.memory(), wait: await running.wait() };
  });
}

/** One round for one server. */
export async function measureRound(server: Server, extent: Extent): Promise<Round> {
  const speed = await measureSpeed(server, extent);
  const held: Record<string, Held> = {};
  for (const count of extent.holds) held[count] = await measureHeld(server, count);
  await using running = await start(server.command);
  return {
    speed,
    held,
    idle: running.memory(),
    start: running.startTime,
    burst: await load(running.ports, shortGreeting, "burst", extent.burst),
  };
}

/** What greeter's log costs: processor time per connection at 64 at once, in microseconds, by format. */
export async function measureLog({ rounds, seconds }: Extent): Promise<Record<string, number | null>> {
  const { command } = greeterServer(thisGreeter);
  const formats = [["quiet", ["--quiet"]], ["text", []], ["JSON", ["--json"]]] as const;
  const costs = formats.map(([name]) => ({ name, values: new Array<number | null>() }));
  for (let round = 1; round <= 2 * rounds; round++) {
    for (const [i, [, options]] of formats.entries()) {
      await using running = await start((port, file) => [...command(port, file), ...options]);
      await measureLoad(running, 64, seconds / 2); // to warm up
      costs[i]?.values.push((await measureLoad(running, 64, seconds)).cpu);
    }
  }
  return Object.fromEntries(costs.map(({ name, values }) => [name, median(values)]));
}
