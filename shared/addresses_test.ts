import { assertEquals, assertThrows } from "@std/assert";
import { addressAdvice, checkAddress } from "./addresses.ts";

Deno.test("addressAdvice() accepts names, IPv4 addresses of four decimal numbers, and IPv6 addresses", () => {
  for (
    const text of [
      ...["192.0.2.7", "0.0.0.0", "255.255.255.255", "10.0.0.0/8", "192.0.2.7%lo"],
      ...["::", "::1", "2001:db8::010", "::ffff:192.0.2.7", "fe80::1%eth0", "fe80::1%eth0.010", "fe80::1%1.2", "::/0"],
      ...[
        "localhost",
        "web1",
        "1.example",
        "0x7f.example",
        "web.1",
        "a.b.c.010",
        "face",
        "0xyz",
        "1-2",
        "",
        ".",
        "%",
        "lab:22",
      ],
    ]
  ) assertEquals(addressAdvice(text), undefined, text);
});

Deno.test("addressAdvice() says that a leading zero can mean octal, and names the address without leading zeros", () => {
  for (
    const [text, address] of [
      ["10.99.0.010", "10.99.0.10"],
      ["010.099.0.1", "10.99.0.1"],
      ["192.0.2.00", "192.0.2.0"],
      ["192.0.2.0255", "192.0.2.255"],
      ["10.0.010.0/24", "10.0.10.0/24"],
      ["10.0.0.010%eth0", "10.0.0.10"],
      ["::ffff:1.2.3.04", "::ffff:1.2.3.4"],
      ["fe80::1.2.3.04%eth0", "fe80::1.2.3.4%eth0"],
    ]
  ) assertEquals(addressAdvice(text ?? ""), `a leading zero can mean octal; write ${address}`);
});

Deno.test("addressAdvice() reads full-width digits and dots as the system does", () => {
  assertEquals(addressAdvice("１２７.0.0．010"), "a leading zero can mean octal; write 127.0.0.10");
  assertEquals(addressAdvice("127。0。0。1"), "write 127.0.0.1");
  assertEquals(addressAdvice("１.example"), undefined);
});

Deno.test("addressAdvice() asks for four numbers where the system accepts other forms, or would look up a name", () => {
  for (
    const text of [
      ...["127.1", "2130706433", "1", "0x7f.1", "0X7F000001", "127.0.0.0x1", "0x", "1.2.3", "1.2.3.4.5", "1.2.3.4."],
      ...[
        "300.1.1.1",
        "1.1.1.256",
        "1.2.3.0400",
        "1..2.3",
        "10/8",
        "127.1%lo",
        "::1.2.3",
        "::ffff:300.1.1.1",
        "::ffff:0x7f.1%lo",
      ],
    ]
  ) assertEquals(addressAdvice(text), "write four numbers from 0 to 255, such as 192.0.2.7", text);
});

Deno.test("checkAddress() throws a RangeError that begins with the option's name", () => {
  checkAddress("hostname", "192.0.2.7");
  assertThrows(
    () => checkAddress("hostname", "10.99.0.010"),
    RangeError,
    'hostname: invalid address "10.99.0.010": a leading zero can mean octal; write 10.99.0.10',
  );
});
