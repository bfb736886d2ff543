/*
 * Goal: a client that does not read harms nobody. QoS 0 beyond `limits.outboundBytes` is dropped and counted, QoS 1 waits in its queue and all of it comes
 * later, the broker's memory stays bounded, other clients are served; and a client that sends without reading its own answers is not read any more.
 * Method: clients that stop reading while others flood them with more than all kernel buffers hold.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { connect } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { CounterWatch, isLong, residentBytesOf, stage, WATCHED } from './observe.ts';

const OUTBOUND_BYTES = 65_536;
const BLOCK_BYTES = 8192;
/** The kernel holds about 6 MB between two sockets of the loopback interface. */
const BLOCKS = isLong ? 40_000 : 4000;
const MEMORY_BYTES = 96 * 2 ** 20;

function numbered(number: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES, 'x');
  block.writeUInt32BE(number);
  return block;
}

function numberOf(message: { payload: Uint8Array }): number {
  return Buffer.from(message.payload).readUInt32BE();
}

describe('a client that does not read', { concurrency: 4 }, () => {
  for (const placement of ['the same shard', 'different shards']) {
    const receiverShard = placement === 'the same shard' ? 0 : 1;
    describe(`publisher and receiver on ${placement}`, { concurrency: 4 }, () => {
      test('QoS 0: what a stuck reader cannot take is dropped and counted; memory is bounded; others get everything', async (t) => {
        const broker = await stage(t, { shards: 2, 'limits.outboundBytes': OUTBOUND_BYTES, ...WATCHED });
        const watch = await CounterWatch.open(broker.port);
        const slow = await connect(broker.port, { clientId: clientIdOn(receiverShard, 2, 'slow') });
        const quick = await connect(broker.port, { clientId: clientIdOn(receiverShard, 2, 'quick') });
        const publisher = await connect(broker.port, { clientId: clientIdOn(0, 2, 'publisher') });
        for (const client of [slow, quick]) await client.subscribe('blocks');
        const before = residentBytesOf(broker.pid);
        slow.pauseReading();
        let peak = 0;
        for (let number = 0; number < BLOCKS; number++) {
          void publisher.publish('blocks', numbered(number));
          // Not faster than the quick reader, whose output is bounded as well.
          if (number % 4 === 3) {
            assert.equal(numberOf((await quick.nextMany(4))[3]!), number);
            if (number % 256 === 255) peak = Math.max(peak, residentBytesOf(broker.pid));
          }
        }
        const dropped = await watch.fresh('publish/dropped/outbound-full');
        assert.ok(dropped > 0, 'something was dropped');
        assert.ok(peak - before < MEMORY_BYTES, `memory grew by ${((peak - before) / 2 ** 20).toFixed(1)} MiB`);
        t.diagnostic(`${dropped} of ${BLOCKS} blocks dropped, memory grew by ${((peak - before) / 2 ** 20).toFixed(1)} MiB`);
        slow.resumeReading();
        const received = await slow.nextMany(BLOCKS - dropped);
        await slow.expectNone();
        const numbers = received.map(numberOf);
        assert.deepEqual(
          numbers,
          [...numbers].sort((a, b) => a - b),
          'what came is in order',
        );
        await publisher.publish('blocks', numbered(BLOCKS));
        assert.equal(numberOf(await slow.next()), BLOCKS, 'the reader is served again');
        assert.equal(await broker.stop(), 0);
      });

      test('QoS 1 and 2 wait for a stuck reader in its queue, and all of it arrives when it reads again', async (t) => {
        const broker = await stage(t, {
          shards: 2,
          'limits.outboundBytes': OUTBOUND_BYTES,
          'limits.queueMessages': 100_000,
          'limits.queueBytes': '256MiB',
          ...WATCHED,
        });
        const watch = await CounterWatch.open(broker.port);
        const slow = await connect(broker.port, { clientId: clientIdOn(receiverShard, 2, 'slow') });
        const publisher = await connect(broker.port, { clientId: clientIdOn(0, 2, 'publisher') });
        await slow.subscribe('blocks/#', { qos: 2 });
        slow.pauseReading();
        const count = 1500;
        for (let number = 0; number < count; number += 100) {
          const answers: Promise<{ code: number }>[] = [];
          for (let i = number; i < number + 100; i++) answers.push(publisher.publish('blocks', numbered(i), { qos: 1 + (i & 1) }));
          for (const { code } of await Promise.all(answers)) assert.equal(code, 0, 'a queued message is taken');
        }
        const waiting = await watch.fresh('queued/messages');
        assert.ok(waiting >= count - 256, 'only the window is under way');
        slow.resumeReading();
        const numbers = (await slow.nextMany(count)).map(numberOf);
        for (const parity of [0, 1]) {
          assert.deepEqual(
            numbers.filter((number) => (number & 1) === parity),
            Array.from({ length: count / 2 }, (_, i) => 2 * i + parity),
          );
        }
        await slow.expectNone();
        await watch.reaches('queued/messages', (value) => value === 0);
        assert.equal(await watch.fresh('queued/bytes'), 0);
        assert.equal(watch.value('publish/dropped/outbound-full'), 0);
        assert.equal(watch.value('publish/dropped/queue-full'), 0);
        assert.equal(await broker.stop(), 0);
      });
    });
  }

  test('a client that sends without reading its own answers is not read until it does; nothing is lost and others are served', async (t) => {
    const broker = await stage(t, { shards: 2, 'limits.outboundBytes': OUTBOUND_BYTES, ...WATCHED });
    const watch = await CounterWatch.open(broker.port);
    const talker = await connect(broker.port, { clientId: clientIdOn(0, 2, 'talker') });
    const others = [await connect(broker.port, { clientId: clientIdOn(0, 2) }), await connect(broker.port, { clientId: clientIdOn(1, 2) })];
    const before = residentBytesOf(broker.pid);
    talker.pauseReading();
    const written: Promise<unknown>[] = [];
    void talker.subscribe('echo').catch(() => {});
    for (let number = 0; number < BLOCKS; number++) written.push(talker.publish('echo', numbered(number)));
    await watch.reaches('reads/paused', (value) => value > 0);
    const seen = await watch.fresh('publish/received');
    assert.ok(seen < BLOCKS, `${seen} of ${BLOCKS} were read from a client that reads nothing`);
    for (const other of others) await other.ping();
    const grown = residentBytesOf(broker.pid) - before;
    assert.ok(grown < MEMORY_BYTES, `memory grew by ${(grown / 2 ** 20).toFixed(1)} MiB`);
    assert.equal(await watch.fresh('publish/received'), seen, 'it stays so');
    talker.resumeReading();
    const numbers = (await talker.nextMany(BLOCKS)).map(numberOf);
    assert.deepEqual(
      numbers,
      Array.from({ length: BLOCKS }, (_, i) => i),
      'its own messages come back, all and in order',
    );
    await Promise.all(written);
    await talker.ping();
    assert.equal(await watch.fresh('publish/dropped/outbound-full'), 0);
    assert.equal(await broker.stop(), 0);
  });
});
