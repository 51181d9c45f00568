/**
 * The command-line program: parses the arguments, runs the server or the client, and sets the exit status.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { unlessAborted } from "./shared/abort.ts";
import { parseOptions, rewriteArgs, type UnknownOption, UsageError } from "./cli/args.ts";
import { readChecks } from "./cli/connect/checks.ts";
import type { HostCheck } from "./cli/connect/host_checks.ts";
import {
  checkTimeout,
  CONNECT_OPTIONS,
  type ConnectCommand,
  connectHelp,
  toConnectCommand,
} from "./cli/connect/command.ts";
import { connectMessage, listenMessage, outputError, StreamError } from "./cli/errors.ts";
import { ERROR, FAILURE, SUCCESS } from "./cli/exit_status.ts";
import { checkAnnouncement, toServeGreeting } from "./cli/serve/greeting.ts";
import { addressesOf } from "./cli/serve/listeners.ts";
import { readGreeting } from "./cli/serve/stdin.ts";
import { formatSomePorts } from "./cli/ports.ts";
import { stopOnSignals } from "./cli/signals.ts";
import { ProbeReport } from "./cli/connect/report.ts";
import { errorLine, Report } from "./cli/serve/report.ts";
import { SERVE_OPTIONS, type ServeCommand, serveHelp, toServeCommand } from "./cli/serve/command.ts";
import { valuesOf } from "./cli/values.ts";
import { checkPorts, ConnectError } from "./client.ts";
import config from "./deno.json" with { type: "json" };
import { ListenError, serve, type Server } from "./server.ts";

/** A parsed command line. */
export type Command = { kind: "help"; text: string } | { kind: "version" } | ServeCommand | ConnectCommand;

/**
 * Parses a command line. Has no side effects.
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
  const values = valuesOf(table, parseArgs(rewritten.args, parseOptions(table)), rewritten);
  if (values.flag(table.help)) return { kind: "help", text: isConnect ? connectHelp() : serveHelp() };
  if (values.flag(table.version)) return { kind: "version" };
  if (rewritten.unknown) throw unknownOption(rewritten.unknown, isConnect);
  return isConnect ? toConnectCommand(values, rewritten) : await toServeCommand(values, rewritten);
}

/** Returns the error for an option that the command does not have. */
function unknownOption({ name, text }: UnknownOption, isConnect: boolean): UsageError {
  const isOfConnect = Object.hasOwn(CONNECT_OPTIONS, name);
  const isOfServer = Object.hasOwn(SERVE_OPTIONS, name);
  if (!isConnect && isOfConnect && !isOfServer) {
    return new UsageError(`unknown option ${text}; only greeter connect has it: see greeter connect --help`);
  }
  if (!isConnect && name === "b") {
    return new UsageError(
      `unknown option ${text}; write --backlog for the length of the accept queue; ` +
        "-b of greeter connect is something else: ports that must be blocked",
    );
  }
  const help = isConnect ? "greeter connect --help" : "greeter --help";
  if (isConnect && isOfServer && !isOfConnect) {
    return new UsageError(`unknown option ${text}; only the server has it: see ${help}`);
  }
  return new UsageError(`unknown option ${text}; see ${help}`);
}

/** Runs a command, and returns its exit status. */
async function run(command: Command): Promise<number> {
  switch (command.kind) {
    case "help":
      printText(command.text);
      return SUCCESS;
    case "version":
      printText(`greeter ${config.version}`);
      return SUCCESS;
    case "serve":
      return await runServe(command);
    case "connect":
      return await runConnect(command);
  }
}

/** Prints text to standard output. That fails if, for example, it is redirected to a file on a full disk. */
function printText(text: string) {
  try {
    console.log(text);
  } catch (error) {
    throw outputError(error);
  }
}

function printError(message: string) {
  try {
    console.error(errorLine(message));
  } catch {
    // standard error cannot be written, so only the exit status can tell
  }
}

async function runServe({ options, greeting, within, ...reportOptions }: ServeCommand): Promise<number> {
  const stop = stopOnSignals();
  const { signal } = stop;
  const bytes = greeting
    ? toServeGreeting(greeting, options.announce === true)
    : await unlessAborted(readGreeting(), signal);
  if (bytes === undefined) return signal.reason;
  const report = new Report(reportOptions, options);
  const server = serve({ ...options, ...report.callbacks(), greeting: bytes, signal });
  // No connection has been accepted yet, because that is asynchronous.
  if (options.announce && greeting) checkAnnouncement(greeting, server.addrs.map(({ port }) => port));
  if (server.skipped.length > 0) {
    const where = addressesOf(server.addrs).length > 1 ? " at one of the addresses" : "";
    report.error(`skipped ports that are in use${where}: ${formatSomePorts(server.skipped)}`);
  }
  report.listening(server.addrs);
  warnIfNoPortIsLeft(server, report);
  if (within !== undefined) setTimeout(() => stop.abort(), within);
  await server.finished;
  return await report.close(options.count ?? 0) ? SUCCESS : FAILURE;
}

/** Warns if no ephemeral port is left at one of the addresses, which leaves none for outgoing connections. */
function warnIfNoPortIsLeft({ addrs }: Server, report: Report) {
  if (addressesOf(addrs).every(hasEphemeralPort)) return;
  report.error("no ephemeral port is left for outgoing connections from this machine; remove some ports from --port");
}

function hasEphemeralPort({ hostname }: Deno.NetAddr): boolean {
  try {
    Deno.listen({ hostname, port: 0 }).close();
    return true;
  } catch (error) {
    return !(error instanceof Deno.errors.AddrInUse); // otherwise such as ENFILE, which accepting will report
  }
}

async function runConnect(command: ConnectCommand): Promise<number> {
  const stop = stopOnSignals();
  const { signal } = stop;
  const checks = command.checks ?? await unlessAborted(readChecks(), signal);
  if (checks === undefined) return signal.reason;
  checkTimeout(command, checks);
  const errors: string[] = [];
  try {
    return await runChecks(command, checks, stop, errors);
  } finally {
    errors.forEach(printError); // the progress line has been erased
  }
}

/** Runs checks, and returns the exit status. Adds the errors of hosts to `errors`. */
async function runChecks(command: ConnectCommand, checks: HostCheck[], stop: AbortController, errors: string[]) {
  const { signal } = stop;
  await using report = new ProbeReport({ ...command, checks }, stop);
  const onLookup = report.addAddresses.bind(report);
  const onAttempt = report.addAttempt.bind(report);
  const onPass = report.addPass.bind(report);
  try {
    const results = checkPorts(checks, { ...command.options, signal, onLookup, onAttempt, onPass });
    for await (const result of results) await report.add(result);
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    // The other hosts have been checked.
    for (const each of [error, ...error.others]) errors.push(report.addError(each, connectMessage(each)));
  }
  const isAsExpected = (errors.length === 0 || report.hasResults || signal.aborted) && await report.close();
  // If the reason is not a status, the reader of standard output is gone.
  if (typeof signal.reason === "number") return signal.reason;
  if (errors.length > 0) return ERROR;
  return isAsExpected ? SUCCESS : FAILURE;
}

/** Returns the message for an error that the user can fix, or `undefined` for any other error. */
function expectedMessage(error: unknown): string | undefined {
  if (error instanceof ListenError) return listenMessage(error);
  return error instanceof UsageError || error instanceof StreamError ? error.message : undefined;
}

if (import.meta.main) {
  try {
    Deno.exit(await run(await parse(Deno.args)));
  } catch (error) {
    const message = expectedMessage(error);
    if (message === undefined) throw error; // a bug, so show its stack trace
    printError(message);
    Deno.exit(ERROR);
  }
}
