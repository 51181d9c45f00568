// The simplest server in Deno that greets correctly and fairly, as a reference for what the runtime costs: it continues
// after accept errors, half-closes, and reads until the client closes. At most MAX_UNGREETED connections wait for their
// greeting at once, as in greeter. It has no timeout, no limit and no log.
//
// minimal.ts PORT FILE
const MAX_UNGREETED = 16; // the same as in ../../server.ts

const [port, file = ""] = Deno.args;
const greeting = Deno.readFileSync(file);
const discardBuffer = new Uint8Array(64 * 1024);
const listener = Deno.listen({ hostname: "127.0.0.1", port: Number(port), tcpBacklog: 4096 });
let ungreeted = 0;
let resume = () => {};

async function handle(conn: Deno.TcpConn) {
  let waiting = true;
  const leaveGate = () => {
    if (waiting) ungreeted--;
    waiting = false;
    resume();
  };
  try {
    for (let n = 0; n < greeting.length;) n += await conn.write(greeting.subarray(n));
    await conn.closeWrite();
    leaveGate();
    while (await conn.read(discardBuffer) !== null);
  } catch {
    // the client has reset the connection
  }
  leaveGate();
  conn.close();
}

for (;;) {
  try {
    for await (const conn of listener) {
      ungreeted++;
      handle(conn);
      while (ungreeted >= MAX_UNGREETED) await new Promise<void>((resolve) => resume = resolve);
    }
  } catch {
    // the client has reset the connection before it was accepted
  }
}
