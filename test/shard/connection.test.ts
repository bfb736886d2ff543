/*
 * Goal: a connection reads packets in any chunking, writes once a turn, stops and goes on at its limits, and leaves nothing behind when it ends, in whatever state
 * that happens.
 * Method: shards in this thread and clients in memory whose network takes what the test lets it.
 */
import assert from 'node:assert/strict';
import test, { describe, type TestContext } from 'node:test';
import fc from 'fast-check';
import { PINGREQ_IMAGE } from '../../src/protocol/disconnect.ts';
import * as types from '../../src/protocol/packet-type.ts';
import { writePublishPacket } from '../../src/protocol/publish.ts';
import { ReasonCode } from '../../src/protocol/reason-code.ts';
import { CLOSED, CLOSING, CONNECTED } from '../../src/shard/connection.ts';
import { type ConnectOptions, packetOf, publishOf } from '../support/packet-client.ts';
import { clientIdOn } from '../support/placement.ts';
import { type MemoryClient, type ShardGroup, startShards } from '../support/shard-group.ts';
import '../protocol/seed.ts';

async function shards(t: TestContext, count = 1, set: readonly string[] = []): Promise<ShardGroup> {
  const group = await startShards(count, set);
  t.after(() => group.stop());
  return group;
}

async function connected(group: ShardGroup, options: ConnectOptions = {}): Promise<MemoryClient> {
  const client = group.connect(options);
  await group.settle();
  assert.equal(client.connack().code, 0);
  return client;
}

/** Everything that must be empty when no client and no session is left. */
function assertEmpty(group: ShardGroup): void {
  for (const shard of group.shards) {
    assert.deepEqual(
      {
        connections: shard.connections.size,
        sessions: shard.sessions.size,
        dirty: shard.dirty.length,
        queries: shard.dirtyQueries.length + shard.retainedQueries.asked.size,
        paused: shard.paused.size,
        waiting: shard.waitingSubacks.count,
        subscriptions: shard.subscriptions.count,
        outbox: shard.outbox.count,
        timers: shard.timers.armedCount,
      },
      { connections: 0, sessions: 0, dirty: 0, queries: 0, paused: 0, waiting: 0, subscriptions: 0, outbox: 0, timers: 0 },
    );
  }
  for (const name of [
    'queued/bytes',
    'queued/messages',
    'clients/connected',
    'clients/total',
    'routes/waiting',
    'mailboxes/count',
  ] as const)
    assert.equal(group.count(name), 0, name);
}

describe('reading', () => {
  test('packets in any chunking are the same packets', async (t) => {
    const group = await shards(t);
    const subscriber = await connected(group);
    subscriber.subscribe('#');
    await group.settle();
    let expected = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 700 }), { minLength: 1, maxLength: 6 }),
        fc.array(fc.nat(3000), { maxLength: 12 }),
        async (payloads, cuts) => {
          const client = group.connect({ clientId: clientIdOn(0, 1) });
          const packets = payloads.map((payload, i) =>
            packetOf((writer) => writePublishPacket(writer, publishOf(`t/${i}`, payload, 1, i + 1, {}, false), 5)),
          );
          const all = Buffer.concat([...packets, PINGREQ_IMAGE]);
          const places = [...new Set([0, ...cuts.filter((cut) => cut < all.length), all.length])].sort((a, b) => a - b);
          for (let i = 1; i < places.length; i++) client.channel.arrive(all.subarray(places[i - 1]!, places[i]!));
          await group.settle();
          assert.equal(client.packetsOf(types.PUBACK).length, payloads.length);
          assert.equal(client.packetsOf(types.PINGRESP).length, 1);
          assert.equal(client.connection.partial, null, 'no buffer stays behind');
          const got = subscriber.messages().slice(expected);
          assert.deepEqual(
            got.map((message) => [message.topic, [...message.payload]]),
            payloads.map((payload, i) => [`t/${i}`, [...payload]]),
          );
          expected += payloads.length;
          client.disconnect();
          await group.settle();
        },
      ),
      { numRuns: 40 },
    );
  });

  test('bytes behind the packet that ends a connection are not looked at', async (t) => {
    const group = await shards(t);
    const client = await connected(group);
    const subscriber = await connected(group);
    subscriber.subscribe('t');
    await group.settle();
    const publish = packetOf((writer) => writePublishPacket(writer, publishOf('t', 'x', 0, 0, {}, false), 5));
    client.channel.arrive(Buffer.concat([publish, Buffer.from('c001', 'hex'), Buffer.from('00'), publish]));
    client.channel.arrive(publish);
    await group.settle();
    assert.deepEqual(subscriber.payloads(), ['x']);
    assert.equal(client.packets().at(-1)!.type, types.DISCONNECT);
    assert.equal(client.packets().at(-1)!.body[0], ReasonCode.MalformedPacket);
    assert.equal(client.connection.state, CLOSED);
  });

  test('a client that does not take its own answers is not read from until it does', async (t) => {
    const group = await shards(t, 1, ['limits.outboundBytes=1024']);
    const client = await connected(group);
    client.channel.isFull = true;
    let sent = 0;
    for (; client.channel.pauseCount === 0; sent++) {
      assert.ok(sent < 2000);
      client.channel.arrive(PINGREQ_IMAGE);
      if (sent % 50 === 0) await group.settle();
    }
    for (let i = 0; i < 100; i++, sent++) client.channel.arrive(PINGREQ_IMAGE);
    await group.settle();
    assert.ok(client.channel.unreadBytes > 0);
    assert.ok(client.connection.bufferedBytes < 2048);
    client.channel.isFull = false;
    client.channel.drain();
    await group.settle();
    assert.equal(client.channel.unreadBytes, 0);
    assert.equal(client.packetsOf(types.PINGRESP).length, sent);
    assert.equal(group.shards[0]!.paused.size, 0);
  });

  test('a congested mesh stops publishers, and they go on where they stopped', async (t) => {
    const group = await shards(t, 2, ['limits.ringBytes=16384', 'limits.inflight=65535', 'limits.outboundBytes=16777216']);
    const publisher = await connected(group, { clientId: clientIdOn(0, 2) });
    const subscriber = await connected(group, { clientId: clientIdOn(1, 2) });
    subscriber.subscribe('t', 1);
    await group.settle();
    const count = 900;
    const packets = Array.from({ length: count }, (_, i) =>
      packetOf((writer) => writePublishPacket(writer, publishOf('t', String(i).padEnd(300, '.'), 1, i + 1, {}, false), 5)),
    );
    publisher.channel.arrive(Buffer.concat(packets));
    assert.ok(publisher.channel.pauseCount > 0);
    await group.settle();
    assert.deepEqual(
      subscriber.payloads().map((text) => Number.parseInt(text, 10)),
      packets.map((_, i) => i),
    );
    assert.equal(publisher.packetsOf(types.PUBACK).length, count);
    assert.equal(publisher.channel.isReading, true);
    assert.equal(publisher.connection.partial, null);
  });
});

describe('receive maximum', () => {
  for (const qos of [1, 2]) {
    test(`as many QoS ${qos} messages as announced may be open, also while another shard has to answer`, async (t) => {
      const group = await shards(t, 2, ['mqtt.receiveMaximum=10']);
      const publisher = await connected(group, { clientId: clientIdOn(0, 2) });
      assert.equal(publisher.connack().properties.receiveMaximum, 10);
      const target = await connected(group, { clientId: clientIdOn(1, 2) });
      const packets = Array.from({ length: 10 }, (_, i) =>
        packetOf((writer) => writePublishPacket(writer, publishOf(`d/p2p/${target.clientId}`, 'x', qos, i + 1, {}, false), 5)),
      );
      publisher.channel.arrive(Buffer.concat(packets));
      await group.settle();
      assert.equal(publisher.packetsOf(qos === 1 ? types.PUBACK : types.PUBREC).length, 10);
      assert.equal(publisher.connection.state, CONNECTED);
      if (qos === 1) return;
      publisher.publish('t', 'one too many', 2, 11);
      await group.settle();
      assert.equal(publisher.packets().at(-1)!.body[0], ReasonCode.ReceiveMaximumExceeded);
    });
  }
});

describe('writing', () => {
  test('what a turn causes leaves in one write', async (t) => {
    const group = await shards(t);
    const client = await connected(group);
    const before = client.channel.writes.length;
    client.channel.arrive(Buffer.concat([PINGREQ_IMAGE, PINGREQ_IMAGE, PINGREQ_IMAGE]));
    assert.equal(client.channel.writes.length, before, 'nothing is written within the turn');
    await group.settle();
    assert.equal(client.channel.writes.length, before + 1);
  });

  test('a slow client: QoS 0 is dropped, QoS 1 waits, and all of it comes in order when the network does', async (t) => {
    const group = await shards(t, 1, ['limits.outboundBytes=4096', 'limits.inflight=8']);
    const publisher = await connected(group);
    const subscriber = await connected(group);
    subscriber.subscribe('t', 1);
    await group.settle();
    subscriber.channel.isFull = true;
    subscriber.channel.arrive(PINGREQ_IMAGE);
    await group.settle();
    for (let i = 0; i < 200; i++) publisher.publish('t', `0-${i}`.padEnd(200, '.'), 0);
    for (let i = 0; i < 50; i++) publisher.publish('t', `1-${i}`, 1, i + 1);
    await group.settle();
    assert.ok(group.count('publish/dropped/outbound-full') > 0);
    assert.ok(subscriber.connection.bufferedBytes < 3 * 4096);
    assert.ok(group.count('queued/messages') > 0);
    assert.equal(publisher.packetsOf(types.PUBACK).length, 50);
    subscriber.channel.isFull = false;
    subscriber.channel.drain();
    await group.settle();
    const seen = new Set<number>();
    for (let acknowledged = true; acknowledged; ) {
      acknowledged = false;
      for (const message of subscriber.messages()) {
        if (message.qos === 0 || seen.has(message.packetId)) continue;
        seen.add(message.packetId);
        subscriber.ack(types.PUBACK, message.packetId);
        acknowledged = true;
      }
      await group.settle();
    }
    assert.deepEqual(
      subscriber.payloads().filter((text) => text.startsWith('1-')),
      Array.from({ length: 50 }, (_, i) => `1-${i}`),
    );
    assert.equal(group.count('queued/messages'), 0);
    assert.equal(group.count('queued/bytes'), 0);
    assert.equal(subscriber.connection.sendQuota, 8);
  });

  test('a message that is too large for a client leaves no alias that the client does not know', async (t) => {
    const group = await shards(t);
    const publisher = await connected(group);
    const subscriber = await connected(group, { properties: { maximumPacketSize: 100, topicAliasMaximum: 5 } });
    subscriber.subscribe('#');
    await group.settle();
    publisher.publish('topic/one', 'x'.repeat(200));
    publisher.publish('topic/one', 'small');
    publisher.publish('topic/one', 'smaller');
    // Fits only without the three bytes of an alias.
    publisher.publish('topic/two', 'y'.repeat(100 - 5 - 'topic/two'.length));
    publisher.publish('topic/two', 'z');
    await group.settle();
    assert.deepEqual(
      subscriber.messages().map((message) => [message.topic, message.properties.topicAlias, message.payload.length]),
      [
        ['topic/one', 1, 5],
        ['', 1, 7],
        ['topic/two', undefined, 86],
        ['topic/two', 2, 1],
      ],
    );
  });
});

describe('the end of a connection', () => {
  test('what is written is sent before the close', async (t) => {
    const group = await shards(t);
    const client = await connected(group);
    client.channel.arrive(Buffer.concat([PINGREQ_IMAGE, Buffer.from('f0', 'hex'), Buffer.from([0])]));
    await group.settle();
    assert.deepEqual(
      client.packets().map((packet) => packet.type),
      [types.CONNACK, types.PINGRESP, types.DISCONNECT],
    );
    assert.equal(client.channel.isEnded, true);
    assertEmpty(group);
  });

  test('a blocked connection sends its rest first, then closes', async (t) => {
    const group = await shards(t);
    const client = await connected(group);
    client.channel.isFull = true;
    client.channel.arrive(PINGREQ_IMAGE);
    await group.settle();
    assert.equal(client.channel.heldBytes, 2);
    client.channel.arrive(PINGREQ_IMAGE);
    client.publish('t/#', 'a topic with a wildcard');
    await group.settle();
    assert.equal(client.connection.state, CLOSING);
    assert.equal(client.channel.isEnded, false);
    client.channel.isFull = false;
    client.channel.drain();
    assert.deepEqual(
      client.packets().map((packet) => packet.type),
      [types.CONNACK, types.PINGRESP, types.PINGRESP, types.DISCONNECT],
    );
    assert.equal(client.channel.isEnded, true);
    await group.settle();
    assertEmpty(group);
  });

  test('a client that never takes its last bytes is closed all the same', async (t) => {
    const group = await shards(t);
    const client = await connected(group);
    client.channel.isFull = true;
    client.channel.arrive(PINGREQ_IMAGE);
    await group.settle();
    client.publish('#', 'a fault');
    await group.settle();
    assert.equal(client.connection.state, CLOSING);
    for (let i = 0; i < 10; i++) await group.pass(1);
    assert.equal(client.connection.state, CLOSED);
    assertEmpty(group);
  });

  test('a network that reports progress after it is gone changes nothing', async (t) => {
    const group = await shards(t);
    const client = await connected(group);
    client.channel.isFull = true;
    client.channel.arrive(PINGREQ_IMAGE);
    await group.settle();
    client.channel.lose();
    client.channel.drain();
    client.channel.lose();
    client.channel.arrive(PINGREQ_IMAGE);
    await group.settle();
    assertEmpty(group);
  });

  test('lost while paused, blocked, waiting for SUBACK, for other shards and for retained messages', async (t) => {
    const group = await shards(t, 2, ['limits.outboundBytes=1024', 'mqtt.sysInterval=never']);
    const other = await connected(group, { clientId: clientIdOn(1, 2) });
    for (let i = 0; i < 300; i++) other.publish(`r/${i}`, 'x'.repeat(50), 0, 0, {}, true);
    await group.settle();
    for (const full of [true, false]) {
      for (const turns of [0, 1, 2, 3, 5]) {
        const client = await connected(group, { clientId: clientIdOn(0, 2) });
        client.channel.isFull = full;
        for (let i = 0; i < 5; i++) client.subscribe(`r/+`, 1, i + 1);
        for (let i = 0; i < 20; i++) client.publish(`d/p2p/${other.clientId}`, 'x', 1 + (i % 2), i + 1);
        for (let i = 0; i < 600; i++) client.channel.arrive(PINGREQ_IMAGE);
        for (let i = 0; i < turns; i++)
          await new Promise((resolve) => {
            setImmediate(resolve);
          });
        client.channel.lose();
        await group.settle();
        const shard = group.shards[0]!;
        assert.deepEqual(
          [shard.connections.size, shard.sessions.size, shard.paused.size, shard.waitingSubacks.count, shard.subscriptions.count],
          [0, 0, 0, 0, 0],
        );
        assert.equal(shard.retainedQueries.asked.size, 0);
        for (const owner of group.shards) for (const scans of owner.retainedQueries.scans) assert.equal(scans?.size ?? 0, 0);
      }
    }
    other.disconnect();
    await group.settle();
    assertEmpty(group);
  });

  test('a takeover ends the older connection with its reason and keeps the younger', async (t) => {
    const group = await shards(t);
    const older = await connected(group, { clientId: 'one', cleanStart: false, properties: { sessionExpiryInterval: 60 } });
    older.channel.isFull = true;
    older.channel.arrive(PINGREQ_IMAGE);
    await group.settle();
    const younger = await connected(group, { clientId: 'one', cleanStart: false });
    assert.equal(younger.connack().sessionPresent, true);
    assert.equal(older.connection.state, CLOSING);
    older.channel.arrive(PINGREQ_IMAGE);
    older.channel.isFull = false;
    older.channel.drain();
    await group.settle();
    const last = older.packets().at(-1)!;
    assert.deepEqual([last.type, last.body[0]], [types.DISCONNECT, ReasonCode.SessionTakenOver]);
    assert.equal(group.count('clients/connected'), 1);
    younger.disconnect();
    await group.settle();
    assertEmpty(group);
  });
});

test('an idle connection holds no buffers', async (t) => {
  const group = await shards(t);
  const client = await connected(group);
  client.channel.arrive(PINGREQ_IMAGE);
  await group.settle();
  const inner = client.connection as unknown as { out: unknown; blockedBlock: unknown };
  assert.equal(inner.out, null);
  assert.equal(inner.blockedBlock, null);
  assert.equal(client.connection.partial, null);
});
