/**
 * Writes lines in the background, so that a slow reader does not stop the server.
 *
 * @module
 */
import { codeOf } from "../error_code.ts";

/** Options of {@linkcode openLog}. */
export interface LogOptions {
  /** The line that marks where lines were dropped. Default: no line. */
  formatGap?: (lines: number) => string;
  /** Called when writing fails. The log keeps its lines and tries again. Not called again before `onRecovery`. */
  onError?: (error: unknown) => void;
  /** Called when everything has been written after an error. */
  onRecovery?: () => void;
  /** How many bytes of lines may wait to be written. Default: {@linkcode MAX_BUFFERED_BYTES}. */
  maxBufferedBytes?: number;
  /** Whether an error ends the log. Default: a closed pipe or a bad descriptor does. */
  isFinal?: (error: unknown) => boolean;
  /** Called when an error has ended the log. */
  onEnd?: (error: unknown) => void;
}

/** A log that has been opened with {@linkcode openLog}. */
export interface Log {
  /** Adds a line, and returns at once. Does nothing without a line. */
  print(line: string | undefined): void;
  /** How many lines have been dropped so far, because the buffer was full. */
  readonly dropped: number;
  /** Resolves when at most `bytes` bytes of lines wait to be written, or the log has ended. */
  drained(bytes: number): Promise<void>;
  /**
   * Adds a last line, if there is one, and waits at most `ms` milliseconds until everything is written. `ms` may be
   * `Infinity`.
   */
  close(ms: number, last?: string): Promise<Closed>;
}

/** The state of a log that has been closed. */
export interface Closed {
  /** Whether everything was written, including the last line. */
  complete: boolean;
  /**
   * The minimum number of lines before the last one that were not written. A blocked write cannot be canceled, so the
   * reader may still receive some of its lines, and the last of those may be truncated.
   */
  missing: number;
}

/** How many bytes of lines may wait to be written. New lines are dropped while the buffer is full. */
export const MAX_BUFFERED_BYTES = 8 * 1024 * 1024;

/** How many bytes of lines are gathered before they are written at once. This is the capacity of a pipe on Linux. */
export const CHUNK_BYTES = 64 * 1024;

/**
 * The maximum size of a write, in bytes. A non-blocking pipe accepts up to 4,096 bytes (Linux's PIPE_BUF) either as a
 * whole or not at all. It may accept a part of a longer write, and the error that Deno then throws does not tell how
 * much: of 12,041 lines, 6,315 were written twice. Short writes cost no measurable CPU for text, and 3 % for JSON.
 */
const WRITE_BYTES = 4096;

/**
 * How long lines are gathered before they are written, in milliseconds, unless a chunk is complete earlier. Another
 * thread performs each write, which costs more than a greeting.
 */
const FLUSH_INTERVAL_MS = 10;

/** The shortest and the longest pause after an error in writing, in milliseconds. */
const RETRY_MIN_MS = 10;
const RETRY_MAX_MS = 1000;

/**
 * Opens a log that is written in the background, in order, and never blocks. `console.log` would block the whole server
 * while the pipe is full.
 *
 * A closed pipe or a bad descriptor ends the log. After any other error, for example if the disk is full or another
 * process has made the pipe non-blocking, the log tries again.
 *
 * @param stream Where to write, for example `Deno.stdout`. Lines must be ASCII.
 *
 * @example All lines are written when the log is closed
 * ```ts
 * import { openLog } from "./log.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const log = openLog(Deno.stdout);
 * log.print("one");
 * log.print("two");
 * assertEquals(await log.close(500, "three"), { complete: true, missing: 0 });
 * ```
 */
export function openLog(
  stream: { write(data: Uint8Array): Promise<number> },
  { formatGap, onError, onRecovery, onEnd, maxBufferedBytes = MAX_BUFFERED_BYTES, isFinal = isPermanent }: LogOptions =
    {},
): Log {
  /** Complete chunks, and the lines after them. Lines are ASCII, so their length is their size in bytes. */
  const chunks: string[] = [];
  let buffered = "";
  /** The size of `chunks` and `buffered`, in bytes. */
  let size = 0;
  /** The rest of the chunk that is being written, and how many bytes of it the current write has. */
  let unwritten: Uint8Array = new Uint8Array();
  let inProgress = 0;
  /** Lines that were dropped, in total and since the last gap was marked, and lines printed after the log ended. */
  let dropped = 0;
  let gap = 0;
  let lost = 0;
  let state: "open" | "closing" | "ended" = "open";
  let writing: Promise<void> | undefined;
  let gathering = false;
  /** Whether there has been an error since everything was last written. A full non-blocking pipe fails repeatedly. */
  let failing = false;
  /** Ends the current wait, for more lines or before a retry. */
  let wake = () => {};
  let wakeDrained = () => {};

  function print(line: string | undefined) {
    if (line === undefined) return;
    if (state !== "open") {
      lost++;
      return;
    }
    // After a gap, wait until a whole chunk is free. Otherwise there would be many small gaps, each marked by a line.
    const needed = gap > 0 ? CHUNK_BYTES : line.length + 1;
    if (size + unwritten.length + needed > maxBufferedBytes) {
      dropped++;
      gap++;
      return;
    }
    append(line);
    writing ??= writeAll();
  }

  function append(line: string) {
    const text = (gap > 0 && formatGap ? formatGap(gap) + "\n" : "") + line + "\n";
    gap = 0;
    buffered += text;
    size += text.length;
    if (buffered.length >= CHUNK_BYTES) endChunk();
  }

  function endChunk() {
    chunks.push(buffered);
    buffered = "";
    if (gathering) wake();
  }

  async function writeAll() {
    while (state !== "ended" && size > 0) {
      if (chunks.length === 0 && state === "open") {
        gathering = true;
        await wait(FLUSH_INTERVAL_MS);
        gathering = false;
      }
      if (chunks.length === 0) endChunk();
      const text = chunks.shift() ?? "";
      size -= text.length;
      unwritten = new TextEncoder().encode(text);
      await writeChunk();
      wakeDrained();
      if (failing && size + unwritten.length === 0) {
        failing = false;
        onRecovery?.();
      }
    }
    writing = undefined;
  }

  /** Writes the rest of the chunk. Tries again after an error. */
  async function writeChunk() {
    let pause = 0;
    while (state !== "ended" && unwritten.length > 0) {
      // Write whole lines, if they are short enough.
      const end = unwritten.lastIndexOf(LINE_FEED, WRITE_BYTES - 1) + 1;
      inProgress = end > 0 ? end : Math.min(unwritten.length, WRITE_BYTES);
      try {
        unwritten = unwritten.subarray(await stream.write(unwritten.subarray(0, inProgress)));
        inProgress = 0;
        pause = 0;
      } catch (error) {
        inProgress = 0;
        if (isFinal(error)) {
          state = "ended";
          onEnd?.(error);
          return;
        }
        if (!failing) onError?.(error);
        failing = true;
        pause = Math.min(Math.max(RETRY_MIN_MS, 2 * pause), RETRY_MAX_MS);
        await wait(pause);
      }
    }
  }

  async function wait(ms: number) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    wake = resolve;
    await promise;
    clearTimeout(timer);
  }

  async function drained(bytes: number) {
    while (state === "open" && size + unwritten.length > bytes) {
      await new Promise<void>((resolve) => wakeDrained = resolve);
    }
  }

  async function close(ms: number, last?: string): Promise<Closed> {
    const isOpen = state === "open";
    if (isOpen) {
      // The last line starts a new chunk, so that the count of missing lines does not depend on the lines before it.
      if (buffered !== "") endChunk();
      if (last !== undefined) append(last);
      state = "closing";
      wake();
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const timer = ms === Infinity ? undefined : setTimeout(resolve, ms);
      await Promise.race([writing ?? writeAll(), late]);
      clearTimeout(timer);
    }
    state = "ended";
    wake();
    // The reader may still receive a part of a blocked write, but not its last line.
    const rest = new TextDecoder().decode(unwritten.subarray(inProgress > 0 ? inProgress - 1 : 0));
    const lines = [rest, ...chunks, buffered].join("").split("\n").length - 1;
    const hasLast = isOpen && last !== undefined && lines > 0;
    return { complete: isOpen && lines === 0, missing: lost + gap + lines - Number(hasLast) };
  }

  return {
    print,
    drained,
    close,
    get dropped() {
      return dropped;
    },
  };
}

const LINE_FEED = 10;

/** Whether a write error is permanent: the pipe has no reader, or the descriptor is not open for writing. */
function isPermanent(error: unknown): boolean {
  return error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.BadResource ||
    codeOf(error) === "EBADF";
}
