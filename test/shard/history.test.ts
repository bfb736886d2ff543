/**
 * Goal: what the history's thread reads out of the ring is, message by message, what was handed over: messages of one publisher in one go stand behind each other, and
 * whatever else differs begins a record of its own. Method: random messages, compared with a plain list; and each difference alone.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { utf8Bytes, withView } from '../../src/base/bytes.ts';
import { hash32 } from '../../src/base/hash.ts';
import { RING_FRAME_HEADER_BYTES, RingConsumer, ringBufferBytes, ringFrameBytes } from '../../src/base/ring.ts';
import {
  FRAME_MESSAGE,
  FRAME_TRACE,
  FURTHER_MAX,
  HistoryReader,
  type MessagePlace,
  placesOfRecord,
} from '../../src/journal/history-record.ts';
import { idText, MESSAGE_ID_BYTES, MessageIds } from '../../src/journal/message-id.ts';
import { MessageView } from '../../src/protocol/publish.ts';
import { TopicMatch } from '../../src/routing/subscriptions.ts';
import { COUNTERS, counter } from '../../src/shard/counters.ts';
import { History } from '../../src/shard/history.ts';
import { Route } from '../../src/shard/route.ts';
import { Random } from '../routing/random-topics.ts';

const BEGIN = 1_790_000_000_000;
const PAYLOAD_MAX = 400;

interface Told {
  readonly topic: string;
  readonly publisher: string;
  readonly qos?: number;
  readonly isRetained?: boolean;
  readonly properties?: string;
  readonly expirySeconds?: number;
  readonly payload: Buffer;
  readonly now: number;
}

/** A history with its ring, and somebody who publishes and reads. */
class Bench {
  readonly history: History;
  readonly counters = new Float64Array(COUNTERS.length);
  readonly told: string[] = [];
  private readonly ids = new MessageIds(3);
  private readonly consumer: RingConsumer;
  private readonly view = new MessageView();
  private readonly packet = withView(Buffer.alloc(4096));
  private readonly topics = new Map<string, { readonly bytes: Uint8Array; readonly route: Route }>();
  private readonly publishers = new Map<string, Uint8Array>();

  constructor(bufferBytes = 64 * 1024) {
    const ring = new SharedArrayBuffer(ringBufferBytes(bufferBytes));
    const wiring = { ring, wake: new SharedArrayBuffer(64), newest: new SharedArrayBuffer(64), tally: new SharedArrayBuffer(24) };
    const settings = {
      enabled: true,
      path: '',
      retentionSeconds: 3600,
      bytesMax: 2 ** 30,
      filters: ['#'],
      messageId: false,
      payloadBytes: PAYLOAD_MAX,
      bufferBytes,
    };
    this.history = new History(settings, wiring, 3, this.ids, this.counters);
    this.consumer = new RingConsumer(ring);
  }

  private topicOf(topic: string): { readonly bytes: Uint8Array; readonly route: Route } {
    let known = this.topics.get(topic);
    if (known === undefined) {
      known = { bytes: utf8Bytes(topic), route: new Route(0, new TopicMatch(), 0, [], null) };
      this.topics.set(topic, known);
    }
    return known;
  }

  /** As a shard hands a message over. @returns whether it stands behind the one before */
  publish({ topic, publisher, qos = 0, isRetained = false, properties = '', expirySeconds = -1, payload, now }: Told): boolean {
    const { view, packet, history } = this;
    const { bytes, route } = this.topicOf(topic);
    if (!this.publishers.has(publisher)) this.publishers.set(publisher, utf8Bytes(publisher));
    const publisherBytes = this.publishers.get(publisher)!;
    view.topicBytes = bytes;
    view.topicEnd = bytes.length;
    view.qos = qos;
    view.isRetained = isRetained;
    view.propertyBytes = utf8Bytes(properties);
    view.propertiesEnd = view.propertyBytes.length;
    view.expiresAt = expirySeconds < 0 ? 0 : now + expirySeconds * 1000;
    packet.fill(0xee);
    packet.set(payload, 5);
    view.setPayload(packet, 5, 5 + payload.length);
    const isFurther = history.keepFurther(view, publisherBytes, route, now);
    if (!isFurther) {
      this.ids.next(now);
      const { fields } = history;
      fields.hash = hash32(bytes, 0, bytes.length);
      fields.publisherBytes = publisherBytes;
      fields.publisherEnd = publisherBytes.length;
      fields.publisherHash = hash32(publisherBytes, 0, publisherBytes.length);
      fields.propertiesEnd = view.propertiesEnd;
      fields.expirySeconds = expirySeconds;
      fields.clearTargets();
      history.keep(view, publisherBytes, route);
    } else this.ids.show();
    const kept = payload.subarray(0, PAYLOAD_MAX);
    this.told.push(
      [
        idText(this.ids.bytes, 0),
        topic,
        publisher,
        qos,
        isRetained,
        properties,
        expirySeconds,
        payload.length,
        kept.toString('hex'),
      ].join(),
    );
    return isFurther;
  }

  /** An ID goes to something that the history does not keep. */
  drawId(now: number): void {
    this.ids.next(now);
  }

  trace(): void {
    assert.ok(this.history.keepTrace(new Uint8Array(MESSAGE_ID_BYTES), utf8Bytes('{}')));
  }

  /** What the thread finds. */
  take(): string[] {
    const found: string[] = [];
    const reader = new HistoryReader();
    this.history.endTurn();
    while (this.consumer.next()) {
      const { bytes, frameAt, frameEnd } = this.consumer;
      if (this.consumer.frameType === FRAME_TRACE) continue;
      assert.equal(this.consumer.frameType, FRAME_MESSAGE);
      assert.equal((frameAt - RING_FRAME_HEADER_BYTES) % 8, 0);
      const block = Buffer.from(
        bytes.subarray(frameAt - RING_FRAME_HEADER_BYTES, frameAt - RING_FRAME_HEADER_BYTES + ringFrameBytes(frameEnd - frameAt)),
      );
      const places: MessagePlace[] = [];
      assert.ok(placesOfRecord(block, RING_FRAME_HEADER_BYTES, RING_FRAME_HEADER_BYTES + frameEnd - frameAt, places));
      for (const place of places) {
        reader.show(block, place);
        const text = (at: number, end: number): string => block.toString('utf8', at, end);
        found.push(
          [
            idText(reader.id, 0),
            text(reader.topicAt, reader.topicEnd),
            text(reader.publisherAt, reader.publisherEnd),
            reader.qos,
            reader.isRetained,
            text(reader.propertiesAt, reader.propertiesEnd),
            reader.expirySeconds,
            reader.payloadBytes,
            block.toString('hex', reader.payloadAt, reader.payloadEnd),
          ].join(),
        );
      }
    }
    this.consumer.release();
    return found;
  }
}

const base: Told = { topic: 'plant/1', publisher: 'sensor-1', payload: Buffer.from('21.5'), now: BEGIN };

test('messages of one publisher to one topic stand behind each other', () => {
  const bench = new Bench();
  assert.equal(bench.publish(base), false);
  assert.equal(bench.publish({ ...base, payload: Buffer.from('22') }), true);
  assert.equal(bench.publish({ ...base, payload: Buffer.alloc(0) }), true);
  assert.deepEqual(bench.take(), bench.told);
  assert.equal(bench.counters[counter('history/kept')], 3);
  // What was shown to the thread is not written to any more.
  assert.equal(bench.publish(base), false);
  assert.equal(bench.publish(base), true);
  assert.deepEqual(bench.take(), bench.told.slice(3));
});

for (const [what, other] of Object.entries<Partial<Told>>({
  'another topic': { topic: 'plant/2' },
  'another publisher': { publisher: 'sensor-2' },
  'another QoS': { qos: 1 },
  RETAIN: { isRetained: true },
  properties: { properties: 'abc' },
  'a Message Expiry Interval': { expirySeconds: 60 },
  'a later millisecond': { now: BEGIN + 1 },
  'a payload that is cut': { payload: Buffer.alloc(PAYLOAD_MAX + 1, 7) },
})) {
  test(`a message with ${what} has a record of its own`, () => {
    const bench = new Bench();
    assert.equal(bench.publish(base), false);
    assert.equal(bench.publish({ ...base, ...other }), false);
    bench.publish({ ...base, now: other.now ?? BEGIN });
    assert.deepEqual(bench.take(), bench.told);
  });
}

test('nothing stands behind a message whose ID is not the one before, nor behind a trace', () => {
  const bench = new Bench();
  assert.equal(bench.publish(base), false);
  bench.drawId(BEGIN);
  assert.equal(bench.publish(base), false);
  bench.trace();
  assert.equal(bench.publish(base), false);
  assert.equal(bench.publish(base), true);
  assert.deepEqual(bench.take(), bench.told);
});

test('a record has a largest number of messages, and of bytes', () => {
  const bench = new Bench(1024 * 1024);
  const places: boolean[] = [];
  for (let i = 0; i < FURTHER_MAX + 3; i++) places.push(bench.publish({ ...base, payload: Buffer.from([i]) }));
  assert.deepEqual(
    places.flatMap((isFurther, i) => (isFurther ? [] : [i])),
    [0, FURTHER_MAX + 1],
  );
  for (let i = 0; i < 100; i++) bench.publish({ ...base, payload: Buffer.alloc(PAYLOAD_MAX, i) });
  assert.deepEqual(bench.take(), bench.told);
});

test('a full ring loses whole messages, and counts each', () => {
  const bench = new Bench(4096);
  let kept = 0;
  for (let i = 0; i < 200; i++) {
    bench.publish({ ...base, payload: Buffer.alloc(100, i) });
    if (bench.counters[counter('history/dropped')] === 0) kept = bench.told.length;
  }
  const found = bench.take();
  assert.deepEqual(found, bench.told.slice(0, found.length));
  assert.equal(found.length, kept);
  assert.equal(bench.counters[counter('history/kept')], kept);
  assert.equal(bench.counters[counter('history/dropped')], 200 - kept);
});

test('random messages are read as they were handed over', () => {
  const random = new Random('shard-history');
  const bench = new Bench();
  let now = BEGIN;
  let further = 0;
  for (let round = 0; round < 600; round++) {
    const from = bench.told.length;
    for (let i = random.next(40); i >= 0; i--) {
      const isPlain = random.next(8) > 0;
      if (random.next(30) === 0) now++;
      if (random.next(50) === 0) bench.trace();
      const isFurther = bench.publish({
        topic: `t/${random.next(random.next(4) === 0 ? 3 : 1)}`,
        publisher: `client-${random.next(random.next(4) === 0 ? 3 : 1)}`,
        qos: isPlain ? 0 : random.next(3),
        isRetained: !isPlain && random.next(2) === 0,
        properties: isPlain ? '' : 'p'.repeat(random.next(20)),
        expirySeconds: isPlain ? -1 : random.next(3) - 1,
        payload: Buffer.from(Array.from({ length: random.next(isPlain ? 90 : PAYLOAD_MAX + 20) }, () => random.next(256))),
        now,
      });
      if (isFurther) further++;
    }
    assert.deepEqual(bench.take(), bench.told.slice(from));
  }
  assert.ok(further > 1000, `${further} messages stood behind others`);
});
