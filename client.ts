/**
 * A TCP client that checks which ports of a host can be reached, and whether the expected server answers.
 *
 * Read {@linkcode connect} first. Then follow the path of a check: client/host_check.ts checks the ports of a host in the
 * right order, client/port_check.ts tries a port at each address until it is as expected, client/pool.ts keeps many probes
 * running at once, and client/probe.ts is the life of a single probe.
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
 * assertEquals(results.map(({ state, ok }) => [state, ok]), [["greeted", true], ["greeted", true]]);
 * ```
 *
 * @module
 */
import {
  checkConnectRanges,
  CONNECT_DEFAULTS,
  ConnectError,
  type ConnectOptions,
  type Expectation,
  EXPECTATIONS,
  MIN_BLOCKED_TIMEOUT_MS,
  portsByExpectation,
  PROBE_STATES,
  type ProbeResult,
  type ProbeState,
  type TextOrBytes,
} from "./client/options.ts";
import { checkHost, type RunOptions } from "./client/host_check.ts";
import { ProbePool } from "./client/pool.ts";
import { Host } from "./client/resolve.ts";
import { targetFunction } from "./client/targets.ts";

export { CONNECT_DEFAULTS, ConnectError, EXPECTATIONS, MIN_BLOCKED_TIMEOUT_MS, PROBE_STATES };
export type { ConnectOptions, Expectation, ProbeResult, ProbeState, TextOrBytes };

/**
 * Connects to ports of one or more hosts in parallel, and yields the result for each port as soon as it is known. `ok`
 * says whether the port is as expected: ports in `port` must greet, those in `open` must be open, and those in `blocked`
 * must not be reachable.
 *
 * A greeting is complete when the server closes the connection or when it has 16 KiB; with `expect`, when it contains the
 * expected text; without, when its first line is followed by 100 ms of silence, plus the time that connecting took: SSH,
 * SMTP and FTP servers do not close the connection.
 *
 * A port is tried at the first address of its host, and at the next one only if it does not connect.
 *
 * All connections are closed when the iteration ends, including by `break`, an exception or the signal.
 *
 * @example Wait until a server is up
 * ```ts
 * import { connect } from "./client.ts";
 * import { serve } from "./server.ts";
 * import { assert } from "@std/assert";
 *
 * await using server = serve({ hostname: "127.0.0.1", port: 0 });
 * const { port } = server.addr;
 * for await (const { ok } of connect({ hostname: "127.0.0.1", port, within: 10_000 })) {
 *   assert(ok);
 * }
 * ```
 *
 * @throws {RangeError} If an option is out of its range.
 * @throws {ConnectError} On iteration, after all known results: if a host has no address, or only IPv6 addresses on a
 * machine without IPv6, if there is no network permission, if ports must be blocked but this machine has no route to their
 * host, or if for as long as `timeout` there was no descriptor or no local port for even a single probe.
 */
export function connect(options: ConnectOptions): AsyncGenerator<ProbeResult, void, void> {
  checkConnectRanges(options);
  return checkHosts(options);
}

async function* checkHosts(options: ConnectOptions): AsyncGenerator<ProbeResult, void, void> {
  const { signal, within = 0, concurrency = CONNECT_DEFAULTS.concurrency, onLookup, onResult = () => {} } = options;
  // Results that have not been read take memory, up to 16 KiB each. So no probe starts while the stream is full.
  let controller: ReadableStreamDefaultController<ProbeResult> | undefined;
  const pool = new ProbePool(options, () => (controller?.desiredSize ?? 0) <= 0);
  const results = new ReadableStream<ProbeResult>({
    start: (own) => void (controller = own),
    pull: () => pool.start(),
  }, { highWaterMark: concurrency });
  const run: RunOptions = {
    pool,
    ports: portsByExpectation(options),
    targetOf: targetFunction(options),
    deadline: performance.now() + within,
    onLookup,
    onAttempt: onResult,
    onDecided: (result) => controller?.enqueue(result),
  };
  const end = () => pool.end();
  signal?.addEventListener("abort", end);
  if (signal?.aborted) end();
  /** The first error. */
  let failure: { error: unknown } | undefined;
  const checks = [...new Set([options.hostname].flat())].map((name) =>
    checkHost(new Host(name, options), run).catch((error) => {
      failure ??= { error };
      // The other hosts are checked nevertheless, unless a function of the caller has thrown the error.
      if (!(error instanceof ConnectError)) pool.stop();
    })
  );
  const hosts = Promise.all(checks).then(() => controller?.close());
  try {
    yield* results.values({ preventCancel: true });
    if (failure) throw failure.error;
  } finally {
    end();
    await hosts;
    signal?.removeEventListener("abort", end);
  }
}
