/**
 * The blocks of code in the documentation.
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

/** All blocks of a file. */
export function blocksOf(file: string): Block[] {
  const markdown = Deno.readTextFileSync(`${import.meta.dirname}/../${file}`);
  return [...markdown.matchAll(/^```(\S*).*\n([^]*?)\n```$/gm)].map(([, language = "", text = ""]) => ({
    file,
    language,
    text,
  }));
}

/** The only block of a file that contains a text. */
export function blockWith(file: string, part: string): Block {
  const [block, second] = blocksOf(file).filter(({ text }) => text.includes(part));
  if (!block || second) throw new Error(`expected one block with ${part} in ${file}`);
  return block;
}
