/*
 * Goal: a subscription gets every Retained Message that matches, once, in batches that neither flood a slow client nor wait for ever; and a query ends with whoever
 * asked or answers.
 * Method: 10,000 retained topics over two shards in this thread, a client whose network takes what the test lets it, and limits set low.
 */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import * as types from '../../src/protocol/packet-type.ts';
import { writePublishPacket } from '../../src/protocol/publish.ts';
import { ReasonCode } from '../../src/protocol/reason-code.ts';
import { peerDied } from '../../src/shard/shard-life.ts';
import { type ConnectOptions, packetOf, publishOf } from '../support/packet-client.ts';
import { clientIdOn } from '../support/placement.ts';
import { type MemoryClient, type ShardGroup, startShards } from '../support/shard-group.ts';

async function shards(t: TestContext, count: number, set: readonly string[] = []): Promise<ShardGroup> {
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

async function retainMany(group: ShardGroup, count: number, payload: Uint8Array, qos = 0): Promise<void> {
  const publisher = await connected(group);
  for (let from = 0; from < count; from += 500) {
    const packets: Uint8Array[] = [];
    for (let i = from; i < Math.min(count, from + 500); i++)
      packets.push(packetOf((writer) => writePublishPacket(writer, publishOf(`r/${i}`, payload, qos, qos && (i % 500) + 1, {}, true), 5)));
    publisher.channel.arrive(Buffer.concat(packets));
    await group.settle();
  }
  publisher.disconnect();
  await group.settle();
  assert.equal(group.count('retained/count'), count);
}

function openScans(group: ShardGroup): number {
  let open = 0;
  for (const shard of group.shards) {
    open += shard.retainedQueries.asked.size;
    for (const scans of shard.retainedQueries.scans) open += scans?.size ?? 0;
  }
  return open;
}

test('nothing comes after UNSUBACK, though thousands were still to come', async (t) => {
  const group = await shards(t, 2, ['limits.outboundBytes=20480', 'limits.ringBytes=65536']);
  await retainMany(group, 4000, Buffer.alloc(100, 0x78));
  const client = await connected(group, { clientId: clientIdOn(0, 2) });
  client.channel.isFull = true;
  client.subscribe('r/+');
  await group.settle();
  client.unsubscribe('r/+');
  for (let quiet = 0; quiet < 3; ) {
    await group.settle();
    if (client.channel.heldBytes > 0) client.channel.drain();
    else quiet++;
  }
  const order = client.packets().map((packet) => packet.type);
  const unsuback = order.indexOf(types.UNSUBACK);
  assert.ok(unsuback > 0 && order.includes(types.PUBLISH));
  assert.equal(order.indexOf(types.PUBLISH, unsuback), -1);
  assert.ok(client.messages().length < 2000);
  assert.equal(openScans(group), 0);
});

test('ten thousand messages to a client that reads slowly: all of them, once, and never many at a time', async (t) => {
  const group = await shards(t, 2, ['limits.outboundBytes=20480', 'limits.ringBytes=65536']);
  await retainMany(group, 10_000, Buffer.alloc(100, 0x78));
  const client = await connected(group, { clientId: clientIdOn(0, 2) });
  client.channel.isFull = true;
  client.subscribe('r/+');
  let most = 0;
  let drains = 0;
  for (let quiet = 0; quiet < 3; ) {
    await group.settle();
    most = Math.max(most, client.connection.bufferedBytes);
    if (client.channel.heldBytes > 0) {
      quiet = 0;
      drains++;
      client.channel.drain();
    } else quiet++;
  }
  const topics = client.messages().map((message) => {
    assert.equal(message.retain, true);
    return message.topic;
  });
  assert.equal(topics.length, 10_000);
  assert.equal(new Set(topics).size, 10_000);
  // Half the limit, and one batch of each shard on top of it.
  assert.ok(most < 20_480 / 2 + 2 * 64 * 120, `${most} bytes at most`);
  assert.ok(drains > 50);
  assert.equal(openScans(group), 0);
  assert.equal(group.count('publish/dropped/outbound-full'), 0);
});

test('QoS 1: the window paces it, and the queue stays small', async (t) => {
  const group = await shards(t, 2, ['limits.inflight=10', 'limits.queueMessages=200']);
  await retainMany(group, 1000, Buffer.from('x'), 1);
  const client = await connected(group, { clientId: clientIdOn(1, 2) });
  client.subscribe('r/#', 1);
  await group.settle();
  const topics: string[] = [];
  for (let handled = 0; ; ) {
    const messages = client.messages();
    if (messages.length === handled) break;
    for (const message of messages.slice(handled)) {
      topics.push(message.topic);
      client.ack(types.PUBACK, message.packetId);
    }
    handled = messages.length;
    await group.settle();
    assert.ok(group.count('queued/messages') <= 3 * 64);
  }
  assert.equal(new Set(topics).size, 1000);
  assert.equal(topics.length, 1000);
  assert.equal(openScans(group), 0);
  assert.equal(group.count('queued/messages'), 0);
});

test('messages larger than the output limit come one after the other', async (t) => {
  const group = await shards(t, 2, ['limits.outboundBytes=1024']);
  await retainMany(group, 300, Buffer.alloc(1500, 0x78));
  for (const shard of [0, 1]) {
    const client = await connected(group, { clientId: clientIdOn(shard, 2) });
    client.subscribe('r/+');
    await group.settle();
    assert.equal(client.messages().length, 300);
    client.disconnect();
    await group.settle();
  }
  assert.equal(openScans(group), 0);
});

test('what is replaced or cleared while a query waits is not sent as it was', async (t) => {
  const group = await shards(t, 1, ['limits.outboundBytes=2048']);
  await retainMany(group, 500, Buffer.alloc(50, 0x78));
  const client = await connected(group);
  client.channel.isFull = true;
  client.subscribe('r/+', 0, 1, { retainAsPublished: true });
  await group.settle();
  const publisher = await connected(group);
  for (let i = 0; i < 500; i++) publisher.publish(`r/${i}`, i % 2 === 0 ? '' : 'new', 0, 0, {}, true);
  await group.settle();
  while (client.channel.heldBytes > 0) {
    client.channel.drain();
    await group.settle();
  }
  const old = client.messages().filter((message) => message.payload.length === 50);
  assert.ok(old.length < 200, `${old.length} old messages`);
  assert.equal(openScans(group), 0);
  const late = await connected(group);
  late.subscribe('r/+');
  await group.settle();
  assert.deepEqual(new Set(late.payloads()), new Set(['new']));
  assert.equal(late.messages().length, 250);
});

test('a query ends with its client, and with the shard that was to answer', async (t) => {
  const group = await shards(t, 2, ['limits.outboundBytes=2048']);
  await retainMany(group, 1000, Buffer.alloc(50, 0x78));
  const gone = await connected(group, { clientId: clientIdOn(0, 2) });
  gone.channel.isFull = true;
  for (let i = 0; i < 5; i++) gone.subscribe(`r/+`, 0, i + 1);
  await group.settle();
  assert.ok(openScans(group) > 0);
  gone.channel.lose();
  await group.settle();
  assert.equal(openScans(group), 0);
  const stays = await connected(group, { clientId: clientIdOn(0, 2) });
  stays.channel.isFull = true;
  stays.subscribe('r/+');
  await group.settle();
  peerDied(group.shards[0]!, 1);
  while (stays.channel.heldBytes > 0) {
    stays.channel.drain();
    await group.settle();
  }
  assert.equal(group.shards[0]!.retainedQueries.asked.size, 0);
  const own = group.shards[0]!.retained.count;
  assert.ok(stays.messages().length >= own && stays.messages().length < 1000);
});

test('one exact topic asks one shard; expired messages and other topics stay away', async (t) => {
  const group = await shards(t, 3);
  const publisher = await connected(group);
  for (let i = 0; i < 20; i++) publisher.publish(`e/${i}`, `p${i}`, 0, 0, i % 2 === 0 ? { messageExpiryInterval: 10 } : {}, true);
  await group.settle();
  const client = await connected(group, { clientId: clientIdOn(2, 3) });
  for (let i = 0; i < 20; i++) client.subscribe(`e/${i}`, 0, i + 1);
  await group.settle();
  assert.deepEqual(client.payloads().sort(), Array.from({ length: 20 }, (_, i) => `p${i}`).sort());
  await group.pass(12);
  assert.equal(group.count('retained/count'), 10);
  for (const shard of group.shards) assert.equal(shard.timers.armedCount, 0);
  const late = await connected(group, { clientId: clientIdOn(1, 3) });
  late.subscribe('e/+');
  await group.settle();
  assert.equal(late.messages().length, 10);
});

test('the limits of the retained store count what is replaced only once, and its counters return to 0', async (t) => {
  const group = await shards(t, 1, ['limits.retainedBytes=1000', 'limits.retainedMessages=3']);
  const publisher = await connected(group);
  const codes = (): number[] => publisher.packetsOf(types.PUBACK).map(({ body }) => body[2] ?? 0);
  publisher.publish('a', 'x'.repeat(700), 1, 1, {}, true);
  publisher.publish('a', 'y'.repeat(750), 1, 2, {}, true);
  publisher.publish('b', 'z'.repeat(500), 1, 3, {}, true);
  await group.settle();
  assert.deepEqual(
    codes().map((code) => code === ReasonCode.QuotaExceeded),
    [false, false, true],
  );
  const client = await connected(group);
  client.subscribe('#');
  await group.settle();
  assert.deepEqual(
    client.payloads().map((text) => text[0]),
    ['y'],
  );
  publisher.publish('a', '', 1, 4, {}, true);
  for (let i = 0; i < 4; i++) publisher.publish(`c/${i}`, '', 1, 5 + i, {}, true);
  for (let i = 0; i < 4; i++) publisher.publish(`c/${i}`, 'q', 1, 10 + i, {}, true);
  await group.settle();
  assert.equal(group.count('retained/count'), 3);
  for (let i = 0; i < 4; i++) publisher.publish(`c/${i}`, '', 0, 0, {}, true);
  await group.settle();
  assert.deepEqual([group.count('retained/count'), group.count('retained/bytes')], [0, 0]);
});
