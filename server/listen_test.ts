import { assertEquals } from "@std/assert";
import { ConnectionList } from "./connections.ts";
import { isClientReset, nextBackoff, Port } from "./listen.ts";

Deno.test("nextBackoff() doubles from 5 ms to 1 s", () => {
  const pauses: number[] = [];
  for (let pause = nextBackoff(0); pauses.length < 10; pause = nextBackoff(pause)) pauses.push(pause);
  assertEquals(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
});

Deno.test("isClientReset() recognizes EINVAL as the reset of a client on macOS, and nowhere else", () => {
  const [typeError, other] = ["Invalid argument (os error 22)", "Too many open files (os error 24)"].map((message) =>
    new TypeError(message)
  );
  assertEquals(isClientReset(typeError, "darwin"), true);
  assertEquals(isClientReset(new Deno.errors.InvalidData("Invalid argument (os error 22)"), "darwin"), true);
  assertEquals(isClientReset(typeError, "linux"), false);
  assertEquals(isClientReset(other, "darwin"), false);
});

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
    await waiting;
    assertEquals(port.isFull, reason !== "slot");
    list.closeAll("shutdown");
    list.dispose();
    if (!port.closed) port.close();
  }
});
