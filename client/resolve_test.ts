import { assertEquals, assertRejects } from "@std/assert";
import { ConnectError } from "./options.ts";
import { NO_IPV6, resolve } from "./resolve.ts";
import { hasIPv6, inNamespace, run, SILENT_NAME_SERVER } from "../tests/helpers.ts";

Deno.test("resolve() returns an address unchanged, and prefers IPv4 for a name", async () => {
  for (const address of ["192.0.2.1", "2001:db8::1", "fe80::1%eth0"]) assertEquals(await resolve(address), address);
  assertEquals(await resolve("2001:db8::1", true), "2001:db8::1");
  assertEquals(await resolve("localhost"), "127.0.0.1");
});

Deno.test("resolve() throws a ConnectError if there is no address of the family", async () => {
  const error = await assertRejects(() => resolve("192.0.2.1", true), ConnectError);
  assertEquals([error.hostname, error.cause], ["192.0.2.1", NO_IPV6]);
});

// A name with addresses of both families, and one with only one of them.
const hosts = inNamespace(`
  file=$(mktemp)
  printf '192.0.2.1 both four\n2001:db8::1 both six\n' > $file
  mount --bind $file /etc/hosts
  rm $file
  ip address add 192.0.2.9/24 dev lo
  ip address add 2001:db8::9/64 dev lo nodad || true
`);

Deno.test("resolve() chooses an address by its family (needs Linux and unshare -n)", {
  ignore: hosts.ignore || !hasIPv6(),
}, async () => {
  const script = `
    import { resolve } from "${import.meta.resolve("./resolve.ts")}";
    const addresses = [];
    for (const [name, ipv6] of [["both", false], ["both", true], ["four", false], ["six", false], ["six", true]]) {
      addresses.push(await resolve(name, ipv6));
    }
    addresses.push(await resolve("four", true).catch(({ message }) => message));
    console.log(JSON.stringify(addresses));`;
  const { stdout, stderr } = await run([...hosts.command, Deno.execPath(), "eval", script]);
  assertEquals(JSON.parse(stdout || stderr), [
    "192.0.2.1",
    "2001:db8::1",
    "192.0.2.1",
    "2001:db8::1",
    "2001:db8::1",
    "cannot connect to four: the host has no IPv6 address",
  ]);
});

const noAnswer = inNamespace(SILENT_NAME_SERVER);

Deno.test("connect() ends when its signal is aborted during the lookup (needs Linux and unshare -n)", {
  ignore: noAnswer.ignore,
}, async () => {
  const script = `
    import { connect } from "${import.meta.resolve("../client.ts")}";
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 200);
    const started = performance.now();
    const results = await Array.fromAsync(connect({ hostname: "lab.example", signal: stop.signal }));
    const second = await Array.fromAsync(connect({ hostname: "lab.example", signal: stop.signal }));
    console.log(JSON.stringify([results, second, performance.now() - started < 2000]));
    Deno.exit();`;
  const { stdout, stderr } = await run([...noAnswer.command, Deno.execPath(), "eval", script]);
  assertEquals(JSON.parse(stdout || stderr), [[], [], true]);
});
