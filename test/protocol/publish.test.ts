/*
 * Goal: the broker's reader and writer of PUBLISH agree with the plain ones of the client's half, whatever properties are there and in
 * whatever order, and make nothing when there is nothing to remove.
 * Method: random packets with shuffled properties go through both; edges as examples.
 */

import './seed.ts';
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Writer, withView, writeVarint } from '../../src/base/bytes.ts';
import { Frame, readFrame } from '../../src/protocol/framer.ts';
import type { ProtocolVersion } from '../../src/protocol/packet-type.ts';
import { skipProperty } from '../../src/protocol/property.ts';
import {
  isPayloadUtf8,
  MessageView,
  PublishPacket,
  packetIdOffset,
  publishLength,
  readPublish,
  readPublishPacket,
  setDup,
  setPacketId,
  writePublish,
  writePublishPacket,
} from '../../src/protocol/publish.ts';
import { publishes, versions } from './arbitrary.ts';
import { readWhole } from './read-any.ts';

const scratch = new Writer(16);

function imageOf(packet: PublishPacket, version: ProtocolVersion): Uint8Array {
  const writer = new Writer(16);
  writePublishPacket(writer, packet, version);
  return writer.copy();
}

function viewOf(image: Uint8Array, version: ProtocolVersion): [code: number, view: MessageView] {
  const frame = new Frame();
  assert.equal(readFrame(frame, image, 0, image.length, 1_048_576), 0);
  const view = new MessageView();
  return [readPublish(view, image, frame.bodyAt, frame.bodyEnd, frame.first, version, scratch), view];
}

/** Writes the properties of an image in another order, which no writer of ours would choose. */
function shuffled(image: Uint8Array, order: readonly number[]): Uint8Array {
  const [code, view] = viewOf(image, 5);
  assert.equal(code, 0);
  const frame = new Frame();
  readFrame(frame, image, 0, image.length, 1_048_576);
  let at = view.topicEnd + (view.qos > 0 ? 2 : 0);
  const lengthBytes = image[at]! < 0x80 ? 1 : 2;
  at += lengthBytes;
  const pieces: [number, Uint8Array][] = [];
  while (at < view.payloadAt) {
    const next = skipProperty(image, at, view.payloadAt);
    const isUser = image[at] === 0x26;
    // User Properties keep their order among themselves.
    pieces.push([isUser ? 500 : (order[pieces.length % order.length] ?? 0), image.subarray(at, next)]);
    at = next;
  }
  pieces.sort((a, b) => a[0] - b[0]);
  const copy = Buffer.from(image);
  let to = view.payloadAt - pieces.reduce((sum, [, piece]) => sum + piece.length, 0);
  for (const [, piece] of pieces) {
    copy.set(piece, to);
    to += piece.length;
  }
  return copy;
}

const input = versions.chain((version) =>
  fc.tuple(fc.constant(version), publishes(version, 'client'), fc.array(fc.nat(1000), { minLength: 1, maxLength: 12 })),
);

test('what the broker reads and writes again is what the client published', () => {
  fc.assert(
    fc.property(input, ([version, packet, order]) => {
      if (version !== 5 && packet.topic === '') return;
      const plain = imageOf(packet, version);
      const image = version === 5 ? shuffled(plain, order) : plain;
      const [code, view] = viewOf(image, version);
      assert.equal(code, 0);
      assert.equal(view.messageExpirySeconds, packet.properties.messageExpiryInterval ?? -1);
      assert.equal(view.topicAlias, packet.properties.topicAlias ?? 0);
      const expiry = view.messageExpirySeconds;
      const omitTopic = packet.topic === '';
      const length = publishLength(view, version, packet.qos, null, 0, expiry, view.topicAlias, omitTopic);
      const target = withView(Buffer.alloc(length + 2, 0xee));
      const end = writePublish(
        target,
        1,
        view,
        version,
        packet.qos,
        packet.retain,
        packet.dup,
        packet.packetId,
        null,
        0,
        expiry,
        view.topicAlias,
        omitTopic,
      );
      assert.equal(end, 1 + length);
      assert.deepEqual([target[0], target[end]], [0xee, 0xee]);
      assert.deepEqual(readWhole(target.subarray(1, end), version, 'server').value, packet);
    }),
    { numRuns: 500 },
  );
});

test('the broker refuses exactly what the plain reader refuses', () => {
  fc.assert(
    fc.property(input, fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 3 }), ([version, packet], damage) => {
      const image = Buffer.from(imageOf(packet, version));
      const bodyAt = image[1]! < 0x80 ? 2 : 3;
      for (const [place, value] of damage) image[bodyAt + (place % (image.length - bodyAt))] = value;
      const view = new MessageView();
      const hot = readPublish(view, image, bodyAt, image.length, image[0]!, version, scratch);
      const plain = new PublishPacket();
      const cold = readPublishPacket(plain, image, bodyAt, image.length, image[0]!, version);
      // Only where several rules break at once may the two name different ones; a Subscription Identifier is the server's to send.
      if (plain.properties.subscriptionIdentifiers === undefined) assert.equal(hot === 0, cold === 0, image.toString('hex'));
      else assert.notEqual(hot, 0);
      if (hot === 0) assert.equal(view.payloadEnd - view.payloadAt, plain.payload.length);
    }),
    { numRuns: 3000 },
  );
});

test('a receiver’s own properties go out with the message', () => {
  const packet = new PublishPacket();
  packet.topic = 'a/b';
  packet.payload = Buffer.from('hi');
  packet.properties = { messageExpiryInterval: 60, topicAlias: 9, contentType: 't', userProperties: [['k', 'v']] };
  const [code, view] = viewOf(imageOf(packet, 5), 5);
  assert.equal(code, 0);
  const ids = Uint32Array.of(1, 300, 268_435_455, 7);
  const length = publishLength(view, 5, 1, ids, 3, 12, 4, true);
  const target = withView(Buffer.alloc(length));
  assert.equal(writePublish(target, 0, view, 5, 1, true, false, 77, ids, 3, 12, 4, true), length);
  const expected = new PublishPacket();
  Object.assign(expected, { qos: 1, retain: true, packetId: 77, payload: packet.payload });
  expected.properties = {
    messageExpiryInterval: 12,
    topicAlias: 4,
    subscriptionIdentifiers: [1, 300, 268_435_455],
    contentType: 't',
    userProperties: [['k', 'v']],
  };
  assert.deepEqual(readWhole(target, 5, 'server').value, expected);

  setDup(target, 0);
  setPacketId(target, 0, 0x1234);
  Object.assign(expected, { dup: true, packetId: 0x1234 });
  assert.deepEqual(readWhole(target, 5, 'server').value, expected);
  assert.equal(target.readUInt16BE(packetIdOffset(target, 0)), 0x1234);

  const old = withView(Buffer.alloc(publishLength(view, 4, 0, ids, 3, 12, 0, false)));
  assert.equal(writePublish(old, 0, view, 4, 0, false, false, 0, ids, 3, 12, 0, false), old.length);
  assert.equal(old.toString('hex'), '30070003612f626869');
});

test('properties are copied only when a hole is left in their middle', () => {
  const view = new MessageView();
  const read = (properties: string): string => {
    const block = Buffer.from(properties.replaceAll(' ', ''), 'hex');
    const body = Buffer.concat([Buffer.from([0, 1, 0x61]), Buffer.alloc(writeVarint(Buffer.alloc(4), 0, block.length)), block]);
    writeVarint(body, 3, block.length);
    assert.equal(readPublish(view, body, 0, body.length, 0x30, 5, scratch), 0);
    const where = view.propertyBytes === body ? 'frame' : 'scratch';
    return `${where} ${Buffer.from(view.propertyBytes.subarray(view.propertiesAt, view.propertiesEnd)).toString('hex')}`;
  };
  assert.equal(read(''), 'frame ');
  assert.equal(read('020000003c'), 'frame ');
  assert.equal(read('020000003c 230001'), 'frame ');
  assert.equal(read('020000003c 0101 03000174 230001'), 'frame 010103000174');
  assert.equal(read('0101 020000003c 03000174'), 'scratch 010103000174');
  assert.equal(read('0101 020000003c 03000174 230001 080001 72'), 'scratch 01010300017408000172');
});

test('keys that begin with p2p- are noticed', () => {
  const withKey = (key: string): boolean => {
    const packet = new PublishPacket();
    packet.topic = 'a';
    packet.properties = {
      userProperties: [
        ['other', 'p2p-x'],
        [key, 'v'],
      ],
    };
    return viewOf(imageOf(packet, 5), 5)[1].hasReservedUserProperties;
  };
  assert.deepEqual(['p2p-', 'p2p-target', 'p2p', 'P2P-x', 'xp2p-', ''].map(withKey), [true, true, false, false, false, false]);
});

test('a payload that promises UTF-8 is checked on demand', () => {
  const withPayload = (format: number, payload: string): boolean => {
    const packet = new PublishPacket();
    packet.topic = 'a';
    packet.payload = Buffer.from(payload, 'hex');
    packet.properties = { payloadFormatIndicator: format };
    return isPayloadUtf8(viewOf(imageOf(packet, 5), 5)[1]);
  };
  assert.equal(withPayload(1, '6869'), true);
  assert.equal(withPayload(1, '00c3a4'), true);
  assert.equal(withPayload(1, '68ff'), false);
  assert.equal(withPayload(0, '68ff'), true);
});
