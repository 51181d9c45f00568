import { assert, assertEquals, assertThrows } from "@std/assert";
import { DEFAULTS, ListenError, serve } from "../server.ts";
import { greetingFrom } from "../tests/helpers/clients.ts";
import { hasIPv6, isLinux, needs } from "../tests/helpers/needs.ts";
import { freePort, freePorts } from "../tests/helpers/ports.ts";
import { outOfDescriptors } from "../tests/helpers/servers.ts";
import { within } from "../tests/helpers/waiting.ts";
import { LISTEN, type ListenOptions } from "./listen.ts";

/** Pairs of addresses of the loopback interface. */
const PAIRS: [string, string][] = [];
if (isLinux) PAIRS.push(["127.0.0.1", "127.0.0.2"]);
if (hasIPv6()) PAIRS.push(["127.0.0.1", "::1"], ["::1", "127.0.0.1"]);

/** Throws if a port of an address is in use. */
function assertFree(hostname: string, port: number) {
  Deno.listen({ hostname, port }).close();
}

/** The error of `serve()` if it cannot listen. */
function errorOf(options: ListenOptions): ListenError {
  return assertThrows(() => serve(options), ListenError);
}

Deno.test(
  needs(
    "serve() opens each port at each address, in the order of the ports and then of the addresses",
    "Linux or IPv6",
  ),
  async () => {
    for (const hostname of PAIRS) {
      const listening: Deno.NetAddr[] = [];
      const [first = 0, last = 0] = freePorts(2);
      const options = { hostname, port: [first, 0, last], onListen: (addr: Deno.NetAddr) => listening.push(addr) };
      await using server = serve(options);
      const chosen = server.addrs[2]?.port ?? 0;
      assertEquals(
        server.addrs.map(({ hostname, port }) => [hostname, port]),
        [first, chosen, last].flatMap((port) => hostname.map((address) => [address, port])),
      );
      assertEquals([listening, server.addr], [server.addrs, server.addrs[0]]);
      for (const { hostname, port } of server.addrs) {
        assertEquals(await greetingFrom(port, hostname), DEFAULTS.greeting);
      }
    }
  },
);

Deno.test(
  needs("serve() closes its ports at all addresses when it shuts down", "Linux or IPv6"),
  async () => {
    for (const hostname of PAIRS) {
      const server = serve({ hostname, port: [0, 0] });
      await within(server.shutdown());
      for (const { hostname, port } of server.addrs) assertFree(hostname, port);
    }
  },
);

Deno.test(needs("serve() chooses a port 0 that is free at all addresses", "Linux or IPv6"), async () => {
  for (const [first, second] of PAIRS) {
    using occupied = Deno.listen({ hostname: second, port: freePort() });
    const { port: taken } = occupied.addr;
    let attempts = 0;
    // As if the system chose a port that is in use at the other address.
    const listen = (options: Deno.TcpListenOptions) =>
      Deno.listen(options.port === 0 && ++attempts === 1 ? { ...options, port: taken } : options);
    const options: ListenOptions = { hostname: [first, second], port: 0, [LISTEN]: listen };
    await using server = serve(options);
    const [port, ...others] = server.addrs.map(({ port }) => port);
    assertEquals([others, attempts], [[port], 2]);
    assert(port !== taken);
    assertFree(first, taken);
  }
});

Deno.test(
  needs("serve() throws if it finds no port 0 that is free at all addresses", "Linux or IPv6"),
  () => {
    for (const [first, second] of PAIRS) {
      using occupied = Deno.listen({ hostname: second, port: freePort() });
      const { port: taken } = occupied.addr;
      const listen = ({ port, ...options }: Deno.TcpListenOptions) => Deno.listen({ ...options, port: port || taken });
      const { cause, ...error } = errorOf({ hostname: [first, second], port: 0, skipTaken: true, [LISTEN]: listen });
      assert(cause instanceof Deno.errors.AddrInUse);
      assertEquals([error.hostname, error.port, error.portsInUse, error.excludedBy], [second, 0, [], undefined]);
      assertFree(first, taken);
    }
  },
);

Deno.test(
  needs("serve() counts the clients of a port at all addresses together", "Linux or IPv6"),
  async () => {
    for (const [first, second] of PAIRS) {
      const server = serve({ hostname: [first, second], port: [0, 0], count: 2 });
      const ports = [server.addrs[0]?.port ?? 0, server.addrs[2]?.port ?? 0];
      for (const port of ports) {
        for (const address of [first, second]) assertEquals(await greetingFrom(port, address), DEFAULTS.greeting);
        for (const address of [first, second]) assertFree(address, port);
      }
      await within(server.finished);
    }
  },
);

Deno.test(
  needs("serve() skips a port that is in use at one address, and does not open it at the others", "Linux or IPv6"),
  async () => {
    for (const [first, second] of PAIRS) {
      for (const [used, free] of [[first, second], [second, first]]) {
        using occupied = Deno.listen({ hostname: used, port: freePort() });
        const { port: taken } = occupied.addr;
        await using server = serve({ hostname: [first, second], port: [taken, 0], skipTaken: true });
        assertEquals([server.skipped, server.addrs.map(({ hostname }) => hostname)], [[taken], [first, second]]);
        assertFree(free ?? "", taken);
        const before = freePort();
        const error = errorOf({ hostname: [first, second], port: [before, taken] });
        assertEquals([error.hostname, error.port, error.portsInUse, error.excludedBy], [
          used,
          taken,
          [taken],
          undefined,
        ]);
        for (const address of [first, second]) assertFree(address, before);
        assertFree(free ?? "", taken);
        assertEquals(errorOf({ hostname: [first, second], port: taken, skipTaken: true }).portsInUse, [taken]);
      }
    }
  },
);

Deno.test(
  needs("serve() throws if its own addresses exclude each other, and does not take the port for in use", "Linux"),
  () => {
    const cases: [hostname: string[], excluded: string, excludedBy: string][] = [
      [["127.0.0.1", "0.0.0.0"], "0.0.0.0", "127.0.0.1"],
      [["0.0.0.0", "127.0.0.1"], "127.0.0.1", "0.0.0.0"],
      [["127.0.0.1", "127.0.0.2", "0.0.0.0"], "0.0.0.0", "127.0.0.1"],
    ];
    if (hasIPv6()) {
      cases.push(
        [["0.0.0.0", "::"], "::", "0.0.0.0"],
        [["::", "0.0.0.0"], "0.0.0.0", "::"],
        [["::1", "127.0.0.1", "0.0.0.0"], "0.0.0.0", "127.0.0.1"],
      );
    }
    using occupied = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port: taken } = occupied.addr;
    for (const [hostname, excluded, excludedBy] of cases) {
      for (const port of [0, freePort()]) {
        for (const skipTaken of [false, true]) {
          const error = errorOf({ hostname, port: [port, freePort()], skipTaken });
          assertEquals([error.hostname, error.excludedBy, error.portsInUse], [excluded, excludedBy, []]);
          assert(error.cause instanceof Deno.errors.AddrInUse);
        }
      }
      const free = freePort();
      const error = errorOf({ hostname, port: [taken, free], skipTaken: true });
      assertEquals([error.port, error.excludedBy, error.portsInUse], [free, excludedBy, [taken]]);
      for (const address of hostname) assertFree(address, free);
    }
  },
);

Deno.test("serve() uses an address once that is given twice", async () => {
  const hostname = ["127.0.0.1", "127.0.0.1"];
  await using server = serve({ hostname, port: 0 });
  assertEquals(server.addrs, [server.addr]);
  assertEquals(await greetingFrom(server.addr.port), DEFAULTS.greeting);
  assertEquals(errorOf({ hostname, port: server.addr.port }).addressCount, 1);
});

Deno.test(
  needs("serve() says how many ports are possible at all of its addresses if no descriptor is left", "Linux or IPv6"),
  () => {
    for (const [descriptors, maxPorts] of [[300, 118], [128, 32], [66, 32], [64, 31], [2, 0], [0, 0]] as const) {
      for (const hostname of PAIRS) {
        let opened = 0;
        const listen = (options: Deno.TcpListenOptions) => {
          if (++opened > descriptors) throw outOfDescriptors("EMFILE");
          return Deno.listen(options);
        };
        const error = errorOf({ hostname, port: Array(500).fill(0), [LISTEN]: listen });
        assertEquals([error.maxPorts, error.portCount, error.addressCount], [maxPorts, 500, 2]);
      }
    }
  },
);

Deno.test("serve() opens a port once that is given twice, and does not take it for one in use", async () => {
  const port = freePort();
  const server = serve({ hostname: "127.0.0.1", port: [port, port, 0, 0], skipTaken: true });
  assertEquals([server.addrs.length, server.addr.port, server.skipped], [3, port, []]);
  await within(server.shutdown());
});
