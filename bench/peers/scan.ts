// The simplest client in Deno that reads greetings, as a reference for what the runtime costs: it connects to each port of a
// range, 64 at once, reads to the end, and closes. It has no timeout and no second attempt.
//
// scan.ts FIRST-LAST TEXT
const MAX_ACTIVE = 64; // the same as MAX_ACTIVE_PROBES in ../../client/pool.ts

const [range = "", text = ""] = Deno.args;
const [first = 0, last = first] = range.split("-").map(Number);
let port = first;
let greeted = 0;

async function scan() {
  const buffer = new Uint8Array(16 * 1024);
  while (port <= last) {
    try {
      using conn = await Deno.connect({ hostname: "127.0.0.1", port: port++ });
      let length = 0;
      for (let n; (n = await conn.read(buffer.subarray(length))) !== null;) length += n;
      if (new TextDecoder().decode(buffer.subarray(0, length)).includes(text)) greeted++;
    } catch {
      // the port is not open, or its server has reset the connection
    }
  }
}

await Promise.all(Array.from({ length: MAX_ACTIVE }, scan));
console.log(`${greeted} greeted`);
