import { assert, assertEquals } from "@std/assert";
import { fc } from "../../tests/deps.ts";
import { until } from "../../tests/helpers/waiting.ts";
import type { Connection } from "../../server.ts";
import { formatPorts, formatRange } from "../../shared/ports.ts";
import { addPort, Clients, MAX_CLIENTS, MAX_PAYLOAD_BYTES, MAX_RANGES, payloadOf, rangesOf } from "./clients.ts";

/** A connection that has sent this text. */
function connection(address: string, port = 22, sent = "", acceptedAt = 0): Connection {
  const received = new TextEncoder().encode(sent);
  return {
    remoteAddr: { transport: "tcp", hostname: address, port: 51514 },
    localAddr: { transport: "tcp", hostname: "192.0.2.1", port },
    acceptedAt,
    bytesSent: 41,
    greeted: true,
    bytesReceived: received.length,
    received: received.subarray(0, 256),
    closeReason: "closed",
  };
}

/** Records these connections, which are closed in the same order. */
function record(connections: Connection[]): Clients {
  const clients = new Clients();
  for (const each of connections) clients.addConnection(each, false);
  for (const each of connections) clients.addReceived(each);
  return clients;
}

Deno.test("Clients counts connections and bytes by address, and lists the busiest clients first", () => {
  const clients = record([
    connection("192.0.2.2", 22),
    connection("192.0.2.3", 22, "four"),
    connection("192.0.2.4", 80),
    connection("2001:db8::1", 443, "a"),
    connection("192.0.2.4", 22, "five5"),
  ]);
  assertEquals(
    clients.busiest.map(({ address, connections, bytesReceived }) => [address, connections, bytesReceived]),
    [["192.0.2.4", 2, 5], ["192.0.2.3", 1, 4], ["2001:db8::1", 1, 1], ["192.0.2.2", 1, 0]],
  );
  assertEquals(clients.others, { connections: 0, bytesReceived: 0 });
});

Deno.test("Clients lists clients that are equally busy in the order in which they came", () => {
  const clients = record([connection("192.0.2.9"), connection("192.0.2.2"), connection("192.0.2.5")]);
  assertEquals(clients.busiest.map(({ address }) => address), ["192.0.2.9", "192.0.2.2", "192.0.2.5"]);
});

Deno.test("Clients records when a client connected first and last", async () => {
  const clients = new Clients();
  const before = Date.now();
  clients.addConnection(connection("192.0.2.2"), false);
  const between = Date.now();
  await until(() => Date.now() > between);
  clients.addConnection(connection("192.0.2.2"), false);
  const after = Date.now();
  const { firstSeen = 0, lastSeen = 0 } = clients.busiest[0] ?? {};
  assert(before <= firstSeen && firstSeen <= between, `${before} ${firstSeen} ${between}`);
  assert(between < lastSeen && lastSeen <= after, `${between} ${lastSeen} ${after}`);
});

Deno.test("Clients keeps what the first connection that sent anything has sent, whichever is closed first", () => {
  const clients = new Clients();
  const connections = [
    connection("192.0.2.2", 22, "third", 30),
    connection("192.0.2.2", 22, "second", 20),
    connection("192.0.2.2", 22, "", 10),
    connection("192.0.2.2", 22, "fourth", 40),
  ];
  for (const each of connections) clients.addConnection(each, false);
  for (const each of connections) clients.addReceived(each);
  assertEquals(clients.busiest.map(({ payload, isPayloadCut }) => [payload, isPayloadCut]), [["second", false]]);
});

Deno.test("Clients keeps at most 64 bytes of what a client sent first", () => {
  for (const [length, isCut] of [[64, false], [65, true], [300, true]] as const) {
    const [client] = record([connection("192.0.2.2", 22, "x".repeat(length))]).busiest;
    assertEquals(
      [client?.payload, client?.isPayloadCut, client?.bytesReceived],
      ["x".repeat(MAX_PAYLOAD_BYTES), isCut, length],
    );
  }
});

Deno.test("Clients marks clients that were denied", () => {
  const clients = new Clients();
  clients.addConnection(connection("192.0.2.2"), true);
  clients.addConnection(connection("192.0.2.3"), false);
  assertEquals(clients.busiest.map(({ denied }) => denied), [true, false]);
});

Deno.test("Clients records 10,000 addresses, and only counts the connections of others", () => {
  const clients = new Clients();
  const addresses = Array.from({ length: MAX_CLIENTS + 2 }, (_, i) => `10.0.${i >> 8}.${i % 256}`);
  for (const address of addresses) clients.addConnection(connection(address), false);
  for (const address of addresses.slice(-3)) {
    clients.addConnection(connection(address), false);
    clients.addReceived(connection(address, 22, "abc"));
  }
  assertEquals(clients.busiest.length, MAX_CLIENTS);
  const [busiest] = clients.busiest;
  assertEquals([busiest?.address, busiest?.connections], [addresses[MAX_CLIENTS - 1], 2]);
  assertEquals(clients.others, { connections: 4, bytesReceived: 6 });
});

Deno.test("Clients records at most 16 ranges of ports, and extends them", () => {
  const ports = Array.from({ length: MAX_RANGES }, (_, i) => 10 * i + 1);
  const clients = record([...ports, 3].map((port) => connection("192.0.2.2", port)));
  const [client] = clients.busiest;
  assert(client);
  assertEquals([rangesOf(client).map(formatRange).join(","), client.hasMorePorts], [formatPorts(ports), true]);
  const extended = [...ports, 2, 10, 1, 151];
  const [other] = record(extended.map((port) => connection("192.0.2.2", port))).busiest;
  assert(other);
  assertEquals([rangesOf(other).map(formatRange).join(","), other.hasMorePorts], [
    formatPorts(new Set(extended)),
    false,
  ]);
});

Deno.test("addPort() keeps a set of ports, except for those that would need too many ranges", () => {
  // Ports that are close to each other, so that ranges meet, and the highest port.
  const port = fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 65_500, max: 65_535 }));
  fc.assert(fc.property(fc.array(port, { minLength: 1, maxLength: 200 }), (ports) => {
    let bounds: readonly number[] = [];
    const added = new Set<number>();
    for (const port of ports) {
      const after = addPort(bounds, port);
      if (after) {
        added.add(port);
        bounds = after;
      } else {
        const ranges = rangesOf({ bounds });
        assertEquals(ranges.length, MAX_RANGES);
        assert(ranges.every(({ start, end }) => port < start - 1 || port > end + 1), `${port} would fit`);
      }
      assertEquals(rangesOf({ bounds }).map(formatRange).join(","), formatPorts(added));
      assert(bounds.length <= 2 * MAX_RANGES, `${bounds.length} bounds`);
    }
  }));
});

Deno.test("payloadOf() returns the bytes that were received", () => {
  const received = Uint8Array.from({ length: 64 }, (_, i) => 255 - i);
  const [client] = record([{ ...connection("192.0.2.2"), bytesReceived: 64, received }]).busiest;
  assert(client);
  assertEquals(payloadOf(client), received);
});
