/**
 * What a shard measures, with a clock that the test moves: time in queues, connections that are blocked, who does not acknowledge, and topics that cost most.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8Bytes } from '../../src/base/bytes.ts';
import { PUBACK } from '../../src/protocol/packet-type.ts';
import { MessageView } from '../../src/protocol/publish.ts';
import { MeasuresReader, quantile } from '../../src/shard/measures.ts';
import { type SlowClient, SlowClients, type SlowOrder } from '../../src/shard/slow-clients.ts';
import { SlowRoutes } from '../../src/shard/slow-routes.ts';
import { startShards } from '../support/shard-group.ts';

test('time in a queue is measured from the publish to the sending', async (t) => {
  const group = await startShards(1);
  t.after(() => group.stop());
  const reader = new MeasuresReader(group.memory.measures, 1);
  const away = group.connect({ clientId: 'away', properties: { sessionExpiryInterval: 3600 }, cleanStart: false });
  const sender = group.connect({ clientId: 'sender' });
  await group.settle();
  away.disconnect();
  await group.settle();
  for (let i = 1; i <= 3; i++) sender.publish('a/p2p/away', 'x', 1, i);
  await group.settle();
  assert.equal(reader.distribution('queue', -1).count, 0);
  await group.pass(60);
  const back = group.connect({ clientId: 'away', properties: { sessionExpiryInterval: 3600 }, cleanStart: false });
  await group.settle();
  assert.equal(back.messages().length, 3);
  const waited = reader.distribution('queue', -1);
  assert.equal(waited.count, 3);
  assert.equal(waited.sumMicroseconds, 3 * 60_000_000);
  assert.ok(quantile(waited, 0.5, null)! >= 60_000_000);
  assert.equal(reader.distribution('acknowledge-1', -1).count, 3);
  assert.equal(reader.distribution('connect', 0).count, 3);
});

test('a connection counts as blocked from the block until its network takes something, or it is gone', async (t) => {
  const group = await startShards(1);
  t.after(() => group.stop());
  const reader = group.connect({ clientId: 'reader' });
  const sender = group.connect({ clientId: 'sender' });
  await group.settle();
  reader.channel.isFull = true;
  sender.publish('a/p2p/reader', 'x');
  await group.settle();
  assert.equal(group.count('connections/blocked'), 1);
  const slow = new SlowClients(group.shards[0]!);
  const list = (order: SlowOrder): Promise<readonly SlowClient[]> => new Promise((resolve) => slow.find({ order, limit: 10 }, resolve));
  await group.pass(7);
  const [first, ...others] = await list('blockedMilliseconds');
  assert.deepEqual(others, []);
  assert.equal(first!.clientId, 'reader');
  assert.equal(first!.blockedMilliseconds, 7000);
  assert.ok(first!.bufferedBytes > 0);
  reader.channel.isFull = false;
  reader.channel.drain();
  await group.settle();
  assert.equal(group.count('connections/blocked'), 0);
  reader.channel.isFull = true;
  sender.publish('a/p2p/reader', 'y');
  await group.settle();
  assert.equal(group.count('connections/blocked'), 1);
  reader.channel.lose();
  await group.settle();
  assert.equal(group.count('connections/blocked'), 0);
});

test('a client that does not acknowledge is known by the time since it did', async (t) => {
  const group = await startShards(1);
  t.after(() => group.stop());
  const late = group.connect({ clientId: 'late' });
  const sender = group.connect({ clientId: 'sender' });
  await group.settle();
  const age = async (): Promise<number | undefined> => {
    // A new one remembers nothing.
    const slow = new SlowClients(group.shards[0]!);
    const found = await new Promise<readonly SlowClient[]>((resolve) =>
      slow.find({ order: 'unacknowledgedMilliseconds', limit: 10 }, resolve),
    );
    return found[0]?.unacknowledgedMilliseconds;
  };
  await group.pass(100);
  sender.publish('a/p2p/late', 'x', 1, 1);
  sender.publish('a/p2p/late', 'y', 1, 2);
  await group.pass(5);
  assert.equal(await age(), 5000);
  const [first, second] = late.messages();
  late.ack(PUBACK, first!.packetId);
  await group.pass(3);
  assert.equal(await age(), 3000);
  late.ack(PUBACK, second!.packetId);
  await group.settle();
  assert.equal(await age(), undefined);
});

test('the dearest topics stay in the table, others make room, and all fade', () => {
  const routes = new SlowRoutes(4);
  let due = 0;
  for (let i = 0; i < 100; i++) if (routes.isDue()) due++;
  assert.equal(due, 25);
  const view = new MessageView();
  const add = (topic: string, receivers: number, microseconds: number): void => {
    view.topicBytes = utf8Bytes(topic);
    view.topicAt = 0;
    view.topicEnd = view.topicBytes.length;
    routes.add(view, receivers, microseconds);
  };
  for (let i = 0; i < 10; i++) add('dear', 1000, 500);
  for (let i = 0; i < 5000; i++) add(`once/${i}`, 1, 1);
  const [first, ...others] = routes.top(300);
  assert.deepEqual(first, { topic: 'dear', messages: 40, deliveries: 40_000, milliseconds: 20 });
  assert.equal(others.length, 255);
  for (let second = 0; second < 60; second++) routes.fade();
  assert.equal(routes.top(1)[0]!.messages, 20);
  for (let second = 0; second < 1000; second++) routes.fade();
  assert.deepEqual(routes.top(1), []);
});
