/**
 * What the server and the client have in common.
 *
 * @module
 */

/** The port that the server listens on, and the client connects to, by default. */
export const DEFAULT_PORT = 999;

/**
 * The longest greeting, in bytes. By default, a new socket's send buffer takes this much at once, so a write does not wait
 * for the client.
 */
export const MAX_GREETING_BYTES: number = 16 * 1024;
