/**
 * Tests of the documentation: its usage blocks, its module example, its links, and the systemd unit.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { connectHelp } from "../cli/connect/command.ts";
import { serveHelp } from "../cli/serve/command.ts";
import { blocksOf, blockWith } from "./docs_blocks.ts";
import { GREETER, needsPrograms, ROOT, run } from "./helpers.ts";

const FILES = [
  "README.md",
  "CONTRIBUTING.md",
  "SECURITY.md",
  "docs/manual.md",
  "docs/kubernetes.md",
  "docs/design.md",
  "docs/benchmarks.md",
];

const read = (file: string) => Deno.readTextFileSync(`${ROOT}/${file}`);

Deno.test("README and the manual show the usage as --help prints it, in 80 columns", () => {
  const usage = `${serveHelp()}\n\n${connectHelp()}`;
  for (const line of usage.split("\n")) assert(line.length <= 80, line);
  assertEquals(blockWith("README.md", "Usage: ").text, usage);
  assertEquals(blockWith("docs/manual.md", "Usage: ").text, connectHelp());
});

Deno.test("the documentation links only to files and headings that exist", () => {
  for (const file of FILES) {
    for (const [, target = "", heading] of read(file).matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)) {
      const path = target === "" ? file : new URL(target, `file:///${file}`).pathname.slice(1);
      const text = read(path);
      if (heading === undefined) continue;
      const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) =>
        title.toLowerCase().replaceAll(" ", "-")
      );
      assert(headings.includes(heading), `${file} links to #${heading} in ${path}`);
    }
  }
});

/** Commands that no test can run as printed, by a part of them, and why. */
const NOT_RUN: Record<string, string> = {
  "sha256sum --check": "needs a release",
  "sudo setcap": "changes the installed executable",
  "systemctl enable": "needs a machine that runs systemd",
  "ExecStart=": "is part of the unit, which has its own test",
  "docker build": "needs a registry for the base image; a workflow does it",
  "run_job": "needs a cluster",
  "kind: NetworkPolicy": "needs a cluster; a test has a firewall instead",
  "sysctls:": "needs a cluster",
  "deno task bench": "takes too long; .ci/run runs it with --quick",
  '"jsr:@std/assert@1"': "needs JSR; a workflow does it",
};

Deno.test("every command in the documentation is run by a test, or cannot be run", () => {
  const tests = read("tests/docs_commands_test.ts") + read("tests/container_test.ts");
  const parts = [...tests.matchAll(/blockWith\("([^"]+)", "([^"]+)"\)/g)];
  for (const { file, language, text } of FILES.flatMap(blocksOf)) {
    if (language === "ts" || text.startsWith("Usage: ")) continue; // run by deno test --doc, and tested above
    const isTested = parts.some(([, testedFile, part = ""]) => testedFile === file && text.includes(part));
    assert(isTested || Object.keys(NOT_RUN).some((part) => text.includes(part)), `${file}: ${text}`);
  }
});

Deno.test("README's module example can be checked and run in another project, with default settings", async () => {
  const directory = await Deno.makeTempDir();
  const { text } = blockWith("README.md", 'from "./mod.ts"');
  const example = text.replace(/(?<=from ")\.(?=\/)/g, new URL("..", import.meta.url).href.replace(/\/$/, ""));
  assert(!example.includes('from "./'), example);
  await Deno.writeTextFile(`${directory}/example.ts`, example);
  // Without a configuration, there is no import map, and the compiler's options are the default ones.
  await Deno.writeTextFile(`${directory}/deno.json`, "{}");
  const options = { cwd: directory, env: { NO_COLOR: "1" } };
  const checked = await run([Deno.execPath(), "check", "example.ts"], options, 60_000);
  assertEquals(checked.code, 0, checked.stderr);
  const { code, stdout, stderr } = await run([Deno.execPath(), "run", "--allow-net", "example.ts"], options);
  assertEquals([code, stdout, stderr], [0, "greeted\n", ""]);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("the systemd unit does not restart after a usage error, and names the page that describes it", async () => {
  const unit = read("contrib/greeter.service");
  const [, service = ""] = unit.match(/^\[Service\]\n([^]*?)^\[/m) ?? [];
  const { code } = await run([...GREETER, "--bogus"]);
  assertEquals(service.match(/^Restart.*$/gm), ["Restart=on-failure", `RestartPreventExitStatus=${code}`]);
  const [, page = ""] = unit.match(/^# .*?(\S+\.md)/) ?? [];
  assert(read(page).includes("contrib/greeter.service"), page);
});

Deno.test(
  "systemd accepts the unit, and rates its exposure 1.5 or less (needs systemd-analyze)",
  needsPrograms("systemd-analyze"),
  async () => {
    const directory = await Deno.makeTempDir();
    const unit = `${directory}/greeter.service`;
    // The executable has to exist, but greeter may not be installed here.
    const text = await Deno.readTextFile(`${ROOT}/contrib/greeter.service`);
    await Deno.writeTextFile(unit, text.replace("/usr/local/bin/greeter", Deno.execPath()));
    const verified = await run(["systemd-analyze", "verify", unit]);
    assertEquals([verified.code, verified.stderr], [0, ""]);
    const rated = await run(["systemd-analyze", "security", "--offline=yes", "--threshold=15", unit]);
    assertEquals(rated.code, 0, rated.stdout);
    await Deno.remove(directory, { recursive: true });
  },
);
