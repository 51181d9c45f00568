/**
 * Reports the client's results on standard output, and its progress on standard error.
 *
 * @module
 */
import type { Check, CheckOptions, ConnectError, PassProgress, ProbeResult } from "../../client.ts";
import { outputError } from "../errors.ts";
import { SIGNAL_STATUS } from "../exit_status.ts";
import { MAX_BUFFERED_BYTES } from "../log.ts";
import { formatSomePorts } from "../ports.ts";
import { type HostCheck, withLine } from "./host_checks.ts";
import { HostMap } from "./host_map.ts";
import { formatHeader, formatResults, SHOWN_BYTES } from "./lines.ts";
import { Output } from "./output.ts";
import { Progress } from "./progress.ts";
import { formatErrorRow, formatResultRow, formatSummaryRow } from "./rows.ts";
import { type HostSummary, portCount, type RunSummary } from "./summary.ts";
import { formatTotals } from "./totals.ts";

/** How long to wait for a reader that has stopped, in milliseconds, once a signal has been received. */
const READER_TIMEOUT_MS = 500;

/** What is printed, and how. */
export interface ProbeReportOptions {
  /** What is checked on each host. */
  checks: readonly HostCheck[];
  /** What is passed to `checkPorts`. An option that was not given is undefined. */
  options: CheckOptions;
  /** Whether results are JSON. */
  json: boolean;
  /** Whether nothing is printed. */
  quiet: boolean;
}

/** What is known about a host so far. */
interface KnownHost extends HostSummary {
  addresses: readonly string[];
  results: ProbeResult[];
  pass: PassProgress | undefined;
}

/** Reports one run of the client. */
export class ProbeReport implements AsyncDisposable {
  readonly #isJson: boolean;
  readonly #rate: number | undefined;
  readonly #hosts: HostMap<KnownHost>;
  readonly #stop: AbortController;
  readonly #started: number = performance.now();
  readonly #isTerminal: boolean = Deno.stdout.isTerminal();
  readonly #output: Output | undefined;
  readonly #progress: Progress;

  /**
   * Opens the output. Aborts `stop` if standard output can no longer be written. If it is aborted by a signal, with a
   * reason, the report waits only {@linkcode READER_TIMEOUT_MS} for readers.
   */
  constructor({ checks, options, json, quiet }: ProbeReportOptions, stop: AbortController) {
    this.#hosts = new HostMap(checks, (check) => ({ check, addresses: [], results: [], pass: undefined }));
    this.#isJson = json;
    this.#rate = options.rate;
    this.#stop = stop;
    this.#progress = new Progress(checks);
    if (quiet) return;
    if (!Deno.stderr.isTerminal()) {
      this.#progress.startLines(options.within !== undefined || checks.some(({ blocked }) => blocked.length > 0));
    } else if (!(json && this.#isTerminal)) { // JSON rows on the same terminal would mix with the progress line
      this.#progress.startOnTerminal();
    }
    this.#output = new Output(Deno.stdout, () => stop.abort());
    if (!json) this.#printReduced(checks);
  }

  /** Whether there is a result. */
  get hasResults(): boolean {
    return this.#hosts.values().some(({ results }) => results.length > 0);
  }

  /** Records the addresses of a host, or that its lookup has failed. Prints them if there is only one host. */
  addAddresses(name: string, addresses: readonly string[], family: Check["family"]) {
    this.#progress.resolved(name, family);
    const host = this.#hosts.get(name, family);
    if (!host) return;
    host.addresses = addresses;
    // The headers of several hosts are printed with their results. That of a single host shows that it has been looked up.
    if (this.#hosts.size > 1 || this.#isJson || addresses.length === 0 || addresses[0] === name) return;
    this.#output?.print(formatHeader(host));
  }

  /** Adds a row for an error that has ended the check of a host. Returns its message with the line of the host. */
  addError({ hostname, family }: ConnectError, message: string): string {
    const line = this.#hosts.get(hostname, family)?.check.line;
    if (this.#isJson) this.#output?.print(formatErrorRow(hostname, line, message));
    return withLine(line, message);
  }

  /** Updates the progress with the result of an attempt. With `within`, the port may be tried again. */
  addAttempt(result: ProbeResult) {
    this.#progress.add(result);
  }

  /** Records and shows how far a pass over the blocked ports of a host is. */
  addPass(progress: PassProgress) {
    this.#progress.addPass(progress);
    const host = this.#hosts.get(progress.host, progress.family);
    if (host) host.pass = progress;
  }

  /** Adds a final result. Waits for a reader that is too slow for the rows, which can be long. */
  async add(result: ProbeResult) {
    const isLong = result.greeting.length > SHOWN_BYTES + 1;
    const kept = isLong ? { ...result, greeting: result.greeting.slice(0, SHOWN_BYTES + 1) } : result;
    const host = this.#hosts.of(result);
    host?.results.push(kept);
    if (!this.#isJson || !this.#output || !host) return;
    this.#output.print(formatResultRow(result, host, this.#rate));
    if (this.#output.size > MAX_BUFFERED_BYTES) await this.#wait(this.#output.flush(), 0);
  }

  /**
   * Prints the results and the totals. Returns whether every port is as expected.
   *
   * @throws {StreamError} If standard output cannot be written.
   */
  async close(): Promise<boolean> {
    await this.#wait(this.#progress.stop());
    const { signal } = this.#stop;
    const hosts = this.#hosts.values();
    const duration = performance.now() - this.#started;
    const summary: RunSummary = { hosts, rate: this.#rate, duration, interrupted: signal.aborted };
    if (this.#isJson) this.#printSummaryRows(summary);
    else this.#printResults(summary);
    await this.#wait(this.#output?.flush());
    // A reader such as `head` may close the pipe early, and SIGHUP means that the terminal is gone. Neither is an error.
    const error = this.#output?.error;
    const isReaderGone = error instanceof Deno.errors.BrokenPipe ||
      (this.#isTerminal && signal.reason === SIGNAL_STATUS.SIGHUP);
    if (error !== undefined && !isReaderGone) throw outputError(error);
    return hosts.every((host) => isComplete(host) && host.results.every(({ ok }) => ok));
  }

  /** Erases the progress line, and writes the results that are known if an error has ended the run. */
  async [Symbol.asyncDispose]() {
    await this.#wait(this.#progress.stop());
    await this.#wait(this.#output?.flush());
  }

  /** Prints which ports are left of ranges of `--blocked`. Hosts with the same ports share a line. */
  #printReduced(checks: readonly HostCheck[]) {
    const lists = new Set(checks.filter(({ isReduced }) => isReduced).map(({ blocked }) => blocked));
    for (const list of lists) {
      const hosts = checks.filter(({ blocked }) => blocked === list).map(({ hostname }) => hostname);
      const names = hosts.length === checks.length ? "" : ` on ${hosts.join(", ")}`;
      this.#output?.print(`must be blocked${names}: ${formatSomePorts(list)}`);
    }
  }

  #printSummaryRows(summary: RunSummary) {
    for (const host of summary.hosts) {
      // There is no summary if an error has ended the check of the host.
      if (summary.interrupted || isComplete(host)) this.#output?.print(formatSummaryRow(host, summary));
    }
  }

  #printResults(summary: RunSummary) {
    for (const host of summary.hosts) {
      if (host.results.length > 0 && this.#hosts.size > 1) this.#output?.print(formatHeader(host));
      for (const line of formatResults(host, summary, this.#isTerminal)) {
        this.#output?.print(line);
      }
    }
    this.#output?.print(formatTotals(summary));
  }

  /** Waits for a promise, which depends on a reader: at most `ms` milliseconds if a signal has been received. */
  async #wait(promise: Promise<void> | undefined, ms = READER_TIMEOUT_MS) {
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

/** Whether each port of a host has a result. */
function isComplete({ check, results }: HostSummary): boolean {
  return results.length === portCount(check);
}
