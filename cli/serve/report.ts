/**
 * Reports what a server does: events in the log on standard output, errors on standard error, and totals at the end.
 *
 * @module
 */
import { dim, green, red, yellow } from "@std/fmt/colors";
import type { ServeOptions } from "../../server.ts";
import { Clients } from "./clients.ts";
import { type Format, jsonFormat, textFormat } from "./events.ts";
import { portsOf } from "./listeners.ts";
import { Log } from "../log.ts";
import { formatSomePorts } from "../ports.ts";
import { Resets } from "./resets.ts";
import { Totals } from "./totals.ts";
import { messageOf } from "../../shared/errors.ts";
import { columnsOf, localTimestamp, paint } from "../text.ts";

/** How long to wait for the last lines of the log to be written, in milliseconds. */
const LOG_FLUSH_TIMEOUT_MS = 500;

/** What is logged, and how. */
export interface ReportOptions {
  /** Whether the log is JSON. */
  json: boolean;
  /** Whether the clients are printed when the server has stopped. */
  clients: boolean;
  /** Whether nothing is logged. The clients are printed nevertheless. */
  quiet: boolean;
  /** Whether lines of text begin with the local time. Not combined with `json`, whose rows always contain the time. */
  timestamps: boolean;
}

/** Formats a message for standard error. */
export function errorLine(message: string): string {
  return `${paint(red, Deno.stderr, "greeter:")} ${message}`;
}

/** Reports what one server does. */
export class Report {
  readonly #format: Format;
  /** Also open with `--quiet` if the clients are to be printed. */
  readonly #log: Log | undefined;
  readonly #errors: Log = new Log(Deno.stderr);
  readonly #totals = new Totals();
  readonly #clients: Clients | undefined;
  readonly #isQuiet: boolean;
  readonly #isColored: boolean;
  readonly #hasTimestamps: boolean;
  #ports: readonly number[] = [];
  readonly #resets: Resets;
  #resetsTimer: ReturnType<typeof setTimeout> | undefined;

  /** Opens the log of a server that ignores some clients if there is `ignore`. */
  constructor({ json, clients, quiet, timestamps }: ReportOptions, { ignore }: Pick<ServeOptions, "ignore">) {
    this.#format = json ? jsonFormat : textFormat;
    this.#isColored = !json && Deno.stdout.isTerminal();
    this.#hasTimestamps = timestamps;
    this.#clients = clients ? new Clients() : undefined;
    this.#resets = new Resets(ignore !== undefined);
    this.#isQuiet = quiet;
    if (quiet && !clients) return;
    this.#log = new Log(Deno.stdout, {
      formatGap: this.#format.gap,
      onError: (error) => this.error(`cannot write the log: ${messageOf(error)}; trying again`),
      onRecovery: () => this.error("the log can be written again"),
    });
  }

  /** Returns the callbacks for `serve`, which log and count. */
  callbacks(): ServeOptions {
    const format = this.#format;
    return {
      onConnection: (connection) => {
        this.#clients?.addConnection(connection, false);
        this.#print(format.connection(connection));
      },
      onClose: (connection) => {
        this.#totals.addClosed(connection);
        this.#clients?.addReceived(connection);
        this.#print(format.closed(connection), dimPayload);
      },
      onDenied: (info) => {
        this.#totals.addDenied();
        this.#clients?.addConnection(info, true);
        this.#print(format.denied(info), yellow);
      },
      onAcceptError: (error) => {
        this.error(`cannot accept connections: ${messageOf(error)}; trying again`);
        this.#print(format.error(error));
      },
      onResetBeforeAccept: ({ port }) => {
        this.#totals.addReset(port);
        this.#clients?.addReset();
        this.#resets.add(port);
        this.#resetsTimer ??= setTimeout(() => this.#reportResets(), this.#resets.delay(performance.now()));
      },
    };
  }

  /** Logs the addresses that the server listens on. */
  listening(addrs: readonly Deno.NetAddr[]) {
    this.#ports = portsOf(addrs);
    this.#print(this.#format.listening(addrs), green);
  }

  /** Prints a message to standard error. */
  error(message: string) {
    this.#errors.print(errorLine(message));
  }

  /**
   * Prints the clients and the totals, and closes the log. Returns whether every port has greeted `count` clients. If not,
   * reports which ones have not.
   */
  async close(count: number): Promise<boolean> {
    this.#reportResets();
    const clients = this.#clients ? this.#format.clients(this.#clients, columnsOf(Deno.stdout)) : [];
    const summary = this.#isQuiet
      ? []
      : [this.#format.stopped(this.#totals.summary(this.#ports, this.#log?.dropped ?? 0))];
    const colored = summary.map((line) => this.#decorate(line, green));
    const closed = await this.#log?.close(LOG_FLUSH_TIMEOUT_MS, [...clients, ...colored]);
    // The log may no longer have a reader: Ctrl-C also ends tee in `greeter | tee log`.
    if (closed && !closed.complete) { for (const line of [...clients, ...summary]) this.#errors.print(line); }
    if (closed && closed.missing > 0) {
      const lines = closed.missing === 1 ? "1 line was" : `${closed.missing} lines were`;
      this.error(`the log is incomplete: at least ${lines} not written`);
    }
    const missing = this.#totals.missing(this.#ports, count);
    if (missing.length > 0) {
      const what = this.#ports.length === 1
        ? `${this.#totals.greetings} of ${count} clients were greeted`
        : `too few clients were greeted on ${missing.length === 1 ? "port" : "ports"} ${formatSomePorts(missing)}`;
      this.error(`stopped before --count was reached: ${what}`);
    }
    await this.#errors.close(LOG_FLUSH_TIMEOUT_MS);
    return missing.length === 0;
  }

  #print(line: string | undefined, color?: (text: string) => string) {
    if (line !== undefined && !this.#isQuiet) this.#log?.print(this.#decorate(line, color));
  }

  #decorate(line: string, color?: (text: string) => string): string {
    const colored = color && this.#isColored ? color(line) : line;
    return this.#hasTimestamps ? `${localTimestamp()} ${colored}` : colored;
  }

  #reportResets() {
    clearTimeout(this.#resetsTimer);
    this.#resetsTimer = undefined;
    const { count, ports } = this.#resets.take(performance.now());
    if (count > 0) this.#print(this.#format.resets(count, ports), yellow);
  }
}

function dimPayload(line: string): string {
  return line.replace(/(?<=: )".*$/, (payload) => dim(payload));
}
