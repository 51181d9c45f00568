/**
 * A server that listens on many ports.
 *
 * @module
 */
import type { Server } from "../peers/servers.ts";
import { load } from "../processes/load.ts";
import { freeRange } from "../processes/ports.ts";
import { shortGreeting } from "../processes/programs.ts";
import { start } from "../processes/server.ts";
import { median, medianSeen, type PortsResult, type Seen } from "../results.ts";
import type { Extent } from "./extent.ts";

interface Listening {
  start: number;
  memory: number | null;
  seen: Seen;
}

/** One round of listening on many ports, with one client for each. */
async function listenOn({ command }: Server, ports: string, clients: number): Promise<Listening> {
  await using running = await start(command, { ports });
  const memory = running.memory();
  return { start: running.startTime, memory, seen: await load(ports, shortGreeting, "burst", clients) };
}

/** Measures a server that can listen on a range of ports. */
export async function measurePorts(server: Server, { rounds, listening, hit }: Extent): Promise<PortsResult> {
  const first = freeRange(Math.max(listening, hit));
  const all: Listening[] = [];
  const manyPorts: Listening[] = [];
  const onePort: Listening[] = [];
  for (let round = 1; round <= rounds; round++) {
    console.error(`round ${round} of ${rounds}: ${server.name}, ${listening} ports`);
    all.push(await listenOn(server, `${first}-${first + listening - 1}`, listening));
    manyPorts.push(await listenOn(server, `${first}-${first + hit - 1}`, hit));
    onePort.push(await listenOn(server, `${first}`, hit));
  }
  const seen = (rounds: Listening[]) => medianSeen(rounds.map(({ seen }) => seen));
  return {
    name: server.name,
    listening,
    start: median(all.map(({ start }) => start)),
    memory: median(all.map(({ memory }) => memory)),
    all: seen(all),
    manyPorts: seen(manyPorts),
    onePort: seen(onePort),
  };
}
