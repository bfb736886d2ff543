/*
 * Goal: rules about who may not connect: names, patterns, networks, exceptions, ends.
 * Method: one rule at a time, and what it says of clients.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { type BlockKind, type BlockRule, BlockRules } from '../../src/access/block-rules.ts';

function rule(kind: BlockKind, include: string, excludes: string[] = [], expiresAt = 0): BlockRule {
  return { name: include, kind, include, excludes, expiresAt, remark: '' };
}

function blocks(rules: BlockRule[], clientId: string, username?: string, address = '10.0.0.1', now = 1000): string | null {
  return new BlockRules(rules).find(clientId, username, address, now)?.name ?? null;
}

describe('block rules', () => {
  test('client IDs and usernames: names, patterns, exceptions', () => {
    assert.equal(blocks([], 'a'), null);
    assert.equal(blocks([rule('client-id', 'a')], 'a'), 'a');
    assert.equal(blocks([rule('client-id', 'a')], 'ab'), null);
    assert.equal(blocks([rule('client-id', 'a')], 'b', 'a'), null, 'each kind looks at its own');
    assert.equal(blocks([rule('username', 'a')], 'a'), null);
    assert.equal(blocks([rule('username', 'a')], 'b', 'a'), 'a');
    assert.equal(blocks([rule('username', '*')], 'b', undefined), null, 'one without a username has none');
    const some = [rule('client-id', 'pump-?', ['pump-1', 'pump-[2]'])];
    for (const [id, isBlocked] of [
      ['pump-3', true],
      ['pump-☀', true],
      ['pump-1', false],
      ['pump-12', false],
      ['pump-', false],
    ] as const)
      assert.equal(blocks(some, id) !== null, isBlocked, id);
    assert.equal(blocks([rule('client-id', 'a', ['*'])], 'a'), null);
    const both = [rule('client-id', 'a', ['a']), rule('client-id', 'a*')];
    assert.equal(blocks(both, 'a'), 'a*', 'an exception is one of its own rule');
  });

  test('addresses: literal in every way of writing, patterns, networks', () => {
    for (const [include, address, isBlocked] of [
      ['10.0.0.1', '10.0.0.1', true],
      ['10.0.0.1', '10.0.0.11', false],
      ['10.0.*', '10.0.3.4', true],
      ['10.0.0.0/8', '10.200.0.1', true],
      ['10.0.0.0/8', '11.0.0.1', false],
      ['2001:DB8:0:0::1', '2001:db8::1', true],
      ['2001:db8::/32', '2001:db8:1::7', true],
      ['2001:db8::/32', '10.0.0.1', false],
      ['::ffff:10.0.0.1', '10.0.0.1', true],
      ['0.0.0.0/0', '', false],
      ['*', '', false],
    ] as const)
      assert.equal(blocks([rule('address', include)], 'c', undefined, address) !== null, isBlocked, `${include} ${address}`);
    const except = [rule('address', '10.0.0.0/8', ['10.1.0.0/16', '10.0.0.7', '10.9.*'])];
    for (const address of ['10.1.2.3', '10.0.0.7', '10.9.9.9']) assert.equal(blocks(except, 'c', undefined, address), null, address);
    assert.notEqual(blocks(except, 'c', undefined, '10.0.0.8'), null);
    const rules = new BlockRules(except);
    assert.ok(rules.findAddress('10.0.0.8', 0) !== null && rules.findAddress('', 0) === null);
  });

  test('a rule ends by itself', () => {
    const rules = [rule('client-id', 'a', [], 1000), rule('client-id', 'b*', [], 1000)];
    for (const id of ['a', 'b']) {
      assert.notEqual(blocks(rules, id, undefined, '', 999), null);
      assert.equal(blocks(rules, id, undefined, '', 1000), null);
    }
  });
});
