/**
 * Tests of `greeter connect` through a firewall, and with hosts that cannot be reached. The client runs in a network
 * namespace of its own, which a pair of virtual interfaces joins to that of the server. No packet leaves them.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { serve } from "../../server.ts";
import { testsInNamespace } from "../helpers/namespaces.ts";
import { hasIPv6 } from "../helpers/needs.ts";
import { run, spawn } from "../helpers/processes.ts";
import { until } from "../helpers/waiting.ts";
import { IN_CLIENT, linesOf, rowsOf, runConnect, sh, summaryOf, TWO_NAMESPACES } from "../helpers/network.ts";

const test = testsInNamespace(TWO_NAMESPACES, import.meta.filename ?? "", "iptables");

/** Linux sends about one ICMP error a second to each client, after a burst of 6. */
const UNLIMITED = `
  echo 0 > /proc/sys/net/ipv4/icmp_ratelimit
  if [ -e /proc/sys/net/ipv6 ]; then echo 0 > /proc/sys/net/ipv6/icmp/ratelimit; fi
`;

/** Runs `greeter connect` in the namespace of the client. */
function connectFromClient(args: string) {
  return runConnect(args, IN_CLIENT);
}

/** Starts a server on all addresses. It is open on all ports that a test uses. */
function startServer(port: number | number[]) {
  return serve({ hostname: hasIPv6() ? "::" : "0.0.0.0", port, greeting: "hello\n" });
}

/** What a firewall does with a port. */
interface Rule {
  target: string;
  /** What the client prints. */
  shown: string;
}

const REJECT = "REJECT --reject-with";

/** The first port is open, and no rule applies to it. */
const OPEN_PORT = 7000;

/** For the ports from 7001 on. */
const IPV4_RULES: Rule[] = [
  { target: "DROP", shown: "timeout" },
  { target: `${REJECT} tcp-reset`, shown: "refused" },
  { target: `${REJECT} icmp-port-unreachable`, shown: "refused" },
  { target: `${REJECT} icmp-host-unreachable`, shown: "unreachable No route to host" },
  { target: `${REJECT} icmp-admin-prohibited`, shown: "unreachable No route to host" },
  { target: `${REJECT} icmp-net-unreachable`, shown: "unreachable Network is unreachable" },
];

const IPV6_RULES: Rule[] = [
  { target: "DROP", shown: "timeout" },
  { target: `${REJECT} tcp-reset`, shown: "refused" },
  { target: `${REJECT} icmp6-port-unreachable`, shown: "refused" },
  { target: `${REJECT} icmp6-addr-unreachable`, shown: "unreachable No route to host" },
  { target: `${REJECT} icmp6-adm-prohibited`, shown: "unreachable Permission denied" },
  { target: `${REJECT} icmp6-no-route`, shown: "unreachable Network is unreachable" },
];

/** Sets the rules in a namespace, and checks the ports with each option. */
async function testRules(iptables: string, chain: "INPUT" | "OUTPUT", rules: Rule[], host: string) {
  const ports = rules.map((_, i) => OPEN_PORT + 1 + i);
  await using _server = startServer([OPEN_PORT, ...ports]);
  const prefix = chain === "INPUT" ? "" : IN_CLIENT.join(" ");
  const set = rules.map(({ target }, i) => `${prefix} ${iptables} -A ${chain} -p tcp --dport ${ports[i]} -j ${target}`);
  await sh(`${UNLIMITED} ${set.join("\n")}`);
  const list = ports.join(",");
  const [greeted, open, blocked, notBlocked] = await Promise.all([
    connectFromClient(`${host} -t 1.5 --json -p ${OPEN_PORT},${list}`),
    connectFromClient(`${host} -t 1.5 --json -o ${OPEN_PORT},${list}`),
    connectFromClient(`${host} -t 1.5 --json -p ${OPEN_PORT} -b ${list}`),
    connectFromClient(`${host} -t 1.5 --json -b ${OPEN_PORT},${list}`),
  ]);
  const expected = rules.map(({ shown }) => shown);
  for (
    const [result, state, code, openIsOk, othersAreOk] of [
      [greeted, "greeted", 1, true, false],
      [open, "open", 1, true, false],
      [blocked, "greeted", 0, true, true],
      [notBlocked, "greeted", 1, false, true],
    ] as const
  ) {
    const [first, ...others] = rowsOf(result).probes;
    assertEquals([result.code, result.stderr, first?.state, first?.ok], [code, "", state, openIsOk]);
    assertEquals(others.map(({ state, error = "" }) => `${state} ${error}`.trim()), expected);
    assertEquals(others.map(({ ok }) => ok), rules.map(() => othersAreOk));
  }
}

test(
  "greeter connect -b passes if the server's firewall drops or rejects, and -p and -o fail",
  [],
  () => testRules("iptables", "INPUT", IPV4_RULES, "192.0.2.2"),
);

test(
  "greeter connect -b passes if the client's firewall drops or rejects, and -p and -o fail",
  [],
  () => testRules("iptables", "OUTPUT", IPV4_RULES, "192.0.2.2"),
);

test(
  "greeter connect -b passes if the server's firewall drops or rejects IPv6, and -p and -o fail",
  ["IPv6"],
  () => testRules("ip6tables", "INPUT", IPV6_RULES, "2001:db8::2"),
);

test(
  "greeter connect -b passes if the client's firewall drops or rejects IPv6, and -p and -o fail",
  ["IPv6"],
  () => testRules("ip6tables", "OUTPUT", IPV6_RULES, "2001:db8::2"),
);

/**
 * A program that answers a SYN to port 10000 + 20 * TYPE + CODE with that ICMP message, for both IPv4 and IPv6. It prints a
 * line when it is ready.
 */
const ICMP_RESPONDER = `
import select, socket, struct
def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
captured = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
icmp = {4: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1), 6: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58)}
print('ready', flush=True)
while True:
    packet, address = captured.recvfrom(2048)
    version = packet[0] >> 4
    if address[2] == 4 or version not in icmp or packet[9 if version == 4 else 6] != 6: continue
    tcp = packet[(packet[0] & 15) * 4:] if version == 4 else packet[40:]
    kind, code = divmod(struct.unpack('!H', tcp[2:4])[0] - 10000, 20)
    if tcp[13] & 18 != 2 or not 0 <= kind < 128: continue
    cited = packet[:len(packet) // 2 * 2]
    message = lambda sum: struct.pack('!BBHI', kind, code, sum, 0) + cited
    family, source = (socket.AF_INET, packet[12:16]) if version == 4 else (socket.AF_INET6, packet[8:24])
    icmp[version].sendto(message(checksum(message(0)) if version == 4 else 0), (socket.inet_ntop(family, source), 0))
`;

/** Returns the port for which ICMP_RESPONDER sends a message. */
function portOfIcmp(type: number, code: number) {
  return 10_000 + 20 * type + code;
}

const [NO_HOST, NO_NET, REFUSED, DENIED, PROTOCOL_ERROR] = [
  "unreachable No route to host",
  "unreachable Network is unreachable",
  "refused",
  "unreachable Permission denied",
  "unreachable Protocol error",
] as const;

/** What the client prints for the types and codes of ICMP that end a connection on Linux, and for some that do not. */
const ICMPV4: readonly [type: number, code: number, shown: string][] = [
  [3, 0, NO_NET],
  [3, 1, NO_HOST],
  [3, 2, "unreachable Protocol not available"],
  [3, 3, REFUSED],
  [3, 4, "timeout"],
  [3, 5, "unreachable Operation not supported"],
  [3, 6, NO_NET],
  [3, 7, "unreachable Host is down"],
  [3, 8, "unreachable Machine is not on the network"],
  [3, 9, NO_NET],
  [3, 10, NO_HOST],
  [3, 11, NO_NET],
  [3, 12, NO_HOST],
  [3, 13, NO_HOST],
  [3, 14, NO_HOST],
  [3, 15, NO_HOST],
  [3, 16, "timeout"],
  [4, 0, "timeout"],
  [11, 0, NO_HOST],
  [11, 1, "timeout"],
  [12, 0, PROTOCOL_ERROR],
  [12, 1, PROTOCOL_ERROR],
];

const ICMPV6: typeof ICMPV4 = [
  [1, 0, NO_NET],
  [1, 1, DENIED],
  [1, 2, NO_HOST],
  [1, 3, NO_HOST],
  [1, 4, REFUSED],
  [1, 5, DENIED],
  [1, 6, DENIED],
  [1, 7, PROTOCOL_ERROR],
  [2, 0, "timeout"],
  [3, 0, NO_HOST],
  [4, 0, PROTOCOL_ERROR],
  [100, 0, PROTOCOL_ERROR],
];

test(
  "greeter connect takes all ICMP messages for a state of the port, and goes on",
  ["python3"],
  async () => {
    await using _server = startServer(OPEN_PORT);
    const hosts = [["192.0.2.2", "iptables", ICMPV4], ["2001:db8::2", "ip6tables", ICMPV6]] as const;
    await using responder = spawn(["python3", "-c", ICMP_RESPONDER]);
    await until(() => responder.output.stdout === "ready\n");
    for (const [host, iptables, messages] of hasIPv6() ? hosts : hosts.slice(0, 1)) {
      const ports = messages.map(([type, code]) => portOfIcmp(type, code));
      await sh(`${iptables} -A INPUT -p tcp --dport 10000: -j DROP`);
      const [open, blocked] = await Promise.all([
        connectFromClient(`${host} -t 1.5 --json -o ${ports}`),
        connectFromClient(`${host} -t 1.5 --json -p ${OPEN_PORT} -b ${ports}`),
      ]);
      const expected = messages.map(([type, code, shown]) => `${type}/${code} ${shown}`);
      for (const [result, code] of [[open, 1], [blocked, 0]] as const) {
        assertEquals([result.code, result.stderr], [code, ""]);
        const probes = rowsOf(result).probes.filter(({ dest_port }) => dest_port !== OPEN_PORT);
        const found = probes.map(({ dest_port, state, error = "" }) =>
          `${Math.floor((dest_port - 10_000) / 20)}/${dest_port % 20} ${state} ${error}`.trim()
        );
        assertEquals(found, expected);
        assertEquals(probes.map(({ ok }) => ok), messages.map(() => result === blocked));
      }
    }
  },
);

test(
  "greeter connect -b exits 2 if there is no route to the host, unless a firewall says so of one port",
  [],
  async () => {
    await using _server = startServer([7000, 7001]);
    await sh(`${UNLIMITED} iptables -A INPUT -p tcp --dport 7001 -j REJECT --reject-with icmp-net-unreachable`);
    const hosts = ["198.51.100.1", ...hasIPv6() ? ["2001:db8:1::1"] : []];
    for (const host of hosts) {
      const results = await Promise.all(
        ["-b 80", "-o 22 -b 80", "-p 22 -b 80,81", "-o 22"].map((args) => connectFromClient(`${host} ${args}`)),
      );
      const stderr = `greeter: cannot connect: this machine or a router has no route to "${host}"; nothing is proven\n`;
      assertEquals(results.map(({ code, stderr }) => [code, stderr]), [
        [2, stderr],
        [2, stderr],
        [2, stderr],
        [1, ""],
      ]);
      assertStringIncludes(results[3]?.stdout ?? "", "22  unreachable  Network is unreachable  expected open\n");
    }
    const [one, alone, several] = await Promise.all([
      connectFromClient("192.0.2.2 -p 7000 -b 7001"),
      connectFromClient("192.0.2.2 -b 7001"),
      connectFromClient("198.51.100.1 192.0.2.2 -p 7000 -b 7001 --json"),
    ]);
    assertEquals(linesOf(one), [0, '7000 greeted "hello\\n"', "7001 unreachable Network is unreachable"]);
    assertEquals(alone.code, 2); // as if there were no route
    // The other host is checked nevertheless.
    assertEquals(several.code, 2);
    const states = rowsOf(several).probes.filter(({ host }) => host === "192.0.2.2").map((
      { state, ok },
    ) => [state, ok]);
    assertEquals(states, [["greeted", true], ["unreachable", true]]);
  },
);

test(
  "greeter connect does not judge blocked ports of a host that is down, and says so if no port must be open",
  [],
  async () => {
    const [judged, json, alone] = await Promise.all([
      connectFromClient("192.0.2.99 -o 80 -b 22"),
      connectFromClient("192.0.2.98 -b 22 --json"),
      connectFromClient("192.0.2.97 -b 22"),
    ]);
    assertEquals(judged.code, 1);
    assertMatch(judged.stdout, /^22 .* not judged: first fix the ports that failed$/m);
    assertMatch(judged.stdout, /^80 .* expected open$/m);
    assertMatch(judged.stdout, /^0 of 2 ports as expected in .*; not: 80; not judged: 22$/m);
    assertEquals([json.code, rowsOf(json).probes.map(({ ok }) => ok), summaryOf(json).control], [0, [true], false]);
    assertEquals(alone.code, 0);
    assertStringIncludes(
      alone.stdout,
      "; the host may be down or limit connections; add a port that must be open with --open\n",
    );
  },
);

test(
  "greeter connect always reports a port of an address that nobody has as unreachable",
  [],
  async () => {
    const hosts = Array.from({ length: 20 }, (_, i) => `192.0.2.${100 + i}`);
    const { code, stdout } = await connectFromClient(`${hosts.join(" ")} -o 80 --json`);
    const { probes } = rowsOf({ stdout });
    assertEquals([code, ...probes.map(({ state }) => state)], [1, ...hosts.map(() => "unreachable")]);
  },
);

test(
  "greeter connect checks 20 hosts of which 5 are dead in the time of one timeout",
  [],
  async () => {
    const hosts = Array.from({ length: 20 }, (_, i) => `192.0.2.${100 + i}`);
    const dead = hosts.filter((_, i) => i % 4 === 0);
    await sh(hosts.map((host) => `ip address add ${host}/32 dev server0`).join("\n"));
    await sh(dead.map((host) => `iptables -A INPUT -d ${host} -j DROP`).join("\n"));
    await using _server = startServer(7000);
    const durationOf = (result: { stdout: string }) =>
      Math.max(...rowsOf(result).summaries.map(({ duration_ms }) => duration_ms));
    const [open, openAndBlocked] = await Promise.all([
      connectFromClient(`${hosts.join(" ")} -o 7000 -t 2 --json`),
      connectFromClient(`${hosts.join(" ")} -o 7000 -b 7001 -t 2 --json`),
    ]);
    const { probes } = rowsOf(openAndBlocked);
    const stateOf = (host: string, port: number) =>
      probes.find(({ host: name, dest_port }) => name === host && dest_port === port);
    for (const host of hosts) {
      const [open, blocked] = [stateOf(host, 7000), stateOf(host, 7001)];
      const isDead = dead.includes(host);
      assertEquals([open?.state, open?.ok], isDead ? ["timeout", false] : ["open", true]);
      assertEquals([blocked?.state, blocked?.ok], isDead ? ["timeout", null] : ["refused", true]);
    }
    assertEquals([open.code, openAndBlocked.code, rowsOf(open).summaries.length], [1, 1, 20]);
    // Five dead hosts, one after the other, would take five timeouts.
    assert(durationOf(open) < 5 * 2000, `took ${durationOf(open)} ms`);
    // The blocked port is tried after the open one, so both would take twice as long.
    assert(durationOf(openAndBlocked) < 5 * 4000, `took ${durationOf(openAndBlocked)} ms`);
  },
);

test(
  "checkPorts() keeps the state refused of a port whose later rejects are missing",
  [],
  async () => {
    await sh("iptables -A INPUT -p tcp --dport 7001:7200 -j REJECT --reject-with icmp-port-unreachable");
    const script = `
      import { check } from "${import.meta.resolve("../helpers/check.ts")}";
      const open = Array.from({ length: 200 }, (_, i) => 7001 + i);
      const attempts = {};
      const onAttempt = ({ remoteAddr: { port }, state }) => (attempts[port] ??= []).push(state);
      const results = {};
      for await (
        const { remoteAddr: { port }, state } of check({ hostname: "192.0.2.2", open, timeout: 500, within: 4000, onAttempt })
      ) results[port] = state;
      console.log(JSON.stringify({ attempts, results }));`;
    const { stdout, stderr } = await run([...IN_CLIENT, Deno.execPath(), "eval", script]);
    const { attempts, results }: Record<string, Record<string, string | string[]>> = JSON.parse(stdout || stderr);
    assert(attempts && results);
    assertEquals(Object.keys(results).length, 200);
    let kept = 0;
    for (const [port, states] of Object.entries(attempts)) {
      assertEquals(results[port], states.includes("refused") ? "refused" : "timeout");
      if (states.includes("refused") && states.at(-1) === "timeout") kept++;
    }
    assert(kept > 0, "no later reject was missing");
  },
);
