/*
 * Goal: an alias stands for one topic as long as the connection lives, never for more topics than agreed, and only for a topic that the receiver has been told.
 * Method: tables filled beyond their maximum, topics with equal hashes, and bytes that change after they were handed in.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { hash32 } from '../../src/base/hash.ts';
import { InboundAliases, OutboundAliases } from '../../src/session/topic-alias.ts';

function assign(aliases: OutboundAliases, topic: string, hash?: number): [alias: number, isKnown: boolean] {
  const bytes = Buffer.from(`..${topic}.`);
  const end = bytes.length - 1;
  const alias = aliases.assign(bytes, 2, end, hash ?? hash32(bytes, 2, end));
  bytes.fill(0);
  return [alias, aliases.isKnown];
}

test('outbound: a new number for each topic up to the maximum, then none', () => {
  const aliases = new OutboundAliases(3, 1000);
  assert.deepEqual(assign(aliases, 'a'), [1, false]);
  assert.deepEqual(assign(aliases, 'b'), [2, false]);
  assert.deepEqual(assign(aliases, 'a'), [1, true]);
  assert.deepEqual(assign(aliases, 'c'), [3, false]);
  assert.deepEqual(assign(aliases, 'd'), [0, false]);
  assert.deepEqual(assign(aliases, 'c'), [3, true]);
  assert.deepEqual(assign(aliases, 'd'), [0, false]);
});

test('outbound: topics with the same hash are told apart by their bytes', () => {
  const aliases = new OutboundAliases(10, 1000);
  assert.deepEqual(assign(aliases, 'x', 7), [1, false]);
  assert.deepEqual(assign(aliases, 'xy', 7), [2, false]);
  assert.deepEqual(assign(aliases, 'y', 7), [3, false]);
  assert.deepEqual(assign(aliases, 'xy', 7), [2, true]);
});

test('outbound: an alias whose packet was not sent is not known', () => {
  const aliases = new OutboundAliases(2, 1000);
  assert.deepEqual(assign(aliases, 'a'), [1, false]);
  aliases.takeBack();
  assert.deepEqual(assign(aliases, 'b'), [1, false]);
  assert.deepEqual(assign(aliases, 'b'), [1, true]);
  // The last answer gave no new alias: there is nothing to take back.
  aliases.takeBack();
  assert.deepEqual(assign(aliases, 'b'), [1, true]);
  assert.deepEqual(assign(aliases, 'a'), [2, false]);
  assert.deepEqual(assign(aliases, 'c'), [0, false]);
  aliases.takeBack();
  assert.deepEqual(assign(aliases, 'a'), [2, true]);
});

test('inbound: the client may give a number to another topic', () => {
  const aliases = new InboundAliases();
  assert.equal(aliases.get(1), undefined);
  aliases.set(1, Buffer.from('a'), 1000);
  aliases.set(65_535, Buffer.from('z'), 1000);
  assert.equal(Buffer.from(aliases.get(1)!).toString(), 'a');
  aliases.set(1, Buffer.from('b'), 1000);
  assert.equal(Buffer.from(aliases.get(1)!).toString(), 'b');
  assert.equal(aliases.get(2), undefined);
});

test('outbound: topics beyond the bytes get no number', () => {
  const aliases = new OutboundAliases(10, 5);
  assert.deepEqual(assign(aliases, 'abc'), [1, false]);
  assert.deepEqual(assign(aliases, 'def'), [0, false]);
  assert.deepEqual(assign(aliases, 'de'), [2, false]);
  aliases.takeBack();
  assert.deepEqual(assign(aliases, 'gh'), [2, false], 'what was taken back fills nothing');
  assert.deepEqual(assign(aliases, 'i'), [0, false]);
});

test('inbound: topics beyond the bytes are refused, and one that takes the place of another counts once', () => {
  const aliases = new InboundAliases();
  assert.equal(aliases.set(1, Buffer.from('abc'), 5), true);
  assert.equal(aliases.set(2, Buffer.from('def'), 5), false);
  assert.equal(aliases.get(2), undefined);
  assert.equal(aliases.set(1, Buffer.from('abcde'), 5), true);
  assert.equal(aliases.set(2, Buffer.from('f'), 5), false);
});
