import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  isLinkLocal,
  isLocalError,
  isOutOfResources,
  isZoneFailure,
  stateOf,
  systemMessageOf,
} from "./connect_errors.ts";
import { needs } from "../tests/helpers/needs.ts";

/** Returns an error as the system throws it. */
function systemError(code: string | undefined, message = "text (os error 1)"): Error {
  return Object.assign(new Error(message), code === undefined ? {} : { code });
}

Deno.test("stateOf() classifies the errors of Deno.connect by their code", () => {
  const states = [
    ["ECONNREFUSED", "refused"],
    ["ETIMEDOUT", "timeout"],
    ["ECONNRESET", "reset"],
    ["ECONNABORTED", "reset"],
    ["ENOTCONN", "reset"],
    ["EPIPE", "reset"],
    ["EHOSTUNREACH", "unreachable"],
    ["ENETUNREACH", "unreachable"],
    ["EACCES", "unreachable"],
    ["EPERM", "unreachable"],
    ["EINVAL", "unreachable"],
    ["EAFNOSUPPORT", "unreachable"],
  ] as const;
  for (const [code, state] of states) assertEquals(stateOf(systemError(code), "192.0.2.1", "linux"), state);
  const messages = [
    "Protocol not available",
    "Operation not supported",
    "Operation not supported on socket",
    "Host is down",
    "Machine is not on the network",
    "Protocol error",
    "Network is down",
  ];
  for (const message of messages) {
    for (const code of [undefined, "ENOTSUP"]) {
      assertEquals(stateOf(systemError(code, `${message} (os error 92)`), "192.0.2.1"), "unreachable");
    }
  }
});

Deno.test("stateOf() rethrows an error that says nothing about the port", () => {
  const thrownBy = (error: unknown, hostname = "192.0.2.1") =>
    assertEquals(assertThrows(() => stateOf(error, hostname)), error);
  for (const code of ["EMFILE", "ENFILE", "EADDRNOTAVAIL", "EADDRINUSE", "EAGAIN", "ENOBUFS", "ENOMEM"]) {
    const error = systemError(code);
    assert(isOutOfResources(error));
    thrownBy(error);
  }
  const noFiles = systemError(undefined, "Too many open files in system (os error 23)");
  assert(isOutOfResources(noFiles));
  thrownBy(noFiles);
  const others = [
    systemError(undefined),
    systemError(undefined, "Protocol not supported (os error 93)"),
    systemError("EPROTONOSUPPORT"),
    systemError("EIO"),
  ];
  for (const error of others) {
    assert(!isOutOfResources(error));
    thrownBy(error);
  }
  const invalid = Object.assign(new Error("Invalid argument (os error 22)"), { code: "EINVAL" });
  assert(!isOutOfResources(invalid));
  for (const hostname of ["fe80::1", "FE80::1", "feBf::1"]) thrownBy(invalid, hostname);
  assertEquals(stateOf(invalid, "fec0::1", "linux"), "unreachable");
  thrownBy(new Deno.errors.NotCapable("Requires net access"));
  thrownBy(new TypeError("no text of the system"));
});

Deno.test("isZoneFailure() recognizes the failed lookup of a zone, but no missing permission", () => {
  assert(isZoneFailure(new Error("failed to lookup address information"), "fe80::1%nope"));
  assert(!isZoneFailure(new Error("failed to lookup address information"), "fe80::1"));
  assert(!isZoneFailure(Object.assign(new Error("refused"), { code: "ECONNREFUSED" }), "fe80::1%lo"));
  assert(!isZoneFailure(new Deno.errors.NotCapable("Requires net access"), "fe80::1%lo"));
});

Deno.test(needs("stateOf() takes EADDRNOTAVAIL for a lack of local ports if this machine has IPv6", "IPv6"), () => {
  for (const hostname of ["::1", "192.0.2.1"]) {
    assertThrows(() => stateOf(systemError("EADDRNOTAVAIL"), hostname), Error, "text");
  }
});

Deno.test("stateOf() takes EINVAL for a reset on macOS, and for a route on Linux, unless a zone is missing", () => {
  const error = systemError("EINVAL");
  for (const [os, state] of [["darwin", "reset"], ["linux", "unreachable"]] as const) {
    for (const hostname of ["192.0.2.1", "::1", "fe80::1%lo"]) assertEquals(stateOf(error, hostname, os), state);
    assertThrows(() => stateOf(error, "fe80::1", os), Error, "text");
  }
});

Deno.test("isLocalError() recognizes the errors of a machine that cannot send to an address", () => {
  for (const hostname of ["192.0.2.1", "2001:db8::1"]) {
    const isLocal = (code: string | undefined, message?: string) => isLocalError(systemError(code, message), hostname);
    for (const code of ["ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EPERM", "EINVAL"]) assert(isLocal(code));
    assert(isLocal(undefined, "Network is down (os error 100)"));
    for (const code of ["EHOSTUNREACH", "ECONNREFUSED", "ETIMEDOUT", undefined]) assert(!isLocal(code));
    // ICMP messages cause them.
    for (const message of ["Operation not supported", "Protocol error", "Machine is not on the network"]) {
      assert(!isLocal(undefined, `${message} (os error 1)`));
    }
    assert(!isLocalError(undefined, hostname));
    // With IPv6, ICMP can cause it.
    assertEquals(isLocal("EACCES"), hostname === "192.0.2.1");
  }
});

Deno.test("isLinkLocal() recognizes the addresses in fe80::/10", () => {
  for (const address of ["fe80::1", "FE80::1", "febf::1%lo", "fe9a:1::"]) assert(isLinkLocal(address));
  for (const address of ["fec0::1", "fe7f::1", "2001:db8::fe80:1", "fe8::1", "169.254.0.1"]) {
    assert(!isLinkLocal(address));
  }
});

Deno.test("systemMessageOf() leaves out the number of the error", () => {
  assertEquals(systemMessageOf(new Error("No route to host (os error 113)")), "No route to host");
  assertEquals(systemMessageOf(new Error("text (os error 113) and more")), "text (os error 113) and more");
  assertEquals(systemMessageOf("text"), "text");
});
