import { assert, assertEquals } from "@std/assert";
import { Output } from "./output.ts";

/** A stream that throws the errors, one for each write, and then keeps what is written. */
function startOutput(errors: readonly Error[] = [], accepted = Infinity) {
  const pieces: string[] = [];
  let failures = 0;
  const remaining = [...errors];
  const write = (data: Uint8Array) => {
    const error = remaining.shift();
    if (error) return Promise.reject(error);
    const bytes = data.subarray(0, accepted);
    pieces.push(new TextDecoder().decode(bytes));
    return Promise.resolve(bytes.length);
  };
  return { output: new Output({ write }, () => failures++), pieces, failures: () => failures };
}

Deno.test("Output writes all lines in order, in pieces of whole lines", async () => {
  const { output, pieces } = startOutput();
  const lines = Array.from({ length: 1000 }, (_, i) => `line ${i}`.padEnd(100, "."));
  for (const line of lines.slice(0, 500)) output.print(line);
  await output.flush();
  for (const line of lines.slice(500)) output.print(line);
  assert(output.size > 40_000);
  await output.flush();
  assertEquals([pieces.join(""), output.size], [lines.join("\n") + "\n", 0]);
  assertEquals(pieces.filter((piece) => piece.length > 4096 || !piece.endsWith("\n")), []);
});

Deno.test("Output writes the rest if a part is accepted, and a line that is longer than a piece", async () => {
  const { output, pieces } = startOutput([], 1000);
  const line = "x".repeat(10_000);
  output.print(line);
  output.print("end");
  await output.flush();
  assertEquals(pieces.join(""), `${line}\nend\n`);
});

Deno.test("Output tries again while a non-blocking pipe is full", async () => {
  const full = new Deno.errors.WouldBlock();
  const { output, pieces, failures } = startOutput([full, full]);
  output.print("line");
  await output.flush();
  assertEquals([pieces, output.error, failures()], [["line\n"], undefined, 0]);
});

Deno.test("Output writes nothing more after any other error, and says so once", async () => {
  const error = new Deno.errors.BrokenPipe();
  const { output, pieces, failures } = startOutput([error]);
  output.print("line");
  await output.flush();
  output.print("another line");
  await output.flush();
  assertEquals([pieces, output.error, failures()], [[], error, 1]);
});

Deno.test("Output writes a line that is printed while the last writing ends", async () => {
  for (let hops = 0; hops < 8; hops++) {
    const { output, pieces } = startOutput();
    output.print("first");
    // As many turns of the microtask queue as it may take until the writing has ended.
    for (let i = 0; i < hops; i++) await undefined;
    output.print("second");
    await output.flush();
    assertEquals([pieces.join(""), hops], ["first\nsecond\n", hops]);
  }
});
