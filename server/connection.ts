/**
 * One connection: its addresses, its progress, and why it ended.
 *
 * @module
 */
import type { Port } from "./port.ts";

/** Both addresses of a connection. IPv4 over an IPv6 socket is shown as IPv4: `192.0.2.7`, not `::ffff:192.0.2.7`. */
export interface ConnInfo {
  /** The client's address. */
  readonly remoteAddr: Deno.NetAddr;
  /** The address that the client connected to. */
  readonly localAddr: Deno.NetAddr;
}

/**
 * Converts IPv4-mapped IPv6 addresses to IPv4 addresses. Returns other addresses, such as `::ffff:0:c000:207`,
 * unchanged.
 */
export function unmapIPv4({ remoteAddr, localAddr }: ConnInfo): ConnInfo {
  const unmap = (addr: Deno.NetAddr) => ({ ...addr, hostname: addr.hostname.replace(/^::ffff:(?=\d+\.)/, "") });
  return { remoteAddr: unmap(remoteAddr), localAddr: unmap(localAddr) };
}

/**
 * Why a connection ended: the client closed it (`closed`) or reset it (`reset`), or the server closed it at the timeout
 * (`timeout`), to make room for another connection (`evicted`), or because the server shut down or the port reached its
 * `count` (`shutdown`).
 */
export type CloseReason = "closed" | "reset" | "timeout" | "evicted" | "shutdown";

/** A connection, as passed to the callbacks of `ServeOptions`. */
export interface Connection extends ConnInfo {
  /** When it was accepted, in milliseconds on the clock of `performance.now()`. */
  readonly acceptedAt: number;
  /** How many bytes of the greeting the kernel has accepted for sending. */
  readonly bytesSent: number;
  /** Whether the kernel has accepted the whole greeting for sending. */
  readonly greeted: boolean;
  /** How many bytes the client has sent. */
  readonly bytesReceived: number;
  /** The first bytes that the client has sent, at most `KEPT_BYTES`. */
  readonly received: Uint8Array;
  /** Why it ended, or `undefined` while it is open. */
  readonly closeReason: CloseReason | undefined;
}

/**
 * The stage of a connection: it waits for room below the limit (`waiting`), waits for its client to speak first
 * (`silent`), waits for its turn and its first write (`greeting`), has sent a part of its greeting and waits until its
 * client reads (`sending`), or is half-closed and read until the client closes it (`draining`). Only a connection in one
 * of the last two stages may be evicted.
 */
export type Stage = "waiting" | "silent" | "greeting" | "sending" | "draining";

/** What only the server changes, in the types of `Connection`. */
type Progress = Pick<Connection, "bytesSent" | "greeted" | "bytesReceived" | "received" | "closeReason">;

/** A connection in the server's list: its state can be changed, and it has its socket and its neighbors in the list. */
export interface OpenConnection extends Pick<Connection, "remoteAddr" | "localAddr" | "acceptedAt">, Mutable<Progress> {
  /** The socket. */
  readonly conn: Deno.TcpConn;
  /** The port that accepted it. */
  readonly port: Port;
  /** Whether it is neither counted nor reported. */
  readonly isIgnored: boolean;
  /** Whether it has a slot of its port. */
  hasSlot: boolean;
  /** Its current stage. */
  stage: Stage;
  /** Ends its wait for its client to speak. */
  endWait: (() => void) | undefined;
  /** The connection that was accepted before this one. */
  older: OpenConnection | undefined;
  /** The connection that was accepted after this one. */
  newer: OpenConnection | undefined;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
