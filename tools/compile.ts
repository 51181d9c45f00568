/**
 * Compiles greeter: `deno task compile` for this machine, to `dist/greeter`; `deno task compile:all` for every target
 * of `deno compile`, to `dist/greeter-<version>-<target>`, with checksums in `dist/SHA256SUMS`. A target that cannot be
 * compiled is reported, and the exit status is then 1.
 *
 * If `DENORT_BIN` names a runtime for this machine, it is used for this machine's target only.
 *
 * @module
 */
import config from "../deno.json" with { type: "json" };
import { toolOptions } from "./arguments.ts";

const TARGETS = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
  "x86_64-pc-windows-msvc",
];

const BUNDLE = "dist/greeter.js";

const OPTIONS = [
  // With the configuration, all npm packages of deno.json would be embedded, which the bundle does not need.
  "--no-config",
  // Otherwise, the runtime keeps a code cache in /tmp, and runs the code in it even if another user owns the file.
  "--no-code-cache",
  "--allow-net",
  "--no-prompt",
  // Without this limit, V8 enlarges its young generation, which takes more memory.
  "--v8-flags=--max-semi-space-size=8",
];

const { DENORT_BIN, ...environment }: Record<string, string> = { NO_COLOR: "1", ...Deno.env.toObject() };

/** Runs deno. If it fails, returns what it printed to standard error. */
async function deno(args: string[], env: Record<string, string> = environment): Promise<string | undefined> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), { args, env, clearEnv: true }).output();
  return success ? undefined : new TextDecoder().decode(stderr);
}

/** Compiles greeter for a target. Returns whether that succeeded. */
async function compile(target: string, output: string): Promise<boolean> {
  // Deno would use the runtime in DENORT_BIN for any target.
  const env = DENORT_BIN && target === Deno.build.target ? { ...environment, DENORT_BIN } : environment;
  const args = ["compile", ...OPTIONS, "--target", target, "--output", output, BUNDLE];
  const error = await deno(args, env);
  if (error === undefined) {
    console.log(`compiled: ${output}`);
    return true;
  }
  const [reason = error] = error.match(/error sending request.*/) ?? error.match(/(?<=^error: ).*/m) ?? [];
  const advice = reason.startsWith("error sending request") ? "; set DENORT_BIN to the path of a runtime" : "";
  console.error(`cannot compile ${output}: ${reason}${advice}`);
  return false;
}

const ARGUMENTS = { all: { help: "compile for every target" } };
const all = toolOptions(ARGUMENTS).flag(ARGUMENTS.all);
const bundleError = await deno(["bundle", "--quiet", "--minify", "--output", BUNDLE, "main.ts"]);
if (bundleError !== undefined) {
  console.error(`cannot bundle main.ts: ${bundleError}`);
  Deno.exit(1);
}
if (!all) Deno.exit(await compile(Deno.build.target, "dist/greeter") ? 0 : 1);

const checksums: string[] = [];
for (const target of TARGETS) {
  const name = `greeter-${config.version}-${target}${target.includes("windows") ? ".exe" : ""}`;
  if (!await compile(target, `dist/${name}`)) continue;
  const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(`dist/${name}`));
  checksums.push(`${new Uint8Array(digest).toHex()}  ${name}\n`);
}
await Deno.writeTextFile("dist/SHA256SUMS", checksums.join(""));
if (checksums.length < TARGETS.length) Deno.exit(1);
