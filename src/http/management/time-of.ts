/**
 * Times as the API tells them.
 */

const MINUTE = 60_000;
/** The minute of the last time, counted from the epoch, and its text up to the seconds. */
let lastMinute = -1;
let beginning = '';

/**
 * ISO 8601; null for 0, which is no time. A list has two times for each client, most of them of few minutes: only another minute is asked of `Date` (130 instead of 390 ns).
 * @param milliseconds of the wall clock
 */
export function timeOf(milliseconds: number): string | null {
  if (milliseconds === 0) return null;
  const minute = Math.floor(milliseconds / MINUTE);
  if (minute !== lastMinute) {
    lastMinute = minute;
    beginning = new Date(minute * MINUTE).toISOString().slice(0, -'00.000Z'.length);
  }
  return `${beginning}${(Math.floor(milliseconds - minute * MINUTE) / 1000).toFixed(3).padStart(6, '0')}Z`;
}
