import { assert, assertEquals } from "@std/assert";
import { type Greeting, maxGreetingBytes, toServeGreeting } from "./greeting.ts";

/** What a client gets on a port. */
function sentOn(port: number, greeting: Greeting): string {
  const addr = (hostname: string, port: number): Deno.NetAddr => ({ transport: "tcp", hostname, port });
  const info = { remoteAddr: addr("2001:db8::7", 51514), localAddr: addr("2001:db8::1", port) };
  const served = toServeGreeting(greeting);
  const sent = typeof served === "function" ? served(info) : served;
  return sent instanceof Uint8Array ? new TextDecoder().decode(sent) : `${sent}`;
}

Deno.test("toServeGreeting() returns bytes if the greeting is the same for all connections", () => {
  for (const http of [false, true]) {
    assert(toServeGreeting({ text: "hi {there}", byPort: new Map(), http }) instanceof Uint8Array);
  }
});

Deno.test("toServeGreeting() chooses the text by port, and replaces every {client} and {port}", () => {
  const byPort = new Map([[21, "FTP"], [22, ""], [23, "{port} {port} {client}"]]);
  for (const text of ["other", "other {client}"]) {
    const greeting = { text, byPort, http: false };
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
    sentOn(80, { text: "für {port}", byPort: new Map(), http: true }),
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 9\r\nConnection: close\r\n\r\nfür 80\r\n",
  );
});

Deno.test("maxGreetingBytes() counts the longest addresses, CR LF, and HTTP headers", () => {
  assertEquals(maxGreetingBytes("ü", false), 4);
  assertEquals(maxGreetingBytes("{port}", false), "65535\r\n".length);
  assertEquals(maxGreetingBytes("{client}", false), `[${"ffff:".repeat(7)}ffff]:65535\r\n`.length);
  assertEquals(maxGreetingBytes("x".repeat(98), true), 200);
});
