/**
 * Tests of the executable in GREETER_BINARY: which files it opens, and what it needs from the system. They are skipped
 * if GREETER_BINARY is not set.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { inNamespace } from "../helpers/namespaces.ts";
import { needs } from "../helpers/needs.ts";
import { freePort } from "../helpers/ports.ts";
import { BINARY, librariesOfBinary, run } from "../helpers/processes.ts";

/** System calls that only read the file system, and those that open a file. strace must not show any others. */
const READ_ONLY_CALL = /^(?:execve|access|faccessat2?|readlink|readlinkat|\w*stat\w*|getcwd|open|openat)\(/;

/** What may be opened besides the executable: libraries, devices, and files that describe the system. */
const SYSTEM_FILE = /^\/(?:(?:usr\/)?lib\d*\/.*\.so[.\d]*|dev\/urandom|(?:etc|proc|sys|usr\/share\/zoneinfo)\/.*)$/;

/**
 * Runs greeter under strace, and returns the files that it opens or tries to open. Fails if a file is opened for
 * writing, or if a system call could change the file system.
 */
async function filesOpened(args: readonly string[]): Promise<string[]> {
  const directory = await Deno.makeTempDir();
  // A runtime with a code cache would keep it here. Without TMPDIR, it would be in /tmp.
  const env = { TMPDIR: `${directory}/tmp` };
  await Deno.mkdir(env.TMPDIR);
  // Operations of an io_uring are not system calls, so strace would not show them.
  const filter = ["-e", "trace=%file,io_uring_setup", "-e", "signal=none"];
  const strace = ["strace", "-f", "-qq", "-s", "4096", "-o", `${directory}/trace`, ...filter];
  const { code, stderr } = await run([...strace, BINARY ?? "", ...args], { env });
  assertEquals(code, 0, stderr);
  const opened: string[] = [];
  for (const line of (await Deno.readTextFile(`${directory}/trace`)).trimEnd().split("\n")) {
    const [, call = ""] = line.match(/^\d+ +(.*)$/) ?? [];
    if (/^<\.\.\. \w+ resumed>/.test(call)) continue; // the end of a call that another line begins
    assertMatch(call, READ_ONLY_CALL);
    const [, path, flags = ""] = call.match(/^open(?:at)?\((?:AT_FDCWD, )?"(.*?)", ([A-Z_|]+)/) ?? [];
    if (path === undefined) continue;
    assertEquals(flags.replace(/\|(?:O_CLOEXEC|O_DIRECTORY|O_NOFOLLOW|O_LARGEFILE)/g, ""), "O_RDONLY", call);
    opened.push(path);
  }
  await Deno.remove(directory, { recursive: true });
  return opened;
}

Deno.test(
  needs("the executable opens only system files, for reading, and nothing in /tmp", "strace", "a binary"),
  async () => {
    const port = freePort();
    const client = ["connect", "localhost", "-p", `${port}`];
    const traces = await Promise.all([
      filesOpened(["--version"]),
      filesOpened(["-H", "127.0.0.1", "-p", `${port}`, "--count", "1", "--timestamps", "--allow", "127.0.0.1"]),
      filesOpened([...client, "--within", "600"]),
    ]);
    for (const files of traces) {
      assert(files.includes("/proc/self/maps"), `strace shows nothing: ${files}`);
      assertEquals(files.filter((file) => file !== BINARY && !SYSTEM_FILE.test(file)), []);
    }
    // Only the client has looked up a name.
    assertEquals(traces.map((files) => files.includes("/etc/hosts")), [false, false, true]);
  },
);

Deno.test(
  needs("the executable has only the network permission, asks for no other, and limits V8's memory", "a binary"),
  () => {
    // deno compile appends the options of the runtime as JSON.
    const text = new TextDecoder("latin1").decode(Deno.readFileSync(BINARY ?? ""));
    const metadata = text.slice(text.lastIndexOf('{"argv":'));
    const permissions = JSON.parse(metadata.match(/"permissions":({[^{}]*})/)?.[1] ?? "{}");
    // Nothing is imported at run time, so the default of --allow-import has no effect.
    const granted = Object.keys(permissions).filter((name) => name.startsWith("allow_") && permissions[name] !== null);
    assertEquals(granted.filter((name) => name !== "allow_import"), ["allow_net"]);
    assertEquals(permissions.prompt, false);
    assertMatch(metadata, /"v8_flags":\[[^\]]*"--max-semi-space-size=8"[^\]]*\]/);
  },
);

Deno.test(
  needs("the executable needs only libgcc_s, glibc and /proc", inNamespace(""), "chroot", "ldd", "a binary"),
  async () => {
    const root = await Deno.makeTempDir();
    await Deno.copyFile(BINARY ?? "", `${root}/greeter`);
    await Deno.mkdir(`${root}/proc`);
    const libraries = await librariesOfBinary();
    const add = async (library: string) => {
      await Deno.mkdir(`${root}${library.replace(/\/[^/]*$/, "")}`, { recursive: true });
      await Deno.copyFile(library, `${root}${library}`);
    };
    for (const library of libraries) await add(library);
    /** Runs a shell script, in which $greeter is greeter in the chroot, in a namespace that `setup` has set up. */
    const runIn = (setup: string, script: string) =>
      run([...inNamespace(setup).command, "sh", "-c", `greeter='chroot ${root} /greeter'; ${script}`]);
    const withProc = `mount --rbind /proc ${root}/proc`;

    const names = libraries.map((library) => library.replace(/^.*\/(ld-linux|[a-z_]*).*$/, "$1"));
    assertEquals(new Set(names), new Set(["libgcc_s", "libc", "libm", "libdl", "librt", "libpthread", "ld-linux"]));
    for (const library of libraries) {
      await Deno.remove(`${root}${library}`);
      assertEquals((await runIn(withProc, "$greeter --version")).code, 127, library);
      await add(library);
    }

    const withoutProc = await runIn("", "$greeter --version");
    assertEquals([withoutProc.code, withoutProc.stdout], [1, ""]);
    assertStringIncludes(withoutProc.stderr, "Is /proc mounted?");

    const both = await runIn(withProc, "$greeter -p 80 --count 1 & $greeter connect 127.0.0.1 -p 80 --within 60; wait");
    assertEquals([both.code, both.stderr], [0, ""]);
    assertMatch(both.stdout, /^Listening on 0\.0\.0\.0:80$/m);
    assertMatch(both.stdout, /^80 {2}greeted {2}"Thank you /m);

    // A name is looked up in /etc/hosts, or by the name servers in /etc/resolv.conf.
    assertEquals((await runIn(withProc, "$greeter connect lab.example -p 80")).code, 2);
    await Deno.mkdir(`${root}/etc`);
    await Deno.writeTextFile(`${root}/etc/hosts`, "127.0.0.1 lab.example\n");
    const lookup = await runIn(withProc, "$greeter connect lab.example -p 80");
    assertEquals(lookup.code, 1, lookup.stderr);
    assertMatch(lookup.stdout, /^lab\.example is 127\.0\.0\.1\n80 {2}refused {2}expected greeted\n/);

    // If a standard stream is closed, the runtime opens /dev/null in its place.
    await Deno.mkdir(`${root}/dev`);
    for (const closed of ["<&-", ">&-", "2>&-"]) {
      assertEquals((await runIn(withProc, `$greeter --version ${closed}`)).code, 134, closed); // SIGABRT
    }
    await Deno.writeTextFile(`${root}/dev/null`, "");
    const withNull = `${withProc}; mount --bind /dev/null ${root}/dev/null`;
    for (const closed of ["<&-", ">&-", "2>&-"]) {
      assertEquals((await runIn(withNull, `$greeter --version ${closed}`)).code, 0, closed);
    }
    await Deno.remove(root, { recursive: true });
  },
);

Deno.test(
  needs(
    "the setcap command in the advice for a privileged port works",
    "Linux",
    "root",
    "setcap",
    "setpriv",
    "a binary",
  ),
  async () => {
    const directory = await Deno.makeTempDir();
    await Deno.chmod(directory, 0o755);
    const greeter = `${directory}/my greeter`;
    await Deno.copyFile(BINARY ?? "", greeter);
    const asNobody = inNamespace("").command.concat("setpriv", "--reuid=65534", "--clear-groups", greeter);
    const options = ["-p", "80", "--within", "0.1"];
    const failed = await run([...asNobody, ...options]);
    const [, advice = ""] = failed.stderr.match(/or permit it with sudo (setcap .*)\n$/) ?? [];
    assertEquals([failed.code, advice], [2, `setcap cap_net_bind_service=+ep '${greeter}'`]);
    assertEquals((await run(["sh", "-c", advice])).code, 0);
    const permitted = await run([...asNobody, ...options]);
    assertEquals([permitted.code, permitted.stderr], [0, ""]);
    await Deno.remove(directory, { recursive: true });
  },
);
