/**
 * Tests of the documentation: what `deno task docs` writes, links, the examples of the module, and the systemd unit.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { OptionTable } from "../../cli/args.ts";
import { CONNECT_OPTIONS, connectHelp } from "../../cli/connect/command.ts";
import { SERVE_OPTIONS, serveHelp } from "../../cli/serve/command.ts";
import { blocksOf, blockWith, examplesOf } from "./docs_blocks.ts";
import { parse } from "../../main.ts";
import { needs } from "../helpers/needs.ts";
import { GREETER, ROOT, run } from "../helpers/processes.ts";

const FILES = [
  "README.md",
  "CONTRIBUTING.md",
  "SECURITY.md",
  "docs/manual.md",
  "docs/blocked-ports.md",
  "docs/json.md",
  "docs/module.md",
  "docs/kubernetes.md",
  "docs/design.md",
  "docs/benchmarks.md",
];

const read = (file: string) => Deno.readTextFileSync(`${ROOT}/${file}`);

Deno.test("each usage fits into 45 lines of 80 columns", () => {
  for (const usage of [serveHelp(), connectHelp()]) {
    const lines = usage.split("\n");
    for (const line of lines) assert(line.length <= 80, line);
    assert(lines.length <= 45, `${lines.length} lines`);
  }
});

Deno.test("each usage ends with three examples, which are valid command lines of its command", async () => {
  for (const [kind, usage] of [["serve", serveHelp()], ["connect", connectHelp()]] as const) {
    const examples = examplesOf(usage);
    assertEquals(examples.length, 3);
    for (const example of examples) {
      const words = example.replace(/ +# .*/, "").match(/(?:'[^']*'|[^\s'])+/g)?.map((word) =>
        word.replaceAll("'", "")
      );
      const [greeter, ...args] = words ?? [];
      assertEquals([greeter, (await parse(args)).kind], ["greeter", kind], example);
    }
  }
});

Deno.test("the usage of the server says in one line what connect does", () => {
  const lines = serveHelp().split("\n").filter((line) => line.startsWith("greeter connect "));
  assertEquals(lines.length, 1);
  assertStringIncludes(lines.join(), "see greeter connect --help.");
});

Deno.test("deno task docs writes each block, and with --check only names those that are out of date", async () => {
  const directory = await Deno.makeTempDir();
  const pages = ["docs/manual.md", "docs/module.md", "docs/blocked-ports.md", "docs/design.md"];
  const write = async (textOf: (page: string) => string) => {
    for (const page of pages) await Deno.writeTextFile(`${directory}/${page}`, textOf(page));
  };
  const contents = () => pages.map((page) => Deno.readTextFileSync(`${directory}/${page}`));
  const docs = (...args: string[]) => {
    const command = [Deno.execPath(), "run", "--no-prompt", "--allow-read", "--allow-write=docs"];
    return run([...command, `${ROOT}/tools/docs.ts`, ...args], { cwd: directory });
  };
  await Deno.mkdir(`${directory}/docs`);
  const begin = /<!-- begin: (.*) -->\n/g;
  await write((page) => read(page).replace(begin, (marker) => `${marker}\nold\n`));
  const changed = contents();
  const names = pages.flatMap((page) => [...read(page).matchAll(begin)].map(([, name]) => `${page}: "${name}"`));
  const checked = await docs("--check");
  const lines = checked.stderr.trimEnd().split("\n");
  assertEquals(lines.toSorted(), names.map((name) => `${name} is out of date; run deno task docs`).toSorted());
  assertEquals([checked.code, contents()], [1, changed]);
  for (const args of [[], ["--check"]]) {
    const { code, stdout, stderr } = await docs(...args);
    assertEquals([code, stdout, stderr, contents()], [0, "", "", pages.map(read)]);
  }
  await write((page) => read(page).replaceAll("<!-- end -->", ""));
  const { code, stderr } = await docs();
  assertEquals(code, 1);
  assertStringIncludes(stderr, 'docs/manual.md has no block "');
  await Deno.remove(directory, { recursive: true });
});

Deno.test("the manual describes each option of a command, not only in the usage", () => {
  const [both = "", server = "", client = ""] = read("docs/manual.md").replace(/^```\nUsage: [^]*?^```$/gm, "")
    .split(/^## The (?:server|client)$/m);
  for (const [table, text] of [[SERVE_OPTIONS, both + server], [CONNECT_OPTIONS, both + client]] as const) {
    const options: OptionTable = table;
    const isMissing = (name: string) =>
      !new RegExp(`(?<=[\`\\s])(--${name}|-${options[name]?.short ?? name})\\b`).test(text);
    assertEquals(Object.keys(options).filter(isMissing), []);
  }
});

Deno.test("the documentation links only to files and headings that exist", () => {
  for (const file of [...FILES, "CHANGELOG.md"]) {
    for (const [, target = "", heading] of read(file).matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)) {
      const path = target === "" ? file : new URL(target, `file:///${file}`).pathname.slice(1);
      const text = read(path);
      if (heading === undefined) continue;
      const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) =>
        title.toLowerCase().replace(/[^\w -]/g, "").replaceAll(" ", "-")
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
  const tests = ["docs/docs_test", "docs/docs_commands_test", "docs/docs_policy_test", "process/container_test"].map((
    name,
  ) => read(`tests/${name}.ts`)).join("");
  const parts = [...tests.matchAll(/blockWith\("([^"]+)", "([^"]+)"\)/g)];
  for (const { file, language, text } of FILES.flatMap(blocksOf)) {
    if (language === "ts") continue; // run by deno test --doc
    const isTested = parts.some(([, testedFile, part = ""]) => testedFile === file && text.includes(part));
    assert(isTested || Object.keys(NOT_RUN).some((part) => text.includes(part)), `${file}: ${text}`);
  }
});

Deno.test("the examples of the module can be checked and run in another project, with default settings", async () => {
  const directory = await Deno.makeTempDir();
  const options = { cwd: directory };
  // The compiler's options are the default ones, and there is no import map except for the one that the page shows.
  const config = blockWith("docs/module.md", "./greeter/mod.ts").text;
  await Deno.writeTextFile(
    `${directory}/deno.json`,
    config.replace("./greeter/", new URL("../..", import.meta.url).href),
  );
  const examples = blocksOf("docs/module.md").filter(({ language }) => language === "ts");
  assert(examples.length >= 5);
  for (const { text } of examples) {
    await Deno.writeTextFile(`${directory}/example.ts`, text);
    const checked = await run([Deno.execPath(), "check", "example.ts"], options);
    assertEquals(checked.code, 0, checked.stderr);
    const isTest = text.includes("Deno.test(");
    const command = isTest ? ["test"] : ["run", "--no-prompt"];
    const { code, stdout, stderr } = await run(
      [Deno.execPath(), ...command, "--allow-net=127.0.0.1,0.0.0.0", "example.ts"],
      options,
    );
    assertEquals(code, 0, stdout + stderr);
    // Each call has the line that it prints in a comment.
    const shown = [...text.matchAll(/console\.log\(.*\/\/ (.*)$/gm)].map(([, line]) => `${line}\n`);
    if (isTest) assert(stdout.includes("ok | 1 passed | 0 failed"), stdout);
    else assertEquals([stdout, stderr, shown.length], [shown.join(""), "", 1], text);
  }
  await Deno.remove(directory, { recursive: true });
});

/** The interfaces that docs/module.md describes, by the file that declares them. */
const INTERFACES = {
  "server/options.ts": ["ServeOptions"],
  "server.ts": ["Server"],
  "server/connection.ts": ["ConnInfo", "Connection"],
  "server/listen.ts": ["ListenError"],
  "client/options.ts": ["Check", "CheckOptions", "PassProgress"],
  "client/results.ts": ["ProbeResult", "ConnectError"],
};

Deno.test("the page of the module names each option, and each property of what the module returns or throws", () => {
  const page = read("docs/module.md").replace(/^```[^]*?^```$/gm, "");
  const declared: string[] = [];
  for (const [file, names] of Object.entries(INTERFACES)) {
    for (const name of names) {
      const [, body = ""] =
        read(file).match(new RegExp(`^export (?:interface|class) ${name}\\b.*{\n([^]*?)^}$`, "m")) ?? [];
      const members = [...body.matchAll(/^ {2}(?:readonly )?(\w+)(?:\(\))?\??: /gm)].map(([, member = ""]) => member);
      assert(members.length > 0, name);
      assertEquals(members.filter((member) => !new RegExp(`\`${member}(\\(\\))?\``).test(page)), [], name);
      declared.push(name, ...members);
    }
  }
  // The tables name nothing else.
  const documented = [...page.matchAll(/^\| (`.*?) +\|/gm)].flatMap(([, cell = ""]) =>
    [...cell.matchAll(/`(\w+)(?:\(\))?`/g)].map(([, name = ""]) => name)
  );
  assert(documented.length > 0);
  assertEquals(documented.filter((name) => !declared.includes(name)), ["RangeError"]);
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
  needs("systemd accepts the unit, and rates its exposure 1.5 or less", "systemd-analyze"),
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
