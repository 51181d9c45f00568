/**
 * Tests of `greeter --announce`: which ports have the list of open ports in their greeting, and where.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { DEFAULTS } from "../../server.ts";
import { formatAnnouncement } from "../../shared/announcement.ts";
import { greetingFrom } from "../helpers/clients.ts";
import { needs } from "../helpers/needs.ts";
import { freePort, freePorts } from "../helpers/ports.ts";
import { GREETER, LOCAL, portOf, run, spawn } from "../helpers/processes.ts";
import { until } from "../helpers/waiting.ts";

const ANNOUNCE = [...GREETER, "-H", "127.0.0.1", "--announce"];

Deno.test("greeter --announce appends the port that 0 became to the greeting", async () => {
  for (const [options, greeting] of [[[], DEFAULTS.greeting], [["-g", String.raw`hello\n`], "hello\n"]] as const) {
    await using greeter = spawn([...GREETER, ...LOCAL, "--announce", ...options]);
    const port = await portOf(greeter);
    assertEquals(await greetingFrom(port), `${greeting}greeter listens on ${port}\r\n`);
  }
});

Deno.test("greeter --announce lists the ports that are open, but not on ports with their own greeting", async () => {
  using occupied = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const [ftp = 0, first = 0, second = 0] = freePorts(3);
  const ports = ["-p", `${ftp}=220 FTP`, "-p", `${first},${occupied.addr.port},${second}`, "--skip-taken"];
  await using greeter = spawn([...ANNOUNCE, ...ports, "-g", "You are {client} on {port}"]);
  await until(() => greeter.output.stdout.includes("\n"));
  const list = formatAnnouncement([ftp, first, second]);
  assertEquals(await greetingFrom(ftp), "220 FTP\r\n");
  for (const port of [first, second]) {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    const client = conn.localAddr.port;
    assertEquals(await new Response(conn.readable).text(), `You are 127.0.0.1:${client} on ${port}\r\n${list}`);
  }
  assertEquals(greeter.output.stderr, `greeter: skipped ports that are in use: ${occupied.addr.port}\n`);
});

Deno.test(needs("greeter --announce --http has the list in the body that curl receives", "curl"), async () => {
  const [web = 0, other = 0] = freePorts(2);
  const list = formatAnnouncement([web, other]);
  for (const http of ["--http", `--http=${web}`]) {
    for (const [greeting, body] of [["für alle", "für alle\r\n"], ["für {port}", `für ${web}\r\n`]] as const) {
      await using greeter = spawn([...ANNOUNCE, "-p", `${web},${other}`, http, "-g", greeting]);
      await until(() => greeter.output.stdout.includes("\n"));
      const { code, stdout } = await run(["curl", "-s", "-i", `http://127.0.0.1:${web}/`]);
      const length = new TextEncoder().encode(body + list).length;
      assertEquals(code, 0);
      assertMatch(stdout, new RegExp(`\r\nContent-Length: ${length}\r\n`, "i"));
      assertEquals(stdout.split("\r\n\r\n")[1], body + list);
      if (http === "--http") continue;
      assertEquals(await greetingFrom(other), greeting.replace("{port}", `${other}`) + `\r\n${list}`);
    }
  }
});

Deno.test("greeter --announce exits 2 before it listens if no port can send the list", async () => {
  using occupied = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const [port, own] = [freePort(), freePort()];
  const tooLong = (bytes: number) =>
    `the greeting is too long with the list of --announce: it can have ${bytes} bytes; ` +
    "shorten it to 16384 bytes, or listen on fewer ports";
  const advice = "add one, such as -p 8080, or remove --announce";
  const cases: [options: string[], message: string][] = [
    [["-p", `${port}`, "-g", "x".repeat(16_360)], tooLong(16_388)],
    [["-p", `${port}`, "-g", "x".repeat(16_260), "--http"], tooLong(16_390)],
    [["-p", `${port}`, "-g", "{client}" + "x".repeat(16_320)], tooLong(16_395)],
    [["-p", `${port}`, "--stdin"], "--announce and --stdin cannot be combined; use only one of them"],
    [["-p", `${port}`, "--count", "1"], "--announce and --count cannot be combined; use only one of them"],
    [["-p", `${own}=hi`], `--announce needs a port without a greeting in --port; ${advice}`],
    [
      ["-p", `${own}=hi`, "-p", `${occupied.addr.port}`, "--skip-taken"],
      `--announce needs a port without a greeting in --port, but those are in use; ${advice}`,
    ],
  ];
  for (const [options, message] of cases) {
    assertEquals(await run([...ANNOUNCE, ...options]), {
      code: 2,
      signal: null,
      stdout: "",
      stderr: `greeter: ${message}\n`,
    });
  }
});
