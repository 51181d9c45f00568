/**
 * The scanners that are measured: `greeter connect`, and nmap.
 *
 * @module
 */
import { has, shortGreetingText } from "../processes/programs.ts";
import type { Scan } from "../results.ts";
import type { Greeter } from "./servers.ts";

/** A program that scans ports of 127.0.0.1. */
export interface Scanner {
  name: string;
  /** The command that scans a range of ports. */
  command(ports: string): readonly string[];
  /** Counts the ports in what it has printed. */
  count(output: string): Pick<Scan, "open" | "silent">;
}

/** greeter as a scanner. It compares every greeting. */
export function greeterScanner({ name, run }: Greeter): Scanner {
  return {
    name: name.replace("greeter", "greeter connect"),
    command: (ports) => [...run, "connect", "127.0.0.1", "--port", ports, "--expect", shortGreetingText],
    count(output) {
      const [, open = 0] = output.match(/^(\d+) of \d+ ports as expected/m) ?? [];
      const silent = [...output.matchAll(/^(\d+)(?:-(\d+))? +timeout/gm)]
        .reduce((sum, [, first, last = first]) => sum + Number(last) - Number(first) + 1, 0);
      return { open: Number(open), silent };
    },
  };
}

/** nmap, which only connects, and nmap with the script that reads greetings. Adds to `leftOut` if it is missing. */
export function findNmap(leftOut: string[]): Scanner[] {
  if (!has("nmap")) {
    leftOut.push("port scans by nmap: there is no nmap");
    return [];
  }
  const scan = (ports: string) => ["nmap", "-sT", "-T5", "-n", "-Pn", "-oX", "-", "-p", ports, "127.0.0.1"];
  const countMatches = (output: string, pattern: RegExp) => [...output.matchAll(pattern)].length;
  // nmap lists a few ports in the same state one by one, and only counts many.
  const silent = (output: string) =>
    [...output.matchAll(/<extraports state="filtered" count="(\d+)"/g)]
      .reduce((sum, [, count]) => sum + Number(count), countMatches(output, /<state state="filtered"/g));
  return [
    {
      name: "nmap -sT -T5 (only connects)",
      command: scan,
      count: (output) => ({ open: countMatches(output, /<state state="open"/g), silent: silent(output) }),
    },
    {
      name: "nmap -sT -T5 --script banner",
      command: (ports) => [...scan(ports), "--script", "banner"],
      count: (output) => ({
        open: countMatches(output, new RegExp(`<script id="banner" output="${RegExp.escape(shortGreetingText)}`, "g")),
        silent: silent(output),
      }),
    },
  ];
}
