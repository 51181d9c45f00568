/**
 * Servers under abuse.
 *
 * @module
 */
import type { Server } from "../peers/servers.ts";
import { holding, load } from "../processes/load.ts";
import { has, longGreeting, shortGreeting } from "../processes/programs.ts";
import { type Running, start } from "../processes/server.ts";
import type { Abuse } from "../results.ts";
import type { Extent } from "./extent.ts";

const HOLDERS_WITHOUT_DESCRIPTORS = 300;
const TALKATIVE_CLIENTS = 100;

/** How many clients were greeted, and how long a new client waits then. */
async function result(running: Running, whole: number, clients: number): Promise<Abuse> {
  const wait = running.alive() ? await running.wait() : null;
  return { alive: running.alive(), whole, clients, wait };
}

/** Four ordinary clients show whether the server still works. */
async function fourClients(running: Running): Promise<Abuse> {
  const { whole } = await load(running.ports, shortGreeting, "burst", 4);
  return await result(running, whole, 4);
}

async function newClient(running: Running): Promise<Abuse> {
  const wait = await running.wait();
  return { alive: running.alive(), whole: wait === null ? 0 : 1, clients: 1, wait };
}

async function resets({ command }: Server, count: number): Promise<Abuse> {
  await using running = await start(command);
  await load(running.ports, shortGreeting, "reset", count);
  return await fourClients(running);
}

async function nmapScans({ command }: Server, count: number): Promise<Abuse> {
  await using running = await start(command);
  const args = ["-sT", "-n", "-Pn", "-p", running.ports, "127.0.0.1"];
  for (let i = 0; i < count; i++) await new Deno.Command("nmap", { args, stdout: "null" }).output();
  return await fourClients(running);
}

async function noDescriptors({ command }: Server): Promise<Abuse> {
  await using running = await start(command, { descriptors: 64 });
  return await holding(running.ports, HOLDERS_WITHOUT_DESCRIPTORS, () => newClient(running));
}

async function talkativeClients({ command, fixed }: Server): Promise<Abuse | null> {
  if (fixed) return null;
  await using running = await start(command, { file: longGreeting });
  const { whole } = await load(running.ports, longGreeting, "talkative", TALKATIVE_CLIENTS);
  return await result(running, whole, TALKATIVE_CLIENTS);
}

async function silentHolders({ command }: Server, count: number): Promise<Abuse> {
  await using running = await start(command);
  return await holding(running.ports, count, () => newClient(running));
}

async function unreadLog({ command }: Server, seconds: number): Promise<Abuse> {
  await using running = await start(command, { unreadLog: true });
  const { whole, failed } = await load(running.ports, shortGreeting, "load", 16, seconds);
  return await result(running, whole, whole + failed);
}

/** Measures how a server does under each kind of abuse. */
export async function measureAbuse(server: Server, extent: Extent): Promise<Record<string, Abuse | null>> {
  return {
    "resets": await resets(server, extent.resets),
    ...(has("nmap") && { "nmap -sT": await nmapScans(server, extent.scans) }),
    "no descriptors left": await noDescriptors(server),
    "talkative clients": await talkativeClients(server),
    "silent holders": await silentHolders(server, extent.silent),
    "unread log": await unreadLog(server, extent.seconds),
  };
}
