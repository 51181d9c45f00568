/** The tables of the benchmark, and where they are in `docs/benchmarks.md`. @module */
import { plural } from "../cli/text.ts";
import {
  figureOf,
  formatRatio,
  formatSummary,
  ratioOf,
  type Results,
  type Sample,
  sectionOf,
  tablesOf,
} from "./samples.ts";

/** Columns that are followed by the ratio to the first row. */
const COMPARED = ["CPU µs", "p99 ms", "seconds", "CPU s"];
/** The section whose rows differ in what is done, not in what does it. */
const NOT_COMPARED = "Blocked ports";

function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, i) => i === 0 ? "---" : "---:")), ...rows.map(line)].join("\n");
}

/** The figures of one table: a row for each program. */
function formatFigures(samples: readonly Sample[]): string {
  const columns = [...new Set(samples.flatMap(({ figures }) => Object.keys(figures)))];
  const [reference = "", ...others] = new Set(samples.map(({ program }) => program));
  const canCompare = others.length > 0 && samples.every((sample) => sectionOf(sample) !== NOT_COMPARED);
  const isCompared = (column: string) => canCompare && COMPARED.includes(column);
  const row = (program: string) =>
    columns.flatMap((column) => [
      formatSummary(figureOf(samples, program, column)),
      ...(isCompared(column)
        ? [program === reference ? "1" : formatRatio(ratioOf(samples, program, reference, column))]
        : []),
    ]);
  return formatTable(
    ["", ...columns.flatMap((column) => isCompared(column) ? [column, `× ${reference}`] : [column])],
    [reference, ...others].map((program) => [program, ...row(program)]),
  );
}

/** The tables of a section. */
export function formatSection(results: Results, section: string): string {
  const tables = [...tablesOf(results, section)];
  if (tables.length === 0) return "Not measured.";
  const heading = (title: string) => title === "" ? "" : `### ${title}\n\n`;
  return tables.map(([title, samples]) => heading(title) + formatFigures(samples)).join("\n\n");
}

/** The machine, the date, and what was not measured. */
export function formatIntroduction({ day, machine, samples, leftOut }: Results): string {
  const rounds = Math.max(...samples.map(({ round }) => round));
  const introduction = `Measured on ${day}, in ${plural(rounds, "round")}: ${machine}.`;
  return [introduction, ...leftOut.map((text) => `Not measured: ${text}.`)].join("\n\n");
}

/** Replaces the tables in the page, each between `<!-- SECTION -->` and `<!-- end -->`. */
export function updatePage(page: string, results: Results): string {
  return page.replace(/(<!-- ([A-Z][\w ]*) -->\n)[^]*?(<!-- end -->)/g, (_, begin, section, end) => {
    const text = section === "Introduction" ? formatIntroduction(results) : formatSection(results, section);
    return `${begin}\n${text}\n\n${end}`;
  });
}
