/**
 * Goal: what can go wrong where the streams of a client meet: groups, messages that are sent again, limits, crashes, the cleaner.
 * Method: one moment each, on shards in memory, some over a disk that the test holds back.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { PUBACK, PUBCOMP, PUBREC, PUBREL, SUBACK, V311 } from '../../src/protocol/packet-type.ts';
import { STREAM_CLOSED } from '../../src/shard/channel.ts';
import { RecordWalk, rewrite } from '../../src/shard/cleaner.ts';
import { deliverToMember } from '../../src/shard/route.ts';
import { quiesce } from '../../src/shard/shard-life.ts';
import { mayOpenStream } from '../../src/shard/streams.ts';
import { KEPT, StoredScene } from '../sim/stored-scene.ts';
import { clientIdOn } from '../support/placement.ts';
import { type ShardGroup, startShards } from '../support/shard-group.ts';

const ON_STREAMS: [string, string][] = [['p2p-stream', 'last']];

/** The power goes and comes back. */
async function restart(scene: StoredScene): Promise<ShardGroup> {
  scene.crash(true);
  await scene.start(1);
  return scene.group;
}

describe('edges of streams', () => {
  test('a QoS 2 message that is sent again and never came reaches every stream that wants it', async () => {
    const scene = new StoredScene();
    await scene.start(2);
    const { group } = scene;
    const client = group.connect({ clientId: clientIdOn(0, 2), ...KEPT });
    await scene.work();
    const streams = [client.openStream(), client.openStream()];
    for (const stream of streams) stream.subscribe('t', 2);
    await scene.work();
    const publisher = group.connect({ clientId: clientIdOn(1, 2), ...KEPT });
    await scene.work();
    scene.publishAgain(publisher, 't', 'x', 7);
    await scene.work();
    assert.deepEqual(publisher.packetsOf(PUBREC).length, 1);
    assert.deepEqual(
      streams.map((stream) => stream.payloads()),
      [['x'], ['x']],
    );
    scene.stop();
  });

  test('a group whose member is a stream gets a QoS 2 message once, however often it is sent', async () => {
    const scene = new StoredScene();
    await scene.start(2);
    const { group } = scene;
    const client = group.connect({ clientId: clientIdOn(0, 2), ...KEPT });
    const other = group.connect({ clientId: clientIdOn(0, 2, 'other'), ...KEPT });
    await scene.work();
    const stream = client.openStream();
    other.subscribe('$share/g/t', 2);
    await scene.work();
    stream.subscribe('$share/g/t', 2);
    await scene.work();
    const shard = group.shards[0]!;
    const { view } = shard;
    const key = Buffer.from('g/t');
    // As `inbound.ts` does: the record of another shard, once, and once more after that shard has died and its publisher has sent it again.
    const give = (isKnown: boolean): void => {
      view.qos = 2;
      view.topicBytes = Buffer.from('tpayload');
      view.topicAt = 0;
      view.topicEnd = 1;
      view.propertyBytes = view.topicBytes;
      view.propertiesAt = view.propertiesEnd = 1;
      view.setPayload(view.topicBytes, 1, 8);
      view.expiresAt = 0;
      view.receipt = 0;
      view.isRetained = false;
      shard.startTurn();
      shard.originId = 4711;
      shard.originPacketId = 7;
      shard.mayBeKnown = isKnown;
      shard.outcome.begin(null, 0, 2);
      shard.newMessage();
      deliverToMember(shard, view, key, 0, key.length, 0, 0);
      shard.newMessage();
      shard.originId = 0;
    };
    for (let i = 0; i < 4; i++) {
      give(i > 0);
      await scene.work();
    }
    assert.equal(stream.payloads().length + other.payloads().length, 1);
    scene.stop();
  });

  test('a group gets back what waited for a client, although another stream of that client is a member too', async () => {
    const group = await startShards(1, ['mqtt.sysInterval=0']);
    const client = group.connect({ clientId: 'c', properties: { receiveMaximum: 8 } });
    const other = group.connect({ clientId: 'other' });
    const slow = client.openStream();
    const quick = client.openStream();
    slow.subscribe('$share/g/t', 2);
    await group.settle();
    const publisher = group.connect({ clientId: 'p' });
    for (let i = 0; i < 16; i++) publisher.publish('t', `${i}`, 2, 1 + i);
    await group.settle();
    assert.equal(slow.payloads().length, 8);
    // Eight wait in the queue: they were never sent to anybody.
    quick.subscribe('$share/g/t', 2);
    other.subscribe('$share/g/t', 2);
    await group.settle();
    client.channel.lose('quic_closed');
    await group.settle();
    assert.deepEqual(other.payloads(), ['8', '9', '10', '11', '12', '13', '14', '15']);
    group.stop();
  });

  test('a subscription of the control stream counts before that of another to the same filter, in memory and after a crash', async () => {
    const scene = new StoredScene();
    await scene.start(1);
    let group = scene.group;
    const client = group.connect({ clientId: 'c', ...KEPT });
    await scene.work();
    client.subscribe('t', 1);
    await scene.work();
    const stream = client.openStream();
    stream.subscribe('t', 0);
    await scene.work();
    client.channel.lose('quic_closed');
    await scene.work();
    const publisher = group.connect({ clientId: 'p' });
    publisher.publish('t', 'before', 1, 1);
    await scene.work();
    group = await restart(scene);
    await scene.work();
    const again = group.connect({ clientId: 'p' });
    again.publish('t', 'after', 1, 1);
    await scene.work();
    const back = group.connect({ clientId: 'c', ...KEPT });
    await scene.work();
    assert.deepEqual(back.payloads(), ['before', 'after']);
    group.stop();
  });

  for (const onStream of [false, true])
    test(`a client that is not read from (${onStream ? 'data stream' : 'control stream'}) is not timed out`, async () => {
      const scene = new StoredScene(['mqtt.receiveMaximum=2']);
      await scene.start(1);
      const { group } = scene;
      const client = group.connect({ clientId: 'c', version: V311, keepAlive: 10 });
      const keeper = group.connect({ clientId: 'k', ...KEPT });
      await scene.work();
      keeper.subscribe('t', 1);
      await scene.work();
      keeper.channel.lose();
      await scene.work();
      const stream = onStream ? client.openStream() : client;
      // The disk takes its time: two are on their way, the third is not read.
      for (let i = 0; i < 6; i++) stream.publish('t', `${i}`, 1, 1 + i);
      await group.settle();
      assert.ok(stream.channel.unreadBytes > 0 || stream.connection.isPaused);
      for (let i = 0; i < 3; i++) await group.pass(10);
      assert.equal(client.channel.isEnded || client.channel.isDestroyed, false, 'it has sent what it could');
      group.stop();
    });

  test('limits.queueMessages holds for a session, however often its streams end', async () => {
    const group = await startShards(1, ['mqtt.sysInterval=0', 'limits.queueMessages=10', 'limits.inflight=3']);
    const client = group.connect({ clientId: 'c', properties: { receiveMaximum: 1, userProperties: ON_STREAMS } });
    const publisher = group.connect({ clientId: 'p' });
    let id = 1;
    for (let round = 0; round < 50; round++) {
      const stream = client.openStream();
      for (let i = 0; i < 12; i++) publisher.publish('a/p2p/c', 'x', 1, id++);
      await group.settle();
      stream.channel.lose(STREAM_CLOSED);
      await group.settle();
    }
    // And what may be in flight.
    const { count } = client.connection.session!.queue!;
    assert.ok(count > 10 && count <= 10 + 3, `${count} messages wait`);
    group.stop();
  });

  for (const kind of ['control', 'stream'])
    test(`a closed connection is not held by cached routes (${kind})`, async () => {
      setFlagsFromString('--expose_gc');
      const gc = runInNewContext('gc') as () => void;
      const group = await startShards(1, ['mqtt.sysInterval=0']);
      const publisher = group.connect({ clientId: 'p' });
      const refs: WeakRef<object>[] = [];
      for (let i = 0; i < 20; i++) {
        await (async () => {
          const client = group.connect({ clientId: `c${i}` });
          const stream = kind === 'control' ? client : client.openStream();
          stream.subscribe(`to/${i}`, 0);
          await group.settle();
          publisher.publish(`to/${i}`, 'x');
          await group.settle();
          assert.deepEqual(stream.payloads(), ['x']);
          refs.push(new WeakRef(stream.channel));
          client.channel.lose('quic_closed');
          await group.settle();
        })();
      }
      for (let i = 0; i < 10; i++) {
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
        gc();
      }
      const alive = refs.filter((ref) => ref.deref() !== undefined).length;
      assert.ok(alive <= 2, `${alive} of 20 channels are held`);
      group.stop();
    });

  test('each stream has Topic Aliases of its own', async () => {
    const group = await startShards(1, ['mqtt.sysInterval=0']);
    const client = group.connect({ clientId: 'c', properties: { topicAliasMaximum: 5 } });
    const stream = client.openStream();
    stream.subscribe('to/stream', 0);
    client.subscribe('to/control', 0);
    await group.settle();
    const publisher = group.connect({ clientId: 'p' });
    for (const topic of ['to/control', 'to/control', 'to/stream', 'to/stream']) publisher.publish(topic, 'x');
    await group.settle();
    assert.deepEqual(
      client.messages().map(({ topic }) => topic),
      ['to/control', ''],
    );
    assert.deepEqual(
      stream.messages().map(({ topic }) => topic),
      ['to/stream', ''],
    );
    group.stop();
  });

  test('a stream costs no number of a session', async () => {
    const group = await startShards(1, ['mqtt.sysInterval=0']);
    const client = group.connect({ clientId: 'c' });
    await group.settle();
    (group.shards[0] as unknown as { sessionCount: number }).sessionCount = 2 ** 32 / 32 - 4;
    for (let i = 0; i < 10; i++) {
      client.openStream().channel.lose(STREAM_CLOSED);
      await group.settle();
    }
    group.stop();
  });

  test('a message whose exchange is over does not come again, whatever the cleaner was doing', async () => {
    const scene = new StoredScene();
    await scene.start(1);
    let group = scene.group;
    const client = group.connect({ clientId: 'c', ...KEPT });
    await scene.work();
    const stream = client.openStream();
    stream.subscribe('t', 2);
    await scene.work();
    const publisher = group.connect({ clientId: 'p' });
    await scene.work();
    const shard = group.shards[0]!;
    // Two messages in one record.
    const { record } = shard.journal.open;
    publisher.publish('t', 'one', 2, 1);
    publisher.publish('t', 'two', 2, 2);
    await scene.work();
    assert.deepEqual(stream.payloads(), ['one', 'two']);
    // A round of cleaning walks the first half of that record, and in the same turn the client takes its message.
    const walk = new RecordWalk();
    walk.begin(record, scene.disk.get(record)!);
    assert.equal(rewrite(shard, walk, 1), false);
    stream.ack(PUBREC, stream.messages()[0]!.packetId);
    await scene.work();
    assert.equal(stream.packetsOf(PUBREL).length, 1);
    stream.ack(PUBCOMP, stream.messages()[0]!.packetId);
    await scene.work();
    group = await restart(scene);
    const back = group.connect({ clientId: 'c', ...KEPT });
    await scene.work();
    assert.deepEqual(back.payloads(), ['two']);
    group.stop();
  });

  test('a stream is not read before the CONNACK has been written', async () => {
    const scene = new StoredScene();
    await scene.start(1);
    const { group } = scene;
    const watcher = group.connect({ clientId: 'w' });
    watcher.subscribe('t');
    await scene.work();
    const client = group.connect({ clientId: 'c', ...KEPT });
    const stream = client.openStream();
    stream.publish('t', 'x');
    await group.settle();
    // The disk has not answered.
    assert.deepEqual(client.packets().length, 0);
    assert.deepEqual(watcher.payloads(), []);
    group.stop();
  });

  test('of several streams with one filter the highest QoS is kept', async () => {
    const scene = new StoredScene();
    await scene.start(1);
    const { group } = scene;
    const client = group.connect({ clientId: 'c', ...KEPT });
    await scene.work();
    client.openStream().subscribe('t', 0);
    client.openStream().subscribe('t', 1);
    await scene.work();
    client.channel.lose('quic_closed');
    await scene.work();
    group.connect({ clientId: 'p' }).publish('t', 'x', 1, 1);
    await scene.work();
    const back = group.connect({ clientId: 'c', ...KEPT });
    await scene.work();
    assert.deepEqual(back.payloads(), ['x']);
    group.stop();
  });

  test('no stream is opened while the shard stops', async () => {
    const group = await startShards(1, ['mqtt.sysInterval=0']);
    const client = group.connect({ clientId: 'c' });
    const watcher = group.connect({ clientId: 'w' });
    watcher.subscribe('t');
    await group.settle();
    await new Promise<void>((resolve) => {
      quiesce(group.shards[0]!, resolve);
    });
    client.publish('t', 'control');
    assert.equal(mayOpenStream(client.connection), false);
    await group.settle();
    assert.deepEqual(watcher.payloads(), []);
    group.stop();
  });

  test('receipts: for what the client took on a stream that is gone, and for what expires after it has moved', async () => {
    const group = await startShards(1, ['mqtt.sysInterval=0']);
    const client = group.connect({ clientId: 'c', properties: { sessionExpiryInterval: 600, receiveMaximum: 2 } });
    const stream = client.openStream();
    stream.subscribe('t', 2);
    const asking = group.connect({ clientId: 'asking', properties: { userProperties: ON_STREAMS } });
    const other = group.connect({
      clientId: 'c2',
      properties: { sessionExpiryInterval: 600, receiveMaximum: 1, userProperties: ON_STREAMS },
    });
    const data = other.openStream();
    asking.subscribe('receipts', 1);
    await group.settle();
    const wants = { responseTopic: 'receipts', userProperties: [['p2p-receipt', '1']] as [string, string][] };
    asking.publish('a/p2p/c2', 'taken', 2, 1, { ...wants, correlationData: Buffer.from('taken') });
    asking.publish('a/p2p/c2', 'expires', 1, 2, { ...wants, correlationData: Buffer.from('expires'), messageExpiryInterval: 5 });
    await group.settle();
    data.ack(PUBREC, data.messages()[0]!.packetId);
    await group.settle();
    // The client goes before PUBCOMP: the first is its own, the second waits in the session.
    other.channel.lose('quic_closed');
    await group.settle();
    await group.pass(8);
    assert.deepEqual(
      asking.messages().map(({ properties }) => Buffer.from(properties.correlationData!).toString()),
      ['taken', 'expires'],
    );
    group.stop();
  });

  test('limits.subscriptionsPerClient counts all streams', async () => {
    const group = await startShards(1, ['mqtt.sysInterval=0', 'limits.subscriptionsPerClient=3']);
    const client = group.connect({ clientId: 'c' });
    const streams = [client, client.openStream(), client.openStream()];
    for (const [index, stream] of streams.entries()) {
      stream.subscribe(`a/${index}`, 0, 1);
      stream.subscribe(`b/${index}`, 0, 2);
    }
    await group.settle();
    assert.equal(group.count('subscriptions/count'), 3);
    const codes = streams.flatMap((stream) => stream.packetsOf(SUBACK).map(({ body }) => body.at(-1)));
    assert.deepEqual(codes.sort(), [0, 0, 0, 0x97, 0x97, 0x97]);
    group.stop();
  });

  test('Retained Messages that an ended stream has asked for come to nobody', async () => {
    const group = await startShards(2, ['mqtt.sysInterval=0']);
    const publisher = group.connect({ clientId: 'p' });
    for (let i = 0; i < 600; i++) publisher.publish(`r/${i}`, 'x', 0, 0, {}, true);
    await group.settle();
    const client = group.connect({ clientId: clientIdOn(0, 2) });
    const stream = client.openStream();
    stream.channel.isFull = true;
    stream.subscribe('r/#', 0);
    await group.settle();
    const [shard] = group.shards;
    assert.equal(shard!.retainedQueries.asked.size, 1);
    stream.channel.lose(STREAM_CLOSED);
    await group.settle();
    assert.equal(shard!.retainedQueries.asked.size, 0);
    assert.equal(
      group.shards.reduce((sum, { retainedQueries }) => sum + retainedQueries.references, 0),
      0,
    );
    group.stop();
  });

  test('a batch that gets shorter before it leaves moves what a stream refers to', async () => {
    const scene = new StoredScene();
    await scene.start(1);
    const { group } = scene;
    const client = group.connect({ clientId: 'c', cleanStart: false, properties: { sessionExpiryInterval: 600, receiveMaximum: 1 } });
    const quick = group.connect({ clientId: 'quick', ...KEPT });
    await scene.work();
    const stream = client.openStream();
    stream.subscribe('t', 1);
    quick.subscribe('quick', 1);
    await scene.work();
    const publisher = group.connect({ clientId: 'p' });
    // A commit is under way, so the next batch stays open.
    publisher.publish('t', '0', 1, 1);
    await scene.turns(4);
    publisher.publish('quick', 'taken at once', 1, 2);
    for (let i = 1; i < 100; i++) publisher.publish('t', `${i}`, 1, 2 + i);
    await group.settle();
    quick.ack(PUBACK, quick.messages()[0]!.packetId);
    await scene.work();
    for (let i = 0; i < 100; i++) {
      stream.ack(PUBACK, stream.messages()[i]!.packetId);
      await scene.work(2);
    }
    assert.deepEqual(
      stream.payloads(),
      Array.from({ length: 100 }, (_, i) => `${i}`),
    );
    assert.equal(group.count('store/lost'), 0);
    scene.stop();
  });

  test('other shards forget what an ended stream has published', async () => {
    const scene = new StoredScene();
    await scene.start(2);
    const { group } = scene;
    const keeper = group.connect({ clientId: clientIdOn(1, 2), ...KEPT });
    await scene.work();
    keeper.subscribe('t', 2);
    const client = group.connect({ clientId: clientIdOn(0, 2, 'publisher'), ...KEPT });
    await scene.work();
    const stream = client.openStream();
    stream.publish('t', 'x', 2, 1);
    // The other shard has it; its answer waits for the disk.
    await scene.turns(10);
    stream.channel.lose(STREAM_CLOSED);
    await scene.work();
    assert.deepEqual(
      group.shards.map(({ origins }) => origins.count),
      [0, 0],
    );
    scene.stop();
  });
});
