/**
 * The command: reads its arguments, serves, and says what happens.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { green, red } from "@std/fmt/colors";
import type { BlockList } from "node:net";
import config from "./deno.json" with { type: "json" };
import { json, messageOf, openLog, plural, text } from "./log.ts";
import { DEFAULTS, MAX_GREETING_BYTES, serve, type ServeOptions, type Server } from "./server.ts";

/** The options, in the order in which `--help` lists them. One without a `value` takes none. */
const OPTIONS: Record<string, { short?: string; value?: string; repeatable?: boolean; help: string }> = {
  port: {
    short: "p",
    value: "<PORT>",
    repeatable: true,
    help: `port to listen on, may be repeated; 0: any free port (default: ${DEFAULTS.port})`,
  },
  host: { short: "H", value: "<HOST>", help: `name or address to listen on (default: ${DEFAULTS.hostname})` },
  greeting: { short: "g", value: "<TEXT>", help: "what to send, CR LF is added (default: the tutorial's)" },
  stdin: { help: "send standard input, read to its end, byte for byte" },
  allow: {
    short: "a",
    value: "<ADDRESS[/PREFIX]>",
    repeatable: true,
    help: "greet these only, may be repeated (default: everybody)",
  },
  count: { short: "n", value: "<N>", help: "stop after N greetings" },
  within: { short: "w", value: "<SECONDS>", help: "stop after that long; exit 1 if --count isn't reached" },
  json: { help: "log as JSON Lines" },
  quiet: { short: "q", help: "no log; errors still go to standard error" },
  backlog: { short: "b", value: "<N>", help: `connections the kernel may keep waiting (default: ${DEFAULTS.backlog})` },
  "max-connections": {
    short: "m",
    value: "<N>",
    help: `connections open at once; past that the oldest goes (default: ${DEFAULTS.maxConnections})`,
  },
  timeout: {
    short: "t",
    value: "<SECONDS>",
    help: `how long a connection may last (default: ${DEFAULTS.timeout / 1000})`,
  },
  help: { short: "h", help: "print this and exit" },
  version: { short: "V", help: "print the version and exit" },
};

// Without exit(), Deno 2.8.3 would wait for clients that are still connected: denoland/deno#35292.
if (import.meta.main) Deno.exit(await main());

async function main(): Promise<number> {
  const given = parse(Deno.args);
  if (given.help.includes("")) {
    console.log(usage());
    return 0;
  }
  if (given.version.includes("")) {
    console.log(`greeter ${config.version}`);
    return 0;
  }
  const { within, ...options } = await validate(given);
  if (given.stdin.length > 0) options.greeting = await readGreeting();

  const stop = new AbortController();
  stopOnSignals(stop);
  const format = given.json.length > 0 ? json : text;
  const errors = openLog(Deno.stderr);
  const log = given.quiet.length > 0 ? undefined : openLog(
    Deno.stdout,
    (error) => errors.print(complaint(`can't write the log, goes on without: ${messageOf(error)}`)),
  );
  const started = performance.now();
  const totals = { greetings: 0, refused: 0, bytesReceived: 0 };
  const server = listen({
    ...options,
    signal: stop.signal,
    onConnection: (connection) => log?.print(format.connection(connection)),
    onClose(connection) {
      if (connection.greeted) totals.greetings++;
      totals.bytesReceived += connection.bytesReceived;
      log?.print(format.closed(connection));
    },
    onRefuse(ends) {
      totals.refused++;
      log?.print(format.refused(ends));
    },
    onAcceptError(error) {
      errors.print(complaint(`can't accept connections, keeps trying: ${messageOf(error)}`));
      log?.print(format.error(error));
    },
  });
  // Colour is for people.
  const highlight = format === text ? (line: string) => paint(green, Deno.stdout, line) : (line: string) => line;
  for (const addr of server.addrs) log?.print(highlight(format.listening(addr)));
  let late = false;
  if (within !== undefined) {
    setTimeout(() => {
      late = true;
      stop.abort();
    }, within);
  }
  await server.finished;

  const { count = 0 } = options;
  const short = late && totals.greetings < count;
  const problem = short ? complaint(`${totals.greetings} of ${plural(count, "greeting")} in time`) : undefined;
  const duration = performance.now() - started;
  await Promise.all([
    log?.close(500, highlight(format.stopped({ ...totals, dropped: log.dropped, duration }))),
    errors.close(500, problem),
  ]);
  return short ? 1 : 0;
}

/** The values given to each option, in order; a flag's is the empty string. Rejects what isn't of that form. */
function parse(args: string[]): Record<string, string[]> {
  // parseArgs() takes -gab=c for -g c.
  const glued = args.find((arg) => /^-[^-].*=/s.test(arg));
  if (glued !== undefined) reject(`${quote(glued)}: a value goes apart, as in -p 9999, or as in --port=9999`);

  const names = Object.keys(OPTIONS);
  const unknown: string[] = [];
  // All are strings that may be repeated, flags as well: else parseArgs() drops what --help=maybe and -p 1 -p 2 say.
  const { _: strays, ...given }: Record<string, string[]> = parseArgs(args, {
    string: ["_", ...names],
    collect: names,
    alias: Object.fromEntries(names.map((name) => [name, OPTIONS[name].short ?? []])),
    unknown: (arg: string, key?: string) => {
      if (key === undefined) return true;
      unknown.push(arg);
      return false;
    },
  });
  if (given.help.includes("") || given.version.includes("")) return given;

  for (const name of names) {
    const { value, repeatable } = OPTIONS[name];
    for (const [i, text] of given[name].entries()) {
      if (i > 0 && !repeatable) reject(`--${name} ${quote(text)}: --${name} may be given once only`);
      // Of --port -1, parseArgs() makes a port without a value and an unknown option.
      if (value && text === "") {
        reject(`--${name} ${quote(unknown[0] ?? "")}: a value is expected, as in --${name}=${value}`);
      }
      if (!value && text !== "") reject(`--${name} ${quote(text)}: no value is expected`);
    }
  }
  if (unknown.length > 0) reject(`${quote(unknown[0])}: there is no such option`);
  // Last, for parseArgs() makes an empty value a stray.
  if (strays.length > 0) reject(`${quote(strays[0])}: only options are expected`);
  return given;
}

/** What was given, as `serve` takes it: what wasn't is undefined. */
async function validate(given: Record<string, string[]>): Promise<ServeOptions & { within?: number }> {
  const [hostname] = given.host;
  const [line] = given.greeting;
  if (line !== undefined && given.stdin.length > 0) reject(`--greeting ${quote(line)}: not together with --stdin`);
  const greeting = line === undefined ? undefined : new TextEncoder().encode(`${line}\r\n`);
  if (greeting && greeting.length > MAX_GREETING_BYTES) {
    reject(`--greeting ${quote(line)}: ${greeting.length} bytes with CR LF, at most ${MAX_GREETING_BYTES} are sent`);
  }
  const port = whole(given, "port", 0, 65_535);
  const twice = port.find((each, i) => each !== 0 && port.indexOf(each) < i);
  if (twice !== undefined) reject(`--port "${twice}": given twice, each port can be served once`);
  return {
    hostname,
    port: port.length > 0 ? port : undefined,
    greeting,
    allow: given.allow.length > 0 ? await allowList(given.allow) : undefined,
    count: whole(given, "count", 1, 1_000_000_000)[0],
    within: milliseconds(given, "within"),
    backlog: whole(given, "backlog", 1, 65_535)[0],
    maxConnections: whole(given, "max-connections", 1, 1_000_000)[0],
    timeout: milliseconds(given, "timeout"),
  };
}

/** Number() takes 0x50, 1e3 and " 80" as well, hence the forms. */
function whole(given: Record<string, string[]>, name: string, least: number, most: number): number[] {
  return given[name].map((text) => {
    if (/^\d+$/.test(text) && Number(text) >= least && Number(text) <= most) return Number(text);
    return reject(`--${name} ${quote(text)}: a whole number from ${least} to ${most} is expected`);
  });
}

function milliseconds(given: Record<string, string[]>, name: string): number | undefined {
  const [text] = given[name];
  if (text === undefined) return undefined;
  if (/^\d+(\.\d+)?$/.test(text) && Number(text) >= 0.001 && Number(text) <= 86_400) return Number(text) * 1000;
  return reject(`--${name} ${quote(text)}: seconds from 0.001 to 86400 are expected`);
}

async function allowList(rules: string[]): Promise<BlockList> {
  // Only here, for loading it takes as long as all the rest of the start.
  const { BlockList, isIP } = await import("node:net");
  const list = new BlockList();
  for (const rule of rules) {
    const [, address, prefix] = rule.match(/^([^/]+)(?:\/(\d+))?$/) ?? [];
    const [family, bits] = isIP(address ?? "") === 4 ? ["ipv4" as const, 32] : ["ipv6" as const, 128];
    try {
      list.addSubnet(address, Number(prefix ?? bits), family);
    } catch {
      reject(`--allow ${quote(rule)}: an address is expected, or with a prefix as in 192.0.2.0/24 or 2001:db8::/32`);
    }
  }
  return list;
}

/** Standard input to its end, or to where it is too long: /dev/zero has no end. */
async function readGreeting(): Promise<Uint8Array> {
  const buffer = new Uint8Array(MAX_GREETING_BYTES + 1);
  let length = 0;
  while (length < buffer.length) {
    const count = await Deno.stdin.read(buffer.subarray(length));
    if (count === null) return buffer.subarray(0, length);
    length += count;
  }
  return reject(`--stdin: more than ${MAX_GREETING_BYTES} bytes came, at most that many are sent`);
}

/** Listens, or says why that can't be and what to do. */
function listen(options: ServeOptions): Server {
  const { hostname = DEFAULTS.hostname } = options;
  const ports = [options.port ?? DEFAULTS.port].flat();
  let listening = 0;
  try {
    return serve({ ...options, onListen: () => listening++ });
  } catch (error) {
    const port = ports[listening];
    const problem = error instanceof Deno.errors.AddrInUse
      ? `port ${port} is taken, choose another with --port`
      : error instanceof Deno.errors.PermissionDenied
      ? `port ${port} needs a right that you don't have, try --port 9999, or root`
      : error instanceof Deno.errors.NotCapable
      ? "Deno was not allowed to use the network, run it with --allow-net"
      : error instanceof Deno.errors.AddrNotAvailable
      ? `${quote(hostname)} is no address of this machine, choose another with --host`
      : error instanceof URIError
      ? `${quote(hostname)} can't be a host's name, choose another with --host`
      : /lookup|No such host/.test(messageOf(error))
      ? `unknown host ${quote(hostname)}, choose another with --host (${messageOf(error)})`
      : messageOf(error);
    return fail(1, `can't listen: ${problem}`);
  }
}

/**
 * The first SIGINT or SIGTERM stops; the second ends the process at once, with the status that a shell shows for one that
 * the signal killed. Windows can't listen for SIGTERM. To be called before there are connections: 500 ms after the start
 * Deno 2.9 listens for SIGUSR1, and if that is the first signal, it panics where no descriptor is left.
 */
function stopOnSignals(stop: AbortController) {
  const listen = (signal: Deno.Signal, status: number) =>
    Deno.addSignalListener(signal, () => stop.signal.aborted ? Deno.exit(status) : stop.abort());
  listen("SIGINT", 130);
  if (Deno.build.os === "windows") listen("SIGBREAK", 149);
  else listen("SIGTERM", 143);
}

function usage(): string {
  const rows = Object.entries(OPTIONS).map(([name, { short, value = "", help }]) => {
    const names = short ? `-${short}, --${name}` : `    --${name}`;
    return `  ${`${names} ${value}`.padEnd(37)}${help}`;
  });
  return ["Usage: greeter [OPTIONS]", "", "Greets whoever connects, and closes.", "", ...rows].join("\n");
}

/** Ends with status 2 over a command line that can't be meant. */
function reject(problem: string): never {
  return fail(2, `${problem}. Try 'greeter --help'.`);
}

function fail(status: number, problem: string): never {
  console.error(complaint(problem));
  Deno.exit(status);
}

function complaint(problem: string): string {
  return `${paint(red, Deno.stderr, "greeter:")} ${problem}`;
}

/** The colours of @std/fmt heed NO_COLOR, but not what they are written to. */
function paint(colour: (text: string) => string, stream: { isTerminal(): boolean }, text: string): string {
  return stream.isTerminal() ? colour(text) : text;
}

/** For one line on a terminal, whatever is in it. */
function quote(text: string): string {
  const short = text.length > 60 ? `${text.slice(0, 60)}...` : text;
  return JSON.stringify(short).replace(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
