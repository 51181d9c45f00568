import { assert, assertEquals } from "@std/assert";
import { at, startList } from "../tests/connection_list.ts";
import { delay, until, within } from "../tests/helpers.ts";

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

Deno.test("ConnectionList evicts the oldest connection that has been greeted, or else the oldest that has stalled", async () => {
  const { list, add, end } = await startList(1000, 6);
  const added = add(6);
  for (const [i, stage] of (["greeting", "stalled", "draining", "stalled", "draining"] as const).entries()) {
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

Deno.test("ConnectionList has room below its limit, or if it can evict a connection", async () => {
  for (const stage of ["draining", "stalled"] as const) {
    const { list, add, end } = await startList(2, 3);
    const added = add(3);
    at(added, 0, (first) => list.setStage(first, "greeting"));
    // Those that wait to be admitted do not count.
    assertEquals(list.hasRoom, true);
    list.makeRoom();
    assertEquals(list.size, 3);
    at(added, 1, (second) => list.setStage(second, "greeting"));
    assertEquals(list.hasRoom, false);
    at(added, 1, (second) => list.setStage(second, stage));
    assertEquals([list.hasRoom, list.size], [true, 3]);
    list.makeRoom();
    assertEquals(added.map(({ closeReason }) => closeReason), [undefined, "evicted", undefined]);
    end();
  }
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

Deno.test("ConnectionList closes a connection only once, and tells the gate and those that wait for a change", async () => {
  const { list, add, end } = await startList(1000, 1);
  const calls: string[] = [];
  list.onClose = () => calls.push("onClose");
  const changed = list.changed.wait().then(() => calls.push("changed"));
  at(add(1), 0, (connection) => {
    connection.wake = () => calls.push("wake");
    list.close(connection, "reset");
    list.close(connection, "closed");
    assertEquals([connection.closeReason, list.size], ["reset", 0]);
  });
  await within(changed);
  assertEquals(calls, ["wake", "onClose", "changed"]);
  end();
});

Deno.test("ConnectionList ends the wait of the oldest silent connection, and each wait only once", async () => {
  const { list, add, end } = await startList(1000, 4);
  const added = add(4);
  const ended: number[] = [];
  for (const [i, connection] of added.entries()) connection.wake = () => ended.push(i);
  assertEquals([list.endOldestWait(), ended], [false, []]);
  for (const i of [1, 2, 3]) at(added, i, (connection) => list.setStage(connection, "silent"));
  assertEquals([list.endOldestWait(), ended], [true, [1]]);
  for (const i of [0, 1, 3]) at(added, i, (connection) => list.endWait(connection));
  assertEquals([ended, added.map(({ stage }) => stage)], [[1, 3], ["waiting", "ready", "silent", "ready"]]);
  at(added, 2, (third) => {
    list.close(third, "reset");
    list.endWait(third);
  });
  assertEquals(list.counts, { waiting: 1, silent: 0, ready: 2, greeting: 0, stalled: 0, draining: 0 });
  end();
});
