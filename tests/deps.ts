/**
 * Packages that only tests and tools use. They are not in `deno.json`, so that running greeter does not download them.
 *
 * @module
 */
export * as fc from "npm:fast-check@4.10.2";
export { default as xterm } from "npm:@xterm/headless@6.0.0";
