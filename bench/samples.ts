/** What the benchmark measures, and how it is summarized. @module */

/** What one program has done in one round. */
export interface Sample {
  /** The section of the page, and the title of the table if there is one: `Servers: 64 connections at once`. */
  readonly table: string;
  readonly program: string;
  readonly round: number;
  /** By the title of the column; `null` if there is no figure, for example because the server has ended. */
  readonly figures: Readonly<Record<string, number | null>>;
}

/** Everything, as in `results.json`. */
export interface Results {
  readonly machine: string;
  readonly day: string;
  /** What was not measured, and why. */
  readonly leftOut: readonly string[];
  readonly samples: readonly Sample[];
}

/** The section of a table. */
export const sectionOf = ({ table }: Sample): string => table.replace(/: .*/, "");

/** The samples of a section by the titles of its tables. The title of a table that has none is empty. */
export function tablesOf({ samples }: Results, section: string): Map<string, Sample[]> {
  const own = samples.filter((sample) => sectionOf(sample) === section);
  return Map.groupBy(own, ({ table }) => table.slice(`${section}: `.length));
}

/** A figure of all rounds. */
export type Summary = Readonly<Record<"median" | "min" | "max", number>>;

/** Summarizes the rounds that have a figure; `undefined` if there is none. Of an even number, the median is a mean. */
export function summarize(values: readonly (number | null | undefined)[]): Summary | undefined {
  const sorted = values.filter((value) => typeof value === "number").filter(Number.isFinite).sort((a, b) => a - b);
  const [min, max] = [sorted[0], sorted.at(-1)];
  if (min === undefined || max === undefined) return undefined;
  const half = (sorted.length - 1) / 2;
  const median = ((sorted[Math.floor(half)] ?? min) + (sorted[Math.ceil(half)] ?? max)) / 2;
  return { median, min, max };
}

/** Summarizes a column. */
export function figureOf(samples: readonly Sample[], program: string, column: string): Summary | undefined {
  return summarize(samples.filter((sample) => sample.program === program).map(({ figures }) => figures[column]));
}

/** Divides the figure of a program by that of the reference in the same round, and summarizes the ratios. */
export function ratioOf(samples: readonly Sample[], program: string, reference: string, column: string) {
  const inRound = (name: string, round: number) =>
    samples.find((sample) => sample.program === name && sample.round === round)?.figures[column];
  const rounds = [...new Set(samples.map(({ round }) => round))];
  return summarize(rounds.map((round) => {
    const [figure, other] = [inRound(program, round), inRound(reference, round)];
    return typeof figure === "number" && typeof other === "number" && other > 0 ? figure / other : null;
  }));
}

/** A number with two significant digits, or without decimal places if it is 10 or more. */
export function formatNumber(value: number): string {
  return value.toLocaleString("en-US", value < 10 ? { maximumSignificantDigits: 2 } : { maximumFractionDigits: 0 });
}

/** `44 (41–47)`: the median, and the minimum and the maximum if they are not the same. */
export function formatSummary(summary: Summary | undefined): string {
  if (summary === undefined) return "–";
  const [median, min, max] = [summary.median, summary.min, summary.max].map(formatNumber);
  return min === max ? `${median}` : `${median} (${min}–${max})`;
}

/** A ratio. If 1 is within its spread, the spread is larger than the difference. */
export function formatRatio(ratio: Summary | undefined): string {
  if (ratio === undefined || Number(ratio.min.toPrecision(2)) > 1 || Number(ratio.max.toPrecision(2)) < 1) {
    return formatSummary(ratio);
  }
  return `${formatSummary(ratio)}, no difference`;
}
