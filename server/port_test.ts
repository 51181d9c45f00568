import { assertEquals } from "@std/assert";
import type { OpenConnection } from "./connection.ts";
import { Port } from "./port.ts";
import { startList } from "../tests/connection_list.ts";
import { within } from "../tests/helpers.ts";

/** A port with one slot, which the first of three connections has taken. */
async function start() {
  const port = new Port(Deno.listen({ hostname: "127.0.0.1", port: 0 }), 1);
  const { list, add, end } = await startList(1000, 3);
  const [first, second, third] = add(3);
  if (!first || !second || !third) throw new Error("expected three connections");
  assertEquals([port.takeSlot(first), port.takeSlot(second)], [true, false]);
  return {
    port,
    list,
    connections: [first, second, third] as [OpenConnection, OpenConnection, OpenConnection],
    end() {
      end();
      if (!port.closed) port.close();
    },
  };
}

Deno.test("Port ends the wait for a slot when a slot is free, or when the port or the connection is closed", async () => {
  for (const reason of ["slot", "port", "connection"]) {
    const { port, list, connections: [first, second], end } = await start();
    const waiting = port.waitForSlot(second);
    if (reason === "slot") port.releaseSlot(first);
    else if (reason === "port") port.close();
    else list.close(second, "timeout");
    await within(waiting);
    assertEquals(second.hasSlot, reason === "slot");
    end();
  }
});

Deno.test("Port gives a free slot to only one of the connections that wait for it, in order", async () => {
  const { port, connections: [first, second, third], end } = await start();
  const waits = [port.waitForSlot(second), port.waitForSlot(third)];
  port.releaseSlot(first);
  await within(Promise.race(waits));
  assertEquals([first, second, third].map(({ hasSlot }) => hasSlot), [false, true, false]);
  assertEquals(port.countGreeting(), true);
  // A client that has been greeted keeps its slot.
  assertEquals(port.takeSlot(first), false);
  port.close();
  await within(Promise.all(waits));
  assertEquals(third.hasSlot, false);
  end();
});
