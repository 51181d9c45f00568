/** Servers under abuse. @module */
import { load, type Seen, whileHolding } from "./clients.ts";
import type { Measured } from "./measure.ts";
import type { Server } from "./peers.ts";
import { has, longGreeting, shell, shortGreeting, sleep } from "./programs.ts";
import { type Running, start, type StartOptions } from "./server.ts";

const [DESCRIPTORS, HOLDERS_WITHOUT_DESCRIPTORS] = [64, 300];
const TALKATIVE_CLIENTS = 100;
const NMAP_SCANS = 10;

/** Ordinary clients, after or during the abuse. They wait first, because a server may end with a delay. */
async function fourClients({ ports }: Running): Promise<Seen> {
  await sleep(500);
  return await load(ports, shortGreeting, "burst", 4);
}

/** One round of a server under each kind of abuse: how many clients receive the whole greeting, in percent. */
export async function* measureAbuse({ command, hasFixedGreeting }: Server, count: number): AsyncGenerator<Measured> {
  const under = async (abuse: (running: Running) => Promise<Seen>, options?: StartOptions) => {
    await using running = await start(command, options);
    const { whole, failed } = await abuse(running);
    return 100 * whole / (whole + failed);
  };
  const talk = ({ ports }: Running) => load(ports, longGreeting, "talkative", TALKATIVE_CLIENTS);
  const silent = (count: number, options?: StartOptions) =>
    under((running) => whileHolding(running.lastPort, count, () => fourClients(running)), options);
  const figures = {
    "resets": await under(async (running) => {
      await load(running.ports, shortGreeting, "reset", 64, 1);
      return await fourClients(running);
    }),
    ...(has("nmap") && {
      "nmap -sT": await under((running) => {
        const scan = `nmap -sT -n -Pn -p ${running.ports} 127.0.0.1`;
        for (let i = 0; i < NMAP_SCANS; i++) if (shell(scan) === undefined) throw new Error(`${scan} has failed`);
        return fourClients(running);
      }),
    }),
    "no descriptors left": await silent(HOLDERS_WITHOUT_DESCRIPTORS, { descriptors: DESCRIPTORS }),
    "silent clients": await silent(count),
    "talkative clients": hasFixedGreeting ? null : await under(talk, { file: longGreeting }),
  };
  yield { table: "Abuse", figures };
}
