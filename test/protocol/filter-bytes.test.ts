/**
 * Goal: a filter matches the same topics as bytes as by the plain definition. Method: random filters and topics, which often meet, and bytes of others around them.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { utf8Bytes } from '../../src/base/bytes.ts';
import { filterMatchesBytes } from '../../src/protocol/filter-bytes.ts';
import { matches, Random, randomFilter, randomTopic } from '../routing/random-topics.ts';

test('bytes match as text does', () => {
  const random = new Random('filter-bytes');
  let count = 0;
  for (let round = 0; round < 100_000; round++) {
    const topic = randomTopic(random);
    const filter = randomFilter(random);
    const bytes = utf8Bytes(`x${topic}y`);
    const isMatch = matches(filter, topic);
    assert.equal(filterMatchesBytes(utf8Bytes(filter), bytes, 1, bytes.length - 1), isMatch, `${filter} and ${topic}`);
    if (isMatch) count++;
  }
  assert.ok(count > 1000);
});
