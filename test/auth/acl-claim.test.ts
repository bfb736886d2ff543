/*
 * Goal: rules of a token mean what they say, in both forms, and a claim that cannot be read whole is refused with a cause.
 * Method: claims made into statements, which then judge; every mistake beside the words that name it.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { SessionAccess } from '../../src/access/session-access.ts';
import { Statements, type Subject } from '../../src/access/statement.ts';
import { AclProblem, rulesOf } from '../../src/auth/acl-claim.ts';

const client: Subject = { clientId: 'dev-1', username: 'ann', address: '10.0.0.1', attributes: {} };

function accessOf(claim: unknown, subject: Subject = client): SessionAccess {
  return new Statements([], { counters: new Float64Array(2), hits: 0, misses: 1 }).accessOf(subject, rulesOf(claim));
}

function publishes(access: SessionAccess, topic: string, qos = 0, retain = false): boolean {
  const bytes = Buffer.from(topic);
  return access.publish(bytes, 0, bytes.length, qos, retain) >= 0;
}

function writesTo(access: SessionAccess, target: string): boolean {
  const bytes = Buffer.from(target);
  return access.publishTo(bytes, 0, bytes.length, 1) >= 0;
}

test('a list of rules: the first that matches decides', () => {
  const access = accessOf([
    { permission: 'deny', action: 'all', topic: 'fleet/+/secret' },
    { permission: 'allow', action: 'publish', topic: ['fleet/${clientid}/#', 'users/${Username}/up'], qos: [0, 1], retain: false },
    { permission: 'allow', action: 'subscribe', topic: 'fleet/#', ipaddr: '10.0.0.0/8' },
    { permission: 'allow', action: 'all', topic: 'x/#', clientid: 'other-*' },
    { permission: 'allow', action: 'all', topic: 'y/#', username: ['bob', 'a*'], qos: 1, retain: 'all' },
  ]);
  const cases: [boolean, boolean][] = [
    [publishes(access, 'fleet/dev-1/up'), true],
    [publishes(access, 'fleet/dev-1/secret'), false],
    [publishes(access, 'fleet/dev-2/up'), false],
    [publishes(access, 'fleet/dev-1/up', 2), false],
    [publishes(access, 'fleet/dev-1/up', 0, true), false],
    [publishes(access, 'users/ann/up'), true],
    [publishes(access, 'x/1'), false],
    [publishes(access, 'y/1', 1, true), true],
    [publishes(access, 'y/1', 0), false],
    [access.subscribe('fleet/+/up', 0) >= 0, true],
    [access.subscribe('fleet/#', 0) >= 0, false],
    [writesTo(access, 'dev-2'), false],
  ];
  for (const [index, [found, expected]] of cases.entries()) assert.equal(found, expected, `case ${index}`);
  assert.equal(accessOf([{ permission: 'allow', action: 'subscribe', topic: 'a', ipaddr: ['::1'] }]).subscribe('a', 0), -1);
});

test('eq takes a topic as it is written', () => {
  const access = accessOf([
    { permission: 'deny', action: 'subscribe', topic: 'eq #' },
    { permission: 'allow', action: 'all', topic: ['eq a/+', 'eq lit/${ClientId}/*', 'b/#'] },
  ]);
  assert.deepEqual(
    ['a/+', 'a/1', 'a/#', '#', 'b/#', 'lit/${ClientId}/*', 'lit/dev-1/x'].map((filter) => access.subscribe(filter, 0) >= 0),
    [true, false, false, false, true, true, false],
  );
  assert.deepEqual(
    ['lit/${ClientId}/*', 'lit/dev-1/x', 'lit/${ClientId}/y'].map((topic) => publishes(access, topic)),
    [true, false, false],
  );
});

test('the address of clients names clients', () => {
  const access = accessOf([
    { permission: 'deny', action: 'publish', topic: 'cmd/p2p/*-locked' },
    { permission: 'allow', action: 'all', topic: ['cmd/p2p/${ClientId}-*', 'eq cmd/p2p/a+b'.replace('+', '-')] },
    { permission: 'allow', action: 'observe', topic: '+/p2p/dev-9*' },
  ]);
  assert.deepEqual(
    ['dev-1-door', 'dev-1-locked', 'a-b', 'other'].map((target) => writesTo(access, target)),
    [true, false, true, false],
  );
  assert.deepEqual(
    ['x/p2p/dev-9', 'x/p2p/dev-1-door', '+/p2p/#'].map((filter) => access.observe(filter, 0) >= 0),
    [true, false, false],
  );
  assert.equal(writesTo(accessOf([{ permission: 'allow', action: 'publish', topic: '#' }]), 'dev-2'), false);
  assert.equal(writesTo(accessOf([{ permission: 'allow', action: 'publish', topic: '+/p2p/#' }]), 'dev-2'), true);
});

test('who denies all topics denies all clients, whatever the statements say', () => {
  const statements = new Statements(rulesOf([{ permission: 'allow', action: 'all', topic: ['#', '+/p2p/#'] }]), {
    counters: new Float64Array(2),
    hits: 0,
    misses: 1,
  });
  const first = { permission: 'allow', action: 'publish', topic: 'x/p2p/dev-2' };
  for (const topic of ['#', '+/#', ['a', '+/+/#']]) {
    const access = statements.accessOf(client, rulesOf([first, { permission: 'deny', action: 'all', topic }]));
    assert.deepEqual([writesTo(access, 'dev-2'), writesTo(access, 'dev-3')], [true, false]);
  }
  // Of one first level it says nothing about clients, who are the same below every one.
  assert.equal(writesTo(statements.accessOf(client, rulesOf([{ permission: 'deny', action: 'all', topic: 'a/#' }])), 'dev-3'), true);
});

test('the old form is a white list', () => {
  const access = accessOf({ pub: ['a/#', 'x/p2p/dev-*'], sub: ['b'], all: ['c'] });
  assert.deepEqual(
    ['a/1', 'b', 'c'].map((topic) => publishes(access, topic)),
    [true, false, true],
  );
  assert.deepEqual(
    ['a/1', 'b', 'c'].map((filter) => access.subscribe(filter, 0) >= 0),
    [false, true, true],
  );
  assert.deepEqual(
    ['dev-2', 'other'].map((target) => writesTo(access, target)),
    [true, false],
  );
  // Whatever stands behind it.
  const settings = rulesOf([{ permission: 'allow', action: 'all', topic: '#' }]);
  const statements = new Statements(settings, { counters: new Float64Array(2), hits: 0, misses: 1 });
  assert.equal(publishes(statements.accessOf(client, rulesOf({ pub: ['a'] })), 'z'), false);
  assert.equal(publishes(statements.accessOf(client, rulesOf([{ permission: 'allow', action: 'publish', topic: 'a' }])), 'z'), true);
});

test('what cannot be read is refused', () => {
  const good = { permission: 'allow', action: 'publish', topic: 'a' };
  const cases: [unknown, string][] = [
    ['text', 'is no list of rules'],
    [null, 'is no list of rules'],
    [new Array(101).fill(good), 'has more than 100 rules'],
    [[7], '[0] is no rule'],
    [[good, { ...good, permission: 'maybe' }], '[1] has no permission of allow or deny'],
    [[{ ...good, action: 'toString' }], '[0] has no action of publish, subscribe, all or observe'],
    [[{ ...good, clientid_re: '^a' }], '[0] has "clientid_re", which is not known'],
    [[{ ...good, topic: '' }], '[0] topic is no text of 1 to 1024 characters'],
    [[{ ...good, topic: 'x'.repeat(1025) }], '[0] topic is no text of 1 to 1024 characters'],
    [[{ ...good, topic: [] }], '[0] topic is no list of 1 to 32 texts'],
    [[{ ...good, topic: 'a/#/b' }], '[0] has a topic that is none: "a/#/b"'],
    [[{ ...good, topic: '\u0000a' }], '[0] has a topic that is none: "\\u0000a"'],
    [[{ ...good, topic: 'a/${Password}' }], '[0] has a topic that is none: "a/${Password}"'],
    [[{ ...good, topic: 'x/p2p/dev/+' }], '[0] names clients by "dev/+"; write patterns with *'],
    [[{ ...good, topic: 'eq x/p2p/a*' }], '[0] names a client that a pattern cannot: "a*"'],
    [[{ ...good, action: 'observe' }], '[0] observes what is no address of clients'],
    [[{ ...good, qos: 3 }], '[0] has a qos that is none of 0, 1 and 2'],
    [[{ ...good, qos: [0, 9] }], '[0] has a qos that is none of 0, 1 and 2'],
    [[{ ...good, retain: 'yes' }], '[0] has a retain that is none of true, false and all'],
    [[{ ...good, ipaddr: 'here' }], '[0] has an ipaddr that is no network: "here"'],
    [[{ ...good, username: ['${Password}'] }], '[0] username has a variable that is not known'],
    [{ pub: 'a' }, 'has a "pub" that is no list of pub, sub or all'],
    [{ publish: ['a'] }, 'has a "publish" that is no list of pub, sub or all'],
  ];
  for (const [claim, message] of cases)
    assert.throws(
      () => rulesOf(claim),
      (error: Error) => error instanceof AclProblem && error.message === message,
      message,
    );
});
