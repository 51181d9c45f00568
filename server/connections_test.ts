import { assertEquals } from "@std/assert";
import type { OpenConnection } from "./connection.ts";
import { ConnectionList, MAX_UNGREETED } from "./connections.ts";
import { delay, until } from "../tests/helpers.ts";

/** A list, `total` connections, and functions that add the next ones and return the ones that have been admitted. */
async function start(limit: number, total: number, timeout = 60_000) {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const clients: Deno.Conn[] = [];
  const accepted: Deno.TcpConn[] = [];
  while (accepted.length < total) {
    clients.push(await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }));
    accepted.push(await listener.accept());
  }
  const list = new ConnectionList(timeout, limit);
  const added: OpenConnection[] = [];
  const turns: Promise<void>[] = [];
  return {
    list,
    turns,
    add(count: number): OpenConnection[] {
      for (const conn of accepted.splice(0, count)) {
        const connection = list.add(conn, conn);
        added.push(connection);
        const turn = list.admit(connection);
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
      list.closeAll("shutdown");
      assertEquals([list.size, added.filter(({ closeReason }) => !closeReason)], [0, []]);
      list.dispose();
      for (const conn of [...clients, ...accepted]) conn.close();
    },
  };
}

/** Runs a function for the connection at an index, which must exist. */
function at(connections: readonly OpenConnection[], index: number, callback: (connection: OpenConnection) => void) {
  const connection = connections[index];
  if (!connection) throw new RangeError(`there is no connection ${index}`);
  callback(connection);
}

Deno.test("ConnectionList admits connections in order, and at most 16 that have not been greeted", async () => {
  const { list, add, admitted, end } = await start(1000, 40);
  const added = add(40);
  assertEquals(admitted(), MAX_UNGREETED);
  at(added, 0, (first) => list.markDraining(first));
  assertEquals(admitted(), MAX_UNGREETED + 1);
  at(added, 1, (second) => list.close(second, "reset"));
  assertEquals(admitted(), MAX_UNGREETED + 2);
  // This one has left the gate before.
  at(added, 0, (first) => list.close(first, "closed"));
  assertEquals(admitted(), MAX_UNGREETED + 2);
  end();
});

Deno.test("ConnectionList admits all others at once when the 16 that are being greeted have stalled", async () => {
  const { list, add, admitted, turns, end } = await start(1000, 150);
  const added = add(40);
  for (const connection of added.slice(0, 16)) list.markProgress(connection);
  await until(() => admitted() > MAX_UNGREETED);
  assertEquals(admitted(), 40);
  await Promise.all(turns);
  // Others are admitted without a pause, until one has been greeted.
  add(20);
  assertEquals(admitted(), 60);
  at(added, 0, (first) => list.markDraining(first));
  add(40);
  assertEquals(admitted(), 60);
  // Stalled connections do not count when they leave, either.
  for (const connection of added.slice(1, 16)) list.markDraining(connection);
  assertEquals(admitted(), 60);
  for (const connection of added.slice(16, 60)) list.markDraining(connection);
  assertEquals(admitted(), 60 + MAX_UNGREETED);
  end();
});

Deno.test("ConnectionList counts a stalled connection again when it makes progress", async () => {
  const { list, add, admitted, end } = await start(1000, 60);
  const added = add(20);
  for (const connection of added) list.markProgress(connection);
  await until(() => admitted() === 20);
  const stalled = added.filter(({ stage }) => stage === "stalled");
  assertEquals(stalled.length, MAX_UNGREETED);
  for (const connection of stalled) list.markProgress(connection);
  assertEquals(new Set(added.map(({ stage }) => stage)), new Set(["greeting"]));
  // A connection that has been closed does not count again.
  at(added, 19, (last) => list.close(last, "reset"));
  at(added, 19, (last) => list.markProgress(last));
  // 19 count. The gate is open until one has been greeted, and then closed until 3 more have been.
  at(added, 0, (first) => list.markDraining(first));
  add(2);
  for (const connection of added.slice(1, 3)) list.markDraining(connection);
  assertEquals(admitted(), 20);
  at(added, 3, (fourth) => list.markDraining(fourth));
  assertEquals(admitted(), 21);
  end();
});

Deno.test("ConnectionList never exceeds its limit, and evicts the oldest connection that has been greeted", async () => {
  const { list, add, admitted, end } = await start(2, 6);
  const added = add(4);
  assertEquals([admitted(), list.size], [2, 4]);
  at(added, 1, (second) => list.markDraining(second));
  assertEquals(admitted(), 3);
  assertEquals(added.slice(0, 2).map(({ closeReason }) => closeReason), [undefined, "evicted"]);
  at(added, 0, (first) => list.close(first, "reset"));
  assertEquals(admitted(), 4);
  // A connection that has been greeted and closed leaves room for one other, not for two.
  at(added, 2, (third) => {
    list.markDraining(third);
    list.close(third, "closed");
    list.markDraining(third);
  });
  add(2);
  assertEquals([admitted(), list.size], [5, 3]);
  end();
});

Deno.test("ConnectionList evicts connections that have stalled if none has been greeted, as many as necessary", async () => {
  const { list, add, admitted, end } = await start(2, 4);
  const added = add(3);
  assertEquals(admitted(), 2);
  for (const connection of added.slice(0, 2)) list.markProgress(connection);
  await until(() => admitted() === 3);
  assertEquals(added.map(({ closeReason }) => closeReason), ["evicted", undefined, undefined]);
  // One that has been greeted is evicted first, although another one is older and has stalled.
  assertEquals(added[1]?.stage, "stalled");
  at(added, 2, (third) => list.markDraining(third));
  add(1);
  assertEquals(added.map(({ closeReason }) => closeReason), ["evicted", undefined, "evicted", undefined]);
  end();
});

Deno.test("ConnectionList evicts no connection whose write has not begun, or has just made progress", async () => {
  const { list, add, end } = await start(10, 3);
  const added = add(3);
  at(added, 1, (second) => list.markProgress(second));
  assertEquals(list.evictOldest(), false);
  assertEquals(list.size, 3);
  // The first call has started a check for connections that have stalled.
  await until(() => list.evictOldest());
  assertEquals(added.map(({ closeReason }) => closeReason), [undefined, "evicted", undefined]);
  // The kernel has taken the whole greeting of this one, but it has not been half-closed yet.
  at(added, 2, (third) => {
    list.markProgress(third);
    third.greeted = true;
  });
  for (let i = 0; i < 10; i++, await delay(10)) assertEquals(list.evictOldest(), false);
  end();
});

Deno.test("ConnectionList closes a connection at its deadline even if it has not been admitted", async () => {
  const { list, add, turns, end } = await start(1, 3, 300);
  const added = add(2);
  await until(() => list.size === 0);
  assertEquals(added.map(({ closeReason }) => closeReason), ["timeout", "timeout"]);
  await Promise.all(turns);
  // Connections that were closed while they waited do not block others.
  add(1);
  assertEquals(added.at(-1)?.stage, "greeting");
  list.closeAll("shutdown");
  end();
});

Deno.test("ConnectionList ends the wait of a connection that is closed, and admits the next one instead", async () => {
  const { list, add, turns, end } = await start(1, 3);
  const added = add(3);
  at(added, 1, (second) => list.close(second, "shutdown"));
  await turns[0];
  at(added, 0, (first) => list.close(first, "closed"));
  await turns[1];
  assertEquals(added.map(({ stage }) => stage), ["greeting", "waiting", "greeting"]);
  end();
});

Deno.test("ConnectionList keeps its order when connections in the middle are closed", async () => {
  const { list, add, end } = await start(1000, 8);
  const added = add(8);
  for (const connection of added) list.markDraining(connection);
  for (const i of [2, 3, 1, 7]) at(added, i, (connection) => list.close(connection, "closed"));
  while (list.size > 0) {
    assertEquals(list.evictOldest(), true);
    assertEquals(added.filter(({ closeReason }) => !closeReason).length, list.size);
  }
  const evicted = added.filter(({ closeReason }) => closeReason === "evicted");
  assertEquals(evicted.map((connection) => added.indexOf(connection)), [0, 4, 5, 6]);
  end();
});
