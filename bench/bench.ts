/** Compares greeter with other servers and scanners: `deno task bench`. docs/benchmarks.md describes it. @module */
import type { OptionTable } from "../cli/args.ts";
import { anyText } from "../cli/values.ts";
import { toolOptions } from "../tools/arguments.ts";
import { FULL, measureAll, QUICK } from "./all.ts";
import { CHARTS, drawChart } from "./charts.ts";
import { isAlone, shell } from "./programs.ts";
import { formatIntroduction, formatSection, updatePage } from "./report.ts";
import { type Results, sectionOf } from "./samples.ts";

const OPTIONS = {
  quick: { help: "a short run that writes no files, to check that the benchmark works" },
  against: { value: "DIRECTORY", repeatable: true, help: "also measure another checkout of greeter", check: anyText },
  report: { help: "measure nothing; write the tables and the charts again, from results.json" },
} as const satisfies OptionTable;
const { flag, all } = toolOptions(OPTIONS);
const against = all(OPTIONS.against);

const RESULTS = new URL("results.json", import.meta.url);
const DOCS = new URL("../docs/", import.meta.url);

/** Runs this program again in a network namespace, if this user can create one. There, no port is in use. */
async function runInNamespace() {
  if (flag(OPTIONS.report) || isAlone()) return;
  const unshare = ["unshare --net", "unshare --net --map-root-user"].find((command) => shell(`${command} ip link`));
  if (unshare === undefined) return;
  const command = `exec ${unshare} sh -c 'ip link set lo up && exec "$@"' sh "$@"`;
  const args = ["-c", command, "sh", Deno.execPath(), "run", "--allow-all", import.meta.filename ?? "", ...Deno.args];
  Deno.exit((await new Deno.Command("sh", { args }).spawn().status).code);
}

/** Writes the results, the page and its charts. */
async function write(results: Results) {
  const lines = JSON.stringify(results).replaceAll('{"program"', '\n{"program"'); // a line for each sample
  await Deno.writeTextFile(RESULTS, `${lines}\n`);
  const page = new URL("benchmarks.md", DOCS);
  await Deno.writeTextFile(page, updatePage(await Deno.readTextFile(page), results));
  for (const [file, [section, columns]] of Object.entries(CHARTS)) {
    await Deno.writeTextFile(new URL(file, DOCS), drawChart(results, section, columns));
  }
  const args = ["fmt", "--quiet", "benchmarks.md", ...Object.keys(CHARTS)];
  const { success } = await new Deno.Command(Deno.execPath(), { args, cwd: DOCS }).output();
  if (!success) throw new Error("deno fmt has failed");
}

await runInNamespace();
const results: Results = flag(OPTIONS.report)
  ? JSON.parse(await Deno.readTextFile(RESULTS))
  : await measureAll(flag(OPTIONS.quick) ? QUICK : FULL, against);
console.log(formatIntroduction(results));
for (const section of new Set(results.samples.map(sectionOf))) {
  console.log(`\n## ${section}\n\n${formatSection(results, section)}`);
}
if (!flag(OPTIONS.quick) && against.length === 0) await write(results);
