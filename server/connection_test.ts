import { assertEquals } from "@std/assert";
import { unmapIPv4 } from "./connection.ts";

Deno.test("unmapIPv4() converts only IPv4-mapped addresses", () => {
  const addr = (hostname: string): Deno.NetAddr => ({ transport: "tcp", hostname, port: 80 });
  for (
    const [hostname, expected] of [
      ["::ffff:192.0.2.7", "192.0.2.7"],
      ["::ffff:0:c000:207", "::ffff:0:c000:207"],
      ["2001:db8::ffff:1", "2001:db8::ffff:1"],
      ["192.0.2.7", "192.0.2.7"],
    ] as const
  ) {
    const info = { remoteAddr: addr(hostname), localAddr: addr("::1") };
    assertEquals(unmapIPv4(info), { remoteAddr: addr(expected), localAddr: addr("::1") });
  }
});
