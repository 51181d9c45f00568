import { assertEquals } from "@std/assert";
import type { OpenConnection } from "./connection.ts";
import { ConnectionList, MAX_UNGREETED } from "./connections.ts";
import { until } from "./testing.ts";

/** A list, the connections that have passed its gate, and a function that sends so many more to the gate. */
async function start(limit: number, total: number) {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const clients: Deno.Conn[] = [];
  const accepted: Deno.TcpConn[] = [];
  while (accepted.length < total) {
    clients.push(await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }));
    accepted.push(await listener.accept());
  }
  const list = new ConnectionList(60_000, limit);
  const passed: OpenConnection[] = [];
  const waiting = [...accepted];
  return {
    list,
    passed,
    sendToGate(count: number) {
      for (const conn of waiting.splice(0, count)) list.passGate(() => passed.push(list.add(conn, conn)));
    },
    /** Checks that all have passed the gate in order, and closes those that are open. */
    end() {
      assertEquals(passed.map(({ conn }) => accepted.indexOf(conn)), [...accepted.keys()]);
      list.closeAll("shutdown");
      assertEquals([list.size, passed.filter(({ closeReason }) => !closeReason)], [0, []]);
      list.dispose();
      for (const client of clients) client.close();
    },
  };
}

Deno.test("ConnectionList lets connections pass its gate in order, until 16 have not left it", async () => {
  const { list, passed, sendToGate, end } = await start(1000, 100);
  sendToGate(40);
  assertEquals(passed.length, MAX_UNGREETED);
  const [first, second] = passed;
  if (first) list.markGreeted(first);
  assertEquals(passed.length, MAX_UNGREETED + 1);
  if (second) list.close(second, "reset");
  assertEquals(passed.length, MAX_UNGREETED + 2);
  // This one has left the gate before.
  if (first) list.close(first, "closed");
  assertEquals(passed.length, MAX_UNGREETED + 2);
  // None leaves the gate, so it opens for all others.
  await until(() => passed.length === 40);
  // Those that were not counted any longer do not count when they leave, either.
  for (const connection of passed.slice(0, 40)) list.markGreeted(connection);
  assertEquals(list.size, 38);
  sendToGate(60);
  assertEquals(passed.length, 40 + MAX_UNGREETED);
  await until(() => passed.length === 100);
  end();
});

Deno.test("ConnectionList never exceeds its limit, and evicts only connections that have been greeted", async () => {
  const { list, passed, sendToGate, end } = await start(2, 6);
  sendToGate(4);
  assertEquals([passed.length, list.size], [2, 2]);
  const [first, second] = passed;
  if (first && second) {
    list.markGreeted(second);
    assertEquals([passed.length, list.size, first.closeReason, second.closeReason], [3, 2, undefined, "evicted"]);
    list.close(first, "reset");
    assertEquals([passed.length, list.size], [4, 2]);
  }
  // A connection that has been greeted and closed leaves room for one other, not for two.
  const [, , third] = passed;
  if (third) {
    list.markGreeted(third);
    list.close(third, "closed");
    list.markGreeted(third);
  }
  sendToGate(2);
  assertEquals([passed.length, list.size], [5, 2]);
  list.closeAll("shutdown");
  end();
});

Deno.test("ConnectionList keeps its order when connections in the middle are closed", async () => {
  const { list, passed, sendToGate, end } = await start(1000, 8);
  sendToGate(8);
  for (const connection of passed) list.markGreeted(connection);
  for (const i of [2, 3, 1, 7]) passed.slice(i, i + 1).forEach((connection) => list.close(connection, "closed"));
  while (list.size > 0) {
    list.evictOldest();
    assertEquals(passed.filter(({ closeReason }) => !closeReason).length, list.size);
  }
  const evicted = passed.filter(({ closeReason }) => closeReason === "evicted");
  assertEquals(evicted.map((connection) => passed.indexOf(connection)), [0, 4, 5, 6]);
  end();
});
