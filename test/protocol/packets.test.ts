/*
 * Goal: every packet of the table is read with the reason code that the standard names, and the answer depends on the packet's bytes alone.
 * Method: each row is read as it is, from inside a larger buffer, and cut at every length, which must never throw.
 */

import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { reasonName } from '../../src/protocol/reason-code.ts';
import { PACKETS, packetBytes } from '../packets.ts';
import { readBody, readWhole } from './read-any.ts';

describe('the packet table', () => {
  for (const { name, version, hex, code, from } of PACKETS) {
    const sides = from === 'both' ? (['client', 'server'] as const) : [from];
    for (const side of sides) {
      test(`v${version} ${name} (from ${side})`, () => {
        const bytes = packetBytes(hex);
        const outcome = readWhole(bytes, version, side);
        assert.equal(reasonName(outcome.code), reasonName(code));

        const shared = new Uint8Array(new SharedArrayBuffer(bytes.length + 20)).fill(0xff);
        shared.set(bytes, 7);
        const lengthBytes = bytes.findIndex((byte, i) => i > 0 && byte < 0x80);
        if (lengthBytes > 4 || (bytes[lengthBytes] === 0 && lengthBytes > 1)) return;
        const moved = readBody(shared, bytes[0]!, 7 + lengthBytes + 1, 7 + bytes.length, version, side);
        assert.deepEqual(moved, outcome);
      });
    }
  }
});

test('a body that is cut short is never read beyond its end', () => {
  for (const { version, hex, from } of PACKETS) {
    const bytes = packetBytes(hex);
    if (bytes[1]! >= 0x80) continue;
    for (let end = 2; end < bytes.length; end++) {
      const side = from === 'server' ? 'server' : 'client';
      const exact = readBody(bytes.slice(0, end), bytes[0]!, 2, end, version, side);
      const followed = readBody(bytes, bytes[0]!, 2, end, version, side);
      assert.deepEqual(followed, exact, `${hex} cut at ${end}`);
    }
  }
});
