/**
 * Goal: data streams of a client have subscriptions, Packet Identifiers, order and windows of their own, and nothing that a lasting session holds is lost when one of
 * them, the connection, or the broker ends.
 * Method: shards over a disk in memory, and clients in memory that open streams; what each stream has been sent is compared.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CONNACK, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, V5 } from '../../src/protocol/packet-type.ts';
import { STREAM_CLOSED } from '../../src/shard/channel.ts';
import { KEPT, StoredScene } from '../sim/stored-scene.ts';
import { type MemoryClient, type ShardGroup, startShards } from '../support/shard-group.ts';

const ON_STREAMS: [string, string][] = [['p2p-stream', 'last']];

/** The power goes and comes back. */
async function restart(scene: StoredScene): Promise<ShardGroup> {
  scene.crash(true);
  await scene.start(1);
  return scene.group;
}

const types = (client: MemoryClient): number[] => client.packets().map(({ type }) => type);

async function withShard(run: (group: ShardGroup) => Promise<void>): Promise<void> {
  const group = await startShards(1, ['mqtt.sysInterval=0']);
  await run(group);
  group.stop();
}

describe('a client with data streams', () => {
  test('a subscription belongs to its stream, and the same filter on two streams gives two copies', () =>
    withShard(async (group) => {
      const client = group.connect({ clientId: 'c' });
      const first = client.openStream();
      const second = client.openStream();
      first.subscribe('t', 1);
      second.subscribe('t', 1);
      client.subscribe('other', 1);
      await group.settle();
      const publisher = group.connect({ clientId: 'p' });
      publisher.publish('t', 'both', 1, 1);
      publisher.publish('other', 'control', 1, 2);
      await group.settle();
      // Each has Packet Identifiers of its own.
      assert.deepEqual(
        [first, second, client].map((one) => one.messages().map(({ packetId }) => packetId)),
        [[1], [1], [1]],
      );
      assert.deepEqual([first.payloads(), second.payloads(), client.payloads()], [['both'], ['both'], ['control']]);
      first.unsubscribe('t');
      await group.settle();
      publisher.publish('t', 'one', 0);
      await group.settle();
      assert.deepEqual([first.payloads(), second.payloads()], [['both'], ['both', 'one']]);
      assert.equal(group.count('streams/count'), 2);
    }));

  test('publishers: acknowledgements go out on the stream of what they acknowledge; equal identifiers do not meet', () =>
    withShard(async (group) => {
      const watcher = group.connect({ clientId: 'w' });
      watcher.subscribe('#', 2);
      const client = group.connect({ clientId: 'c' });
      const streams = [client, client.openStream(), client.openStream()];
      for (const [index, stream] of streams.entries()) stream.publish('t', `${index}`, 2, 7);
      await group.settle();
      assert.deepEqual(watcher.payloads().sort(), ['0', '1', '2']);
      for (const stream of streams) assert.deepEqual(types(stream).slice(-1), [PUBREC]);
      streams[1]!.ack(PUBREL, 7);
      await group.settle();
      assert.deepEqual(types(streams[1]!), [PUBREC, PUBCOMP]);
      // Not released on the others: sent again it is known.
      streams[2]!.publish('t', 'again', 2, 7);
      await group.settle();
      assert.equal(watcher.payloads().length, 3);
    }));

  test('No Local counts for the client, whatever its streams', () =>
    withShard(async (group) => {
      const client = group.connect({ clientId: 'c' });
      const stream = client.openStream();
      stream.subscribe('t', 0, 1, { noLocal: true });
      client.publish('t', 'own');
      await group.settle();
      assert.deepEqual(stream.payloads(), []);
    }));

  test('one stream that the client does not read holds up no other', () =>
    withShard(async (group) => {
      const client = group.connect({ clientId: 'c' });
      const slow = client.openStream();
      const quick = client.openStream();
      slow.subscribe('slow', 1);
      quick.subscribe('quick', 1);
      await group.settle();
      slow.channel.isFull = true;
      const publisher = group.connect({ clientId: 'p' });
      for (let i = 0; i < 300; i++) {
        publisher.publish('slow', Buffer.alloc(10_000), 0);
        publisher.publish('quick', `${i}`, 0);
        await group.settle();
      }
      assert.equal(quick.payloads().length, 300);
      assert.ok(slow.channel.heldBytes > 0);
      client.publish('quick', 'own', 0);
      await group.settle();
      assert.equal(quick.payloads().length, 301);
    }));

  test('a data stream before the CONNECT is not read until the CONNACK', () =>
    withShard(async (group) => {
      const { MemoryChannel } = await import('../support/memory-channel.ts');
      const { MemoryClient } = await import('../support/shard-group.ts');
      const client = new MemoryClient(new MemoryChannel(group.shards[0]!), 'c', V5);
      const stream = client.openStream();
      stream.subscribe('t', 0);
      await group.settle();
      assert.deepEqual(types(stream), []);
      client.connect({});
      await group.settle();
      assert.deepEqual([types(client), types(stream)], [[CONNACK], [SUBACK]]);
    }));

  test('what speaks for the client ends a data stream, and only that', () =>
    withShard(async (group) => {
      const client = group.connect({ clientId: 'c' });
      const streams = [client.openStream(), client.openStream(), client.openStream(), client.openStream()];
      for (const stream of streams) stream.subscribe('t', 0);
      await group.settle();
      streams[0]!.disconnect();
      streams[1]!.channel.arrive(Buffer.from([PINGREQ << 4, 0]));
      streams[2]!.channel.arrive(Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]));
      streams[3]!.connect({});
      await group.settle();
      for (const stream of streams) {
        assert.ok(stream.channel.isDestroyed);
        assert.deepEqual(types(stream), [SUBACK]);
      }
      assert.equal(group.count('streams/count'), 0);
      assert.equal(group.count('subscriptions/count'), 0);
      client.channel.arrive(Buffer.from([PINGREQ << 4, 0]));
      await group.settle();
      assert.deepEqual(types(client), [CONNACK, PINGRESP]);
    }));

  test('packets on any stream keep the client alive', () =>
    withShard(async (group) => {
      const client = group.connect({ clientId: 'c', keepAlive: 10 });
      const stream = client.openStream();
      for (let i = 0; i < 5; i++) {
        await group.pass(10);
        stream.publish('t', 'alive');
        await group.settle();
      }
      assert.equal(group.count('clients/connected'), 1);
      await group.pass(16);
      assert.equal(group.count('clients/connected'), 0);
      assert.equal(group.count('streams/count'), 0);
      assert.ok(stream.channel.isEnded);
    }));

  test('the end of all streams at once is the end of the connection, in whatever order they are told', () =>
    withShard(async (group) => {
      const client = group.connect({ clientId: 'c', ...KEPT });
      const stream = client.openStream();
      stream.subscribe('t', 1);
      await group.settle();
      stream.channel.lose('quic_closed');
      client.channel.lose('quic_closed');
      await group.settle();
      assert.deepEqual([group.count('clients/connected'), group.count('clients/total'), group.count('subscriptions/count')], [0, 1, 1]);
      assert.equal(group.shards[0]!.connections.size, 0);
    }));

  test('a taken over client takes its streams with it', () =>
    withShard(async (group) => {
      const client = group.connect({ clientId: 'c' });
      const stream = client.openStream();
      stream.subscribe('t', 1);
      await group.settle();
      const next = group.connect({ clientId: 'c' });
      await group.settle();
      assert.ok(stream.channel.isEnded);
      assert.equal(group.count('streams/count'), 0);
      assert.equal(group.count('subscriptions/count'), 0);
      assert.deepEqual(types(next), [CONNACK]);
    }));
});

describe('P2P messages', () => {
  test('go out on the control stream, or on the newest data stream for those that ask', () =>
    withShard(async (group) => {
      const plain = group.connect({ clientId: 'plain' });
      const asking = group.connect({ clientId: 'asking', properties: { userProperties: ON_STREAMS } });
      const publisher = group.connect({ clientId: 'p' });
      const plainStream = plain.openStream();
      const send = async (text: string): Promise<void> => {
        publisher.publish('a/p2p/plain', text);
        publisher.publish('a/p2p/asking', text);
        await group.settle();
      };
      await send('none');
      const older = asking.openStream();
      await send('one');
      const newer = asking.openStream();
      await send('two');
      newer.channel.lose(STREAM_CLOSED);
      await send('three');
      assert.deepEqual([plain.payloads(), plainStream.payloads()], [['none', 'one', 'two', 'three'], []]);
      assert.deepEqual([asking.payloads(), older.payloads(), newer.payloads()], [['none'], ['one', 'three'], ['two']]);
    }));

  for (const properties of [{}, { sessionExpiryInterval: 600 }])
    test(`what an ended stream has not acknowledged goes to the control stream (${JSON.stringify(properties)})`, () =>
      withShard(async (group) => {
        const client = group.connect({ clientId: 'c', properties: { ...properties, receiveMaximum: 2, userProperties: ON_STREAMS } });
        const stream = client.openStream();
        const publisher = group.connect({ clientId: 'p' });
        for (let i = 0; i < 5; i++) publisher.publish('a/p2p/c', `${i}`, 1, 1 + i);
        await group.settle();
        assert.deepEqual(stream.payloads(), ['0', '1']);
        stream.ack(PUBACK, 1);
        await group.settle();
        stream.channel.lose(STREAM_CLOSED);
        await group.settle();
        assert.deepEqual(client.payloads(), ['1', '2']);
        client.ack(PUBACK, 1);
        client.ack(PUBACK, 2);
        await group.settle();
        assert.deepEqual(client.payloads(), ['1', '2', '3', '4']);
      }));
});

describe('a session that outlives its connection', () => {
  test('has the subscriptions of its streams and what they did not acknowledge, in the order of each', async () => {
    const { scene, client, publisher } = await midway();
    const { group } = scene;
    client.channel.lose('quic_closed');
    await scene.work();
    assert.equal(group.count('subscriptions/count'), 2);
    publisher.publish('a', 'a200', 1, 900);
    await scene.work();
    await expectAll(scene, group);
    scene.stop();
  });

  test('loses nothing of its streams in a crash', async () => {
    const { scene } = await midway();
    const group = await restart(scene);
    await scene.work();
    group.connect({ clientId: 'p' }).publish('a', 'a200', 1, 900);
    await scene.work();
    await expectAll(scene, group);
    scene.stop();
  });

  test('forgets the subscription of a stream that ended, but not that of another stream to the same filter', async () => {
    const scene = new StoredScene(['limits.queueMessages=10000']);
    await scene.start(1);
    let group = scene.group;
    const client = group.connect({ clientId: 'c', ...KEPT });
    await scene.work();
    const [one, two, three] = [client.openStream(), client.openStream(), client.openStream()];
    one.subscribe('both', 0);
    two.subscribe('both', 1);
    three.subscribe('gone', 1);
    await scene.work();
    two.channel.lose(STREAM_CLOSED);
    three.channel.lose(STREAM_CLOSED);
    await scene.work();
    group = await restart(scene);
    await scene.work();
    assert.equal(group.count('subscriptions/count'), 1);
    const publisher = group.connect({ clientId: 'p' });
    publisher.publish('both', 'x', 1, 1);
    publisher.publish('gone', 'x', 1, 2);
    const back = group.connect({ clientId: 'c', ...KEPT });
    await scene.work();
    publisher.publish('both', 'y', 1, 3);
    await scene.work();
    // At the QoS of the stream that is left: QoS 0 does not wait for a client that is away.
    assert.deepEqual(
      back.messages().map(({ qos }) => qos),
      [0],
    );
    assert.equal(back.connack().sessionPresent, true);
    group.stop();
  });

  test('what a stream had is settled when it ends: nothing comes back after a crash', async () => {
    const scene = new StoredScene(['limits.queueMessages=10000']);
    await scene.start(1);
    let group = scene.group;
    const client = group.connect({ clientId: 'c', cleanStart: false, properties: { sessionExpiryInterval: 600, receiveMaximum: 4 } });
    await scene.work();
    const stream = client.openStream();
    stream.subscribe('a', 1);
    await scene.work();
    const publisher = group.connect({ clientId: 'p' });
    for (let i = 0; i < 100; i++) publisher.publish('a', `a${i}`, 1, 1 + i);
    await scene.work();
    stream.channel.lose(STREAM_CLOSED);
    await scene.work();
    assert.deepEqual(
      [group.count('queued/messages'), group.count('queued/bytes'), group.count('queued/log-bytes'), group.count('inflight/bytes')],
      [0, 0, 0, 0],
    );
    group = await restart(scene);
    const back = group.connect({ clientId: 'c', ...KEPT });
    await scene.work();
    assert.deepEqual(types(back), [CONNACK]);
    group.stop();
  });
});

/** Two streams of a client have got a part of 200 messages each; of one the first is acknowledged, of the other the exchange of the second, QoS 2, has begun. */
async function midway(): Promise<{ scene: StoredScene; client: MemoryClient; publisher: MemoryClient }> {
  const scene = new StoredScene(['limits.queueMessages=10000']);
  await scene.start(1);
  const { group } = scene;
  const client = group.connect({ clientId: 'c', cleanStart: false, properties: { sessionExpiryInterval: 600, receiveMaximum: 4 } });
  await scene.work();
  const [a, b] = [client.openStream(), client.openStream()];
  a.subscribe('a', 2);
  b.subscribe('b', 2);
  await scene.work();
  const publisher = group.connect({ clientId: 'p' });
  for (let i = 0; i < 200; i++) {
    publisher.publish('a', `a${i}`, 1, 1 + 2 * i);
    publisher.publish('b', `b${i}`, i % 2 === 0 ? 1 : 2, 2 + 2 * i);
    if (i % 20 === 19) await scene.work();
  }
  a.ack(PUBACK, 1);
  const second = b.messages()[1]!;
  assert.equal(second.qos, 2);
  // The message is the client's from now on.
  b.ack(PUBREC, second.packetId);
  await scene.work();
  assert.deepEqual(types(b).slice(-1), [PUBREL]);
  return { scene, client, publisher };
}

/** Answers every PUBREL, some of them again. */
function complete(client: MemoryClient): void {
  for (const { type, body } of client.packets()) if (type === PUBREL) client.ack(PUBCOMP, body.readUInt16BE(0));
}

/** The client comes back without streams and gets everything that it has not acknowledged, each topic in order. */
async function expectAll(scene: StoredScene, group: ShardGroup): Promise<void> {
  const back = group.connect({ clientId: 'c', cleanStart: false, properties: { sessionExpiryInterval: 600 } });
  let seen = 0;
  for (let round = 0; round < 200 && seen < 399; round++) {
    await scene.work();
    for (const message of back.messages().slice(seen)) {
      back.ack(message.qos === 1 ? PUBACK : PUBREC, message.packetId);
      seen++;
    }
    complete(back);
  }
  await scene.work();
  complete(back);
  const payloads = back.payloads();
  const of = (topic: string): string[] => payloads.filter((text) => text.startsWith(topic));
  const numbers = (topic: string, from: number, to: number, without: number): string[] =>
    Array.from({ length: to - from + 1 }, (_, i) => from + i)
      .filter((i) => i !== without)
      .map((i) => `${topic}${i}`);
  assert.deepEqual(of('a'), numbers('a', 1, 200, -1));
  assert.deepEqual(of('b'), numbers('b', 0, 199, 1));
  assert.equal(back.messages().filter(({ dup }) => dup).length, 0);
  assert.deepEqual(
    types(back).filter((type) => type !== PUBLISH && type !== PUBREL),
    [CONNACK],
  );
  await scene.work();
  assert.deepEqual([group.count('queued/messages'), group.count('queued/log-bytes'), group.count('inflight/bytes')], [0, 0, 0]);
}
