/*
 * Goal: whatever an attacker does, honest clients go on: every message of theirs arrives once, none of their connections ends, 99 of 100 messages take at most three
 * times as long as before, and the broker stays within its memory.
 * Method: `scene.ts`: a real broker, honest clients at a steady pace, and the attacker in a process of its own from an address of its own. It measures times, so it
 * is run alone (`npm run test:attacks`); ATTACKS_LONG=1 asks for the long form, which holds the factor strictly.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { storeDirectory } from '../support/store-directory.ts';
import { type Attack, withstand } from './scene.ts';

const MIB = 2 ** 20;
const HONEST = { username: 'honest', password: 'correct horse battery' };
const ATTACKER = { username: 'attacker', password: 'a password of its own' };

/** Users of the honest clients and of the attacker. */
function users(): object {
  const file = join(storeDirectory(), 'users.json');
  const program = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
  for (const { username, password } of [HONEST, ATTACKER])
    execFileSync(process.execPath, [program, 'user', 'add', username, '--file', file], { input: `${password}\n` });
  return { 'auth.authenticators': [{ type: 'users', file }] };
}

/** Honest clients may do everything; the attacker has names and topics of its own. */
const STATEMENTS = {
  'authorization.statements': [
    { effect: 'allow', actions: ['connect', 'publish', 'subscribe'], usernames: ['honest'] },
    { effect: 'allow', resource: 'p2p', actions: ['publish'], usernames: ['honest'] },
    { effect: 'allow', actions: ['connect'], clientIds: ['contested', 'thief-*'], usernames: ['attacker'] },
    { effect: 'allow', actions: ['publish', 'subscribe'], topics: ['thief/#'], usernames: ['attacker'] },
  ],
};

/** What docs/security.md tells to set before strangers can reach the broker. */
const PUBLIC = {
  listeners: [{ type: 'tcp', bind: '127.0.0.1:0', connectRate: 200 }],
  'quotas.client.messagesIn': 500,
  'quotas.client.bytesIn': '1MiB',
  'quotas.client.overLimit': 'throttle',
  'quotas.client.subscribeRate': { perSecond: 20, burst: 200 },
};

const ATTACKS: readonly (() => Attack)[] = [
  () => ({
    strike: 'slow-loris',
    settings: { 'limits.connectTimeout': '1s' },
    growthMax: 64 * MIB,
    proof: (count, seen) => {
      assert.ok(seen['closed']! > 0, 'the broker ends what sends no CONNECT');
      assert.equal(count('clients/connected') > 20, false, 'none of them is a client');
    },
  }),
  () => ({
    strike: 'connect-flood',
    settings: {},
    growthMax: 64 * MIB,
    proof: (count, seen) => {
      assert.ok(seen['dropped']! > seen['code 0']!, 'most of the flood is not let in');
      assert.ok(count('connections/refused') > 0);
    },
  }),
  () => ({
    strike: 'guessing',
    settings: users(),
    honest: HONEST,
    growthMax: 96 * MIB,
    proof: (count, seen) => {
      assert.equal(seen['code 0'], undefined, 'no guess is right');
      assert.ok(seen[`code ${0x9f}`]! > 100, 'guesses are refused unjudged');
      assert.ok((seen[`code ${0x86}`] ?? 0) <= 90, 'few guesses are judged');
      assert.ok(count('logins/refused') > 0);
    },
  }),
  () => ({
    strike: 'giant-connect',
    settings: { 'limits.connectTimeout': '1s' },
    growthMax: 192 * MIB,
    proof: (count) => assert.ok(count('connections/refused') + count('packets/malformed') > 0),
  }),
  () => ({
    strike: 'subscription-bombs',
    settings: {},
    growthMax: 128 * MIB,
    proof: (count, seen) => {
      assert.ok(seen['filters']! > 1000);
      assert.ok(count('subscriptions/count') <= 4 * 1000 + 20, 'each session has as many as it may');
      assert.ok(count('quota/subscribe/rejected') > 0);
    },
  }),
  () => ({
    strike: 'alias-exhaustion',
    settings: {},
    growthMax: 128 * MIB,
    proof: (count, seen) => {
      assert.ok(seen['aliases']! > 100);
      assert.ok(count('packets/malformed') > 0, 'who uses too much is refused');
    },
  }),
  () => ({
    strike: 'retained-flood',
    settings: { 'limits.retainedBytes': '1MiB' },
    growthMax: 128 * MIB,
    proof: (count, seen) => {
      assert.ok(seen['messages']! > 100);
      assert.ok(count('retained/bytes') <= MIB);
      assert.ok(count('retained/dropped') > 0);
    },
  }),
  () => ({
    strike: 'takeover-war',
    settings: { ...users(), ...STATEMENTS },
    honest: HONEST,
    attacker: ATTACKER,
    growthMax: 64 * MIB,
    proof: (count, seen) => {
      assert.ok(count('takeovers') <= 20, 'few takeovers a minute');
      assert.ok(count('takeovers/refused') > 0);
      assert.equal(seen['device0 0'], undefined, 'nobody else gets the Client Identifier of an honest client');
    },
  }),
  () => ({
    strike: 'p2p-scan',
    settings: {},
    growthMax: 96 * MIB,
    proof: (count, seen, _broker, attempt) => {
      assert.ok(seen['guesses']! > 3000);
      assert.ok(count('p2p/refused/scan') > 0);
      assert.ok(
        count('publish/dropped/no-session') <= attempt * 2 * 2001,
        'a thousand a minute are answered, and what is under way by then',
      );
    },
  }),
  () => ({
    strike: 'group-hijack',
    settings: { ...users(), ...STATEMENTS },
    honest: HONEST,
    attacker: ATTACKER,
    growthMax: 64 * MIB,
    proof: (_count, seen) => {
      assert.ok(seen['refused']! > 100);
      assert.equal(seen['granted'], undefined);
      assert.equal(seen['messages'], undefined);
    },
  }),
  () => ({
    strike: 'log-injection',
    settings: { ...users(), ...STATEMENTS },
    honest: HONEST,
    growthMax: 64 * MIB,
    proof: (_count, seen, { log }) => {
      assert.equal(seen['code 0'], undefined);
      assert.deepEqual(
        log.filter(({ level, msg }) => msg === 'forged' || level === undefined),
        [],
        'no line says what a client made up',
      );
    },
  }),
];

for (const make of ATTACKS) {
  const attack = make();
  test(attack.strike, (t) => withstand(t, { ...attack, settings: { ...PUBLIC, ...attack.settings } }));
}
