/*
 * Goal: a record says which shard wrote it, in which order, when, and how long it is; and bytes that are not what was written are found out.
 * Method: random records sealed and read (the seed is printed); then a small record of several entries of which every single bit is turned, that is cut off at every byte, and
 * that is looked for at another place.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import fc from 'fast-check';
import { Batch } from '../../src/journal/batch.ts';
import * as kinds from '../../src/journal/entry.ts';
import {
  countOf,
  RECORD_FORMAT,
  RECORD_HEAD_BYTES,
  recordEnd,
  recordNumber,
  recordProblem,
  recordTime,
  sealRecord,
  WRITERS_MAX,
  writerOf,
} from '../../src/journal/record.ts';
import { batches, type Entry, readEntry, writeEntry } from './entries.ts';
import '../protocol/seed.ts';

const COUNT_MAX = Math.floor(Number.MAX_SAFE_INTEGER / WRITERS_MAX) - 1;
const counts = fc.oneof(fc.constantFrom(1, 2, COUNT_MAX), fc.integer({ min: 1, max: COUNT_MAX }));
const writers = fc.nat(WRITERS_MAX - 1);
const times = fc.integer({ min: 0, max: 4_102_444_800_000 });

function sealed(entries: readonly Entry[], record: number, time: number): Buffer {
  const batch = new Batch();
  batch.reset(record);
  for (const entry of entries) writeEntry(batch, entry);
  const bytes = Buffer.from(batch.bytes.subarray(0, batch.at));
  sealRecord(bytes, bytes.length, record, time);
  return bytes;
}

describe('what is sealed is read', () => {
  test('numbers of records: shard and count, each its own, in the order of counts', () => {
    fc.assert(
      fc.property(counts, writers, counts, writers, (count, writer, otherCount, otherWriter) => {
        const record = recordNumber(count, writer);
        assert.ok(Number.isSafeInteger(record) && record > 0);
        assert.deepEqual([countOf(record), writerOf(record)], [count, writer]);
        const other = recordNumber(otherCount, otherWriter);
        assert.equal(record === other, count === otherCount && writer === otherWriter);
        if (count < otherCount) assert.ok(record < other);
      }),
    );
  });

  test('random records, also in memory that is longer', () => {
    fc.assert(
      fc.property(batches, counts, writers, times, fc.nat(40), (entries, count, writer, time, more) => {
        const record = recordNumber(count, writer);
        const bytes = sealed(entries, record, time);
        const longer = Buffer.concat([bytes, Buffer.alloc(more, 0xaa)]);
        for (const place of [bytes, longer]) {
          assert.equal(recordProblem(place, record), null);
          assert.deepEqual([recordEnd(place), recordTime(place)], [bytes.length, time]);
          const reader = new kinds.EntryReader();
          reader.reset(place, RECORD_HEAD_BYTES, recordEnd(place));
          const found: Entry[] = [];
          while (reader.next()) found.push(readEntry(reader));
          assert.deepEqual(found, entries);
          assert.equal(reader.isDamaged, false);
        }
      }),
    );
  });

  test('sealing again, as a commit that is tried again does, gives a record that is whole', () => {
    const bytes = sealed([], 33, 1);
    sealRecord(bytes, bytes.length, 33, 2);
    assert.deepEqual([recordProblem(bytes, 33), recordTime(bytes)], [null, 2]);
  });
});

describe('what is not as it was written is found out', () => {
  const record = recordNumber(70_000, 3);
  const entries: readonly Entry[] = [
    {
      form: 'message',
      kind: kinds.ENTRY_MESSAGE,
      qos: 1,
      retain: false,
      receipt: true,
      expiresAt: 4_102_444_800_000,
      hash: 0,
      topic: Buffer.from('a/b'),
      properties: Uint8Array.of(1, 1),
      payload: Buffer.from('hello'),
    },
    {
      form: 'delivery',
      kind: kinds.ENTRY_DELIVERY,
      session: 2 ** 32 + 35,
      sequence: 8,
      qos: 1,
      retain: false,
      state: 1,
      packetId: 513,
      identifiers: [268_435_455],
      sharedFilter: 'g/a/+',
    },
    { form: 'numbers', kind: kinds.ENTRY_CLOSED, flags: 1, number: 0, numbers: [2 ** 32 + 35, 1767225600000, 0xffffffff] },
    { form: 'packed', kind: kinds.ENTRY_UNSUBSCRIBED, id: 2 ** 32 + 35, object: Uint8Array.of(0x81, 1, 2) },
  ];
  const whole = sealed(entries, record, 1767225600000);

  test('the record is whole, and small', () => {
    assert.equal(recordProblem(whole, record), null);
    assert.ok(whole.length < 300);
  });

  test('every single bit', () => {
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const bytes = Buffer.from(whole);
      bytes[bit >>> 3]! ^= 1 << (bit & 7);
      assert.equal(typeof recordProblem(bytes, record), 'string', `bit ${bit & 7} of byte ${bit >>> 3}`);
    }
  });

  test('any few bits', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(whole.length * 8 - 1), { minLength: 2, maxLength: 12, size: 'max' }), (bits) => {
        const bytes = Buffer.from(whole);
        for (const bit of bits) bytes[bit >>> 3]! ^= 1 << (bit & 7);
        assert.equal(typeof recordProblem(bytes, record), 'string');
      }),
      { numRuns: 1000 },
    );
  });

  test('every length that is too short', () => {
    for (let length = 0; length < whole.length; length++)
      assert.match(recordProblem(whole.subarray(0, length), record)!, /^cut off: /, `${length} bytes`);
  });

  test('the end overwritten with zeroes, as a file that was not synced may have it', () => {
    for (let from = 0; from < whole.length; from++) {
      const bytes = Buffer.from(whole).fill(0, from);
      if (!bytes.equals(whole)) assert.equal(typeof recordProblem(bytes, record), 'string', `from byte ${from}`);
    }
  });

  test('another shard, another count', () => {
    fc.assert(
      fc.property(counts, writers, (count, writer) => {
        const other = recordNumber(count, writer);
        if (other !== record) assert.equal(recordProblem(whole, other), `the record of another place (${record})`);
      }),
    );
  });

  test('a format of another version is named', () => {
    const bytes = Buffer.from(whole);
    bytes.writeUInt32LE(RECORD_FORMAT + 1, 12);
    assert.equal(recordProblem(bytes, record), `format ${RECORD_FORMAT + 1}, this version reads ${RECORD_FORMAT}`);
  });
});
