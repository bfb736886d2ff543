/**
 * Goal: out of a stretch of a ring a block takes the messages at its beginning, whole ones and no others. Method: stretches that end, are cut, or have something else, at
 * every place.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { utf8Bytes } from '../../src/base/bytes.ts';
import { ringFrameBytes } from '../../src/base/ring.ts';
import { FRAME_MESSAGE, FRAME_TRACE, HistoryFields, HistoryReader, writeHistoryRecord } from '../../src/journal/history-record.ts';
import { MessageView } from '../../src/protocol/publish.ts';
import { HistoryBlock, isMessageFrame, messagesOfBlock } from '../../src/store/history-block.ts';
import { Random } from '../routing/random-topics.ts';

/** Frames as in a ring, with messages to topics `0`, `1`, …; `ends` has where each ends. */
function stretch(random: Random, count: number): { readonly bytes: Buffer; readonly ends: number[] } {
  const words = new Uint32Array(16 * 1024);
  const bytes = Buffer.from(words.buffer);
  const ends: number[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const view = new MessageView();
    view.topicBytes = utf8Bytes(String(i));
    view.topicEnd = view.topicBytes.length;
    view.setPayload(Buffer.alloc(200, i), 0, random.next(200));
    const payload = view.payloadEnd;
    const length = writeHistoryRecord(bytes, undefined, words, at + 8, new Uint32Array(4), view, new HistoryFields(), true, payload);
    words[at >>> 2] = length;
    words[(at >>> 2) + 1] = FRAME_MESSAGE;
    at += ringFrameBytes(length);
    ends.push(at);
  }
  return { bytes: bytes.subarray(0, at), ends };
}

function topicsOf(block: HistoryBlock): string[] {
  const reader = new HistoryReader();
  const image = Buffer.from(block.image());
  return messagesOfBlock(image).map((place) => {
    reader.show(image, place);
    return image.toString('utf8', reader.topicAt, reader.topicEnd);
  });
}

test('a block takes whole messages, up to what is none', () => {
  const random = new Random('history-block');
  for (let round = 0; round < 300; round++) {
    const { bytes, ends } = stretch(random, 1 + random.next(20));
    const topics = ends.map((_, i) => String(i));
    const block = new HistoryBlock();
    block.begin(0, 0, 0);
    // What comes behind another is taken in as well.
    assert.equal(block.take(bytes, 0, bytes.length), bytes.length);
    assert.deepEqual([topicsOf(block), block.count], [topics, ends.length]);
    // Cut anywhere.
    const cut = random.next(bytes.length) & ~7;
    const whole = ends.filter((end) => end <= cut).length;
    assert.equal(block.take(bytes, 0, cut), whole === 0 ? 0 : ends[whole - 1]);
    assert.deepEqual(topicsOf(block), [...topics, ...topics.slice(0, whole)]);
    // A frame of another kind, or the mark where a ring begins anew.
    const other = random.next(ends.length);
    const otherAt = other === 0 ? 0 : ends[other - 1]!;
    if (random.next(2) === 0) bytes.writeUInt32LE(FRAME_TRACE, otherAt + 4);
    else bytes.writeUInt32LE(0xffffffff, otherAt);
    block.begin(0, 0, 0);
    assert.equal(block.take(bytes, 0, bytes.length), otherAt);
    assert.deepEqual([topicsOf(block), block.isDirty], [topics.slice(0, other), other > 0]);
    assert.equal(isMessageFrame(bytes, otherAt, bytes.length), false);
  }
});

test('a frame of a message is one where it is whole', () => {
  const { bytes, ends } = stretch(new Random('history-frame'), 1);
  assert.equal(isMessageFrame(bytes, 0, ends[0]!), true);
  for (const end of [0, 7, 8, 40]) assert.equal(isMessageFrame(bytes, 0, end), false);
});
