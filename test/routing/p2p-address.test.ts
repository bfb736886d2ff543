/*
 * Goal: an address is read from a topic name exactly as the contract says, and a SUBSCRIBE to a P2P filter is told apart correctly.
 * Method: tables of cases; the topic also at an offset with P2P-like bytes around it; every random topic against a plain definition.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import {
  classifyP2pFilter,
  NOT_P2P,
  P2P_EMPTY_TARGET,
  P2P_TARGET,
  P2pAddress,
  type P2pFilterClass,
  P2pParents,
  parseP2pTopic,
} from '../../src/routing/p2p-address.ts';
import { Random } from './random-topics.ts';

function parse(topic: string): [number, string, string] {
  const bytes = Buffer.from(`x/p2p/${topic}/p2p/y`);
  const at = 6;
  const end = bytes.length - 6;
  const address = new P2pAddress();
  const code = parseP2pTopic(address, bytes, at, end);
  if (code === NOT_P2P) return [code, '', ''];
  return [code, bytes.toString('utf8', address.firstAt, address.firstEnd), bytes.toString('utf8', address.clientIdAt, address.clientIdEnd)];
}

describe('topic names', () => {
  const cases: [string, number, string, string][] = [
    ['first/p2p/client', P2P_TARGET, 'first', 'client'],
    ['f/p2p/a/b/c', P2P_TARGET, 'f', 'a/b/c'],
    ['f/p2p//', P2P_TARGET, 'f', '/'],
    ['f/p2p/ ', P2P_TARGET, 'f', ' '],
    ['ü ü/p2p/ö', P2P_TARGET, 'ü ü', 'ö'],
    ['p2p/p2p/p2p', P2P_TARGET, 'p2p', 'p2p'],
    ['a$/p2p/x', P2P_TARGET, 'a$', 'x'],
    ['f/p2p/$x', P2P_TARGET, 'f', '$x'],
    ['f/p2p/', P2P_EMPTY_TARGET, 'f', ''],
    ['f/p2p', P2P_EMPTY_TARGET, 'f', ''],
    ['/p2p/x', NOT_P2P, '', ''],
    ['$SYS/p2p/x', NOT_P2P, '', ''],
    ['$/p2p', NOT_P2P, '', ''],
    ['f/P2P/x', NOT_P2P, '', ''],
    ['f/p2px/x', NOT_P2P, '', ''],
    ['f/p2', NOT_P2P, '', ''],
    ['f/p2p2', NOT_P2P, '', ''],
    ['f/xp2p/x', NOT_P2P, '', ''],
    ['f/g/p2p/x', NOT_P2P, '', ''],
    ['f//p2p/x', NOT_P2P, '', ''],
    ['p2p/x', NOT_P2P, '', ''],
    ['f', NOT_P2P, '', ''],
    ['f/', NOT_P2P, '', ''],
    ['', NOT_P2P, '', ''],
  ];
  for (const [topic, code, first, clientId] of cases) {
    test(`'${topic}'`, () => assert.deepEqual(parse(topic), [code, first, clientId]));
  }

  test('random topics against a plain definition', () => {
    const random = new Random('parseP2pTopic');
    for (let i = 0; i < 20_000; i++) {
      let topic = '';
      for (let n = random.next(7); n > 0; n--) topic += random.pick(['p2p', '/', '/', 'a', '$', 'p', '2', 'ü']);
      const plain = /^([^/$][^/]*)\/p2p(?:\/(.*))?$/s.exec(topic);
      const expected = plain === null ? [NOT_P2P, '', ''] : [plain[2] ? P2P_TARGET : P2P_EMPTY_TARGET, plain[1], plain[2] ?? ''];
      assert.deepEqual(parse(topic), expected, topic);
    }
  });
});

test('parents: all, a list, none', () => {
  const bytes = Buffer.from('..dev..');
  assert.ok(new P2pParents('*').accepts(bytes, 2, 5));
  assert.ok(new P2pParents(['x', 'dev']).accepts(bytes, 2, 5));
  assert.ok(!new P2pParents(['x', 'de', 'devi', 'dex']).accepts(bytes, 2, 5));
  assert.ok(!new P2pParents([]).accepts(bytes, 2, 5));
});

describe('filters', () => {
  const list = new Set(['f', 'g']);
  const cases: [string, string, '*' | ReadonlySet<string>, P2pFilterClass][] = [
    ['f/p2p/me', 'me', '*', 'own'],
    ['+/p2p/me', 'me', '*', 'own'],
    ['f/p2p/a/b', 'a/b', '*', 'own'],
    ['+/p2p/a/b', 'a/b', '*', 'own'],
    ['f/p2p/me', 'me', list, 'own'],
    ['f/p2p/a', 'a/b', '*', 'other'],
    ['f/p2p/a/b/c', 'a/b', '*', 'other'],
    ['f/p2p/you', 'me', '*', 'other'],
    ['+/p2p/you', 'me', '*', 'other'],
    ['f/p2p/you', 'me', list, 'other'],
    ['+/p2p/+', 'me', '*', 'other'],
    ['+/p2p/#', 'me', '*', 'other'],
    ['f/p2p/#', 'me', '*', 'other'],
    ['f/p2p/+', 'me', '*', 'other'],
    ['f/p2p/me/#', 'me', '*', 'other'],
    ['f/p2p/a/+', 'a/b', '*', 'other'],
    // No client is addressed: messages with `p2p-target` come on these topics.
    ['f/p2p', 'me', '*', 'own'],
    ['f/p2p/', 'me', '*', 'own'],
    ['f/p2p/', '', '*', 'own'],
    // A wildcard stands for other clients even where the own identifier reads the same.
    ['f/p2p/+', '+', '*', 'other'],
    ['f/p2p/#', '#', '*', 'other'],
    ['f/p2p/a/+', 'a/+', '*', 'other'],
    ['#', 'me', '*', 'ordinary'],
    ['+', 'me', '*', 'ordinary'],
    ['+/#', 'me', '*', 'ordinary'],
    ['f/#', 'me', '*', 'ordinary'],
    ['f/+/x', 'me', '*', 'ordinary'],
    ['f/+/me', 'me', '*', 'ordinary'],
    ['+/+/me', 'me', '*', 'ordinary'],
    ['f', 'me', '*', 'ordinary'],
    ['f/p2p2/me', 'me', '*', 'ordinary'],
    ['f/P2P/me', 'me', '*', 'ordinary'],
    ['f/x/p2p/me', 'me', '*', 'ordinary'],
    ['/p2p/me', 'me', '*', 'ordinary'],
    ['$SYS/p2p/x', 'me', '*', 'ordinary'],
    ['$SYS/p2p/me', 'me', '*', 'ordinary'],
    ['h/p2p/me', 'me', list, 'ordinary'],
    ['h/p2p/you', 'me', list, 'ordinary'],
    // With a list, `+` as the first level also names ordinary topics, such as h/p2p/you; those it gets, and P2P it never gets.
    ['+/p2p/you', 'me', list, 'ordinary'],
    ['+/p2p/me', 'me', list, 'ordinary'],
  ];
  for (const [filter, clientId, parents, expected] of cases) {
    test(`'${filter}' of '${clientId}'${parents === '*' ? '' : ' with a list of parents'}: ${expected}`, () => {
      assert.equal(classifyP2pFilter(filter, clientId, parents), expected);
    });
  }
});
