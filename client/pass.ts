/**
 * One pass over the blocked ports at one address: tries them evenly, while controls show that the host can be reached.
 *
 * @module
 */
import type { Controls, Failure, Observed } from "./controls.ts";
import { Pace } from "./pace.ts";
import type { ProbePool } from "./pool.ts";
import { evidenceOf, isConnected } from "./port_check.ts";
import type { ProbeOutcome } from "./probe.ts";

/** How much slower ports whose states do not count are tried again: at a quarter of the rate, and then at a sixteenth. */
const SLOWDOWN = 4;
const MAX_SLOWDOWN = 16;

/**
 * How long ports are tried again in a pass, in milliseconds, from its start. If it is later, the end is that of `within`, or
 * twice the time of the first try of all ports.
 */
const RETRY_MS = 60_000;

/**
 * How long to wait before ports that were refused are tried again if there are few, in milliseconds. A limit of a few
 * connections a second that rejects would otherwise pass, because few ports have few controls.
 */
const SECOND_TRY_MS = 1000;

/**
 * How long to wait at least before ports whose states do not count are tried again, in milliseconds. A control that was lost
 * casts doubt on each state in the next 2 s, so an earlier try would not count either.
 */
const RETRY_PAUSE_MS = 2000;

/** The outcome of a port that says the most in a round. */
export interface BlockedOutcome extends ProbeOutcome {
  /** When it was tried in this round, in order. */
  readonly tries: readonly Observed[];
}

/** What a pass has shown at one address. */
export interface AddressPass {
  readonly address: string;
  /** Without some ports if the run was stopped. */
  readonly outcomes: ReadonlyMap<number, BlockedOutcome>;
  /** Why the states of some ports prove nothing. */
  readonly doubts: ReadonlyMap<number, Failure>;
  /** The lists that the server has announced at this address. */
  readonly announced: readonly ReadonlySet<number>[];
}

/** How a pass tries ports. */
export interface PassOptions {
  readonly pool: Pick<ProbePool, "signal" | "acquire" | "release" | "sleep">;
  /** Without controls, each state counts. */
  readonly controls: Controls | undefined;
  /** How many connections start in a second. */
  readonly rate: number;
  /** Whether there are so few ports that two controls are enough. */
  readonly isFew: boolean;
  /** How long a probe takes at most, in milliseconds. */
  readonly timeout: number;
  /** Whether all ports must be blocked at one moment, because rules may change during the pass. */
  readonly isConfirmed: boolean;
  /** When `within` is over, on the clock of `performance.now()`. */
  readonly deadline: number;
  /** Connects to a blocked port. Does not throw. Returns `undefined` if the check has been stopped. */
  readonly probe: (port: number) => Promise<ProbeOutcome | undefined>;
  /** Called with how many fewer connections are left. Negative if more are left, because they have to be tried again. */
  readonly onProgress: (done: number) => void;
  /** Aborted when the check of the host has been stopped. */
  readonly stop: AbortSignal;
  /** How long ports are tried again, in milliseconds: RETRY_MS, unless a test replaces it. */
  readonly retryMs?: number;
}

/** Tries ports at an address until the state of each counts, or until the time is over. */
export async function passAt(address: string, ports: readonly number[], options: PassOptions): Promise<AddressPass> {
  const { controls, pool, rate, deadline, stop, onProgress, retryMs = RETRY_MS } = options;
  const outcomes = new Map<number, BlockedOutcome>();
  const doubts = new Map<number, Failure>();
  const started = performance.now();
  let retryUntil = Infinity;
  let left = ports;
  try {
    for (let slowdown = 1;; slowdown = Math.min(SLOWDOWN * slowdown, MAX_SLOWDOWN)) {
      const isFirst = slowdown === 1;
      const few = isFirst ? timesForFew(left.length, options) : undefined;
      controls?.watch(few);
      const pause = Math.max(RETRY_PAUSE_MS, 1000 * slowdown / rate);
      if (!isFirst) await pool.sleep(Math.max(Math.min(pause, retryUntil - performance.now()), 0));
      const { tried, isComplete } = await tryEvenly(left, rate / slowdown, { ...options, until: retryUntil });
      const isStopped = pool.signal.aborted || stop.aborted;
      // All ports must be blocked at one moment, so the states of a round that was cut do not replace others.
      const isUsed = isComplete || isStopped || !options.isConfirmed;
      for (const [port, outcome] of tried) if (isUsed || isConnected(outcome.state)) outcomes.set(port, outcome);
      if (isStopped) break;
      await controls?.end();
      if (!isUsed) break;
      doubts.clear();
      for (const [port, outcome] of outcomes) {
        const doubt = isConnected(outcome.state) ? undefined : controls?.failure ?? controls?.doubtAbout(outcome.tries);
        if (doubt) doubts.set(port, doubt);
      }
      if (isFirst) retryUntil = Math.max(deadline, started + retryMs, 2 * performance.now() - started);
      if (doubts.size === 0 || controls?.failure || performance.now() >= retryUntil) break;
      const isBlocked = (port: number) => !isConnected(outcomes.get(port)?.state ?? "timeout");
      left = options.isConfirmed ? ports.filter(isBlocked) : [...doubts.keys()];
      onProgress(-left.length);
    }
  } finally {
    await controls?.stop();
  }
  return { address, outcomes, doubts, announced: controls?.announced ?? [] };
}

/**
 * When to make the controls for few ports, in milliseconds after the start: while all of them are being tried. Returns
 * `undefined` if there are more, or if there is no such time.
 */
function timesForFew(count: number, { isFew, rate, timeout }: PassOptions): number[] | undefined {
  const lastStart = (count - 1) * 1000 / rate;
  const random = (from: number, to: number) => from + Math.random() * (to - from);
  const middle = lastStart + SECOND_TRY_MS;
  return isFew && middle < timeout ? [random(lastStart, middle), random(middle, timeout)] : undefined;
}

/** How one round of a pass tries ports. */
interface RoundOptions extends PassOptions {
  /** When no further try starts, on the clock of `performance.now()`. */
  readonly until: number;
}

/**
 * Tries each port in turn, at this rate. Returns what is known when all tries have ended.
 *
 * If confirmed, all states hold at one moment: when the last port is tried. Ports whose states were known before are tried
 * again. Otherwise, a port that opens and one that is closed in the meantime could both seem to be blocked.
 */
async function tryEvenly(
  ports: readonly number[],
  rate: number,
  options: RoundOptions,
): Promise<{ tried: Map<number, BlockedOutcome>; isComplete: boolean }> {
  const { pool, controls, isFew, isConfirmed, onProgress } = options;
  const pace = new Pace(rate, (ms) => pool.sleep(ms));
  const tried = new Map<number, BlockedOutcome>();
  const add = (port: number, latest: ProbeOutcome) => {
    const { state, started, duration } = latest;
    const first = tried.get(port);
    const best = first && evidenceOf(first) >= evidenceOf(latest) ? first : latest;
    tried.set(port, { ...best, tries: [...first?.tries ?? [], { state, started, ended: started + duration }] });
    onProgress(1);
  };
  const running = await startEvenly(ports, pace, options, add);
  // A limit has dropped most connections when the last one starts. At random times, a control could miss a short burst.
  if (!isFew) controls?.connect();
  let confirmed = 0;
  if (isConfirmed) {
    if (isFew) await pool.sleep(SECOND_TRY_MS * (1 + Math.random() / 2));
    const early = [...tried].flatMap(([port, { state }]) => isConnected(state) ? [] : [port]);
    confirmed = early.length;
    onProgress(-confirmed);
    running.push(...await startEvenly(early, pace, options, add));
  }
  await Promise.all(running);
  return { tried, isComplete: tried.size === ports.length && running.length >= ports.length + confirmed };
}

/** Starts a try of each port, and returns those that are running. */
async function startEvenly(
  ports: readonly number[],
  pace: Pace,
  { pool, probe, stop, until }: RoundOptions,
  onOutcome: (port: number, outcome: ProbeOutcome) => void,
): Promise<Promise<void>[]> {
  const running: Promise<void>[] = [];
  const tryPort = async (port: number) => {
    const outcome = await probe(port);
    pool.release();
    if (outcome) onOutcome(port, outcome);
  };
  for (const port of ports) {
    await pace.wait();
    await pool.acquire();
    if (pool.signal.aborted || stop.aborted || performance.now() >= until) {
      pool.release();
      break;
    }
    running.push(tryPort(port));
  }
  return running;
}
