// The textbook loop in Deno. A client that resets its connection at the wrong moment ends it. textbook.ts PORT FILE
const [port, file = ""] = Deno.args;
const greeting = Deno.readFileSync(file);
for await (const conn of Deno.listen({ hostname: "127.0.0.1", port: Number(port), tcpBacklog: 4096 })) {
  conn.write(greeting).then(() => conn.close());
}
