/**
 * The option `--http`: its ports, how long to wait for a request, and the head of the response.
 *
 * @module
 */
import type { ServeOptions } from "../../server.ts";
import { type Given, truncate, UsageError } from "../args.ts";
import { parsePorts } from "../../shared/ports.ts";
import { portList } from "../values.ts";

/** The LIST of all ports, which `--http` stands for. */
export const ALL_PORTS = "-";

/** The ports that answer HTTP: all, or some. */
export type HttpPorts = "all" | ReadonlySet<number>;

/** How long to wait for a request, in milliseconds. */
const REQUEST_WAIT_MS = 1000;

/** Parses the LIST of `--http`. */
export function httpPorts(given: Given): HttpPorts {
  return given.text === ALL_PORTS ? "all" : new Set(portList(given, given.text, 1));
}

/**
 * Checks that the server has the ports of a LIST. A range may include others.
 *
 * @throws {UsageError} If it has none of a range, or not a single port.
 */
export function checkListening({ option, text }: Given, ports: readonly number[]) {
  if (text === ALL_PORTS) return;
  const open = new Set(ports);
  const unused = text.split(",").find((item) => !parsePorts(item)?.some((port) => open.has(port)));
  if (unused === undefined) return;
  const list = truncate(unused);
  throw new UsageError(
    `${option} has ${list}, but --port does not; add ${list} to --port, or remove it from ${option}`,
  );
}

/** Whether a port answers HTTP. */
export function isHttp(http: HttpPorts, port: number): boolean {
  return http === "all" || http.has(port);
}

/**
 * Returns how long the server waits for a request. Some clients, such as Go's net/http, fail if the response arrives
 * before they have sent the request. `timeout` is how long a connection may stay open, in milliseconds.
 */
export function toInputTimeout(http: HttpPorts, timeout: number): ServeOptions["inputTimeout"] {
  const ms = Math.min(REQUEST_WAIT_MS, timeout / 2);
  if (http === "all") return ms;
  return http.size === 0 ? undefined : ({ localAddr }) => http.has(localAddr.port) ? ms : 0;
}

/** Encodes the head of a response whose body has this number of bytes. */
export function encodeHead(bodyLength: number): Uint8Array {
  const lines = [
    "HTTP/1.1 200 OK",
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${bodyLength}`,
    "Connection: close",
    "\r\n",
  ];
  return new TextEncoder().encode(lines.join("\r\n"));
}
