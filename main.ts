/**
 * The command: parses the arguments, serves, and logs what happens.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { green, red } from "@std/fmt/colors";
import { parseOptions, rewriteArgs, UsageError } from "./cli/args.ts";
import { listenMessage } from "./cli/errors.ts";
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
      console.log(helpText());
      return 0;
    case "version":
      console.log(`greeter ${config.version}`);
      return 0;
    case "serve":
      return await runServe(command);
  }
}

async function runServe({ options, stdin, within, json, quiet }: ServeCommand): Promise<number> {
  const greeting = stdin ? await readGreeting() : options.greeting;
  const stop = new AbortController();
  stopOnSignals(stop);
  const format = json ? jsonFormat : textFormat;
  const errors = openLog(Deno.stderr);
  const log = quiet ? undefined : openLog(
    Deno.stdout,
    (error) => errors.print(errorLine(`cannot write the log: ${messageOf(error)}; continuing without it`)),
  );
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
  const written = await log?.close(LOG_FLUSH_TIMEOUT_MS, highlight(summary));
  // The log's reader may be gone: Ctrl-C also ends tee in `greeter | tee log`.
  if (written === false) errors.print(summary);
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
    const n = await Deno.stdin.read(buffer.subarray(length));
    if (n === null) return buffer.subarray(0, length);
    length += n;
  }
  throw new UsageError(`standard input is too long: at most ${MAX_GREETING_BYTES} bytes can be sent; shorten it`);
}

/**
 * The first SIGINT or SIGTERM stops the server. The second one ends the process at once, with the status that shells show
 * for a process killed by the signal. Windows has SIGBREAK instead of SIGTERM.
 *
 * Call this before there are connections. Deno 2.9 listens for SIGUSR1 500 ms after the start, and if that is the first
 * signal listener and no descriptor is left, it panics.
 */
function stopOnSignals(stop: AbortController) {
  const listen = (signal: Deno.Signal, status: number) =>
    Deno.addSignalListener(signal, () => stop.signal.aborted ? Deno.exit(status) : stop.abort());
  listen("SIGINT", 130);
  if (Deno.build.os === "windows") listen("SIGBREAK", 149);
  else listen("SIGTERM", 143);
}

function errorLine(message: string): string {
  return `${paint(red, Deno.stderr, "greeter:")} ${message}`;
}

if (import.meta.main) {
  try {
    Deno.exit(await run(await parse(Deno.args)));
  } catch (error) {
    if (error instanceof UsageError) console.error(errorLine(error.message));
    else if (error instanceof ListenError) console.error(errorLine(listenMessage(error)));
    else throw error; // a bug, which needs its stack trace
    Deno.exit(2);
  }
}
