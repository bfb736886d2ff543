/*
 * Goal: so many lines in a second, and in the next one again.
 * Method: a clock that the test says.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { LineRate } from '../../src/base/line-rate.ts';

test('so many lines in each second', () => {
  const rate = new LineRate(3);
  const taken = [1000, 1000, 1500, 1999, 1999, 2000, 2001, 2002, 2003, 9000].map((now) => rate.take(now));
  assert.deepEqual(taken, [true, true, true, false, false, true, true, true, false, true]);
});
