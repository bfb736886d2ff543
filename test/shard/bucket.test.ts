/*
 * Goal: a bucket lets through its rate and its burst and never more; large packets pass and are paid for; QoS 0 leaves the reserve; and what several shards share goes to
 * where the demand is, while all together stay within the limit.
 * Method: buckets on a clock of the test, one millisecond at a time; for shared ones seeded demand that wanders from shard to shard, and the sum over every span of time.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import test from 'node:test';
import { Bucket, Limit, Pool } from '../../src/shard/bucket.ts';
import { Random } from '../sim/random.ts';

const BEGIN = 1_700_000_000_000;

/** How many of `tries` pass at one moment. */
function pass(bucket: Bucket, now: number, tries: number, isLow = false, cost = 1): number {
  let passed = 0;
  for (let i = 0; i < tries && bucket.has(now, isLow); i++) {
    bucket.spend(cost);
    passed++;
  }
  return passed;
}

function pool(): () => Pool {
  const words = new BigInt64Array(new SharedArrayBuffer(8));
  return () => new Pool(words, 0);
}

function sharing(perSecond: number, burst: number, shards: number, now = BEGIN): Bucket[] {
  const next = pool();
  return Array.from({ length: shards }, () => new Bucket(new Limit({ perSecond, burst }, next(), shards), now));
}

test('the burst at once, then the rate, and never more than the burst', () => {
  const bucket = new Bucket(new Limit({ perSecond: 100, burst: 50 }, null, 4), BEGIN);
  assert.equal(pass(bucket, BEGIN, 1000), 50);
  assert.equal(pass(bucket, BEGIN + 100, 1000), 10);
  assert.equal(pass(bucket, BEGIN + 105, 1000), 1, 'half a message is there, and may be spent');
  assert.equal(pass(bucket, BEGIN + 110, 1000), 0, 'and is paid back');
  assert.equal(pass(bucket, BEGIN + 3_600_000, 1000), 50);
});

test('a packet larger than the burst passes, is paid for, and keeps nobody waiting for more than a minute', () => {
  const bucket = new Bucket(new Limit({ perSecond: 1000, burst: 1000 }, null, 1), BEGIN);
  assert.equal(pass(bucket, BEGIN, 9, false, 31_000), 1);
  assert.equal(pass(bucket, BEGIN + 30_000, 9, false, 1), 0);
  assert.equal(pass(bucket, BEGIN + 30_001, 9, false, 1_000_000_000), 1);
  assert.equal(pass(bucket, BEGIN + 90_001, 9), 0);
  assert.equal(pass(bucket, BEGIN + 90_002, 9), 1);
});

test('a clock that is set back brings nothing', () => {
  const bucket = new Bucket(new Limit({ perSecond: 1000, burst: 10 }, null, 1), BEGIN);
  assert.equal(pass(bucket, BEGIN, 99), 10);
  assert.equal(pass(bucket, BEGIN - 60_000, 99), 0);
  assert.equal(pass(bucket, BEGIN - 59_999, 99), 1);
});

test('low messages leave a quarter of the burst to the others', () => {
  const bucket = new Bucket(new Limit({ perSecond: 10, burst: 100 }, null, 1), BEGIN);
  assert.equal(pass(bucket, BEGIN, 1000, true), 75);
  assert.equal(pass(bucket, BEGIN, 1000, false), 25);
  // What the others have taken comes back first.
  assert.equal(pass(bucket, BEGIN + 2500, 1000, true), 0);
  assert.equal(pass(bucket, BEGIN + 2600, 1000, true), 1);
});

for (const shards of [1, 2, 4]) {
  test(`${shards} sharing: in no span of time do all together pass more than the limit`, (t) => {
    const seed = randomInt(2 ** 31);
    t.diagnostic(`seed ${seed}`);
    const random = new Random(seed);
    const [perSecond, burst] = [2000, 1000];
    const buckets = sharing(perSecond, burst, shards);
    const passed: number[] = [0];
    let busy = 0;
    for (let ms = 1; ms <= 6000; ms++) {
      if (random.below(40) === 0) busy = random.below(shards);
      let sum = 0;
      for (let shard = 0; shard < shards; shard++) {
        // A shard looks at the clock once a turn: it may be behind another.
        const now = BEGIN + ms - (shard % 3);
        sum += pass(buckets[shard]!, now, shard === busy ? 40 : random.below(3), random.below(4) === 0);
      }
      passed.push(passed.at(-1)! + sum);
    }
    for (let from = 0; from < passed.length; from += 7) {
      for (let to = from + 1; to < passed.length; to += 13) {
        const bound = ((to - from + 3) * perSecond) / 1000 + burst + shards;
        const sum = passed[to]! - passed[from]!;
        assert.ok(sum <= bound, `${sum} passed in ${to - from} ms, the bound is ${bound}`);
      }
    }
    // And the limit is used: the load is above it all the time.
    assert.ok(passed.at(-1)! >= 0.9 * 6 * perSecond, `${passed.at(-1)} passed`);
  });
}

test('one busy shard of four has nearly all, and another has it when the load moves there', () => {
  const buckets = sharing(1000, 1000, 4);
  for (const busy of [0, 3]) {
    const begin = BEGIN + busy * 100_000;
    for (let ms = 0; ms < 2000; ms++) pass(buckets[busy]!, begin + ms, 100);
    let passed = 0;
    for (let ms = 2000; ms < 4000; ms++) passed += pass(buckets[busy]!, begin + ms, 100);
    assert.ok(passed >= 0.9 * 2000, `shard ${busy}: ${passed} in two seconds`);
  }
});

test('a flood on one shard leaves the part of another alone', () => {
  const [flooded, calm] = sharing(1000, 1000, 2) as [Bucket, Bucket];
  let passed = 0;
  for (let ms = 0; ms < 4000; ms++) {
    pass(flooded, BEGIN + ms, 100);
    // One in 25 ms is below a twentieth of the limit.
    if (ms % 25 === 0) passed += pass(calm, BEGIN + ms, 1);
  }
  assert.equal(passed, 160);
});

test('a flood of low messages on all shards leaves the others room on each', () => {
  const buckets = sharing(1000, 1000, 4);
  let passed = 0;
  for (let ms = 0; ms < 4000; ms++) {
    for (const bucket of buckets) pass(bucket, BEGIN + ms, 20, true);
    // 800 in a second: nearly the whole limit.
    if (ms % 5 === 0) for (const bucket of buckets) passed += pass(bucket, BEGIN + ms, 1);
  }
  assert.equal(passed, 3200);
});

test('what a dead shard had taken is back as fast as time brings it', () => {
  const next = pool();
  const make = (now: number): Bucket => new Bucket(new Limit({ perSecond: 1000, burst: 500 }, next(), 2), now);
  const [lasting, dying] = [make(BEGIN), make(BEGIN)] as const;
  let passed = pass(dying, BEGIN, 1);
  const successor = make(BEGIN);
  passed += pass(successor, BEGIN, 9999) + pass(lasting, BEGIN, 9999);
  assert.ok(passed <= 500 + 3, `${passed} passed at once, over a restart`);
  let later = 0;
  for (let ms = 1; ms <= 1000; ms++) later += pass(successor, BEGIN + ms, 100);
  assert.ok(later >= 940, `${later} in the second after it`);
});

test('a debt does not go with the bucket of a shard', () => {
  const next = pool();
  const first = new Bucket(new Limit({ perSecond: 1000, burst: 1000 }, next(), 1), BEGIN);
  assert.equal(pass(first, BEGIN, 9, false, 5000), 1);
  first.close(BEGIN);
  const second = new Bucket(new Limit({ perSecond: 1000, burst: 1000 }, next(), 1), BEGIN);
  let passed = 0;
  for (let ms = 1; ms <= 4000; ms++) passed += pass(second, BEGIN + ms, 1000);
  assert.ok(passed <= 401, `${passed} passed while the debt is paid, by the own part of the shard`);
  for (let ms = 4001; ms <= 6000; ms++) passed += pass(second, BEGIN + ms, 1000);
  assert.ok(passed >= 1400, `${passed} passed when it has been paid`);
});
