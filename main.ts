/**
 * The command: parses the arguments, runs the server or the client, and sets the exit status.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { parseOptions, rewriteArgs, UsageError } from "./cli/args.ts";
import { CONNECT_OPTIONS, type ConnectCommand, connectHelp, toConnectCommand } from "./cli/connect_command.ts";
import { connectMessage, listenMessage, StreamError } from "./cli/errors.ts";
import { messageOf } from "./cli/format.ts";
import { toServeGreeting } from "./cli/greeting.ts";
import { formatPorts } from "./cli/ports.ts";
import { ProbeReport } from "./cli/probe_report.ts";
import { errorLine, Report } from "./cli/report.ts";
import { SERVE_OPTIONS, type ServeCommand, serveHelp, toServeCommand } from "./cli/serve_command.ts";
import { connect, ConnectError, resolve } from "./client.ts";
import config from "./deno.json" with { type: "json" };
import { ListenError, MAX_GREETING_BYTES, serve, type Server } from "./server.ts";

/** What a command line asks for. */
export type Command = { kind: "help"; text: string } | { kind: "version" } | ServeCommand | ConnectCommand;

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
  const isConnect = args[0] === "connect";
  const table = isConnect ? CONNECT_OPTIONS : SERVE_OPTIONS;
  const rewritten = rewriteArgs(isConnect ? args.slice(1) : args, table);
  const parsed: Record<string, unknown> = parseArgs(rewritten.args, parseOptions(table));
  if (parsed.help) return { kind: "help", text: isConnect ? connectHelp() : serveHelp() };
  if (parsed.version) return { kind: "version" };
  if (rewritten.unknown) throw rewritten.unknown;
  return isConnect ? toConnectCommand(parsed, rewritten) : await toServeCommand(parsed, rewritten);
}

/** Runs a command, and returns its exit status. */
async function run(command: Command): Promise<number> {
  switch (command.kind) {
    case "help":
      printText(command.text);
      return 0;
    case "version":
      printText(`greeter ${config.version}`);
      return 0;
    case "serve":
      return await runServe(command);
    case "connect":
      return await runConnect(command);
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
  stopOnSignals(stop, serveSignals());
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

async function runConnect({ options, ...reportOptions }: ConnectCommand): Promise<number> {
  // A signal ends the process while the name is resolved, because no result is known yet.
  const address = await resolve(options.hostname, options.ipv6);
  const stop = new AbortController();
  stopOnSignals(stop, STOP_SIGNALS);
  const target = { host: options.hostname, address, ports: options.port };
  await using report = new ProbeReport(target, reportOptions, () => stop.abort());
  const onResult = report.addAttempt.bind(report);
  for await (const result of connect({ ...options, hostname: address, signal: stop.signal, onResult })) {
    await report.add(result);
  }
  const isGreeted = await report.close(stop.signal.aborted);
  const { reason } = stop.signal;
  // Otherwise the reader of standard output has gone.
  if (typeof reason === "number") return reason;
  return isGreeted ? 0 : 1;
}

const SIGNAL_STATUS: Partial<Record<Deno.Signal, number>> = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143, SIGBREAK: 149 };

/** Windows has SIGBREAK instead of SIGTERM. */
const STOP_SIGNALS: readonly Deno.Signal[] = ["SIGINT", Deno.build.os === "windows" ? "SIGBREAK" : "SIGTERM"];

/**
 * A signal within this time after the first one is a copy of it, in milliseconds. A terminal sends Ctrl-C to all
 * processes in it, and some parents, such as `deno task`, forward it as well.
 */
const DUPLICATE_SIGNAL_MS = 100;

/**
 * The first signal aborts `stop`, with the status that shells show for a process ended by the signal as the reason. The
 * second one ends the process at once, with that status.
 *
 * Call this before there are connections. Deno 2.9 listens for SIGUSR1 500 ms after the start, and if that is the first
 * signal listener and no descriptor is left, it panics.
 */
function stopOnSignals(stop: AbortController, signals: readonly Deno.Signal[]) {
  let stopped = -Infinity;
  for (const signal of signals) {
    Deno.addSignalListener(signal, () => {
      if (!stop.signal.aborted) {
        stopped = performance.now();
        stop.abort(SIGNAL_STATUS[signal]);
      } else if (performance.now() - stopped >= DUPLICATE_SIGNAL_MS) {
        Deno.exit(SIGNAL_STATUS[signal]);
      }
    });
  }
}

/**
 * SIGHUP stops the server too if greeter runs in a terminal, which has been closed then. Otherwise it is ignored, so that
 * `nohup` works: listening for signals replaces the disposition that nohup has set.
 */
function serveSignals(): readonly Deno.Signal[] {
  if (Deno.build.os === "windows") return STOP_SIGNALS;
  // Asked at the start, because a terminal that has been closed is not a terminal any longer.
  if ([Deno.stdin, Deno.stdout, Deno.stderr].some((stream) => stream.isTerminal())) return [...STOP_SIGNALS, "SIGHUP"];
  Deno.addSignalListener("SIGHUP", () => {});
  return STOP_SIGNALS;
}

/** The message for an error that the user can fix, or `undefined`. */
function expectedMessage(error: unknown): string | undefined {
  if (error instanceof ListenError) return listenMessage(error);
  if (error instanceof ConnectError) return connectMessage(error);
  return error instanceof UsageError || error instanceof StreamError ? error.message : undefined;
}

if (import.meta.main) {
  try {
    Deno.exit(await run(await parse(Deno.args)));
  } catch (error) {
    const message = expectedMessage(error);
    if (message === undefined) throw error; // a bug, which needs its stack trace
    try {
      console.error(errorLine(message));
    } finally {
      Deno.exit(2); // also if standard error cannot be written
    }
  }
}
