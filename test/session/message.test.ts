/*
 * Goal: a kept Message shows exactly the message that was kept, owns its bytes, and counts in a queue for what it weighs.
 * Method: random messages kept from one view and shown in another; the source is overwritten in between.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { MessageView } from '../../src/protocol/publish.ts';
import { Delivery } from '../../src/session/delivery.ts';
import { keepMessage, MESSAGE_OVERHEAD_BYTES, type Message, viewMessage } from '../../src/session/message.ts';
import { MessageQueue } from '../../src/session/message-queue.ts';
import { ReceiveWindow } from '../../src/session/receive-window.ts';
import '../protocol/seed.ts';

const range = (bytes: Uint8Array, at: number, end: number): number[] => [...bytes.subarray(at, end)];

test('keep and view: the same topic, properties, payload and marks', () => {
  const bytes = fc.uint8Array({ maxLength: 300 });
  fc.assert(
    fc.property(
      bytes,
      bytes,
      bytes,
      fc.nat(2),
      fc.boolean(),
      fc.nat(2 ** 30),
      fc.nat(2 ** 50),
      (topic, properties, payload, qos, isRetained, receipt, expiresAt) => {
        // Topic and payload in one buffer, properties in another, as `readPublish` may leave them.
        const packet = Buffer.concat([Buffer.from('??'), topic, Buffer.from('!'), payload]);
        const view = new MessageView();
        view.qos = qos;
        view.isRetained = isRetained;
        view.isDup = true;
        view.packetId = 77;
        view.topicBytes = packet;
        view.topicAt = 2;
        view.topicEnd = 2 + topic.length;
        view.propertyBytes = Buffer.from(properties);
        view.propertiesAt = 0;
        view.propertiesEnd = properties.length;
        view.setPayload(packet, packet.length - payload.length, packet.length);
        view.expiresAt = expiresAt;
        view.receipt = receipt;
        const message = keepMessage(view);
        packet.fill(0xee);
        view.propertyBytes.fill(0xee);
        const shown = new MessageView();
        shown.isDup = true;
        shown.packetId = 5;
        shown.topicAlias = 9;
        shown.messageExpirySeconds = 4;
        viewMessage(shown, message);
        assert.deepEqual(range(shown.topicBytes, shown.topicAt, shown.topicEnd), [...topic]);
        assert.deepEqual(range(shown.propertyBytes, shown.propertiesAt, shown.propertiesEnd), [...properties]);
        assert.deepEqual(range(shown.payloadBytes, shown.payloadAt, shown.payloadEnd), [...payload]);
        assert.deepEqual(
          [shown.qos, shown.isRetained, shown.isDup, shown.packetId, shown.topicAlias, shown.messageExpirySeconds],
          [qos, isRetained, false, 0, 0, -1],
        );
        assert.deepEqual([shown.expiresAt, shown.receipt], [expiresAt, receipt]);
        assert.equal(message.sizeBytes, topic.length + properties.length + payload.length + MESSAGE_OVERHEAD_BYTES);
      },
    ),
  );
});

function messageOf(payloadBytes: number): Message {
  const view = new MessageView();
  view.setPayload(new Uint8Array(payloadBytes), 0, payloadBytes);
  return keepMessage(view);
}

test('a queue is first in, first out, and its bytes return to 0', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat(1000)), { maxLength: 200 }), (steps) => {
      const queue = new MessageQueue();
      const model: Delivery[] = [];
      for (const size of steps) {
        if (size === null) {
          assert.equal(queue.peek(), model[0]);
          assert.equal(queue.shift(), model.shift());
        } else {
          const delivery = new Delivery(messageOf(size), 1, false, null, null);
          queue.push(delivery);
          model.push(delivery);
        }
        assert.equal(queue.count, model.length);
        assert.equal(
          queue.bytes,
          model.reduce((sum, delivery) => sum + delivery.message.sizeBytes, 0),
        );
      }
      while (queue.shift() !== undefined);
      assert.equal(queue.bytes, 0);
    }),
  );
});

test('a receive window is a set of Packet Identifiers', () => {
  const window = new ReceiveWindow();
  assert.equal(window.has(1), false);
  window.add(1);
  window.add(1);
  window.add(65_535);
  assert.equal(window.count, 2);
  assert.equal(window.has(65_535), true);
  assert.equal(window.remove(1), true);
  assert.equal(window.remove(1), false, 'a second PUBREL finds nothing');
  assert.equal(window.count, 1);
});
