/**
 * One probe: connects to a port, reads the greeting, and classifies what happened.
 *
 * @module
 */
import { enlarge, includes } from "./bytes.ts";
import type { Expectation, ProbeResult, ProbeState } from "./results.ts";
import { stateOf, systemMessageOf } from "./connect_errors.ts";
import type { LoopClock } from "./clock.ts";
import { linger } from "./linger.ts";
import { isAnnouncementCut } from "../shared/announcement.ts";
import { MAX_GREETING_BYTES } from "../shared/limits.ts";

/** What to probe, and how. */
export interface ProbeTarget {
  /** The address to connect to. */
  hostname: string;
  /** The port to connect to. */
  port: number;
  /**
   * What the port should do. The greeting is read only if the port must be greeted. Otherwise, it is enough to know
   * whether the server keeps the connection open.
   */
  expectation: Expectation;
  /** What the greeting must contain, or `undefined` to accept any greeting. */
  expect?: Uint8Array;
  /** What to send after connecting, if anything. */
  send?: Uint8Array;
  /** Whether to read on when the expected text has been found, because an announcement may follow. */
  readsToEnd?: boolean;
}

/** What a single probe found out about a port at one address. */
export interface ProbeOutcome
  extends Pick<ProbeResult, "state" | "remoteAddr" | "localAddr" | "greeting" | "duration" | "error"> {
  /** What `Deno.connect` threw, if the state is `unreachable`. */
  readonly cause?: unknown;
  /** When the probe began, on the clock of `performance.now()`. */
  readonly started: number;
  /** How long connecting took, successful or not, in milliseconds. */
  readonly connectMs: number;
}

/** Connects as `Deno.connect` does. */
export type Connect = (options: Deno.ConnectOptions) => Promise<Deno.TcpConn>;

/** A target, and what all probes of a run share. */
export interface ProbeOptions extends ProbeTarget {
  /**
   * How long the probe may take, in milliseconds: from connecting to the end of the greeting if the port must be greeted,
   * otherwise only to connect.
   */
  timeout: number;
  /** The clock for the timeout and the pauses of the probe. */
  clock: LoopClock;
  /** `Deno.connect`, unless a test replaces it. */
  connect: Connect;
}

/**
 * How long the event loop may process pending I/O before an expired timeout takes effect, in milliseconds. If this
 * process was busy, the answer may have arrived in time without having been read.
 */
const PENDING_IO_GRACE_MS = 50;

/**
 * A greeting with at least one line is complete when nothing has arrived for this time, in milliseconds: SSH, SMTP and
 * FTP servers do not close the connection. A port is open if the server has not closed the connection for this time: a
 * proxy accepts connections before it knows whether its backend is up. The time that connecting took is added, because
 * an answer takes as long.
 */
const QUIET_MS = 100;

/** The initial size of a read buffer, in bytes. Most greetings are shorter. */
const INITIAL_BUFFER_BYTES = 512;

/** Read buffers of the initial size to reuse, which saves an allocation for each probe. */
const bufferPool: Uint8Array<ArrayBuffer>[] = [];

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
  async run(): Promise<ProbeOutcome | undefined> {
    const { hostname, port, expectation, timeout, clock } = this.#options;
    const started = performance.now();
    const remoteAddr: Deno.NetAddr = { transport: "tcp", hostname, port };
    const cancel = clock.schedule(timeout + PENDING_IO_GRACE_MS, () => this.#expire());
    try {
      const conn = await this.#connect();
      const { localAddr } = conn;
      const connectMs = performance.now() - started;
      const quietMs = QUIET_MS + connectMs;
      if (expectation !== "greeted") cancel(); // observing the connection has its own limit
      const { state, greeting } = expectation === "greeted"
        ? await this.#readGreeting(conn, quietMs)
        : await this.#observe(conn, quietMs);
      if (this.#isAborted) return undefined;
      const duration = performance.now() - started;
      if (this.#conn) await linger(conn, clock, () => this.#close());
      return { state, remoteAddr, localAddr, greeting, duration, error: undefined, started, connectMs };
    } catch (thrown) {
      if (this.#isAborted) return undefined;
      const state = this.#controller.signal.aborted ? "timeout" : stateOf(thrown, hostname);
      const cause = state === "unreachable" ? thrown : undefined;
      const error = cause === undefined ? undefined : systemMessageOf(cause);
      const duration = performance.now() - started;
      const result = { state, remoteAddr, localAddr: undefined, greeting: new Uint8Array(), duration, error };
      return { ...result, cause, started, connectMs: duration };
    } finally {
      cancel();
      this.#close();
    }
  }

  /**
   * Linux can connect a socket to itself if nothing listens on a port of this machine that is an ephemeral port.
   * A closed port would look open then. Another socket has another local port, so try again.
   */
  async #connect(): Promise<Deno.TcpConn> {
    const { hostname, port, connect } = this.#options;
    const { signal } = this.#controller;
    // Deno.connect calls `signal.throwIfAborted()` after it has connected. If that throws, the new descriptor is lost. So
    // replace it, and close the connection below instead.
    signal.throwIfAborted = () => {};
    for (;;) {
      const conn = this.#conn = await connect({ hostname, port, signal });
      const { localAddr, remoteAddr } = conn;
      const isSelf = localAddr.port === port && localAddr.hostname === remoteAddr.hostname;
      if (isSelf || signal.aborted) this.#close();
      if (!isSelf || signal.aborted) return conn;
    }
  }

  /**
   * Sends a text. Not awaited: a server may greet before it reads, or without reading, and the timeout
   * ends both.
   */
  async #send(conn: Deno.TcpConn, text: Uint8Array) {
    try {
      for (let sent = 0; sent < text.length;) sent += await conn.write(text.subarray(sent));
    } catch {
      // The server has reset the connection. What it had sent before still counts, so reading decides.
    }
  }

  /** Reads until the greeting is complete or the connection is closed. */
  async #readGreeting(conn: Deno.TcpConn, quietMs: number): Promise<{ state: ProbeState; greeting: Uint8Array }> {
    const { expect, send, readsToEnd = false, clock } = this.#options;
    if (send) this.#send(conn, send);
    const first = bufferPool.pop() ?? new Uint8Array(INITIAL_BUFFER_BYTES);
    let buffer = first;
    let length = 0;
    let isFound = false;
    let stateWithoutData: ProbeState = "silent";
    let cancelQuiet = () => {};
    try {
      while (this.#conn && length < MAX_GREETING_BYTES && (readsToEnd || !isFound)) {
        if (length === buffer.length) buffer = enlarge(buffer);
        const count = await conn.read(buffer.subarray(length));
        cancelQuiet();
        if (count === null) {
          stateWithoutData = "closed";
          this.#close();
          break;
        }
        // The expected bytes may begin in what was read earlier.
        const from = Math.max(0, length + 1 - (expect?.length ?? 0));
        length += count;
        isFound ||= expect !== undefined && includes(buffer.subarray(from, length), expect);
        const received = buffer.subarray(0, length);
        // Silence says nothing about expected bytes: they may arrive in a later line.
        const mayBeComplete = expect === undefined ? received.includes(LINE_FEED) : isFound;
        if (mayBeComplete && !(readsToEnd && isAnnouncementCut(received))) {
          cancelQuiet = clock.schedule(quietMs, () => this.#close());
        }
      }
    } catch {
      // Either this program has closed the connection, which makes the pending read fail, or the server has reset it.
      if (this.#conn) stateWithoutData = "reset";
      this.#close();
    }
    cancelQuiet();
    const greeting = buffer.slice(0, length); // the buffer may be much longer
    bufferPool.push(first);
    if (length === 0) return { state: stateWithoutData, greeting };
    return { state: expect === undefined || isFound ? "greeted" : "mismatch", greeting };
  }

  /** Waits until the server sends data, or closes or resets the connection, or until it has done neither for `quietMs`. */
  async #observe(conn: Deno.TcpConn, quietMs: number): Promise<{ state: ProbeState; greeting: Uint8Array }> {
    const { expectation, clock } = this.#options;
    const buffer = new Uint8Array(INITIAL_BUFFER_BYTES);
    // The timeout may have expired when the connection was made. Then the connection cannot be observed any longer.
    let state: ProbeState = this.#conn || expectation === "blocked" ? "open" : "timeout";
    let length = 0;
    const cancel = clock.schedule(quietMs, () => this.#close());
    try {
      const count = await conn.read(buffer);
      length = count ?? 0;
      if (count === null) state = "closed";
      else if (expectation === "blocked") state = "greeted";
    } catch {
      // Either the time is over, and this program has closed the connection, or the server has reset it.
      if (this.#conn) state = "reset";
    }
    cancel();
    if (length === 0) this.#close();
    return { state, greeting: buffer.slice(0, length) };
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
