/**
 * Connections that show whether this machine can reach a host while its blocked ports are tried.
 *
 * @module
 */
import { announcedPorts } from "../shared/announcement.ts";
import type { ProbePool } from "./pool.ts";
import type { ProbeOutcome } from "./probe.ts";
import type { Expectation, ProbeState, Reason } from "./results.ts";

/**
 * How much longer than the fastest one a control may take to connect, in milliseconds. A lost SYN is sent again after 1 s.
 * Beside two busy loops on two cores, the slowest control took 817 ms.
 */
const RESENT_MS = 900;

/**
 * The shortest and the longest time between two controls, in milliseconds. At regular times, they would lock to the refill of
 * a limit, and to the resends of the other connections, which both can have a period of a second.
 */
const MIN_INTERVAL_MS = 250;
const MAX_INTERVAL_MS = 750;

/**
 * How long before and after a port was `refused` or `unreachable` a control counts, in milliseconds. Such a state is known at
 * once, so there may be no control at that time.
 */
const NEAR_MS = 2000;

/** A port that is as expected. Connections to it are controls. */
export interface ControlPort {
  readonly port: number;
  readonly expected: Expectation;
}

/** A connection to a control port. `started` is on the clock of `performance.now()`. */
export interface Control extends Pick<ProbeOutcome, "started" | "connectMs"> {
  readonly port: number;
  /** Whether the port was as expected. */
  readonly ok: boolean;
}

/** Why blocked ports prove nothing. */
export interface Failure {
  readonly reason: Reason;
  readonly message: string;
}

/** When a blocked port was tried, on the clock of `performance.now()`, and its state. */
export interface Observed {
  readonly state: ProbeState;
  readonly started: number;
  readonly ended: number;
}

/**
 * Returns the controls that were lost while a blocked port was tried: they failed, or their SYN was sent again. For other
 * states than `timeout`, those shortly before and after count, too. Returns `undefined` if a `timeout` had no control.
 */
export function lostControls(
  { state, started, ended }: Observed,
  controls: readonly Control[],
  fastestMs: number,
): Control[] | undefined {
  const margin = state === "timeout" ? 0 : NEAR_MS;
  const near = controls.filter((each) => each.started >= started - margin && each.started <= ended + margin);
  if (state === "timeout" && near.length === 0) return undefined;
  return near.filter(({ ok, connectMs }) => !ok || connectMs >= fastestMs + RESENT_MS);
}

/** What the controls of an address share with the check of its host. */
export interface ControlOptions {
  readonly pool: Pick<ProbePool, "take" | "release" | "schedule">;
  /** Connects to a port. Does not throw. Returns `undefined` if the check has been stopped. */
  readonly probe: (port: ControlPort) => Promise<ProbeOutcome | undefined>;
}

/** The controls of one address. */
export class Controls {
  readonly #ports: readonly ControlPort[];
  readonly #options: ControlOptions;
  /** Those of the current pass. */
  #controls: Control[] = [];
  /** How long the fastest connection of all passes took, in milliseconds. */
  #fastestMs = Infinity;
  /** What each port announced in its latest greeting. */
  readonly #announced = new Map<number, readonly ReadonlySet<number>[]>();
  /** How many connections there were to each port, and when the first one was. */
  readonly #counts = new Map<number, { count: number; since: number }>();
  readonly #running = new Set<Promise<unknown>>();
  readonly #timers = new Set<() => void>();
  #turn = 0;
  #failure: Failure | undefined;

  /** The ports are used in turn. */
  constructor(ports: readonly ControlPort[], options: ControlOptions) {
    this.#ports = ports;
    this.#options = options;
  }

  /** The lists that the ports announced in their latest greetings, each once. */
  get announced(): readonly ReadonlySet<number>[] {
    return [...new Set([...this.#announced.values()].flat())];
  }

  /** Why nothing is proven: a control was refused, or the last one failed. After one that was refused, there are no others. */
  get failure(): Failure | undefined {
    return this.#failure;
  }

  get #isRefused(): boolean {
    return this.#failure?.reason === "control_refused";
  }

  /** Forgets the controls of an earlier pass. */
  reset() {
    this.#controls = [];
    this.#failure = undefined;
  }

  /** Adds a connection to a control port, and what its greeting announced. */
  add(
    { port, expected }: ControlPort,
    { state, started, connectMs }: Pick<ProbeOutcome, "state" | "started" | "connectMs">,
    announced: readonly ReadonlySet<number>[],
  ) {
    const { count, since } = this.#counts.get(port) ?? { count: 0, since: started };
    this.#counts.set(port, { count: count + 1, since });
    const ok = state === expected;
    this.#controls.push({ port, ok, started, connectMs });
    if (ok) this.#fastestMs = Math.min(this.#fastestMs, connectMs);
    if (expected === "greeted" && ok) this.#announced.set(port, announced);
    if (state !== "refused" || this.#isRefused) return;
    const seconds = Math.round((performance.now() - since) / 1000);
    const message = `not proven: port ${port} refused the ${ordinal(count + 1)} connection in ${seconds}s`;
    this.#failure = { reason: "control_refused", message };
  }

  /** Connects at these times from now, in milliseconds, or without them, at random times until {@linkcode end}. */
  watch(times?: readonly number[]) {
    if (times) { for (const ms of times) this.#schedule(ms, () => {}); }
    else {
      const again = () => {
        this.#schedule(MIN_INTERVAL_MS + Math.random() * (MAX_INTERVAL_MS - MIN_INTERVAL_MS), again);
      };
      again();
    }
  }

  /** Waits for all controls, and then makes the last one. */
  async end() {
    await this.stop();
    const port = this.#nextPort();
    if (!port) return;
    const outcome = await this.#connect(port);
    if (!outcome || outcome.state === port.expected || this.#isRefused) return;
    const message = `not proven: port ${port.port} failed when checked again (${outcome.state})`;
    this.#failure = { reason: "control_failed", message };
  }

  /** Makes no further connection, and waits until those that are running have ended. */
  async stop() {
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
    await Promise.all(this.#running);
  }

  /** Why the state of a blocked port does not count, or `undefined` if each of its tries counts. */
  doubtAbout(tries: readonly Observed[]): Failure | undefined {
    const lostAt = tries.map((each) => lostControls(each, this.#controls, this.#fastestMs));
    if (lostAt.every((lost) => lost?.length === 0)) return undefined;
    const lost = lostAt.find((each) => each !== undefined && each.length > 0);
    const message = lost
      ? `not proven: connections to port ${lost[0]?.port} were lost at the same time`
      : `not proven: there was no connection to port ${this.#ports[0]?.port} at the same time`;
    return { reason: "control_lost", message };
  }

  #schedule(ms: number, then: () => void) {
    const cancel = this.#options.pool.schedule(ms, () => {
      this.#timers.delete(cancel);
      this.connect();
      then();
    });
    this.#timers.add(cancel);
  }

  /** Connects now. Does not wait for that. */
  connect() {
    const port = this.#nextPort();
    if (!port) return;
    const control = this.#connect(port).finally(() => this.#running.delete(control));
    this.#running.add(control);
  }

  #nextPort(): ControlPort | undefined {
    return this.#isRefused ? undefined : this.#ports[this.#turn++ % this.#ports.length];
  }

  async #connect(port: ControlPort): Promise<ProbeOutcome | undefined> {
    const { pool, probe } = this.#options;
    pool.take();
    const outcome = await probe(port);
    pool.release();
    if (outcome) this.add(port, outcome, announcedPorts(outcome.greeting));
    return outcome;
  }
}

const ORDINALS = new Intl.PluralRules("en", { type: "ordinal" });
const ORDINAL_SUFFIXES: Partial<Record<Intl.LDMLPluralRule, string>> = { one: "st", two: "nd", few: "rd" };

/** `1st`, `2nd`, `3rd`, `4th`. */
function ordinal(n: number): string {
  return `${n}${ORDINAL_SUFFIXES[ORDINALS.select(n)] ?? "th"}`;
}
