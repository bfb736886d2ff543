/*
 * Goal: packets are found at their boundaries, sizes are known as early as the header allows, and how the bytes were cut does not matter.
 * Method: examples at the edges of the length's encoding; random bytes and random packets, cut at random, must give one outcome.
 */

import './seed.ts';
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { FRAME_INCOMPLETE, Frame, readFrame } from '../../src/protocol/framer.ts';
import type { ProtocolVersion } from '../../src/protocol/packet-type.ts';
import { PACKETS, packetBytes } from '../packets.ts';
import { readBody } from './read-any.ts';

const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(' ', ''), 'hex');

test('the size is known as soon as the header says so', () => {
  const frame = new Frame();
  const rows: [string, number, number][] = [
    ['', FRAME_INCOMPLETE, 0],
    ['c0', FRAME_INCOMPLETE, 0],
    ['c000', 0, 2],
    ['3005', FRAME_INCOMPLETE, 7],
    ['30 05 0001616869', 0, 7],
    ['30 80', FRAME_INCOMPLETE, 0],
    ['30 8001', FRAME_INCOMPLETE, 131],
    ['30 ffffff7f', 0x95, 268_435_460],
    ['30 e907', FRAME_INCOMPLETE, 1004],
    ['30 80808080', 0x81, 0],
    ['30 8000', 0x81, 0],
  ];
  for (const [text, code, packetBytes] of rows) {
    assert.equal(readFrame(frame, hex(text), 0, hex(text).length, 1_048_576), code, text);
    assert.equal(frame.packetBytes, packetBytes, text);
  }
});

test('Maximum Packet Size counts the fixed header', () => {
  const frame = new Frame();
  const bytes = hex('ff 30 05 0001616869 c0 00');
  assert.equal(readFrame(frame, bytes, 1, bytes.length, 7), 0);
  assert.deepEqual([frame.first, frame.bodyAt, frame.bodyEnd, frame.packetBytes], [0x30, 3, 8, 7]);
  assert.equal(readFrame(frame, bytes, frame.bodyEnd, bytes.length, 7), 0);
  assert.deepEqual([frame.first, frame.bodyAt, frame.bodyEnd, frame.packetBytes], [0xc0, 10, 10, 2]);
  assert.equal(readFrame(frame, bytes, 1, bytes.length, 6), 0x95);
  assert.equal(readFrame(frame, bytes, 1, 3, 6), 0x95);
});

/** Feeds the chunks to the framer and the readers and writes down everything that came of it, up to the first refusal. */
function outcomeOf(chunks: readonly Uint8Array[], version: ProtocolVersion): string[] {
  const frame = new Frame();
  const log: string[] = [];
  let held = new Uint8Array(0);
  for (const chunk of chunks) {
    held = Buffer.concat([held, chunk]);
    let at = 0;
    for (;;) {
      const code = readFrame(frame, held, at, held.length, 400);
      if (code === FRAME_INCOMPLETE) break;
      if (code !== 0) {
        log.push(`frame ${code}`);
        return log;
      }
      const outcome = readBody(held, frame.first, frame.bodyAt, frame.bodyEnd, version, 'client');
      log.push(JSON.stringify(outcome));
      if (outcome.code !== 0) return log;
      at = frame.bodyEnd;
    }
    held = held.subarray(at);
  }
  log.push(`rest ${held.length}`);
  return log;
}

function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return ends.map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end));
}

const versions = fc.constantFrom<ProtocolVersion>(3, 4, 5);
const places = fc.array(fc.nat(2000), { maxLength: 12 });

test('random bytes in random chunks never throw and give one outcome', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), versions, places, (bytes, version, where) => {
      assert.deepEqual(outcomeOf(cut(bytes, where), version), outcomeOf([bytes], version));
    }),
    { numRuns: 1500 },
  );
});

test('damaged packets in random chunks never throw and give one outcome', () => {
  const packets = fc.array(fc.constantFrom(...PACKETS.map(({ hex }) => packetBytes(hex))), { minLength: 1, maxLength: 6 });
  const damage = fc.array(fc.tuple(fc.nat(2000), fc.nat(255)), { maxLength: 2 });
  fc.assert(
    fc.property(packets, damage, versions, places, (list, changes, version, where) => {
      const bytes = Buffer.concat(list);
      for (const [place, value] of changes) bytes[place % bytes.length] = value;
      assert.deepEqual(outcomeOf(cut(bytes, where), version), outcomeOf([bytes], version));
    }),
    { numRuns: 3000 },
  );
});
