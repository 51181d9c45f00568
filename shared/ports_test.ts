import { assertEquals } from "@std/assert";
import { fc } from "../tests/deps.ts";
import { formatPorts, parsePorts, uniquePorts } from "./ports.ts";

Deno.test("parsePorts() accepts ports and ranges in any order", () => {
  for (
    const [list, ports] of [
      ["80", [80]],
      ["443,22,80", [443, 22, 80]],
      ["8000-8002", [8000, 8001, 8002]],
      ["8000-8000", [8000]],
      ["65533-", [65_533, 65_534, 65_535]],
      ["22,65535-", [22, 65_535]],
      ["0", [0]],
      ["0,0,80", [0, 0, 80]],
      ["080", [80]],
    ] as const
  ) assertEquals(parsePorts(list), [...ports]);
  const all = parsePorts("-") ?? [];
  assertEquals([all.length, all[0], all.at(-1)], [65_535, 1, 65_535]);
  assertEquals(parsePorts("1-65535"), all);
});

Deno.test("parsePorts() rejects everything else", () => {
  const invalid = [
    "",
    ",",
    "80,",
    ",80",
    "-100",
    "100-80",
    "0-0",
    "0-10",
    "0-",
    "65536",
    "1-65536",
    "80-90-100",
    "http",
    "--",
  ];
  for (
    const list of [
      ...invalid,
      "T:80",
      "U:53",
      " 80",
      "80 ",
      "8 0",
      "8000..8100",
      "1e3",
      "0x50",
      "٨٠",
      "000080",
      "123456",
    ]
  ) {
    assertEquals(parsePorts(list), undefined, list);
  }
});

Deno.test("uniquePorts() keeps the first of each port, and every 0", () => {
  assertEquals(uniquePorts([]), []);
  assertEquals(uniquePorts([80, 22, 80, 23, 22]), [80, 22, 23]);
  assertEquals(uniquePorts([0, 80, 0, 80, 0]), [0, 80, 0, 0]);
});

Deno.test("formatPorts() sorts ports and folds them into ranges", () => {
  assertEquals(formatPorts([]), "");
  assertEquals(formatPorts([80]), "80");
  assertEquals(formatPorts([81, 80]), "80-81");
  assertEquals(formatPorts([8100, 22, 8001, 8000, 80, 8002]), "22,80,8000-8002,8100");
  assertEquals(formatPorts([0, 0]), "0,0");
});

Deno.test("parsePorts() parses what formatPorts() has formatted", () => {
  fc.assert(fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 65_535 }), { minLength: 1 }), (ports) => {
    assertEquals(parsePorts(formatPorts(ports)), ports.toSorted((a, b) => a - b));
  }));
});
