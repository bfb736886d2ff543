/*
 * Goal: the cache answers only for the very bytes and kind that it was told of, whatever the hashes are, and stays as small as it is.
 * Method: random keys with chosen, colliding hashes against a map of all that was ever set; what the cache says must be what the map says.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { DecisionCache, NOT_CACHED } from '../../src/access/decision-cache.ts';
import '../protocol/seed.ts';

test('it never answers for another topic', () => {
  const step = fc.record({
    topic: fc.constantFrom('a', 'b', 'a/b', 'ab/', 'x'.repeat(40), 'y'.repeat(40), 'xyz', 'z'.repeat(128), 'z'.repeat(129)),
    hash: fc.constantFrom(0, 8, 9),
    kind: fc.integer({ min: 0, max: 1 }),
    decision: fc.integer({ min: -5, max: 5 }),
    isSet: fc.boolean(),
  });
  let hits = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 30, maxLength: 60 }), (steps) => {
      const cache = new DecisionCache();
      const told = new Map<string, number>();
      for (const { topic, hash, kind, decision, isSet } of steps) {
        const bytes = Buffer.from(`xx${topic}x`);
        const key = `${topic} ${hash} ${kind}`;
        const answer = cache.get(bytes, 2, bytes.length - 1, hash, kind);
        if (answer !== NOT_CACHED) {
          hits++;
          assert.equal(answer, told.get(key), key);
        }
        if (!isSet) continue;
        told.set(key, decision);
        cache.set(bytes, 2, bytes.length - 1, hash, kind, decision);
        const kept = topic.length > 128 ? NOT_CACHED : decision;
        assert.equal(cache.get(bytes, 2, bytes.length - 1, hash, kind), kept, 'long topics are not kept');
      }
    }),
  );
  assert.ok(hits > 20, 'some answers came from the cache');
});
