/**
 * The exit statuses, which are a stable interface.
 *
 * @module
 */

/** The server did what it was asked to do, or each port is as expected. */
export const SUCCESS = 0;
/** A port has not greeted `--count` clients, or a port is not as expected. */
export const FAILURE = 1;
/** An error, which is not a result. */
export const ERROR = 2;

/** The exit statuses that shells report for a process that was ended by a signal. */
export const SIGNAL_STATUS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143, SIGBREAK: 149 } as const;

/** What the exit statuses mean for each command, for the manual. */
export const EXIT_STATUSES: readonly { statuses: readonly number[]; serve: string; connect: string }[] = [
  {
    statuses: [SUCCESS],
    serve: "stopped by a signal or `--within`, or each port reached `--count`",
    connect: "each port passes",
  },
  {
    statuses: [FAILURE],
    serve: "stopped by a signal or `--within` before each port reached `--count`",
    connect: "a port failed or was not judged",
  },
  {
    statuses: [ERROR],
    serve: "an error, such as an invalid command line or a port that is in use",
    connect: "an error instead of a result, such as an unknown host",
  },
  {
    statuses: [SIGNAL_STATUS.SIGINT, SIGNAL_STATUS.SIGTERM],
    serve: "stopped at once by a second SIGINT or SIGTERM",
    connect: "stopped by SIGINT or SIGTERM",
  },
  {
    statuses: [SIGNAL_STATUS.SIGBREAK],
    serve: "on Windows, stopped at once by a second Ctrl-Break",
    connect: "on Windows, stopped by Ctrl-Break",
  },
  {
    statuses: [SIGNAL_STATUS.SIGHUP],
    serve: "stopped at once by a second SIGHUP",
    connect: "stopped by SIGHUP in a terminal",
  },
];
