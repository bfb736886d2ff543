/*
 * Goal: a queue that takes over what others only refer to has the bytes, the order and the pinned deliveries of all.
 * Method: three queues by hand.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { Delivery } from '../../src/session/delivery.ts';
import { Message } from '../../src/session/message.ts';
import { MessageQueue } from '../../src/session/message-queue.ts';
import { MessageRef } from '../../src/session/message-refs.ts';

function delivery(sequence: number): Delivery {
  const one = new Delivery(new Message(new Uint8Array(10), 3, 3, 1, false, 0, 0), 1, false, null, null);
  one.sequence = sequence;
  return one;
}

function queueOf(sequences: readonly number[], pinned: readonly number[]): MessageQueue {
  const queue = new MessageQueue();
  for (const sequence of sequences) queue.pushRef(sequence, 100 + sequence, 1, 2, 200 + sequence);
  if (pinned.length > 0) queue.pinned = new Map(pinned.map((sequence) => [sequence, delivery(sequence)]));
  return queue;
}

for (const [name, own, ownPinned] of [
  ['with references of its own', [2, 7], [7]],
  ['without', [], []],
] as const) {
  test(`references of other queues are taken over by one ${name}`, () => {
    const queue = queueOf(own, ownPinned);
    const front = delivery(1);
    queue.push(front);
    const before = queue.bytes;
    queue.adoptRefs([queueOf([3, 9], [9]), queueOf([], []), queueOf([1000, 1001], [])]);
    const expected = [...own, 3, 9, 1000, 1001].sort((a, b) => a - b);
    const ref = new MessageRef();
    const found = expected.map((_, index) => {
      queue.refs!.read(index, ref);
      return [ref.sequence, ref.record, ref.sizeBytes];
    });
    assert.deepEqual(
      found,
      expected.map((sequence) => [sequence, 100 + sequence, 200 + sequence]),
    );
    assert.equal(queue.bytes, before + 203 + 209 + 1200 + 1201);
    assert.equal(queue.count, 1 + expected.length);
    assert.deepEqual([...queue.pinned!.keys()].sort(), [...ownPinned, 9]);
    assert.equal(queue.peek(), front);
  });
}
