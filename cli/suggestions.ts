/**
 * What the user probably meant: suggestions for messages about invalid arguments.
 *
 * @module
 */
import { closestString } from "@std/text/closest-string";
import { levenshteinDistance } from "@std/text/levenshtein-distance";
import { parsePorts } from "../shared/ports.ts";
import type { OptionTable } from "./args.ts";

/** Returns the word nearest to one that was typed, or `undefined` if none is close enough to be what was meant. */
export function nearest(typed: string, words: readonly string[]): string | undefined {
  const word = typed.toLowerCase();
  const plausible = words.filter((candidate) => isPlausible(word, candidate));
  return plausible.length === 0 ? undefined : closestString(word, plausible);
}

/** Whether a word may be a misspelling of another one, its beginning, or a longer form of it. */
function isPlausible(word: string, candidate: string): boolean {
  if (word.length >= 3 && (candidate.startsWith(word) || word.startsWith(candidate))) return true;
  const distance = levenshteinDistance(word, candidate);
  // Two swapped letters count as two changes, but are one mistake.
  const isSwap = distance === 2 && [...word].sort().join() === [...candidate].sort().join();
  return isSwap || distance <= Math.max(1, Math.floor(word.length / 3)) && word.length > 2;
}

/**
 * Returns the option of a table that was probably meant by a name without hyphens: for a letter, the one with the same
 * letter in the other case.
 */
export function nearestOption(name: string, table: OptionTable): string | undefined {
  if (name.length > 1) {
    const meant = nearest(name, Object.keys(table));
    return meant === undefined ? undefined : `--${meant}`;
  }
  const short = Object.values(table).find(({ short }) => short?.toLowerCase() === name.toLowerCase())?.short;
  return short === undefined ? undefined : `-${short}`;
}

/** The ports of services whose names users often write instead. */
const SERVICE_PORTS: Readonly<Record<string, number>> = {
  dns: 53,
  domain: 53,
  ftp: 21,
  http: 80,
  https: 443,
  imap: 143,
  imaps: 993,
  ldap: 389,
  mysql: 3306,
  ntp: 123,
  pop3: 110,
  pop3s: 995,
  postgres: 5432,
  postgresql: 5432,
  rdp: 3389,
  redis: 6379,
  smb: 445,
  smtp: 25,
  smtps: 465,
  ssh: 22,
  submission: 587,
  telnet: 23,
  vnc: 5900,
};

/**
 * Returns a valid port list for one that has names of services, spaces or semicolons between the ports, or ranges such
 * as `80:90`, `80..90`, `90-80`, `-90` and `0-90`. Returns `undefined` if it has anything else that is invalid.
 */
export function suggestPorts(list: string): string | undefined {
  const items = list.split(/[\s,;]+/).filter((item) => item !== "").map((item) => {
    const name = item.toLowerCase();
    if (Object.hasOwn(SERVICE_PORTS, name)) return `${SERVICE_PORTS[name]}`;
    const [, first, last] = item.match(/^(\d*)(?:-|:|\.\.)(\d+)$/) ?? [];
    if (first === undefined || last === undefined) return item;
    const [start, end] = [Number(first), Number(last)].sort((a, b) => a - b);
    return `${start || 1}-${end}`;
  });
  const suggestion = items.join(",");
  return parsePorts(suggestion) && suggestion;
}

/** How many seconds a unit has. */
const SECONDS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, sec: 1, m: 60, min: 60, h: 3600 };

/**
 * Returns the number of seconds for a duration with units, such as `10m`, or with a decimal comma. Returns `undefined`
 * for anything else.
 */
export function suggestSeconds(text: string): number | undefined {
  const duration = text.toLowerCase().replace(/^(\d+),(\d+)$/, "$1.$2s");
  if (!/^(\d+(\.\d+)?\s*(ms|s|sec|m|min|h)\s*)+$/.test(duration)) return undefined;
  let seconds = 0;
  for (const [, number, unit = ""] of duration.matchAll(/([\d.]+)\s*([a-z]+)/g)) {
    seconds += Number(number) * (SECONDS[unit] ?? NaN);
  }
  return Math.round(seconds * 1000) / 1000;
}
