/**
 * A TCP client that checks which ports of a host can be reached, and whether the expected server answers.
 *
 * Read {@linkcode checkPorts} first. Then follow the path of a check: client/host_check.ts checks the ports of a host in the
 * right order, client/port_check.ts tries a port at each address until it is as expected, client/pool.ts keeps many probes
 * running at once, and client/probe.ts is the life of a single probe. For ports that must be blocked, client/blocked_check.ts
 * makes passes, client/pass.ts tries the ports at one address, client/controls.ts shows whether connections get lost
 * meanwhile, and client/judge.ts decides.
 *
 * @example Check two ports
 * ```ts
 * import { checkPorts } from "./client.ts";
 * import { type ConnInfo, serve } from "./server.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const greeting = ({ localAddr }: ConnInfo) => `port ${localAddr.port}`;
 * await using server = serve({ hostname: "127.0.0.1", port: [0, 0], greeting });
 * const greeted = server.addrs.map(({ port }) => port);
 * const check = { hostname: "127.0.0.1", greeted, expect: ({ port }: { port: number }) => `port ${port}` };
 * const results = await Array.fromAsync(checkPorts(check));
 * assertEquals(results.map(({ state, ok }) => [state, ok]), [["greeted", true], ["greeted", true]]);
 * ```
 *
 * @module
 */
import {
  type Check,
  CHECK_DEFAULTS,
  type CheckOptions,
  type HostPort,
  MAX_RATE,
  MIN_BLOCKED_TIMEOUT_MS,
  MIN_RATE,
  type PassProgress,
  type TextOrBytes,
} from "./client/options.ts";
import {
  BLOCKED_STATES,
  type BlockedState,
  ConnectError,
  type Expectation,
  EXPECTATIONS,
  PROBE_STATES,
  type ProbeResult,
  type ProbeState,
  type Reason,
  REASONS,
} from "./client/results.ts";
import { type PortsByExpectation, portsByExpectation, validateChecks } from "./client/validate.ts";
import { isLinkLocal, isLocalError, isOutOfResources } from "./client/connect_errors.ts";
import { checkHost } from "./client/host_check.ts";
import { defaultRate } from "./client/pace.ts";
import { ProbePool } from "./client/pool.ts";
import { Host, LOOKUP_TIMEOUT, NO_IPV4, NO_IPV6 } from "./client/resolve.ts";
import { type HostTarget, hostTargets } from "./client/targets.ts";

/** What the `cause` of a {@linkcode ConnectError} says: for messages. */
export { isLinkLocal, isLocalError, isOutOfResources, LOOKUP_TIMEOUT, NO_IPV4, NO_IPV6 };
export { BLOCKED_STATES, CHECK_DEFAULTS, ConnectError, EXPECTATIONS, portsByExpectation, PROBE_STATES, REASONS };
export { defaultRate, MAX_RATE, MIN_BLOCKED_TIMEOUT_MS, MIN_RATE };
export type { Check, CheckOptions, HostPort, PassProgress, TextOrBytes };
export type { BlockedState, Expectation, PortsByExpectation, ProbeResult, ProbeState, Reason };

/**
 * Connects to ports of one or more hosts in parallel, and yields the result for each port as soon as it is known. `ok`
 * says whether the port is as expected: ports in `greeted` must greet, those in `open` must be open, and those in `blocked`
 * must not be reachable. If a host is in several checks, its blocked ports are judged by the ports of all of them with
 * the same `family`.
 *
 * A greeting is complete when the server closes the connection or when it has 16 KiB; with `expect`, when it contains the
 * expected text; without, when its first line is followed by 100 ms of silence, plus the time that connecting took: SSH,
 * SMTP and FTP servers do not close the connection.
 *
 * A port in `greeted` or `open` is tried at the first address of its host, and at the next one only if it does not connect.
 * A port in `blocked` is tried at each address.
 *
 * All connections are closed when the iteration ends, including by `break`, an exception or the signal.
 *
 * @example Wait until a server is up
 * ```ts
 * import { checkPorts } from "./client.ts";
 * import { serve } from "./server.ts";
 * import { assert } from "@std/assert";
 *
 * await using server = serve({ hostname: "127.0.0.1", port: 0 });
 * const check = { hostname: "127.0.0.1", greeted: server.addr.port };
 * for await (const { ok } of checkPorts(check, { within: 10_000 })) {
 *   assert(ok);
 * }
 * ```
 *
 * @throws {RangeError} If an option is out of its range, or if two checks of a host and family have a port in common.
 * @throws {ConnectError} On iteration, after all known results: if a host has no address, if there is no network
 * permission, if ports must be blocked but this machine has no route to their host, or if for as long as `timeout` there
 * was no descriptor or no local port for even a single probe. It is the error of the first such host; `others` has the rest.
 */
export function checkPorts(
  checks: Check | readonly Check[],
  options: CheckOptions = {},
): AsyncGenerator<ProbeResult, void, void> {
  const all: readonly Check[] = [checks].flat();
  validateChecks(all, options);
  return checkHosts(hostTargets(all), options);
}

async function* checkHosts(
  targets: readonly HostTarget[],
  options: CheckOptions,
): AsyncGenerator<ProbeResult, void, void> {
  const { timeout = CHECK_DEFAULTS.timeout, concurrency = CHECK_DEFAULTS.concurrency } = options;
  const { signal, within = 0, rate, requireControl, onLookup, onAttempt = () => {}, onPass } = options;
  // Results that have not been read take memory, up to 16 KiB each. So no probe starts while the stream is full.
  let controller: ReadableStreamDefaultController<ProbeResult> | undefined;
  const pool = new ProbePool(options, () => (controller?.desiredSize ?? 0) <= 0);
  const results = new ReadableStream<ProbeResult>({
    start: (own) => void (controller = own),
    pull: () => pool.grant(),
  }, { highWaterMark: concurrency });
  const deadline = performance.now() + within;
  const onDecided = (result: ProbeResult) => controller?.enqueue(result);
  const end = () => pool.end();
  signal?.addEventListener("abort", end);
  if (signal?.aborted) end();
  const run = { pool, timeout, within, deadline, rate, requireControl, onLookup, onAttempt, onPass, onDecided };
  /** What a function of the caller has thrown first. */
  let thrown: { error: unknown } | undefined;
  const running = targets.map(({ hostname, ...target }) => {
    const host = new Host(hostname, { ...options, family: target.family });
    return checkHost(host, { ...target, ...run }).then(() => [], (error) => {
      // The other hosts are checked nevertheless.
      if (error instanceof ConnectError) return new ConnectError(hostname, error.cause, target.family);
      thrown ??= { error };
      pool.stop();
      return [];
    });
  });
  const allEnded = Promise.all(running).then((errors) => {
    controller?.close();
    return errors.flat();
  });
  try {
    yield* results.values({ preventCancel: true });
    const [first, ...others] = await allEnded;
    if (thrown) throw thrown.error;
    if (first) throw new ConnectError(first.hostname, first.cause, first.family, others);
  } finally {
    end();
    await allEnded;
    signal?.removeEventListener("abort", end);
  }
}
