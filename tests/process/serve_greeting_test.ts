/**
 * Tests of what `greeter` sends: `--greeting`, `--stdin`, and greetings of single ports.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { greetingFrom, receive } from "../helpers/clients.ts";
import { needs } from "../helpers/needs.ts";
import { freePort } from "../helpers/ports.ts";
import { GREETER, LOCAL, portOf, run, spawn, stop } from "../helpers/processes.ts";
import { delay, until } from "../helpers/waiting.ts";

Deno.test(needs("greeter listens, logs, greets and stops", "signals"), async () => {
  // Without NO_COLOR, so that this also shows that there is no color in a pipe.
  await using greeter = spawn([...GREETER, ...LOCAL], { env: { NO_COLOR: "" } });
  const port = await portOf(greeter);
  const clients: number[] = [];
  for (let i = 0; i < 3; i++) {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    clients.push(conn.localAddr.port);
    assertEquals(new TextDecoder().decode(await receive(conn)), "Thank you for connecting to the server.\r\n");
  }
  await stop(greeter);
  const [stopped] = greeter.output.stdout.match(/Stopped.*\n/) ?? [""];
  assertEquals(
    greeter.output.stdout,
    [
      `Listening on 127.0.0.1:${port}\n`,
      ...clients.map((client) => `Received connection from 127.0.0.1:${client} on port ${port}\n`),
      stopped,
    ].join(""),
  );
  assertMatch(stopped, /^Stopped: 3 greetings, 0 denied, 0 bytes received in \d+m?s\n$/);
});

Deno.test("greeter --greeting appends CR LF", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--greeting", "220 grüß dich"]);
  assertEquals(await greetingFrom(await portOf(greeter)), "220 grüß dich\r\n");
});

Deno.test("greeter --stdin sends standard input byte for byte, even if it arrives in pieces", async () => {
  const everyByte = Uint8Array.from({ length: 16_384 }, (_, i) => i);
  await using greeter = spawn([...GREETER, ...LOCAL, "--stdin"], { stdin: "piped" });
  const writer = greeter.child.stdin.getWriter();
  for (let i = 0; i < 100; i++) {
    await writer.write(everyByte.subarray(i, i + 1));
    await delay(5);
  }
  await writer.write(everyByte.subarray(100));
  await writer.close();
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: await portOf(greeter) });
  assertEquals(await receive(conn), everyByte);
});

Deno.test("greeter --stdin exits 2 if standard input is longer than 16 KiB, even if it never ends", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--stdin"], { stdin: "piped" });
  const writer = greeter.child.stdin.getWriter();
  await writer.write(new Uint8Array(16_385));
  assertEquals((await greeter.ended).code, 2);
  await writer.abort().catch(() => {}); // the pipe has no reader anymore
  assertEquals(
    greeter.output.stderr,
    "greeter: standard input is too long: at most 16384 bytes can be sent; shorten it\n",
  );
});

Deno.test(
  needs("greeter exits 2 with one line if standard input cannot be read", "sh"),
  async () => {
    for (const redirect of ["< /tmp", "0> /dev/null"]) {
      const command = ["sh", "-c", `exec "$@" ${redirect}`, "sh", ...GREETER, ...LOCAL, "--stdin"];
      const { code, stdout, stderr } = await run(command);
      assertEquals([code, stdout], [2, ""]);
      assertMatch(stderr, /^greeter: cannot read standard input: [^\n]+; redirect it from a file or a pipe\n$/);
    }
  },
);

Deno.test(
  needs("greeter sends each port its greeting, with {client} and {port} replaced", "signals"),
  async () => {
    const [ftp, web] = [freePort(), freePort()];
    const texts = ["-p", `${ftp}=220 FTP, port {port}`, "-p", `${web}`, "-g", "You are {client}; {unknown}"];
    await using greeter = spawn([...GREETER, "-H", "127.0.0.1", ...texts]);
    await until(() => greeter.output.stdout.includes("\n"));
    assertEquals(await greetingFrom(ftp), `220 FTP, port ${ftp}\r\n`);
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: web });
    const { port } = conn.localAddr;
    assertEquals(new TextDecoder().decode(await receive(conn)), `You are 127.0.0.1:${port}; {unknown}\r\n`);
    await stop(greeter);
  },
);
