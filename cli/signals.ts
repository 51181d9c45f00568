/**
 * The signals that stop a command, and its exit status then.
 *
 * @module
 */
import { SIGNAL_STATUS } from "./exit_status.ts";

/**
 * A signal within this time after the first one is a copy of it, in milliseconds. A terminal sends Ctrl-C to all
 * processes in it, and some parents, such as `deno task`, forward it as well.
 */
const DUPLICATE_SIGNAL_MS = 100;

/**
 * Returns a controller that the first signal aborts, with its exit status as the reason. A second signal ends the process
 * at once with its status.
 *
 * Call this first: as process 1, Deno 2.9 crashes on a signal without a listener. It also adds its own listener for SIGUSR1
 * 500 ms after the start, and panics if that is the first one and no descriptor is left.
 */
export function stopOnSignals(): AbortController {
  const stop = new AbortController();
  let first: number | undefined;
  for (const signal of stopSignals()) {
    Deno.addSignalListener(signal, () => {
      first ??= performance.now();
      stop.abort(SIGNAL_STATUS[signal]);
      if (performance.now() - first >= DUPLICATE_SIGNAL_MS) Deno.exit(SIGNAL_STATUS[signal]);
    });
  }
  return stop;
}

/**
 * Returns the signals that stop greeter. They include SIGHUP if greeter runs in a terminal, where it means that the
 * terminal has been closed. Otherwise, ignores SIGHUP, so that `nohup` works: the first listener for any signal makes
 * Deno handle SIGHUP, which nohup had set to be ignored.
 */
function stopSignals(): readonly (keyof typeof SIGNAL_STATUS)[] {
  if (Deno.build.os === "windows") return ["SIGINT", "SIGBREAK"]; // instead of SIGTERM
  // Checked at the start, because a terminal that has been closed no longer counts as one.
  if ([Deno.stdin, Deno.stdout, Deno.stderr].some((stream) => stream.isTerminal())) {
    return ["SIGINT", "SIGTERM", "SIGHUP"];
  }
  Deno.addSignalListener("SIGHUP", () => {});
  return ["SIGINT", "SIGTERM"];
}
