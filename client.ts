/**
 * A TCP client that checks which ports of a host can be reached, and whether the expected server answers.
 *
 * Read {@linkcode connect} first: it probes all ports, and then again those that were not greeted, as long as `within`
 * allows. Then read client/pool.ts, which keeps many probes running at once, and client/probe.ts, which has a single probe. The
 * client sends no data.
 *
 * @example Check two ports
 * ```ts
 * import { connect } from "./client.ts";
 * import { type ConnInfo, serve } from "./server.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const greeting = ({ localAddr }: ConnInfo) => `port ${localAddr.port}`;
 * await using server = serve({ hostname: "127.0.0.1", port: [0, 0], greeting });
 * const port = server.addrs.map(({ port }) => port);
 * const results = await Array.fromAsync(connect({ hostname: "127.0.0.1", port, expect: (port) => `port ${port}` }));
 * assertEquals(results.map(({ state }) => state), ["greeted", "greeted"]);
 * ```
 *
 * @module
 */
import {
  checkConnectRanges,
  CONNECT_DEFAULTS,
  ConnectError,
  type ConnectOptions,
  PROBE_STATES,
  type ProbeResult,
  type ProbeState,
} from "./client/options.ts";
import { ProbePool } from "./client/pool.ts";
import { resolve } from "./client/resolve.ts";

export { CONNECT_DEFAULTS, ConnectError, PROBE_STATES };
export type { ConnectOptions, ProbeResult, ProbeState };

/**
 * The shortest and the longest pause between two rounds of probes, in milliseconds. Each pause doubles the last one.
 */
const ROUND_PAUSE_MIN_MS = 100;
const ROUND_PAUSE_MAX_MS = 1000;

/**
 * Connects to ports in parallel, reads each greeting, and yields the result for each port as soon as it is known.
 *
 * A greeting is complete when the server closes the connection, when the greeting contains the expected text, when it
 * has 16 KiB, or when its first line is followed by 100 ms of silence: SSH, SMTP and FTP servers do not close the
 * connection.
 *
 * All connections are closed when the iteration ends, including by `break`, an exception or the signal.
 *
 * @example Wait until a server is up
 * ```ts
 * import { connect } from "./client.ts";
 * import { serve } from "./server.ts";
 * import { assertEquals } from "@std/assert";
 *
 * await using server = serve({ hostname: "127.0.0.1", port: 0 });
 * const { port } = server.addr;
 * for await (const { state } of connect({ hostname: "127.0.0.1", port, within: 10_000 })) {
 *   assertEquals(state, "greeted");
 * }
 * ```
 *
 * @throws {RangeError} If an option is out of its range.
 * @throws {ConnectError} On iteration, if no port can be probed: the host has no address, there is no network
 * permission, or for as long as `timeout`, there was no descriptor or no local port for even a single probe.
 */
export function connect(options: ConnectOptions): AsyncGenerator<ProbeResult, void, void> {
  checkConnectRanges(options);
  return probeRounds(options);
}

async function* probeRounds(options: ConnectOptions): AsyncGenerator<ProbeResult, void, void> {
  const { within = 0, signal, onResult } = options;
  const hostname = await resolve(options.hostname, options.ipv6, signal);
  if (hostname === undefined) return;
  const latestStart = performance.now() + within;
  let ports = [...new Set([options.port ?? CONNECT_DEFAULTS.port].flat())];
  /** The latest result of each port that will be probed again. */
  const pending = new Map<number, ProbeResult>();
  for (let pause = ROUND_PAUSE_MIN_MS;; pause = Math.min(2 * pause, ROUND_PAUSE_MAX_MS)) {
    for await (const result of probeAll(hostname, ports, options)) {
      onResult?.(result);
      const { state, remoteAddr: { port } } = result;
      if (state === "greeted") pending.delete(port);
      else if (within > 0) pending.set(port, result);
      if (state === "greeted" || within === 0) yield result;
    }
    ports = [...pending.keys()];
    if (ports.length === 0 || signal?.aborted || performance.now() + pause > latestStart) break;
    await sleep(pause, signal);
  }
  yield* pending.values();
}

/** Probes each port once. Yields the results in the order in which they become known. */
async function* probeAll(
  hostname: string,
  ports: readonly number[],
  options: ConnectOptions,
): AsyncGenerator<ProbeResult, void, void> {
  const { signal } = options;
  const pool = new ProbePool(hostname, ports, options);
  const end = () => pool.end();
  signal?.addEventListener("abort", end);
  try {
    if (signal?.aborted) end();
    for (;;) {
      const result = pool.take();
      if (result) yield result;
      else if (pool.isDone) return;
      else await pool.changed();
    }
  } finally {
    await pool.end();
    signal?.removeEventListener("abort", end);
  }
}

/** Waits for `ms` milliseconds, or until the signal is aborted. */
async function sleep(ms: number, signal: AbortSignal | undefined) {
  if (signal?.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = () => resolve();
  const timer = setTimeout(end, ms);
  signal?.addEventListener("abort", end);
  await promise;
  clearTimeout(timer);
  signal?.removeEventListener("abort", end);
}
