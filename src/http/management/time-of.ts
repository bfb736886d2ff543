/**
 * Times as the API tells them.
 */

const DAY = 86_400_000;
/** The day of the last time, counted from the epoch, and its text up to the hour. */
let lastDay = -1;
let beginning = '';

/**
 * ISO 8601; null for 0, which is no time. A list has two times for each client, most of them of few days: only another day is asked of `Date` (150 instead of 390 ns).
 * @param milliseconds of the wall clock
 * @throws RangeError beyond what `Date` has
 */
export function timeOf(milliseconds: number): string | null {
  if (milliseconds === 0) return null;
  const day = Math.floor(milliseconds / DAY);
  if (day !== lastDay) {
    beginning = new Date(day * DAY).toISOString().slice(0, -'00:00:00.000Z'.length);
    lastDay = day;
  }
  const rest = Math.floor(milliseconds - day * DAY);
  const seconds = Math.floor(rest / 1000);
  const minutes = Math.floor(seconds / 60);
  return `${beginning}${twoDigits(Math.floor(minutes / 60))}:${twoDigits(minutes % 60)}:${twoDigits(seconds % 60)}.${threeDigits(rest % 1000)}Z`;
}

function twoDigits(value: number): string {
  return value < 10 ? `0${value}` : `${value}`;
}

function threeDigits(value: number): string {
  return value < 10 ? `00${value}` : value < 100 ? `0${value}` : `${value}`;
}
