/**
 * A small name server for tests, which runs in the network namespace of the test.
 *
 * @module
 */
import { createSocket } from "node:dgram";

/** What the name server does with a query: answers with addresses, answers with an error, or does not answer. */
export type Answer = readonly string[] | "NXDOMAIN" | "SERVFAIL" | "silence";

/** A running name server. It is closed at the end of its scope. */
export interface NameServer extends AsyncDisposable {
  /**
   * Returns when each lookup of a name began, on the clock of `performance.now()`. The system asks for both families of
   * addresses, which is one lookup. If it gets no answer, it sends the same query again, which is not another lookup.
   */
  lookups: (name: string) => readonly number[];
}

/** The types of records. */
const TYPES: Readonly<Record<number, 4 | 6>> = { 1: 4, 28: 6 };

/** The codes of errors. */
const CODES = { SERVFAIL: 2, NXDOMAIN: 3 } as const;

/** The length of the header of a message, in bytes. */
const HEADER_BYTES = 12;

/** Starts a name server on 127.0.0.1, port 53. Calls `answer` for each query. */
export async function startNameServer(
  answer: (name: string, family: 4 | 6 | undefined) => Answer,
): Promise<NameServer> {
  const socket = createSocket("udp4");
  /** When the first query with each id for each name arrived. */
  const lookups = new Map<string, Map<number, number>>();
  socket.on("message", (query, { port, address }) => {
    const { name, family, end } = parseQuestion(query);
    const id = query.readUInt16BE(0);
    const times = lookups.get(name) ?? new Map<number, number>();
    lookups.set(name, times);
    // The queries for the two families have different ids.
    if (family === 4 && !times.has(id)) times.set(id, performance.now());
    const result = answer(name, family);
    if (result !== "silence") socket.send(formatAnswer(query.subarray(0, end), family, result), port, address);
  });
  await new Promise<void>((resolve) => socket.bind(53, "127.0.0.1", resolve));
  return {
    lookups: (name) => [...lookups.get(name)?.values() ?? []],
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => socket.close(resolve)),
  };
}

/** Returns the name, the family of addresses that is asked for, and where the question ends. */
function parseQuestion(query: Uint8Array): { name: string; family: 4 | 6 | undefined; end: number } {
  const labels: string[] = [];
  let offset = HEADER_BYTES;
  for (;;) {
    const length = query[offset++] ?? 0;
    if (length === 0) break;
    labels.push(new TextDecoder().decode(query.subarray(offset, offset + length)));
    offset += length;
  }
  const type = ((query[offset] ?? 0) << 8) + (query[offset + 1] ?? 0);
  return { name: labels.join("."), family: TYPES[type], end: offset + 4 }; // a type and a class of 2 bytes each
}

/** Returns the message that answers a query. `question` is its header and its question. */
function formatAnswer(
  question: Uint8Array,
  family: 4 | 6 | undefined,
  result: Exclude<Answer, "silence">,
): Uint8Array {
  const code = typeof result === "string" ? CODES[result] : 0;
  const addresses = typeof result === "string" ? [] : result;
  const records = addresses.filter((address) => family === (address.includes(":") ? 6 : 4)).map(formatRecord);
  const message = new Uint8Array([...question, ...records.flat()]);
  // An answer to a query that asks for recursion, which is available. One question, and one record for each address.
  message.set([0x81, 0x80 + code, 0, 1, 0, records.length, 0, 0, 0, 0], 2);
  return message;
}

/** Returns a record: the name of the question, the type, the class, a time to live of 0 s, and the address. */
function formatRecord(address: string): number[] {
  const bytes = bytesOf(address);
  return [0xc0, HEADER_BYTES, 0, bytes.length === 4 ? 1 : 28, 0, 1, 0, 0, 0, 0, 0, bytes.length, ...bytes];
}

function bytesOf(address: string): number[] {
  if (!address.includes(":")) return address.split(".").map(Number);
  const [left = [], right = []] = address.split("::").map((half) => half === "" ? [] : half.split(":"));
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill("0"), ...right];
  return groups.map((group) => parseInt(group, 16)).flatMap((group) => [group >> 8, group & 0xff]);
}
