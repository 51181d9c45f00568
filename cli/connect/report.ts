/**
 * Reports the client's results on standard output, and its progress on standard error.
 *
 * @module
 */
import type { ProbeResult } from "../../client.ts";
import { outputError } from "../errors.ts";
import { type Closed, Log, MAX_BUFFERED_BYTES } from "../log.ts";
import {
  formatResultRow,
  formatResults,
  formatSummaryRow,
  formatTotals,
  type ProbeSummary,
  SHOWN_BYTES,
} from "./results.ts";
import { Progress } from "./progress.ts";

/** How long to wait for a reader that has stopped, in milliseconds, once a signal has been received. */
const READER_TIMEOUT_MS = 500;

/** What is printed, and how. */
export interface ProbeReportOptions {
  /** What the greetings were expected to contain, as given. */
  expected: string | undefined;
  /** Whether results are JSON. */
  json: boolean;
  /** Whether nothing is printed. */
  quiet: boolean;
}

/** Reports one run of the client. */
export class ProbeReport implements AsyncDisposable {
  readonly #options: ProbeReportOptions;
  readonly #target: Pick<ProbeSummary, "host" | "address" | "ports">;
  readonly #stop: AbortController;
  readonly #started: number = performance.now();
  readonly #results: ProbeResult[] = [];
  readonly #isTerminal: boolean = Deno.stdout.isTerminal();
  readonly #output: Log | undefined;
  readonly #progress: Progress;
  #writeError: unknown;

  /**
   * Opens the output, and prints the address of the host if it was given as a name. Aborts `stop` if standard output can
   * no longer be written. If it is aborted by a signal, with a reason, the report waits only
   * {@linkcode READER_TIMEOUT_MS} for readers.
   */
  constructor(
    target: Pick<ProbeSummary, "host" | "address" | "ports">,
    options: ProbeReportOptions,
    stop: AbortController,
  ) {
    this.#target = target;
    this.#options = options;
    this.#stop = stop;
    this.#progress = new Progress(target.ports.length);
    if (options.quiet) return;
    // JSON rows on the same terminal would mix with the progress line.
    if (Deno.stderr.isTerminal() && !(options.json && this.#isTerminal)) this.#progress.start();
    this.#output = new Log(Deno.stdout, {
      maxBufferedBytes: Infinity, // results are not dropped: `add` waits
      isFinal: (error) => !(error instanceof Deno.errors.WouldBlock),
      onEnd: (error) => {
        this.#writeError = error;
        stop.abort();
      },
    });
    const { host, address } = target;
    if (!options.json && host !== address) this.#output.print(`${host} is ${address}`);
  }

  /** Updates the progress line with a result. With `within`, the port may be tried again. */
  addAttempt(result: ProbeResult) {
    this.#progress.add(result);
  }

  /** Adds a final result. Waits for a reader that is too slow for the rows: 65,535 of them can have 2.5 GB. */
  async add(result: ProbeResult) {
    const isLong = result.greeting.length > SHOWN_BYTES + 1;
    this.#results.push(isLong ? { ...result, greeting: result.greeting.slice(0, SHOWN_BYTES + 1) } : result);
    if (!this.#options.json || !this.#output) return;
    this.#output.print(formatResultRow(result));
    await this.#wait(this.#output.drained(MAX_BUFFERED_BYTES), 0);
  }

  /**
   * Prints the results and the totals. Returns whether every port was greeted.
   *
   * @throws {StreamError} If standard output cannot be written.
   */
  async close(): Promise<boolean> {
    await this.#wait(this.#progress.stop());
    const { expected, json } = this.#options;
    const { signal } = this.#stop;
    const results = this.#results;
    const duration = performance.now() - this.#started;
    const summary: ProbeSummary = { ...this.#target, results, expected, duration, interrupted: signal.aborted };
    if (!json) {
      for (const line of formatResults(results, expected, this.#isTerminal)) this.#output?.print(line);
    }
    await this.#wait(this.#output?.close(Infinity, json ? formatSummaryRow(summary) : formatTotals(summary)));
    // A reader such as `head` may close the pipe early, and SIGHUP means that the terminal is gone. Neither is an error.
    const isReaderGone = this.#writeError instanceof Deno.errors.BrokenPipe ||
      (this.#isTerminal && signal.reason === 129);
    if (this.#writeError !== undefined && !isReaderGone) throw outputError(this.#writeError);
    return results.length === this.#target.ports.length && results.every(({ state }) => state === "greeted");
  }

  /** Erases the progress line, and writes the rows that are known if an error has ended the run. */
  async [Symbol.asyncDispose]() {
    await this.#wait(this.#progress.stop());
    await this.#wait(this.#output?.close(Infinity));
  }

  /** Waits for a promise, which depends on a reader: at most `ms` milliseconds if a signal has been received. */
  async #wait(promise: Promise<Closed | void> | undefined, ms = READER_TIMEOUT_MS) {
    const { signal } = this.#stop;
    const { promise: late, resolve } = Promise.withResolvers<void>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const start = () => timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", start);
    if (signal.aborted) start();
    await Promise.race([promise, late]);
    signal.removeEventListener("abort", start);
    clearTimeout(timer);
  }
}
