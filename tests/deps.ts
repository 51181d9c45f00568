/**
 * Packages that only tests use. They are not in `deno.json`, so that running greeter does not download them.
 *
 * @module
 */
export * as fc from "npm:fast-check@4.10.2";
