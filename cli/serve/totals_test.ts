import { assert, assertEquals } from "@std/assert";
import type { CloseReason, Connection } from "../../server.ts";
import { Totals } from "./totals.ts";

function connection(port: number, greeted: boolean, closeReason: CloseReason): Connection {
  const addr = (hostname: string, port: number): Deno.NetAddr => ({ transport: "tcp", hostname, port });
  return {
    remoteAddr: addr("192.0.2.7", 51514),
    localAddr: addr("192.0.2.1", port),
    acceptedAt: 0,
    bytesSent: 0,
    greeted,
    bytesReceived: 2,
    received: new Uint8Array(2),
    closeReason,
  };
}

Deno.test("Totals groups ports by what happened on them", () => {
  const started = performance.now();
  const totals = new Totals();
  totals.addClosed(connection(22, true, "closed"));
  totals.addClosed(connection(22, true, "timeout"));
  totals.addClosed(connection(23, false, "reset")); // reset after it was accepted
  totals.addReset(24);
  totals.addReset(22);
  totals.addClosed(connection(25, false, "timeout"));
  totals.addDenied();
  const { duration, ...summary } = totals.summary([22, 23, 24, 25, 26], 3);
  assert(duration >= 0 && duration <= performance.now() - started, `${duration} ms`);
  assertEquals(summary, {
    greetings: 2,
    denied: 1,
    bytesReceived: 8,
    resets: 2,
    dropped: 3,
    ports: { greeted: [22], notGreeted: [25, 26], onlyReset: [23, 24] },
  });
  assertEquals(totals.missing([22, 23], 2), [23]);
  assertEquals(totals.missing([22, 23], 0), []);
});
