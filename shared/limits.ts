/**
 * What the server and the client have in common.
 *
 * @module
 */

/** The port that the server listens on, and the client connects to, by default. */
export const DEFAULT_PORT = 999;

/**
 * The longest greeting, in bytes. By default, a new socket's send buffer takes this much at once, so a write does not wait
 * for the client. The least measured was 47,784 bytes, over a virtual link to a client with a 4 KiB receive window.
 */
export const MAX_GREETING_BYTES: number = 16 * 1024;
