import { assertEquals } from "@std/assert";
import { nearest, suggestPorts, suggestSeconds } from "./suggestions.ts";

const NAMES = ["port", "host", "http", "stdin", "timeout", "timestamps", "max-connections", "json", "help"];

Deno.test("nearest() finds words with a wrong, missing, additional or swapped letter", () => {
  for (
    const [typed, meant] of [
      ["prot", "port"],
      ["ports", "port"],
      ["por", "port"],
      ["hsot", "host"],
      ["JSON", "json"],
      ["hlep", "help"],
      ["timout", "timeout"],
      ["tiemout", "timeout"],
      ["time", "timeout"],
      ["hostname", "host"],
      ["max", "max-connections"],
      ["max-conections", "max-connections"],
      ["maxconnections", "max-connections"],
    ] as const
  ) assertEquals(nearest(typed, NAMES), meant, typed);
});

Deno.test("nearest() finds nothing if no word is close enough", () => {
  for (const typed of ["", "p", "ho", "test", "bogus", "verbose", "wait", "file", "first"]) {
    assertEquals(nearest(typed, NAMES), undefined, typed);
  }
});

Deno.test("suggestPorts() replaces names of services, and separators other than commas", () => {
  for (
    const [list, ports] of [
      ["ssh", "22"],
      ["HTTP,https", "80,443"],
      ["ftp,smtp,telnet,dns,pop3,imap", "21,25,23,53,110,143"],
      ["mysql,postgres,redis,rdp", "3306,5432,6379,3389"],
      ["80 443", "80,443"],
      ["80, 443;8080,", "80,443,8080"],
      ["80:90", "80-90"],
      ["80..90", "80-90"],
      ["90-80", "80-90"],
      ["ssh,90:80", "22,80-90"],
      ["-90", "1-90"],
      ["0-90", "1-90"],
    ] as const
  ) assertEquals(suggestPorts(list), ports);
});

Deno.test("suggestPorts() suggests nothing for a list that stays invalid", () => {
  for (const list of ["", ",", "lab", "ssh,lab", "65536", "65536-80", "0-0", "constructor", "80:"]) {
    assertEquals(suggestPorts(list), undefined, list);
  }
});

Deno.test("suggestSeconds() converts units to seconds", () => {
  for (
    const [text, seconds] of [
      ["5s", 5],
      ["10m", 600],
      ["1.5h", 5400],
      ["250ms", 0.25],
      ["1h 30min", 5400],
      [
        "10 SEC",
        10,
      ],
      ["0,5", 0.5],
      ["1.1m", 66],
    ] as const
  ) assertEquals(suggestSeconds(text), seconds);
  for (const text of ["", "s", "5x", "5", "five", "-5s", "5s!", "1,000,000"]) {
    assertEquals(suggestSeconds(text), undefined, text);
  }
});
