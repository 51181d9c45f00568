import { assertEquals } from "@std/assert";
import type { Failure } from "./controls.ts";
import { judge } from "./judge.ts";
import type { AddressPass, BlockedOutcome } from "./pass.ts";
import type { BlockedState, ProbeState } from "./results.ts";

const PORT = 3306;

/** What a pass has shown of a port at an address: its state, why it does not count, and what was announced. */
interface Shown {
  state?: ProbeState;
  doubt?: Failure;
  announced?: readonly (readonly number[])[];
  cause?: unknown;
}

function passWith({ state, doubt, announced = [], cause }: Shown, address: string): AddressPass {
  const remoteAddr = { transport: "tcp", hostname: address, port: PORT } as const;
  const rest = { remoteAddr, localAddr: undefined, greeting: new Uint8Array(), duration: 1, error: undefined, cause };
  const outcome: BlockedOutcome | undefined = state && { state, ...rest, started: 0, connectMs: 1, tries: [] };
  return {
    address,
    outcomes: new Map(outcome && [[PORT, outcome]]),
    doubts: new Map(doubt && [[PORT, doubt]]),
    announced: announced.map((ports) => new Set(ports)),
  };
}

/** Judges the port by what passes have shown at the addresses 192.0.2.1, 192.0.2.2 and so on. Returns that in short. */
function judged(shown: readonly Shown[], only?: BlockedState) {
  const verdict = judge(PORT, shown.map((each, i) => passWith(each, `192.0.2.${i + 1}`)), only);
  if (!verdict) return undefined;
  const { outcome, failure, listening } = verdict;
  return [outcome.remoteAddr.hostname, outcome.state, failure?.reason, listening];
}

const LOST: Failure = { reason: "control_lost", message: "not proven: lost" };
const [FIRST, SECOND] = ["192.0.2.1", "192.0.2.2"];

Deno.test("judge() lets a port pass in each state in which it was not reached", () => {
  for (const state of ["refused", "timeout", "unreachable"] as const) {
    assertEquals(judged([{ state }]), [FIRST, state, undefined, null]);
  }
  for (const state of ["greeted", "open", "closed", "reset"] as const) {
    assertEquals(judged([{ state }]), [FIRST, state, "reached", null]);
  }
});

Deno.test("judge() names the reason that says most: reached, then not proven, then not listening, then another state", () => {
  const announced = [[80]];
  const all: Shown = { state: "refused", doubt: LOST, announced };
  assertEquals(judged([{ ...all, state: "open" }], "timeout"), [FIRST, "open", "reached", false]);
  assertEquals(judged([all], "timeout"), [FIRST, "refused", "control_lost", false]);
  assertEquals(judged([{ state: "refused", announced }], "timeout"), [FIRST, "refused", "not_listening", false]);
  assertEquals(judged([{ state: "refused" }], "timeout"), [FIRST, "refused", "other_state", null]);
  assertEquals(judged([{ state: "timeout" }], "timeout"), [FIRST, "timeout", undefined, null]);
});

Deno.test("judge() returns the messages of what is not proven, and none if the state says it all", () => {
  const failureOf = (shown: Shown, only?: BlockedState) => judge(PORT, [passWith(shown, FIRST)], only)?.failure;
  assertEquals(failureOf({ state: "timeout", doubt: LOST }), LOST);
  assertEquals(failureOf({ state: "timeout", announced: [[80]] }), {
    reason: "not_listening",
    message: "not proven: the server does not listen on it",
  });
  assertEquals(failureOf({ state: "open" }), { reason: "reached", message: "" });
  assertEquals(failureOf({ state: "timeout" }, "refused"), { reason: "other_state", message: "" });
});

Deno.test("judge() lets a port pass only if that is proven at each address", () => {
  const refused: Shown = { state: "refused" };
  for (
    const [other, state, reason, only] of [
      [{ state: "open" }, "open", "reached", undefined],
      [{ state: "timeout", doubt: LOST }, "timeout", "control_lost", undefined],
      [{ state: "timeout" }, "timeout", "other_state", "refused"],
    ] as const
  ) {
    assertEquals(judged([refused, other], only), [SECOND, state, reason, null]);
    assertEquals(judged([other, refused], only), [FIRST, state, reason, null]);
  }
  assertEquals(judged([refused, refused], "refused"), [FIRST, "refused", undefined, null]);
});

Deno.test("judge() prefers the address at which a port was reached to one at which nothing is proven", () => {
  assertEquals(judged([{ state: "timeout", doubt: LOST }, { state: "open" }]), [SECOND, "open", "reached", null]);
  // Also if it was not tried at another one.
  assertEquals(judged([{}, { state: "open" }]), [SECOND, "open", "reached", null]);
});

Deno.test("judge() has no verdict if a port that was not reached was not tried at each address", () => {
  assertEquals(judged([]), undefined);
  assertEquals(judged([{}]), undefined);
  assertEquals(judged([{ state: "refused" }, {}]), undefined);
  assertEquals(judged([{}, { state: "timeout", doubt: LOST }]), undefined);
});

Deno.test("judge() shows the address whose state says the most, and the first one of several", () => {
  assertEquals(judged([{ state: "timeout" }, { state: "refused" }])?.slice(0, 2), [SECOND, "refused"]);
  assertEquals(judged([{ state: "refused" }, { state: "timeout" }])?.slice(0, 2), [FIRST, "refused"]);
  assertEquals(judged([{ state: "timeout" }, { state: "timeout" }])?.slice(0, 2), [FIRST, "timeout"]);
  // An error of this machine says nothing.
  const cause = Object.assign(new Error("failed"), { code: "ENETUNREACH" });
  assertEquals(judged([{ state: "unreachable", cause }, { state: "timeout" }])?.slice(0, 2), [SECOND, "timeout"]);
});

Deno.test("judge() says that the server listens on a port only if each list contains it, and there is one for each address", () => {
  const yes = [PORT, 80];
  const no = [80];
  const listeningOf = (...announced: number[][][]) =>
    judged(announced.map((lists) => ({ state: "refused", announced: lists })))?.slice(2);
  const [listening, notListening, unknown] = [[undefined, true], ["not_listening", false], [undefined, null]];
  assertEquals(listeningOf([yes]), listening);
  assertEquals(listeningOf([yes, yes]), listening);
  assertEquals(listeningOf([yes], [yes]), listening);
  assertEquals(listeningOf([no]), notListening);
  assertEquals(listeningOf([yes, no]), notListening);
  assertEquals(listeningOf([yes], [no]), notListening);
  assertEquals(listeningOf([], [no]), notListening);
  assertEquals(listeningOf([]), unknown);
  assertEquals(listeningOf([], []), unknown);
  // If it announces at one address, it has to do so at each.
  assertEquals(listeningOf([yes], []), ["not_listening", null]);
  assertEquals(listeningOf([], [yes]), ["not_listening", null]);
});
