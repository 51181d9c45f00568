import { assertEquals } from "@std/assert";
import { ConnectionList } from "./connections.ts";
import { Port } from "./port.ts";
import { within } from "../tests/helpers.ts";

Deno.test("Port ends the wait for a slot when a slot is free, or when the port or the connection is closed", async () => {
  for (const reason of ["slot", "port", "connection"]) {
    const port = new Port(Deno.listen({ hostname: "127.0.0.1", port: 0 }), 1);
    using _client = await Deno.connect({ hostname: "127.0.0.1", port: port.listener.addr.port });
    const conn = await port.listener.accept();
    const list = new ConnectionList(60_000, 1);
    const connection = list.add(conn, conn);
    port.takeSlot();
    const waiting = port.waitForSlot(connection);
    if (reason === "slot") port.releaseSlot();
    else if (reason === "port") port.close();
    else list.close(connection, "timeout");
    await within(5000, waiting);
    assertEquals(port.isFull, reason !== "slot");
    list.closeAll("shutdown");
    list.dispose();
    if (!port.closed) port.close();
  }
});
