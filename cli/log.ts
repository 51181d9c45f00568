/**
 * Writes lines in the background, so that a reader who stops reading does not stop the server.
 *
 * @module
 */

/** What {@linkcode openLog} returns. */
export interface Log {
  /** Takes a line, or none, and returns at once. */
  print(line: string | undefined): void;
  /** How many lines have been dropped so far. */
  readonly dropped: number;
  /**
   * Takes a last line, if there is one, and resolves when everything is written, or after `ms` milliseconds. Resolves to
   * false if the log has ended, because of an error, without the last line.
   */
  close(ms: number, last?: string): Promise<boolean>;
}

/** How many bytes of lines may wait to be written; when it is reached, new lines are dropped. */
const MAX_BUFFERED_BYTES = 1024 * 1024;

/**
 * How long lines are gathered before they are written together, in milliseconds. A write is handed to another thread,
 * which costs more than a greeting.
 */
const FLUSH_INTERVAL_MS = 10;

/**
 * Opens a log that is written in the background, in order, and never blocks. `console.log` would block until somebody
 * reads the pipe, and the server with it. A closed pipe ends the log, and nothing else.
 *
 * @param stream Where to write, for example `Deno.stdout`.
 * @param onError Called with an error that ends the log, other than a closed pipe.
 *
 * @example All lines are written when the log is closed
 * ```ts
 * import { openLog } from "./log.ts";
 *
 * const log = openLog(Deno.stdout);
 * log.print("one");
 * log.print("two");
 * await log.close(500, "three");
 * ```
 */
export function openLog(
  stream: { write(data: Uint8Array): Promise<number> },
  onError?: (error: unknown) => void,
): Log {
  // Lines are ASCII, so their length is their size in bytes.
  let buffered = "";
  let unwritten = 0;
  let dropped = 0;
  let writing: Promise<void> | undefined;
  let closing = false;
  let ended = false;
  let flush = () => {};

  function print(line: string | undefined) {
    if (line === undefined || ended) return;
    if (buffered.length + unwritten + line.length + 1 > MAX_BUFFERED_BYTES) {
      dropped++;
      return;
    }
    buffered += line + "\n";
    writing ??= writeAll();
  }

  async function writeAll() {
    try {
      while (buffered !== "") {
        if (!closing) await gather();
        const data = new TextEncoder().encode(buffered);
        buffered = "";
        unwritten = data.length;
        while (unwritten > 0) unwritten -= await stream.write(data.subarray(data.length - unwritten));
      }
    } catch (error) {
      ended = true;
      buffered = "";
      if (!(error instanceof Deno.errors.BrokenPipe)) onError?.(error);
    }
    writing = undefined;
  }

  async function gather() {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, FLUSH_INTERVAL_MS);
    flush = resolve;
    await promise;
    clearTimeout(timer);
  }

  async function close(ms: number, last?: string) {
    if (ended) return false;
    if (last !== undefined) buffered += last + "\n";
    closing = true;
    flush();
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    await Promise.race([writing ?? writeAll(), late]);
    clearTimeout(timer);
    return !ended;
  }

  return {
    print,
    close,
    get dropped() {
      return dropped;
    },
  };
}
