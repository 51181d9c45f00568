import { assert, assertEquals } from "@std/assert";
import { ConnectError } from "../client.ts";
import { LOOKUP_TIMEOUT, NO_IPV4, NO_IPV6 } from "../client/resolve.ts";
import { ListenError, type ListenErrorDetails, serve } from "../server.ts";
import { isLinux, needs } from "../tests/helpers/needs.ts";
import { connectMessage, listenMessage, portPermissionAdvice } from "./errors.ts";

/** Details of a `ListenError` for one port at one address. */
const DETAILS: ListenErrorDetails = {
  portCount: 1,
  addressCount: 1,
  portsInUse: [],
  maxPorts: undefined,
  excludedBy: undefined,
};

/** The message of greeter if it cannot listen on a host. */
function listenError(hostname: string): string {
  try {
    serve({ hostname, port: 0 }).shutdown();
  } catch (error) {
    if (error instanceof ListenError) return listenMessage(error);
    throw error;
  }
  throw new Error(`can listen on ${hostname}`);
}

/** The message of greeter connect if it cannot connect to a host. */
async function connectError(hostname: string): Promise<string> {
  const cause = await Deno.connect({ hostname, port: 9 }).then((conn) => conn.close(), (error) => error);
  return connectMessage(new ConnectError(hostname, cause));
}

Deno.test("listenMessage() and connectMessage() say what is wrong with an address", async () => {
  const invalid = "is not a valid name or address";
  for (const host of ["::g", "1:2", "::1:", "fe80::1::"]) {
    assertEquals(listenError(host), `cannot listen: "${host}" ${invalid}; choose another with --host`);
    assertEquals(await connectError(host), `cannot connect: "${host}" ${invalid}; check it`);
  }
  assertEquals(listenError("nope.invalid"), `cannot listen: unknown host "nope.invalid"; choose another with --host`);
  assertEquals(await connectError("nope.invalid"), `cannot connect: unknown host "nope.invalid"; check the name`);
  assertEquals(
    listenError("192.0.2.1"),
    `cannot listen: "192.0.2.1" is not an address of this machine; choose another with --host`,
  );
});

Deno.test("listenMessage() and connectMessage() recognize a failed lookup of Windows in any language", () => {
  const failed = (number: number) =>
    Object.assign(new Error(`Der angegebene Host ist unbekannt. (os error ${number})`), { code: "ENOENT" });
  for (const number of [11001, 11002, 11003, 11004]) {
    const listen = listenMessage(new ListenError("lab", 80, failed(number), DETAILS));
    assertEquals(listen, 'cannot listen: unknown host "lab"; choose another with --host');
    const connect = connectMessage(new ConnectError("lab", failed(number)));
    assertEquals(connect, 'cannot connect: unknown host "lab"; check the name');
  }
});

Deno.test(
  needs("listenMessage() and connectMessage() say which zone to write", "Linux or Windows", "IPv6"),
  async () => {
    const what = isLinux ? "name" : "number";
    const unknown = (host: string) =>
      `unknown network interface in "${host}"; after the %, write the ${what} of an interface of this machine`;
    const notLinkLocal = (host: string, address: string) =>
      `"${host}" has a zone, which only a link-local address can have; write ${address}`;
    const cases = [
      // lo exists, but glibc looks up the name of a zone only for link-local addresses.
      ["::1%lo", notLinkLocal("::1%lo", "::1")],
      ["2001:db8::1%lo", notLinkLocal("2001:db8::1%lo", "2001:db8::1")],
      ["192.0.2.1%lo", notLinkLocal("192.0.2.1%lo", "192.0.2.1")],
      ["fe80::1%nope", unknown("fe80::1%nope")],
      ["FEBF::1%nope", unknown("FEBF::1%nope")],
      ["fe80::1%", unknown("fe80::1%")],
      ["fe80::1", `"fe80::1" needs a zone; add the network interface, as in fe80::1%${isLinux ? "eth0" : "12"}`],
    ] as const;
    for (const [host, message] of cases) {
      assertEquals(listenError(host), `cannot listen: ${message}`);
      assertEquals(await connectError(host), `cannot connect: ${message}`);
    }
    // An interface with this number does not exist. Windows does not say which part of the address is wrong.
    assertEquals(
      listenError("fe80::1%99999"),
      isLinux
        ? `cannot listen: ${unknown("fe80::1%99999")}`
        : 'cannot listen: "fe80::1%99999" is not an address of this machine; choose another with --host',
    );
    assertEquals(
      listenError("ff02::1%1"),
      `cannot listen: no program can listen on "ff02::1%1"; choose another address with --host`,
    );
  },
);

Deno.test("portPermissionAdvice() says how to permit a port on each system, and suggests no other port", () => {
  const sudo = "port 9999 requires privileges; choose another with --port, or run greeter with sudo";
  assertEquals(portPermissionAdvice(9999, "linux", undefined), sudo);
  assertEquals(portPermissionAdvice(9999, "darwin", undefined), sudo);
  assertEquals(portPermissionAdvice(9999, "darwin", "/usr/local/bin/greeter"), sudo);
  for (
    const [path, quoted] of [
      ["/usr/local/bin/greeter-3.0.0", "/usr/local/bin/greeter-3.0.0"],
      ["/opt/it's here/greeter", String.raw`'/opt/it'\''s here/greeter'`],
    ] as const
  ) {
    assertEquals(
      portPermissionAdvice(80, "linux", path),
      "port 80 requires privileges; choose another with --port, run greeter with sudo, " +
        `or permit it with sudo setcap cap_net_bind_service=+ep ${quoted}`,
    );
  }
  assertEquals(
    portPermissionAdvice(50_000, "windows", "C:\\greeter.exe"),
    "port 50000 may be reserved; choose another with --port, or list what is reserved with " +
      "netsh interface ipv4 show excludedportrange protocol=tcp",
  );
});

Deno.test("listenMessage() and connectMessage() distinguish the limit of the process from that of the system", () => {
  const tooMany = { ...DETAILS, portCount: 10_000, maxPorts: 904 };
  const failed = (code: string) => Object.assign(new Error("Too many open files"), { code });
  const listen = (code: string) => listenMessage(new ListenError("::", 80, failed(code), tooMany));
  const connect = (code: string) => connectMessage(new ConnectError("::1", failed(code)));
  assertEquals(
    listen("EMFILE"),
    "cannot listen: too many ports: the limit on open files allows only 904; raise it with ulimit -n 10100",
  );
  assertEquals(
    listenMessage(new ListenError("::", 80, failed("EMFILE"), { ...DETAILS, portCount: 3, maxPorts: 0 })),
    "cannot listen: the limit on open files is too low; raise it with ulimit -n 103",
  );
  assertEquals(
    listenMessage(new ListenError("::", 80, failed("EMFILE"), { ...tooMany, addressCount: 3, maxPorts: 301 })),
    "cannot listen: too many ports: the limit on open files allows only 301 at 3 addresses; raise it with ulimit -n 30100",
  );
  assertEquals(connect("EMFILE"), "cannot connect: too many open files; raise the limit with ulimit -n 1024");
  for (const message of [listen("ENFILE"), connect("ENFILE")]) {
    assert(message.endsWith(": the system's limit on open files is reached; close other programs, or raise the limit"));
  }
});

Deno.test("connectMessage() says what to do if no local port or address is left", () => {
  for (const code of ["EADDRNOTAVAIL", "ENOBUFS"]) {
    assertEquals(
      connectMessage(new ConnectError("lab", Object.assign(new Error("failed"), { code }))),
      `cannot connect: no local address or port is available for a connection to "lab"; check the network of this machine`,
    );
  }
});

Deno.test("connectMessage() says that a name server does not answer, instead of that the host is unknown", () => {
  const tryAgain = Object.assign(new Error("getaddrinfo EAI_AGAIN lab"), { code: "EAI_AGAIN" });
  for (const cause of [LOOKUP_TIMEOUT, tryAgain]) {
    assertEquals(
      connectMessage(new ConnectError("lab", cause)),
      'cannot look up "lab": the name server does not answer; check the network of this machine',
    );
  }
});

Deno.test("connectMessage() says which option to omit if the host has no address of a family", () => {
  for (const [cause, family] of [[NO_IPV4, 4], [NO_IPV6, 6]] as const) {
    assertEquals(
      connectMessage(new ConnectError("lab", cause)),
      `cannot connect: "lab" has no IPv${family} address; check the host, or omit --ipv${family}`,
    );
  }
});

Deno.test("connectMessage() says that nothing is proven if there is no route", () => {
  for (const code of ["ENETUNREACH", "EINVAL", "EAFNOSUPPORT"]) {
    assertEquals(
      connectMessage(new ConnectError("lab", Object.assign(new Error("failed"), { code }))),
      'cannot connect: this machine or a router has no route to "lab"; nothing is proven',
    );
  }
});

Deno.test("connectMessage() tells a rule of this machine from a missing permission of Deno", () => {
  const messageFor = (cause: unknown) => connectMessage(new ConnectError("lab", cause));
  assertEquals(
    messageFor(new Deno.errors.PermissionDenied("Permission denied (os error 13)")),
    'cannot connect: this machine does not permit connections to "lab"; nothing is proven',
  );
  const lookup = Object.assign(new Error("getaddrinfo EPERM lab"), { code: "EPERM" });
  for (const cause of [new Deno.errors.NotCapable("Requires net access"), lookup]) {
    assertEquals(messageFor(cause), "cannot connect: Deno has no network permission; run it with --allow-net");
  }
});

Deno.test("listenMessage() and connectMessage() show the cause if there is no advice for it", () => {
  assertEquals(
    listenMessage(new ListenError("::", 80, new Error("some reason"), DETAILS)),
    "cannot listen: some reason",
  );
  assertEquals(connectMessage(new ConnectError("lab", "some reason")), "cannot connect: some reason");
});

Deno.test("listenMessage() names --skip-taken if another port may be left to listen on", () => {
  const inUse = (portCount: number, ...portsInUse: number[]) => {
    const details = { ...DETAILS, portCount, portsInUse };
    return listenMessage(new ListenError("127.0.0.1", 80, new Deno.errors.AddrInUse(), details));
  };
  assertEquals(inUse(1, 80), "cannot listen: port 80 is in use; choose another with --port");
  assertEquals(
    inUse(2, 80),
    "cannot listen: port 80 is in use; choose another with --port, or skip it with --skip-taken",
  );
  // All of them are in use only with --skip-taken.
  assertEquals(inUse(2, 80, 443), "cannot listen: ports 80,443 are in use; choose others with --port");
});

Deno.test("listenMessage() says at which of several addresses a port is in use", () => {
  const inUse = (port: number, ...portsInUse: number[]) => {
    const details = { ...DETAILS, portCount: 2, addressCount: 2, portsInUse };
    return listenMessage(new ListenError("::1", port, new Deno.errors.AddrInUse(), details));
  };
  assertEquals(
    inUse(80, 80),
    'cannot listen: port 80 is in use at "::1"; choose another with --port, or skip it with --skip-taken',
  );
  assertEquals(
    inUse(80, 80, 443),
    "cannot listen: ports 80,443 are in use at one of the addresses; choose others with --port",
  );
  assertEquals(
    inUse(0),
    "cannot listen: found no ephemeral port that is free at each address; choose ports other than 0 with --port",
  );
});

Deno.test("listenMessage() names at most 10 ranges of ports that are in use", () => {
  const portsInUse = Array.from({ length: 12 }, (_, i) => 2 * i + 1);
  const details = { ...DETAILS, portCount: 12, portsInUse };
  assertEquals(
    listenMessage(new ListenError("127.0.0.1", 1, new Deno.errors.AddrInUse(), details)),
    "cannot listen: ports 1,3,5,7,9,11,13,15,17,19 and 2 more ports are in use; choose others with --port",
  );
});

Deno.test("listenMessage() says which of two addresses to use if they exclude each other", () => {
  const cause = new Deno.errors.AddrInUse("in use");
  const message = (excludedBy: string, hostname: string, port: number) => {
    const details = { ...DETAILS, addressCount: 2, excludedBy };
    return listenMessage(new ListenError(hostname, port, cause, details));
  };
  const cases: [string, string, advice: string][] = [
    ["::", "0.0.0.0", "write -H :: alone, which covers both"],
    ["::1", "::", "write -H :: alone, which covers both"],
    ["0.0.0.0", "127.0.0.1", "write -H 0.0.0.0 alone, which covers both"],
    ["lab", "0.0.0.0", "write -H 0.0.0.0 alone, which covers both"],
    // Other spellings. 0.0.0.0 does not cover an IPv6 address.
    ["0::0", "0.0.0.0", "use only one of them with --host"],
    ["localhost", "127.0.0.1", "use only one of them with --host"],
  ];
  for (const [first, second, advice] of cases) {
    for (const [excludedBy, hostname] of [[first, second], [second, first]] as const) {
      for (const port of [0, 80]) { // port 0 is not a lack of ephemeral ports
        const problem = `"${excludedBy}" and "${hostname}" cannot share a port`;
        assertEquals(message(excludedBy, hostname, port), `cannot listen: ${problem}; ${advice}`);
      }
    }
  }
});

Deno.test("listenMessage() says which of more than two addresses to remove if two of them exclude each other", () => {
  for (const [all, covered] of [["::", "0.0.0.0"], ["::", "::1"], ["0.0.0.0", "lab"]] as const) {
    for (const [hostname, excludedBy] of [[all, covered], [covered, all]] as const) {
      const details = { ...DETAILS, addressCount: 3, excludedBy };
      assertEquals(
        listenMessage(new ListenError(hostname, 80, new Deno.errors.AddrInUse(), details)),
        `cannot listen: "${excludedBy}" and "${hostname}" cannot share a port; remove -H ${covered}, which ${all} covers`,
      );
    }
  }
});
