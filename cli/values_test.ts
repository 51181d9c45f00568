import { assertEquals, assertThrows } from "@std/assert";
import { type OptionTable, rewriteArgs, UsageError } from "./args.ts";
import {
  anyText,
  checkEscapes,
  hostname,
  integer,
  number,
  portsAdvice,
  portsWithText,
  textsByPort,
  valuesOf,
} from "./values.ts";

const TABLE = {
  count: { short: "n", value: "N", help: "", check: integer(1, 9) },
  name: { value: "NAME", repeatable: true, help: "", check: anyText },
  quiet: { short: "q", help: "" },
} as const satisfies OptionTable;

Deno.test("valuesOf() gives each option the type of its check", () => {
  const parsed = { count: ["5"], name: ["a", "b"], quiet: true };
  const { one, all, flag, given } = valuesOf(TABLE, parsed, rewriteArgs(["-n5", "--name=a", "--name=b", "-q"], TABLE));
  const count: number | undefined = one(TABLE.count);
  const names: string[] = all(TABLE.name);
  assertEquals([count, names, flag(TABLE.quiet)], [5, ["a", "b"], true]);
  assertEquals(given(TABLE.count), [{ option: "-n", text: "5" }]);
  // @ts-expect-error: an option that can be repeated has several values
  one(TABLE.name);
  // @ts-expect-error: an option with a value is not a flag
  flag(TABLE.count);
});

Deno.test("valuesOf() returns undefined, an empty list or false for options that are not given", () => {
  const { one, all, flag } = valuesOf(TABLE, { count: [], name: [], quiet: false }, rewriteArgs([], TABLE));
  assertEquals([one(TABLE.count), all(TABLE.name), flag(TABLE.quiet)], [undefined, [], false]);
});

Deno.test("valuesOf() throws a UsageError that names the option as typed if its check fails", () => {
  const { one } = valuesOf(TABLE, { count: ["x"] }, rewriteArgs(["--count", "x"], TABLE));
  assertThrows(
    () => one(TABLE.count),
    UsageError,
    'invalid value "x" for --count: expected a whole number from 1 to 9',
  );
});

Deno.test("checkEscapes() returns valid text as it was given", () => {
  for (const text of ["", "für {port}", String.raw`\r\n\t\\\x00\xfF\x7bport}`]) {
    assertEquals(checkEscapes({ option: "-g", text }), text);
  }
});

Deno.test("checkEscapes() throws a UsageError that shows the escape as typed, and says what to write", () => {
  for (
    const [text, start] of [
      [String.raw`a\q`, String.raw`invalid escape \q in the value of -g: `],
      [String.raw`\"`, String.raw`invalid escape \" in the value of -g: `],
      [String.raw`\x4{port}`, String.raw`invalid escape \x4 in the value of -g: `],
      ["\\\\\\", "invalid escape \\ at the end of the value of -g: "],
      ["\\\u001b[2J", String.raw`invalid escape \\u001b in the value of -g: `],
    ] as const
  ) {
    const { message } = assertThrows(() => checkEscapes({ option: "-g", text }), UsageError);
    assertEquals(message, start + String.raw`write \\ for a backslash, or one of \r \n \t \xHH`);
  }
});

Deno.test("checkEscapes() throws a UsageError for \\c that says where it is valid", () => {
  for (const text of [String.raw`\c`, String.raw`x\c`, String.raw`\cx`]) {
    const { message } = assertThrows(() => checkEscapes({ option: "-e", text }), UsageError);
    assertEquals(
      message,
      String.raw`invalid escape \c in the value of -e: it can only end the TEXT of the server, which then appends ` +
        String.raw`nothing; remove it, or write \\ for a backslash`,
    );
  }
});

const given = (text: string) => ({ option: "-p", text });

Deno.test("portsWithText() splits a value at the first =, and TEXT may have any characters", () => {
  for (
    const [value, list, text] of [
      ["22", [22], undefined],
      ["22,80=", [22, 80], ""],
      ["22-23=a=b,c\n=", [22, 23], "a=b,c\n="],
    ] as const
  ) {
    assertEquals(portsWithText(given(value), 1), { given: given(value), list: [...list], text });
  }
  assertEquals(portsWithText(given("0=x"), 0).list, [0]);
  for (const value of ["=x", "0=x", "x=22", "22 =x"]) assertThrows(() => portsWithText(given(value), 1), UsageError);
});

Deno.test("textsByPort() returns the text of each port that has one, and rejects two different texts", () => {
  const texts = (...values: string[]) => textsByPort(values.map((value) => portsWithText(given(value), 1)), "texts");
  assertEquals([...texts("80", "22-23=a", "23=a", "25=")], [[22, "a"], [23, "a"], [25, ""]]);
  const message = "port 23 appears with two texts; remove one of them from --port";
  assertThrows(() => texts("22-23=a", "80", "23-24=b"), UsageError, message);
  assertThrows(() => texts("23=", "23=b"), UsageError, message);
  const lists = ["80=refused", "80=timeout"].map((text) => portsWithText({ option: "-b", text }, 1));
  const states = "port 80 appears with two states; remove one of them from --blocked";
  assertThrows(() => textsByPort(lists, "states", "--blocked"), UsageError, states);
});

Deno.test("number() accepts numbers with and without a fraction, and says what the range counts", () => {
  const rate = number(0.5, 20, "meters a second");
  const value = (text: string) => rate({ option: "--rate", text });
  assertEquals(rate.range, [0.5, 20]);
  assertEquals(["0.5", ".5", "1.25", "5.", "20", "20.0"].map(value), [0.5, 0.5, 1.25, 5, 20, 20]);
  for (const text of ["", ".", "0.49", "20.01", "1e1", "+1", "-1", "0x5", " 5", "5 ", "1.2.3", "1,5", "Infinity"]) {
    const { message } = assertThrows(() => value(text), UsageError);
    assertEquals(message, `invalid value "${text}" for --rate: expected meters a second from 0.5 to 20`);
  }
});

Deno.test("portsAdvice() appends ports to the last list that has no text", () => {
  assertEquals(portsAdvice([], ["80", "443"]), "write -p 80,443");
  assertEquals(portsAdvice([given("22")], ["80"]), "write -p 22,80");
  assertEquals(portsAdvice([given("21"), { option: "--open", text: "22," }], ["80"]), "write --open 22,80");
  assertEquals(portsAdvice([given("22=x")], ["80"]), "write -p 80");
});

Deno.test("hostname() accepts names and addresses, except numeric ones that people and the system read differently", () => {
  for (const text of ["lab", "192.0.2.7", "::1", "fe80::1%eth0"]) assertEquals(hostname({ option: "-H", text }), text);
  assertThrows(
    () => hostname({ option: "-H", text: "10.99.0.010" }),
    UsageError,
    'invalid value "10.99.0.010" for -H: a leading zero can mean octal; write 10.99.0.10',
  );
});
