/** The tables of the benchmark, and where they are in `docs/benchmarks.md`. @module */
import { plural } from "../cli/text.ts";
import { figureOf, formatRatio, formatSummary, ratioOf, type Results, type Sample } from "./samples.ts";

/** Columns that are followed by the ratio to the first row. */
const COMPARED = ["CPU µs", "p99 ms", "seconds", "CPU s"];

const unique = (values: readonly string[]) => [...new Set(values)];

function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, i) => i === 0 ? "---" : "---:")), ...rows.map(line)].join("\n");
}

/** The figures of one table: a row for each program. */
function formatFigures(samples: readonly Sample[]): string {
  const columns = unique(samples.flatMap(({ figures }) => Object.keys(figures)));
  const [reference = "", ...others] = unique(samples.map(({ program }) => program));
  const isCompared = (column: string) => COMPARED.includes(column) && others.length > 0;
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

/** The tables of a section. A title of a table follows the section and a colon. */
export function formatSection({ samples }: Results, section: string): string {
  const own = samples.filter(({ table }) => table.replace(/: .*/, "") === section);
  const tables = unique(own.map(({ table }) => table));
  if (tables.length === 0) return "Not measured.";
  return tables.map((table) => {
    const title = table.includes(": ") ? `### ${table.replace(/.*?: /, "")}\n\n` : "";
    return title + formatFigures(own.filter((sample) => sample.table === table));
  }).join("\n\n");
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
