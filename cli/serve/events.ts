/**
 * Formats the server's events as lines of a log: {@linkcode textFormat} for people, {@linkcode jsonFormat} for
 * programs.
 *
 * @module
 */
import { format as formatDuration } from "@std/fmt/duration";
import type { Connection, ConnInfo } from "../../server.ts";
import { messageOf } from "../../shared/errors.ts";
import { formatSomePorts } from "../ports.ts";
import { formatPorts, formatRange } from "../../shared/ports.ts";
import { type ClientList, payloadOf, rangesOf } from "./clients.ts";
import { clientTable } from "./clients_table.ts";
import { addressesOf, portsOf } from "./listeners.ts";
import { enumerate, host, hostAndPort, payload, plural, quoteBytes, roundToMicroseconds, row } from "../text.ts";

/** The totals of a server that has stopped. */
export interface Summary {
  /** How many clients received the whole greeting. */
  greetings: number;
  /** How many clients were closed without a greeting, because they are not allowed. */
  denied: number;
  /** How many bytes all clients have sent. */
  bytesReceived: number;
  /** How many connections were reset before they could be accepted. */
  resets: number;
  /** How many log lines were dropped, because the reader of the log was too slow. */
  dropped: number;
  /** How long the server ran, in milliseconds. */
  duration: number;
  /** The ports on which a client was greeted, on which none was, and on which connections were only reset. */
  ports: { greeted: number[]; notGreeted: number[]; onlyReset: number[] };
}

/** Formats each event as a line without a line feed. Returns `undefined` if there is nothing to log. */
export interface Format {
  /** The server listens on these addresses. */
  listening(addrs: readonly Deno.NetAddr[]): string;
  /** A connection was accepted. */
  connection(connection: Connection): string;
  /** A connection was closed. */
  closed(connection: Connection): string | undefined;
  /** A client that is not allowed was closed. */
  denied(info: ConnInfo): string;
  /** Connections to these ports were reset before they could be accepted. */
  resets(count: number, ports: Iterable<number>): string;
  /** Lines of the log were dropped here, because its reader was too slow. */
  gap(lines: number): string;
  /** Accepting failed. */
  error(error: unknown): string | undefined;
  /** The clients of a server that has stopped, for output that is `columns` wide. */
  clients(clients: ClientList, columns: number): string[];
  /** The server has stopped. */
  stopped(summary: Summary): string;
}

/** Lines for people. Accept errors have no line, because they go to standard error. */
export const textFormat: Format = {
  listening(addrs) {
    const addresses = addressesOf(addrs);
    const ports = portsOf(addrs);
    if (ports.length === 1) return `Listening on ${enumerate(addresses.map(hostAndPort))}`;
    const list = formatSomePorts(ports);
    if (addresses.length === 1) return `Listening on ${enumerate(addresses.map(host))}:${list} (${ports.length} ports)`;
    // The list is the same for all addresses, and may be long.
    return `Listening on ${enumerate(addresses.map(({ hostname }) => hostname))}, ${ports.length} ports each: ${list}`;
  },
  connection: ({ remoteAddr, localAddr }) =>
    `Received connection from ${hostAndPort(remoteAddr)} on port ${localAddr.port}`,
  closed({ remoteAddr, localAddr, bytesReceived, received }) {
    if (bytesReceived === 0) return undefined;
    const more = bytesReceived > received.length ? "..." : "";
    const size = plural(bytesReceived, "byte");
    return `${hostAndPort(remoteAddr)} sent ${size} to port ${localAddr.port}: ${quoteBytes(received)}${more}`;
  },
  denied: ({ remoteAddr, localAddr }) => `Denied connection from ${hostAndPort(remoteAddr)} on port ${localAddr.port}`,
  resets(count, ports) {
    const were = count === 1 ? "connection was reset before it" : "connections were reset before they";
    return `${count} ${were} could be accepted (a port scan?): ${formatSomePorts(ports)}`;
  },
  gap: (lines) => lines === 1 ? "1 log line was dropped" : `${lines} log lines were dropped`,
  error: () => undefined,
  clients: clientTable,
  stopped({ greetings, denied, bytesReceived, resets, dropped, duration, ports }) {
    // In whole seconds, or in whole milliseconds below one second.
    const rounded = duration < 1000 ? Math.ceil(duration) : Math.round(duration / 1000) * 1000;
    const parts = [plural(greetings, "greeting"), `${denied} denied`, `${plural(bytesReceived, "byte")} received`];
    if (resets > 0) parts.push(`${resets} reset before accept`);
    const time = formatDuration(rounded, { ignoreZero: true });
    const lost = dropped > 0 ? `, ${plural(dropped, "log line")} dropped` : "";
    const totals = `Stopped: ${parts.join(", ")} in ${time}${lost}`;
    const { greeted, notGreeted, onlyReset } = ports;
    if (greeted.length + notGreeted.length + onlyReset.length <= 1) return totals;
    const lists = [["Greeted", greeted], ["Not greeted", notGreeted], ["Only reset", onlyReset]] as const;
    return [
      `${totals}.`,
      ...lists.filter(([, ports]) => ports.length > 0).map(([title, ports]) => `${title}: ${formatSomePorts(ports)}.`),
    ].join(" ");
  },
};

/** Lines for programs: flat JSON objects, with the field names of Suricata's EVE log where it has them. */
export const jsonFormat: Format = {
  listening: (addrs) =>
    row("listening", {
      proto: "TCP",
      dest_ip: addrs[0]?.hostname,
      dest_port: addrs[0]?.port,
      ports: formatPorts(portsOf(addrs)),
      addresses: addressesOf(addrs).map(({ hostname }) => hostname),
    }),
  connection: (connection) => row("connection", addresses(connection)),
  closed: (connection) =>
    row("closed", {
      ...addresses(connection),
      bytes_sent: connection.bytesSent,
      bytes_received: connection.bytesReceived,
      duration_ms: roundToMicroseconds(performance.now() - connection.acceptedAt),
      close_reason: connection.closeReason,
      ...payload(connection.received),
    }),
  denied: (info) => row("denied", addresses(info)),
  resets: (count, ports) => row("resets_before_accept", { ports: formatPorts(ports), count }),
  gap: (lines) => row("log_dropped", { lines }),
  error: (error) => row("error", { message: messageOf(error) }),
  clients({ busiest, others }) {
    const rows = busiest.map((client) =>
      row("client", {
        src_ip: client.address,
        connections: client.connections,
        bytes_received: client.bytesReceived,
        first_seen: new Date(client.firstSeen).toISOString(),
        last_seen: new Date(client.lastSeen).toISOString(),
        denied: client.denied,
        ports: rangesOf(client).map(formatRange).join(","),
        more_ports: client.hasMorePorts,
        ...payload(payloadOf(client)),
      })
    );
    if (others.connections === 0) return rows;
    return [...rows, row("other_clients", { connections: others.connections, bytes_received: others.bytesReceived })];
  },
  stopped: ({ greetings, denied, bytesReceived, resets, dropped, duration, ports }) =>
    row("stopped", {
      greetings,
      denied,
      bytes_received: bytesReceived,
      resets_before_accept: resets,
      dropped,
      duration_ms: roundToMicroseconds(duration),
      ports_greeted: formatPorts(ports.greeted),
      ports_not_greeted: formatPorts(ports.notGreeted),
      ports_reset: formatPorts(ports.onlyReset),
    }),
};

function addresses({ remoteAddr, localAddr }: ConnInfo) {
  return {
    proto: "TCP",
    src_ip: remoteAddr.hostname,
    src_port: remoteAddr.port,
    dest_ip: localAddr.hostname,
    dest_port: localAddr.port,
  };
}
