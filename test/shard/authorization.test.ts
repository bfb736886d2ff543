/*
 * Goal: what a refusal does inside the broker: nothing is routed or kept, every part of a client is judged alike, receipts and Wills reach nothing that their client
 * may not, refusals are counted, and a flood of them does not flood the log.
 * Method: two shards in this thread and clients in memory; each refusal stands beside the same thing allowed.
 */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { AckView, readAck } from '../../src/protocol/ack.ts';
import * as types from '../../src/protocol/packet-type.ts';
import type { Properties } from '../../src/protocol/property.ts';
import { readSuback, SubackPacket } from '../../src/protocol/subscribe.ts';
import type { ConnectOptions } from '../support/packet-client.ts';
import { clientIdOn } from '../support/placement.ts';
import { type MemoryClient, type ShardGroup, startShards } from '../support/shard-group.ts';

async function shards(t: TestContext, statements: readonly object[], more: readonly string[] = []): Promise<ShardGroup> {
  const group = await startShards(2, ['mqtt.sysInterval=never', `authorization.statements=${JSON.stringify(statements)}`, ...more]);
  t.after(() => group.stop());
  return group;
}

async function connected(group: ShardGroup, options: ConnectOptions = {}): Promise<MemoryClient> {
  const client = group.connect(options);
  await group.settle();
  assert.equal(client.connack().code, 0);
  return client;
}

function codes(client: MemoryClient, type: number): number[] {
  return client.packetsOf(type).map(({ body }) => {
    const view = new AckView();
    assert.equal(readAck(view, type, body, 0, body.length, client.version), 0);
    return view.reasonCode;
  });
}

function statuses(client: MemoryClient): string[] {
  const { body } = client.packetsOf(types.PUBACK).at(-1)!;
  const view = new AckView();
  assert.equal(readAck(view, types.PUBACK, body, 0, body.length, client.version), 0);
  return (view.properties?.userProperties ?? []).map(([, value]) => value);
}

function granted(client: MemoryClient): number[] {
  return client.packetsOf(types.SUBACK).flatMap(({ body }) => {
    const packet = new SubackPacket();
    assert.equal(readSuback(packet, body, 0, body.length, client.version), 0);
    return [...packet.codes];
  });
}

const all = { effect: 'allow', actions: ['publish', 'subscribe'] };
const toAll = { effect: 'allow', resource: 'p2p', actions: ['publish'] };

test('a refused message reaches nobody, is not retained, and frees its identifier', async (t) => {
  const group = await shards(t, [
    { ...all, actions: ['publish'], topics: ['open/#'] },
    { ...all, actions: ['subscribe'] },
  ]);
  const receiver = await connected(group, { clientId: clientIdOn(1, 2) });
  receiver.subscribe('#', 2);
  await group.settle();
  const sender = await connected(group);
  for (const topic of ['open/a', 'shut/a']) {
    for (const qos of [0, 1, 2]) {
      sender.publish(topic, topic, qos, qos, {}, true);
      await group.settle();
      if (qos === 2) sender.ack(types.PUBREL, 2);
      await group.settle();
    }
  }
  assert.deepEqual(codes(sender, types.PUBACK), [0, 0x87]);
  assert.deepEqual(codes(sender, types.PUBREC), [0, 0x87]);
  assert.deepEqual(receiver.payloads(), ['open/a', 'open/a', 'open/a']);
  assert.equal(group.count('retained/count'), 1);
  assert.equal(group.count('authorization/denied/publish'), 3);
  assert.equal(group.count('publish/dropped/not-authorized'), 3);
  assert.equal(sender.connection.session!.received?.count ?? 0, 0);
});

test('a Topic Alias is judged by the topic behind it', async (t) => {
  const group = await shards(t, [{ ...all, topics: ['open/+'] }]);
  const sender = await connected(group);
  sender.publish('shut/a', '', 1, 1, { topicAlias: 1 });
  sender.publish('', '', 1, 2, { topicAlias: 1 });
  sender.publish('open/a', '', 1, 3, { topicAlias: 1 });
  sender.publish('', '', 1, 4, { topicAlias: 1 });
  await group.settle();
  assert.deepEqual(codes(sender, types.PUBACK), [0x87, 0x87, 0x10, 0x10]);
});

test('data streams of a client are judged as the client is', async (t) => {
  const group = await shards(t, [{ ...all, topics: ['${ClientId}/#'] }]);
  const control = await connected(group, { clientId: clientIdOn(1, 2, 'dev') });
  const stream = control.openStream();
  stream.publish('other/a', '', 1, 1);
  stream.publish(`${control.clientId}/a`, '', 1, 2);
  stream.subscribe('other/#', 0, 3);
  stream.subscribe(`${control.clientId}/#`, 0, 4);
  await group.settle();
  assert.deepEqual(codes(stream, types.PUBACK), [0x87, 0x10]);
  assert.deepEqual(granted(stream), [0x87, 0]);
});

test('P2P: each target for itself, on its own shard or another, and topics say nothing about it', async (t) => {
  const group = await shards(t, [
    { effect: 'deny', resource: 'p2p', actions: ['publish'], targets: ['*-locked'] },
    { effect: 'allow', resource: 'p2p', actions: ['publish'], targets: ['${ClientId}-*'] },
    { ...all, topics: ['#'] },
  ]);
  const sender = await connected(group, { clientId: 'gw' });
  const own = [0, 1].map((shard) => clientIdOn(shard, 2, 'gw'));
  const locked = clientIdOn(1, 2, 'gw', '-locked');
  const foreign = [0, 1].map((shard) => clientIdOn(shard, 2, 'other'));
  const targets: MemoryClient[] = [];
  for (const clientId of [...own, locked, ...foreign]) targets.push(await connected(group, { clientId }));
  for (const [index, { clientId }] of targets.entries()) sender.publish(`dev/p2p/${clientId}`, clientId, 1, index + 1);
  await group.settle();
  assert.deepEqual(codes(sender, types.PUBACK), [0, 0, 0x87, 0x87, 0x87]);
  const asking: Properties = {
    userProperties: [['p2p-report', '1'], ...targets.map(({ clientId }): [string, string] => ['p2p-target', clientId])],
  };
  sender.publish('dev/p2p', 'all', 1, 10, asking);
  await group.settle();
  const expected = targets.map(({ clientId }, index) => `${clientId}=${index < 2 ? 'delivered' : 'denied'}`);
  assert.deepEqual(statuses(sender).sort(), expected.sort());
  sender.publish('dev/p2p', 'none', 1, 11, { userProperties: foreign.map((clientId): [string, string] => ['p2p-target', clientId]) });
  await group.settle();
  assert.equal(codes(sender, types.PUBACK).at(-1), 0x87);
  assert.deepEqual(
    targets.map((target) => target.payloads()),
    targets.map(({ clientId }, index) => (index < 2 ? [clientId, 'all'] : [])),
  );
});

test('a receipt comes where the sender may publish, and on its own address', async (t) => {
  const group = await shards(t, [toAll, { ...all, actions: ['subscribe'] }, { ...all, actions: ['publish'], topics: ['open/#'] }], []);
  const [target, watcher, sender] = [
    await connected(group, { clientId: clientIdOn(1, 2) }),
    await connected(group, { clientId: clientIdOn(0, 2) }),
    await connected(group, { clientId: clientIdOn(0, 2) }),
  ];
  watcher.subscribe('#', 0);
  await group.settle();
  const places = ['open/receipts', 'shut/receipts', `r/p2p/${sender.clientId}`];
  for (const [index, responseTopic] of places.entries()) {
    sender.publish(`dev/p2p/${target.clientId}`, '', 1, index + 1, { responseTopic, userProperties: [['p2p-receipt', '1']] });
    await group.settle();
    target.ack(types.PUBACK, index + 1);
    await group.settle();
  }
  assert.deepEqual(
    watcher.messages().map(({ topic }) => topic),
    ['open/receipts'],
  );
  assert.deepEqual(
    sender.messages().map(({ topic }) => topic),
    [`r/p2p/${sender.clientId}`],
  );
});

test('a Will is judged at CONNECT, with all that it asks for', async (t) => {
  const group = await shards(t, [
    { ...all, topics: ['open/#'] },
    { effect: 'allow', resource: 'p2p', actions: ['publish'], targets: ['friend'] },
  ]);
  const receipt: [string, string] = ['p2p-receipt', '1'];
  const wills: [NonNullable<ConnectOptions['will']>, number][] = [
    [{ topic: 'open/will' }, 0],
    [{ topic: 'shut/will' }, 0x87],
    [{ topic: 'a/p2p/friend' }, 0],
    [{ topic: 'a/p2p/foe' }, 0x87],
    [{ topic: 'a/p2p', properties: { userProperties: [['p2p-target', 'friend']] } }, 0],
    [
      {
        topic: 'a/p2p',
        properties: {
          userProperties: [
            ['p2p-target', 'friend'],
            ['p2p-target', 'foe'],
          ],
        },
      },
      0x87,
    ],
    [{ topic: 'a/p2p/friend', qos: 1, properties: { responseTopic: 'open/r', userProperties: [receipt] } }, 0],
    [{ topic: 'a/p2p/friend', qos: 1, properties: { responseTopic: 'shut/r', userProperties: [receipt] } }, 0x87],
  ];
  for (const [will, code] of wills) {
    const client = group.connect({ clientId: clientIdOn(1, 2), will });
    await group.settle();
    assert.equal(client.connack().code, code, JSON.stringify(will));
  }
  const old = group.connect({ version: types.V311, will: { topic: 'shut/will' } });
  await group.settle();
  assert.equal(old.connack().code, 5);
  assert.equal(group.count('authorization/denied/connect'), 5);
});

test('a client that is refused at CONNECT takes nobody over', async (t) => {
  const group = await shards(t, [{ effect: 'allow', actions: ['connect'], addresses: ['10.0.0.0/8'] }]);
  const client = group.connect();
  await group.settle();
  assert.equal(client.connack().code, 0x87);
  assert.equal(group.count('clients/total'), 0);
});

test('no statement at all: everything is denied but to connect', async (t) => {
  const group = await shards(t, []);
  const client = await connected(group);
  client.publish('a', '', 1, 1);
  client.publish(`a/p2p/${client.clientId}`, '', 1, 2);
  client.subscribe('a', 0, 3);
  client.subscribe('$share/g/a', 0, 4);
  client.subscribe(`a/p2p/${client.clientId}`, 1, 5);
  await group.settle();
  assert.deepEqual(codes(client, types.PUBACK), [0x87, 0x87]);
  assert.deepEqual(granted(client), [0x87, 0x87, 1]);
});

test('a Shared Subscription is judged by its group, too', async (t) => {
  const group = await shards(t, [
    { effect: 'allow', actions: ['subscribe'], groups: ['workers', 'night-*'], clientIds: ['worker*'] },
    { effect: 'deny', actions: ['subscribe'], groups: ['*'] },
    all,
  ]);
  const filters = ['$share/workers/up/#', '$share/night-1/up/#', '$share/others/up/#', 'up/#'];
  for (const [name, expected] of [
    ['worker', [0, 0, 0x87, 0]],
    ['thief', [0x87, 0x87, 0x87, 0]],
  ] as const) {
    const client = await connected(group, { clientId: clientIdOn(1, 2, name) });
    for (const [index, filter] of filters.entries()) {
      client.subscribe(filter, 0, index + 1);
      await group.settle();
    }
    assert.deepEqual(granted(client), expected, name);
  }
  assert.equal(group.count('subscriptions/shared/count'), 2);
});

test('a flood of refusals is ten lines a second for each shard, and the rest is counted', async (t) => {
  const group = await shards(t, []);
  const lines: object[] = [];
  for (const shard of group.shards) shard.log.info = (facts: object) => void lines.push(facts);
  const client = await connected(group);
  const flood = async (): Promise<void> => {
    for (let i = 0; i < 100; i++) client.publish('a', '');
    await group.settle();
  };
  await flood();
  assert.deepEqual(lines[0], { client: client.clientId, action: 'publish', topic: 'a', statement: 'none' });
  assert.equal(lines.length, 10);
  assert.equal(group.count('authorization/log/suppressed'), 90);
  await group.pass(1);
  await flood();
  assert.equal(lines.length, 20);
});
