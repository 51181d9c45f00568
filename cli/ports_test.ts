import { assertEquals } from "@std/assert";
import { formatSomePorts } from "./ports.ts";

Deno.test("formatSomePorts() names at most 10 ranges, and counts the ports of the others", () => {
  const ports = (count: number) => Array.from({ length: count }, (_, i) => 10 * i + 1);
  const ten = "1,11,21,31,41,51,61,71,81,91";
  assertEquals(formatSomePorts([]), "");
  assertEquals(formatSomePorts([82, 80, 81, 22]), "22,80-82");
  assertEquals(formatSomePorts(ports(10)), ten);
  assertEquals(formatSomePorts(ports(11)), `${ten} and 1 more port`);
  assertEquals(formatSomePorts([...ports(11), 102, 103]), `${ten} and 3 more ports`);
  // Ranges count once, however many ports they have.
  assertEquals(formatSomePorts([...ports(9), 85, 86, 87]), "1,11,21,31,41,51,61,71,81,85-87");
});
