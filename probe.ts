/**
 * One probe: connects to a port, reads the greeting, and classifies what happened. Used only by client.ts.
 *
 * @module
 */
import type { ProbeResult, ProbeState } from "./connect_options.ts";
import { codeOf } from "./error_code.ts";
import type { LoopClock } from "./loop_clock.ts";
import { MAX_GREETING_BYTES } from "./serve_options.ts";

/** Options of {@linkcode probe}. */
export interface ProbeOptions {
  /** The address to connect to. */
  hostname: string;
  /** The port to connect to. */
  port: number;
  /** What the greeting must contain, or `undefined` to accept any greeting. */
  expected: Uint8Array | undefined;
  /** How long the probe may take, in milliseconds, from connecting to the end of the greeting. */
  timeout: number;
  /** The clock for the timeout and the pauses of the probe. */
  clock: LoopClock;
  /** Aborting it ends the probe. At the timeout, the probe itself aborts it. */
  controller: AbortController;
}

/**
 * How long the event loop may process pending I/O before an expired timeout takes effect, in milliseconds. If this
 * process was busy, the answer may have arrived in time without having been read. Without this, 118 of 14,000 open
 * ports were once reported as timed out.
 */
const PENDING_IO_GRACE_MS = 50;

/**
 * A greeting with at least one line is complete when nothing has arrived for this time, in milliseconds: SSH, SMTP and
 * FTP servers do not close the connection.
 */
const QUIET_MS = 100;

/** How long the server may take to close the connection after its greeting is complete, in milliseconds. */
const LINGER_MS = 100;

/** The initial size of the read buffer, in bytes. Most greetings are shorter. */
const INITIAL_BUFFER_BYTES = 512;

/** Data that is not kept is read into this buffer, which all probes share. */
const discardBuffer = new Uint8Array(64 * 1024);

const LINE_FEED = 10;

/**
 * Probes a port. The timeout covers connecting and reading.
 *
 * @throws The error of `Deno.connect`, if it says nothing about the port. See {@linkcode isOutOfResources}.
 */
export async function probe(options: ProbeOptions): Promise<ProbeResult> {
  const { hostname, port, timeout, clock, controller } = options;
  const started = performance.now();
  const remoteAddr: Deno.NetAddr = { transport: "tcp", hostname, port };
  const cancel = clock.schedule(timeout + PENDING_IO_GRACE_MS, () => controller.abort());
  try {
    const conn = await open(hostname, port, controller.signal);
    const { localAddr } = conn;
    const { state, greeting, decided } = await readGreeting(conn, options);
    return { state, remoteAddr, localAddr, greeting, duration: decided - started, error: undefined };
  } catch (thrown) {
    const state = controller.signal.aborted ? "timeout" : stateOf(thrown, hostname);
    const error = state === "unreachable" ? systemMessageOf(thrown) : undefined;
    const duration = performance.now() - started;
    return { state, remoteAddr, localAddr: undefined, greeting: new Uint8Array(), duration, error };
  } finally {
    cancel();
  }
}

/**
 * Connects to a port. Linux can connect a socket to itself if nothing listens on a port of this machine that is in the
 * local port range: of 28,232 closed ports, one or two looked open. Another socket has another local port, so try again.
 */
async function open(hostname: string, port: number, signal: AbortSignal): Promise<Deno.TcpConn> {
  // If the signal is aborted when the connection is made, but has not been delivered yet, Deno.connect calls this method
  // and, if it throws, loses the descriptor. It must not throw: the caller closes the connection.
  signal.throwIfAborted = () => {};
  for (;;) {
    const conn = await Deno.connect({ hostname, port, signal });
    const { localAddr, remoteAddr } = conn;
    if (localAddr.port !== port || localAddr.hostname !== remoteAddr.hostname || signal.aborted) return conn;
    conn.close();
  }
}

/** Reads until the greeting is complete or the signal is aborted, and closes the connection. */
async function readGreeting(conn: Deno.TcpConn, { expected, clock, controller: { signal } }: ProbeOptions) {
  let buffer = new Uint8Array(INITIAL_BUFFER_BYTES);
  let length = 0;
  let isFound = false;
  let isOpen = true;
  let stateWithoutData: ProbeState = "silent";
  const close = () => {
    if (isOpen) conn.close();
    isOpen = false;
  };
  signal.addEventListener("abort", close);
  if (signal.aborted) close();
  let cancelQuiet = () => {};
  let ended = false;
  try {
    while (length < MAX_GREETING_BYTES && !isFound) {
      if (length === buffer.length) buffer = enlarge(buffer);
      const count = await conn.read(buffer.subarray(length));
      cancelQuiet();
      ended = count === null;
      if (count === null) break;
      // The expected bytes may begin in what was read earlier.
      const from = Math.max(0, length + 1 - (expected?.length ?? 0));
      length += count;
      isFound = expected !== undefined && includes(buffer.subarray(from, length), expected);
      if (buffer.subarray(0, length).includes(LINE_FEED)) cancelQuiet = clock.schedule(QUIET_MS, close);
    }
    if (ended) stateWithoutData = "closed";
  } catch {
    // Either `close` has been called, which makes the pending read fail, or the server has reset the connection.
    if (isOpen) stateWithoutData = "reset";
    ended = true;
  }
  cancelQuiet();
  const decided = performance.now();
  if (!ended) await linger(conn, clock, close);
  close();
  signal.removeEventListener("abort", close);
  const stateWithData: ProbeState = expected === undefined || isFound ? "greeted" : "mismatch";
  return { state: length > 0 ? stateWithData : stateWithoutData, greeting: buffer.slice(0, length), decided };
}

/**
 * Half-closes, and discards what the server sends until it closes the connection too. Closing a socket with unread
 * input would reset the connection, which the server would report.
 */
async function linger(conn: Deno.TcpConn, clock: LoopClock, close: () => void) {
  const cancel = clock.schedule(LINGER_MS, close);
  try {
    await conn.closeWrite();
    while (await conn.read(discardBuffer) !== null);
  } catch {
    // The server has reset the connection, or has not closed it in time. The greeting is complete in both cases.
  }
  cancel();
}

function enlarge(buffer: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.min(4 * buffer.length, MAX_GREETING_BYTES));
  larger.set(buffer);
  return larger;
}

// The label latin1 stands for windows-1252, which also maps each byte to one character. A comparison needs no more.
const decoder = new TextDecoder("latin1");

function includes(bytes: Uint8Array, part: Uint8Array): boolean {
  return decoder.decode(bytes).includes(decoder.decode(part));
}

/** Returns the state of a port from the error of `Deno.connect`. Rethrows an error that says nothing about the port. */
function stateOf(error: unknown, hostname: string): ProbeState {
  // Other errors are a missing permission, or a zone that the system does not know.
  const isFromSystem = error instanceof Error && error.message.includes("os error");
  // A link-local address needs a zone. For other addresses, a blackhole route causes EINVAL.
  const isZoneMissing = codeOf(error) === "EINVAL" && /^fe[89ab]/i.test(hostname);
  if (!isFromSystem || isOutOfResources(error) || isZoneMissing) throw error;
  // The class is not enough: EHOSTUNREACH is a plain `Error`.
  switch (codeOf(error)) {
    case "ECONNREFUSED":
      return "refused";
    case "ETIMEDOUT":
      return "timeout";
    // The server reset the connection before it could be used.
    case "ECONNRESET":
    case "ECONNABORTED":
    case "ENOTCONN":
      return "reset";
    // EHOSTUNREACH, ENETUNREACH, EACCES, EPERM and others. For ENOPROTOOPT, Deno sets no code.
    default:
      return "unreachable";
  }
}

/** Whether no descriptor, local port or memory is left for another connection, which says nothing about the port. */
export function isOutOfResources(error: unknown): boolean {
  return ["EMFILE", "ENFILE", "EADDRNOTAVAIL", "ENOBUFS"].includes(codeOf(error) ?? "");
}

/**
 * Whether the zone of an address could not be looked up. The system looks it up for each connection, which requires a
 * descriptor, and the error does not say whether there was none or whether there is no such interface.
 */
export function isZoneFailure(error: unknown, hostname: string): boolean {
  return hostname.includes("%") && codeOf(error) === undefined && !(error instanceof Deno.errors.NotCapable);
}

/** The system's message for an error, without the number. */
function systemMessageOf(error: unknown): string {
  return error instanceof Error ? error.message.replace(/ \(os error \d+\)$/, "") : String(error);
}
