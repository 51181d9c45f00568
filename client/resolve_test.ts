import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConnectError } from "./results.ts";
import { Host, lookUpAddresses, NO_IPV4, NO_IPV6 } from "./resolve.ts";
import { inNamespace, SILENT_NAME_SERVER } from "../tests/helpers/namespaces.ts";
import { needs } from "../tests/helpers/needs.ts";
import { run } from "../tests/helpers/processes.ts";
import { ENDLESS_MS, sometimes, within } from "../tests/helpers/waiting.ts";

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
  const deadline = performance.now() + ENDLESS_MS;
  await assertRejects(() => within(host.resolve(deadline, new AbortController().signal)), ConnectError);
});

Deno.test(needs("checkPorts() does not wait for the permission to look up a name", "the run permission"), async () => {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(
      file,
      `import { check } from "${import.meta.resolve("../tests/helpers/check.ts")}";
      const results = check({ hostname: "localhost", greeted: 999, within: 60_000 });
      console.log(await results.next().catch(({ name }) => name));`,
    );
    const { stdout } = await run([Deno.execPath(), "run", "--no-prompt", "--no-lock", "--allow-read", file]);
    assertEquals(stdout, "ConnectError\n");
  } finally {
    await Deno.remove(file);
  }
});

// A name with addresses of both families, and one with only one of them.
const hosts = inNamespace(`
  file=$(mktemp)
  printf '192.0.2.1 both four\n2001:db8::1 both six\n' > $file
  mount --bind $file /etc/hosts
  rm $file
  file=$(mktemp)
  if [ -e /etc/nsswitch.conf ]; then echo hosts: files > $file; mount --bind $file /etc/nsswitch.conf; fi
  rm $file
  ip address add 192.0.2.9/24 dev lo
  ip address add 2001:db8::9/64 dev lo nodad || true
`);

Deno.test(needs("Host chooses addresses by their family", hosts, "IPv6"), async () => {
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

// The hosts file can be changed.
const changing = inNamespace(`
  file=$(mktemp)
  mount --bind $file /etc/hosts
  rm $file
`);

/** Runs a script that can change the addresses of the host `lab`. Returns what it prints as JSON. */
async function runScript(script: string): Promise<unknown> {
  const code = `
    import { check } from "${import.meta.resolve("../tests/helpers/check.ts")}";
    import { serve } from "${import.meta.resolve("../mod.ts")}";
    import { Host } from "${import.meta.resolve("./resolve.ts")}";
    const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const setAddresses = (...addresses) =>
      Deno.writeTextFileSync("/etc/hosts", addresses.map((address) => address + " lab\\n").join(""));
    const { signal } = new AbortController();
    ${script}`;
  const { stdout, stderr } = await run([...changing.command, Deno.execPath(), "eval", code]);
  assertEquals(stderr, "");
  return JSON.parse(stdout);
}

Deno.test(
  needs("Host.resolve() looks a name up again, at most once a second, until it is known", changing),
  async () => {
    const [addresses, elapsed] = await runScript(`
    const host = new Host("lab", {});
    const started = performance.now();
    const resolved = host.resolve(started + ${ENDLESS_MS}, signal);
    while (!host.isLookupFailing) await delay(5);
    setAddresses("127.0.0.1");
    await resolved;
    console.log(JSON.stringify([host.addresses, performance.now() - started]));
  `) as [string[], number];
    assertEquals(addresses, ["127.0.0.1"]);
    assert(elapsed >= 990, `${elapsed} ms`);
  },
);

Deno.test(needs("Host.resolve() looks up for the last time at the deadline", changing), async () => {
  for (const [addresses, expected] of [[["127.0.0.1"], "127.0.0.1"], [[], "ConnectError"]] as const) {
    const outcomes: [number, string][] = [];
    // On a busy machine, the second lookup may end only after the deadline, and is the last one then.
    const isAsExpected = async () => {
      const [elapsed, result] = await runScript(`
      setAddresses();
      await new Host("lab", {}).resolve(0, signal).catch(() => {}); // loads what a lookup needs
      const host = new Host("lab", { timeout: 60_000 });
      const started = performance.now();
      const resolved = host.resolve(started + 1500, signal).catch((error) => error);
      // After the second lookup, and before the last one.
      setTimeout(() => setAddresses(...${JSON.stringify(addresses)}), 1450);
      const error = await resolved;
      console.log(JSON.stringify([performance.now() - started, error?.name ?? host.addresses.join()]));
    `) as [number, string];
      outcomes.push([elapsed, result]);
      // Without the deadline, the third lookup would be after 2 s.
      return result === expected && elapsed >= 1490 && elapsed < 1950;
    };
    assert(await sometimes(isAsExpected), JSON.stringify(outcomes));
  }
});

Deno.test(needs("Host.resolve() starts no lookup when its signal is aborted in a pause", changing), async () => {
  const addresses = await runScript(`
    const controller = new AbortController();
    const host = new Host("lab", {});
    setAddresses();
    const resolved = host.resolve(performance.now() + 60_000, controller.signal);
    while (!host.isLookupFailing) await delay(5);
    setAddresses("127.0.0.1");
    controller.abort();
    await resolved;
    await delay(200);
    console.log(JSON.stringify(host.addresses));
  `);
  assertEquals(addresses, []);
});

Deno.test(
  needs("Host.refresh() looks a name up once a second, and keeps its addresses if that fails", changing),
  async () => {
    const rows = await runScript(`
    const rows = [];
    const host = new Host("lab", {});
    const add = () => rows.push([...host.addresses, host.isLookupFailing]);
    setAddresses("127.0.0.1");
    await host.resolve(0, signal);
    setAddresses("127.0.0.2");
    host.refresh();
    await delay(200);
    await host.resolve(0, signal);
    add();
    await delay(1000);
    host.refresh();
    host.refresh();
    while (host.addresses[0] !== "127.0.0.2") await delay(5);
    add();
    setAddresses();
    await delay(1000);
    host.refresh();
    while (!host.isLookupFailing) await delay(5);
    add();
    setAddresses("127.0.0.3");
    await host.resolve(0, signal);
    add();
    console.log(JSON.stringify(rows));
  `);
    assertEquals(rows, [["127.0.0.1", false], ["127.0.0.2", false], ["127.0.0.2", true], ["127.0.0.3", false]]);
  },
);

Deno.test(needs("checkPorts() uses an address that a name gets while it waits", changing), async () => {
  const rows = await runScript(`
    await using server = serve({ hostname: "127.0.0.2", port: 999 });
    setAddresses("127.0.0.1");
    setTimeout(() => setAddresses("127.0.0.2"), 500);
    const rows = [];
    for await (const { host, state, remoteAddr } of check({ hostname: "lab", greeted: 999, within: 60_000 })) {
      rows.push([host, state, remoteAddr.hostname]);
    }
    console.log(JSON.stringify(rows));
  `);
  assertEquals(rows, [["lab", "greeted", "127.0.0.2"]]);
});

Deno.test(
  needs("checkPorts() lets no blocked port pass if the addresses of the name changed during the pass", changing),
  async () => {
    const rows = await runScript(`
    await using first = serve({ hostname: "127.0.0.1", port: 997 });
    await using second = serve({ hostname: "127.0.0.2", port: [997, 998] });
    const rows = [];
    for (const within of [0, 60_000]) {
      setAddresses("127.0.0.1");
      const stop = new AbortController();
      // The second pass, after 3 s, uses the new address.
      const onAttempt = ({ expected, state }) => {
        if (expected !== "blocked") return;
        setAddresses("127.0.0.2");
        if (state === "greeted") stop.abort();
      };
      const options = { hostname: "lab", greeted: 997, blocked: 998, within, onAttempt, signal: stop.signal };
      for await (const { expected, state, ok, remoteAddr, reason, error } of check(options)) {
        if (expected === "blocked") rows.push([state, ok, remoteAddr.hostname, reason, error]);
      }
    }
    console.log(JSON.stringify(rows));
  `);
    assertEquals(rows, [
      ["refused", false, "127.0.0.1", "addresses_changed", "not proven: the addresses of lab changed"],
      ["greeted", false, "127.0.0.2", "reached", null],
    ]);
  },
);

Deno.test(
  needs("checkPorts() lets no blocked port pass if the name is unknown at the end of the pass", changing),
  async () => {
    const rows = await runScript(`
    const rows = [];
    for (const within of [0, 60_000]) {
      setAddresses("127.0.0.1");
      let timer;
      const onAttempt = () => {
        if (timer) return;
        setAddresses();
        // Until then, the name is looked up again if there is time.
        timer = setTimeout(() => setAddresses("127.0.0.1"), 3000);
      };
      try {
        for await (const { state, ok } of check({ hostname: "lab", blocked: 999, within, onAttempt })) rows.push([state, ok]);
      } catch ({ name, hostname }) {
        rows.push([name, hostname]);
      }
      clearTimeout(timer);
    }
    console.log(JSON.stringify(rows));
  `);
    assertEquals(rows, [["ConnectError", "lab"], ["refused", true]]);
  },
);

const noAnswer = inNamespace(`${SILENT_NAME_SERVER}
  file=$(mktemp)
  mount --bind $file /etc/hosts
  rm $file
`);

Deno.test(
  needs("Host.isLookupFailing is true if the last lookup has not been answered for as long as the timeout", noAnswer),
  async () => {
    const script = `
    import { Host } from "${import.meta.resolve("./resolve.ts")}";
    const rows = [];
    Deno.writeTextFileSync("/etc/hosts", "127.0.0.1 lab");
    const host = new Host("lab", { timeout: 500 });
    const address = new Host("127.0.0.1", { timeout: 500 });
    for (const each of [host, address]) await each.resolve(0, new AbortController().signal);
    Deno.writeTextFileSync("/etc/hosts", "");
    await new Promise((resolve) => setTimeout(resolve, 1100));
    for (const each of [host, address]) {
      rows.push(each.isLookupFailing);
      each.refresh();
      rows.push(each.isLookupFailing);
    }
    while (!host.isLookupFailing) await new Promise((resolve) => setTimeout(resolve, 5));
    rows.push(host.isLookupFailing, address.isLookupFailing, host.addresses);
    console.log(JSON.stringify(rows));
    Deno.exit();`;
    const { stdout, stderr } = await run([...noAnswer.command, Deno.execPath(), "eval", script]);
    assertEquals(JSON.parse(stdout || stderr), [false, false, false, false, true, false, ["127.0.0.1"]]);
  },
);

Deno.test(needs("checkPorts() ends when its signal is aborted during the lookup", noAnswer), async () => {
  const script = `
    import { check } from "${import.meta.resolve("../tests/helpers/check.ts")}";
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 200);
    const started = performance.now();
    const options = { hostname: "lab.example", timeout: ${ENDLESS_MS}, signal: stop.signal };
    const results = await Array.fromAsync(check(options));
    const second = await Array.fromAsync(check(options));
    // The system gives up after 10 s.
    console.log(JSON.stringify([results, second, performance.now() - started < 9000]));
    Deno.exit();`;
  const { stdout, stderr } = await run([...noAnswer.command, Deno.execPath(), "eval", script]);
  assertEquals(JSON.parse(stdout || stderr), [[], [], true]);
});

Deno.test(
  needs("checkPorts() does not wait longer than the timeout for a lookup, or when its consumer stops", noAnswer),
  async () => {
    const script = `
    import { check } from "${import.meta.resolve("../tests/helpers/check.ts")}";
    const rows = [];
    const hostname = ["lab.example", "127.0.0.1"];
    const started = performance.now();
    try {
      for await (const { host, state } of check({ hostname, greeted: 999, timeout: 300 })) rows.push([host, state]);
    } catch (error) {
      rows.push([error.hostname, error.message]);
    }
    for await (const { host, state } of check({ hostname, greeted: 999, timeout: ${ENDLESS_MS} })) {
      rows.push([host, state]);
      break;
    }
    const elapsed = performance.now() - started;
    // The system gives up after 10 s.
    console.log(JSON.stringify([rows, elapsed >= 300 && elapsed < 9000 ? "in time" : elapsed]));
    Deno.exit();`;
    const { stdout, stderr } = await run([...noAnswer.command, Deno.execPath(), "eval", script]);
    assertEquals(JSON.parse(stdout || stderr), [
      [
        ["127.0.0.1", "refused"],
        ["lab.example", "cannot connect to lab.example: the lookup was not answered"],
        ["127.0.0.1", "refused"],
      ],
      "in time",
    ]);
  },
);
