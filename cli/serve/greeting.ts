/**
 * Creates the greetings: selects the text of the port, converts it to bytes, and adds the head of an HTTP response.
 *
 * @module
 */
import type { ConnInfo, ServeOptions } from "../../server.ts";
import { encodeText } from "../escapes.ts";
import { encodeHead, type HttpPorts, isHttp } from "./http.ts";
import { hostAndPort } from "../text.ts";

/** What the server sends. */
export interface Greeting {
  /** The text, with valid escapes, for all ports that are not in `byPort`. */
  text: string;
  /** Texts by port, with valid escapes. */
  byPort: ReadonlyMap<number, string>;
  /** The ports whose text is sent as an HTTP response. */
  http: HttpPorts;
}

const PLACEHOLDER = /\{(client|port)\}/;

const CR_LF = new TextEncoder().encode("\r\n");
const NOTHING = new Uint8Array();

/**
 * Returns the greeting for `serve`: bytes if it is the same for all connections, or else a function. `{client}` is
 * replaced by the client's address and port, `{port}` by the port that it was accepted on.
 */
export function toServeGreeting(greeting: Greeting): ServeOptions["greeting"] {
  const { text, byPort, http } = greeting;
  const isConstant = byPort.size === 0 && !PLACEHOLDER.test(text) && (http === "all" || http.size === 0);
  // A constant greeting can be encoded for any connection.
  return isConstant ? encodeGreeting(greeting, LONGEST) : (info) => encodeGreeting(greeting, info);
}

/**
 * Encodes the greeting for a connection. Appends CR LF unless the text ends in a line feed.
 *
 * @throws {InvalidEscape} If an escape in the text is invalid.
 */
function encodeGreeting({ text, byPort, http }: Greeting, { remoteAddr, localAddr }: ConnInfo): Uint8Array {
  const template = byPort.get(localAddr.port) ?? text;
  const encoded = encodeText(template, { client: hostAndPort(remoteAddr), port: `${localAddr.port}` });
  const end = encoded.at(-1) === CR_LF.at(-1) ? NOTHING : CR_LF;
  const length = encoded.length + end.length;
  const head = isHttp(http, localAddr.port) ? encodeHead(length) : NOTHING;
  const bytes = new Uint8Array(head.length + length);
  bytes.set(head);
  bytes.set(encoded, head.length);
  bytes.set(end, head.length + encoded.length);
  return bytes;
}

/** A connection whose addresses are as long as possible. */
const LONGEST: ConnInfo = {
  remoteAddr: { transport: "tcp", hostname: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", port: 65_535 },
  localAddr: { transport: "tcp", hostname: "::", port: 65_535 },
};

/** Returns the largest number of bytes that a greeting with this text can have. */
export function maxGreetingBytes(text: string, isHttpResponse: boolean): number {
  const http = isHttpResponse ? "all" : new Set<number>();
  return encodeGreeting({ text, byPort: new Map(), http }, LONGEST).length;
}
