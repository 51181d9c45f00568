/**
 * Judges a blocked port by what a pass has shown at each address.
 *
 * @module
 */
import type { Failure } from "./controls.ts";
import type { AddressPass, BlockedOutcome } from "./pass.ts";
import { evidenceOf, isConnected } from "./port_check.ts";
import type { BlockedState } from "./results.ts";

/** What is known about a blocked port. */
export interface Verdict {
  /** The outcome that decides: at the address that fails, or else the one that says the most. */
  readonly outcome: BlockedOutcome;
  /** Why the port does not pass, or `undefined` if it passes. Without a message if the state says it all. */
  readonly failure: Failure | undefined;
  /** Whether the server listens on the port. `null` if it does not announce that at each address. */
  readonly listening: boolean | null;
}

/**
 * Judges a port. It passes only if that is proven at each address. Returns `undefined` if it was not tried at each of them,
 * unless it was reached.
 */
export function judge(
  port: number,
  passes: readonly AddressPass[],
  only: BlockedState | undefined,
): Verdict | undefined {
  const tried = passes.flatMap((pass) => {
    const outcome = pass.outcomes.get(port);
    return outcome ? [{ pass, outcome }] : [];
  });
  const listening = isListening(port, passes);
  const reached = tried.find(({ outcome }) => isConnected(outcome.state));
  if (reached) return { outcome: reached.outcome, failure: { reason: "reached", message: "" }, listening };
  const [first, ...others] = tried;
  if (!first || tried.length < passes.length) return undefined;
  for (const { pass, outcome } of tried) {
    const failure = pass.doubts.get(port);
    if (failure) return { outcome, failure, listening };
  }
  const best = others.reduce((best, each) => evidenceOf(each.outcome) > evidenceOf(best.outcome) ? each : best, first);
  if (listening === false) {
    const message = "not proven: the server does not listen on it";
    return { outcome: best.outcome, failure: { reason: "not_listening", message }, listening };
  }
  // Otherwise, nothing may listen at that address.
  const silent = tried.find(({ pass }) => pass.announced.length === 0);
  if (silent && passes.some(({ announced }) => announced.length > 0)) {
    const message = `not proven at ${silent.pass.address}: the server announces nothing there`;
    return { outcome: silent.outcome, failure: { reason: "not_listening", message }, listening };
  }
  const other = tried.find(({ outcome }) => only !== undefined && outcome.state !== only);
  if (other) return { outcome: other.outcome, failure: { reason: "other_state", message: "" }, listening };
  return { outcome: best.outcome, failure: undefined, listening };
}

/** Whether each list that the server has announced contains a port, or `null` if there is no list for an address. */
function isListening(port: number, passes: readonly AddressPass[]): boolean | null {
  if (passes.some(({ announced }) => announced.some((ports) => !ports.has(port)))) return false;
  return passes.every(({ announced }) => announced.length > 0) ? true : null;
}
