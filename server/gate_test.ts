import { assert, assertEquals } from "@std/assert";
import type { OpenConnection } from "./connection.ts";
import { Gate, MAX_UNGREETED } from "./gate.ts";
import { at, startList } from "../tests/connection_list.ts";
import { delay, until, within } from "../tests/helpers.ts";

/** A list and its gate, and functions that add connections to both, and return how many have been admitted. */
async function start(limit: number, total: number, timeout?: number) {
  const { list, clients, add: addToList, end } = await startList(limit, total, timeout);
  const gate = new Gate(list);
  const added: OpenConnection[] = [];
  const turns: Promise<void>[] = [];
  return {
    list,
    clients,
    gate,
    turns,
    /** Adds connections. Returns all that have been added so far. */
    add(count: number): OpenConnection[] {
      for (const connection of addToList(count).slice(added.length)) {
        added.push(connection);
        const turn = gate.admit(connection);
        if (turn) turns.push(turn);
      }
      return added;
    },
    /** How many connections have been admitted. Checks that they were admitted in order. */
    admitted(): number {
      const waiting = added.findIndex(({ stage }) => stage === "waiting");
      if (waiting < 0) return added.length;
      assertEquals(added.slice(waiting).filter(({ stage }) => stage !== "waiting"), []);
      return waiting;
    },
    end() {
      end();
      gate.dispose();
    },
  };
}

Deno.test("Gate admits connections in order, at most 16 that have not been greeted", async () => {
  const { list, gate, add, admitted, end } = await start(1000, 40);
  const added = add(40);
  assertEquals(admitted(), MAX_UNGREETED);
  at(added, 0, (first) => gate.markDraining(first));
  assertEquals(admitted(), MAX_UNGREETED + 1);
  at(added, 1, (second) => list.close(second, "reset"));
  assertEquals(admitted(), MAX_UNGREETED + 2);
  // These have left the gate before.
  at(added, 0, (first) => list.close(first, "closed"));
  at(added, 1, (second) => gate.markDraining(second));
  assertEquals(admitted(), MAX_UNGREETED + 2);
  end();
});

Deno.test("Gate admits all others at once when the 16 that are being greeted have stalled", async () => {
  const { gate, add, admitted, turns, end } = await start(1000, 150);
  const added = add(40);
  for (const connection of added.slice(0, 16)) gate.markProgress(connection);
  await until(() => admitted() > MAX_UNGREETED);
  assertEquals(admitted(), 40);
  await within(Promise.all(turns));
  // Others are admitted without a pause, until one has been greeted.
  add(20);
  assertEquals(admitted(), 60);
  at(added, 0, (first) => gate.markDraining(first));
  add(40);
  assertEquals(admitted(), 60);
  // Those that have stalled do not count when they leave, either.
  for (const connection of added.slice(1, 16)) gate.markDraining(connection);
  assertEquals(admitted(), 60);
  for (const connection of added.slice(16, 60)) gate.markDraining(connection);
  assertEquals(admitted(), 60 + MAX_UNGREETED);
  end();
});

Deno.test("Gate does not regard a connection as stalled whose progress this process was too busy to notice", async () => {
  const { gate, clients, add, end } = await start(10, 1);
  const [connection] = add(1);
  const [client] = clients;
  if (!connection || !client) throw new Error("expected a connection");
  gate.markProgress(connection);
  gate.checkStalled();
  // The end of this read stands for progress. This process can notice it only when the check is due.
  const read = connection.conn.read(new Uint8Array(1)).then(() => {
    assertEquals(connection.stage, "greeting");
    gate.markProgress(connection);
  });
  const written = client.write(new Uint8Array(1));
  const started = performance.now();
  while (performance.now() - started < 100);
  await Promise.all([read, written]);
  await delay(0);
  assertEquals(connection.stage, "greeting");
  end();
});

Deno.test("Gate notifies those that wait for a change when a connection has been greeted", async () => {
  const { list, gate, add, end } = await start(10, 1);
  const changed = list.changed.wait();
  at(add(1), 0, (connection) => gate.markDraining(connection));
  await within(changed);
  end();
});

Deno.test("Gate stays closed when the only connection in it has stalled and no other one waits", async () => {
  const { gate, add, admitted, end } = await start(1000, 40);
  const added = add(1);
  at(added, 0, (first) => gate.markProgress(first));
  gate.checkStalled();
  await until(() => added[0]?.stage === "stalled");
  add(39);
  assertEquals(admitted(), 1 + MAX_UNGREETED);
  end();
});

Deno.test("Gate counts a stalled connection again when it makes progress", async () => {
  const { list, gate, add, admitted, end } = await start(1000, 60);
  const added = add(20);
  for (const connection of added) gate.markProgress(connection);
  await until(() => admitted() === 20);
  const stalled = added.filter(({ stage }) => stage === "stalled");
  assertEquals(stalled.length, MAX_UNGREETED);
  at(added, 0, (first) => list.close(first, "reset"));
  for (const connection of stalled) gate.markProgress(connection);
  // A connection that has been closed does not count again.
  assertEquals(added.map(({ stage }) => stage), ["stalled", ...Array(19).fill("greeting")]);
  // 19 count. The gate is open until one has been greeted, and then closed until 3 more have been.
  at(added, 1, (second) => gate.markDraining(second));
  add(2);
  for (const connection of added.slice(2, 4)) gate.markDraining(connection);
  assertEquals(admitted(), 20);
  at(added, 4, (fifth) => gate.markDraining(fifth));
  assertEquals(admitted(), 21);
  end();
});

Deno.test("Gate never exceeds its limit, and evicts the oldest connection that has been greeted", async () => {
  const { list, gate, add, admitted, end } = await start(2, 6);
  const added = add(4);
  assertEquals([admitted(), list.size], [2, 4]);
  at(added, 1, (second) => gate.markDraining(second));
  assertEquals(admitted(), 3);
  assertEquals(added.slice(0, 2).map(({ closeReason }) => closeReason), [undefined, "evicted"]);
  at(added, 0, (first) => list.close(first, "reset"));
  assertEquals(admitted(), 4);
  // A connection that has been greeted and closed leaves room for one other, not for two.
  at(added, 2, (third) => {
    gate.markDraining(third);
    list.close(third, "closed");
    gate.markDraining(third);
  });
  add(2);
  assertEquals([admitted(), list.size], [5, 3]);
  end();
});

Deno.test("Gate evicts connections that have stalled if none has been greeted, as many as necessary", async () => {
  const { gate, add, admitted, end } = await start(2, 4);
  const added = add(3);
  assertEquals(admitted(), 2);
  for (const connection of added.slice(0, 2)) gate.markProgress(connection);
  await until(() => admitted() === 3);
  assertEquals(added.map(({ closeReason }) => closeReason), ["evicted", undefined, undefined]);
  // One that has been greeted is evicted first, although another one is older and has stalled.
  assertEquals(added[1]?.stage, "stalled");
  at(added, 2, (third) => gate.markDraining(third));
  add(1);
  assertEquals(added.map(({ closeReason }) => closeReason), ["evicted", undefined, "evicted", undefined]);
  end();
});

Deno.test("Gate regards no connection as stalled whose write has not begun, has just made progress, or has ended", async () => {
  const { gate, add, end } = await start(10, 5);
  const added = add(5);
  for (const connection of added.slice(1)) gate.markProgress(connection);
  // The kernel has taken the whole greeting of this one, but it has not been half-closed yet.
  at(added, 2, (third) => third.greeted = true);
  // Some time after the check, so that a delay of this process has no effect.
  at(added, 3, (fourth) => fourth.progressAt += 60_000);
  at(added, 4, (fifth) => gate.markDraining(fifth));
  gate.checkStalled();
  await until(() => added.some(({ stage }) => stage === "stalled"));
  at(added, 1, ({ progressAt }) => assert(performance.now() - progressAt >= 19, "stalled too early"));
  assertEquals(added.map(({ stage }) => stage), ["greeting", "stalled", "greeting", "greeting", "draining"]);
  end();
});

Deno.test("Gate does not admit a connection whose deadline was over while it waited", async () => {
  const { list, add, turns, end } = await start(1, 3, 300);
  const added = add(2);
  await until(() => list.size === 0);
  assertEquals(added.map(({ closeReason }) => closeReason), ["timeout", "timeout"]);
  await within(Promise.all(turns));
  // Connections that were closed while they waited do not block others.
  add(1);
  assertEquals(added.at(-1)?.stage, "greeting");
  list.closeAll("shutdown");
  end();
});

Deno.test("Gate ends the wait of a connection that is closed, and admits the next one instead", async () => {
  const { list, add, turns, end } = await start(1, 3);
  const added = add(3);
  at(added, 1, (second) => list.close(second, "shutdown"));
  await within(Promise.all(turns.slice(0, 1)));
  at(added, 0, (first) => list.close(first, "closed"));
  await within(Promise.all(turns));
  assertEquals(added.map(({ stage }) => stage), ["greeting", "waiting", "greeting"]);
  end();
});

/** A wait for a client that never speaks. */
const endless = new Promise<void>(() => {});

Deno.test("Gate admits another connection instead of one that leaves to wait for its client", async () => {
  const { gate, add, admitted, end } = await start(1000, 17);
  const added = add(17);
  assertEquals(admitted(), MAX_UNGREETED);
  at(added, 0, (first) => gate.leaveDuring(endless, first));
  assertEquals([admitted(), added[0]?.stage], [17, "silent"]);
  end();
});

Deno.test("Gate admits those that return before new ones, and they need no room", async () => {
  const { list, gate, add, end } = await start(18, 20);
  const [first, second, third] = add(2);
  if (!first || !second || third) throw new Error("expected two connections");
  for (const connection of [first, second]) {
    void gate.leaveDuring(endless, connection);
    list.endWait(connection);
  }
  const added = add(18);
  assertEquals(added.filter(({ stage }) => stage === "greeting").length, MAX_UNGREETED);
  // The gate is closed and the limit is reached, and two new connections wait.
  const turns = [gate.admit(first), gate.admit(second)];
  at(added, 2, (connection) => gate.markDraining(connection));
  assertEquals([first, second, added[18], added[19]].map((each) => each?.stage), [
    "greeting",
    "ready",
    "waiting",
    "waiting",
  ]);
  at(added, 3, (connection) => gate.markDraining(connection));
  await within(Promise.all(turns));
  // They had their place already, so none was evicted.
  assertEquals(added.filter(({ closeReason }) => closeReason), []);
  end();
});

Deno.test("Gate admits a connection that returns at once if it is open, even at the limit", async () => {
  const { list, gate, add, end } = await start(2, 2);
  const [first, second] = add(2);
  if (!first || !second) throw new Error("expected two connections");
  void gate.leaveDuring(endless, first);
  list.endWait(first);
  assertEquals([list.hasRoom, gate.admit(first), first.stage], [false, undefined, "greeting"]);
  end();
});

Deno.test("Gate admits a connection that returns when no new one waits", async () => {
  const { list, gate, add, end } = await start(1000, 17);
  const [first] = add(1);
  if (!first) throw new Error("expected a connection");
  void gate.leaveDuring(endless, first);
  list.endWait(first);
  const added = add(16);
  const turn = gate.admit(first);
  assertEquals(first.stage, "ready");
  at(added, 1, (second) => list.close(second, "reset"));
  await within(Promise.resolve(turn));
  assertEquals(first.stage, "greeting");
  end();
});

Deno.test("Gate ends the wait of as many silent connections as new ones need room, oldest first", async () => {
  const { list, gate, add, end } = await start(4, 7);
  const added = add(4);
  for (const connection of added) void gate.leaveDuring(endless, connection);
  const ended: number[] = [];
  for (const [i, connection] of added.entries()) connection.wake = () => ended.push(i);
  const stages = () => added.map(({ stage }) => stage);
  add(1);
  assertEquals([stages(), ended], [["ready", "silent", "silent", "silent", "waiting"], [0]]);
  add(1);
  assertEquals([stages().slice(0, 4), ended], [["ready", "ready", "silent", "silent"], [0, 1]]);
  // One that is being greeted is going to be evictable, too.
  at(added, 0, (first) => gate.admit(first));
  assertEquals(stages().slice(0, 4), ["greeting", "ready", "silent", "silent"]);
  at(added, 0, (first) => gate.markDraining(first));
  assertEquals(added[0]?.closeReason, "evicted");
  assertEquals(stages().slice(1), ["ready", "silent", "silent", "greeting", "waiting"]);
  at(added, 1, (second) => list.close(second, "reset"));
  assertEquals([list.size, stages().slice(2)], [4, ["silent", "silent", "greeting", "greeting"]]);
  end();
});

Deno.test("Gate does not end the wait of silent connections while there is room", async () => {
  const { gate, add, end } = await start(1000, 40);
  const added = add(1);
  at(added, 0, (first) => gate.leaveDuring(endless, first));
  add(39);
  assertEquals([added[0]?.stage, added.filter(({ stage }) => stage === "waiting").length], ["silent", 23]);
  end();
});

Deno.test("Gate lets a connection leave only until its client has spoken, and not if it has been closed", async () => {
  const { list, gate, add, end } = await start(1000, 2);
  const [first, second] = add(2);
  if (!first || !second) throw new Error("expected two connections");
  const { promise, resolve } = Promise.withResolvers<void>();
  const left = gate.leaveDuring(promise, first);
  assertEquals(first.stage, "silent");
  resolve();
  await within(left);
  assertEquals(first.stage, "ready");
  list.close(second, "timeout");
  await within(gate.leaveDuring(promise, second));
  assertEquals(list.counts, { waiting: 0, silent: 0, ready: 1, greeting: 0, stalled: 0, draining: 0 });
  end();
});
