/*
 * Goal: a walk over topic names finds what the filter matches and the range holds, and misses nothing that stays while names come and go.
 * Method: random trees, filters and ranges against the plain definition; the tree changes between steps.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { RetainedStore } from '../../src/routing/retained.ts';
import { keyOfTopic, topicOfKey } from '../../src/routing/topic-walk.ts';
import { matches, Random, randomFilter, randomTopic } from './random-topics.ts';

const ALL = { after: '', before: null };

test('what a filter matches, from any place on, up to any place', () => {
  const random = new Random('TopicWalk');
  for (let round = 0; round < 600; round++) {
    const store = new RetainedStore<string>();
    const topics = new Set(Array.from({ length: random.next(60) }, () => randomTopic(random)));
    for (const topic of topics) store.set(topic, topic);
    const filter = randomFilter(random);
    const after = random.next(3) === 0 ? '' : keyOfTopic(randomTopic(random));
    const before = random.next(3) === 0 ? null : keyOfTopic(randomTopic(random));
    const found: string[] = [];
    const walk = store.walk(filter, { after, before }, (key, topic) => {
      assert.equal(topicOfKey(key), topic);
      found.push(topic);
    });
    while (walk.step(1 + random.next(10)));
    const inRange = (topic: string): boolean => keyOfTopic(topic) > after && (before === null || keyOfTopic(topic) < before);
    const wanted = [...topics].filter((topic) => matches(filter, topic) && inRange(topic));
    assert.deepEqual(found.sort(), wanted.sort(), `round ${round}: ${filter}`);
  }
});

test('what stays is found, whatever comes and goes between steps', () => {
  const random = new Random('TopicWalk changes');
  for (let round = 0; round < 300; round++) {
    const store = new RetainedStore<string>();
    const staying = new Set(Array.from({ length: 1 + random.next(30) }, () => randomTopic(random)));
    for (const topic of staying) store.set(topic, topic);
    const filter = random.next(2) === 0 ? '#' : randomFilter(random);
    const found = new Set<string>();
    const walk = store.walk(filter, ALL, (_key, topic) => void found.add(topic));
    while (walk.step(1)) {
      const topic = randomTopic(random);
      if (random.next(2) === 0) store.set(topic, topic);
      else if (!staying.has(topic)) store.delete(topic);
    }
    for (const topic of staying) if (matches(filter, topic)) assert.ok(found.has(topic), `round ${round}: ${filter} misses ${topic}`);
  }
});

test('keys keep what lies below a topic together', () => {
  const topics = ['a-b', 'a/b', 'a', 'a!', 'a/b/c', 'a/', 'b'];
  topics.sort((a, b) => (keyOfTopic(a) < keyOfTopic(b) ? -1 : 1));
  assert.deepEqual(topics, ['a', 'a/', 'a/b', 'a/b/c', 'a!', 'a-b', 'b']);
});
