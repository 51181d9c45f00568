import { assertEquals, assertRejects } from "@std/assert";
import { addressMatcher, InvalidRule } from "./addresses.ts";

Deno.test("addressMatcher() matches addresses and networks", async () => {
  const cases: [rules: string[], inside: string[], outside: string[]][] = [
    [["127.0.0.1"], ["127.0.0.1"], ["127.0.0.2", "::1"]],
    [["192.0.2.0/24", "127.0.0.0/8"], ["192.0.2.255", "127.1.2.3"], ["192.0.3.0", "128.0.0.0"]],
    [["192.0.2.7/32"], ["192.0.2.7"], ["192.0.2.6"]],
    [["192.0.2.7"], ["192.0.2.7"], ["192.0.2.6"]],
    [["192.0.2.6/31"], ["192.0.2.6", "192.0.2.7"], ["192.0.2.5", "192.0.2.8"]],
    [["::1"], ["::1"], ["::", "127.0.0.1"]],
    [["2001:db8::1"], ["2001:db8::1"], ["2001:db8::"]],
    [["2001:db8::1/128"], ["2001:db8::1"], ["2001:db8::"]],
    [["2001:db8::/32"], ["2001:db8:ffff::1", "2001:db8:1:2:3:4:5:6"], ["2001:db9::", "192.0.2.7"]],
    [["0.0.0.0/0"], ["192.0.2.7"], ["::1"]],
    [["::/0"], ["::1"], ["192.0.2.7"]],
    [["127.0.0.1/8"], ["127.0.0.0", "127.255.255.255"], ["126.255.255.255", "128.0.0.0"]],
    [["192.0.2.7/31"], ["192.0.2.6", "192.0.2.7"], ["192.0.2.5", "192.0.2.8"]],
    [["192.0.2.7/0"], ["0.0.0.0", "255.255.255.255"], ["::1"]],
    [["255.255.255.255/1"], ["128.0.0.0"], ["127.255.255.255"]],
    [["2001:db8:ffff::1/33"], ["2001:db8:8000::"], ["2001:db8:7fff::"]],
    [["::1.2.3.4"], ["::102:304"], ["1.2.3.4"]],
    [["2001:DB8:0:0::/32"], ["2001:db8::1"], ["::1"]],
  ];
  for (const [rules, inside, outside] of cases) {
    const matches = await addressMatcher(rules);
    const isInside = (hostname: string) => matches({ transport: "tcp", hostname, port: 1 });
    assertEquals([inside.filter(isInside), outside.filter(isInside)], [inside, []], `${rules}`);
  }
});

Deno.test("addressMatcher() rejects invalid rules and IPv4-mapped addresses, and suggests valid ones", async () => {
  const form = "expected an address, or a network such as 192.0.2.0/24 or 2001:db8::/32";
  const fourNumbers = "write four numbers from 0 to 255, such as 192.0.2.7";
  for (
    const [rule, advice] of [
      ...["", "localhost", "2001:db8::g", "192.0.2.0/33", "10.0.0.0/08", "192.0.2.0/", "192.0.2.0/24/8"]
        .map((rule) => [rule, form]),
      ...["::ffff:1.2.3.4%lo", "2001:db8::/129", "fe80::1%lo", "[::1]", " 192.0.2.7", "192.0.2.0/-1", "192.0.2.0/2 4"]
        .map((rule) => [rule, form]),
      ...["1.2.3", "192.0.2.256", "10.0/16", "0x7f.1"].map((rule) => [rule, fourNumbers]),
      ["010.0.0.1", "a leading zero can mean octal; write 10.0.0.1"],
      ["10.0.08.0/24", "a leading zero can mean octal; write 10.0.8.0/24"],
      ["::ffff:1.2.3.4", "expected an IPv4 address without ::ffff:, such as 1.2.3.4"],
      ["::ffff:c000:207", "expected an IPv4 address without ::ffff:, such as 192.0.2.7"],
      ["0:0:0:0:0:FFFF:C0A8:0", "expected an IPv4 address without ::ffff:, such as 192.168.0.0"],
      ["::ffff:1.2.3.4/128", "expected an IPv4 address without ::ffff:, such as 1.2.3.4"],
      ["::ffff:1.2.3.4/127", "expected an IPv4 address without ::ffff:, such as 1.2.3.4/31"],
      ["::ffff:102:300/120", "expected an IPv4 address without ::ffff:, such as 1.2.3.0/24"],
      ["::ffff:0:0/96", "expected an IPv4 address without ::ffff:, such as 0.0.0.0/0"],
      ["::ffff:1.2.3.4/95", "expected an IPv4 address without ::ffff:, such as 1.2.3.4"],
    ] as [string, string][]
  ) {
    const error = await assertRejects(() => addressMatcher([rule]), InvalidRule, undefined, rule);
    assertEquals([error.rule, error.advice], [rule, advice]);
  }
});
