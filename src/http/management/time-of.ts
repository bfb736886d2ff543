/**
 * Times as the API tells them.
 */

/** ISO 8601; null for 0, which is no time. @param milliseconds of the wall clock */
export function timeOf(milliseconds: number): string | null {
  return milliseconds === 0 ? null : new Date(milliseconds).toISOString();
}
