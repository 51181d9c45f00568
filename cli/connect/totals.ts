/**
 * Formats the last line of the client's results for people.
 *
 * @module
 */
import type { ProbeResult } from "../../client.ts";
import { plural } from "../text.ts";
import { formatPortsOfHosts } from "./lines.ts";
import { type HostSummary, isControlMissing, portCount, portsWith, type RunSummary } from "./summary.ts";

/** Formats the last line: how many ports are as expected, which are not, and what to know about them. */
export function formatTotals({ hosts, rate, duration, interrupted }: RunSummary): string {
  const results = hosts.flatMap(({ results }) => results);
  const total = hosts.reduce((sum, { check }) => sum + portCount(check), 0);
  const hint = hosts.every(isContentChecked) ? "" : " (content not checked; see --expect)";
  const seconds = (duration / 1000).toFixed(1);
  const parts = [`${portsWith(true, results).length} of ${plural(total, "port")} as expected${hint} in ${seconds}s`];
  const not = listPorts(hosts, false);
  if (not !== "") parts.push(`not: ${not}`);
  const notJudged = listPorts(hosts, null);
  if (notJudged !== "") parts.push(`not judged: ${notJudged}`);
  const unknown = total - results.length;
  if (interrupted) parts.push("interrupted");
  if (unknown > 0) parts.push(`${plural(unknown, "port")} without a result`);
  if (hosts.some(mayWaitForData)) parts.push("a silent server may wait for data; see --send and --open");
  return [...parts, ...blockedHints(hosts, rate)].join("; ");
}

/** Whether a text is expected from each port that must greet. */
function isContentChecked({ check: { hostname, greeted, expect } }: HostSummary): boolean {
  return greeted.every((port) => expect({ host: hostname, port }) !== undefined);
}

/** Whether nothing was sent to a port that is silent. */
function mayWaitForData({ check, results }: HostSummary): boolean {
  return results.some(({ host, state, remoteAddr: { port } }) =>
    state === "silent" && check.send({ host, port }) === undefined
  );
}

/** A pass that takes longer is mentioned, in milliseconds. */
const LONG_PASS_MS = 5000;

/** What to know about the blocked ports. */
function blockedHints(hosts: readonly HostSummary[], rate = Infinity): string[] {
  const hints: string[] = [];
  const longest = Math.max(...hosts.map(({ pass }) => pass?.duration ?? 0));
  if (longest > LONG_PASS_MS) hints.push(`the blocked ports took ${(longest / 1000).toFixed(1)}s`);
  const notTested = hosts.flatMap(({ pass }) => pass?.notTested ?? []);
  if (notTested.length > 0) hints.push(`not tested, because this machine has no route: ${notTested.join(", ")}`);
  const listening = hosts.filter((host) =>
    blockedOf(host).length > 0 && blockedOf(host).every((each) => each.listening)
  );
  if (listening.length > 0) {
    const lists = listening.map((host) => ({
      host: host.check.hostname,
      ports: blockedOf(host).map(({ remoteAddr }) => remoteAddr.port),
    }));
    hints.push(`the server listens on ${formatPortsOfHosts(lists, hosts.length)}`);
  }
  const blocked = hosts.flatMap(blockedOf);
  // The kernel limits ICMP errors, so some of the ports that a firewall rejects are not answered.
  const isOther = blocked.some(({ reason, state }) => reason === "other_state" && state === "timeout");
  if (isOther && blocked.some(({ state }) => state === "refused") && rate > 1) {
    hints.push("many firewalls reject only one connection a second; try --rate 1");
  }
  // A port that is not blocked proves that the host is up.
  if (hosts.some(({ check, results }) => isControlMissing(check) && results.every(({ ok }) => ok))) {
    const host = hosts.length === 1 ? "the host" : "a host";
    hints.push(`${host} may be down or limit connections; add a port that must be open with --open`);
  } else if (blocked.some(({ ok, state, listening }) => ok && state === "refused" && listening === null)) {
    hints.push("refused may mean that nothing listens; use --announce on the server, and -p here");
  }
  return hints;
}

/** The results of the ports that must be blocked. */
function blockedOf({ results }: HostSummary): ProbeResult[] {
  return results.filter(({ expected }) => expected === "blocked");
}

/** Lists the ports of all hosts whose `ok` has a value: `22,80-81`, or `web1:22,web2:80-81` for several hosts. */
function listPorts(hosts: readonly HostSummary[], ok: boolean | null): string {
  return formatPortsOfHosts(
    hosts.map(({ check, results }) => ({ host: check.hostname, ports: portsWith(ok, results) })),
  );
}
