/**
 * Reports the client's results on standard output, and its progress on standard error.
 *
 * @module
 */
import type { ProbeResult } from "../client.ts";
import { outputError } from "./errors.ts";
import { Log, MAX_BUFFERED_BYTES } from "./log.ts";
import {
  formatResultRow,
  formatResults,
  formatSummaryRow,
  formatTotals,
  type ProbeSummary,
  SHOWN_BYTES,
} from "./probe_format.ts";
import { Progress } from "./progress.ts";

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
  readonly #started: number = performance.now();
  readonly #results: ProbeResult[] = [];
  readonly #output: Log | undefined;
  readonly #progress: Progress;
  #writeError: unknown;

  /**
   * Opens the output, and prints the address of the host if it was given as a name. Calls `onEnd` if standard output can
   * no longer be written.
   */
  constructor(
    target: Pick<ProbeSummary, "host" | "address" | "ports">,
    options: ProbeReportOptions,
    onEnd: () => void,
  ) {
    this.#target = target;
    this.#options = options;
    this.#progress = new Progress(target.ports.length);
    // JSON rows on the same terminal would mix with the progress line.
    const isVisible = Deno.stderr.isTerminal() && !(options.json && Deno.stdout.isTerminal());
    if (options.quiet) return;
    if (isVisible) this.#progress.start();
    this.#output = new Log(Deno.stdout, {
      maxBufferedBytes: Infinity, // results are not dropped: `add` waits
      isFinal: (error) => !(error instanceof Deno.errors.WouldBlock),
      onEnd: (error) => {
        this.#writeError = error;
        onEnd();
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
    if (!this.#options.json) return;
    this.#output?.print(formatResultRow(result));
    await this.#output?.drained(MAX_BUFFERED_BYTES);
  }

  /**
   * Prints the results and the totals. Returns whether every port was greeted.
   *
   * @throws {StreamError} If standard output cannot be written.
   */
  async close(interrupted: boolean): Promise<boolean> {
    await this.#progress.stop();
    const { expected, json } = this.#options;
    const results = this.#results;
    const duration = performance.now() - this.#started;
    const summary: ProbeSummary = { ...this.#target, results, expected, duration, interrupted };
    if (!json) {
      for (const line of formatResults(results, expected, Deno.stdout.isTerminal())) this.#output?.print(line);
    }
    await this.#output?.close(Infinity, json ? formatSummaryRow(summary) : formatTotals(summary));
    // A reader such as `head` may close the pipe early. That is not an error.
    if (this.#writeError !== undefined && !(this.#writeError instanceof Deno.errors.BrokenPipe)) {
      throw outputError(this.#writeError);
    }
    return results.length === this.#target.ports.length && results.every(({ state }) => state === "greeted");
  }

  /** Erases the progress line. */
  async [Symbol.asyncDispose]() {
    await this.#progress.stop();
  }
}
