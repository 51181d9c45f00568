/** Servers under abuse. @module */
import { holding, load, type Seen } from "./clients.ts";
import type { Measured } from "./measure.ts";
import type { Server } from "./peers.ts";
import { has, longGreeting, shell, shortGreeting } from "./programs.ts";
import { type Running, start, type StartOptions } from "./server.ts";

const [DESCRIPTORS, HOLDERS_WITHOUT_DESCRIPTORS] = [64, 300];
const TALKATIVE_CLIENTS = 100;
const NMAP_SCANS = 10;

/** Ordinary clients, after or during the abuse. */
const fourClients = ({ ports }: Running) => load(ports, shortGreeting, "burst", 4);

/** One round of a server under each kind of abuse: how many clients receive the whole greeting, in percent. */
export async function* measureAbuse({ command, isFixed }: Server, count: number): AsyncGenerator<Measured> {
  const under = async (abuse: (running: Running) => Promise<Seen>, options?: StartOptions) => {
    await using running = await start(command, options);
    const { whole, failed } = await abuse(running);
    return 100 * whole / (whole + failed);
  };
  const talk = ({ ports }: Running) => load(ports, longGreeting, "talkative", TALKATIVE_CLIENTS);
  const silent = (count: number, options?: StartOptions) =>
    under((running) => holding(running.lastPort, count, () => fourClients(running)), options);
  const figures = {
    "resets": await under(async (running) => {
      await load(running.ports, shortGreeting, "reset", count);
      return await fourClients(running);
    }),
    ...(has("nmap") && {
      "nmap -sT": await under((running) => {
        for (let i = 0; i < NMAP_SCANS; i++) shell(`nmap -sT -n -Pn -p ${running.ports} 127.0.0.1`);
        return fourClients(running);
      }),
    }),
    "no descriptors left": await silent(HOLDERS_WITHOUT_DESCRIPTORS, { descriptors: DESCRIPTORS }),
    "silent clients": await silent(count),
    "talkative clients": isFixed ? null : await under(talk, { file: longGreeting }),
    "unread log": await under(async (running) => {
      await load(running.ports, shortGreeting, "load", 16, 1);
      return await fourClients(running);
    }, { unreadLog: true }),
  };
  yield { table: "Abuse", figures };
}
