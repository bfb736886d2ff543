/*
 * Goal: a ring is a first-in first-out queue of bytes between two threads, wherever its indices stand, and never loses, doubles or tears a frame.
 * Method: random steps against a plain queue at several starting indices, up to the wrap at 2^32; the edge cases by hand; and two real threads
 * with millions of bytes that the consumer checks.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import test, { describe } from 'node:test';
import { Worker } from 'node:worker_threads';
import { RingConsumer, RingProducer, ringBufferBytes, ringFrameBytesMax } from '../../src/base/ring.ts';
import { Random } from '../routing/random-topics.ts';

const CAPACITY = 4096;
const HEADER_BYTES = 8;
const HEAD_WORD = 0;
const TAIL_WORD = 16;

/** A ring whose indices begin at `start`, as after that many bytes of traffic. */
function ringAt(start: number, capacity = CAPACITY): { producer: RingProducer; consumer: RingConsumer; shared: SharedArrayBuffer } {
  const shared = new SharedArrayBuffer(ringBufferBytes(capacity));
  const words = new Int32Array(shared);
  words[HEAD_WORD] = start | 0;
  words[TAIL_WORD] = start | 0;
  return { producer: new RingProducer(shared), consumer: new RingConsumer(shared), shared };
}

function put(producer: RingProducer, typeWord: number, body: Uint8Array): boolean {
  const at = producer.reserve(body.length);
  if (at < 0) return false;
  producer.bytes.set(body, at);
  producer.commit(typeWord, body.length);
  return true;
}

function bodyOf(consumer: RingConsumer): Buffer {
  return Buffer.from(consumer.bytes.subarray(consumer.frameAt, consumer.frameEnd));
}

describe('against a plain queue', () => {
  for (const start of [0, CAPACITY - 8, 2 ** 31 - 64, 2 ** 32 - 3 * CAPACITY, 2 ** 32 - 8]) {
    test(`indices from ${start}`, () => {
      const random = new Random(`ring from ${start}`);
      const { producer, consumer } = ringAt(start);
      const bodyBytesMax = ringFrameBytesMax(CAPACITY);
      const unpublished: { word: number; body: Buffer }[] = [];
      const visible: { word: number; body: Buffer }[] = [];
      let word = 0;
      let refused = 0;
      for (let step = 0; step < 30_000; step++) {
        switch (random.next(10)) {
          case 0:
            assert.equal(producer.publish(), unpublished.length > 0);
            visible.push(...unpublished.splice(0));
            break;
          case 1:
            consumer.release();
            break;
          case 2: {
            // A reservation that is given up leaves no trace.
            const at = producer.reserve(random.next(bodyBytesMax + 1));
            assert.ok(at === -1 || at % 8 === 0);
            break;
          }
          case 3:
          case 4:
          case 5:
          case 6: {
            const expected = visible[0];
            assert.equal(consumer.hasFrames(), expected !== undefined);
            assert.equal(consumer.next(), expected !== undefined);
            if (expected === undefined) break;
            assert.equal(consumer.frameType, expected.word | 0);
            assert.ok(bodyOf(consumer).equals(expected.body));
            visible.shift();
            break;
          }
          default: {
            // Mostly small, sometimes the largest; sometimes shorter than what was reserved.
            const reserved = random.next(20) === 0 ? bodyBytesMax : random.next(200);
            const body = Buffer.alloc(random.next(4) === 0 ? random.next(reserved + 1) : reserved, step & 0xff);
            const at = producer.reserve(reserved);
            if (at < 0) {
              refused++;
              break;
            }
            producer.bytes.set(body, at);
            producer.commit(word, body.length);
            unpublished.push({ word: word++, body });
          }
        }
        assert.ok(producer.usedBytes() <= CAPACITY);
      }
      assert.ok(word > 1000 && refused > 100, `${word} frames, ${refused} refused`);
    });
  }
});

test('a frame never wraps: a skip marker fills the end of the buffer', () => {
  const { producer, consumer } = ringAt(CAPACITY - 64);
  assert.ok(put(producer, 1, Buffer.alloc(24, 1)));
  // 32 bytes are left to the end: a frame of 25 bytes needs 40 and goes to the front.
  assert.ok(put(producer, 2, Buffer.alloc(25, 2)));
  assert.equal(producer.usedBytes(), 32 + 32 + 40);
  producer.publish();
  assert.ok(consumer.next());
  assert.equal(consumer.frameType, 1);
  assert.ok(consumer.next());
  assert.equal(consumer.frameType, 2);
  assert.deepEqual(bodyOf(consumer), Buffer.alloc(25, 2));
  assert.equal(consumer.frameAt, 128 + HEADER_BYTES);
  assert.equal(consumer.next(), false);
  consumer.release();
  assert.equal(producer.usedBytes(), 0);
});

test('a ring that is full to the last byte, an empty body, and room that comes back', () => {
  const { producer, consumer } = ringAt(0);
  for (let i = 0; i < CAPACITY / 8; i++) assert.ok(put(producer, i, Buffer.alloc(0)));
  assert.equal(producer.reserve(0), -1);
  assert.equal(consumer.next(), false, 'nothing is visible before publish');
  producer.publish();
  for (let i = 0; i < CAPACITY / 8; i++) {
    assert.ok(consumer.next());
    assert.equal(consumer.frameType, i);
    assert.equal(consumer.frameAt, consumer.frameEnd);
  }
  assert.equal(consumer.next(), false);
  assert.equal(producer.reserve(0), -1, 'the room comes back by release, not by next');
  consumer.release();
  assert.ok(producer.reserve(0) > 0);
});

test('a reservation at the end of the buffer that is not committed shows nothing', () => {
  const { producer, consumer } = ringAt(CAPACITY - 32);
  assert.ok(producer.reserve(100) > 0);
  assert.equal(producer.publish(), false);
  assert.equal(consumer.next(), false);
  // The place that was reserved at the front is not owed: a small frame still fits before the end.
  assert.ok(put(producer, 7, Buffer.alloc(8, 7)));
  producer.publish();
  assert.ok(consumer.next());
  assert.equal(consumer.frameType, 7);
  assert.equal(consumer.next(), false);
});

test('new ends on a used ring go on where the old ones were', () => {
  const { producer, consumer, shared } = ringAt(2 ** 32 - 16);
  assert.ok(put(producer, 1, Buffer.from('one')));
  assert.ok(put(producer, 2, Buffer.from('two')));
  producer.publish();
  assert.ok(consumer.next());
  consumer.release();
  const heir = new RingConsumer(shared);
  assert.ok(heir.next());
  assert.equal(bodyOf(heir).toString(), 'two');
  heir.release();
  const producerHeir = new RingProducer(shared);
  assert.equal(producerHeir.usedBytes(), 0);
  assert.ok(put(producerHeir, 3, Buffer.from('three')));
  producerHeir.publish();
  assert.ok(heir.next());
  assert.equal(bodyOf(heir).toString(), 'three');
});

test('two threads: every frame arrives once, in order, with its bytes', async () => {
  const capacity = 2 ** 14;
  const frames = 60_000;
  const bodyBytesMax = 256;
  const expected = new Random('ring with two threads');
  const { consumer, shared } = ringAt(2 ** 32 - 2 ** 20, capacity);
  const worker = new Worker(new URL('./ring-peer.js', import.meta.url), {
    workerData: { shared, frames, bodyBytesMax },
    env: { ...process.env, SEED: String(expected.seed) },
  });
  const ended = once(worker, 'exit');
  // The generator of the producer draws two numbers for a frame: its length, and whether it publishes.
  let seen = 0;
  let bytesSeen = 0;
  while (seen < frames) {
    while (consumer.next()) {
      assert.equal(consumer.frameType, seen);
      const length = expected.next(bodyBytesMax + 1);
      expected.next(20);
      assert.equal(consumer.frameEnd - consumer.frameAt, length);
      let wrong = 0;
      for (let byte = 0; byte < length; byte++) wrong |= consumer.bytes[consumer.frameAt + byte]! ^ ((seen + byte) & 0xff);
      assert.equal(wrong, 0, `frame ${seen} is intact`);
      seen++;
      bytesSeen += length;
      if ((seen & 15) === 0) consumer.release();
    }
    consumer.release();
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
  assert.equal(consumer.next(), false);
  assert.ok(bytesSeen > 5_000_000);
  assert.deepEqual(await ended, [0]);
});

test('a capacity that is no power of two, or too small, is refused', () => {
  assert.throws(() => ringBufferBytes(5000));
  assert.throws(() => ringBufferBytes(2048));
  assert.equal(ringFrameBytesMax(CAPACITY), CAPACITY / 4 - 8);
});
