/**
 * Reports the client's results on standard output, and its progress on standard error.
 *
 * @module
 */
import type { ProbeResult } from "../client.ts";
import { StreamError } from "./errors.ts";
import { messageOf } from "./format.ts";
import { type Log, MAX_BUFFERED_BYTES, openLog } from "./log.ts";
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

/** The report of one run of the client. */
export class ProbeReport implements AsyncDisposable {
  readonly #options: ProbeReportOptions;
  readonly #target: Pick<ProbeSummary, "host" | "address" | "ports">;
  readonly #started: number = performance.now();
  readonly #results: ProbeResult[] = [];
  readonly #output: Log | undefined;
  readonly #progress: Progress;
  #writeError: unknown;

  /** Prints the address of a name. Calls `onEnd` if standard output cannot be written any longer. */
  constructor(
    target: Pick<ProbeSummary, "host" | "address" | "ports">,
    options: ProbeReportOptions,
    onEnd: () => void,
  ) {
    this.#target = target;
    this.#options = options;
    this.#progress = new Progress(target.ports.length);
    // Rows of JSON on the same terminal would overwrite the line.
    const isVisible = Deno.stderr.isTerminal() && !(options.json && Deno.stdout.isTerminal());
    if (options.quiet) return;
    if (isVisible) this.#progress.start();
    this.#output = openLog(Deno.stdout, {
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

  /** Notes the result of an attempt, after which `within` may try the port again. */
  addAttempt(result: ProbeResult) {
    this.#progress.add(result);
  }

  /** Adds a final result. Waits for a reader that is too slow for the rows: 65,535 of them can have 2.5 GB. */
  async add(result: ProbeResult) {
    this.#results.push({ ...result, greeting: result.greeting.slice(0, SHOWN_BYTES + 1) });
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
    // A reader that has seen enough, such as `head`, closes the pipe.
    if (this.#writeError !== undefined && !(this.#writeError instanceof Deno.errors.BrokenPipe)) {
      throw new StreamError(
        `cannot write to standard output: ${messageOf(this.#writeError)}; redirect it elsewhere`,
      );
    }
    return results.length === this.#target.ports.length && results.every(({ state }) => state === "greeted");
  }

  /** Erases the progress line. */
  async [Symbol.asyncDispose]() {
    await this.#progress.stop();
  }
}
