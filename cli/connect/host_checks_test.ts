/**
 * Tests of how the lines of `--checks` are merged for each host.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../args.ts";
import { parseChecks } from "./checks.ts";

/** What is checked on each host, with the line and the only state of each port. */
function merged(...lines: string[]) {
  return parseChecks(lines.join("\n")).map(({ hostname, family, greeted, open, blocked, lineOf, blockedState }) => {
    const ports = [...greeted, ...open, ...blocked];
    return {
      host: family ? `${hostname} -${family}` : hostname,
      greeted,
      open,
      blocked,
      lines: ports.map((port) => lineOf(port) ?? 0),
      states: Object.fromEntries(ports.flatMap((port) => {
        const state = blockedState({ host: hostname, port });
        return state ? [[port, state]] : [];
      })),
    };
  });
}

const host = (name: string, fields: Partial<ReturnType<typeof merged>[number]>) => ({
  host: name,
  greeted: [],
  open: [],
  blocked: [],
  lines: [],
  states: {},
  ...fields,
});

Deno.test("hostChecks() merges all lines of a host, in the order of the first ones", () => {
  assertEquals(merged("web -p 80", "db web -b 22", "", "admin -o 1", "db -o 5432", "web -p 81 -b 23=refused"), [
    host("web", { greeted: [80, 81], blocked: [22, 23], lines: [1, 6, 2, 6], states: { 23: "refused" } }),
    host("db", { open: [5432], blocked: [22], lines: [5, 2] }),
    host("admin", { open: [1], lines: [4] }),
  ]);
});

Deno.test("hostChecks() leaves out ports of the same host from a range of -b in another line, before or after it", () => {
  for (const [i, lines] of [["web -p 80-81", "web db -b 79-82"], ["web db -b 79-82", "web -p 80-81"]].entries()) {
    const [web, db] = merged(...lines);
    const [required, blocked] = i === 0 ? [1, 2] : [2, 1];
    const lineNumbers = [required, required, blocked, blocked];
    assertEquals(web, host("web", { greeted: [80, 81], blocked: [79, 82], lines: lineNumbers }));
    assertEquals(db, host("db", { blocked: [79, 80, 81, 82], lines: Array(4).fill(blocked) }));
    assertEquals(parseChecks(lines.join("\n")).map(({ isReduced }) => isReduced), [true, false]);
  }
});

Deno.test("hostChecks() checks port 999 of a line without ports", () => {
  assertEquals(merged("web", "db web -b 22"), [
    host("web", { greeted: [999], blocked: [22], lines: [1, 2] }),
    host("db", { blocked: [22], lines: [2] }),
  ]);
});

Deno.test("hostChecks() takes what to expect and to send from the line of the port", () => {
  const [web] = parseChecks("web -p 80=a -p 81 -e b -s c\nweb -p 82 -s d\nweb -p 83 -e e\nweb -b 22");
  const texts = (of: "expect" | "send") =>
    [80, 81, 82, 83].map((port) => {
      const bytes = web?.[of]({ host: "web", port });
      return bytes && new TextDecoder().decode(bytes);
    });
  assertEquals(texts("expect"), ["a", "b", undefined, "e"]);
  assertEquals(texts("send"), ["c", "c", "d", undefined]);
});

Deno.test("hostChecks() keeps the families of a host apart, in the order of their first lines", () => {
  assertEquals(merged("web -6 -b 22", "web -4 -p 80", "web -6 -p 80 -b 23"), [
    host("web -6", { greeted: [80], blocked: [22, 23], lines: [3, 1, 3] }),
    host("web -4", { greeted: [80], lines: [2] }),
  ]);
});

Deno.test("hostChecks() accepts a blocked port of several lines, in any order, unless they have two states", () => {
  const orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
  const lines = ["web -b 20-22", "web -b 22", "web -b 22-23=refused -o 80"];
  for (const order of orders) {
    const [web] = merged(...order.map((i) => lines[i] ?? ""));
    assertEquals(web?.blocked.toSorted(), [20, 21, 22, 23]);
    assertEquals(web?.states, { 22: "refused", 23: "refused" });
    assertEquals(web?.lines[web.blocked.indexOf(22) + 1], 1); // after port 80
  }
});

Deno.test("hostChecks() rejects lines of a host that contradict each other, and names both lines", () => {
  const cases: [lines: string[], message: string][] = [
    [["web -p 80", "web -o 80"], "line 2: port 80 of web is also in line 1; remove it from one of them"],
    [
      ["web -p 80=a", "db -p 80", "db web -p 79-81"],
      "line 3: port 80 of web is also in line 1; remove it from one of them",
    ],
    [["web -p 79-81", "web -b 22,80"], "line 2: port 80 of web is also in line 1; remove it from one of them"],
    [
      ["web -b 080", "web -o 80", "web -p 1"],
      "line 1: port 80 of web is also in line 2; remove it from one of them",
    ],
    [["web", "web -o 999"], "line 2: port 999 of web is also in line 1; remove it from one of them"],
    [
      ["web -b 1-50=refused", "web -o 80", "web -b 50-60=timeout", "web -o 443"],
      "line 3: port 50 of web appears with two states; remove one of them",
    ],
    [
      ["web -p 80-89", "web -b 22", "web -b 80-81,83-85", "web -p 443"],
      "line 3: all ports of --blocked are also in --port or --open of web in other lines; remove them from one of the lists",
    ],
    [["db", "web -p 80", "web db -4 -b 22"], "line 3: web needs -4 or -6 in all lines or in none; see line 2"],
    [["web -6 -p 80", "web -b 22"], "line 2: web needs -4 or -6 in all lines or in none; see line 1"],
  ];
  for (const [lines, message] of cases) {
    const error = assertThrows(() => merged(...lines), UsageError, undefined, lines.join());
    assertEquals(error.message, message);
  }
});
