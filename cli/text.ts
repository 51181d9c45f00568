/**
 * Text and rows of JSON that both commands print: colors, untrusted bytes without control characters, times, addresses.
 *
 * @module
 */

/** Colors text if it goes to a terminal. @std/fmt respects NO_COLOR, but does not know where the text goes. */
export function paint(color: (text: string) => string, stream: { isTerminal(): boolean }, text: string): string {
  return stream.isTerminal() ? color(text) : text;
}

/** The width of a terminal whose width is not known. */
const DEFAULT_COLUMNS = 80;

/** Returns how many columns a stream has: `Infinity` if it is not a terminal. */
export function columnsOf(stream: { isTerminal(): boolean }): number {
  if (!stream.isTerminal()) return Infinity;
  try {
    return Deno.consoleSize().columns || DEFAULT_COLUMNS; // 0 if it is not known
  } catch {
    return DEFAULT_COLUMNS; // the terminal has been closed
  }
}

/** Splits text into lines of at most `width` characters: between words, or within those that are longer than a line. */
export function wrap(text: string, width: number): string[] {
  if (text.length <= width) return [text];
  const lines: string[] = [];
  for (const word of text.split(" ").flatMap((word) => word.match(new RegExp(`.{1,${width}}`, "g")) ?? [])) {
    const line = lines.at(-1);
    if (line === undefined || line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines;
}

const ESCAPES: Record<string, string> = { "\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\" };

/**
 * Quotes bytes and escapes everything except printable ASCII, so that no peer can control the reader's terminal or forge
 * a line of the output. What is between the quotes is TEXT, from which `encodeText()` restores the bytes: hence `{`, which could
 * begin a placeholder, is escaped, too. So is `"`, so that the only quotes are the first and the last character. For the
 * server, `\c` must follow: it would append CR LF otherwise.
 */
export function quoteBytes(bytes: Uint8Array): string {
  const escaped = latin1(bytes).replace(
    /[^ !#-[\]-z|}~]/g,
    (char) => ESCAPES[char] ?? `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return `"${escaped}"`;
}

/** Decodes each byte to the character with its number. TextDecoder cannot do this: its latin1 is windows-1252. */
export function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** Formats an event as a line of JSON. */
export function row(event_type: string, fields: Record<string, unknown>): string {
  return JSON.stringify({ timestamp: utcTimestamp(), event_type, ...fields });
}

/** The fields for received bytes: as Base64 and as text. No fields if nothing was received. */
export function payload(bytes: Uint8Array): { payload?: string; payload_printable?: string } {
  if (bytes.length === 0) return {};
  const text = latin1(bytes);
  return { payload: btoa(text), payload_printable: text.replace(/[^ -~\r\n]/g, ".") };
}

/** Rounds milliseconds to three decimal places. */
export function roundToMicroseconds(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/** `192.0.2.7:51514` or `[2001:db8::7]:51514`. */
export function hostAndPort(addr: Deno.NetAddr): string {
  return `${host(addr)}:${addr.port}`;
}

/** `192.0.2.7` or `[2001:db8::7]`. */
export function host({ hostname }: { hostname: string }): string {
  return hostname.includes(":") ? `[${hostname}]` : hostname;
}

/** `1 greeting`, `2 greetings`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** `a`, `a and b`, `a, b and c`. */
export function enumerate(items: readonly string[]): string {
  return [items.slice(0, -1).join(", "), ...items.slice(-1)].filter((part) => part !== "").join(" and ");
}

/** The time in UTC, in ISO 8601 format. */
const utcTimestamp = oncePerMillisecond((date) => date.toISOString());

/** The local time in ISO 8601 format, with its offset from UTC: `2026-12-01T10:02:11.123+01:00`. */
export const localTimestamp: () => string = oncePerMillisecond((date) => {
  const offset = -date.getTimezoneOffset();
  const local = new Date(date.getTime() + offset * MS_PER_MINUTE).toISOString().replace("Z", "");
  const padded = (number: number) => `${Math.floor(number)}`.padStart(2, "0");
  return `${local}${offset < 0 ? "-" : "+"}${padded(Math.abs(offset) / 60)}:${padded(Math.abs(offset) % 60)}`;
});

const MS_PER_MINUTE = 60_000;

/** Formats the local date and time: `2026-11-24 17:30:39`. */
export function localDateAndTime(date: Date): string {
  return date.toLocaleString("sv-SE"); // Swedish dates have this form
}

/** Formats the time only if it has changed, which saves CPU time when there are many events per millisecond. */
function oncePerMillisecond(format: (date: Date) => string): () => string {
  let latest = { time: NaN, text: "" };
  return () => {
    const time = Date.now();
    if (time !== latest.time) latest = { time, text: format(new Date(time)) };
    return latest.text;
  };
}
