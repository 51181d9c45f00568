/**
 * What to check on each host, and what to send to its ports.
 *
 * @module
 */
import type { Check, HostPort } from "./options.ts";
import type { BlockedState, Expectation } from "./results.ts";
import { checkBlockedState, encodeOption, type PortsByExpectation, portsByExpectation } from "./validate.ts";
import type { ProbeTarget } from "./probe.ts";

/** What to check on one host. */
export interface HostTarget {
  /** The host as given. */
  readonly hostname: string;
  /** The only family of addresses to use. */
  readonly family: 4 | 6 | undefined;
  /** The ports by what they should do. */
  readonly ports: PortsByExpectation;
  /**
   * Returns what to probe, without the address.
   *
   * @throws {RangeError} If a text is empty or too long.
   */
  targetOf(port: number, expectation: Expectation): Omit<ProbeTarget, "hostname">;
  /**
   * Returns the only state in which a blocked port passes, or `undefined` if it passes in any.
   *
   * @throws {RangeError} If a function has returned another state.
   */
  blockedStateOf(port: number): BlockedState | undefined;
}

/**
 * Returns what to check on each host. The ports of a host that is in several checks are checked together, because those
 * that must be blocked are judged by the others. But a port that is reached over one family proves nothing for the other one.
 *
 * @throws {RangeError} If a port of a host is in two checks with the same family.
 */
export function hostTargets(checks: readonly Check[]): HostTarget[] {
  const byHost = new Map<string, HostTarget[]>();
  for (const check of checks) {
    const { family } = check;
    const ports = portsByExpectation(check);
    const expect = bytesFunction("expect", check.expect);
    const send = bytesFunction("send", check.send);
    for (const hostname of new Set([check.hostname].flat())) {
      const targetOf = (port: number, expectation: Expectation) => {
        if (expectation !== "greeted") return { port, expectation };
        const target = { host: hostname, port };
        return { port, expectation, expect: expect(target), send: send(target) };
      };
      const blockedStateOf = (port: number) => {
        const { blockedState } = check;
        const state = typeof blockedState === "function" ? blockedState({ host: hostname, port }) : blockedState;
        if (state !== undefined) checkBlockedState(state);
        return state;
      };
      const key = `${hostname} ${family}`;
      const targets = byHost.get(key) ?? [];
      byHost.set(key, [...targets, { hostname, family, ports, targetOf, blockedStateOf }]);
    }
  }
  return [...byHost.values()].map(merge);
}

/** Merges what several checks say of one host. */
function merge(targets: readonly HostTarget[]): HostTarget {
  const [first, ...others] = targets;
  if (!first) throw new RangeError("checks: expected at least one check");
  if (others.length === 0) return first;
  const { hostname, family } = first;
  const byPort = new Map<number, HostTarget>();
  for (const target of targets) {
    for (const port of Object.values(target.ports).flat()) {
      if (byPort.has(port)) throw new RangeError(`checks: port ${port} of ${hostname} is in two checks`);
      byPort.set(port, target);
    }
  }
  const portsOf = (expectation: Expectation) => targets.flatMap(({ ports }) => ports[expectation]);
  return {
    hostname,
    family,
    ports: { greeted: portsOf("greeted"), open: portsOf("open"), blocked: portsOf("blocked") },
    targetOf: (port, expectation) => (byPort.get(port) ?? first).targetOf(port, expectation),
    blockedStateOf: (port) => (byPort.get(port) ?? first).blockedStateOf(port),
  };
}

/** Returns a function that encodes the text of a port. A constant text is encoded only once, here. */
function bytesFunction(name: string, text: Check["expect"]): (target: HostPort) => Uint8Array | undefined {
  if (typeof text === "function") {
    return (target) => {
      const value = text(target);
      return value === undefined ? undefined : encodeOption(name, value);
    };
  }
  const encoded = text === undefined ? undefined : encodeOption(name, text);
  return () => encoded;
}
