/**
 * `deno task compile:all`: compiles for every target that `deno compile` has, to `dist/greeter-<version>-<target>`, and
 * writes the checksums to `dist/SHA256SUMS`. Says which target can't be had and why, goes on, and exits with 1 then.
 *
 * @module
 */
import config from "./deno.json" with { type: "json" };

const TARGETS = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
  "x86_64-pc-windows-msvc",
];

// As `deno task compile` does it for this machine, so that the two can't differ.
const [bundle = "", compile = ""] = config.tasks.compile.split(" && ");

async function run(command: string, env: Record<string, string>) {
  const args = command.split(" ").slice(1);
  const { success, stderr } = await new Deno.Command(Deno.execPath(), { args, env, clearEnv: true }).output();
  return { success, stderr: new TextDecoder().decode(stderr) };
}

const { DENORT_BIN, ...env }: Record<string, string> = { NO_COLOR: "1", ...Deno.env.toObject() };
const bundled = await run(bundle, env);
if (!bundled.success) {
  console.error(bundled.stderr);
  Deno.exit(1);
}

const sums: string[] = [];
for (const target of TARGETS) {
  const name = `greeter-${config.version}-${target}${target.includes("windows") ? ".exe" : ""}`;
  const command = compile.replace("--output dist/greeter ", `--target ${target} --output dist/${name} `);
  // DENORT_BIN is a runtime for one target only; deno would take it for all.
  const handedIn = DENORT_BIN !== undefined && target === Deno.build.target;
  const { success, stderr } = await run(command, handedIn ? { ...env, DENORT_BIN } : env);
  if (!success) {
    const [why = "it doesn't say why"] = stderr.match(/(?<=\b\d: ).*|(?<=^error: ).*/m) ?? [];
    const [cause = why] = stderr.match(/error sending request.*/) ?? [];
    console.error(`not compiled: dist/${name}: ${cause}`);
    continue;
  }
  const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(`dist/${name}`));
  sums.push(`${new Uint8Array(digest).toHex()}  ${name}\n`);
  console.log(`compiled: dist/${name}`);
}
await Deno.writeTextFile("dist/SHA256SUMS", sums.join(""));
if (sums.length < TARGETS.length) Deno.exit(1);
