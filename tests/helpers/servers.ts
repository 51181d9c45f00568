/**
 * Servers for tests of the client, and listeners and counters for tests of the server.
 *
 * @module
 */
import { createServer, type Socket } from "node:net";
import type { Connection } from "../../server.ts";

/** Like `Deno.listen`, but accepting first performs these steps: it throws an error, or for `"accept"`, accepts. */
export function listenWithErrors(steps: Iterator<unknown>): (options: Deno.TcpListenOptions) => Deno.TcpListener {
  return (options) => {
    const listener = Deno.listen(options);
    const connections = listener[Symbol.asyncIterator].bind(listener);
    listener[Symbol.asyncIterator] = async function* () {
      for (let step = steps.next(); !step.done; step = steps.next()) {
        if (step.value !== "accept") throw step.value;
        yield await listener.accept();
      }
      // Not `yield*`, which would call this method again: the iterator of a listener is the listener itself.
      const iterator = connections();
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
    };
    return listener;
  };
}

/** The accept error when no descriptor is left: in the process, or in the system. */
export function outOfDescriptors(code: "EMFILE" | "ENFILE"): Error {
  return Object.assign(new Error("Too many open files"), { code });
}

/** A server for tests of the client. Its sockets are destroyed at the end of its scope. */
export interface TestServer extends AsyncDisposable {
  /** The port on 127.0.0.1. */
  port: number;
  /** Returns how many connections there have been. */
  connections: () => number;
}

/**
 * Starts a server that calls a function for each connection. A socket answers a half-close by closing, unless
 * `allowHalfOpen` is set.
 */
export async function startServer(
  onConnection: (socket: Socket) => void,
  options: { allowHalfOpen?: boolean } = {},
): Promise<TestServer> {
  const sockets = new Set<Socket>();
  const server = createServer(options, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {}); // the client may close before everything is sent
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    connections: () => sockets.size,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Counts the connections of a server that are open at the same time. */
export class OpenConnections {
  #open: Connection[] = [];
  /** The largest number of connections that were open at the same time. */
  most = 0;

  /** Adds a connection that was accepted. While it waits to be admitted and has not been sent anything, it does not count. */
  add(connection: Connection) {
    this.#open = this.#open.filter(({ closeReason }) => !closeReason);
    this.most = Math.max(this.most, this.#open.filter(({ bytesSent }) => bytesSent > 0).length);
    this.#open.push(connection);
  }
}
