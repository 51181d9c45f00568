/**
 * Checks and creates the greetings: selects the text of the port, converts it to bytes, and adds the head of an HTTP
 * response and the list of open ports.
 *
 * @module
 */
import { type ConnInfo, DEFAULTS, MAX_GREETING_BYTES, type ServeOptions } from "../../server.ts";
import { formatAnnouncement } from "../../shared/announcement.ts";
import { type Given, UsageError } from "../args.ts";
import { encodeText, splitEnd } from "../escapes.ts";
import { encodeHead, type HttpPorts, isHttp } from "./http.ts";
import { hostAndPort } from "../text.ts";
import { checkEscapes, invalidValue, type PortsWithText, portsWithText, textsByPort } from "../values.ts";

/** What the server sends. */
export interface Greeting {
  /** The text, with valid escapes, for all ports that are not in `byPort`. */
  text: string;
  /** Texts by port, with valid escapes. */
  byPort: ReadonlyMap<number, string>;
  /** The ports whose text is sent as an HTTP response. */
  http: HttpPorts;
}

/** The default greeting without CR LF, which is appended. */
const DEFAULT_GREETING_TEXT = DEFAULTS.greeting.trimEnd();

/** The options that say what the server sends. */
export interface GreetingOptions {
  /** The values of `--port`. */
  lists: readonly PortsWithText[];
  /** The value of `--greeting`, if it was given. */
  greeting: Given | undefined;
  /** The ports of `--http`. */
  http: HttpPorts;
  /** Whether `--stdin` was given. */
  isStdin: boolean;
  /** Whether `--announce` was given. */
  announce: boolean;
}

/** What to do if no port has the list of `--announce`. */
const ANNOUNCE_ADVICE = "add one, such as -p 8080, or remove --announce";

/**
 * Returns the greeting, or `undefined` if it is read from standard input.
 *
 * @throws {UsageError} If an option is invalid.
 */
export function toGreeting({ lists, greeting, http, isStdin, announce }: GreetingOptions): Greeting | undefined {
  for (const { given, list, text } of lists) {
    if (text !== undefined) checkGreeting(given, text, list.some((port) => isHttp(http, port)));
  }
  // A port may be both in a list with a greeting and in one without.
  const byPort = textsByPort(lists, "greetings");
  const hasHttp = http === "all" || [...http].some((port) => !byPort.has(port));
  const text = greeting && checkGreeting(greeting, greeting.text, hasHttp);
  if (greeting && announce && splitEnd(greeting.text).isExact) {
    throw new UsageError(`${greeting.option} ends in \\c, but --announce appends a line; remove one of them`);
  }
  if (isStdin && byPort.size > 0) {
    throw new UsageError("--stdin and a greeting in --port cannot be combined; use only one of them");
  }
  if (announce && byPort.size > 0 && lists.every(({ list }) => list.every((port) => byPort.has(port)))) {
    throw new UsageError(`--announce needs a port without a greeting in --port; ${ANNOUNCE_ADVICE}`);
  }
  return isStdin ? undefined : { text: text ?? DEFAULT_GREETING_TEXT, byPort, http };
}

/** Parses `LIST` or `LIST=TEXT`. */
export function portsWithGreeting(given: Given): PortsWithText {
  const ports = portsWithText(given, 0);
  if (ports.text === undefined || !ports.list.includes(0)) return ports;
  throw invalidValue(given, "a port other than 0, because port 0 cannot have its own greeting");
}

/** Checks the escapes of TEXT that the server sends, which may end in `\c`. */
export function checkServerText(given: Given): Given {
  checkEscapes({ ...given, text: splitEnd(given.text).text });
  return given;
}

/** Checks the escapes and the length of a greeting, which is the whole value of an option or a part of it. */
function checkGreeting(given: Given, text: string, http: boolean): string {
  checkServerText(given);
  const length = maxGreetingBytes(text, http);
  if (length <= MAX_GREETING_BYTES) return text;
  throw new UsageError(
    `the greeting of ${given.option} is too long: it can have ${length} bytes; ` +
      `shorten it to ${MAX_GREETING_BYTES} bytes`,
  );
}

const PLACEHOLDER = /\{(client|port)\}/;

const CR_LF = new TextEncoder().encode("\r\n");
const NOTHING = new Uint8Array();

/**
 * Returns the greeting for `serve`: bytes if it is the same for all connections, or else a function. `{client}` is
 * replaced by the client's address and port, `{port}` by the port that it was accepted on. With `announce`, it is
 * always a function: the list belongs in the body of an HTTP response, and {@linkcode checkAnnouncement} has a better
 * message than `serve` if the list is too long.
 */
export function toServeGreeting(greeting: Greeting, announce: boolean): ServeOptions["greeting"] {
  const { text, byPort, http } = greeting;
  const isConstant = byPort.size === 0 && !PLACEHOLDER.test(text) && (http === "all" || http.size === 0);
  if (!isConstant) return (info, announcement) => encodeGreeting(greeting, info, announcement);
  // A constant greeting can be encoded for any connection.
  if (!announce) return encodeGreeting(greeting, LONGEST, "");
  let encoded: Uint8Array | undefined;
  return (_info, announcement) => encoded ??= encodeGreeting(greeting, LONGEST, announcement);
}

/**
 * Encodes the greeting for a connection. Appends CR LF unless the text ends in a line feed or in `\c`, and then the
 * announcement, unless the port has its own text.
 *
 * @throws {InvalidEscape} If an escape in the text is invalid.
 */
function encodeGreeting(
  { text, byPort, http }: Greeting,
  { remoteAddr, localAddr }: ConnInfo,
  announcement: string,
): Uint8Array {
  const ownText = byPort.get(localAddr.port);
  const { text: toEncode, isExact } = splitEnd(ownText ?? text);
  const encoded = encodeText(toEncode, { client: hostAndPort(remoteAddr), port: `${localAddr.port}` });
  const end = isExact || encoded.at(-1) === CR_LF.at(-1) ? NOTHING : CR_LF;
  const line = ownText === undefined ? announcement : ""; // ASCII
  const length = encoded.length + end.length + line.length;
  const head = isHttp(http, localAddr.port) ? encodeHead(length) : NOTHING;
  const bytes = new Uint8Array(head.length + length);
  bytes.set(head);
  bytes.set(encoded, head.length);
  bytes.set(end, head.length + encoded.length);
  new TextEncoder().encodeInto(line, bytes.subarray(bytes.length - line.length));
  return bytes;
}

/** A connection whose addresses are as long as possible. */
const LONGEST: ConnInfo = {
  remoteAddr: { transport: "tcp", hostname: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", port: 65_535 },
  localAddr: { transport: "tcp", hostname: "::", port: 65_535 },
};

/** Returns the largest number of bytes that a greeting with this text can have. */
export function maxGreetingBytes(text: string, isHttpResponse: boolean, announcement = ""): number {
  const http = isHttpResponse ? "all" : new Set<number>();
  return encodeGreeting({ text, byPort: new Map(), http }, LONGEST, announcement).length;
}

/**
 * Checks that a port announces the open ports, and that the list fits into the greeting. The list is known only when the
 * ports are open: some may be skipped, and 0 becomes a port.
 *
 * @throws {UsageError} If the list does not fit, or no port would send it.
 */
export function checkAnnouncement({ text, byPort, http }: Greeting, openPorts: readonly number[]) {
  const announcing = openPorts.filter((port) => !byPort.has(port));
  if (announcing.length === 0) {
    throw new UsageError(
      `--announce needs a port without a greeting in --port, but those are in use; ${ANNOUNCE_ADVICE}`,
    );
  }
  const isHttpResponse = announcing.some((port) => isHttp(http, port));
  const length = maxGreetingBytes(text, isHttpResponse, formatAnnouncement(openPorts));
  if (length <= MAX_GREETING_BYTES) return;
  throw new UsageError(
    `the greeting is too long with the list of --announce: it can have ${length} bytes; ` +
      `shorten it to ${MAX_GREETING_BYTES} bytes, or listen on fewer ports`,
  );
}
