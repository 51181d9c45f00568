/**
 * Tests of when `greeter connect` lets a blocked port pass. The client runs in a network namespace of its own, which a pair
 * of virtual interfaces joins to that of the server. No packet leaves them.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { serve } from "../../server.ts";
import { formatAnnouncement } from "../../shared/announcement.ts";
import { testsInNamespace } from "../helpers/namespaces.ts";
import { GREETER, spawn } from "../helpers/processes.ts";
import { DEADLINE_MS, until } from "../helpers/waiting.ts";
import {
  IN_CLIENT,
  linesOf,
  resultOf,
  rowsOf,
  runConnect,
  sh,
  startConnect,
  TWO_NAMESPACES,
  withNames,
} from "../helpers/network.ts";

/** There is no route to 2001:db8:1::2. */
const HOSTS = `
  192.0.2.2 both no-route
  2001:db8::2 both
  2001:db8:1::2 no-route
`;

const test = testsInNamespace(`${withNames(HOSTS)}${TWO_NAMESPACES}`, import.meta.filename ?? "", "iptables");

/** Runs `greeter connect` in the namespace of the client. */
function connectFromClient(args: string) {
  return runConnect(args, IN_CLIENT);
}

/** Starts a server that greets, on IPv4. */
function startServer(...port: number[]) {
  return serve({ hostname: "0.0.0.0", port, greeting: "hello\n" });
}

test(
  "greeter connect does not pass an open port because the host limits new connections",
  [],
  async () => {
    await using _server = startServer(7000, 7060);
    await sh(`
      iptables -N LIMIT
      iptables -A LIMIT -m limit --limit 20/s --limit-burst 20 -j RETURN
      iptables -A LIMIT -j DROP
      iptables -A INPUT -p tcp --syn -j LIMIT
      iptables -A INPUT -p tcp --dport 7001:7059 -j DROP`);
    // Ports are tried again for up to a minute.
    const result = await runConnect("192.0.2.2 -p 7000 -b 7001-7060 --json", IN_CLIENT, 2 * DEADLINE_MS);
    const open = rowsOf(result).probes.find(({ dest_port }) => dest_port === 7060);
    assertEquals([result.code, result.stderr], [1, ""]);
    assert(open?.state === "greeted" || open?.reason?.startsWith("control_"), result.stdout);
  },
);

test(
  "greeter connect --within does not pass an open port because of its own retries, with the rule of `ufw limit`",
  [],
  async () => {
    let connections = 0;
    await using _limited = serve({ hostname: "0.0.0.0", port: 7001, onConnection: () => connections++ });
    await using _server = startServer(7000);
    await sh(`
      iptables -A INPUT -p tcp --dport 7001 -m conntrack --ctstate NEW -m recent --name limit --set
      iptables -A INPUT -p tcp --dport 7001 -m conntrack --ctstate NEW -m recent --name limit --update --seconds 30 \\
        --hitcount 6 -j REJECT --reject-with tcp-reset`);
    const { code, stdout } = await connectFromClient("192.0.2.2 -p 7000 -b 7001 --within 12");
    assertEquals(code, 1);
    assertMatch(stdout, /^7001 +(greeted|open) .*expected blocked$/m);
    assert(connections >= 3 && connections <= 5, `${connections}`);
  },
);

test(
  "greeter connect --within does not pass two ports that are never blocked at the same time",
  [],
  async () => {
    await using _server = startServer(7000);
    let opened: ReturnType<typeof serve> | undefined;
    const closed = serve({
      hostname: "0.0.0.0",
      port: 7002,
      onConnection: () => {
        opened = startServer(7001);
        closed.shutdown();
      },
    });
    const { code, stdout } = await connectFromClient("192.0.2.2 -p 7000 -b 7001,7002 --within 6");
    await opened?.shutdown();
    await closed.shutdown();
    assertEquals(code, 1);
    assertMatch(stdout, /^7001 +greeted +"hello\\n" .*expected blocked$/m);
    // The reason why another pass was made.
    assertMatch(stdout, /^7002 +refused .*\(reachable \ds before\)/m);
  },
);

test(
  "greeter connect does not pass a port that a server with --announce does not listen on",
  [],
  async () => {
    await sh("iptables -A INPUT -p tcp --dport 3306 -j DROP");
    for (
      const [port, code, line, total] of [
        [
          3360,
          1,
          "3306 timeout not proven: the server does not listen on it; add it to --port of the server, or correct -b",
          "not: 3306",
        ],
        [3306, 0, "3306 timeout", "the server listens on 3306"],
      ] as const
    ) {
      await using greeter = spawn([...GREETER, "--port", `7000,${port}`, "--announce"]);
      await until(() => greeter.output.stdout !== "");
      const result = await connectFromClient("192.0.2.2 -p 7000=Thank -b 3306");
      assertEquals([linesOf(result)[0], linesOf(result)[1]], [code, line]);
      assertMatch(result.stdout, new RegExp(`; ${total}$`, "m"));
    }
  },
);

test(
  "greeter connect does not pass a port of a server that starts late, if a port of it must greet or a firewall must drop",
  [],
  async () => {
    // Another server has this port.
    await using _other = startServer(7080);
    const [open, dropped] = await Promise.all([
      connectFromClient("192.0.2.2 -o 7080 -b 3306"),
      connectFromClient("192.0.2.2 -o 7080 -b 3306=timeout"),
    ]);
    // Nothing tells that the server is missing, so the last line says that this proves little.
    assertEquals(linesOf(open), [0, "3306 refused", "7080 open"]);
    assertStringIncludes(
      open.stdout,
      "; refused may mean that nothing listens; use --announce on the server, and -p here\n",
    );
    assertEquals(linesOf(dropped), [1, "3306 refused expected timeout", "7080 open"]);
    await using waiting = startConnect("192.0.2.2 -p 7000 -o 7080 -b 3306 --within 4 --json", IN_CLIENT);
    await until(() => waiting.output.stdout.includes('"dest_port":7080'));
    await using _server = serve({
      hostname: "0.0.0.0",
      port: [7000, 3306],
      greeting: formatAnnouncement([3306, 7000]),
    });
    const result = await resultOf(waiting);
    const states = rowsOf(result).probes.map(({ dest_port, state, ok }) => [dest_port, state, ok]);
    assertEquals([result.code, states], [1, [[3306, "greeted", false], [7000, "greeted", true], [7080, "open", true]]]);
  },
);

test(
  "greeter connect does not pass a port at an address at which no port that must greet or be open could be reached",
  ["IPv6"],
  async () => {
    await using _server = startServer(7000, 7001);
    await sh("iptables -A INPUT -p tcp --dport 7001 -j DROP");
    const [both, ipv4] = await Promise.all([
      connectFromClient("both -p 7000 -b 7001"),
      connectFromClient("both -p 7000 -b 7001 -4"),
    ]);
    const message =
      "not proven at 2001:db8::2: no port that must greet or be open could be reached there; -4 checks IPv4 only";
    assertEquals(linesOf(both), [1, '7000 greeted "hello\\n"', `7001 refused ${message}`]);
    assertEquals(linesOf(ipv4), [0, '7000 greeted "hello\\n"', "7001 timeout"]);
    // A port that must only be open does not show that the server is there.
    await using _proxy = serve({ hostname: "::", port: 7005, greeting: "x" });
    const proxied = await connectFromClient("both -p 7000 -o 7005 -b 7001");
    assertEquals(linesOf(proxied).slice(0, 1), [1]);
    assertStringIncludes(linesOf(proxied).join(), message);
    // With a server at both addresses, both are tested.
    await using _ipv6 = serve({ hostname: "2001:db8::2", port: [7000, 7001], greeting: "hello\n" });
    const open = await connectFromClient("both -p 7000 -b 7001");
    const line = '7001 greeted "hello\\n" at 2001:db8::2 expected blocked';
    assertEquals(linesOf(open), [1, '7000 greeted "hello\\n"', line]);
    await sh("ip6tables -A INPUT -p tcp --dport 7001 -j DROP");
    const dropped = await connectFromClient("both -p 7000 -b 7001");
    assertEquals(linesOf(dropped), [0, '7000 greeted "hello\\n"', "7001 timeout"]);
  },
);

test(
  "greeter connect does not test addresses to which there is no route, and names them",
  ["IPv6"],
  async () => {
    await using _server = startServer(7000);
    const [text, json] = await Promise.all([
      connectFromClient("no-route -p 7000 -b 7001"),
      connectFromClient("no-route -p 7000 -b 7001 --json"),
    ]);
    assertEquals(linesOf(text), [0, '7000 greeted "hello\\n"', "7001 refused"]);
    assertStringIncludes(text.stdout, "; not tested, because this machine has no route: 2001:db8:1::2;");
    assertEquals([json.code, rowsOf(json).summaries.map(({ not_tested }) => not_tested)], [0, [["2001:db8:1::2"]]]);
  },
);

test(
  "greeter connect says which connection to a port that must greet was refused",
  [],
  async () => {
    await using _server = startServer(7000);
    await sh(`
      iptables -A INPUT -p tcp --dport 7000 --syn -m recent --name limit --set
      iptables -A INPUT -p tcp --dport 7000 --syn -m recent --name limit --rcheck --hitcount 3 -j REJECT \\
        --reject-with tcp-reset
      iptables -A INPUT -p tcp --dport 7001 -j DROP`);
    const result = await connectFromClient("192.0.2.2 -p 7000 -b 7001");
    const [code, , line] = linesOf(result);
    assertEquals(code, 1);
    const message = /^7001 timeout not proven: port 7000 refused the 3rd connection in \ds; add another port with /;
    assertMatch(`${line}`, message);
  },
);

test(
  "greeter connect passes ports that are dropped, and one that is rejected as the kernel limits its ICMP errors",
  [],
  async () => {
    await using _server = startServer(7000, 7001, 7002, 7003, 7004, 7005, 7006, 7007, 7008, 7009);
    await sh(`
      iptables -A INPUT -p tcp --dport 7001:7008 -j DROP
      iptables -A INPUT -p tcp --dport 7009 -j REJECT --reject-with icmp-port-unreachable`);
    const [dropped, rejected, other] = await Promise.all([
      connectFromClient("192.0.2.2 -p 7000 -b 7001-7008=timeout"),
      connectFromClient("192.0.2.2 -p 7000 -b 7009=refused"),
      connectFromClient("192.0.2.2 -o 7000 -b 7008=unreachable"),
    ]);
    assertEquals(linesOf(dropped), [0, '7000 greeted "hello\\n"', "7001-7008 timeout"]);
    assertEquals(linesOf(rejected), [0, '7000 greeted "hello\\n"', "7009 refused"]);
    assertEquals(linesOf(other), [1, "7000 open", "7008 timeout expected unreachable"]);
  },
);
