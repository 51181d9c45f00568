/**
 * Writes lines in the background, so that a slow reader does not stop the server.
 *
 * @module
 */
import { ConditionVariable } from "../shared/condition_variable.ts";
import { codeOf } from "../shared/errors.ts";

/** Options of {@linkcode Log}. */
export interface LogOptions {
  /** The line that marks where lines were dropped. Default: no line. */
  formatGap?: (lines: number) => string;
  /** Called when writing fails. The log keeps its lines and tries again. Not called again before `onRecovery`. */
  onError?: (error: unknown) => void;
  /** Called when everything has been written after an error. */
  onRecovery?: () => void;
}

/** The state of a log that has been closed. */
export interface Closed {
  /** Whether everything was written, including the last lines. */
  complete: boolean;
  /**
   * The minimum number of lines before the last ones that were not written. A blocked write cannot be canceled, so the
   * reader may still receive some of its lines, and the last of those may be truncated.
   */
  missing: number;
}

/** How many bytes of lines may wait to be written. New lines are dropped while the buffer is full. */
export const MAX_BUFFERED_BYTES = 8 * 1024 * 1024;

/** How many bytes of lines make up a chunk, which is written without delay. This is the capacity of a pipe on Linux. */
export const CHUNK_BYTES = 64 * 1024;

/**
 * The maximum size of a write, in bytes. A non-blocking pipe accepts up to 4,096 bytes (Linux's PIPE_BUF) either as a
 * whole or not at all. It may accept a part of a longer write, and the error that Deno then throws does not say how
 * much, so the next attempt would write some lines again.
 */
const WRITE_BYTES = 4096;

/**
 * How long lines are gathered before they are written, in milliseconds, unless a chunk is complete earlier. Deno passes
 * each write to another thread, so a write for each line would be expensive.
 */
const FLUSH_INTERVAL_MS = 10;

/** The shortest and the longest pause after an error in writing, in milliseconds. */
const RETRY_MIN_MS = 10;
const RETRY_MAX_MS = 1000;

/**
 * A log that is written in the background, in order, and never blocks. `console.log` would block the whole server while
 * the pipe is full.
 *
 * A closed pipe or a bad descriptor ends the log. After any other error, for example if the disk is full or another
 * process has made the pipe non-blocking, the log tries again.
 */
export class Log {
  readonly #stream: Stream;
  readonly #options: LogOptions;
  /** Complete chunks, and the lines after them. Lines are ASCII, so their length is their size in bytes. */
  readonly #chunks: string[] = [];
  #buffered = "";
  /** The size of `#chunks` and `#buffered`, in bytes. */
  #size = 0;
  /** The rest of the chunk that is being written, and how many bytes of it the current write has. */
  #unwritten: Uint8Array = new Uint8Array();
  #inProgress = 0;
  /** Lines that were dropped, in total and since the last gap was marked, and lines printed after the log ended. */
  #dropped = 0;
  #gap = 0;
  #lost = 0;
  #state: "open" | "closing" | "ended" = "open";
  #writing: Promise<void> | undefined;
  /** Whether there has been an error since everything was last written. A full non-blocking pipe fails repeatedly. */
  #isFailing = false;
  /** Notified when a chunk is complete. */
  readonly #chunkComplete = new ConditionVariable();
  /** Notified when a chunk has been written, and when the state has changed. */
  readonly #changed = new ConditionVariable();

  /** `stream` is where to write, for example `Deno.stdout`. Lines must be ASCII. */
  constructor(stream: Stream, options: LogOptions = {}) {
    this.#stream = stream;
    this.#options = options;
  }

  /** How many lines have been dropped so far, because the buffer was full. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Adds a line, and returns at once. Does nothing without a line. */
  print(line: string | undefined) {
    if (line === undefined) return;
    if (this.#state !== "open") {
      this.#lost++;
      return;
    }
    // After a gap, wait until there is room for a whole chunk. Otherwise, there would be many small gaps, and a line
    // for each of them.
    const needed = this.#gap > 0 ? CHUNK_BYTES : line.length + 1;
    if (this.#size + this.#unwritten.length + needed > MAX_BUFFERED_BYTES) {
      this.#dropped++;
      this.#gap++;
      return;
    }
    this.#append(line);
    this.#writing ??= this.#writeAll();
  }

  #append(line: string) {
    const { formatGap } = this.#options;
    const text = (this.#gap > 0 && formatGap ? formatGap(this.#gap) + "\n" : "") + line + "\n";
    this.#gap = 0;
    this.#buffered += text;
    this.#size += text.length;
    if (this.#buffered.length >= CHUNK_BYTES) this.#endChunk();
  }

  #endChunk() {
    this.#chunks.push(this.#buffered);
    this.#buffered = "";
    this.#chunkComplete.notifyAll();
  }

  async #writeAll() {
    while (this.#state !== "ended" && this.#size > 0) {
      if (this.#chunks.length === 0 && this.#state === "open") await this.#chunkComplete.wait(FLUSH_INTERVAL_MS);
      if (this.#chunks.length === 0) this.#endChunk();
      const text = this.#chunks.shift() ?? "";
      this.#size -= text.length;
      this.#unwritten = new TextEncoder().encode(text);
      await this.#writeChunk();
      this.#changed.notifyAll();
      if (this.#isFailing && this.#size + this.#unwritten.length === 0) {
        this.#isFailing = false;
        this.#options.onRecovery?.();
      }
    }
    this.#writing = undefined;
  }

  /** Writes the rest of the chunk. Tries again after an error. */
  async #writeChunk() {
    const { onError } = this.#options;
    let pause = 0;
    while (this.#state !== "ended" && this.#unwritten.length > 0) {
      const piece = nextPiece(this.#unwritten);
      this.#inProgress = piece.length;
      try {
        const written = await this.#stream.write(piece);
        this.#unwritten = this.#unwritten.subarray(written);
        this.#inProgress = 0;
        pause = 0;
      } catch (error) {
        this.#inProgress = 0;
        if (isPermanent(error)) {
          this.#state = "ended";
          return;
        }
        if (!this.#isFailing) onError?.(error);
        this.#isFailing = true;
        pause = Math.min(Math.max(RETRY_MIN_MS, 2 * pause), RETRY_MAX_MS);
        await this.#changed.wait(pause);
      }
    }
  }

  /**
   * Adds the last lines, which are never dropped, and waits at most `ms` milliseconds until everything is written. `ms`
   * may be `Infinity`.
   */
  async close(ms: number, last: readonly string[] = []): Promise<Closed> {
    const isOpen = this.#state === "open";
    if (isOpen) {
      // The last lines start a new chunk, so that the count of missing lines does not depend on the lines before them.
      if (this.#buffered !== "") this.#endChunk();
      for (const line of last) this.#append(line);
      this.#state = "closing";
      this.#changed.notifyAll();
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const timer = ms === Infinity ? undefined : setTimeout(resolve, ms);
      await Promise.race([this.#writing ?? this.#writeAll(), late]);
      clearTimeout(timer);
    }
    this.#state = "ended";
    this.#changed.notifyAll();
    // The reader may still receive a part of a blocked write, but not its last line.
    const rest = new TextDecoder().decode(this.#unwritten.subarray(this.#inProgress > 0 ? this.#inProgress - 1 : 0));
    const lines = [rest, ...this.#chunks, this.#buffered].join("").split("\n").length - 1;
    const unwrittenBefore = isOpen ? Math.max(0, lines - last.length) : lines;
    return { complete: isOpen && lines === 0, missing: this.#lost + this.#gap + unwrittenBefore };
  }
}

/** What a log is written to. */
export interface Stream {
  /** Writes bytes, and resolves to how many were written. */
  write(data: Uint8Array): Promise<number>;
}

const LINE_FEED = 10;

/** Returns what to write next: whole lines, if they are short enough, and otherwise a part of a line. */
export function nextPiece(bytes: Uint8Array): Uint8Array {
  const end = bytes.lastIndexOf(LINE_FEED, WRITE_BYTES - 1) + 1;
  return bytes.subarray(0, end > 0 ? end : WRITE_BYTES);
}

/** Whether a write error is permanent: the pipe has no reader, or the descriptor is not open for writing. */
function isPermanent(error: unknown): boolean {
  return error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.BadResource ||
    codeOf(error) === "EBADF";
}
