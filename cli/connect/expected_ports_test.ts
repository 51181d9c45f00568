import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../args.ts";
import { parsePorts } from "../../shared/ports.ts";
import { expectedPorts } from "./expected_ports.ts";

/** Calls `expectedPorts()` with port lists: the first two of one option each, the others of `-b`. */
function ports(greeted: string, open: string, ...blocked: string[]) {
  const list = (text: string) => text === "" ? [] : parsePorts(text) ?? [];
  const values = blocked.map((text) => ({ given: { option: "-b", text }, list: list(text.replace(/=.*/, "")) }));
  return expectedPorts(list(greeted), list(open), values);
}

Deno.test("expectedPorts() keeps the order of each option, and each port once", () => {
  assertEquals(ports("80,22,79-81", "9,8,8", "5,4-6", "4"), {
    greeted: [80, 22, 79, 81],
    open: [9, 8],
    blocked: [5, 4, 6],
    isReduced: false,
  });
});

Deno.test("expectedPorts() checks port 999 if no ports are given", () => {
  assertEquals(ports("", ""), { greeted: [999], open: [], blocked: [], isReduced: false });
  assertEquals(ports("", "22").greeted, []);
  assertEquals(ports("", "", "22").greeted, []);
});

Deno.test("expectedPorts() leaves out ports of -p and -o from a range of -b, but not from another range", () => {
  assertEquals(ports("22", "24", "21-25"), { greeted: [22], open: [24], blocked: [21, 23, 25], isReduced: true });
  assertEquals(ports("22", "", "80-81").isReduced, false);
  assertEquals(ports("22", "", "-").blocked.length, 65_534);
  assertEquals(ports("22", "", "65534-").blocked, [65_534, 65_535]);
  assertEquals(ports("22", "24", "21-25=refused", "26=timeout").blocked, [21, 23, 25, 26]);
});

Deno.test("expectedPorts() rejects a port with two expectations", () => {
  for (
    const [lists, message] of [
      [["20-23", "22"], "port 22 is in --port and --open"],
      [["22", "22", "1-100"], "port 22 is in --port and --open"],
      [["22", "", "80,22"], "port 22 is in --port and --blocked"],
      [["20-23", "", "80", "022"], "port 22 is in --port and --blocked"],
      [["22", "", "80,22=timeout"], "port 22 is in --port and --blocked"],
      [["80", "22", "1-5,22"], "port 22 is in --open and --blocked"],
    ] as [[string, string, ...string[]], string][]
  ) {
    const { message: actual } = assertThrows(() => ports(...lists), UsageError);
    assertEquals(actual, `${message}; remove it from one of them`);
  }
});

Deno.test("expectedPorts() rejects a -b of which no port is left", () => {
  assertThrows(
    () => ports("22-23", "24", "22-24"),
    UsageError,
    "all ports of --blocked are also in --port or --open; remove them from one of the lists",
  );
});
