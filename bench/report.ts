/**
 * The tables.
 *
 * @module
 */
import { format as formatBytes } from "@std/fmt/bytes";
import type { Abuse, Result } from "./results.ts";

function printTable(title: string, head: readonly string[], rows: readonly (readonly string[])[]) {
  console.log(`\n### ${title}\n`);
  console.log(`| ${head.join(" | ")} |\n| ${head.map((_, i) => i === 0 ? "---" : "---:").join(" | ")} |`);
  for (const row of rows) console.log(`| ${row.join(" | ")} |`);
}

function ms(value: number | null | undefined): string {
  if (value === null || value === undefined) return "never";
  return value < 10 ? value.toFixed(1) : value.toFixed(0);
}

function mebibytes(bytes: number | null | undefined): string {
  if (bytes === null || bytes === undefined || Number.isNaN(bytes)) return "";
  return formatBytes(bytes, { binary: true, maximumFractionDigits: 0 });
}

function printSpeed(results: readonly Result[]) {
  const c = results.find(({ name }) => name === "C loop");
  for (const level of results[0]?.speed.keys() ?? []) {
    printTable(
      `Speed, ${level} connections at once`,
      ["server", "CPU µs per connection", "× C", "connections/s", "p50 ms", "p99 ms", "max ms", "failed"],
      results.map(({ name, speed }) => {
        const { cpu = NaN, perSecond = NaN, p50, p99, max, failed } = speed.get(level) ?? {};
        const ratio = cpu / (c?.speed.get(level)?.cpu ?? NaN);
        return [name, cpu.toFixed(1), ratio.toFixed(2), perSecond.toFixed(0), ms(p50), ms(p99), ms(max), `${failed}`];
      }),
    );
  }
}

function printScale(results: readonly Result[]) {
  const holds = [...results[0]?.held.keys() ?? []];
  printTable(
    "Scale",
    [
      ...["server", "idle", ...holds.flatMap((count) => [`${count} held`, "a new client waits, ms"])],
      ...["burst: greeted", "the last one waits, ms", "first greeting after the start, ms", "executable"],
    ],
    results.map(({ name, idle, held, burst, start, size }) => [
      ...[name, mebibytes(idle)],
      ...holds.flatMap((count) => [mebibytes(held.get(count)?.memory), ms(held.get(count)?.wait)]),
      ...[`${burst.whole} of ${burst.clients}`, ms(burst.last), ms(start), mebibytes(size)],
    ]),
  );
}

function formatAbuse(abuse: Abuse | null | undefined): string {
  if (!abuse) return "not possible";
  const share = `${abuse.whole} of ${abuse.clients}`;
  return abuse.alive ? `alive, ${share}, ${ms(abuse.wait)}` : `dead, ${share}`;
}

/** Prints all results as Markdown tables. */
export function printResults(results: readonly Result[]) {
  printSpeed(results);
  printScale(results);
  const kinds = [...results[0]?.abuse.keys() ?? []];
  printTable(
    "Abuse: is the server alive, how many greetings were whole, and how long a new client waits, in ms",
    ["server", ...kinds],
    results.map(({ name, abuse }) => [name, ...kinds.map((kind) => formatAbuse(abuse.get(kind)))]),
  );
}

/** Prints what greeter's log costs. */
export function printLog(costs: ReadonlyMap<string, number>) {
  const quiet = costs.get("quiet") ?? NaN;
  printTable(
    "What greeter's log costs, 64 connections at once",
    ["log", "CPU µs per connection", "× quiet"],
    [...costs].map(([name, cpu]) => [name, cpu.toFixed(1), (cpu / quiet).toFixed(2)]),
  );
}
