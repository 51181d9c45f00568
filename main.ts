/**
 * The command: reads its arguments, serves, and says what happens.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { green, red } from "@std/fmt/colors";
import { format as formatDuration } from "@std/fmt/duration";
import config from "./deno.json" with { type: "json" };
import { DEFAULTS, MAX_GREETING_BYTES, serve, type ServeOptions, type Server } from "./server.ts";

/** The options, in the order in which `--help` lists them. One without a `value` takes none. */
const OPTIONS: Record<string, { short?: string; value?: string; help: string }> = {
  port: { short: "p", value: "<PORT>", help: `port to listen on; 0: any free port (default: ${DEFAULTS.port})` },
  host: { short: "H", value: "<HOST>", help: `name or address to listen on (default: ${DEFAULTS.hostname})` },
  greeting: { short: "g", value: "<TEXT>", help: "what to send, CR LF is added (default: the tutorial's)" },
  stdin: { help: "send standard input, read to its end, byte for byte" },
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
if (import.meta.main) {
  await main();
  Deno.exit();
}

async function main() {
  const given = parse(Deno.args);
  if (given.help.includes("")) return console.log(usage());
  if (given.version.includes("")) return console.log(`greeter ${config.version}`);
  const options = validate(given);
  if (given.stdin.length > 0) options.greeting = await readGreeting();

  const started = performance.now();
  let greetings = 0;
  const server = listen({
    ...options,
    signal: firstSignal(),
    onListen: (addr) => console.log(paint(green, Deno.stdout, `Listening on ${show(addr)}`)),
    onConnection: ({ remoteAddr }) => console.log(`Received connection from ${show(remoteAddr)}`),
    onClose: ({ greeted }) => greetings += Number(greeted),
    onAcceptError: (error) => complain(`can't accept connections, keeps trying: ${messageOf(error)}`),
  });
  await server.finished;

  const count = `${greetings} ${greetings === 1 ? "greeting" : "greetings"}`;
  const elapsed = showDuration(performance.now() - started);
  console.log(paint(green, Deno.stdout, `Stopped: ${count} in ${elapsed}`));
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
      if (key !== undefined) unknown.push(arg);
    },
  });
  if (given.help.includes("") || given.version.includes("")) return given;

  if (unknown.length > 0) reject(`${quote(unknown[0])}: there is no such option`);
  for (const name of names) {
    const { value } = OPTIONS[name];
    const [first, second] = given[name];
    if (second !== undefined) reject(`--${name} ${quote(second)}: --${name} may be given once only`);
    if (first === "" && value) reject(`--${name} "": a value is expected, as in --${name}=${value}`);
    if (first && !value) reject(`--${name} ${quote(first)}: no value is expected`);
  }
  // Last, for parseArgs() makes an empty value a stray.
  if (strays.length > 0) reject(`${quote(strays[0])}: only options are expected`);
  return given;
}

/** What was given, as `serve` takes it: an option that wasn't given is undefined. */
function validate(given: Record<string, string[]>): ServeOptions {
  const [hostname] = given.host;
  const [text] = given.greeting;
  if (text !== undefined && given.stdin.length > 0) reject(`--greeting ${quote(text)}: not together with --stdin`);
  const greeting = text === undefined ? undefined : new TextEncoder().encode(`${text}\r\n`);
  if (greeting && greeting.length > MAX_GREETING_BYTES) {
    reject(`--greeting ${quote(text)}: ${greeting.length} bytes with CR LF, at most ${MAX_GREETING_BYTES} are sent`);
  }
  const timeout = number(given, "timeout", /^\d+(\.\d+)?$/, "seconds", 0.001, 86_400);
  return {
    hostname,
    port: number(given, "port", /^\d+$/, "a whole number", 0, 65_535),
    greeting,
    backlog: number(given, "backlog", /^\d+$/, "a whole number", 1, 65_535),
    maxConnections: number(given, "max-connections", /^\d+$/, "a whole number", 1, 1_000_000),
    timeout: timeout && timeout * 1000,
  };
}

/** Number() takes 0x50, 1e3 and " 80" as well, hence the form. */
function number(
  given: Record<string, string[]>,
  name: string,
  form: RegExp,
  what: string,
  least: number,
  most: number,
): number | undefined {
  const [text] = given[name];
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!form.test(text) || value < least || value > most) {
    reject(`--${name} ${quote(text)}: ${what} from ${least} to ${most} is expected`);
  }
  return value;
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
  const { hostname = DEFAULTS.hostname, port = DEFAULTS.port } = options;
  try {
    return serve(options);
  } catch (error) {
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
 * Aborted by the first SIGINT or SIGTERM; the second ends the process at once, with the status that a shell shows for a
 * process that the signal killed. Windows can't listen for SIGTERM. To be called before there are connections: 500 ms
 * after the start Deno 2.9 listens for SIGUSR1, and if that is the first signal it panics where no descriptor is left.
 */
function firstSignal(): AbortSignal {
  const stop = new AbortController();
  const listen = (signal: Deno.Signal, status: number) =>
    Deno.addSignalListener(signal, () => stop.signal.aborted ? Deno.exit(status) : stop.abort());
  listen("SIGINT", 130);
  if (Deno.build.os === "windows") listen("SIGBREAK", 149);
  else listen("SIGTERM", 143);
  return stop.signal;
}

/** `192.0.2.7:51514` or `[2001:db8::7]:51514`; an IPv4 peer of an IPv6 socket is shown as IPv4. */
function show({ hostname, port }: { hostname: string; port: number }): string {
  const host = hostname.replace(/^::ffff:(?=\d+\.)/, "");
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whole seconds, or whole milliseconds where it is less than one. */
function showDuration(ms: number): string {
  const rounded = ms < 1000 ? Math.ceil(ms) : Math.round(ms / 1000) * 1000;
  return formatDuration(rounded, { ignoreZero: true });
}

function usage(): string {
  const rows = Object.entries(OPTIONS).map(([name, { short, value = "", help }]) => {
    const names = short ? `-${short}, --${name}` : `    --${name}`;
    return `  ${`${names} ${value}`.padEnd(30)}${help}`;
  });
  return ["Usage: greeter [OPTIONS]", "", "Greets whoever connects, and closes.", "", ...rows].join("\n");
}

/** Ends with status 2 over a command line that can't be meant. */
function reject(problem: string): never {
  return fail(2, `${problem}. Try 'greeter --help'.`);
}

function fail(status: number, problem: string): never {
  complain(problem);
  Deno.exit(status);
}

function complain(problem: string) {
  console.error(`${paint(red, Deno.stderr, "greeter:")} ${problem}`);
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

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
