/**
 * The controls at each address of a host.
 *
 * @module
 */
import { announcedPorts } from "../shared/announcement.ts";
import { isRouteMissing } from "./connect_errors.ts";
import { type ControlOptions, type ControlPort, Controls } from "./controls.ts";
import type { Finding } from "./port_check.ts";
import type { ProbeOutcome } from "./probe.ts";
import type { ProbeResult } from "./results.ts";

/** How many ports are tried at an address at which none is known to be as expected. */
const MAX_CANDIDATES = 8;

/** What is known about a port that must be greeted or open. */
export interface RequiredPort extends Finding {
  /** What the server has announced in its greeting. */
  readonly announced: readonly ReadonlySet<number>[];
}

/** Keeps what the check of blocked ports needs of a finding: not the greeting, which takes memory. */
export function toRequiredPort({ result, ...finding }: Finding): RequiredPort {
  return { ...finding, result: { ...result, greeting: new Uint8Array() }, announced: announcedPorts(result.greeting) };
}

/** The controls at an address. */
interface ControlsAt {
  /** Missing if no port can be reached there. */
  readonly controls?: Controls;
  /** Whether this machine may have no route to the address. */
  readonly mayLackRoute?: boolean;
}

/** The controls at each address of a host. */
export class HostControls {
  readonly #required: readonly RequiredPort[];
  readonly #pool: ControlOptions["pool"];
  readonly #probe: (address: string, port: ControlPort) => Promise<ProbeOutcome | undefined>;
  readonly #controls = new Map<string, Controls>();

  /** The ports in `required` are as expected. `probe` connects to one of them. */
  constructor(
    required: readonly RequiredPort[],
    pool: ControlOptions["pool"],
    probe: (address: string, port: ControlPort) => Promise<ProbeOutcome | undefined>,
  ) {
    // A greeting says more than an open port, which may belong to a proxy. So open ports count only if none must greet.
    const greeted = required.filter(({ result }) => result.expected === "greeted");
    this.#required = greeted.length > 0 ? greeted : required;
    this.#pool = pool;
    this.#probe = probe;
  }

  /** Whether there are no ports that show that the host can be reached. */
  get isEmpty(): boolean {
    return this.#required.length === 0;
  }

  /** Returns the controls at an address. If no port is known to be as expected there, tries some. */
  async at(address: string): Promise<ControlsAt> {
    if (this.isEmpty) return { mayLackRoute: true };
    const existing = this.#controls.get(address);
    if (existing) {
      existing.reset();
      return { controls: existing };
    }
    const known = this.#required.filter(({ result }) => result.remoteAddr.hostname === address);
    if (known.length === 0) return await this.#find(address);
    const controls = this.#add(address, known.map(({ result }) => portOf(result)));
    for (const { result, started, connectMs, announced } of known) {
      controls.add(portOf(result), { state: result.state, started, connectMs }, announced);
    }
    return { controls };
  }

  async #find(address: string): Promise<ControlsAt> {
    // Those that announce come first: an announcement at one address is needed at each.
    const sorted = this.#required.toSorted((a, b) => b.announced.length - a.announced.length);
    const candidates = sorted.slice(0, MAX_CANDIDATES).map(({ result }) => portOf(result));
    const outcomes = await Promise.all(candidates.map(async (port) => {
      this.#pool.take();
      const outcome = await this.#probe(address, port);
      this.#pool.release();
      return outcome ? [{ port, outcome }] : [];
    }));
    const tried = outcomes.flat();
    const found = tried.filter(({ port, outcome }) => outcome.state === port.expected);
    if (found.length === 0) return { mayLackRoute: tried.every(({ outcome }) => isRouteMissing(outcome.cause)) };
    const controls = this.#add(address, found.map(({ port }) => port));
    for (const { port, outcome } of found) controls.add(port, outcome, announcedPorts(outcome.greeting));
    return { controls };
  }

  #add(address: string, ports: readonly ControlPort[]): Controls {
    const controls = new Controls(ports, { pool: this.#pool, probe: (port) => this.#probe(address, port) });
    this.#controls.set(address, controls);
    return controls;
  }
}

function portOf({ remoteAddr: { port }, expected }: ProbeResult): ControlPort {
  return { port, expected };
}
