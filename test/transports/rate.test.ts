/*
 * Goal: a rate lets in one second's worth at once, then evenly, whichever shard asks.
 * Method: two shards' views of one word, with a clock that the test moves.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { RATE_BYTES, Rate } from '../../src/transports/rate.ts';

test('a burst of one second, then one for each interval, for all shards together', () => {
  const shared = new SharedArrayBuffer(RATE_BYTES);
  const shards = [new Rate(shared, 3, 10), new Rate(shared, 3, 10)];
  const taken = (now: number): number => {
    let count = 0;
    while (shards[count % 2]!.take(now)) count++;
    return count;
  };
  const start = 1_700_000_000_000;
  assert.equal(taken(start), 10);
  assert.equal(taken(start + 99), 0);
  assert.equal(taken(start + 100), 1);
  assert.equal(taken(start + 350), 2);
  assert.equal(taken(start + 60_000), 10);
  assert.equal(taken(start + 60_500), 5);
});

test('one in a second, the highest rate, and none', () => {
  const shared = new SharedArrayBuffer(RATE_BYTES);
  const one = new Rate(shared, 0, 1);
  assert.deepEqual([one.take(5000), one.take(5000), one.take(5999), one.take(6000)], [true, false, false, true]);
  const million = new Rate(shared, 31, 1_000_000);
  for (let i = 0; i < 1000; i++) assert.ok(million.take(5000));
  const free = new Rate(shared, 1, 0);
  for (let i = 0; i < 1000; i++) assert.ok(free.take(0));
});
