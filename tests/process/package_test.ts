/**
 * Tests of greeter as a package: what it exports, and what it contains.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import config from "../../deno.json" with { type: "json" };
import { needs } from "../helpers/needs.ts";
import { DOWNLOAD_ENV, ROOT, run } from "../helpers/processes.ts";

/** For each export, a program that uses it and prints the greeting of one client. */
const PROGRAMS = {
  ".": `
    import { checkPorts, ConnectError, ListenError, serve } from "MODULE";
    import type { Check, CheckOptions, CloseReason, Connection, ConnInfo, HostPort, ListenErrorDetails } from "MODULE";
    import type { ProbeResult, ProbeState, Server, ServeOptions } from "MODULE";
    await using server: Server = serve({ hostname: "127.0.0.1", port: 0, greeting: "hello" });
    for await (const { greeting } of checkPorts({ hostname: "127.0.0.1", greeted: server.addr.port })) {
      console.log(new TextDecoder().decode(greeting));
    }`,
  "./server": `
    import { serve } from "MODULE";
    await using server = serve({ hostname: "127.0.0.1", port: 0, greeting: "hello" });
    const conn = await Deno.connect({ port: server.addr.port });
    console.log(await new Response(conn.readable).text());`,
  "./client": `
    import { checkPorts } from "MODULE";
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const accepted = listener.accept().then(async (conn) => {
      await conn.write(new TextEncoder().encode("hello"));
      conn.close();
    });
    for await (const { greeting } of checkPorts({ hostname: "127.0.0.1", greeted: listener.addr.port })) {
      console.log(new TextDecoder().decode(greeting));
    }
    await accepted;`,
};

Deno.test("each export can be checked and run in another project, with default settings and no import map", async () => {
  assertEquals(Object.keys(config.exports).sort(), [...Object.keys(PROGRAMS), "./main"].sort());
  const cwd = await Deno.makeTempDir();
  await Deno.writeTextFile(`${cwd}/deno.json`, "{}");
  for (const [name, path] of Object.entries(config.exports)) {
    const program = Object.entries(PROGRAMS).find(([each]) => each === name)?.[1];
    if (program === undefined) continue; // ./main is the command, which has its own tests
    await Deno.writeTextFile(`${cwd}/program.ts`, program.replaceAll("MODULE", import.meta.resolve(`../../${path}`)));
    const checked = await run([Deno.execPath(), "check", "program.ts"], { cwd });
    assertEquals(checked.code, 0, checked.stderr);
    const { code, stdout, stderr } = await run([Deno.execPath(), "run", "--allow-net", "program.ts"], { cwd });
    assertEquals([code, stdout, stderr], [0, "hello\n", ""], name);
  }
  await Deno.remove(cwd, { recursive: true });
});

Deno.test("the command runs from another directory with the configuration of the package", async () => {
  const command = [Deno.execPath(), "run", "--config", `${ROOT}/deno.json`, `${ROOT}/main.ts`, "--version"];
  const { code, stdout } = await run(command, { cwd: Deno.env.get("TMPDIR") ?? "/" });
  assertEquals([code, stdout], [0, `greeter ${config.version}\n`]);
});

Deno.test(
  needs("tests that start greeter pass in a directory with a space and %20 in its name", "symbolic links"),
  async () => {
    const directory = await Deno.makeTempDir();
    const checkout = `${directory}/a b%20c`;
    await Deno.symlink(ROOT, checkout);
    const options = ["--config", `${checkout}/deno.json`, "--no-lock", "--no-check", "--allow-all"];
    const test = ["--filter", "appends CR LF", `${checkout}/tests/process/serve_greeting_test.ts`];
    const { code, stdout, stderr } = await run([Deno.execPath(), "test", ...options, ...test]);
    // Indented, so that .ci/run does not count the results of this process.
    assert(code === 0 && stdout.includes("| 1 passed | 0 failed"), `\n${stdout}${stderr}`.replaceAll("\n", "\n  "));
    await Deno.remove(directory, { recursive: true });
  },
);

Deno.test("deno task start downloads nothing but the standard library to an empty cache (needs the registry)", async () => {
  const cache = await Deno.makeTempDir();
  const env = { ...DOWNLOAD_ENV, DENO_DIR: cache };
  const command = [Deno.execPath(), "task", "start", "--version"];
  const { code, stdout, stderr } = await run(command, { cwd: ROOT, env });
  assertEquals([code, stdout], [0, `greeter ${config.version}\n`], stderr);
  const downloads = [...stderr.matchAll(/^Download (.*)$/gm)].map(([, url = ""]) => url);
  assert(downloads.length > 0, stderr);
  // From npm, it is the package deno-std; from JSR, its packages begin with @std.
  assertEquals(downloads.filter((url) => !/\/(deno-std|@std)(\/|$)/.test(url)), []);
  await Deno.remove(cache, { recursive: true });
});

Deno.test("deno publish packs the code of all exports, and neither tests nor tools", async () => {
  const command = [Deno.execPath(), "publish", "--dry-run", "--allow-dirty"];
  const { code, stdout, stderr } = await run(command, { cwd: ROOT });
  // Slow types would be an error.
  assertEquals(code, 0, stderr);
  const root = import.meta.resolve("../..");
  const files = [...`${stdout}${stderr}`.matchAll(/^ +(\S+) \(.*\)$/gm)].map(([, file = ""]) => file.replace(root, ""));
  for (const path of Object.values(config.exports)) assertStringIncludes(files.join("\n"), path.slice(2));
  const allowed =
    /^((server|client|shared|cli)\/)?([a-z]+\/)?[a-z_]+\.ts$|^(deno\.json|README\.md|CHANGELOG\.md|LICENSE)$/;
  assertEquals(files.filter((file) => !allowed.test(file) || file.endsWith("_test.ts")), []);
});
