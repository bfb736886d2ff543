/**
 * Goal: times are what `Date` says, whichever minute came before.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { timeOf } from '../../src/http/management/time-of.ts';
import { Random } from '../routing/random-topics.ts';

test('times are those of Date', () => {
  const random = new Random('time-of');
  assert.equal(timeOf(0), null);
  const minute = Date.UTC(2026, 10, 30, 23, 59);
  const times = [1, minute - 1, minute, minute + 59_999, minute + 59_999.9, minute + 60_000, Date.UTC(1999, 0, 1), Date.UTC(12_000, 1, 29)];
  for (let i = 0; i < 1000; i++) times.push(minute + random.next(200_000));
  // What Date does not have leaves nothing behind.
  assert.throws(() => timeOf(9e15), RangeError);
  assert.throws(() => timeOf(9e15), RangeError);
  for (const time of times) assert.equal(timeOf(time), new Date(time).toISOString());
});
