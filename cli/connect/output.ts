/**
 * Writes the client's results to standard output.
 *
 * @module
 */
import { nextPiece } from "../log.ts";

/** How long to wait until a full pipe is tried again that another process has made non-blocking, in milliseconds. */
const RETRY_MS = 10;

/** Writes lines in order, and drops none. A reader may be slow. */
export class Output {
  readonly #stream: { write(data: Uint8Array): Promise<number> };
  readonly #onError: () => void;
  #pending = "";
  #writing: Promise<void> | undefined;
  #error: unknown;

  /** `stream` is where to write, for example `Deno.stdout`. `onError` is called when nothing more can be written. */
  constructor(stream: { write(data: Uint8Array): Promise<number> }, onError: () => void) {
    this.#stream = stream;
    this.#onError = onError;
  }

  /** Why nothing more can be written, or `undefined`. */
  get error(): unknown {
    return this.#error;
  }

  /** How many characters of lines wait to be written. */
  get size(): number {
    return this.#pending.length;
  }

  /** Adds a line, and returns at once. */
  print(line: string) {
    this.#pending += `${line}\n`;
    this.#writing ??= this.#writeAll();
  }

  /** Resolves when everything has been written, or when nothing more can be written. */
  async flush() {
    await this.#writing;
  }

  async #writeAll() {
    while (this.#pending !== "" && this.#error === undefined) {
      const text = this.#pending;
      this.#pending = "";
      let rest: Uint8Array = new TextEncoder().encode(text);
      while (rest.length > 0 && this.#error === undefined) {
        try {
          rest = rest.subarray(await this.#stream.write(nextPiece(rest)));
        } catch (error) {
          if (error instanceof Deno.errors.WouldBlock) {
            await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
          } else {
            this.#error = error;
            this.#onError();
          }
        }
      }
    }
    this.#writing = undefined; // not later: a line that is printed then must start the next writing
  }
}
