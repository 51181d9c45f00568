/**
 * The operands of `greeter connect`: names and addresses of hosts.
 *
 * @module
 */
import { addressAdvice } from "../../shared/addresses.ts";
import { type Given, quote, truncate, UsageError } from "../args.ts";
import { isPortList, LIST_WITH_TEXT_ADVICE, portsAdvice } from "../values.ts";

/** Matches the host and the port in a URL such as `http://lab:8000/`. */
const URL_PATTERN = /^\w+:\/\/([^/:]+|\[[^\]]*\])(?::(\d+))?(?:\/.*)?$/;

/** Matches `name:22` and `[::1]:22`, but not `::1`. */
const HOST_WITH_PORT = /^([^:]+|\[.*\]):(\d*)$/;

/** Matches what other scanners accept for several addresses: `10.0.0.0/30`, `2001:db8::/64`, `10.0.0.1-5`, `10.0.0.*`. */
const NETWORK = /^(?=\d|.*:)[^/]+\/\d+$|^(?=.*[-*])[\d*-]+(\.[\d*-]+){3}$/;

/** Checks the operands, and removes the brackets of IPv6 addresses. */
export function toHostnames(operands: readonly string[], ports: readonly Given[]): string[] {
  if (operands.length === 0) throw new UsageError("HOST is missing; write greeter connect [OPTIONS] HOST...");
  const text = operands.find((operand) => operand.startsWith("="));
  if (text !== undefined) throw new UsageError(`unexpected argument ${quote(text)}; ${LIST_WITH_TEXT_ADVICE}`);
  const lists = operands.filter((operand) => isPortList(operand) && !/^0+$/.test(operand)); // 0 is no port here
  const [list] = lists;
  if (list !== undefined) {
    throw new UsageError(`invalid HOST ${quote(list)}: to check ports, ${portsAdvice(ports, lists)}`);
  }
  return [...new Set(operands.map(toHostname))];
}

function toHostname(host: string): string {
  const [, name = "", port = ""] = host.match(URL_PATTERN) ?? host.match(HOST_WITH_PORT) ?? [];
  if (name !== "") {
    toHostname(name); // so that the suggestion is valid
    const suggestion = `${truncate(name)} -p ${isPortList(port) && Number(port) > 0 ? port : "PORT"}`;
    throw new UsageError(`invalid HOST ${quote(host)}: write ${suggestion}`);
  }
  const listed = host.split(",").filter((name) => name !== "");
  if (host.includes(",") && listed.length > 0) {
    listed.forEach(toHostname);
    throw new UsageError(`invalid HOST ${quote(host)}: write ${truncate(listed.join(" "))}`);
  }
  if (NETWORK.test(host)) {
    throw new UsageError(`invalid HOST ${quote(host)}: networks are not supported; write each name or address`);
  }
  const hostname = host.replace(/^\[(.*)\]$/, "$1");
  const isName = /^(?!%|:\d*$)[^\s,/[\]]+$/.test(hostname);
  const advice = isName ? addressAdvice(hostname) : "expected a name or an address";
  if (advice !== undefined) throw new UsageError(`invalid HOST ${quote(host)}: ${advice}`);
  return hostname;
}
