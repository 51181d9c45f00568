import { assert, assertEquals } from "@std/assert";
import { at, startList } from "../tests/helpers/connection_list.ts";
import { delay, until, within } from "../tests/helpers/waiting.ts";
import type { OpenConnection } from "./connection.ts";
import type { ConnectionList } from "./connections.ts";

Deno.test("ConnectionList keeps its order when connections in the middle are closed", async () => {
  const { list, add, end } = await startList(1000, 8);
  const added = add(8);
  for (const connection of added) list.setStage(connection, "draining");
  for (const i of [2, 3, 1, 7]) at(added, i, (connection) => list.close(connection, "closed"));
  while (list.size > 0) {
    assertEquals(list.evictOldest(), true);
    assertEquals(added.filter(({ closeReason }) => !closeReason).length, list.size);
  }
  const evicted = added.filter(({ closeReason }) => closeReason === "evicted");
  assertEquals(evicted.map((connection) => added.indexOf(connection)), [0, 4, 5, 6]);
  end();
});

Deno.test("ConnectionList evicts the oldest connection that has been greeted, or else the oldest that has sent a part", async () => {
  const { list, add, end } = await startList(1000, 6);
  const added = add(6);
  for (const [i, stage] of (["greeting", "sending", "draining", "sending", "draining"] as const).entries()) {
    at(added, i, (connection) => list.setStage(connection, stage));
  }
  const evicted: number[] = [];
  const changed = list.changed.wait();
  while (list.evictOldest()) evicted.push(added.findIndex((each, i) => each.closeReason && !evicted.includes(i)));
  await within(changed);
  assertEquals(evicted, [2, 4, 1, 3]);
  // One that is being greeted and one that waits to be admitted are not evicted.
  assertEquals(list.size, 2);
  end();
});

/** Admits connections. Returns functions that tell which have been admitted or closed, in order. */
function admitAll(list: ConnectionList, connections: readonly OpenConnection[]): number[] {
  const ended: number[] = [];
  for (const [i, connection] of connections.entries()) {
    const room = list.admit(connection);
    if (room) room.then(() => ended.push(i));
    else ended.push(i);
  }
  return ended;
}

Deno.test("ConnectionList admits no more connections than its limit, and the next ones in order", async () => {
  const { list, add, end } = await startList(2, 6);
  const added = add(6);
  const ended = admitAll(list, added);
  await delay(0);
  assertEquals([ended, list.size], [[0, 1], 6]);
  at(added, 0, (first) => list.close(first, "reset"));
  await until(() => ended.length === 3);
  // One that was closed while it waited takes no room.
  at(added, 3, (fourth) => list.close(fourth, "timeout"));
  at(added, 1, (second) => list.close(second, "closed"));
  await until(() => ended.length === 5);
  at(added, 2, (third) => list.close(third, "closed"));
  await until(() => ended.length === 6);
  assertEquals(ended, [0, 1, 2, 3, 4, 5]);
  assertEquals(added.map(({ stage, closeReason }) => closeReason ?? stage), [
    "reset",
    "closed",
    "closed",
    "timeout",
    "greeting",
    "greeting",
  ]);
  end();
});

Deno.test("ConnectionList evicts a connection for each one that waits, as soon as one can be evicted", async () => {
  for (const stage of ["draining", "sending"] as const) {
    const { list, add, end } = await startList(2, 4);
    const added = add(3);
    const ended = admitAll(list, added);
    await delay(0);
    assertEquals(ended, [0, 1]);
    at(added, 1, (second) => list.setStage(second, stage));
    await until(() => ended.length === 3);
    // Nothing waits, so this one is evicted only when the next one is admitted.
    at(added, 0, (first) => list.setStage(first, stage));
    assertEquals(added.map(({ closeReason }) => closeReason), [undefined, "evicted", undefined]);
    admitAll(list, add(1).slice(3));
    await until(() => added[3]?.stage === "greeting");
    assertEquals(added.map(({ closeReason }) => closeReason), ["evicted", "evicted", undefined, undefined]);
    end();
  }
});

Deno.test("ConnectionList ends the wait of as many silent connections as others need room, oldest first", async () => {
  const { list, add, end } = await startList(4, 7);
  const added = add(4);
  admitAll(list, added);
  for (const connection of added) list.setStage(connection, "silent");
  const stages = () => added.map(({ stage, closeReason }) => closeReason ?? stage);
  admitAll(list, add(1).slice(4));
  assertEquals(stages(), ["greeting", "silent", "silent", "silent", "waiting"]);
  admitAll(list, add(1).slice(5));
  assertEquals(stages(), ["greeting", "greeting", "silent", "silent", "waiting", "waiting"]);
  at(added, 0, (first) => list.setStage(first, "draining"));
  at(added, 1, (second) => list.close(second, "reset"));
  await until(() => !stages().includes("waiting"));
  assertEquals(stages(), ["evicted", "reset", "silent", "silent", "greeting", "greeting"]);
  // One that becomes silent while others wait is greeted, too.
  admitAll(list, add(1).slice(6));
  assertEquals(stages().slice(2), ["silent", "silent", "greeting", "greeting", "waiting"]);
  for (const i of [4, 5]) at(added, i, (connection) => list.setStage(connection, "silent"));
  assertEquals(stages().slice(2), ["greeting", "silent", "silent", "silent", "waiting"]);
  end();
});

Deno.test("ConnectionList closes each connection at its own deadline", async () => {
  const { list, add, end } = await startList(1000, 2, 300);
  const added = add(1);
  await delay(150);
  add(1);
  await until(() => list.size < 2);
  assertEquals(added.map(({ closeReason }) => closeReason), ["timeout", undefined]);
  await until(() => list.size === 0);
  const [first = 0, second = 0] = added.map(({ acceptedAt }) => acceptedAt);
  assert(performance.now() - second >= 299 && second - first >= 149, "closed before the deadline");
  end();
});

Deno.test("ConnectionList closes a connection only once, and tells those that wait for a change", async () => {
  const { list, add, end } = await startList(1000, 1);
  const calls: string[] = [];
  const changed = list.changed.wait().then(() => calls.push("changed"));
  at(add(1), 0, (connection) => {
    connection.endWait = () => calls.push("endWait");
    list.close(connection, "reset");
    list.close(connection, "closed");
    list.setStage(connection, "draining");
    assertEquals([connection.closeReason, list.size, list.evictOldest()], ["reset", 0, false]);
  });
  await within(changed);
  assertEquals(calls, ["endWait", "changed"]);
  end();
});

Deno.test("ConnectionList notifies those that wait for a change when a connection has been greeted", async () => {
  const { list, add, end } = await startList(10, 1);
  const changed = list.changed.wait();
  at(add(1), 0, (connection) => list.setStage(connection, "draining"));
  await within(changed);
  end();
});

Deno.test("ConnectionList ends the wait of the oldest silent connection, and each wait only once", async () => {
  const { list, add, end } = await startList(1000, 4);
  const added = add(4);
  const ended: number[] = [];
  for (const [i, connection] of added.entries()) connection.endWait = () => ended.push(i);
  assertEquals([list.endOldestWait(), ended], [false, []]);
  for (const i of [1, 2, 3]) at(added, i, (connection) => list.setStage(connection, "silent"));
  assertEquals([list.endOldestWait(), list.endOldestWait(), ended], [true, true, [1, 2]]);
  at(added, 3, (fourth) => list.close(fourth, "reset"));
  assertEquals([list.endOldestWait(), ended], [false, [1, 2, 3]]);
  assertEquals(added.map(({ stage }) => stage), ["waiting", "greeting", "greeting", "silent"]);
  end();
});
