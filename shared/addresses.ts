/**
 * Numeric addresses that the system reads differently from people.
 *
 * @module
 */

/** Matches a decimal number, or a hexadecimal one as `inet_aton` accepts it. Also matches nothing, as in `10..0.1`. */
const NUMBER = /^(?:\d*|0x[\da-f]*)$/i;

/**
 * Returns advice for an IPv4 address that is not four decimal numbers without leading zeros. Returns `undefined` for all
 * other texts. The IPv4 address may be the end of an IPv6 address. `inet_aton` reads `10.0.0.010` as 10.0.0.8, and `127.1`
 * as 127.0.0.1. No name consists only of numbers.
 */
export function addressAdvice(text: string): string | undefined {
  // The system maps full-width digits and dots to ASCII.
  const ascii = text.normalize("NFKC").replaceAll("\u3002", ".");
  const [, ipv6 = "", ipv4 = "", rest = ""] = ascii.match(/^([\da-f:.]*:)?([^:%/]*)([%/][!-~]*)?$/i) ?? [];
  const numbers = ipv4.split(".");
  if (!/\d/.test(ipv4) || !numbers.every((number) => NUMBER.test(number))) return undefined;
  if (ipv6 !== "" && numbers.length === 1) return undefined; // the last group of an IPv6 address
  const decimal = numbers.map((number) => number.replace(/^0+(?=\d)/, ""));
  if (decimal.length !== 4 || !decimal.every((number) => /^\d{1,3}$/.test(number) && Number(number) <= 255)) {
    return "write four numbers from 0 to 255, such as 192.0.2.7";
  }
  if (numbers.every((number, i) => number === decimal[i])) return ascii === text ? undefined : `write ${ascii}`;
  const suffix = ipv6 === "" && rest.startsWith("%") ? "" : rest; // an IPv4 address has no zone
  return `a leading zero can mean octal; write ${ipv6}${decimal.join(".")}${suffix}`;
}

/**
 * Rejects a numeric address for which there is {@linkcode addressAdvice}.
 *
 * @throws {RangeError} The message begins with the option's name.
 */
export function checkAddress(name: string, text: string) {
  const advice = addressAdvice(text);
  if (advice !== undefined) throw new RangeError(`${name}: invalid address ${JSON.stringify(text)}: ${advice}`);
}
