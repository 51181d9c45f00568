/**
 * The command: parses the arguments, serves, and logs what happens.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { parseOptions, rewriteArgs, UsageError } from "./cli/args.ts";
import { listenMessage, StreamError } from "./cli/errors.ts";
import { messageOf } from "./cli/format.ts";
import { toServeGreeting } from "./cli/greeting.ts";
import { type Command, helpText, SERVE_OPTIONS, type ServeCommand, toCommand } from "./cli/options.ts";
import { formatPorts } from "./cli/ports.ts";
import { errorLine, Report } from "./cli/report.ts";
import config from "./deno.json" with { type: "json" };
import { ListenError, MAX_GREETING_BYTES, serve, type Server } from "./server.ts";

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

async function runServe({ options, greeting, within, skipTaken, ...reportOptions }: ServeCommand): Promise<number> {
  const bytes = greeting ? toServeGreeting(greeting) : await readGreeting();
  const stop = new AbortController();
  stopOnSignals(stop);
  const report = new Report(reportOptions);
  const skipped: number[] = [];
  const server = serve({
    ...options,
    ...report.callbacks(),
    greeting: bytes,
    signal: stop.signal,
    onPortInUse: skipTaken ? (port) => skipped.push(port) : undefined,
  });
  if (skipped.length > 0) report.error(`skipped ports that are in use: ${formatPorts(skipped)}`);
  report.listening(server.addrs);
  warnIfNoPortIsLeft(server, report);
  if (within !== undefined) setTimeout(() => stop.abort(), within);
  await server.finished;
  return await report.close(options.count ?? 0) ? 0 : 1;
}

/** A server on every port of the local range leaves none for this machine's own connections to other machines. */
function warnIfNoPortIsLeft({ addr: { hostname } }: Server, report: Report) {
  try {
    Deno.listen({ hostname, port: 0 }).close();
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) return; // out of descriptors: accepting will report that
    report.error("no local port is left for outgoing connections of this machine; leave some ports out of --port");
  }
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
