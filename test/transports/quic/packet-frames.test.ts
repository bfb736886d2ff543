/*
 * Goal: what a packet has brought is told by its frames, and whatever is not the usual (a gap in the acknowledgements, a second stream, a frame of another kind, something
 * that cannot be) makes quiche be asked.
 * Method: packets by hand, then random bytes and every cut of a good packet, which must end.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { CONNECTION_ID_BYTES } from '../../../src/transports/quic/connection-id.ts';
import { CONTENT_ACKS, CONTENT_ANY, CONTENT_STREAM, PacketFrames } from '../../../src/transports/quic/packet-frames.ts';
import { Random } from '../../sim/random.ts';

const TAG_BYTES = 16;
const seed = Number(process.env['QUIC_SEED'] ?? Date.now()) >>> 0;

/** A packet with these frames and a packet number of two bytes. */
function packet(...frames: number[]): Buffer {
  return Buffer.from([0x41, ...Buffer.alloc(CONNECTION_ID_BYTES), 0, 9, ...frames, ...Buffer.alloc(TAG_BYTES)]);
}

/** ACK of packets up to `largest`, the first range `length` longer. */
const ack = (largest: number, length: number, ranges = 0): number[] => [
  0x02,
  largest,
  0,
  ranges,
  length,
  ...Array.from({ length: 2 * ranges }, () => 0),
];
const ackEcn = (largest: number, length: number): number[] => [0x03, largest, 0, 0, length, 1, 2, 3];
/** STREAM with a length, at offset 0 or 5. */
const stream = (id: number, bytes: number, offset = 0): number[] =>
  offset === 0 ? [0x0a, id, bytes, ...Buffer.alloc(bytes, 0x06)] : [0x0e, id, offset, bytes, ...Buffer.alloc(bytes, 0x06)];
/** STREAM to the end of the packet. */
const openStream = (id: number, bytes: number): number[] => [0x08, id, ...Buffer.alloc(bytes, 0x1c)];

for (const [name, frames, content, streamId] of [
  ['an acknowledgement of what follows', ack(6, 1), CONTENT_ACKS, -1],
  ['the same once more', ack(4, 4), CONTENT_ACKS, -1],
  ['with padding', [0, 0, ...ack(6, 1), 0], CONTENT_ACKS, -1],
  ['with ECN counts', ackEcn(6, 1), CONTENT_ACKS, -1],
  ['a gap behind what was acknowledged', ack(8, 1), CONTENT_ANY, -1],
  ['two ranges', ack(6, 0, 1), CONTENT_ANY, -1],
  ['of a packet that was not sent', ack(40, 39), CONTENT_ANY, -1],
  ['bytes of a stream', stream(8, 5), CONTENT_STREAM, 8],
  ['at an offset', stream(8, 5, 7), CONTENT_STREAM, 8],
  ['up to the end of the packet', openStream(4, 30), CONTENT_STREAM, 4],
  ['with an acknowledgement', [...ack(6, 1), ...stream(0, 3)], CONTENT_STREAM, 0],
  ['two pieces of one', [...stream(4, 3), ...stream(4, 3, 3)], CONTENT_STREAM, 4],
  ['of two streams', [...stream(4, 3), ...stream(8, 3)], CONTENT_ANY, -1],
  ['a reset beside it', [...stream(4, 3), 0x04, 8, 0, 0], CONTENT_ANY, -1],
  ['a PING', [0x01], CONTENT_ANY, -1],
  ['the end of the connection', [0x1c, 0, 0, 0], CONTENT_ANY, -1],
] as const) {
  test(`${name}`, () => {
    const reader = new PacketFrames();
    assert.equal(reader.read(packet(...frames), 4, 20), content);
    if (streamId >= 0) assert.equal(reader.streamId, streamId);
  });
}

test(`cut and random packets end (QUIC_SEED=${seed})`, () => {
  const random = new Random(seed);
  const reader = new PacketFrames();
  const good = packet(...ack(6, 1), ...stream(4, 20), ...stream(4, 20, 20));
  for (let length = 0; length <= good.length; length++)
    reader.read(Buffer.concat([good.subarray(0, length), Buffer.alloc(TAG_BYTES)]), 4, 20);
  for (let i = 0; i < 20_000; i++) {
    const bytes = Buffer.from(Array.from({ length: 20 + random.below(60) }, () => random.below(256)));
    const content = reader.read(bytes, 4, 20);
    assert.ok(content === CONTENT_ANY || content === CONTENT_ACKS || content === CONTENT_STREAM);
    if (content !== CONTENT_ANY) assert.ok(reader.acked < 20);
  }
});
