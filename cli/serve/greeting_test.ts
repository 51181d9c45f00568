import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { MAX_GREETING_BYTES } from "../../server.ts";
import { formatAnnouncement } from "../../shared/announcement.ts";
import { UsageError } from "../args.ts";
import { checkAnnouncement, type Greeting, maxGreetingBytes, toServeGreeting } from "./greeting.ts";

/** No port answers HTTP. */
const NONE: ReadonlySet<number> = new Set();

/** The bytes that a client gets on a port, with an announcement if there is one. */
function bytesOn(port: number, greeting: Greeting, announcement = ""): Uint8Array {
  const addr = (hostname: string, port: number): Deno.NetAddr => ({ transport: "tcp", hostname, port });
  const info = { remoteAddr: addr("2001:db8::7", 51514), localAddr: addr("2001:db8::1", port) };
  const served = toServeGreeting(greeting, announcement !== "");
  const sent = typeof served === "function" ? served(info, announcement) : served;
  assert(sent instanceof Uint8Array);
  return sent;
}

/** What a client gets on a port, as text. */
function sentOn(port: number, greeting: Greeting, announcement?: string): string {
  return new TextDecoder().decode(bytesOn(port, greeting, announcement));
}

Deno.test("toServeGreeting() returns bytes if the greeting is the same for all connections", () => {
  for (const http of [new Set<number>(), "all"] as const) {
    assert(toServeGreeting({ text: "hi {there}", byPort: new Map(), http }, false) instanceof Uint8Array);
  }
});

Deno.test("toServeGreeting() chooses the text by port, and replaces every {client} and {port}", () => {
  const byPort = new Map([[21, "FTP"], [22, ""], [23, "{port} {port} {client}"]]);
  for (const text of ["other", "other {client}"]) {
    const greeting = { text, byPort, http: NONE };
    assertEquals([21, 22, 23, 80].map((port) => sentOn(port, greeting)), [
      "FTP\r\n",
      "\r\n",
      "23 23 [2001:db8::7]:51514\r\n",
      `${text.replace("{client}", "[2001:db8::7]:51514")}\r\n`,
    ]);
  }
});

Deno.test("toServeGreeting() sends an HTTP response with the length of its body in bytes", () => {
  assertEquals(
    sentOn(80, { text: "für {port}", byPort: new Map(), http: "all" }),
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 9\r\nConnection: close\r\n\r\nfür 80\r\n",
  );
});

Deno.test("toServeGreeting() sends an HTTP response only on the ports of --http", () => {
  const byPort = new Map([[8080, "other"]]);
  for (const greeting of [{ text: "page", byPort: new Map() }, { text: "{port}", byPort }]) {
    const served = [22, 80, 8080].map((port) => sentOn(port, { ...greeting, http: new Set([80, 8080]) }));
    assertEquals(served.map((text) => text.startsWith("HTTP/1.1 200 OK\r\n")), [false, true, true]);
  }
});

Deno.test("toServeGreeting() decodes escapes after it replaces placeholders, also in the body of an HTTP response", () => {
  const byPort = new Map([[21, String.raw`\x7bport}\\{port}`]]);
  for (const text of [String.raw`\xff\x00\t\x7bclient}`, String.raw`\xff\x00\t\x7bclient}{client}`]) {
    const client = text.endsWith("{client}") ? "[2001:db8::7]:51514" : "";
    const body = [0xff, 0x00, ...new TextEncoder().encode(`\t{client}${client}\r\n`)];
    assertEquals([...bytesOn(80, { text, byPort: new Map(), http: NONE })], body);
    assertEquals([...bytesOn(80, { text, byPort, http: NONE })], body);
    assertEquals(sentOn(21, { text, byPort, http: NONE }), "{port}\\21\r\n");
    const response = bytesOn(80, { text, byPort, http: "all" });
    assertEquals([...response.slice(-body.length)], body);
    assertMatch(new TextDecoder().decode(response), new RegExp(`\r\nContent-Length: ${body.length}\r\n`));
  }
});

Deno.test("toServeGreeting() appends CR LF unless the text ends in a line feed or in \\c, also in an HTTP response", () => {
  for (
    const [text, sent] of [
      ["", "\r\n"],
      ["x", "x\r\n"],
      [String.raw`x\r`, "x\r\r\n"],
      [String.raw`x\\n`, "x\\n\r\n"],
      [String.raw`x\n `, "x\n \r\n"],
      [String.raw`x\n`, "x\n"],
      [String.raw`x\x0A`, "x\n"],
      [String.raw`x\r\n`, "x\r\n"],
      ["x\n", "x\n"],
      [String.raw`{port}\n`, "80\n"],
      [String.raw`\n{port}`, "\n80\r\n"],
      [String.raw`\c`, ""],
      [String.raw`x\c`, "x"],
      [String.raw`x\n\c`, "x\n"],
      [String.raw`x\r\c`, "x\r"],
      [String.raw`x\\\c`, "x\\"],
      [String.raw`x\\c`, "x\\c\r\n"],
      [String.raw`x\x5cc`, "x\\c\r\n"],
      [String.raw`{port}\c`, "80"],
      ["{host}", "{host}\r\n"],
    ] as const
  ) {
    assertEquals(sentOn(80, { text, byPort: new Map(), http: NONE }), sent, text);
    assertEquals(sentOn(80, { text: "", byPort: new Map([[80, text]]), http: NONE }), sent, text);
    const [head, ...rest] = sentOn(80, { text, byPort: new Map(), http: "all" }).split("\r\n\r\n");
    assertEquals(rest.join("\r\n\r\n"), sent, text);
    assertMatch(`${head}`, new RegExp(`\r\nContent-Length: ${sent.length}\r\n`), text);
  }
});

Deno.test("maxGreetingBytes() counts the longest addresses, CR LF, and HTTP headers", () => {
  assertEquals(maxGreetingBytes("ü", false), 4);
  assertEquals(maxGreetingBytes("{port}", false), "65535\r\n".length);
  assertEquals(maxGreetingBytes("{client}", false), `[${"ffff:".repeat(7)}ffff]:65535\r\n`.length);
  assertEquals(maxGreetingBytes("x".repeat(98), true), 200);
  assertEquals(maxGreetingBytes(String.raw`\xff\\\n`, false), 3);
  assertEquals(maxGreetingBytes(String.raw`\xff{port}\c`, false), 6);
  assertEquals(maxGreetingBytes(String.raw`{port}\xff\xff`, false), 9);
});

const LINE = "greeter listens on 21,80\r\n";

Deno.test("toServeGreeting() appends the announcement to the greeting of ports without their own", () => {
  for (
    const [text, sent] of [["x", "x\r\n"], [String.raw`x\n`, "x\n"], ["", "\r\n"], ["ü{port}", "ü80\r\n"]] as const
  ) {
    assertEquals(sentOn(80, { text, byPort: new Map(), http: NONE }, LINE), `${sent}${LINE}`);
    const greeting = { text, byPort: new Map([[21, "FTP"]]), http: NONE };
    assertEquals([80, 21].map((port) => sentOn(port, greeting, LINE)), [`${sent}${LINE}`, "FTP\r\n"]);
  }
});

Deno.test("toServeGreeting() puts the announcement into the body of an HTTP response", () => {
  const byPort = new Map([[21, "FTP"]]);
  for (const text of ["für 80", "für {port}"]) {
    for (
      const greeting of [
        { text, byPort: new Map(), http: "all" as const },
        { text, byPort, http: new Set([21, 80]) },
      ]
    ) {
      const [head, body] = sentOn(80, greeting, LINE).split("\r\n\r\n");
      assertEquals(body, `für 80\r\n${LINE}`);
      assertMatch(`${head}`, new RegExp(`\r\nContent-Length: ${9 + LINE.length}\r\n`));
    }
    assertMatch(sentOn(21, { text, byPort, http: "all" }, LINE), /\r\nContent-Length: 5\r\n[^]*\r\n\r\nFTP\r\n$/);
  }
});

Deno.test("toServeGreeting() encodes a constant greeting with the announcement only once", () => {
  const addr: Deno.NetAddr = { transport: "tcp", hostname: "192.0.2.1", port: 80 };
  const info = { remoteAddr: addr, localAddr: addr };
  for (const [text, isConstant] of [["x", true], ["{port}", false]] as const) {
    const served = toServeGreeting({ text, byPort: new Map(), http: "all" }, true);
    assert(typeof served === "function");
    assertEquals(served(info, LINE) === served(info, LINE), isConstant);
  }
});

Deno.test("checkAnnouncement() rejects a list that does not fit with the longest greeting of a port that has it", () => {
  const ports = [21, 80, 443];
  const list = formatAnnouncement(ports).length;
  const byPort = new Map([[21, "FTP"]]);
  const head = maxGreetingBytes("x".repeat(16_000), true) - 16_002;
  const client = maxGreetingBytes("{client}", false) - 2;
  const cases: [greeting: Omit<Greeting, "text">, placeholders: string, more: number][] = [
    [{ byPort, http: NONE }, "", 0],
    [{ byPort, http: new Set([21]) }, "", 0], // port 21 has no list
    [{ byPort, http: new Set([443]) }, "", head],
    [{ byPort, http: "all" }, "", head],
    [{ byPort, http: NONE }, "{client}", client],
    [{ byPort, http: "all" }, "{client}{port}", head + client + 5],
  ];
  for (const [greeting, placeholders, more] of cases) {
    const room = MAX_GREETING_BYTES - list - 2 - more;
    const text = placeholders + "x".repeat(room);
    checkAnnouncement({ ...greeting, text }, ports);
    const { message } = assertThrows(() => checkAnnouncement({ ...greeting, text: `${text}x` }, ports), UsageError);
    assertEquals(
      message,
      "the greeting is too long with the list of --announce: it can have 16385 bytes; " +
        "shorten it to 16384 bytes, or listen on fewer ports",
    );
  }
  const apart = Array.from({ length: 3000 }, (_, i) => 10_000 + 2 * i);
  assertThrows(() => checkAnnouncement({ text: "", byPort, http: NONE }, apart), UsageError, "18022 bytes");
});

Deno.test("checkAnnouncement() rejects open ports none of which has the list", () => {
  const greeting = { text: "", byPort: new Map([[21, "FTP"], [22, "SSH"]]), http: NONE };
  checkAnnouncement(greeting, [21, 22, 80]);
  assertThrows(() => checkAnnouncement(greeting, [21, 22]), UsageError, "in --port, but those are in use; add one");
});
