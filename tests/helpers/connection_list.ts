/**
 * A list of real connections for tests of what server.ts consists of.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { OpenConnection } from "../../server/connection.ts";
import { ConnectionList } from "../../server/connections.ts";
import { Port } from "../../server/port.ts";
import { ENDLESS_MS, within } from "./waiting.ts";

/**
 * Establishes `total` connections. Returns a list, the clients, a function that adds connections to the list, and one
 * that ends them.
 */
export async function startList(limit: number, total: number, timeout = ENDLESS_MS) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const port = new Port([listener], Infinity);
  const clients: Deno.Conn[] = [];
  const accepted: Deno.TcpConn[] = [];
  while (accepted.length < total) {
    clients.push(await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }));
    accepted.push(await within(listener.accept()));
  }
  listener.close();
  const list = new ConnectionList(timeout, limit);
  const added: OpenConnection[] = [];
  return {
    list,
    clients,
    /** Adds connections. Returns all that have been added so far. */
    add(count: number): OpenConnection[] {
      for (const conn of accepted.splice(0, count)) added.push(list.add(conn, conn, port, false));
      return added;
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
export function at(
  connections: readonly OpenConnection[],
  index: number,
  callback: (connection: OpenConnection) => void,
) {
  const connection = connections[index];
  if (!connection) throw new RangeError(`there is no connection ${index}`);
  callback(connection);
}
