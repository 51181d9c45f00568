/**
 * Tests of how the benchmark summarizes its figures, and of the page that shows them.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { formatSection, updatePage } from "../../bench/report.ts";
import {
  figureOf,
  formatRatio,
  formatSummary,
  ratioOf,
  type Results,
  type Sample,
  sectionOf,
  summarize,
} from "../../bench/samples.ts";
import { DOWNLOAD_ENV, ROOT, run } from "../helpers/processes.ts";

const read = (file: string) => Deno.readTextFileSync(`${ROOT}/${file}`);

/** Figures of two programs, `a` and `b`, by round. */
function samplesOf(a: readonly (number | null)[], b: readonly (number | null)[]): Sample[] {
  const rounds = (program: string, values: readonly (number | null)[]) =>
    values.map((value, round) => ({ table: "T: t", program, round, figures: { "CPU µs": value } }));
  return [...rounds("a", a), ...rounds("b", b)];
}

Deno.test("summarize() returns the median, the minimum and the maximum of the rounds that have a figure", () => {
  assertEquals(summarize([9, 100, 10]), { median: 10, min: 9, max: 100 });
  assertEquals(summarize([4, null, 1, undefined, 2, 3]), { median: 2.5, min: 1, max: 4 });
  assertEquals(summarize([null]), undefined);
});

Deno.test("ratioOf() divides the figures of the same round before it summarizes them", () => {
  // The ratio of the medians would be 1.
  const samples = samplesOf([10, 20, 40], [20, 10, 80]);
  assertEquals(ratioOf(samples, "b", "a", "CPU µs"), { median: 2, min: 0.5, max: 2 });
  assertEquals(figureOf(samples, "b", "CPU µs"), { median: 20, min: 10, max: 80 });
  assertEquals(ratioOf(samplesOf([10, null, 5], [20, 1, null]), "b", "a", "CPU µs"), { median: 2, min: 2, max: 2 });
});

Deno.test("formatRatio() reports no difference if 1 is within the spread, with the digits that are printed", () => {
  assertEquals(formatRatio({ median: 1.3, min: 1.1, max: 1.52 }), "1.3 (1.1–1.5)");
  assertEquals(formatRatio({ median: 0.8, min: 0.7, max: 0.99 }), "0.8 (0.7–0.99)");
  assertEquals(formatRatio({ median: 1.3, min: 0.98, max: 1.5 }), "1.3 (0.98–1.5), no difference");
  assertEquals(formatRatio({ median: 0.9, min: 0.8, max: 0.996 }), "0.9 (0.8–1), no difference");
  assertEquals(formatRatio({ median: 1.3, min: 1.004, max: 1.5 }), "1.3 (1–1.5), no difference");
  assertEquals(formatRatio(undefined), "–");
  assertEquals(formatSummary({ median: 44.4, min: 44.2, max: 1234.5 }), "44 (44–1,235)");
  assertEquals(formatSummary({ median: 9, min: 9, max: 9 }), "9");
});

Deno.test("the table of a section has each program's figures, and its ratio to the first one", () => {
  const results = { machine: "m", day: "d", leftOut: [], samples: samplesOf([10, 20, 40], [30, 50, 90]) };
  assertEquals(
    formatSection(results, "T"),
    "### t\n\n|  | CPU µs | × a |\n| --- | ---: | ---: |\n| a | 20 (10–40) | 1 |\n| b | 50 (30–90) | 2.5 (2.3–3) |",
  );
});

Deno.test("updatePage() replaces everything in the sections of a page, and nothing else", () => {
  const samples: Sample[] = [
    { table: "T: t", program: "a", round: 1, figures: { seconds: 5 } },
    { table: "T 2", program: "b", round: 2, figures: { MiB: 7 } },
  ];
  const results = { machine: "m", day: "d", leftOut: ["x, because y"], samples };
  const table = (column: string, row: string) => `|  | ${column} |\n| --- | ---: |\n| ${row} |`;
  const sections = {
    Introduction: "Measured on d, in 2 rounds: m.\n\nNot measured: x, because y.",
    T: `### t\n\n${table("seconds", "a | 5")}`,
    "T 2": table("MiB", "b | 7"),
    T3: "Not measured.",
  };
  const page = (textOf: (text: string) => string) =>
    Object.entries(sections).map(([name, text]) => `${name} is\n\n<!-- ${name} -->\n${textOf(text)}<!-- end -->\n`)
      .join("");
  assertEquals(updatePage(page(() => "old\n"), results), page((text) => `\n${text}\n\n`));
});

Deno.test("docs/benchmarks.md shows what bench/results.json contains", () => {
  // `deno fmt` aligns the tables.
  const unaligned = (text: string) => text.replaceAll(/ +/g, " ").replaceAll(/-{2,}/g, "---");
  const page = read("docs/benchmarks.md");
  const results: Results = JSON.parse(read("bench/results.json"));
  assertEquals(unaligned(updatePage(page, results)).split("\n"), unaligned(page).split("\n"));
  assert(results.samples.length > 0);
  for (const sample of results.samples) assert(page.includes(`<!-- ${sectionOf(sample)} -->`), sample.table);
});

Deno.test("the charts of docs/benchmarks.md show what bench/results.json contains (needs the registry)", async () => {
  const directory = await Deno.makeTempDir();
  // In a process of its own, because ECharts is a dependency only of the benchmark.
  const script = `
    import { CHARTS, drawChart } from "${import.meta.resolve("../../bench/charts.ts")}";
    const results = JSON.parse(await Deno.readTextFile(new URL("${import.meta.resolve("../../bench/results.json")}")));
    for (const [file, [section, columns]] of Object.entries(CHARTS)) {
      await Deno.writeTextFile(file, drawChart(results, section, columns));
    }`;
  const drawn = await run(
    [Deno.execPath(), "eval", "--quiet", "--config", `${ROOT}/bench/deno.json`, script],
    { cwd: directory, env: DOWNLOAD_ENV },
  );
  assertEquals(drawn.code, 0, drawn.stderr);
  const formatted = await run([Deno.execPath(), "fmt", "--no-config", "--line-width=120", "--quiet", "."], {
    cwd: directory,
  });
  assertEquals(formatted.code, 0, formatted.stderr);
  const files = [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
  const shown = [...read("docs/benchmarks.md").matchAll(/\]\((\w+\.svg)\)/g)].map(([, file = ""]) => file).sort();
  assertEquals(files, shown);
  for (const file of files) {
    assert(
      await Deno.readTextFile(`${directory}/${file}`) === read(`docs/${file}`),
      `${file}: run deno task bench --report`,
    );
  }
  await Deno.remove(directory, { recursive: true });
});
