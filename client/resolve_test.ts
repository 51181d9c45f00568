import { assertEquals, assertRejects } from "@std/assert";
import { ConnectError } from "./options.ts";
import { Host, lookUpAddresses, NO_IPV4, NO_IPV6 } from "./resolve.ts";
import { hasIPv6, inNamespace, run, SILENT_NAME_SERVER, within } from "../tests/helpers.ts";

/** Looks up the addresses of a host once. */
async function addressesOf(name: string, family?: 4 | 6): Promise<readonly string[]> {
  const host = new Host(name, { family });
  await host.resolve(-Infinity, new AbortController().signal);
  return host.addresses;
}

Deno.test("Host returns an address unchanged, and the IPv4 address of a name first", async () => {
  for (const address of ["192.0.2.1", "2001:db8::1", "fe80::1%eth0"]) {
    assertEquals(await addressesOf(address), [address]);
  }
  assertEquals(await addressesOf("2001:db8::1", 6), ["2001:db8::1"]);
  assertEquals((await addressesOf("localhost"))[0], "127.0.0.1");
  assertEquals((await lookUpAddresses("localhost"))[0], "127.0.0.1");
});

Deno.test("Host.resolve() throws a ConnectError if there is no address of the family", async () => {
  for (const [name, family, cause] of [["192.0.2.1", 6, NO_IPV6], ["::1", 4, NO_IPV4]] as const) {
    const error = await assertRejects(() => addressesOf(name, family), ConnectError);
    assertEquals([error.hostname, error.cause], [name, cause]);
  }
});

Deno.test("Host.resolve() does not wait for another family of an address", async () => {
  const host = new Host("192.0.2.1", { family: 6 });
  const deadline = performance.now() + 60_000;
  await assertRejects(() => within(10_000, host.resolve(deadline, new AbortController().signal)), ConnectError);
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

Deno.test("Host chooses addresses by their family (needs Linux and unshare -n)", {
  ignore: hosts.ignore || !hasIPv6(),
}, async () => {
  const script = `
    import { Host } from "${import.meta.resolve("./resolve.ts")}";
    const found = [];
    for (const [name, family] of [["both"], ["both", 4], ["both", 6], ["four"], ["six"], ["six", 6], ["six", 4], ["four", 6]]) {
      const host = new Host(name, { family });
      const error = await host.resolve(0, new AbortController().signal).catch(({ message }) => message);
      found.push(error ?? host.addresses);
    }
    console.log(JSON.stringify(found));`;
  const { stdout, stderr } = await run([...hosts.command, Deno.execPath(), "eval", script]);
  assertEquals(JSON.parse(stdout || stderr), [
    ["192.0.2.1", "2001:db8::1"],
    ["192.0.2.1"],
    ["2001:db8::1"],
    ["192.0.2.1"],
    ["2001:db8::1"],
    ["2001:db8::1"],
    "cannot connect to six: the host has no IPv4 address",
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
