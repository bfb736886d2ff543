/*
 * Goal: who may observe gets a marked copy of every P2P message that its target takes, wherever sender, target and observer are; nobody else does; and nothing of the
 * message itself changes. Where nobody observes, nothing is sent for it.
 * Method: two shards in this thread and clients in memory, in every placement.
 */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { AckView, readAck } from '../../src/protocol/ack.ts';
import * as types from '../../src/protocol/packet-type.ts';
import { readSuback, SubackPacket } from '../../src/protocol/subscribe.ts';
import type { ConnectOptions } from '../support/packet-client.ts';
import { clientIdOn } from '../support/placement.ts';
import { type MemoryClient, type ShardGroup, startShards } from '../support/shard-group.ts';

const toAll = { effect: 'allow', resource: 'p2p', actions: ['publish'] };
const topics = { effect: 'allow', actions: ['publish', 'subscribe'] };
const audit = { effect: 'allow', resource: 'p2p', actions: ['observe'], clientIds: ['audit*'] };

async function shards(t: TestContext, statements: readonly object[] | null, more: readonly string[] = []): Promise<ShardGroup> {
  const set = statements === null ? [] : [`authorization.statements=${JSON.stringify(statements)}`];
  const group = await startShards(2, ['mqtt.sysInterval=never', ...set, ...more]);
  t.after(() => group.stop());
  return group;
}

async function connected(group: ShardGroup, shard: number, name = 'c', options: ConnectOptions = {}): Promise<MemoryClient> {
  const client = group.connect({ ...options, clientId: options.clientId ?? clientIdOn(shard, 2, name) });
  await group.settle();
  assert.equal(client.connack().code, 0);
  return client;
}

async function subscribed(group: ShardGroup, client: MemoryClient, filter: string, qos = 2): Promise<number> {
  client.subscribe(filter, qos);
  await group.settle();
  const { body } = client.packetsOf(types.SUBACK).at(-1)!;
  const packet = new SubackPacket();
  assert.equal(readSuback(packet, body, 0, body.length, client.version), 0);
  return packet.codes[0]!;
}

function acked(client: MemoryClient): [number, string[]] {
  const { body } = client.packetsOf(types.PUBACK).at(-1)!;
  const view = new AckView();
  assert.equal(readAck(view, types.PUBACK, body, 0, body.length, client.version), 0);
  return [view.reasonCode, (view.properties?.userProperties ?? []).map(([, value]) => value)];
}

function heard(client: MemoryClient): string[] {
  return client.messages().map(({ topic, qos, payload, properties }) => {
    const marks = (properties?.userProperties ?? []).map(([key, value]) => `${key}=${value}`);
    return `${topic} ${String(Buffer.from(payload))} ${qos} ${marks.join(' ')}`;
  });
}

for (const target of [0, 1]) {
  for (const observer of [0, 1]) {
    test(`sender on shard 0, target on ${target}, observer on ${observer}`, async (t) => {
      const group = await shards(t, [audit, toAll, topics]);
      const [sender, receiver, ears, plain] = [
        await connected(group, 0),
        await connected(group, target),
        await connected(group, observer, 'audit'),
        await connected(group, observer),
      ];
      assert.equal(await subscribed(group, ears, '+/p2p/#', 1), 1);
      assert.equal(await subscribed(group, plain, '#'), 2);
      assert.equal(await subscribed(group, plain, '+/p2p/#'), 0x87);
      for (const qos of [0, 1, 2]) {
        sender.publish(`a/p2p/${receiver.clientId}`, `m${qos}`, qos, 1 + qos, { userProperties: [['k', 'v']] }, true);
        await group.settle();
      }
      assert.deepEqual(
        heard(ears),
        [0, 1, 2].map((qos) => `a/p2p/${receiver.clientId} m${qos} ${Math.min(qos, 1)} k=v p2p-observed=1`),
      );
      assert.deepEqual(
        heard(receiver),
        [0, 1, 2].map((qos) => `a/p2p/${receiver.clientId} m${qos} ${qos} k=v`),
      );
      assert.deepEqual(heard(plain), []);
      assert.deepEqual(acked(sender), [0, []]);
      assert.equal(group.count('p2p/observed'), 3);
      ears.unsubscribe('+/p2p/#');
      await group.settle();
      const before = group.count('ring/frames/publish');
      sender.publish(`a/p2p/${receiver.clientId}`, 'alone', 1, 9);
      await group.settle();
      assert.equal(group.count('ring/frames/publish') - before, target, 'one hop again');
      assert.equal(heard(ears).length, 3);
    });
  }
}

test('copies are of messages that were taken, and say whom they went to', async (t) => {
  const group = await shards(t, [audit, { ...toAll, effect: 'deny', targets: ['*-locked'] }, toAll, topics], ['p2p.mailbox.enabled=true']);
  const ears = await connected(group, 1, 'audit');
  assert.equal(await subscribed(group, ears, 'a/p2p/#'), 2);
  const sender = await connected(group, 0);
  const away = await connected(group, 1, 'away', { cleanStart: false, properties: { sessionExpiryInterval: 600 } });
  away.channel.destroy();
  await group.settle();
  const userProperties = ['locked-locked', 'mailbox', away.clientId, 'x+y'].map((id): [string, string] => ['p2p-target', id]);
  sender.publish('a/p2p', 'm', 1, 1, { userProperties: [...userProperties, ['p2p-report', '1']] });
  await group.settle();
  assert.deepEqual(acked(sender)[1].sort(), [`${away.clientId}=queued`, 'locked-locked=denied', 'mailbox=mailbox', 'x+y=mailbox'].sort());
  assert.deepEqual(
    heard(ears).sort(),
    ['a/p2p', 'a/p2p/mailbox', `a/p2p/${away.clientId}`].map((topic) => `${topic} m 1 p2p-observed=1`).sort(),
  );
  sender.publish(`a/p2p/${away.clientId}`, 'zero', 0);
  sender.publish(`b/p2p/${away.clientId}`, 'other first level', 1, 2);
  await group.settle();
  assert.equal(heard(ears).length, 3);
});

test('what is granted: all that the filter names, by statements or to a superuser, and never through a group', async (t) => {
  const group = await shards(t, [
    { ...audit, effect: 'deny', targets: ['secret-*'] },
    { ...audit, targets: ['dev-*', 'secret-1'] },
    topics,
  ]);
  const ears = await connected(group, 0, 'audit');
  const asked: [string, number][] = [
    ['a/p2p/dev-1', 1],
    ['+/p2p/dev-1/+', 1],
    ['a/p2p/dev-2/#', 1],
    ['a/p2p/secret-1', 0x87],
    ['a/p2p/#', 0x87],
    ['a/p2p/+', 0x87],
    ['a/p2p/other', 0x87],
    ['$share/g/a/p2p/dev-1', 0x87],
    [`a/p2p/${ears.clientId}`, 1],
  ];
  for (const [filter, code] of asked) assert.equal(await subscribed(group, ears, filter, 1), code, filter);
  assert.equal(group.count('authorization/denied/subscribe'), 4);
  const open = await shards(t, null);
  const [anybody, chief] = [await connected(open, 0), await connected(open, 1)];
  Object.assign(chief.connection, { identity: { ...chief.connection.identity!, isSuperuser: true } });
  assert.equal(await subscribed(open, anybody, '+/p2p/+'), 0x87);
  assert.equal(await subscribed(open, chief, '+/p2p/+'), 2);
});

test('an observer that is away finds its copies, and loses them with the right', async (t) => {
  const group = await shards(t, [{ ...audit, usernames: undefined }, toAll, topics]);
  const kept: ConnectOptions = { cleanStart: false, properties: { sessionExpiryInterval: 600 } };
  const ears = await connected(group, 1, 'audit', kept);
  assert.equal(await subscribed(group, ears, '+/p2p/+'), 2);
  ears.channel.destroy();
  const [sender, receiver] = [await connected(group, 0), await connected(group, 0)];
  sender.publish(`a/p2p/${receiver.clientId}`, 'while away', 1, 1);
  await group.settle();
  const back = await connected(group, 1, '', { ...kept, clientId: ears.clientId });
  assert.deepEqual(back.payloads(), ['while away']);
  back.channel.destroy();
  await group.settle();
  for (const { authorization } of group.shards) authorization.replace({ statements: [], deniedV3: 'acknowledge' });
  await connected(group, 1, '', { ...kept, clientId: ears.clientId });
  assert.equal(group.count('subscriptions/count'), 0);
});

test('an observer on a data stream is one for its session afterwards, and loses that with the right', async (t) => {
  const group = await shards(t, [audit, toAll, topics]);
  const kept: ConnectOptions = { cleanStart: false, properties: { sessionExpiryInterval: 600 } };
  const ears = await connected(group, 1, 'audit', kept);
  assert.equal(await subscribed(group, ears.openStream(), '+/p2p/+'), 2);
  ears.channel.destroy();
  await group.settle();
  assert.equal(group.count('subscriptions/count'), 1);
  for (const { authorization } of group.shards) authorization.replace({ statements: [], deniedV3: 'acknowledge' });
  await connected(group, 1, '', { ...kept, clientId: ears.clientId });
  assert.equal(group.count('subscriptions/count'), 0);
});

test('no filter names what stands for the wildcards in a Client Identifier', async (t) => {
  const deny = { effect: 'deny', resource: 'p2p', actions: ['observe'], targets: ['a+b'] };
  const group = await shards(t, [deny, audit, toAll, topics]);
  const [ears, sender] = [await connected(group, 1, 'audit'), await connected(group, 0)];
  const receiver = await connected(group, 0, '', { clientId: 'a+b' });
  assert.equal(await subscribed(group, ears, 'x/p2p/+'), 0x87);
  assert.equal(await subscribed(group, ears, 'x/p2p/a\u0001b'), 2);
  sender.publish('x/p2p/', 'secret', 1, 1, { userProperties: [['p2p-target', 'a+b']] });
  await group.settle();
  assert.deepEqual(receiver.payloads(), ['secret']);
  assert.deepEqual(ears.payloads(), []);
});

test('copies of one turn have a bound, and what they are copies of has none of it', async (t) => {
  const group = await shards(t, [audit, toAll, topics]);
  const [ears, sender] = [await connected(group, 0, 'audit'), await connected(group, 0)];
  const targets: MemoryClient[] = [];
  for (let i = 0; i < 40; i++) targets.push(await connected(group, 0));
  assert.equal(await subscribed(group, ears, '+/p2p/+', 0), 0);
  const userProperties = targets.map(({ clientId }): [string, string] => ['p2p-target', clientId]);
  const payload = Buffer.alloc(400_000);
  for (let i = 0; i < 4; i++) sender.publish('x/p2p', payload, 1, 1 + i, { userProperties });
  await group.settle();
  for (const target of targets) assert.equal(target.messages().length, 4);
  const [copied, dropped] = [group.count('p2p/observed'), group.count('p2p/observed/dropped')];
  assert.equal(copied + dropped, 160);
  assert.ok(copied >= 80 && dropped > 0, `${copied} copied, ${dropped} dropped`);
  assert.deepEqual(
    group.shards.map(({ observedBytes }) => observedBytes),
    [0, 0],
  );
});
