/**
 * What to check on each host, and what to send to its ports.
 *
 * @module
 */
import {
  type Check,
  encodeOption,
  type Expectation,
  type HostPort,
  type PortsByExpectation,
  portsByExpectation,
} from "./options.ts";
import type { ProbeTarget } from "./probe.ts";

/** What to check on one host, by name or address and family. */
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
}

/**
 * Returns what to check on each host. The ports of a host that is in several checks are checked together, because those
 * that must be blocked are judged by the others.
 *
 * @throws {RangeError} If a port of a host is in two checks.
 */
export function hostTargets(checks: readonly Check[]): HostTarget[] {
  const byHost = new Map<string, HostTarget>();
  for (const check of checks) {
    const ports = portsByExpectation(check);
    const expect = bytesFunction("expect", check.expect);
    const send = bytesFunction("send", check.send);
    for (const hostname of new Set([check.hostname].flat())) {
      const { family } = check;
      const targetOf = (port: number, expectation: Expectation) => {
        if (expectation !== "greeted") return { port, expectation };
        const target = { host: hostname, port };
        return { port, expectation, expect: expect(target), send: send(target) };
      };
      const key = `${family} ${hostname}`;
      const earlier = byHost.get(key);
      const target = { hostname, family, ports, targetOf };
      byHost.set(key, earlier ? merge(earlier, target) : target);
    }
  }
  return [...byHost.values()];
}

function merge(first: HostTarget, second: HostTarget): HostTarget {
  const { hostname, family } = first;
  const ofFirst = new Set(Object.values(first.ports).flat());
  const both = Object.values(second.ports).flat().find((port) => ofFirst.has(port));
  if (both !== undefined) throw new RangeError(`checks: port ${both} of ${hostname} is in two checks`);
  return {
    hostname,
    family,
    ports: {
      greeted: [...first.ports.greeted, ...second.ports.greeted],
      open: [...first.ports.open, ...second.ports.open],
      blocked: [...first.ports.blocked, ...second.ports.blocked],
    },
    targetOf: (port, expectation) => (ofFirst.has(port) ? first : second).targetOf(port, expectation),
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
