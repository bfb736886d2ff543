/*
 * Goal: a full ring holds the sender back instead of losing or reordering: every QoS 1 and 2 message of a flood between two shards arrives once, in order,
 * and is acknowledged, while rings are full and connections are not read.
 * Method: the smallest rings, floods in both directions at once (each shard waits for the other), mixed sizes, point to point and by subscription.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { connect, type TestClient } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { CounterWatch, inParallel, isLong, stage, WATCHED } from './observe.ts';

const MESSAGES = isLong ? 40_000 : 1000;
/** Below the Receive Maximum that the broker announces. */
const WINDOW = 500;

/** Number and a body whose size changes from message to message; some are larger than a frame of the ring may be. */
function body(number: number, sizes: readonly number[]): Buffer {
  const bytes = Buffer.alloc(sizes[number % sizes.length]!, number & 0xff);
  bytes.writeUInt32BE(number);
  return bytes;
}

async function flood(publisher: TestClient, topic: string, qos: number, sizes: readonly number[]): Promise<void> {
  await inParallel(MESSAGES, WINDOW, async (number) => {
    const { code } = await publisher.publish(topic, body(number, sizes), { qos });
    assert.equal(code, 0, `${topic} ${number}`);
  });
}

async function check(receiver: TestClient, topics: readonly string[], sizes: readonly number[]): Promise<void> {
  const due = new Map(topics.map((topic) => [topic, 0]));
  for (let i = 0; i < MESSAGES * topics.length; i++) {
    const message = await receiver.next();
    const number = Buffer.from(message.payload).readUInt32BE();
    const expected = due.get(message.topic);
    assert.equal(number, expected, `${message.topic}: ${number} came where ${expected} was due`);
    assert.ok(Buffer.from(message.payload).equals(body(number, sizes)), `${message.topic}: body of ${number}`);
    due.set(message.topic, number + 1);
  }
}

describe('full rings', { concurrency: true }, () => {
  for (const ringBytes of isLong ? [16_384, 32_768, 65_536] : [16_384]) {
    for (const qos of [1, 2]) {
      test(`rings of ${ringBytes} bytes, QoS ${qos}, floods both ways: nothing lost, nothing reordered`, async (t) => {
        const shards = 2;
        const broker = await stage(t, {
          shards,
          'limits.ringBytes': ringBytes,
          'limits.queueMessages': 100_000,
          'limits.queueBytes': '256MiB',
          ...WATCHED,
        });
        const watch = await CounterWatch.open(broker.port);
        const sizes = [16, 1000, 200, 3000, 4, 4100, 700, 20_000];
        const receivers: TestClient[] = [];
        const work: Promise<void>[] = [];
        for (let shard = 0; shard < shards; shard++) {
          const receiver = await connect(broker.port, { clientId: clientIdOn(shard, shards, 'receiver') });
          await receiver.subscribe(`to/${shard}/#`, { qos });
          receivers.push(receiver);
        }
        for (let shard = 0; shard < shards; shard++) {
          const other = 1 - shard;
          const receiver = receivers[other]!;
          const topics = [`to/${other}/a`, `to/${other}/b`, `first/p2p/${receiver.clientId}`];
          for (const topic of topics) {
            const publisher = await connect(broker.port, { clientId: clientIdOn(shard, shards, 'publisher') });
            work.push(flood(publisher, topic, qos, sizes));
          }
          work.push(check(receiver, topics, sizes));
        }
        await Promise.all(work);
        for (const receiver of receivers) await receiver.expectNone();
        assert.ok((await watch.reaches('ring/full', (value) => value > 0)) > 0);
        assert.ok((await watch.reaches('reads/paused', (value) => value > 0)) > 0);
        t.diagnostic(`ring/full ${watch.value('ring/full')}, reads/paused ${watch.value('reads/paused')}`);
        assert.equal(await broker.stop(), 0);
      });
    }
  }

  test('QoS 0 through a full ring: memory stays bounded, what arrives is in order, and the shards serve on', async (t) => {
    const broker = await stage(t, { shards: 2, 'limits.ringBytes': 16_384, ...WATCHED });
    const receiver = await connect(broker.port, { clientId: clientIdOn(1, 2, 'receiver') });
    await receiver.subscribe('flood');
    const publisher = await connect(broker.port, { clientId: clientIdOn(0, 2, 'publisher') });
    const block = Buffer.alloc(1000, 'x');
    for (let number = 0; number < MESSAGES * 8; number++) {
      block.writeUInt32BE(number);
      void publisher.publish('flood', block);
      if (number % 1000 === 999) await publisher.ping();
    }
    assert.equal((await publisher.publish('flood', 'last', { qos: 1 })).code, 0);
    let before = -1;
    for (;;) {
      const message = await receiver.next();
      if (message.payload.length === 4) break;
      const number = Buffer.from(message.payload).readUInt32BE();
      assert.ok(number > before, `${number} came behind ${before}`);
      before = number;
    }
    assert.equal(await broker.stop(), 0);
  });
});
