/**
 * The server's events as lines of a log: {@linkcode textFormat} for people, {@linkcode jsonFormat} for programs.
 *
 * @module
 */
import { format as formatDuration } from "@std/fmt/duration";
import type { Connection, ConnInfo } from "../server.ts";
import { latin1, quoteBytes } from "./terminal.ts";

/** The totals of a server that has stopped. */
export interface Summary {
  /** How many clients received the whole greeting. */
  greetings: number;
  /** How many clients were closed without a greeting, because they are not allowed. */
  refused: number;
  /** How many bytes all clients have sent. */
  bytesReceived: number;
  /** How many log lines were dropped, because nobody read the log. */
  dropped: number;
  /** How long the server ran, in milliseconds. */
  duration: number;
}

/** Turns each event into a line without its line feed, or into `undefined` if there is nothing to log. */
export interface Format {
  /** The server listens on a port. */
  listening(addr: Deno.NetAddr): string;
  /** A connection was accepted. */
  connection(connection: Connection): string;
  /** A connection was closed. */
  closed(connection: Connection): string | undefined;
  /** A client that is not allowed was closed. */
  refused(info: ConnInfo): string;
  /** Lines of the log were dropped here, because nobody read it. */
  gap(lines: number): string;
  /** Accepting failed. */
  error(error: unknown): string | undefined;
  /** The server has stopped. */
  stopped(summary: Summary): string;
}

/** Lines for people. An error in accepting is not among them, because it goes to standard error. */
export const textFormat: Format = {
  listening: (addr) => `Listening on ${hostAndPort(addr)}`,
  connection: ({ remoteAddr }) => `Received connection from ${hostAndPort(remoteAddr)}`,
  closed({ remoteAddr, bytesReceived, received }) {
    if (bytesReceived === 0) return undefined;
    const more = bytesReceived > received.length ? "..." : "";
    return `${hostAndPort(remoteAddr)} sent ${plural(bytesReceived, "byte")}: ${quoteBytes(received)}${more}`;
  },
  refused: ({ remoteAddr }) => `Refused connection from ${hostAndPort(remoteAddr)}`,
  gap: (lines) => lines === 1 ? "1 log line was dropped" : `${lines} log lines were dropped`,
  error: () => undefined,
  stopped({ greetings, refused, bytesReceived, dropped, duration }) {
    // In whole seconds, or in whole milliseconds below one second.
    const rounded = duration < 1000 ? Math.ceil(duration) : Math.round(duration / 1000) * 1000;
    const parts = [plural(greetings, "greeting"), `${refused} refused`, `${plural(bytesReceived, "byte")} received`];
    const time = formatDuration(rounded, { ignoreZero: true });
    const lost = dropped > 0 ? `, ${plural(dropped, "log line")} dropped` : "";
    return `Stopped: ${parts.join(", ")} in ${time}${lost}`;
  },
};

/** Lines for programs: flat JSON objects with the names that Suricata's EVE log has for the same things. */
export const jsonFormat: Format = {
  listening: ({ hostname, port }) => row("listening", { dest_ip: hostname, dest_port: port }),
  connection: (connection) => row("connection", addresses(connection)),
  closed: (connection) =>
    row("closed", {
      ...addresses(connection),
      bytes_sent: connection.bytesSent,
      bytes_received: connection.bytesReceived,
      duration_ms: roundToMicroseconds(performance.now() - connection.accepted),
      outcome: connection.closeReason,
      ...(connection.bytesReceived > 0 && {
        payload: btoa(latin1(connection.received)),
        payload_printable: latin1(connection.received).replace(/[^ -~\r\n]/g, "."),
      }),
    }),
  refused: (info) => row("refused", addresses(info)),
  gap: (lines) => row("log_dropped", { lines }),
  error: (error) => row("error", { message: messageOf(error) }),
  stopped: ({ greetings, refused, bytesReceived, dropped, duration }) =>
    row("stopped", {
      greetings,
      refused,
      bytes_received: bytesReceived,
      dropped,
      duration_ms: roundToMicroseconds(duration),
    }),
};

function row(event: string, fields: Record<string, unknown>): string {
  return JSON.stringify({ timestamp: timestamp(), event, ...fields });
}

let latest = { time: 0, text: "" };

/** The time of day. Many events share a millisecond, and formatting it for each costs 3 µs per connection. */
function timestamp(): string {
  const time = Date.now();
  if (time !== latest.time) latest = { time, text: new Date(time).toISOString() };
  return latest.text;
}

function addresses({ remoteAddr, localAddr }: ConnInfo) {
  return {
    src_ip: remoteAddr.hostname,
    src_port: remoteAddr.port,
    dest_ip: localAddr.hostname,
    dest_port: localAddr.port,
  };
}

function roundToMicroseconds(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/** `192.0.2.7:51514` or `[2001:db8::7]:51514`. */
export function hostAndPort({ hostname, port }: Deno.NetAddr): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}

/** `1 greeting`, `2 greetings`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
