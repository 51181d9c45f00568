/**
 * The client's progress line on a terminal.
 *
 * @module
 */
import type { ProbeResult } from "../../client.ts";
import { formatPorts } from "../ports.ts";
import { plural } from "../text.ts";

/** How long to wait before showing the line, in milliseconds. A short run does not need it. */
const DELAY_MS = 500;

/** How often the line is updated, in milliseconds. */
const INTERVAL_MS = 100;

const ERASE_LINE = "\r\u001b[K";

/** The progress of a run. {@linkcode Progress.start} shows it on standard error, which must be a terminal. */
export class Progress {
  readonly #total: number;
  readonly #greeted = new Set<number>();
  /** The ports that have been tried, but not greeted yet. */
  readonly #pending = new Set<number>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #writing: Promise<unknown> | undefined;
  #isShown = false;

  /** `total` is how many ports are checked. */
  constructor(total: number) {
    this.#total = total;
  }

  /** Shows and updates the line, after a delay. */
  start() {
    const started = performance.now();
    this.#timer = setInterval(() => {
      if (performance.now() - started >= DELAY_MS) this.#draw();
    }, INTERVAL_MS);
  }

  /** Counts a result, which may replace an earlier one. */
  add({ state, remoteAddr: { port } }: ProbeResult) {
    if (state !== "greeted") this.#pending.add(port);
    else {
      this.#pending.delete(port);
      this.#greeted.add(port);
    }
  }

  /** Returns the text of the line. */
  text(): string {
    const checked = this.#greeted.size + this.#pending.size;
    if (checked < this.#total) {
      return `checked ${checked} of ${plural(this.#total, "port")}, ${this.#greeted.size} greeted`;
    }
    return `waiting for ${plural(this.#pending.size, "port")}: ${formatPorts(this.#pending)}`;
  }

  /** Erases the line. */
  async stop() {
    clearInterval(this.#timer);
    await this.#writing;
    if (this.#isShown) await write(ERASE_LINE);
    this.#isShown = false;
  }

  #draw() {
    // The previous line is still being written. A terminal can be slow, or stopped with Ctrl-S.
    if (this.#writing) return;
    this.#isShown = true;
    const line = ERASE_LINE + this.text().slice(0, columns() - 1);
    this.#writing = write(line).finally(() => this.#writing = undefined);
  }
}

async function write(text: string) {
  try {
    await Deno.stderr.write(new TextEncoder().encode(text));
  } catch {
    // The terminal has been closed. The results may go to a file.
  }
}

/** The width of the terminal. */
function columns(): number {
  try {
    // A terminal whose size is not known has 0 columns.
    return Deno.consoleSize().columns || 80;
  } catch {
    return 80; // no standard stream is a terminal
  }
}
