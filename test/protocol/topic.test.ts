/*
 * Goal: Topic Names and Topic Filters are judged and matched as section 4.7 says.
 * Method: the standard's examples as rows, and random names and filters compared with a plain matcher that splits into levels.
 */

import './seed.ts';
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import {
  filterError,
  filterMatches,
  hasWildcard,
  isTopicName,
  isTopicText,
  parseShared,
  scanTopic,
  topicLevels,
} from '../../src/protocol/topic.ts';

const name = (text: string): Uint8Array => Buffer.from(text);

test('topic names', () => {
  for (const good of ['a', '/', 'a/b', '/finance', 'a//b', 'sport/tennis/player1', '$SYS/x', 'grüße/€', ' ']) {
    assert.ok(isTopicName(name(good), 0, name(good).length, 128), good);
    assert.ok(isTopicText(good, 128), good);
    assert.equal(scanTopic(name(good), 0, name(good).length), good.split('/').length);
    assert.equal(topicLevels(name(good), 0, name(good).length), good.split('/').length);
  }
  for (const bad of ['', '+', '#', 'a/+', 'a/#', 'a+b', 'ü#', 'a\0b', 'ü\0']) {
    assert.ok(!isTopicName(name(bad), 0, name(bad).length, 128), bad);
    assert.ok(!isTopicText(bad, 128), bad);
  }
  assert.ok(isTopicName(name('a/b/c'), 0, 5, 3));
  assert.ok(!isTopicName(name('a/b/c'), 0, 5, 2));
  assert.ok(!isTopicText('a/b/c', 2));
  assert.ok(!isTopicName(Buffer.from('61ff', 'hex'), 0, 2, 128));
});

test('topic filters', () => {
  for (const good of ['#', '+', 'a/#', '+/+', '/+', '+/tennis/#', 'sport/+/player1', '/', 'a', 'a//b', '$SYS/#']) {
    assert.equal(filterError(good, 128), 0, good);
  }
  for (const bad of ['', 'sport/tennis#', 'sport/tennis/#/ranking', 'sport+', '+a', '#/', '##', '++', 'a/+b/c', 'a\0']) {
    assert.equal(filterError(bad, 128), 0x8f, bad);
  }
  assert.equal(filterError('a/b/+', 3), 0);
  assert.equal(filterError('a/b/+', 2), 0x8f);
  assert.ok(hasWildcard('a/+') && hasWildcard('#') && !hasWildcard('a/b'));
});

test('shared subscriptions', () => {
  assert.equal(parseShared('a/b'), undefined);
  assert.equal(parseShared('$shared/g/a'), undefined);
  assert.equal(parseShared('$share'), undefined);
  assert.deepEqual(parseShared('$share/g/a/+'), { shareName: 'g', filter: 'a/+' });
  assert.deepEqual(parseShared('$share/g//a'), { shareName: 'g', filter: '/a' });
  for (const bad of ['$share/', '$share//a', '$share/g', '$share/g/', '$share/g+/a', '$share/#/a'])
    assert.equal(parseShared(bad), null, bad);
});

test('matching, by the examples of the standard', () => {
  const matches: [string, string][] = [
    ['sport/tennis/player1/#', 'sport/tennis/player1'],
    ['sport/tennis/player1/#', 'sport/tennis/player1/ranking'],
    ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon'],
    ['sport/#', 'sport'],
    ['#', 'a/b'],
    ['sport/tennis/+', 'sport/tennis/player1'],
    ['sport/+', 'sport/'],
    ['+/+', '/finance'],
    ['/+', '/finance'],
    ['$SYS/#', '$SYS/a'],
    ['$SYS/monitor/+', '$SYS/monitor/Clients'],
    ['a/+/c', 'a//c'],
    ['+/#', 'a'],
    ['a/', 'a/'],
  ];
  const others: [string, string][] = [
    ['sport/tennis/+', 'sport/tennis/player1/ranking'],
    ['sport/+', 'sport'],
    ['+', '/finance'],
    ['#', '$SYS/a'],
    ['+/monitor/Clients', '$SYS/monitor/Clients'],
    ['ACCOUNTS', 'Accounts'],
    ['a', 'a/'],
    ['a/b', 'a'],
    ['ab', 'a'],
    ['a', 'ab'],
    ['a/b/#', 'a'],
    ['a/#', 'ab'],
    ['/a', 'a'],
  ];
  for (const [filter, topic] of matches) assert.ok(filterMatches(filter, topic), `${filter} ${topic}`);
  for (const [filter, topic] of others) assert.ok(!filterMatches(filter, topic), `${filter} ${topic}`);
});

function plainMatches(filter: string, topic: string): boolean {
  const wanted = filter.split('/');
  const levels = topic.split('/');
  if (topic.startsWith('$') && (wanted[0] === '+' || wanted[0] === '#')) return false;
  for (const [i, level] of wanted.entries()) {
    if (level === '#') return true;
    if (i >= levels.length || (level !== '+' && level !== levels[i])) return false;
  }
  return wanted.length === levels.length;
}

test('matching, against a plain matcher', () => {
  const level = fc.constantFrom('a', 'b', 'ab', '', '$x');
  const topics = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'));
  const filters = fc
    .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 4 }), fc.boolean())
    .map(([levels, hash]) => (hash ? [...levels, '#'] : levels).join('/'));
  fc.assert(
    fc.property(filters, topics, (filter, topic) => {
      assert.equal(filterMatches(filter, topic), plainMatches(filter, topic));
    }),
    { numRuns: 3000 },
  );
});
