/**
 * Scanners of a range of ports on which greeter listens.
 *
 * @module
 */
import type { Scanner } from "../peers/scanners.ts";
import { greeterServer, thisGreeter } from "../peers/servers.ts";
import { createNetwork } from "../processes/network.ts";
import { freeRange } from "../processes/ports.ts";
import { start } from "../processes/server.ts";
import { measureCommand } from "../processes/usage.ts";
import { byKey, medianScan, type Scan, type ScanResult } from "../results.ts";
import type { Extent } from "./extent.ts";

async function scan({ name, command, count }: Scanner, ports: string, enter?: readonly string[]): Promise<Scan> {
  const { stdout, stderr, ...used } = await measureCommand(command(ports), enter);
  const counted = count(stdout);
  if (counted.open === 0) throw new Error(`${name} has found no open port: ${stderr || stdout.slice(0, 200)}`);
  return { ...used, ...counted };
}

/**
 * Scans ports that are all open or, if `dropped` is not 0, a range in the middle of which a firewall drops packets. The
 * firewall is in a network namespace, so that it does not affect the machine.
 */
export async function measureScans(scanners: Scanner[], extent: Extent, dropped: number): Promise<ScanResult> {
  const { rounds, scanned } = extent;
  const first = freeRange(scanned);
  const firstDropped = first + Math.floor((scanned - dropped) / 2);
  await using network = dropped > 0 ? await createNetwork(firstDropped, firstDropped + dropped - 1) : undefined;
  const enter = network?.enter;
  const ports = `${first}-${first + scanned - 1}`;
  const done: Record<string, Scan>[] = [];
  for (let round = 1; round <= rounds; round++) {
    const scans: Record<string, Scan> = {};
    for (const scanner of scanners) {
      console.error(`round ${round} of ${rounds}: ${scanner.name}, ${dropped} of ${scanned} ports dropped`);
      await using server = await start(greeterServer(thisGreeter).command, { ports, enter });
      scans[scanner.name] = await scan(scanner, ports, enter);
      if (!server.alive()) throw new Error(`greeter has not survived ${scanner.name}`);
    }
    done.push(scans);
  }
  return { ports: scanned, dropped, scans: byKey(done, medianScan) };
}
