/**
 * What the server tells, as lines: {@linkcode text} for people, {@linkcode json} for programs; and {@linkcode openLog},
 * which writes lines without ever keeping the server waiting.
 *
 * @module
 */
import { format as formatDuration } from "@std/fmt/duration";
import type { Connection, Ends } from "./server.ts";

/** What there is to say when the server has stopped. */
export interface Totals {
  /** How many peers got the whole greeting. */
  greetings: number;
  /** How many were closed without one, because they aren't allowed. */
  refused: number;
  /** How many bytes all peers have sent. */
  bytesReceived: number;
  /** How many lines of the log were dropped, because nobody read it. */
  dropped: number;
  /** How long the server ran, in milliseconds. */
  duration: number;
}

/** A line for each event, without its line feed; `undefined` where there is nothing to say. */
export interface Format {
  /** The server listens on a port. */
  listening(addr: Deno.NetAddr): string;
  /** A connection was accepted. */
  connection(connection: Connection): string;
  /** A connection was closed. */
  closed(connection: Connection): string | undefined;
  /** A peer that isn't allowed was closed. */
  refused(ends: Ends): string;
  /** Accepting failed. */
  error(error: unknown): string | undefined;
  /** The server has stopped. */
  stopped(totals: Totals): string;
}

/** For people. An error is no line of it: it goes to standard error. */
export const text: Format = {
  listening: (addr) => `Listening on ${hostAndPort(addr)}`,
  connection: ({ remoteAddr }) => `Received connection from ${hostAndPort(remoteAddr)}`,
  closed({ remoteAddr, bytesReceived, received }) {
    if (bytesReceived === 0) return undefined;
    const more = bytesReceived > received.length ? "..." : "";
    return `${hostAndPort(remoteAddr)} sent ${plural(bytesReceived, "byte")}: ${printable(received)}${more}`;
  },
  refused: ({ remoteAddr }) => `Refused connection from ${hostAndPort(remoteAddr)}`,
  error: () => undefined,
  stopped({ greetings, refused, bytesReceived, dropped, duration }) {
    // Whole seconds, or whole milliseconds where it is less than one.
    const rounded = duration < 1000 ? Math.ceil(duration) : Math.round(duration / 1000) * 1000;
    return `Stopped: ${plural(greetings, "greeting")}, ${refused} refused, ${
      plural(bytesReceived, "byte")
    } received in ` +
      formatDuration(rounded, { ignoreZero: true }) + (dropped > 0 ? `, ${plural(dropped, "log line")} dropped` : "");
  },
};

/** For programs: flat JSON objects, with the names that Suricata's EVE log has for the same things. */
export const json: Format = {
  listening: ({ hostname, port }) => row("listening", { dest_ip: hostname, dest_port: port }),
  connection: (connection) => row("connection", addresses(connection)),
  closed: (connection) =>
    row("closed", {
      ...addresses(connection),
      bytes_sent: connection.bytesSent,
      bytes_received: connection.bytesReceived,
      duration_ms: milliseconds(performance.now() - connection.accepted),
      outcome: connection.outcome,
      ...(connection.bytesReceived > 0 && {
        payload: btoa(latin1(connection.received)),
        payload_printable: latin1(connection.received).replace(/[^ -~\r\n]/g, "."),
      }),
    }),
  refused: (ends) => row("refused", addresses(ends)),
  error: (error) => row("error", { message: messageOf(error) }),
  stopped: ({ greetings, refused, bytesReceived, dropped, duration }) =>
    row("stopped", {
      greetings,
      refused,
      bytes_received: bytesReceived,
      dropped,
      duration_ms: milliseconds(duration),
    }),
};

function row(event: string, fields: Record<string, unknown>): string {
  return JSON.stringify({ timestamp: timestamp(), event, ...fields });
}

let latest = { time: 0, text: "" };

/** Now. Many events fall into a millisecond, and to write it anew for each costs 3 µs a connection. */
function timestamp(): string {
  const time = Date.now();
  if (time !== latest.time) latest = { time, text: new Date(time).toISOString() };
  return latest.text;
}

function addresses({ remoteAddr, localAddr }: Ends) {
  return {
    src_ip: remoteAddr.hostname,
    src_port: remoteAddr.port,
    dest_ip: localAddr.hostname,
    dest_port: localAddr.port,
  };
}

function milliseconds(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/** `192.0.2.7:51514` or `[2001:db8::7]:51514`. */
export function hostAndPort({ hostname, port }: Deno.NetAddr): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}

/**
 * In quotes, with all but printable ASCII escaped: no client can write to the reader's terminal, or forge a line.
 *
 * @example
 * ```ts
 * import { printable } from "./log.ts";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(printable(new TextEncoder().encode("\u001b[2J\r\n")), String.raw`"\x1b[2J\r\n"`);
 * ```
 */
export function printable(bytes: Uint8Array): string {
  const escapes: Record<string, string> = { "\t": "\\t", "\n": "\\n", "\r": "\\r", '"': '\\"', "\\": "\\\\" };
  const escaped = latin1(bytes).replace(
    /[^ !#-[\]-~]/g,
    (char) => escapes[char] ?? `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return `"${escaped}"`;
}

/** A character a byte. Not TextDecoder's latin1, which is windows-1252. */
function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** `1 greeting`, `2 greetings`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** What an error says, whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What {@linkcode openLog} returns. */
export interface Log {
  /** Takes a line, or none, and returns at once. */
  print(line: string | undefined): void;
  /** How many lines were dropped so far. */
  readonly dropped: number;
  /** Takes a last line, if there is one, and resolves when all is written, or after `ms` milliseconds. */
  close(ms: number, last?: string): Promise<void>;
}

/** How many bytes of lines may wait to be written; past that the newest are dropped. */
const MAX_WAITING = 1024 * 1024;

/** For how many milliseconds lines are gathered: a write takes a thread's hop, which costs more than a greeting. */
const GATHERING = 10;

/**
 * A log that is written in the background, in order, and never blocks. `console.log` would wait until somebody reads the
 * pipe, and the server with it. If that pipe is closed, the log ends, and nothing else.
 *
 * @param stream Where to, `Deno.stdout` for one.
 * @param onEnd Told of an error that ends the log, other than a closed pipe.
 *
 * @example All lines are out when the log is closed
 * ```ts
 * import { openLog } from "./log.ts";
 *
 * const log = openLog(Deno.stdout);
 * log.print("one");
 * log.print("two");
 * await log.close(500, "three");
 * ```
 */
export function openLog(
  stream: { write(data: Uint8Array): Promise<number> },
  onEnd?: (error: unknown) => void,
): Log {
  // Lines are ASCII, so that their length is their size in bytes.
  let waiting = "";
  let unwritten = 0;
  let dropped = 0;
  let writing: Promise<void> | undefined;
  let closing = false;
  let ended = false;
  let stopGathering = () => {};

  function print(line: string | undefined) {
    if (line === undefined || ended) return;
    if (waiting.length + unwritten + line.length + 1 > MAX_WAITING) {
      dropped++;
      return;
    }
    waiting += line + "\n";
    writing ??= writeAll();
  }

  async function writeAll() {
    try {
      while (waiting !== "") {
        if (!closing) await gather();
        const data = new TextEncoder().encode(waiting);
        waiting = "";
        unwritten = data.length;
        while (unwritten > 0) unwritten -= await stream.write(data.subarray(data.length - unwritten));
      }
    } catch (error) {
      ended = true;
      waiting = "";
      if (!(error instanceof Deno.errors.BrokenPipe)) onEnd?.(error);
    }
    writing = undefined;
  }

  async function gather() {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, GATHERING);
    stopGathering = resolve;
    await promise;
    clearTimeout(timer);
  }

  async function close(ms: number, last?: string) {
    if (ended) return;
    if (last !== undefined) waiting += last + "\n";
    closing = true;
    stopGathering();
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    await Promise.race([writing ?? writeAll(), late]);
    clearTimeout(timer);
  }

  return {
    print,
    close,
    get dropped() {
      return dropped;
    },
  };
}
