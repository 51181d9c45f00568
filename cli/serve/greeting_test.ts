import { assert, assertEquals, assertMatch } from "@std/assert";
import { type Greeting, maxGreetingBytes, toServeGreeting } from "./greeting.ts";

/** No port answers HTTP. */
const NONE: ReadonlySet<number> = new Set();

/** The bytes that a client gets on a port. */
function bytesOn(port: number, greeting: Greeting): Uint8Array {
  const addr = (hostname: string, port: number): Deno.NetAddr => ({ transport: "tcp", hostname, port });
  const info = { remoteAddr: addr("2001:db8::7", 51514), localAddr: addr("2001:db8::1", port) };
  const served = toServeGreeting(greeting);
  const sent = typeof served === "function" ? served(info, "") : served;
  assert(sent instanceof Uint8Array);
  return sent;
}

/** What a client gets on a port, as text. */
function sentOn(port: number, greeting: Greeting): string {
  return new TextDecoder().decode(bytesOn(port, greeting));
}

Deno.test("toServeGreeting() returns bytes if the greeting is the same for all connections", () => {
  for (const http of [new Set<number>(), "all"] as const) {
    assert(toServeGreeting({ text: "hi {there}", byPort: new Map(), http }) instanceof Uint8Array);
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

Deno.test("toServeGreeting() appends CR LF unless the text ends in a line feed, also in an HTTP response", () => {
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
  assertEquals(maxGreetingBytes(String.raw`{port}\xff\xff`, false), 9);
});
