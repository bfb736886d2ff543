/*
 * Goal: quotas become settings, off unless they are written; what could mean nothing is one clear line.
 * Method: keys as on the command line; settings and exact lines are compared.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { QuotaSettings } from '../../src/base/settings.ts';
import { ConfigError, loadSettings } from '../../src/server/config.ts';

async function quotasOf(...set: string[]): Promise<QuotaSettings> {
  return (await loadSettings({ set })).quotas;
}

async function problem(set: string): Promise<string> {
  try {
    await quotasOf(set);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.lines.join('\n');
  }
  throw new assert.AssertionError({ message: `no problem was found in ${set}` });
}

const off = { messagesIn: null, bytesIn: null, overLimit: 'reject' };
const rate = (perSecond: number, burst = perSecond): object => ({ perSecond, burst });

test('all are off but the rate of CONNECT, which follows the connections', async () => {
  const plain = {
    client: { ...off, messagesOut: null, bytesOut: null, subscribeRate: null },
    listeners: [off],
    groups: { ...off, by: null, connections: 0 },
    broker: { ...off, connectRate: rate(10_000), subscribeRate: null },
  };
  assert.deepEqual(await quotasOf(), plain);
  assert.deepEqual((await quotasOf('limits.connections=9999')).broker.connectRate, rate(100));
  assert.deepEqual((await quotasOf('limits.connections=20000')).broker.connectRate, rate(200));
  assert.equal((await quotasOf('quotas.broker.connectRate=off')).broker.connectRate, null);
  assert.deepEqual((await quotasOf('quotas.broker.connectRate=7')).broker.connectRate, rate(7));
});

test('a rate is a number, or one with a burst; bytes have units', async () => {
  const { client, groups, listeners } = await quotasOf(
    'quotas.client.messagesIn=10',
    'quotas.client.bytesIn={ perSecond: 64KiB, burst: 1MiB }',
    'quotas.client.bytesOut=1MB',
    'quotas.groups.by=attribute:tenant',
    'quotas.groups.messagesIn={ perSecond: 100 }',
    'quotas.groups.connections=3',
    'quotas.groups.overLimit=throttle',
    'listeners=[{ type: tcp, bind: "127.0.0.1:0" }, { type: tcp, bind: "127.0.0.1:0", messagesIn: 5, overLimit: throttle }]',
  );
  assert.deepEqual([client.messagesIn, client.bytesIn, client.bytesOut], [rate(10), rate(65_536, 1_048_576), rate(1_000_000)]);
  assert.deepEqual(groups, {
    by: { kind: 'attribute', name: 'tenant' },
    messagesIn: rate(100),
    bytesIn: null,
    connections: 3,
    overLimit: 'throttle',
  });
  assert.deepEqual(listeners, [off, { ...off, messagesIn: rate(5), overLimit: 'throttle' }]);
  assert.deepEqual((await quotasOf('quotas.groups.by=username')).groups.by, { kind: 'username' });
});

test('every mistake is said', async () => {
  const such = 'expected off, 100 or { perSecond: 100, burst: 500 }, not';
  const cases = [
    ['quotas.client.messagesIn=0', `--set quotas.client.messagesIn: ${such} 0`],
    ['quotas.client.messagesIn=many', `--set quotas.client.messagesIn: ${such} "many"`],
    ['quotas.client.messagesIn={ burst: 5 }', `--set quotas.client.messagesIn: ${such} {"burst":5}`],
    ['quotas.client.messagesIn={ perSecond: 5, more: 1 }', `--set quotas.client.messagesIn: ${such} {"perSecond":5,"more":1}`],
    [
      'quotas.client.messagesIn={ perSecond: 100, burst: 24 }',
      '--set quotas.client.messagesIn: expected a burst of what a quarter of a second up to an hour brings, not {"perSecond":100,"burst":24}',
    ],
    [
      'quotas.broker.connectRate=soon',
      '--set quotas.broker.connectRate: expected auto, off, 100 or { perSecond: 100, burst: 500 }, not "soon"',
    ],
    ['quotas.groups.by=tenant', '--set quotas.groups.by: expected none, username or an attribute such as attribute:tenant, not "tenant"'],
    [
      'quotas.groups.connections=5',
      'quotas.groups.by: expected username or an attribute such as attribute:tenant, because there are limits of groups',
    ],
    ['quotas.broker.messages=5', '--set quotas.broker.messages: unknown key; did you mean quotas.broker.messagesIn?'],
  ];
  for (const [set, line] of cases) assert.equal(await problem(set!), line);
});
