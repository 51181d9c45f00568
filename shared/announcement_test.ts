import { assert, assertEquals } from "@std/assert";
import { fc } from "../tests/deps.ts";
import { announcedPorts, formatAnnouncement, isAnnouncementCut } from "./announcement.ts";

/** The ports of all announcements in a greeting. Each character is one byte. */
function announced(greeting: string): number[][] {
  const bytes = Uint8Array.from(greeting, (character) => character.charCodeAt(0));
  return announcedPorts(bytes).map((ports) => [...ports]);
}

Deno.test("formatAnnouncement() lists the ports, sorted, with ranges, and each once", () => {
  assertEquals(formatAnnouncement([999]), "greeter listens on 999\r\n");
  assertEquals(formatAnnouncement([82, 22, 80, 81, 22]), "greeter listens on 22,80-82\r\n");
});

Deno.test("announcedPorts() reads what formatAnnouncement() writes", () => {
  const port = fc.integer({ min: 1, max: 65_535 });
  fc.assert(fc.property(fc.uniqueArray(port, { minLength: 1 }), (ports) => {
    assertEquals(announced(formatAnnouncement(ports)), [ports.toSorted((a, b) => a - b)]);
  }));
  const all = Array.from({ length: 65_535 }, (_, i) => i + 1);
  assertEquals(announced(formatAnnouncement(all)), [all]);
});

Deno.test("announcedPorts() finds whole lines anywhere in a greeting, also between other bytes", () => {
  const line = "greeter listens on 22,80-82\r\n";
  const ports = [22, 80, 81, 82];
  assertEquals(announced(`hello\r\n${line}`), [ports]);
  assertEquals(announced(`hello\n${line}bye`), [ports]);
  assertEquals(announced(`\n${line}`), [ports]);
  assertEquals(announced(`\xff\x00\x80\n${line}\xff`), [ports]);
  assertEquals(announced(`${line}${line}greeter listens on 1\r\nx\r\n${line}`), [ports, ports, [1], ports]);
});

Deno.test("announcedPorts() finds no port in a line that is cut off, and ignores other text", () => {
  const line = "greeter listens on 22,80-82\r\n";
  for (let length = 0; length < line.length; length++) {
    assertEquals(announced(line.slice(0, length)), length < "greeter listens on ".length ? [] : [[]], `${length}`);
    // Neither does the rest of a greeting whose start is missing count.
    if (length > 0) assertEquals(announced(line.slice(length)), [], `${length}`);
  }
  for (
    const other of [
      " greeter listens on 80\r\n",
      "x greeter listens on 80\r\n",
      "\rgreeter listens on 80\r\n",
      "Greeter listens on 80\r\n",
      "greeter\x00listens on 80\r\n",
    ]
  ) assertEquals(announced(other), [], JSON.stringify(other));
});

Deno.test("announcedPorts() finds no port in a line that was changed on the way", () => {
  for (const end of ["80\n", "80\r", "80 \r\n", " 80\r\n", "80.\r\n", "80\r\r\n", "80\xb2\r\n"]) {
    assertEquals(announced(`greeter listens on ${end}`), [[]], JSON.stringify(end));
  }
});

Deno.test("announcedPorts() finds no port in a list that formatPorts() does not write", () => {
  for (
    const list of [
      "",
      ",",
      "-",
      "60000-",
      "-100",
      "0",
      "0-10",
      "0,80",
      "080",
      "80,",
      ",80",
      "80,,443",
      "80, 443",
      "65536",
      "80-65536",
      "100000",
      "100-80",
      "80-80",
      "80-90-100",
      "80--90",
      "443,80",
      "80,80",
      "80,81", // would be 80-81
      "80-90,85",
      "80-90,91",
      "1-65535,1-65535",
      "http",
    ]
  ) {
    assertEquals(announced(`greeter listens on ${list}\r\n`), [[]], list);
    assertEquals(announced(`greeter listens on ${list}\r\ngreeter listens on 7\r\n`), [[], [7]], list);
  }
});

Deno.test("announcedPorts() reads at most 4 announcements, so that no greeting takes long", () => {
  const lists = Array.from({ length: 500 }, (_, i) => `greeter listens on 1-${65_535 - i}\r\n`).join("");
  assertEquals(announcedPorts(new TextEncoder().encode(lists)).map(({ size }) => size), [
    65_535,
    65_534,
    65_533,
    65_532,
  ]);
});

Deno.test("announcedPorts() accepts any bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 1000 }), (bytes) => {
    assertEquals(announcedPorts(bytes), []);
  }));
  assertEquals(announced("greeter listens on ".repeat(800)), [[]]);
  assertEquals(announced(`greeter listens on ${"1".repeat(16_000)}\r\n`), [[]]);
  assertEquals(announced(`greeter listens on ${"1-65535,".repeat(2000)}1\r\n`), [[]]);
});

Deno.test("announcedPorts() parses the list of a server once, however many of its ports send it", () => {
  const greeting = new TextEncoder().encode(formatAnnouncement(Array.from({ length: 65_535 }, (_, i) => i + 1)));
  const [first] = announcedPorts(greeting);
  assert(first && first === announcedPorts(greeting)[0]);
});

/** Whether an announcement is cut at the end of a greeting. Each character is one byte. */
function isCut(greeting: string): boolean {
  return isAnnouncementCut(Uint8Array.from(greeting, (character) => character.charCodeAt(0)));
}

Deno.test("isAnnouncementCut() is true for each beginning of an announcement, but neither for nothing nor for all of it", () => {
  const line = formatAnnouncement([22, 80, 81, 82]);
  for (const before of ["", "hello\n", "hello\r\n", "\n", line]) {
    for (let length = 0; length <= line.length; length++) {
      const isPart = length > 0 && length < line.length;
      assertEquals(isCut(before + line.slice(0, length)), isPart, JSON.stringify(before + line.slice(0, length)));
    }
  }
});

Deno.test("isAnnouncementCut() is false for a last line that cannot become an announcement", () => {
  for (
    const text of [
      "login: ",
      "hello",
      "hello\ngreeter listens on x",
      "hello greeter listens on 80",
      "\rgreeter listens on 80",
      "greeter listens on 80 ",
      "greeter listens on 80\r\r",
      "greeter listens on 80\r\nlogin: ",
      "greeter listens on 80\rx",
      "greeter  listens",
      "Greeter",
      "greeter listens on\xa080",
    ]
  ) assertEquals(isCut(text), false, JSON.stringify(text));
});
