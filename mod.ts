/**
 * A TCP server that sends every client a greeting, and a client that checks which ports of a host can be reached.
 *
 * {@linkcode serve} starts a TCP server, as `Deno.serve()` starts an HTTP server. {@linkcode checkPorts} connects to
 * ports in parallel, and checks whether they greet, are open, or are blocked, as they should.
 *
 * @example Greet clients, and check that they are greeted
 * ```ts
 * import { checkPorts, serve } from "./mod.ts";
 * import { assertEquals } from "@std/assert";
 *
 * await using server = serve({ hostname: "127.0.0.1", port: 0, greeting: "hello\r\n" });
 * const check = { hostname: "127.0.0.1", greeted: server.addr.port, expect: "hello" };
 * for await (const { state } of checkPorts(check)) {
 *   assertEquals(state, "greeted");
 * }
 * ```
 *
 * @module
 */
export { checkPorts, ConnectError } from "./client.ts";
export type {
  BlockedState,
  Check,
  CheckOptions,
  Expectation,
  HostPort,
  PassProgress,
  PortsByExpectation,
  ProbeResult,
  ProbeState,
  Reason,
  TextOrBytes,
} from "./client.ts";
export { ListenError, serve } from "./server.ts";
export type { CloseReason, Connection, ConnInfo, ListenErrorDetails, ServeOptions, Server } from "./server.ts";
