/**
 * Compares greeter with other servers in one run: `deno task bench`. It prints tables, and writes `results.json`,
 * `speed.svg` and `abuse.svg`.
 *
 *     --quick              a short run with few servers; writes no files
 *     --against DIRECTORY  also measure another checkout of greeter, repeatable; writes no files
 *     --servers NAME,...   measure only these servers; writes no files
 *
 * It requires Linux, because it reads what a server costs from /proc, and a C compiler for its load generator.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { drawAbuse, drawSpeed } from "./charts.ts";
import { FULL, measureAbuse, measureLog, measureRound, QUICK } from "./measurements.ts";
import { findServers, otherVersions, type Server } from "./peers.ts";
import { pinned, work } from "./processes.ts";
import { printLog, printResults } from "./report.ts";
import { medians, type Result, type Round } from "./results.ts";

const options: { quick: boolean; against: string[]; servers?: string } = parseArgs(Deno.args, {
  boolean: ["quick"],
  string: ["against", "servers"],
  collect: ["against"],
});
const extent = options.quick ? QUICK : FULL;

const names = options.servers?.split(",").map((name) => name.trim());
const servers = [...await findServers(options.quick), ...otherVersions(options.against)]
  .filter(({ name }) => names === undefined || names.some((wanted) => name.startsWith(wanted)));
if (servers.length === 0) throw new Error(`no server is named ${options.servers}`);

console.log(
  `${extent.rounds} rounds of ${extent.seconds} s; ${pinned ? "server and clients on a core each" : "not pinned"}.`,
);

const rounds = new Map<Server, Round[]>(servers.map((server) => [server, []]));
// The servers take turns, so that a machine that becomes slower does so for all of them.
for (let round = 1; round <= extent.rounds; round++) {
  for (const [server, done] of rounds) {
    console.error(`round ${round} of ${extent.rounds}: ${server.name}`);
    done.push(await measureRound(server, extent));
  }
}
const results: Result[] = [];
for (const [server, done] of rounds) {
  console.error(`abuse: ${server.name}`);
  const size = server.binary ? (await Deno.stat(server.binary)).size : null;
  results.push({ name: server.name, ...medians(done), size, abuse: await measureAbuse(server, extent) });
}
printResults(results);
if (names === undefined) {
  const log = await measureLog(extent);
  printLog(log);
  if (!options.quick && options.against.length === 0) await write(log);
}
await Deno.remove(work, { recursive: true });

async function write(log: Map<string, number>) {
  const cpu = (await Deno.readTextFile("/proc/cpuinfo")).match(/model name\s*: (.*)/)?.[1] ?? "unknown";
  const machine = `${navigator.hardwareConcurrency} cores of ${cpu}, ${Deno.build.os}, Deno ${Deno.version.deno}`;
  const day = new Date().toISOString().slice(0, 10);
  const asObject = (_key: string, value: unknown) => value instanceof Map ? Object.fromEntries(value) : value;
  const json = JSON.stringify({ machine, day, results, log }, asObject, 2);
  const here = import.meta.dirname ?? ".";
  await Deno.writeTextFile(`${here}/results.json`, `${json}\n`);
  await Deno.writeTextFile(`${here}/speed.svg`, drawSpeed(results, `${machine}, ${day}`));
  await Deno.writeTextFile(`${here}/abuse.svg`, drawAbuse(results, `${machine}, ${day}`));
}
