import { assert, assertEquals } from "@std/assert";
import { formatAnnouncement } from "../shared/announcement.ts";
import { type ControlPort, Controls } from "./controls.ts";
import { block } from "../tests/helpers/waiting.ts";
import { passAt, type PassOptions } from "./pass.ts";
import type { ProbeOutcome } from "./probe.ts";
import type { ProbeState } from "./results.ts";

const CONTROL: ControlPort = { port: 22, expected: "greeted" };

/** How far apart the tries are on the clock of the outcomes, so that a control is near one try only. */
const APART_MS = 10_000;

function outcomeOf(port: number, state: ProbeState, started: number, connectMs = 1): ProbeOutcome {
  const remoteAddr = { transport: "tcp", hostname: "192.0.2.1", port } as const;
  const rest = { remoteAddr, localAddr: undefined, greeting: new Uint8Array(), error: undefined };
  return { state, ...rest, duration: connectMs, started, connectMs };
}

/** What a test says about a pass. */
interface Script extends Partial<PassOptions> {
  /** The state that each try of a port finds, by its number, from 1. Default: `refused`. */
  stateOf?: (port: number, count: number) => ProbeState | Promise<ProbeState>;
  /** The ports whose last tries do not count, as a control was lost then. Called at the end of the nth round. */
  lostAt?: (round: number) => readonly number[];
  /** The state of the control at the end of the nth round. */
  endOf?: (round: number) => ProbeState;
  /** Called before each try. */
  onTry?: (port: number) => void;
  hasControls?: boolean;
}

/** Makes a pass in which nothing waits and no network is used. Returns what it did. */
async function passWith(ports: readonly number[], { hasControls = true, ...script }: Script = {}) {
  const { stateOf = () => "refused", lostAt = () => [], endOf = () => "greeted", onTry = () => {} } = script;
  const tries: number[] = [];
  const startedOf = new Map<number, number>();
  /** The pauses, rounded up to a second, and the tries, in order. Each pause for a start begins at the first one. */
  const steps: string[] = [];
  const pauses: number[] = [];
  const watched: number[] = [];
  let places = 0;
  let timers = 0;
  let progress = 0;
  let round = 0;
  let controlCount = 0;
  const signal = new AbortController().signal;
  const take = () => void places++;
  const pool = {
    signal,
    acquire: () => Promise.resolve(take()),
    take,
    release: () => void places--,
    sleep: (ms: number) => {
      steps.push(`+${Math.ceil(ms / 1000)}s`);
      pauses.push(ms);
      return Promise.resolve();
    },
    schedule: (ms: number) => {
      watched.push(ms);
      timers++;
      return () => void timers--;
    },
  };
  const controls: Controls = new Controls([CONTROL], {
    pool,
    probe: () => {
      // With many ports, there is one when the last port is tried, and one at the end of each round.
      if (++controlCount % 2 === 1 && !script.isFew) return Promise.resolve(outcomeOf(CONTROL.port, "greeted", 0));
      round++;
      for (const port of lostAt(round)) {
        controls.add(CONTROL, outcomeOf(CONTROL.port, "greeted", startedOf.get(port) ?? 0, 1000), []);
      }
      const greeting = new TextEncoder().encode(formatAnnouncement([80]));
      return Promise.resolve({ ...outcomeOf(CONTROL.port, endOf(round), 0), greeting });
    },
  });
  controls.add(CONTROL, outcomeOf(CONTROL.port, "greeted", 0), [new Set([80])]);
  const pass = await passAt("192.0.2.1", ports, {
    pool,
    controls: hasControls ? controls : undefined,
    rate: 1,
    isFew: false,
    isConfirmed: false,
    timeout: 3500,
    deadline: 0,
    probe: async (port) => {
      onTry(port);
      tries.push(port);
      steps.push(`${port}`);
      const started = tries.length * APART_MS;
      startedOf.set(port, started);
      return outcomeOf(port, await stateOf(port, tries.filter((each) => each === port).length), started);
    },
    onProgress: (done) => progress += done,
    stop: signal,
    ...script,
  });
  const states = [...pass.outcomes].map(([port, { state }]) => `${port} ${state}`);
  const doubts = [...pass.doubts].map(([port, { reason }]) => `${port} ${reason}`);
  return { pass, states, doubts, steps, pauses, tries, watched, places, timers, progress, rounds: round, controlCount };
}

Deno.test("passAt() tries each port once, evenly at its rate", async () => {
  const { pass, states, doubts, steps, progress, places, timers } = await passWith([1, 2, 3, 4]);
  assertEquals(steps, ["1", "+1s", "2", "+2s", "3", "+3s", "4"]);
  assertEquals(states, ["1 refused", "2 refused", "3 refused", "4 refused"]);
  assertEquals([doubts, progress, places, timers], [[], 4, 0, 0]);
  assertEquals([pass.address, pass.announced], ["192.0.2.1", [new Set([80])]]);
});

Deno.test("passAt() tries only the ports whose states do not count again, at a quarter and then at a sixteenth of the rate", async () => {
  const { steps, states, doubts, progress, rounds } = await passWith([1, 2, 3], {
    lostAt: (round) => round === 1 ? [1, 3] : round <= 4 ? [3, 1] : [],
    stateOf: (port, count) => port === 3 && count === 5 ? "open" : "refused",
  });
  assertEquals(steps, [
    ...["1", "+1s", "2", "+2s", "3"],
    ...["+4s", "1", "+4s", "3"],
    ...["+16s", "1", "+16s", "3"],
    ...["+16s", "1", "+16s", "3"],
    ...["+16s", "1", "+16s", "3"],
  ]);
  assertEquals([states, doubts, progress, rounds], [["1 refused", "2 refused", "3 open"], [], 3, 5]);
});

Deno.test("passAt() waits at least 2 s before it tries ports again, so that the control that was lost does not count again", async () => {
  const { pauses } = await passWith([1], { rate: 100, lostAt: (round) => round < 4 ? [1] : [] });
  assertEquals(pauses, [2000, 2000, 2000]);
});

Deno.test("passAt() does not try a port again that was reached, even if a control was lost then", async () => {
  const { tries, doubts } = await passWith([1, 2], {
    stateOf: (port) => port === 1 ? "open" : "refused",
    lostAt: (round) => round === 1 ? [1] : [],
  });
  assertEquals([tries, doubts], [[1, 2], []]);
});

Deno.test("passAt() gives up when the time for retries is over, and says which ports are in doubt", async () => {
  // The time is twice that of the first round, so there may be other rounds.
  const { doubts, tries } = await passWith([1, 2], { retryMs: 0, lostAt: () => [2] });
  assertEquals([doubts, tries.slice(0, 2)], [["2 control_lost"], [1, 2]]);
});

Deno.test("passAt() does not pause longer than it may try ports again", async () => {
  const { pauses } = await passWith([1], { rate: 0.1, retryMs: 300_000, lostAt: (round) => round < 3 ? [1] : [] });
  const [first, second] = pauses;
  assertEquals([first, second], [40_000, 160_000]);
  const short = await passWith([1], { rate: 0.1, retryMs: 50_000, lostAt: (round) => round < 3 ? [1] : [] });
  assert(short.pauses[0] === 40_000 && (short.pauses[1] ?? Infinity) <= 50_000, `${short.pauses}`);
});

Deno.test("passAt() goes on until the deadline if that is later", async () => {
  const deadline = performance.now() + 100;
  const { doubts } = await passWith([1], { retryMs: 0, deadline, lostAt: () => [1] });
  assert(performance.now() >= deadline);
  assertEquals(doubts, ["1 control_lost"]);
});

Deno.test("passAt() ends without another try if the control at the end failed, or was refused", async () => {
  for (const [state, reason] of [["timeout", "control_failed"], ["refused", "control_refused"]] as const) {
    const { doubts, tries } = await passWith([1, 2, 3], {
      stateOf: (port) => port === 2 ? "greeted" : "timeout",
      endOf: () => state,
    });
    assertEquals([doubts, tries], [[`1 ${reason}`, `3 ${reason}`], [1, 2, 3]]);
  }
});

Deno.test("passAt() doubts a timeout without a control, but no other state", async () => {
  const { doubts } = await passWith([1, 2, 3], {
    retryMs: 0,
    stateOf: (port) => port === 1 ? "timeout" : port === 2 ? "unreachable" : "refused",
  });
  assertEquals(doubts, ["1 control_lost"]);
});

Deno.test("passAt() accepts each state if there are no controls", async () => {
  const { doubts, tries, pass } = await passWith([1, 2], {
    hasControls: false,
    stateOf: (port) => port === 1 ? "timeout" : "refused",
  });
  assertEquals([doubts, tries, pass.announced], [[], [1, 2], []]);
});

Deno.test("passAt() confirms that all states hold when the last port is tried", async () => {
  const known = Promise.withResolvers<ProbeState>();
  const { steps, states, progress } = await passWith([1, 2, 3, 4], {
    isConfirmed: true,
    // The second port is open at first, and blocked later. The third one is not known before all have been tried.
    stateOf: (port, count) => {
      if (port === 1 && count === 2) known.resolve("timeout");
      if (port === 3) return known.promise;
      return port === 2 ? (count === 1 ? "open" : "refused") : "refused";
    },
    hasControls: false,
  });
  assertEquals(steps, ["1", "+1s", "2", "+2s", "3", "+3s", "4", "+4s", "1"]);
  assertEquals([states, progress], [["1 refused", "2 open", "4 refused", "3 timeout"], 4]);
});

Deno.test("passAt() confirms few ports 1 to 1.5 s later, in each round, and tries all of them again if one does not count", async () => {
  const pauses: number[] = [];
  for (let i = 0; i < 20; i++) {
    const result = await passWith([1, 2], {
      isFew: true,
      isConfirmed: true,
      lostAt: (round) => round === 1 ? [2] : [],
    });
    assertEquals(result.tries, [1, 2, 1, 2, 1, 2, 1, 2]);
    pauses.push(result.pauses[1] ?? 0);
  }
  for (const ms of pauses) assert(ms >= 1000 && ms <= 1500, `${pauses}`);
  assert(new Set(pauses).size > 1, `${pauses}`);
});

Deno.test("passAt() reports what the second try found if it says more, and when both were made", async () => {
  for (
    const [first, second, kept] of [
      ["refused", "open", "open"],
      ["refused", "timeout", "refused"],
      ["timeout", "refused", "refused"],
      ["unreachable", "timeout", "unreachable"],
    ] as const
  ) {
    const { pass } = await passWith([1], {
      isFew: true,
      isConfirmed: true,
      hasControls: false,
      stateOf: (_, count) => count === 1 ? first : second,
    });
    const outcome = pass.outcomes.get(1);
    assertEquals([outcome?.state, outcome?.tries], [kept, [
      { state: first, started: APART_MS, ended: APART_MS + 1 },
      { state: second, started: 2 * APART_MS, ended: 2 * APART_MS + 1 },
    ]]);
  }
});

Deno.test("passAt() makes two controls while all of few ports are tried, and random ones otherwise", async () => {
  const seen: number[][] = [];
  for (let i = 0; i < 20; i++) {
    // The last of three ports is tried after 500 ms.
    const { watched: [first = 0, second = 0, ...others], timers } = await passWith([1, 2, 3], { isFew: true, rate: 4 });
    assert(first >= 500 && first <= 1500 && second >= 1500 && second <= 3500, `${first}, ${second}`);
    assertEquals([others, timers], [[], 0]);
    seen.push([first, second]);
  }
  assert(new Set(seen.flat()).size > 2, `${seen}`);
  // A control after 1.5 s would be later than the first port.
  for (const script of [{ isFew: true, rate: 4, timeout: 1500 }, { isFew: false, rate: 4 }]) {
    const { watched: [first = 0, ...others], timers } = await passWith([1, 2, 3], script);
    assert(first >= 250 && first <= 750, `${first}`);
    assertEquals([others, timers], [[], 0]);
  }
});

Deno.test("passAt() starts nothing when it has been stopped, and gives its places back", async () => {
  for (const kind of ["run", "host"] as const) {
    const stop = new AbortController();
    const { states, tries, places, timers, rounds } = await passWith([1, 2, 3], {
      ...kind === "host" && { stop: stop.signal },
      ...kind === "run" && {
        pool: {
          signal: stop.signal,
          acquire: () => Promise.resolve(),
          release: () => {},
          sleep: () => Promise.resolve(),
        },
      },
      onTry: (port) => {
        if (port === 2) stop.abort();
      },
    });
    assertEquals([states, tries, timers, rounds], [["1 refused", "2 refused"], [1, 2], 0, 0]);
    if (kind === "host") assertEquals(places, 0);
  }
});

Deno.test("passAt() has no outcome of a try that was stopped", async () => {
  const { states } = await passWith([1, 2], { probe: () => Promise.resolve(undefined) });
  assertEquals(states, []);
});

Deno.test("passAt() makes a control when it tries the last of many ports, because a limit may have dropped the others by then", async () => {
  const many = await passWith([1, 2, 3]);
  assertEquals([many.rounds, many.controlCount], [1, 2]);
  const few = await passWith([1, 2, 3], { isFew: true });
  assertEquals([few.rounds, few.controlCount], [1, 1]);
});

Deno.test("passAt() does not mix the states of several rounds if all ports must be blocked at one moment", async () => {
  const found = await passWith([1, 2], { isConfirmed: true, lostAt: (round) => round === 1 ? [2] : [] });
  assertEquals([found.tries, found.doubts], [[1, 2, 1, 1, 2, 1], []]);
  // The time is over when the second round has just begun.
  let tries = 0;
  const cut = await passWith([1, 2], {
    isConfirmed: true,
    retryMs: 0,
    deadline: performance.now() + 50,
    lostAt: (round) => round === 1 ? [2] : [],
    onTry: () => {
      if (tries++ === 3) block(100);
    },
  });
  assertEquals(cut.doubts, ["2 control_lost"]);
});
