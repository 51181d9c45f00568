/**
 * The command: parses the arguments, serves, and logs what happens.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { green, red } from "@std/fmt/colors";
import { parseOptions, rewriteArgs, UsageError } from "./cli/args.ts";
import { listenMessage, StreamError } from "./cli/errors.ts";
import { jsonFormat, messageOf, textFormat } from "./cli/format.ts";
import { openLog } from "./cli/log.ts";
import { type Command, helpText, SERVE_OPTIONS, type ServeCommand, toCommand } from "./cli/options.ts";
import { paint } from "./cli/terminal.ts";
import config from "./deno.json" with { type: "json" };
import { ListenError, MAX_GREETING_BYTES, serve } from "./server.ts";

/** How long to wait until the last lines of the log are written, in milliseconds. */
const LOG_FLUSH_TIMEOUT_MS = 500;

/**
 * Parses a command line. It has no side effects.
 *
 * @throws {UsageError} If the command line is invalid.
 *
 * @example
 * ```ts
 * import { parse } from "./main.ts";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(await parse(["-qV"]), { kind: "version" });
 * ```
 */
export async function parse(args: readonly string[]): Promise<Command> {
  const rewritten = rewriteArgs(args, SERVE_OPTIONS);
  return await toCommand(parseArgs(rewritten.args, parseOptions(SERVE_OPTIONS)), rewritten);
}

/** Runs a command, and returns its exit status. */
async function run(command: Command): Promise<number> {
  switch (command.kind) {
    case "help":
      printText(helpText());
      return 0;
    case "version":
      printText(`greeter ${config.version}`);
      return 0;
    case "serve":
      return await runServe(command);
  }
}

/** Prints text to standard output, which may be a full disk. */
function printText(text: string) {
  try {
    console.log(text);
  } catch (error) {
    throw new StreamError(`cannot write to standard output: ${messageOf(error)}; redirect it elsewhere`);
  }
}

async function runServe({ options, stdin, within, json, quiet }: ServeCommand): Promise<number> {
  const greeting = stdin ? await readGreeting() : options.greeting;
  const stop = new AbortController();
  stopOnSignals(stop);
  const format = json ? jsonFormat : textFormat;
  const errors = openLog(Deno.stderr);
  const log = quiet ? undefined : openLog(Deno.stdout, {
    formatGap: format.gap,
    onError: (error) => errors.print(errorLine(`cannot write the log: ${messageOf(error)}; trying again`)),
    onRecovery: () => errors.print(errorLine("the log is written again")),
  });
  const started = performance.now();
  const totals = { greetings: 0, refused: 0, bytesReceived: 0 };
  const server = serve({
    ...options,
    greeting,
    signal: stop.signal,
    onConnection: (connection) => log?.print(format.connection(connection)),
    onClose(connection) {
      if (connection.greeted) totals.greetings++;
      totals.bytesReceived += connection.bytesReceived;
      log?.print(format.closed(connection));
    },
    onRefuse(info) {
      totals.refused++;
      log?.print(format.refused(info));
    },
    onAcceptError(error) {
      errors.print(errorLine(`cannot accept connections: ${messageOf(error)}; trying again`));
      log?.print(format.error(error));
    },
  });
  const highlight = (line: string) => json ? line : paint(green, Deno.stdout, line);
  for (const addr of server.addrs) log?.print(highlight(format.listening(addr)));
  if (within !== undefined) setTimeout(() => stop.abort(), within);
  await server.finished;

  const { count = 0 } = options;
  const incomplete = totals.greetings < count;
  const duration = performance.now() - started;
  const summary = format.stopped({ ...totals, dropped: log?.dropped ?? 0, duration });
  const closed = await log?.close(LOG_FLUSH_TIMEOUT_MS, highlight(summary));
  // The log may have no reader any longer: Ctrl-C also ends tee in `greeter | tee log`.
  if (closed && !closed.complete) errors.print(summary);
  if (closed && closed.missing > 0) {
    const lines = closed.missing === 1 ? "1 line was" : `${closed.missing} lines were`;
    errors.print(errorLine(`the log is incomplete: at least ${lines} not written`));
  }
  if (incomplete) {
    errors.print(errorLine(`stopped before --count was reached: ${totals.greetings} of ${count} clients were greeted`));
  }
  await errors.close(LOG_FLUSH_TIMEOUT_MS);
  return incomplete ? 1 : 0;
}

/** Reads standard input to its end. Stops when it is too long, because /dev/zero has no end. */
async function readGreeting(): Promise<Uint8Array> {
  const buffer = new Uint8Array(MAX_GREETING_BYTES + 1);
  let length = 0;
  while (length < buffer.length) {
    let n: number | null;
    try {
      n = await Deno.stdin.read(buffer.subarray(length));
    } catch (error) {
      throw new StreamError(`cannot read standard input: ${messageOf(error)}; redirect it from a file or a pipe`);
    }
    if (n === null) return buffer.subarray(0, length);
    length += n;
  }
  throw new StreamError(`standard input is too long: at most ${MAX_GREETING_BYTES} bytes can be sent; shorten it`);
}

/**
 * The first SIGINT or SIGTERM stops the server. The second one ends the process at once, with the status that shells show
 * for a process killed by the signal. Windows has SIGBREAK instead of SIGTERM.
 *
 * SIGHUP stops the server too if greeter runs in a terminal, which has been closed then. Otherwise it is ignored, so that
 * `nohup` works: listening for signals replaces the disposition that nohup has set.
 *
 * Call this before there are connections. Deno 2.9 listens for SIGUSR1 500 ms after the start, and if that is the first
 * signal listener and no descriptor is left, it panics.
 */
function stopOnSignals(stop: AbortController) {
  const listen = (signal: Deno.Signal, status: number) =>
    Deno.addSignalListener(signal, () => stop.signal.aborted ? Deno.exit(status) : stop.abort());
  listen("SIGINT", 130);
  if (Deno.build.os === "windows") {
    listen("SIGBREAK", 149);
    return;
  }
  listen("SIGTERM", 143);
  // Asked at the start, because a terminal that has been closed is not a terminal any longer.
  if ([Deno.stdin, Deno.stdout, Deno.stderr].some((stream) => stream.isTerminal())) listen("SIGHUP", 129);
  else Deno.addSignalListener("SIGHUP", () => {});
}

function errorLine(message: string): string {
  return `${paint(red, Deno.stderr, "greeter:")} ${message}`;
}

if (import.meta.main) {
  try {
    Deno.exit(await run(await parse(Deno.args)));
  } catch (error) {
    const message = error instanceof ListenError ? listenMessage(error) : messageOf(error);
    const isExpected = [UsageError, StreamError, ListenError].some((type) => error instanceof type);
    if (!isExpected) throw error; // a bug, which needs its stack trace
    try {
      console.error(errorLine(message));
    } finally {
      Deno.exit(2); // also if standard error cannot be written
    }
  }
}
