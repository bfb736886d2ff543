/**
 * Samples are levels, rates and times of the last interval, in a ring of one hour that forgets what is older. Histograms are told by their buckets.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Samples } from '../../src/server/samples.ts';
import { counter, countersBytes, countersRow } from '../../src/shard/counters.ts';
import { bucketEnd, bucketOf, Measures, MeasuresReader, measuresBytes, quantile } from '../../src/shard/measures.ts';

test('a time is in the bucket that ends just behind it', () => {
  for (const time of [0, 1, 3, 4, 7, 8, 9, 10, 15, 16, 1000, 123_456, 999_999, 2 ** 29, 2 ** 30 - 1]) {
    const bucket = bucketOf(time);
    assert.ok(time < bucketEnd(bucket), `${time} is before the end`);
    assert.ok(bucket === 0 || time >= bucketEnd(bucket - 1), `${time} is not before the beginning`);
    assert.ok(bucketEnd(bucket) - time <= Math.max(1, time / 4), `${time} is told to a quarter`);
  }
});

test('a distribution is read from all rows, or from one', () => {
  const shared = new SharedArrayBuffer(measuresBytes(2));
  const [first, second] = [new Measures(shared, 0), new Measures(shared, 1)];
  first.turn.add(100);
  second.turn.add(10_000, 3);
  second.turn.add(-5);
  second.turn.add(2 ** 40);
  const reader = new MeasuresReader(shared, 2);
  const all = reader.distribution('turn', -1);
  assert.equal(all.count, 6);
  assert.equal(reader.distribution('turn', 0).count, 1);
  assert.equal(reader.distribution('turn', 0).sumMicroseconds, 100);
  assert.equal(reader.distribution('commit', -1).count, 0);
  assert.equal(quantile(all, 0.5, null), bucketEnd(bucketOf(10_000)));
  assert.equal(quantile(all, 0.5, all), null);
  assert.equal(quantile(reader.distribution('turn', 0), 0.99, null), bucketEnd(bucketOf(100)));
});

test('levels are summed, rates are per second, times are of the interval, and an hour is kept', () => {
  const counters = new SharedArrayBuffer(countersBytes(2));
  const measures = new SharedArrayBuffer(measuresBytes(2));
  const rows = [countersRow(counters, 0), countersRow(counters, 1)];
  const samples = new Samples(counters, measures, 2);
  const times = new Measures(measures, 1);
  times.commit.add(2000);
  for (const row of rows) {
    row[counter('clients/connected')] = 5;
    row[counter('publish/received')] = 1000;
  }
  samples.take();
  samples.take();
  const { series } = samples.answer(3600);
  assert.deepEqual(series['clientsConnected'], [10, 10]);
  assert.ok(series['publishReceivedPerSecond']![0]! > 2000, 'all came in a moment');
  assert.equal(series['publishReceivedPerSecond']![1], 0);
  assert.deepEqual(series['commitP99Milliseconds'], [bucketEnd(bucketOf(2000)) / 1000, null]);
  for (let i = 0; i < 800; i++) {
    rows[0]![counter('clients/connected')] = i;
    samples.take();
  }
  const hour = samples.answer(3600).series['clientsConnected']!;
  assert.equal(hour.length, 720);
  assert.equal(hour[0], 80 + 5);
  assert.equal(hour.at(-1), 799 + 5);
  assert.deepEqual(samples.answer(11).series['clientsConnected'], [802, 803, 804]);
});
