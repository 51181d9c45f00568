/**
 * Compares greeter with other servers and scanners in one run: `deno task bench`. It prints tables, and writes
 * `results.json`, `docs/benchmarks.md` and its charts. options.ts has its options. It requires Linux, because it reads
 * what a server uses from /proc, and a C compiler for its load generator.
 *
 * @module
 */
// The first import, so that an invalid argument has no effects: programs.ts makes a directory when it is loaded.
import { isReport, isWholeRun, selection } from "./options.ts";
import { measure } from "./measurements/all.ts";
import { descriptorsNeeded, FULL, QUICK } from "./measurements/extent.ts";
import { descriptorLimit, has, workDirectory } from "./processes/programs.ts";
import { drawScans, drawSpeed } from "./reports/charts.ts";
import { formatDocument, formatLeftOut } from "./reports/document.ts";
import { formatSection } from "./reports/markdown.ts";
import { reportParts } from "./reports/tables.ts";
import type { Results } from "./results.ts";

const RESULTS = new URL("results.json", import.meta.url);
const DOCS = new URL("../docs/", import.meta.url);

function print(results: Results) {
  console.log(`${results.machine}. ${results.method}`);
  if (results.leftOut.length > 0) console.log(`\n${formatLeftOut(results.leftOut)}`);
  for (const { title, sections } of reportParts(results)) {
    console.log(`\n## ${title}\n\n${sections.map(formatSection).join("\n\n")}`);
  }
}

/** Writes the page and its charts, in the format of `deno fmt`. */
async function writeReport(results: Results) {
  await Deno.mkdir(DOCS, { recursive: true });
  await Deno.writeTextFile(new URL("benchmarks.md", DOCS), formatDocument(results));
  await Deno.writeTextFile(new URL("speed.svg", DOCS), drawSpeed(results));
  await Deno.writeTextFile(new URL("scans.svg", DOCS), drawScans(results));
  const args = ["fmt", "--quiet", "benchmarks.md", "speed.svg", "scans.svg"];
  const { success } = await new Deno.Command(Deno.execPath(), { args, cwd: DOCS }).output();
  if (!success) throw new Error("deno fmt has failed");
}

/** Why the benchmark cannot run on this machine, or undefined. */
function whyNot(descriptors: number): string | undefined {
  if (Deno.build.os !== "linux") return "it requires Linux";
  if (!has("cc")) return "there is no C compiler (cc); install one";
  if (descriptorLimit() < descriptors) return `it needs ${descriptors} descriptors; raise the hard limit (ulimit -Hn)`;
}

async function main() {
  if (isReport) {
    const results: Results = JSON.parse(await Deno.readTextFile(RESULTS));
    return await writeReport(results);
  }
  const extent = selection.quick ? QUICK : FULL;
  const why = whyNot(descriptorsNeeded(extent));
  if (why !== undefined) {
    console.error(`cannot run the benchmark: ${why}`);
    Deno.exitCode = 2;
    return;
  }
  const results = await measure(selection, extent);
  print(results);
  if (!isWholeRun) return;
  await Deno.writeTextFile(RESULTS, `${JSON.stringify(results, null, 2)}\n`);
  await writeReport(results);
}

try {
  await main();
} finally {
  await Deno.remove(workDirectory, { recursive: true });
}
