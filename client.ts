/**
 * A TCP client that checks which ports of a host can be reached, and whether the right server answers.
 *
 * Read it from top to bottom: {@linkcode connect} probes all ports, and then again those that were not greeted, as long
 * as `within` allows. `probeAll` keeps many probes running at once. A single probe is in probe.ts. The client sends no
 * data.
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
} from "./connect_options.ts";
import { isOutOfResources, probe } from "./probe.ts";
import { NO_IPV6, resolve } from "./resolve.ts";

export { CONNECT_DEFAULTS, ConnectError, isOutOfResources, NO_IPV6, PROBE_STATES, resolve };
export type { ConnectOptions, ProbeResult, ProbeState };

/**
 * The shortest and the longest pause between two rounds of probes, in milliseconds. Each pause doubles the last one.
 */
const ROUND_PAUSE_MIN_MS = 100;
const ROUND_PAUSE_MAX_MS = 1000;

/**
 * How many probes may be active at once. More would starve each other, and a starved probe looks like a timeout: with
 * 4,096 probes at once and a timeout of 0.5 s, 4,973 of 14,000 open ports were reported as timed out.
 */
const MAX_ACTIVE_PROBES = 32;

/** How long a probe counts as active, in milliseconds. After that, it is probably waiting for a host that is silent. */
const ACTIVE_MS = 10;

/** How long to wait if there is no descriptor or no local port for even a single probe, in milliseconds. */
const RESOURCE_PAUSE_MS = 100;

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
  const hostname = await resolve(options.hostname, options.ipv6);
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
  { timeout = CONNECT_DEFAULTS.timeout, concurrency = CONNECT_DEFAULTS.concurrency, expect, signal }: ConnectOptions,
): AsyncGenerator<ProbeResult, void, void> {
  const expectedFor = toExpectedFunction(expect);
  const waiting = ports.toReversed();
  const running = new Set<AbortController>();
  const results: ProbeResult[] = [];
  let active = 0;
  let limit = concurrency;
  let isEnding = false;
  /** An error that is not the result of a port, such as a missing permission. It ends all probes. */
  let failure: ConnectError | undefined;
  /** When a probe last had a result, or when probing began. */
  let lastProgress = performance.now();
  let wake = () => {};

  function startProbes() {
    while (!isEnding && running.size < limit && active < MAX_ACTIVE_PROBES) {
      const port = waiting.pop();
      if (port === undefined) return;
      run(port);
    }
  }

  async function run(port: number) {
    const controller = new AbortController();
    running.add(controller);
    active++;
    let isActive = true;
    const deactivate = () => {
      if (isActive) active--;
      isActive = false;
    };
    const timer = setTimeout(() => {
      deactivate();
      startProbes();
    }, ACTIVE_MS);
    try {
      const result = await probe({ hostname, port, expected: expectedFor(port), timeout, controller });
      lastProgress = performance.now();
      if (!isEnding) results.push(result);
    } catch (error) {
      if (!isOutOfResources(error) || performance.now() - lastProgress > timeout) {
        failure ??= new ConnectError(hostname, error);
      } else {
        // Not a result. Another probe must end before this port can be tried again.
        waiting.push(port);
        limit = Math.max(1, running.size - 1);
        if (running.size === 1 && !isEnding) await sleep(RESOURCE_PAUSE_MS, controller.signal);
      }
    }
    clearTimeout(timer);
    running.delete(controller);
    deactivate();
    startProbes();
    wake();
  }

  function end() {
    isEnding = true;
    for (const controller of running) controller.abort();
    wake();
  }

  signal?.addEventListener("abort", end);
  try {
    if (signal?.aborted) end();
    startProbes();
    while (!failure) {
      const result = results.shift();
      if (result) yield result;
      else if (running.size === 0 || isEnding) break;
      else await new Promise<void>((resolve) => wake = resolve);
    }
    if (failure) throw failure;
  } finally {
    end();
    while (running.size > 0) await new Promise<void>((resolve) => wake = resolve);
    signal?.removeEventListener("abort", end);
  }
}

/** Returns a function that encodes the expected text of a port. A constant text is encoded only once, here. */
function toExpectedFunction(expect: ConnectOptions["expect"]): (port: number) => Uint8Array | undefined {
  const encode = (text: string | Uint8Array) => typeof text === "string" ? new TextEncoder().encode(text) : text;
  if (typeof expect === "function") return (port) => encode(expect(port));
  const encoded = expect === undefined ? undefined : encode(expect);
  return () => encoded;
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
