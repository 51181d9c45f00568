/**
 * Runs the commands with `--checks` in the documentation as printed, in a network of three hosts, each a network namespace
 * with a firewall of its own.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { blockWith } from "./docs_blocks.ts";
import { testsInNamespace } from "../helpers/namespaces.ts";
import { GREETER, type Process, run, spawn } from "../helpers/processes.ts";
import { until } from "../helpers/waiting.ts";

const ADDRESSES = { web: "192.0.2.7", db: "192.0.2.8", admin: "192.0.2.9" };
type Host = keyof typeof ADDRESSES;

const FIREWALLS = `
  ip netns exec web iptables -A INPUT -p tcp --dport 8080 -j DROP
  ip netns exec db iptables -A INPUT -p tcp -s ${ADDRESSES.admin} --dport 6379 -j DROP
  ip netns exec db iptables -A INPUT -p tcp -s ${ADDRESSES.web} --dport 22 -j DROP
  ip netns exec admin iptables -A INPUT -p tcp -s ${ADDRESSES.web} --dport 22 -j REJECT --reject-with tcp-reset`;

const test = testsInNamespace(
  `
    mount -t tmpfs tmpfs /run
    hosts=$(mktemp)
    printf '%s\\n' '192.0.2.7 web web.example' '192.0.2.8 db db.example redis.example' '192.0.2.9 admin' > "$hosts"
    mount --bind "$hosts" /etc/hosts
    rm "$hosts" 2> /dev/null || true
    ip link add switch type bridge
    ip link set switch up
    add() {
      ip netns add $1
      ip -n $1 link set lo up
      ip link add to-$1 type veth peer name eth0 netns $1
      ip link set to-$1 master switch up
      ip -n $1 address add $2/24 dev eth0
      ip -n $1 link set eth0 up
    }
    ${Object.entries(ADDRESSES).map(([name, address]) => `add ${name} ${address}`).join("\n")}
    ${FIREWALLS}
  `,
  import.meta.filename ?? "",
  "iptables",
);

const inHost = (host: Host, ...command: string[]) => ["ip", "netns", "exec", host, ...command];

/** Starts a server on a host, and waits until it listens. */
async function serve(host: Host, ...args: string[]): Promise<Process> {
  const server = spawn(inHost(host, ...GREETER, ...args));
  await until(() => server.output.stdout.includes("Listening") || server.output.stderr !== "");
  assertEquals(server.output.stderr, "");
  return server;
}

/** Runs a script on a host, in a directory of its own, which has the policy of README. */
async function runOn(host: Host, script: string) {
  const cwd = await Deno.makeTempDir();
  await Deno.writeTextFile(`${cwd}/network.policy`, `${policy}\n`);
  const greeter = `greeter() { ${GREETER.map((word) => `'${word}'`).join(" ")} "$@"; }\n`;
  const { code, stdout } = await run(inHost(host, "sh", "-c", greeter + script), { cwd });
  await Deno.remove(cwd, { recursive: true });
  return { code, output: stdout.replace(/ in \d+\.\ds/, " in TIME").trimEnd().split("\n") };
}

const [, policy = "", fromAdmin = "", ...shown] =
  blockWith("README.md", "cat network.policy").text.match(/^\$ cat network.policy\n([^]*?)\n\$ (.*)\n([^]*)$/) ?? [];

test("README: one policy, from admin and from web", [], async () => {
  const readme = await Deno.readTextFile(`${import.meta.dirname}/../../README.md`);
  const [, fromWeb = ""] = readme.match(/On web, `(sed .*?)` selects/) ?? [];
  await using _web = await serve("web", "-p", "22,80,443,8080");
  await using db = await serve("db", "-p", "22,5432", "-p", "6379=+PONG");
  await using _admin = await serve("admin", "-p", "22,514");
  const onAdmin = () => runOn("admin", fromAdmin);
  const onWeb = () => runOn("web", `${fromWeb} network.policy | greeter connect --checks`);
  const [admin, web] = await Promise.all([onAdmin(), onWeb()]);
  assertEquals(admin, { code: 0, output: shown.join("").replace(/ in \d+\.\ds/, " in TIME").split("\n") });
  const hint = "refused may mean that nothing listens; use --announce on the server, and -p here";
  const ofDb = ["db is 192.0.2.8", "22    timeout", "5432  open", '6379  greeted  "+PONG\\r\\n"'];
  assertEquals(web, {
    code: 0,
    output: [...ofDb, "admin is 192.0.2.9", "22   refused", "514  open", `5 of 5 ports as expected in TIME; ${hint}`],
  });
  // Twelve rules, each a port, which the checks of both hosts cover.
  const results = [...admin.output, ...web.output].filter((line) => /^\d+ {2}/.test(line));
  assertEquals([results.length, /the other 5\s+ports/.test(readme)], [12, true]);
  // The last rule is missing, and then the first server. The other direction and the other host do not change.
  assertEquals((await run(inHost("admin", "iptables", "-F"))).code, 0);
  const open = await onWeb();
  assertEquals([open.code, open.output.at(-1)], [1, "4 of 5 ports as expected in TIME; not: admin:22"]);
  assertEquals(await onAdmin(), admin);
  db.kill();
  await db.ended;
  const down = await onWeb();
  const failed = "not: db:5432,db:6379,admin:22; not judged: db:22";
  assertEquals([down.code, down.output.at(-1)], [1, `1 of 5 ports as expected in TIME; ${failed}`]);
});

test("manual: a policy from a file, and several services with requests of their own", [], async () => {
  const fromFile = blockWith("docs/manual.md", "< policy").text;
  const services = blockWith("docs/manual.md", "redis.example -p").text;
  await using _web = await serve("web", "-p", "80=HTTP/1.1 200 OK");
  await using _db = await serve("db", "-p", "6379=+PONG", "-p", "5432=R\\x00\\x00\\x00");
  const up = await runOn("web", services);
  assertEquals([up.code, up.output.at(-1)], [0, "3 of 3 ports as expected in TIME"]);
  const file = await runOn("web", `echo 'db -o 5432 -b 22' > policy\n${fromFile}`);
  assertEquals([file.code, file.output.at(-1)], [0, "2 of 2 ports as expected in TIME"]);
});
