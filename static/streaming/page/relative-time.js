/** Times relative to now. */

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const dates = new Intl.DateTimeFormat("en", { dateStyle: "medium" });
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/**
 * Format a time as "5 minutes ago", "yesterday" or "Nov 3, 2026".
 *
 * @param {Date} time
 * @param {number} [now]
 */
export function relativeTime(time, now = Date.now()) {
  const ms = now - time.getTime();
  if (ms < MINUTE) return "just now";
  if (ms < HOUR) return relative.format(-Math.floor(ms / MINUTE), "minute");
  if (ms < DAY) return relative.format(-Math.floor(ms / HOUR), "hour");
  if (ms < 7 * DAY) return relative.format(-Math.floor(ms / DAY), "day");
  return dates.format(time);
}
