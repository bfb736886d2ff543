/*
 * Goal: TopicCache never answers with another topic's or another version's entry, stays within entries and bytes, keeps topics in use
 * through a walk over many others, and takes in topics that come into use.
 * Method: random use against a plain map of what was last put; a walk over a million topics between uses of a few.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { hash32 } from '../../src/base/hash.ts';
import { TopicCache } from '../../src/routing/topic-cache.ts';
import { Random } from './random-topics.ts';

interface Entry {
  readonly version: number;
  readonly topic: string;
}

function get(cache: TopicCache<Entry>, topic: string, version: number): Entry | undefined {
  const bytes = Buffer.from(`.${topic}.`);
  return cache.get(bytes, 1, bytes.length - 1, hash32(bytes, 1, bytes.length - 1), version);
}

function put(cache: TopicCache<Entry>, topic: string, version: number, entryBytes = 100): boolean {
  const bytes = Buffer.from(`..${topic}`);
  const isIn = cache.put(bytes, 2, bytes.length, hash32(bytes, 2, bytes.length), { version, topic }, entryBytes);
  bytes.fill(0);
  return isIn;
}

/** Uses a topic as the broker does: on a miss, what was found is offered. Returns whether it was a hit. */
function use(cache: TopicCache<Entry>, topic: string, version: number, entryBytes = 100): boolean {
  const entry = get(cache, topic, version);
  if (entry !== undefined) {
    assert.deepEqual([entry.topic, entry.version], [topic, version]);
    return true;
  }
  put(cache, topic, version, entryBytes);
  return false;
}

test('an entry is found by its bytes until the version changes', () => {
  const cache = new TopicCache<Entry>(64, 1 << 20);
  assert.equal(use(cache, 'a/b', 1), false);
  assert.equal(use(cache, 'a/b', 1), true);
  assert.equal(get(cache, 'a/c', 1), undefined);
  assert.equal(get(cache, 'a/b', 2), undefined);
  assert.equal(use(cache, 'a/b', 2), false);
  assert.equal(use(cache, 'a/b', 2), true);
  assert.equal(cache.size, 1);
  cache.clear();
  assert.deepEqual([cache.size, cache.bytes], [0, 0]);
  assert.equal(get(cache, 'a/b', 2), undefined);
});

test('topics with the same hash are told apart', () => {
  const cache = new TopicCache<Entry>(64, 1 << 20);
  for (const topic of ['a', 'b', 'c']) cache.put(Buffer.from(topic), 0, 1, 5, { version: 1, topic }, 10);
  for (const topic of ['a', 'b', 'c']) assert.equal(cache.get(Buffer.from(topic), 0, 1, 5, 1)?.topic, topic);
  assert.equal(cache.get(Buffer.from('d'), 0, 1, 5, 1), undefined);
});

test('random use, with changing versions: right answers, bounds kept', () => {
  const random = new Random('TopicCache');
  for (const [entriesMax, bytesMax] of [
    [64, 1 << 20],
    [1024, 40_000],
  ] as const) {
    const cache = new TopicCache<Entry>(entriesMax, bytesMax);
    let version = 1;
    let hits = 0;
    for (let step = 0; step < 50_000; step++) {
      if (random.next(500) === 0) version++;
      const topic = `t/${Math.min(random.next(300), random.next(300), random.next(300))}`;
      if (use(cache, topic, version, random.next(20) === 0 ? 3000 : 100)) hits++;
      assert.ok(cache.size <= cache.entriesMax && cache.bytes <= cache.bytesMax && cache.bytes >= 0);
    }
    assert.ok(hits > 10_000, `${hits} hits`);
    const inside = cache as unknown as { sizes: Int32Array; entries: (Entry | undefined)[] };
    assert.equal(
      inside.sizes.reduce((sum, each) => sum + each, 0),
      cache.bytes,
    );
    assert.equal(inside.entries.filter((each) => each !== undefined).length, cache.size);
  }
});

test('a walk over a million topics leaves the topics in use where they are', () => {
  const cache = new TopicCache<Entry>(4096, 1 << 22);
  const hot = Array.from({ length: 1000 }, (_, i) => `hot/${i}`);
  for (let i = 0; i < 10_000; i++) use(cache, `before/${i}`, 1);
  for (let round = 0; round < 20; round++) for (const topic of hot) use(cache, topic, 1);
  for (let i = 0; i < 1_000_000; i++) use(cache, `walk/${i}`, 1);
  let hits = 0;
  for (const topic of hot) if (use(cache, topic, 1)) hits++;
  assert.ok(hits > 950, `${hits} of 1,000 hot topics left`);
  assert.ok(cache.size <= 4096 && cache.bytes <= 1 << 22);
});

test('topics that come into use replace those that fell out of it', () => {
  const cache = new TopicCache<Entry>(1024, 1 << 22);
  for (let round = 0; round < 20; round++) for (let i = 0; i < 700; i++) use(cache, `old/${i}`, 1);
  let hits = 0;
  for (let round = 0; round < 20; round++) {
    hits = 0;
    for (let i = 0; i < 700; i++) if (use(cache, `new/${i}`, 1)) hits++;
  }
  assert.ok(hits > 600, `${hits} of 700`);
});

test('a round over more topics than fit still hits often, after other such rounds', () => {
  const cache = new TopicCache<Entry>(1024, 1 << 22);
  for (const count of [800, 1000, 1200, 2000]) {
    let hits = 0;
    for (let round = 0; round < 100; round++) {
      hits = 0;
      for (let i = 0; i < count; i++) if (use(cache, `${count}/${i}`, 1)) hits++;
    }
    assert.ok(hits > 650, `${hits} of ${count}`);
  }
});

test('an entry too large for the cache is not kept, nor is its outdated forerunner', () => {
  const cache = new TopicCache<Entry>(64, 80_000);
  assert.equal(put(cache, 'big', 1, 100), true);
  assert.equal(put(cache, 'big', 2, 20_000), false);
  assert.deepEqual([cache.size, cache.bytes], [0, 0]);
  assert.equal(put(cache, 'big', 2, 20_000), false);
  for (let i = 0; i < 200; i++) put(cache, `large/${i}`, 1, 9000);
  assert.ok(cache.bytes <= 80_000 && cache.size >= 1);
});
