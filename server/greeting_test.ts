import { assertEquals, assertThrows } from "@std/assert";
import { DEFAULTS, MAX_GREETING_BYTES, serve } from "../server.ts";
import { formatAnnouncement } from "../shared/announcement.ts";
import { greetingFrom } from "../tests/helpers/clients.ts";
import { needs } from "../tests/helpers/needs.ts";
import { freePort } from "../tests/helpers/ports.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };

Deno.test("serve() appends the announcement as a line of its own to text and bytes", async () => {
  for (
    const [greeting, sent] of [
      [undefined, DEFAULTS.greeting],
      ["hello", "hello\r\n"],
      ["hello\r", "hello\r\r\n"],
      ["hello\n", "hello\n"],
      ["hello\r\n", "hello\r\n"],
      ["", ""],
      [new TextEncoder().encode("grüß dich"), "grüß dich\r\n"],
      [new TextEncoder().encode("\n"), "\n"],
    ] as const
  ) {
    await using server = serve({ ...LOCAL, greeting, announce: true });
    const { port } = server.addr;
    assertEquals(await greetingFrom(port), `${sent}greeter listens on ${port}\r\n`);
    assertEquals(await greetingFrom(port), `${sent}greeter listens on ${port}\r\n`);
  }
});

Deno.test("serve() announces nothing without `announce`", async () => {
  for (const announce of [undefined, false]) {
    await using server = serve({ ...LOCAL, greeting: "hello", announce });
    assertEquals(await greetingFrom(server.addr.port), "hello");
  }
});

Deno.test("serve() announces the ports that it has opened on each of them", async () => {
  using occupied = Deno.listen(LOCAL);
  const free = freePort();
  await using server = serve({ ...LOCAL, port: [0, occupied.addr.port, free, 0], skipTaken: true, announce: true });
  const ports = server.addrs.map(({ port }) => port);
  assertEquals([ports.length, ports.includes(free)], [3, true]);
  for (const port of ports) assertEquals(await greetingFrom(port), DEFAULTS.greeting + formatAnnouncement(ports));
});

Deno.test(needs("serve() announces a port once if it listens on it at several addresses", "Linux"), async () => {
  await using server = serve({ hostname: ["127.0.0.1", "127.0.0.2"], port: 0, greeting: "", announce: true });
  const { port } = server.addr;
  for (const hostname of ["127.0.0.1", "127.0.0.2"]) {
    assertEquals(await greetingFrom(port, hostname), `greeter listens on ${port}\r\n`);
  }
});

Deno.test("serve() rejects `announce` with `count`, because a port that is closed would still be announced", () => {
  const message = "announce: cannot be combined with count, which closes ports that are on the list";
  assertThrows(() => serve({ ...LOCAL, announce: true, count: 1 }), RangeError, message);
});

Deno.test("serve() passes the announcement to a greeting function, which puts it where it belongs", async () => {
  for (const announce of [true, false]) {
    await using server = serve({
      ...LOCAL,
      greeting: ({ localAddr }, announcement) => `${announcement}${localAddr.port}`,
      announce,
    });
    const { port } = server.addr;
    assertEquals(await greetingFrom(port), `${announce ? `greeter listens on ${port}\r\n` : ""}${port}`);
  }
});

Deno.test("serve() throws a RangeError if greeting and announcement are too long, and opens no port", async () => {
  const port = freePort();
  const room = MAX_GREETING_BYTES - formatAnnouncement([port]).length;
  const options = { hostname: "127.0.0.1", port, announce: true };
  assertThrows(
    () => serve({ ...options, greeting: "x".repeat(room - 1) }),
    RangeError,
    "announce: expected at most 16384 bytes of greeting and list of ports, not 16385",
  );
  assertThrows(() => serve({ ...options, greeting: new Uint8Array(room + 1).fill(10) }), RangeError, "announce: ");
  let listening = 0;
  // Also shows that the port is free again.
  await using server = serve({ ...options, greeting: "x".repeat(room - 2), onListen: () => listening++ });
  assertEquals(listening, 1);
  assertEquals((await greetingFrom(port)).length, MAX_GREETING_BYTES);
  await server.shutdown();
});
