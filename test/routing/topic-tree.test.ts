/*
 * Goal: TopicTree and RetainedStore find exactly what section 4.7 of the standard says, and give back the memory of what is removed.
 * Method: the examples of the standard, and random operations against a plain map with the plain definition of a match.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { RetainedStore } from '../../src/routing/retained.ts';
import { TopicTree } from '../../src/routing/topic-tree.ts';
import { matches, Random, randomFilter, randomTopic } from './random-topics.ts';

function matchOf(tree: TopicTree<string>, topic: string): string[] {
  const into: string[] = [];
  tree.match(topic, into);
  return into.sort();
}

/** Nodes below the root, read from the inside. */
function nodeCount(tree: TopicTree<string>): number {
  type Node = { plus: Node | null; only: Node | null; many: Map<string, Node> | null };
  const count = (node: Node): number => {
    let sum = 1;
    if (node.plus !== null) sum += count(node.plus);
    if (node.only !== null) sum += count(node.only);
    if (node.many !== null) for (const child of node.many.values()) sum += count(child);
    return sum;
  };
  return count((tree as unknown as { root: Node }).root) - 1;
}

describe('the standard', () => {
  const cases: [string, string, boolean][] = [
    ['sport/tennis/player1/#', 'sport/tennis/player1', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/ranking', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon', true],
    ['sport/#', 'sport', true],
    ['#', 'sport/tennis', true],
    ['sport/tennis/+', 'sport/tennis/player1', true],
    ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
    ['sport/+', 'sport', false],
    ['sport/+', 'sport/', true],
    ['+/+', '/finance', true],
    ['/+', '/finance', true],
    ['+', '/finance', false],
    ['#', '$SYS/monitor', false], // [MQTT-4.7.2-1]
    ['+/monitor/Clients', '$SYS/monitor/Clients', false],
    ['$SYS/#', '$SYS/monitor', true],
    ['$SYS/#', '$SYS', true],
    ['$SYS/monitor/+', '$SYS/monitor/Clients', true],
    ['a/#', 'a/$SYS', true],
    ['a/+', 'a/$SYS', true],
    ['ACCOUNTS', 'Accounts', false],
    ['+/#', 'a', true],
    ['#', '/', true],
    ['+/+', '/', true],
  ];
  for (const [filter, topic, expected] of cases) {
    test(`${filter} ${expected ? 'matches' : 'does not match'} ${topic}`, () => {
      assert.equal(matches(filter, topic), expected);
      const tree = new TopicTree<string>();
      tree.set(filter, filter);
      assert.deepEqual(matchOf(tree, topic), expected ? [filter] : []);
      const store = new RetainedStore<string>();
      store.set(topic, topic);
      const found: string[] = [];
      store.match(filter, found);
      assert.deepEqual(found, expected ? [topic] : []);
    });
  }
});

test('against a plain map, random operations', () => {
  const random = new Random('TopicTree');
  const tree = new TopicTree<string>();
  const model = new Map<string, string>();
  for (let step = 0; step < 20_000; step++) {
    const filter = randomFilter(random);
    const value = `${filter} ${step}`;
    if (random.next(100) < (Math.floor(step / 2000) % 2 === 0 ? 60 : 30)) {
      assert.equal(tree.set(filter, value), model.get(filter));
      model.set(filter, value);
    } else {
      assert.equal(tree.delete(filter), model.get(filter));
      model.delete(filter);
    }
    assert.equal(tree.get(filter), model.get(filter));
    assert.equal(tree.size, model.size);
    if (step % 5 === 0) {
      const topic = randomTopic(random);
      const expected = [...model].filter(([key]) => matches(key, topic)).map(([, each]) => each);
      assert.deepEqual(matchOf(tree, topic), expected.sort(), topic);
    }
  }
  const all: string[] = [];
  tree.visitAll((value) => all.push(value));
  assert.deepEqual(all.sort(), [...model.values()].sort());
  for (const filter of model.keys()) tree.delete(filter);
  assert.equal(tree.size, 0);
  assert.equal(nodeCount(tree), 0);
});

test('removing a filter removes its branch and nothing else', () => {
  const tree = new TopicTree<string>();
  for (const filter of ['a/b/c', 'a/b', 'a/b/#', 'a/+/c', 'a/x', 'a/y']) tree.set(filter, filter);
  assert.equal(nodeCount(tree), 7);
  tree.delete('a/b/c');
  assert.equal(nodeCount(tree), 6);
  tree.delete('a/b');
  assert.equal(nodeCount(tree), 6);
  tree.delete('a/b/#');
  assert.equal(nodeCount(tree), 5);
  tree.delete('a/y');
  assert.equal(nodeCount(tree), 4);
  assert.deepEqual(matchOf(tree, 'a/x'), ['a/x']);
  assert.deepEqual(matchOf(tree, 'a/b/c'), ['a/+/c']);
  assert.equal(tree.delete('a/y'), undefined);
  assert.equal(tree.delete('a'), undefined);
  assert.equal(nodeCount(tree), 4);
});

test('128 levels, all of them wildcards or not', () => {
  const tree = new TopicTree<string>();
  const deep = Array.from({ length: 128 }, () => 'a').join('/');
  const wild = Array.from({ length: 128 }, () => '+').join('/');
  for (const filter of [deep, wild, '#', `${deep}/#`]) tree.set(filter, filter);
  assert.deepEqual(matchOf(tree, deep), [deep, wild, '#', `${deep}/#`].sort());
});

test('retained messages against a plain map, random operations', () => {
  const random = new Random('RetainedStore');
  const store = new RetainedStore<string>();
  const model = new Map<string, string>();
  for (let step = 0; step < 10_000; step++) {
    const topic = randomTopic(random);
    const message = `${topic} ${step}`;
    if (random.next(2) === 0) {
      assert.equal(store.set(topic, message), model.get(topic));
      model.set(topic, message);
    } else {
      assert.equal(store.delete(topic), model.get(topic));
      model.delete(topic);
    }
    assert.equal(store.get(topic), model.get(topic));
    assert.equal(store.count, model.size);
    if (step % 4 === 0) {
      const filter = randomFilter(random);
      const found: string[] = [];
      store.match(filter, found);
      const expected = [...model].filter(([key]) => matches(filter, key)).map(([, each]) => each);
      assert.deepEqual(found.sort(), expected.sort(), filter);
    }
  }
});
