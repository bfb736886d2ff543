/*
 * Goal: blocks are lent to one borrower at a time, are large enough, are used again, and do not pile up.
 * Method: blocks of many sizes, written full by their borrower; the free lists are looked into after a burst. Images and counters, the other two small parts of
 * the output path, are tested beside them.
 */

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type ViewedBytes, withView } from '../../src/base/bytes.ts';
import { V5, V311 } from '../../src/protocol/packet-type.ts';
import { MessageView, publishLength, writePublish } from '../../src/protocol/publish.ts';
import { COUNTERS, counter, countersBytes, countersRow, LISTENERS_MAX, sumCounter } from '../../src/shard/counters.ts';
import { Images } from '../../src/shard/images.ts';
import { OutputBlocks } from '../../src/shard/output-blocks.ts';
import { Random } from '../routing/random-topics.ts';
import '../protocol/seed.ts';

test('a block has room for what was asked for and is lent to one at a time', () => {
  const random = new Random('OutputBlocks');
  const blocks = new OutputBlocks();
  const lent = new Set<ViewedBytes>();
  for (let step = 0; step < 5000; step++) {
    if (lent.size > 0 && random.next(2) === 0) {
      const block = random.pick([...lent]);
      lent.delete(block);
      blocks.give(block);
    } else {
      const length = 1 + random.next(2 ** (1 + random.next(16)));
      const block = blocks.take(length);
      assert.ok(block.length >= length && block.length <= Math.max(2048, length * 2));
      assert.ok(!lent.has(block));
      lent.add(block);
    }
    if (lent.size > 40) lent.clear();
  }
});

test('a block given back is lent again; beyond 4 MiB of a size they go to the collector', () => {
  const blocks = new OutputBlocks();
  const block = blocks.take(3000);
  assert.equal(block.length, 4096);
  blocks.give(block);
  assert.equal(blocks.take(2049), block);
  const free = (blocks as unknown as { free: Uint8Array[][] }).free;
  for (const size of [2048, 4096, 2 ** 20, 2 ** 22]) {
    const many = Array.from({ length: (2 * 2 ** 22) / size }, () => blocks.take(size));
    for (const one of many) blocks.give(one);
  }
  for (const list of free) {
    const kept = list.reduce((sum, one) => sum + one.length, 0);
    assert.ok(kept <= 2 ** 22, `${kept} bytes`);
  }
  // Odd sizes are nobody's class.
  blocks.give(withView(Buffer.alloc(5000)));
  blocks.give(withView(Buffer.alloc(10)));
  const huge = blocks.take(5_000_000);
  assert.equal(huge.length, 5_000_000);
  blocks.give(huge);
  assert.ok(free.every((list) => !list.includes(huge)));
});

function viewOf(topic: Uint8Array, payload: Uint8Array): MessageView {
  const view = new MessageView();
  view.topicBytes = topic;
  view.topicEnd = topic.length;
  view.setPayload(payload, 0, payload.length);
  return view;
}

test('images: each layout is the packet that writePublish makes, built once', () => {
  const images = new Images();
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 3000 }),
      fc.uint8Array({ maxLength: 9000 }),
      fc.array(fc.tuple(fc.constantFrom(V311, V5), fc.nat(2), fc.boolean()), { minLength: 1, maxLength: 20 }),
      (topic, payload, layouts) => {
        const view = viewOf(topic, payload);
        images.begin();
        for (const [version, qos, retain] of layouts) {
          const layout = images.layout(view, version, qos, retain, 7);
          const again = images.layout(view, version, qos, retain, 7);
          assert.equal(again, layout);
          const expected = withView(Buffer.alloc(publishLength(view, version, qos, null, 0, 7, 0, false)));
          writePublish(expected, 0, view, version, qos, retain, false, 0, null, 0, 7, 0, false);
          const at = images.at(layout);
          const image = Buffer.from(images.bytes.subarray(at, at + images.length(layout)));
          assert.ok(image.equals(expected));
          if (qos > 0) assert.equal(image.readUInt16BE(images.packetIdOffset(layout)), 0);
        }
        images.stop();
      },
    ),
  );
  images.begin();
  images.layout(viewOf(Buffer.from('t'), new Uint8Array(2 ** 20)), V5, 0, false, -1);
  assert.ok(images.bytes.length > 2 ** 20);
  images.stop();
  assert.equal(images.bytes.length, 4096, 'one large message leaves nothing behind');
});

test('counters: a row for each shard, summed over all, none beside its row', () => {
  const shared = new SharedArrayBuffer(countersBytes(3));
  for (let shard = 0; shard < 3; shard++) {
    const row = countersRow(shared, shard);
    assert.equal(row.length, COUNTERS.length + LISTENERS_MAX);
    assert.equal(row.byteOffset % 64, 0, 'no two shards write to one cache line');
    for (let index = 0; index < row.length; index++) row[index]! += 10 ** shard * (index + 1);
  }
  for (const [index, name] of COUNTERS.entries()) {
    assert.equal(counter(name), index);
    assert.equal(sumCounter(shared, index), 111 * (index + 1), name);
  }
  assert.equal(new Set(COUNTERS).size, COUNTERS.length);
});
