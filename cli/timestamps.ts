/**
 * The current time as text. Many events share a millisecond, so each format is computed only once per millisecond.
 *
 * @module
 */

/** The time in UTC, in ISO 8601 format. Formatting it for each event would cost 3 µs per connection. */
export const utcTimestamp: () => string = oncePerMillisecond((date) => date.toISOString());

/** The local date and time. Formatting it costs more than a greeting. */
export const localTimestamp: () => string = oncePerMillisecond((date) => {
  // Swedish dates have this form: 2026-11-24 17:30:39.
  return `${date.toLocaleString("sv-SE")}.${`${date.getMilliseconds()}`.padStart(3, "0")}`;
});

function oncePerMillisecond(format: (date: Date) => string): () => string {
  let latest = { time: NaN, text: "" };
  return () => {
    const time = Date.now();
    if (time !== latest.time) latest = { time, text: format(new Date(time)) };
    return latest.text;
  };
}
