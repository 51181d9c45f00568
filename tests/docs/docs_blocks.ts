/**
 * The blocks of code and the tables in the documentation.
 *
 * @module
 */

/** A block of code in a Markdown file. */
export interface Block {
  /** The path of the file. */
  file: string;
  /** The language after the fence, or an empty string. */
  language: string;
  /** The text, without the fences. */
  text: string;
}

/** All blocks of a file, except for the usages, whose examples have tests of their own. */
export function blocksOf(file: string): Block[] {
  const markdown = Deno.readTextFileSync(`${import.meta.dirname}/../../${file}`);
  return [...markdown.matchAll(/^```(\S*).*\n([^]*?)\n```$/gm)].map(([, language = "", text = ""]) => ({
    file,
    language,
    text,
  })).filter(({ text }) => !text.startsWith("Usage: "));
}

/** The cells of the first table after a heading, by the names of its columns. */
export function tableAfter(file: string, heading: string): Record<string, string>[] {
  const markdown = Deno.readTextFileSync(`${import.meta.dirname}/../../${file}`);
  const [, table = ""] = markdown.split(`\n${heading}\n`)[1]?.match(/((?:^\|.*\n)+)/m) ?? [];
  const cellsOf = (line: string) => line.split("|").slice(1, -1).map((cell) => cell.trim());
  const [header = "", , ...rows] = table.trimEnd().split("\n");
  if (rows.length === 0) throw new Error(`expected a table after ${heading} in ${file}`);
  const names = cellsOf(header);
  return rows.map((row) => Object.fromEntries(cellsOf(row).map((cell, i) => [names[i], cell])));
}

/** The only block of a file that contains a text. */
export function blockWith(file: string, part: string): Block {
  const [block, second] = blocksOf(file).filter(({ text }) => text.includes(part));
  if (!block || second) throw new Error(`expected one block with ${part} in ${file}`);
  return block;
}

/** The examples at the end of a usage, one a line. */
export function examplesOf(usage: string): string[] {
  const [, examples = ""] = usage.split("\nExamples:\n");
  return examples.split("\n").map((line) => line.trim());
}
