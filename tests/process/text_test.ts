/**
 * Tests of TEXT: what the options accept, and that it restores the bytes that greeter prints.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { UsageError } from "../../cli/args.ts";
import { parse } from "../../main.ts";
import { MAX_GREETING_BYTES, serve } from "../../server.ts";
import { fc } from "../deps.ts";
import { greetingFrom, receive } from "../helpers/clients.ts";
import { freePort, freePorts } from "../helpers/ports.ts";
import { GREETER, LOCAL, portOf, run, spawn } from "../helpers/processes.ts";
import { until } from "../helpers/waiting.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

/** First all bytes, then text like TEXT, without and with a line feed at the end. */
const SAMPLES = [
  Uint8Array.from({ length: 256 }, (_, i) => i),
  utf8(String.raw`{port} {client} {host} \x41\n\\ "für" '$HOME'` + "\r\n\t" + String.raw`\c`),
  utf8("220 ready\r\n"),
];

/** For the server, so that it appends nothing. */
const exactly = (text: string) => text + String.raw`\c`;

/** Returns what a server sends that is started with these options and listens on a free port. */
async function sentBy(options: string[]): Promise<Uint8Array> {
  await using greeter = spawn([...GREETER, ...LOCAL, ...options]);
  return await receive(await Deno.connect({ hostname: "127.0.0.1", port: await portOf(greeter) }));
}

Deno.test("a server with -g from the log of another one, and \\c, sends what its client sent", async () => {
  await using greeter = spawn([...GREETER, ...LOCAL]);
  const port = await portOf(greeter);
  for (const sample of SAMPLES) {
    using conn = await Deno.connect({ hostname: "127.0.0.1", port });
    await conn.write(sample);
    await conn.closeWrite();
    const line = new RegExp(` sent ${sample.length} bytes to port ${port}: "(.*)"\n`);
    await until(() => line.test(greeter.output.stdout));
    const [, text = ""] = greeter.output.stdout.match(line) ?? [];
    assertEquals(await sentBy(["-g", exactly(text)]), sample, text);
  }
});

Deno.test("a server with -g or -p from what greeter connect prints, and \\c, sends the same greeting", async () => {
  for (const sample of SAMPLES) {
    await using server = serve({ hostname: "127.0.0.1", port: 0, greeting: sample });
    const { stdout } = await run([...GREETER, "connect", "127.0.0.1", "-p", `${server.addr.port}`]);
    const [, text = ""] = stdout.match(/greeted +"(.*)"\n/) ?? [];
    assertEquals(await sentBy(["-g", exactly(text)]), sample, text);
    const port = freePort();
    await using greeter = spawn([...GREETER, "-H", "127.0.0.1", "-p", `${port}=${exactly(text)}`]);
    await portOf(greeter);
    assertEquals(await receive(await Deno.connect({ hostname: "127.0.0.1", port })), sample, text);
  }
});

/** Any bytes, and text like TEXT. */
const GREETING = fc.oneof(
  fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 40 }),
  fc.array(fc.constantFrom(...utf8(String.raw`\{port}xX0acAnrt" '` + "\r\n\t\0")), { minLength: 1, maxLength: 20 }),
).map((bytes) => Uint8Array.from(bytes));

Deno.test("what greeter connect prints between quotes is TEXT for --expect, for --greeting, and for -p of both commands", async () => {
  // Few runs of many greetings: each run starts three processes.
  const greetings = fc.uniqueArray(GREETING, { minLength: 9, maxLength: 9, selector: (bytes) => `${bytes}` });
  const property = fc.asyncProperty(greetings, async (greetings) => {
    const samples = new Map<number, Uint8Array>();
    await using server = serve({
      hostname: "127.0.0.1",
      port: greetings.map(() => 0),
      greeting: ({ localAddr }) => samples.get(localAddr.port) ?? "",
    });
    for (const [i, { port }] of server.addrs.entries()) samples.set(port, greetings[i] ?? new Uint8Array());
    const ports = [...samples.keys()];
    const { stdout } = await run([...GREETER, "connect", "127.0.0.1", "-p", `${ports}`]);
    const texts = [...stdout.matchAll(/^(\d+) +greeted +"(.*)"$/gm)];
    assertEquals(texts.length, ports.length, stdout);
    const expectations = texts.flatMap(([, port, text]) => ["-p", `${port}=${text}`]);
    const { code, stdout: matched } = await run([...GREETER, "connect", "127.0.0.1", ...expectations]);
    assertEquals(code, 0, matched);
    // A text that is contained would match, too. `-e TEXT` could not begin with a hyphen.
    for (const [, port = "", text = ""] of texts) {
      const command = await parse(["connect", "lab", `--expect=${text}`]);
      assert(command.kind === "connect");
      assertEquals(command.checks?.[0]?.expect({ host: "lab", port: 999 }), samples.get(Number(port)), text);
    }
    // The last one is that of -g, for a port without a text of its own.
    const free = freePorts(texts.length);
    const copies = texts.map(([, port, text = ""], i) => ({
      port: free[i] ?? 0,
      text: exactly(text),
      sample: samples.get(Number(port)),
    }));
    const args = copies.flatMap(({ port, text }, i) =>
      i < copies.length - 1 ? ["-p", `${port}=${text}`] : ["-p", `${port}`, `--greeting=${text}`]
    );
    await using greeter = spawn([...GREETER, "-H", "127.0.0.1", ...args]);
    await until(() => greeter.output.stdout.includes("\n") || greeter.output.stderr !== "");
    for (const { port, text, sample } of copies) {
      assertEquals(await receive(await Deno.connect({ hostname: "127.0.0.1", port })), sample, text);
    }
  });
  await fc.assert(property, { numRuns: 4, endOnFailure: true });
});

Deno.test("greeter --http decodes the escapes of the body", async () => {
  for (const [end, sent] of [[String.raw`\n`, "\n"], [String.raw`\c`, ""]] as const) {
    const response = new TextDecoder().decode(await sentBy(["--http", "-g", `<{port}>${String.raw`\x7bport}`}${end}`]));
    const [, length, body = ""] =
      response.match(/^HTTP\/1\.1 200 OK\r\n.*\r\nContent-Length: (\d+)\r\n.*?\r\n\r\n(.*)$/s) ?? [];
    assertMatch(body, /^<\d+>\{port\}\n?$/);
    assertEquals([body.replace(/.*\}/, ""), Number(length)], [sent, body.length]);
  }
});

Deno.test("greeter --stdin decodes no escapes and replaces no placeholders", async () => {
  const text = String.raw`\x41\q{port}\n` + "\\";
  await using greeter = spawn([...GREETER, ...LOCAL, "--stdin"], { stdin: "piped" });
  const writer = greeter.child.stdin.getWriter();
  await writer.write(utf8(text));
  await writer.close();
  assertEquals(await greetingFrom(await portOf(greeter)), text);
});

Deno.test("parse() rejects invalid escapes in -g and -p LIST=TEXT, and names the option as typed", async () => {
  const advice = String.raw`: write \\ for a backslash, or one of \r \n \t \xHH`;
  for (
    const [args, message] of [
      [["-g", String.raw`C:\dir`], String.raw`invalid escape \d in the value of -g`],
      [["--greeting", "a\\"], "invalid escape \\ at the end of the value of --greeting"],
      [["--http", "-g", String.raw`\x4{port}`], String.raw`invalid escape \x4 in the value of -g`],
      [["-p", "80", "-p", String.raw`21-25=\{port}`], String.raw`invalid escape \{ in the value of -p`],
      [["--port", String.raw`22=a=\"`], String.raw`invalid escape \" in the value of --port`],
      [["-g", String.raw`\x4\c`], String.raw`invalid escape \x4 in the value of -g`],
    ] as const
  ) {
    const { message: actual } = await assertRejects(() => parse([...args]), UsageError);
    assertEquals(actual, message + advice);
  }
});

Deno.test("parse() limits the bytes that a greeting sends, not the characters of TEXT", async () => {
  const longest = String.raw`\xff`.repeat(MAX_GREETING_BYTES - 2);
  for (const prefix of [["-g", ""], ["-p", "22="]] as const) {
    const parsed = (text: string) => parse([prefix[0], prefix[1] + text]);
    const command = await parsed(longest);
    assert(command.kind === "serve");
    const tooLong = `the greeting of ${prefix[0]} is too long: it can have ${MAX_GREETING_BYTES + 1} bytes; `;
    await assertRejects(() => parsed(longest + "x"), UsageError, tooLong);
    // Nothing is appended to a line feed.
    await parsed(longest + String.raw`x\n`);
    await assertRejects(() => parsed(longest + String.raw`xx\n`), UsageError, tooLong);
  }
});

Deno.test("parse() counts the head of the HTTP response if one of the ports of a greeting sends it", async () => {
  const longest = String.raw`\xff`.repeat(MAX_GREETING_BYTES - 2);
  const rejected = [
    ["--http=80", "-p", `80=${longest}`],
    ["--http=80", "-p", `22,80,443=${longest}`],
    ["--http=80", "-p", "22,80", "-g", longest],
    ["--http=22,80", "-p", "22=hi", "-p", "80", "-g", longest],
  ];
  for (const args of rejected) await assertRejects(() => parse(args), UsageError, " is too long: ");
  const accepted = [
    ["--http=80", "-p", `22,443=${longest}`, "-p", "80"],
    ["--http=22", "-p", "22=hi", "-p", "80", "-g", longest],
  ];
  for (const args of accepted) await parse(args);
});
