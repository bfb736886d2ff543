/**
 * Waiting in tests for what comes by itself: it is asked again and again, and not for ever.
 */
import assert from 'node:assert/strict';

const MILLISECONDS_MAX = 20_000;

/** Asks until it holds. @param what for the failure: what did not come */
export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + MILLISECONDS_MAX;
  while (!(await holds())) {
    assert.ok(Date.now() < end, `${what}: not within ${MILLISECONDS_MAX / 1000} s`);
    // Else what is looked at could not change where the question needs no answer from elsewhere.
    await new Promise((resolve) => setImmediate(resolve));
  }
}
