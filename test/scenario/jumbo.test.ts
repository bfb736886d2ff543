/*
 * Goal: a body that is too large for a ring keeps its place among small ones. Large and small messages of one publisher arrive in order and whole at each
 * QoS, by subscription, point to point and retained; and the sizes around the border between ring and side door are no different.
 * Method: payloads of 1 MiB in turn with small ones across shards; a hundred large ones in a row; every size around a quarter of the smallest ring.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { ringFrameBytesMax } from '../../src/base/ring.ts';
import { connect, type TestClient } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { CounterWatch, stage, WATCHED } from './observe.ts';

const LARGE_BYTES = 2 ** 20;
const SMALL_RING_BYTES = 16_384;

/** A body that says its number at the beginning, in the middle and at the end. */
function body(number: number, length: number): Buffer {
  const bytes = Buffer.alloc(length, 0x20 + (number % 64));
  for (const at of [0, (length >> 1) & ~3, length - 4]) bytes.writeUInt32BE(number, at);
  return bytes;
}

async function expectBodies(receiver: TestClient, lengths: readonly number[], topic: string): Promise<void> {
  for (let number = 0; number < lengths.length; number++) {
    const message = await receiver.next();
    assert.equal(message.topic, topic);
    const payload = Buffer.from(message.payload);
    assert.equal(payload.readUInt32BE(), number, `${topic}: ${payload.readUInt32BE()} came where ${number} was due`);
    assert.ok(payload.equals(body(number, lengths[number]!)), `${topic}: body of ${number}, ${lengths[number]} bytes`);
  }
}

/** Publishes all, never more than 64 unacknowledged. */
async function publishAll(publisher: TestClient, topic: string, qos: number, lengths: readonly number[]): Promise<void> {
  const answers: Promise<{ code: number }>[] = [];
  for (let number = 0; number < lengths.length; number++) {
    answers.push(publisher.publish(topic, body(number, lengths[number]!), { qos }));
    if (answers.length === 64) assert.equal((await answers.shift()!).code, 0);
  }
  for (const { code } of await Promise.all(answers)) assert.equal(code, 0);
}

describe('large bodies', { concurrency: true }, () => {
  for (const shards of [2, 4]) {
    test(`1 MiB in turn with small messages, ${shards} shards: whole and in order`, async (t) => {
      const broker = await stage(t, {
        shards,
        'limits.packetSize': '2MiB',
        'limits.outboundBytes': '64MiB',
        'limits.queueBytes': '256MiB',
        ...WATCHED,
      });
      const watch = await CounterWatch.open(broker.port);
      const lengths = [10, LARGE_BYTES, 11, 300, LARGE_BYTES - 1, 12, 300_000, 13, 262_136, 14, LARGE_BYTES, LARGE_BYTES, 15];
      for (const qos of [0, 1, 2]) {
        const receiver = await connect(broker.port, { clientId: clientIdOn(shards - 1, shards, 'receiver') });
        const publisher = await connect(broker.port, { clientId: clientIdOn(0, shards, 'publisher') });
        await receiver.subscribe(`large/${qos}`, { qos });
        for (const topic of [`large/${qos}`, `first/p2p/${receiver.clientId}`]) {
          await Promise.all([publishAll(publisher, topic, qos, lengths), expectBodies(receiver, lengths, topic)]);
        }
        // Retained on whichever shard owns the topic, asked for from every shard.
        for (let i = 0; i < 4; i++)
          await publisher.publish(`kept/${qos}/${i}`, body(i, LARGE_BYTES), { qos: Math.max(qos, 1), retain: true });
        for (let shard = 0; shard < shards; shard++) {
          const asker = await connect(broker.port, { clientId: clientIdOn(shard, shards, 'asker') });
          await asker.subscribe(`kept/${qos}/+`, { qos });
          const numbers: number[] = [];
          for (const message of await asker.nextMany(4)) {
            const number = Number(message.topic.slice(-1));
            assert.ok(message.retain && Buffer.from(message.payload).equals(body(number, LARGE_BYTES)));
            numbers.push(number);
          }
          assert.deepEqual(numbers.sort(), [0, 1, 2, 3]);
          await asker.disconnect();
        }
        await receiver.disconnect();
        await publisher.disconnect();
      }
      await watch.reaches('ring/frames/jumbo', (value) => value > 30);
      assert.equal(await broker.stop(), 0);
    });
  }

  test('a hundred bodies of 1 MiB in a row, both ways at once', async (t) => {
    const shards = 2;
    const broker = await stage(t, { shards, 'limits.packetSize': '2MiB', 'limits.queueBytes': '256MiB' });
    const work: Promise<void>[] = [];
    const lengths = Array.from({ length: 100 }, (_, i) => (i % 10 === 9 ? 8 : LARGE_BYTES));
    for (let shard = 0; shard < shards; shard++) {
      const receiver = await connect(broker.port, { clientId: clientIdOn(1 - shard, shards, 'receiver') });
      const publisher = await connect(broker.port, { clientId: clientIdOn(shard, shards, 'publisher') });
      const topic = `first/p2p/${receiver.clientId}`;
      work.push(publishAll(publisher, topic, 1, lengths), expectBodies(receiver, lengths, topic));
    }
    await Promise.all(work);
    assert.equal(await broker.stop(), 0);
  });

  for (const qos of [0, 1, 2]) {
    test(`every size around a quarter of the ring, QoS ${qos}`, async (t) => {
      const broker = await stage(t, { shards: 2, 'limits.ringBytes': SMALL_RING_BYTES, ...WATCHED });
      const watch = await CounterWatch.open(broker.port);
      const receiver = await connect(broker.port, { clientId: clientIdOn(1, 2, 'receiver') });
      const publisher = await connect(broker.port, { clientId: clientIdOn(0, 2, 'publisher') });
      await receiver.subscribe('border', { qos });
      // A frame holds the fields of the record, topic and properties besides the payload.
      const border = ringFrameBytesMax(SMALL_RING_BYTES);
      const lengths: number[] = [];
      for (let length = border - 160; length <= border + 16; length++) lengths.push(length, 20);
      if (qos === 0) {
        // QoS 0 may be dropped when the ring is full: one at a time.
        for (let number = 0; number < lengths.length; number++) {
          await publisher.publish('border', body(number, lengths[number]!));
          const message = await receiver.next();
          assert.ok(Buffer.from(message.payload).equals(body(number, lengths[number]!)), `${lengths[number]} bytes`);
        }
      } else await Promise.all([publishAll(publisher, 'border', qos, lengths), expectBodies(receiver, lengths, 'border')]);
      await receiver.expectNone();
      const beside = await watch.reaches('ring/frames/jumbo', (value) => value > 0);
      assert.ok(beside < lengths.length / 2, `${beside} of ${lengths.length / 2} went beside the ring: some of them must fit`);
      assert.equal(await broker.stop(), 0);
    });
  }
});
