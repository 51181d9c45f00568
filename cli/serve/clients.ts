/**
 * Records which clients connected: how often, when, to which ports, and what they sent. The memory that this takes is
 * bounded, whatever the clients do.
 *
 * @module
 */
import type { Connection, ConnInfo } from "../../server.ts";
import type { PortRange } from "../../shared/ports.ts";
import { latin1 } from "../text.ts";

/** How many clients are recorded at most. The connections of others are only counted. */
export const MAX_CLIENTS = 10_000;

/** How many ranges of ports are recorded at most for each client. */
export const MAX_RANGES = 16;

/** How many bytes of what a client sent first are recorded at most. */
export const MAX_PAYLOAD_BYTES = 64;

/** A client, which is one address. */
export interface Client {
  /** The address. */
  readonly address: string;
  /** How many connections it made. */
  connections: number;
  /** How many bytes it has sent, on all connections that are closed. */
  bytesReceived: number;
  /** Whether it is not allowed, so that its connections were closed without a greeting. */
  denied: boolean;
  /** When it connected first, in milliseconds since 1970. */
  readonly firstSeen: number;
  /** When it connected last, in milliseconds since 1970. */
  lastSeen: number;
  /** The ports that it connected to. See {@linkcode addPort}. */
  bounds: readonly number[];
  /** Whether it also connected to ports that are not recorded. */
  hasMorePorts: boolean;
  /**
   * The first bytes that it sent on the first connection on which it sent anything, each as the character with its
   * number: a string takes less memory than an array. See {@linkcode payloadOf}.
   */
  payload: string;
  /** Whether it sent more than `payload` on that connection. */
  isPayloadCut: boolean;
  /** When that connection was accepted, on the clock of `performance.now()`. `Infinity` if it has sent nothing. */
  payloadAcceptedAt: number;
}

/** The connections of all clients that are not recorded. */
export interface OtherClients {
  /** How many connections they made. */
  connections: number;
  /** How many bytes they have sent. */
  bytesReceived: number;
}

/** The clients of a running server. */
export class Clients {
  readonly #byAddress = new Map<string, Client>();
  readonly #others: OtherClients = { connections: 0, bytesReceived: 0 };
  #resetsBeforeAccept = 0;

  /** The clients, busiest first. */
  get busiest(): Client[] {
    return this.#byAddress.values().toArray().sort((a, b) =>
      b.connections - a.connections || b.bytesReceived - a.bytesReceived || a.firstSeen - b.firstSeen
    );
  }

  /** The connections of clients that are not recorded because there were too many. */
  get others(): Readonly<OtherClients> {
    return this.#others;
  }

  /** How many connections were reset before they could be accepted, so that their clients are not known. */
  get resetsBeforeAccept(): number {
    return this.#resetsBeforeAccept;
  }

  /** Records a connection that was accepted. */
  addConnection({ remoteAddr, localAddr }: ConnInfo, denied: boolean) {
    const now = Date.now();
    const client = this.#byAddress.get(remoteAddr.hostname);
    if (client) {
      client.connections++;
      client.lastSeen = now;
      const bounds = addPort(client.bounds, localAddr.port);
      if (bounds) client.bounds = bounds;
      else client.hasMorePorts = true;
    } else if (this.#byAddress.size < MAX_CLIENTS) {
      this.#byAddress.set(remoteAddr.hostname, {
        address: remoteAddr.hostname,
        connections: 1,
        bytesReceived: 0,
        denied,
        firstSeen: now,
        lastSeen: now,
        bounds: [localAddr.port, localAddr.port + 1],
        hasMorePorts: false,
        payload: "",
        isPayloadCut: false,
        payloadAcceptedAt: Infinity,
      });
    } else {
      this.#others.connections++;
    }
  }

  /** Counts a connection that was reset before it could be accepted. */
  addReset() {
    this.#resetsBeforeAccept++;
  }

  /** Records what was received on a connection that is closed. */
  addReceived({ remoteAddr, acceptedAt, bytesReceived, received }: Connection) {
    if (bytesReceived === 0) return;
    const client = this.#byAddress.get(remoteAddr.hostname);
    (client ?? this.#others).bytesReceived += bytesReceived;
    if (!client || acceptedAt >= client.payloadAcceptedAt) return;
    client.payload = latin1(received.subarray(0, MAX_PAYLOAD_BYTES));
    client.isPayloadCut = bytesReceived > client.payload.length;
    client.payloadAcceptedAt = acceptedAt;
  }
}

/** What is reported of the clients. */
export type ClientList = Pick<Clients, "busiest" | "others" | "resetsBeforeAccept">;

/**
 * Adds a port to a set of ports, which is stored as the bounds of its ranges: `[22, 23, 80, 82]` stands for 22 and
 * 80-81. This takes less memory than an object for each range. Returns the new bounds, or `undefined` if there would be
 * more than {@linkcode MAX_RANGES} ranges.
 */
export function addPort(bounds: readonly number[], port: number): readonly number[] | undefined {
  const next = bounds.findIndex((bound) => bound > port);
  const index = next === -1 ? bounds.length : next;
  // After an odd number of bounds, a range has begun and not ended.
  if (index % 2 === 1) return bounds;
  const followsRange = bounds[index - 1] === port;
  const precedesRange = bounds[index] === port + 1;
  if (!followsRange && !precedesRange && bounds.length >= 2 * MAX_RANGES) return undefined;
  // Where the port adjoins a range, the bound between them goes away.
  const added = [];
  if (!followsRange) added.push(port);
  if (!precedesRange) added.push(port + 1);
  return bounds.toSpliced(followsRange ? index - 1 : index, Number(followsRange) + Number(precedesRange), ...added);
}

/** Returns the ranges of ports that a client connected to. */
export function rangesOf({ bounds }: Pick<Client, "bounds">): PortRange[] {
  return bounds.flatMap((start, i) => i % 2 === 0 ? [{ start, end: (bounds[i + 1] ?? start + 1) - 1 }] : []);
}

/** Returns the first bytes that a client sent. */
export function payloadOf({ payload }: Pick<Client, "payload">): Uint8Array {
  return Uint8Array.from(payload, (char) => char.charCodeAt(0));
}
