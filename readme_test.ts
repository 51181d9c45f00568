/**
 * Tests of README: its usage block, its recipes as printed (with other ports and shorter durations), and the systemd unit.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { helpText } from "./cli/options.ts";
import config from "./deno.json" with { type: "json" };
import { DEFAULTS } from "./server.ts";
import { freePort, GREETER, needsPrograms, receive, run, spawn, until } from "./testing.ts";

const README = Deno.readTextFileSync(`${import.meta.dirname}/README.md`);

Deno.test("README shows the usage as --help prints it, in 80 columns", () => {
  for (const line of helpText().split("\n")) assert(line.length <= 80, line);
  const [, usage] = README.match(/```\n(Usage: [^]*?)\n```\n/) ?? [];
  assertEquals(usage, helpText());
});

/** The blocks of shell commands under a heading. `greeter` and `sudo` become shell functions. */
function recipe(heading: string, replacements: Record<string, string | number> = {}): string[][] {
  const [, section = ""] = README.match(new RegExp(`\n### ${heading}\n([^]*?)\n##`)) ?? [];
  assert(section !== "", `README has no recipe ${heading}`);
  const command = GREETER.map((word) => `'${word}'`).join(" ");
  return [...section.matchAll(/```sh\n([^]*?)```/g)].map(([, script = ""]) => {
    for (const [text, replacement] of Object.entries(replacements)) {
      script = script.replace(new RegExp(`(?<=[ ",])${text}\\b`, "g"), `${replacement}`);
    }
    return ["sh", "-c", `greeter() { exec ${command} "$@"; }\nsudo() { "$@"; }\n${script}`];
  });
}

Deno.test("README: a smoke test in CI (needs nc and jq)", needsPrograms("nc", "jq"), async () => {
  const cwd = await Deno.makeTempDir();
  const [script = []] = recipe("A smoke test in CI");
  assertEquals(await run(script, { cwd }), { code: 0, signal: null, stdout: DEFAULTS.greeting, stderr: "" });
  await Deno.remove(cwd, { recursive: true });
});

Deno.test("README: an FTP server, as nmap sees it (needs nmap)", needsPrograms("nmap"), async () => {
  const port = freePort();
  const [[shell = "", option = "", script = ""] = []] = recipe("An FTP server, as nmap sees it", { "21": port });
  // A scan takes 3 s, or much longer on a busy machine.
  const { code, stdout } = await run([shell, option, `${script}\nkill $!`], {}, 60_000);
  assertEquals(code, 0);
  assertMatch(stdout, new RegExp(`^${port}/tcp open  ftp     ProFTPD 1\\.3\\.5$`, "m"));
});

Deno.test("README: watch what a scanner sends (needs jq)", needsPrograms("jq"), async () => {
  const port = freePort();
  const [script = []] = recipe("Watch what a scanner sends", { "8080": port, "60": 3 });
  const watching = run(script);
  await until(async () => {
    try {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port });
      await conn.write(new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n"));
      await receive(conn);
      return true;
    } catch {
      return false; // it does not listen yet
    }
  });
  assertEquals((await watching).stdout, String.raw`127.0.0.1: "GET / HTTP/1.0\r\n\r\n"` + "\n");
});

Deno.test("README: a page for browsers and curl (needs curl)", needsPrograms("curl"), async () => {
  const port = freePort();
  const [[shell = "", option = "", script = ""] = []] = recipe("A page for browsers and curl", { "8080": port });
  const { code, stdout } = await run([shell, option, `${script.replaceAll(":8080", `:${port}`)}\nkill $!`]);
  assertEquals(code, 0);
  assertMatch(stdout, new RegExp(`^You reached port ${port} as 127\\.0\\.0\\.1:\\d+\r$`, "m"));
});

Deno.test("README: which ports the firewall lets through (needs nc)", needsPrograms("nc"), async () => {
  const ports = { "22": freePort(), "80": freePort(), "443": freePort() };
  const [server = [], client = []] = recipe("Which ports does the firewall let through\\?", ports);
  await using greeter = spawn(server);
  await until(() => greeter.output.stdout.includes("Listening"));
  assertEquals((await run(client)).stdout, DEFAULTS.greeting.repeat(3));
  assertEquals([(await greeter.ended).code, greeter.output.stderr], [0, ""]);
});

Deno.test("README: deno install makes a command with the permission and the V8 flag of deno task start", async () => {
  const root = await Deno.makeTempDir();
  const [, args = ""] = README.match(/^deno (install .*)$/m) ?? [];
  const install = [Deno.execPath(), ...args.split(" "), "--quiet"];
  install.splice(2, 0, "--root", root);
  assertEquals((await run(install, { cwd: import.meta.dirname })).code, 0);
  const command = `${root}/bin/greeter${Deno.build.os === "windows" ? ".cmd" : ""}`;
  const script = await Deno.readTextFile(command);
  for (const flag of config.tasks.start.match(/--\S+/g) ?? []) assertStringIncludes(script, flag);
  const path = [Deno.execPath().replace(/[^/\\]*$/, ""), Deno.env.get("PATH")].join(
    Deno.build.os === "windows" ? ";" : ":",
  );
  assertEquals((await run([command, "-V"], { env: { PATH: path } })).stdout, `greeter ${config.version}\n`);
  await Deno.remove(root, { recursive: true });
});

Deno.test(
  "systemd accepts the unit, and rates its exposure at most 1.5 (needs systemd-analyze)",
  needsPrograms("systemd-analyze"),
  async () => {
    const directory = await Deno.makeTempDir();
    const unit = `${directory}/greeter.service`;
    // The executable has to exist, but greeter may not be installed here.
    const text = await Deno.readTextFile(`${import.meta.dirname}/contrib/greeter.service`);
    await Deno.writeTextFile(unit, text.replace("/usr/local/bin/greeter", Deno.execPath()));
    const verified = await run(["systemd-analyze", "verify", unit]);
    assertEquals([verified.code, verified.stderr], [0, ""]);
    const rated = await run(["systemd-analyze", "security", "--offline=yes", "--threshold=15", unit]);
    assertEquals(rated.code, 0, rated.stdout);
    await Deno.remove(directory, { recursive: true });
  },
);
