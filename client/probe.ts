/**
 * One probe: connects to a port, reads the greeting, and classifies what happened. Used only by client.ts.
 *
 * @module
 */
import type { ProbeResult, ProbeState } from "./options.ts";
import { codeOf } from "../shared/errors.ts";
import { isLinkLocal } from "./resolve.ts";
import type { LoopClock } from "./clock.ts";
import { MAX_GREETING_BYTES } from "../shared/limits.ts";

/** What a probe probes, and how. */
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

/**
 * When the greeting is complete before the server has closed the connection: how long to wait until half-closing, and how
 * long to wait altogether, in milliseconds. Most servers close at once, and half-closing costs 15 µs.
 */
const HALF_CLOSE_MS = 10;
const LINGER_MS = 100;

/**
 * How many bytes may arrive after the greeting is complete, before the connection is closed anyway. Without this limit, a
 * server could get rid of 460 MB in 0.1 s.
 */
const MAX_LINGER_BYTES = 64 * 1024;

/** The initial size of a read buffer, in bytes. Most greetings are shorter. */
const INITIAL_BUFFER_BYTES = 512;

/** Data that is not kept is read into this buffer, which all probes share. */
const discardBuffer = new Uint8Array(MAX_LINGER_BYTES);

const LINE_FEED = 10;

/** The life of one probe, from connecting to the close. */
export class Probe {
  readonly #options: ProbeOptions;
  readonly #controller = new AbortController();
  /** The connection, as long as it is open. */
  #conn: Deno.TcpConn | undefined;
  #isAborted = false;

  /** Use {@linkcode run} to start the probe. */
  constructor(options: ProbeOptions) {
    this.#options = options;
  }

  /** Ends the probe. `run()` then returns a result only if the greeting was already complete. */
  abort() {
    this.#isAborted = true;
    this.#expire();
  }

  /**
   * Connects, reads the greeting, and closes the connection. The timeout covers connecting and reading. Returns
   * `undefined` if the probe was aborted before the state of the port was known.
   *
   * @throws The error of `Deno.connect`, if it says nothing about the port. See {@linkcode isOutOfResources}.
   */
  async run(): Promise<ProbeResult | undefined> {
    const { hostname, port, timeout, clock } = this.#options;
    const started = performance.now();
    const remoteAddr: Deno.NetAddr = { transport: "tcp", hostname, port };
    const cancel = clock.schedule(timeout + PENDING_IO_GRACE_MS, () => this.#expire());
    try {
      const conn = await this.#connect();
      const { localAddr } = conn;
      const { state, greeting } = await this.#readGreeting(conn);
      if (this.#isAborted) return undefined;
      const duration = performance.now() - started;
      if (this.#conn) await this.#linger(conn);
      return { state, remoteAddr, localAddr, greeting, duration, error: undefined };
    } catch (thrown) {
      if (this.#isAborted) return undefined;
      const state = this.#controller.signal.aborted ? "timeout" : stateOf(thrown, hostname);
      const error = state === "unreachable" ? systemMessageOf(thrown) : undefined;
      const duration = performance.now() - started;
      return { state, remoteAddr, localAddr: undefined, greeting: new Uint8Array(), duration, error };
    } finally {
      cancel();
      this.#close();
    }
  }

  /**
   * Linux can connect a socket to itself if nothing listens on a port of this machine that is an ephemeral port: of
   * 28,232 closed ports, one or two looked open. Another socket has another local port, so try again.
   */
  async #connect(): Promise<Deno.TcpConn> {
    const { hostname, port } = this.#options;
    const { signal } = this.#controller;
    // Deno.connect calls `signal.throwIfAborted()` after it has connected. If that throws, the new descriptor is lost. So
    // replace it, and close the connection below instead.
    signal.throwIfAborted = () => {};
    for (;;) {
      const conn = this.#conn = await Deno.connect({ hostname, port, signal });
      const { localAddr, remoteAddr } = conn;
      const isSelf = localAddr.port === port && localAddr.hostname === remoteAddr.hostname;
      if (isSelf || signal.aborted) this.#close();
      if (!isSelf || signal.aborted) return conn;
    }
  }

  /** Reads until the greeting is complete or the connection is closed. */
  async #readGreeting(conn: Deno.TcpConn): Promise<{ state: ProbeState; greeting: Uint8Array }> {
    const { expected, clock } = this.#options;
    let buffer = new Uint8Array(INITIAL_BUFFER_BYTES);
    let length = 0;
    let isFound = false;
    let stateWithoutData: ProbeState = "silent";
    let cancelQuiet = () => {};
    try {
      while (this.#conn && length < MAX_GREETING_BYTES && !isFound) {
        if (length === buffer.length) buffer = enlarge(buffer);
        const count = await conn.read(buffer.subarray(length));
        cancelQuiet();
        if (count === null) {
          stateWithoutData = "closed";
          this.#close();
          break;
        }
        // The expected bytes may begin in what was read earlier.
        const from = Math.max(0, length + 1 - (expected?.length ?? 0));
        length += count;
        isFound = expected !== undefined && includes(buffer.subarray(from, length), expected);
        const hasLine = buffer.subarray(0, length).includes(LINE_FEED);
        if (hasLine && !isFound) cancelQuiet = clock.schedule(QUIET_MS, () => this.#close());
      }
    } catch {
      // Either this program has closed the connection, which makes the pending read fail, or the server has reset it.
      if (this.#conn) stateWithoutData = "reset";
      this.#close();
    }
    cancelQuiet();
    const greeting = buffer.slice(0, length); // the buffer may be much longer
    if (length === 0) return { state: stateWithoutData, greeting };
    return { state: expected === undefined || isFound ? "greeted" : "mismatch", greeting };
  }

  /**
   * Discards what the server sends until it closes the connection, and half-closes if it does not do so by itself. Closing
   * a socket with unread input would reset the connection, which the server would report. Gives up after
   * {@linkcode LINGER_MS} or {@linkcode MAX_LINGER_BYTES}.
   */
  async #linger(conn: Deno.TcpConn) {
    const { clock } = this.#options;
    const cancelHalfClose = clock.schedule(HALF_CLOSE_MS, () => {
      conn.closeWrite().catch(() => {}); // the connection has been reset or closed, which also ends the read below
    });
    const cancelLinger = clock.schedule(LINGER_MS, () => this.#close());
    try {
      for (let left = MAX_LINGER_BYTES; left > 0;) {
        const count = await conn.read(discardBuffer.subarray(0, left));
        if (count === null) break;
        left -= count;
      }
    } catch {
      // The server has reset the connection, or has not closed it in time. The greeting is complete in both cases.
    }
    cancelHalfClose();
    cancelLinger();
  }

  /** Ends connecting or reading. */
  #expire() {
    this.#controller.abort();
    this.#close();
  }

  #close() {
    this.#conn?.close();
    this.#conn = undefined;
  }
}

function enlarge(buffer: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.min(4 * buffer.length, MAX_GREETING_BYTES));
  larger.set(buffer);
  return larger;
}

function includes(bytes: Uint8Array, part: Uint8Array): boolean {
  const [first = 0] = part;
  for (let i = bytes.indexOf(first); i >= 0; i = bytes.indexOf(first, i + 1)) {
    if (part.every((byte, j) => bytes[i + j] === byte)) return true;
  }
  return false;
}

/** Returns the state of a port from the error of `Deno.connect`. Rethrows an error that says nothing about the port. */
export function stateOf(error: unknown, hostname: string): ProbeState {
  // Other errors are a missing permission, or a zone that the system does not know.
  const isFromSystem = error instanceof Error && error.message.includes("os error");
  // For other addresses, a blackhole route causes EINVAL.
  const isZoneMissing = codeOf(error) === "EINVAL" && isLinkLocal(hostname) && !hostname.includes("%");
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
