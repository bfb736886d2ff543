/*
 * Goal: what a publisher writes into the far corners of a PUBLISH (a target as long as a string can be, a report larger than its sender takes, a Response Topic
 * that nobody may publish to) harms neither the shard nor other clients.
 * Method: shards in this thread and clients in memory; each corner is one packet, and what everybody got is read back.
 */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { AckView, readAck } from '../../src/protocol/ack.ts';
import * as types from '../../src/protocol/packet-type.ts';
import { ReasonCode } from '../../src/protocol/reason-code.ts';
import { CONNECTED } from '../../src/shard/connection.ts';
import type { ConnectOptions } from '../support/packet-client.ts';
import { clientIdOn } from '../support/placement.ts';
import { type MemoryClient, type ShardGroup, startShards } from '../support/shard-group.ts';

async function shards(t: TestContext, count = 1, set: readonly string[] = []): Promise<ShardGroup> {
  const group = await startShards(count, ['mqtt.sysInterval=never', ...set]);
  t.after(() => group.stop());
  return group;
}

async function connected(group: ShardGroup, options: ConnectOptions = {}): Promise<MemoryClient> {
  const client = group.connect(options);
  await group.settle();
  assert.equal(client.connack().code, 0);
  return client;
}

/** The only PUBACK of a client. */
function puback(client: MemoryClient): { code: number; statuses: string[]; bytes: number } {
  const [packet, ...more] = client.packetsOf(types.PUBACK);
  assert.ok(packet !== undefined && more.length === 0, 'one PUBACK came');
  const view = new AckView();
  assert.equal(readAck(view, types.PUBACK, packet.body, 0, packet.body.length, types.V5), 0);
  const statuses = (view.properties?.userProperties ?? []).map(([, value]) => value);
  return { code: view.reasonCode, statuses, bytes: packet.body.length };
}

for (const count of [1, 2]) {
  test(`a target that is too long for its status is left out of the report (${count} shards)`, async (t) => {
    const group = await shards(t, count);
    const sender = await connected(group);
    const long = clientIdOn(count - 1, count).padEnd(65_530, 'x');
    const targets: [string, string][] = [
      ['p2p-target', long],
      ['p2p-target', `${long.slice(0, -1)}y`],
      ['p2p-target', 'short'],
      ['p2p-report', '1'],
    ];
    sender.publish('cmd/p2p/', 'm', 1, 1, { userProperties: targets });
    await group.settle();
    const { code, statuses } = puback(sender);
    assert.equal(code, ReasonCode.NoMatchingSubscribers);
    assert.deepEqual(statuses, ['short=no-session']);
    assert.equal(sender.connection.state, CONNECTED);
  });
}

test('a report that exceeds the sender’s Maximum Packet Size is left out, the reason code is not', async (t) => {
  const group = await shards(t);
  const sender = await connected(group, { properties: { maximumPacketSize: 300 } });
  const targets: [string, string][] = [];
  for (let i = 0; i < 20; i++) targets.push(['p2p-target', `nobody-${i}`]);
  sender.publish('cmd/p2p/', 'm', 1, 1, { userProperties: [...targets, ['p2p-report', '1']] });
  await group.settle();
  const { code, statuses, bytes } = puback(sender);
  assert.equal(code, ReasonCode.NoMatchingSubscribers);
  assert.deepEqual(statuses, []);
  assert.ok(bytes < 300);
});

for (const responseTopic of ['', '$events/client_connected', '/'.repeat(200)]) {
  test(`no receipt goes to the Response Topic "${responseTopic.slice(0, 20)}", which its sender may not publish to`, async (t) => {
    const group = await shards(t);
    const listener = await connected(group, { clientId: 'listener' });
    listener.subscribe('#', 1, 1);
    listener.subscribe('$events/client_connected', 1, 2);
    const sender = await connected(group, { clientId: 'sender' });
    await group.settle();
    const before = listener.messages().length;
    sender.publish('cmd/p2p/nobody', 'm', 1, 1, { responseTopic, userProperties: [['p2p-receipt', '1']] });
    await group.settle();
    assert.equal(puback(sender).code, ReasonCode.NoMatchingSubscribers);
    assert.equal(listener.messages().length, before);
    assert.equal(group.count('p2p/receipts'), 0);
  });
}

test('a kept QoS 0 message is not overtaken by a later one', async (t) => {
  const group = await shards(t, 1, ['queue.qos0=true']);
  const sender = await connected(group, { clientId: 'sender' });
  const session: ConnectOptions = { clientId: 'sleeper', cleanStart: false, properties: { sessionExpiryInterval: 60 } };
  const sleeper = await connected(group, session);
  sleeper.channel.lose();
  sender.publish('cmd/p2p/sleeper', 'held', 1, 1);
  sender.publish('cmd/p2p/sleeper', 'second', 1, 2);
  sender.publish('cmd/p2p/sleeper', 'a', 0);
  await group.settle();
  const back = group.connect({ ...session, properties: { sessionExpiryInterval: 60, receiveMaximum: 1 } });
  await group.settle();
  sender.publish('cmd/p2p/sleeper', 'b', 0);
  await group.settle();
  for (const message of back.messages()) if (message.qos === 1) back.ack(types.PUBACK, message.packetId);
  await group.settle();
  assert.deepEqual(back.payloads(), ['held', 'second', 'a', 'b']);
});

test('what makes room in a full queue does not change the message that takes it', async (t) => {
  const group = await shards(t, 1, ['queue.overflow=drop-oldest', 'limits.queueMessages=1']);
  const sender = await connected(group, { clientId: 'sender' });
  const keeps: ConnectOptions = { cleanStart: false, properties: { sessionExpiryInterval: 60 } };
  const first = await connected(group, { clientId: 'first', ...keeps });
  const second = await connected(group, { clientId: 'second', ...keeps });
  first.subscribe('$share/g/t', 1);
  second.subscribe('$share/g/t', 1);
  await group.settle();
  second.channel.lose();
  // The session of `first` ends with a shared message in flight, and that of `second` is full with one that has an expiry and a receipt.
  sender.publish('t', 'shared', 1, 1);
  sender.publish('cmd/p2p/second', 'oldest', 1, 2, {
    messageExpiryInterval: 30,
    responseTopic: 'replies',
    userProperties: [['p2p-receipt', '1']],
  });
  await group.settle();
  first.disconnect(0, { sessionExpiryInterval: 0 });
  await group.settle();
  await group.pass(1);
  const back = group.connect({ clientId: 'second', ...keeps });
  await group.settle();
  assert.deepEqual(back.payloads(), ['shared']);
});

test('an expiry interval does not come out longer where the receiving shard began its turn before the publisher did', async (t) => {
  const group = await shards(t, 2);
  const sender = await connected(group, { clientId: clientIdOn(0, 2) });
  const receiver = await connected(group, { clientId: clientIdOn(1, 2) });
  const [publishing, receiving] = group.shards;
  // Two threads: the turn of one is long, and the other's begins and ends within it.
  receiving!.startTurn();
  group.now += 700;
  publishing!.timers.tick();
  sender.publish(`cmd/p2p/${receiver.clientId}`, 'm', 1, 1, { messageExpiryInterval: 1 });
  publishing!.mesh.publish();
  await group.settle();
  assert.deepEqual(
    receiver.messages().map(({ properties }) => properties.messageExpiryInterval),
    [1],
  );
});
