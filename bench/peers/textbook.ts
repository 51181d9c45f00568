// The textbook loop on Deno: what greeter's runtime costs at the least. textbook.ts PORT [FILE]
const [port, file] = Deno.args;
const greeting = file
  ? Deno.readFileSync(file)
  : new TextEncoder().encode("Thank you for connecting to the server.\r\n");
for await (const conn of Deno.listen({ hostname: "127.0.0.1", port: Number(port), tcpBacklog: 4096 })) {
  conn.write(greeting).then(() => conn.close());
}
