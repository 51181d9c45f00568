/**
 * The client's progress on standard error: a line that is updated on a terminal, and otherwise a line every 10 s while
 * ports are tried again, and one if a lookup takes long.
 *
 * @module
 */
import { type Check, type Expectation, EXPECTATIONS, type PassProgress, type ProbeResult } from "../../client.ts";
import { columnsOf, plural } from "../text.ts";
import type { HostCheck } from "./host_checks.ts";
import { HostMap } from "./host_map.ts";
import { formatPortsOfHosts } from "./lines.ts";
import { portCount } from "./summary.ts";

/** How long to wait before showing the line on a terminal, in milliseconds. A short run does not need it. */
const DELAY_MS = 500;

/** How often the line on a terminal is updated, in milliseconds. */
const INTERVAL_MS = 100;

/** How often a line is printed if standard error is not a terminal, in milliseconds. */
const LINE_INTERVAL_MS = 10_000;

/** When a line names the hosts that are still looked up if standard error is not a terminal, in milliseconds. */
const LOOKUP_LINE_MS = 5000;

const ERASE_LINE = "\r\u001b[K";

/** What is printed for each expectation after the ports that are waited for. */
const EXPECTED_TO: Readonly<Record<Expectation, string>> = {
  greeted: "to greet",
  open: "to be open",
  blocked: "to be blocked",
};

/** A pass over the blocked ports of a host: how many connections are left, or when the next one begins. */
interface Pass {
  pass: number;
  left: number | undefined;
  next: number | undefined;
}

/** The progress of a host. */
interface HostProgress {
  readonly check: HostCheck;
  isResolved: boolean;
  /** Whether the latest attempt at each port that has been tried was as expected. */
  readonly attempts: Map<number, boolean>;
  /** The latest pass, unless it was the last one. */
  pass: Pass | undefined;
}

/** The progress of a run. */
export class Progress {
  readonly #hosts: HostMap<HostProgress>;
  /** How many ports there are, and how many of them must be greeted or open. */
  readonly #count: number;
  readonly #requiredCount: number;
  #okCount = 0;
  /** How many ports with each expectation have been tried. */
  readonly #tried: Record<Expectation, number> = { greeted: 0, open: 0, blocked: 0 };
  #timer: ReturnType<typeof setInterval> | undefined;
  #lookupTimer: ReturnType<typeof setTimeout> | undefined;
  #writing: Promise<unknown> | undefined;
  #isShown = false;

  /** What is checked on each host. */
  constructor(checks: readonly HostCheck[]) {
    this.#hosts = new HostMap(checks, (check) => ({ check, isResolved: false, attempts: new Map(), pass: undefined }));
    const countOf = (ports: (check: HostCheck) => number) => checks.reduce((sum, check) => sum + ports(check), 0);
    this.#count = countOf(portCount);
    this.#requiredCount = countOf(({ greeted, open }) => greeted.length + open.length);
  }

  /** Shows and updates the line on standard error, which must be a terminal, after a delay. */
  startOnTerminal() {
    const started = performance.now();
    this.#timer = setInterval(() => {
      if (performance.now() - started >= DELAY_MS) this.#draw();
    }, INTERVAL_MS);
  }

  /** Prints a line to standard error if a lookup takes long. If ports are tried again, also prints one every 10 s. */
  startLines(isRetrying: boolean) {
    this.#lookupTimer = setTimeout(() => {
      if (this.#unresolved.length > 0) this.#write(`greeter: ${this.#lookups()}\n`);
    }, LOOKUP_LINE_MS);
    if (isRetrying) this.#timer = setInterval(() => this.#write(`greeter: ${this.text()}\n`), LINE_INTERVAL_MS);
  }

  /** Records that the lookup of a host has ended. */
  resolved(hostname: string, family: Check["family"]) {
    const host = this.#hosts.get(hostname, family);
    if (host) host.isResolved = true;
  }

  /** Counts the result of an attempt, which may replace an earlier one. */
  add(result: ProbeResult) {
    const { expected, ok, remoteAddr: { port } } = result;
    const attempts = this.#hosts.of(result)?.attempts;
    const wasOk = attempts?.get(port);
    if (wasOk === undefined) this.#tried[expected]++;
    this.#okCount += Number(ok) - Number(wasOk ?? false);
    attempts?.set(port, ok === true);
  }

  /** Records how far a pass over the blocked ports of a host is. */
  addPass({ host: hostname, family, pass, left, pause }: PassProgress) {
    const host = this.#hosts.get(hostname, family);
    const next = pause === undefined ? undefined : performance.now() + pause;
    if (host) host.pass = left !== undefined || next !== undefined ? { pass, left, next } : undefined;
  }

  /** Returns the text of the line. */
  text(): string {
    const { greeted, open: opened, blocked } = this.#tried;
    const tried = greeted + opened + blocked;
    if (this.#unresolved.length === this.#hosts.size) return this.#lookups();
    // Ports that must be blocked are tried only after all others.
    const isWaiting = greeted + opened === this.#requiredCount && this.#okCount < tried;
    const passes = this.#hosts.values().flatMap(({ pass }) => pass ?? []);
    const parts = passes.length > 0
      ? this.#passParts(passes)
      : isWaiting
      ? [`waiting for ${this.#pending()}`]
      : [`checked ${tried} of ${plural(this.#count, "port")}, ${this.#okCount} as expected`];
    if (this.#unresolved.length > 0) parts.push(this.#lookups());
    return parts.join("; ");
  }

  /** Says which pass it is and how many connections are left, or what is waited for until the next pass begins. */
  #passParts(passes: readonly Pass[]): string[] {
    const number = Math.max(...passes.map(({ pass }) => pass));
    const isRunning = passes.some(({ left }) => left !== undefined);
    const left = passes.reduce((sum, { left = 0 }) => sum + left, 0);
    if (isRunning) return [`pass ${number} over the blocked ports: ${plural(left, "connection")} left`];
    const seconds = Math.ceil((Math.min(...passes.map(({ next = Infinity }) => next)) - performance.now()) / 1000);
    const begins = `begins in ${Math.max(seconds, 0)}s`;
    const pending = this.#pending();
    // No port is pending if none was reached, but the pass has not proven that.
    if (pending === "") return [`pass ${number + 1} over the blocked ports ${begins}`];
    return [`waiting for ${pending}`, `pass ${number + 1} ${begins}`];
  }

  /** The hosts that are being looked up. */
  get #unresolved(): string[] {
    return this.#hosts.values().filter(({ isResolved }) => !isResolved).map(({ check }) => check.hostname);
  }

  #lookups(): string {
    return `looking up ${[...new Set(this.#unresolved)].join(", ")}`;
  }

  /** Lists the ports whose latest attempt was not as expected. */
  #pending(): string {
    const lists = EXPECTATIONS.map((expectation) => {
      const hosts = this.#hosts.values().map(({ check, attempts }) => ({
        host: check.hostname,
        ports: check[expectation].filter((port) => attempts.get(port) === false),
      }));
      const count = hosts.reduce((sum, { ports }) => sum + ports.length, 0);
      if (count === 0) return "";
      // `web1:22` is a port for every reader, but `22` could be a number of ports.
      const noun = hosts.length > 1 ? "" : count === 1 ? "port " : "ports ";
      return `${noun}${formatPortsOfHosts(hosts)} ${EXPECTED_TO[expectation]}`;
    });
    return lists.filter((list) => list !== "").join(", ");
  }

  /** Erases the line on a terminal, and prints no further line. */
  async stop() {
    clearInterval(this.#timer);
    clearTimeout(this.#lookupTimer);
    await this.#writing;
    if (this.#isShown) await write(ERASE_LINE);
    this.#isShown = false;
  }

  #draw() {
    this.#isShown = true;
    this.#write(ERASE_LINE + this.text().slice(0, columnsOf(Deno.stderr) - 1));
  }

  #write(text: string) {
    // The previous line is still being written. A terminal can be slow, or stopped with Ctrl-S.
    if (this.#writing) return;
    this.#writing = write(text).finally(() => this.#writing = undefined);
  }
}

async function write(text: string) {
  try {
    await Deno.stderr.write(new TextEncoder().encode(text));
  } catch {
    // The terminal has been closed. The results may go to a file.
  }
}
