/**
 * Goal: a HashList has each hash once, in the order of their first coming, however many there are. Method: random hashes, small and all, beside a Set.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { HashList } from '../../src/store/hash-list.ts';
import { Random } from '../routing/random-topics.ts';

test('hashes are there once, in order', () => {
  const random = new Random('hash-list');
  for (const [count, range] of [
    [50, 10],
    [5000, 3000],
    [20_000, 2 ** 32],
  ] as const) {
    const list = new HashList();
    const set = new Set<number>();
    for (let i = 0; i < count; i++) {
      const hash = random.next(range);
      list.add(hash);
      set.add(hash);
      assert.ok(list.has(hash));
    }
    assert.deepEqual(
      Array.from({ length: list.count }, (_, i) => list.at(i)),
      [...set],
    );
    for (let i = 0; i < 100; i++) assert.equal(list.has(i), set.has(i));
    const [first] = set;
    list.clear();
    assert.deepEqual([list.count, list.has(first!)], [0, false]);
    list.add(first!);
    assert.deepEqual([list.count, list.at(0)], [1, first]);
  }
});
