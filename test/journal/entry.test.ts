/*
 * Goal: whatever a shard writes into a batch is read back field by field, for every kind of entry and every length; what has been cancelled is gone and nothing
 * else; and bytes that are no entries are found out, not followed.
 * Method: random batches (the seed is printed), all short lengths one by one, and the longest; compaction against a model; cuts at every byte and
 * random bits turned without a checksum that would tell.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import fc from 'fast-check';
import { Batch } from '../../src/journal/batch.ts';
import * as kinds from '../../src/journal/entry.ts';
import { aligned, cutPart, deliveryInPart, EntryReader } from '../../src/journal/entry.ts';
import { RECORD_HEAD_BYTES, recordNumber } from '../../src/journal/record.ts';
import { deliveryAt, messageAt } from '../../src/shard/waiting.ts';
import { entryProblem } from '../../src/store/entry-check.ts';
import { batches, type DeliveryEntry, drawnKinds, type Entry, type MessageEntry, readEntry, writeEntry } from './entries.ts';
import '../protocol/seed.ts';

interface Placed {
  readonly at: number;
  readonly entry: Entry;
}

function batchOf(entries: readonly Entry[]): { batch: Batch; places: number[] } {
  const batch = new Batch();
  batch.reset(recordNumber(1, 0));
  return { batch, places: entries.map((entry) => writeEntry(batch, entry)) };
}

/** All entries of bytes[from, end). */
function readAll(bytes: Buffer, from: number, end: number): { found: Placed[]; isDamaged: boolean } {
  const reader = new EntryReader();
  reader.reset(bytes, from, end);
  const found: Placed[] = [];
  while (reader.next()) {
    assert.ok(reader.at >= from && reader.end <= end);
    found.push({ at: reader.at, entry: readEntry(reader) });
  }
  return { found, isDamaged: reader.isDamaged };
}

function readBatch(batch: Batch): Placed[] {
  const { found, isDamaged } = readAll(batch.bytes, RECORD_HEAD_BYTES, batch.at);
  assert.equal(isDamaged, false);
  return found;
}

const message: MessageEntry = {
  form: 'message',
  kind: kinds.ENTRY_MESSAGE,
  qos: 1,
  retain: true,
  receipt: false,
  expiresAt: 1767225600000,
  hash: 7,
  topic: Uint8Array.of(1),
  properties: new Uint8Array(0),
  payload: Uint8Array.of(2, 3),
};
const delivery: DeliveryEntry = {
  form: 'delivery',
  kind: kinds.ENTRY_DELIVERY,
  session: 64,
  sequence: 1,
  qos: 1,
  retain: false,
  state: 0,
  packetId: 0,
  identifiers: [],
  sharedFilter: null,
};
const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);
const upTo = (most: number): number[] => Array.from({ length: most + 1 }, (_, index) => index);

describe('what is written is read', () => {
  test('every kind of entry is drawn', () => {
    assert.deepEqual(
      [...drawnKinds].sort((a, b) => a - b),
      kinds.ENTRY_NAMES.map((_, kind) => kind).filter((kind) => kind !== kinds.ENTRY_DEAD),
    );
  });

  test('random batches, read where they were written and from bytes that begin anywhere', () => {
    fc.assert(
      fc.property(batches, fc.nat(7), (entries, shift) => {
        const { batch, places } = batchOf(entries);
        const expected = entries.map((entry, index) => ({ at: places[index]!, entry }));
        assert.deepEqual(readBatch(batch), expected);
        assert.ok(places.every((at) => at % 8 === 0));
        assert.equal(batch.liveCount, entries.filter(({ kind }) => kind !== kinds.ENTRY_MESSAGE).length);
        assert.equal(batch.deadBytes, 0);
        const copy = Buffer.concat([filled(shift, 0xaa), batch.bytes.subarray(0, batch.at)]).subarray(shift);
        assert.deepEqual(readAll(copy, RECORD_HEAD_BYTES, copy.length), { found: expected, isDamaged: false });
      }),
    );
  });

  test('messages with parts of 0 to 9 bytes, each with each', () => {
    const entries: Entry[] = [];
    for (const topic of upTo(9))
      for (const properties of upTo(9))
        for (const payload of upTo(9))
          entries.push({ ...message, topic: filled(topic, 1), properties: filled(properties, 2), payload: filled(payload, 3) });
    const { batch } = batchOf(entries);
    assert.deepEqual(
      readBatch(batch).map(({ entry }) => entry),
      entries,
    );
  });

  test('deliveries with 0 to 9 identifiers and shared filters of 0 to 17 bytes, each with each', () => {
    const entries: Entry[] = [message];
    for (const count of upTo(9))
      for (const length of upTo(17)) {
        const sharedFilter = length === 0 ? null : 'g/filter/of/a/share'.slice(0, length);
        const identifiers = upTo(9).slice(0, count);
        entries.push({ ...delivery, sequence: entries.length, identifiers, sharedFilter });
      }
    const { batch } = batchOf(entries);
    assert.deepEqual(
      readBatch(batch).map(({ entry }) => entry),
      entries,
    );
  });

  test('packed objects of 0 to 17 bytes', () => {
    const entries = upTo(17).map((length): Entry => ({ form: 'packed', kind: kinds.ENTRY_OWN, id: 9, object: filled(length, 5) }));
    const { batch } = batchOf(entries);
    assert.deepEqual(
      readBatch(batch).map(({ entry }) => entry),
      entries,
    );
  });

  test('the longest topic, many properties and a large payload; the next batch of the same memory is sound', () => {
    const long: Entry[] = [
      { ...message, topic: filled(65_535, 1), properties: filled(300_001, 2), payload: filled(5_000_003, 3) },
      { ...delivery, identifiers: upTo(999), sharedFilter: `g/${'x'.repeat(65_533)}` },
    ];
    const { batch } = batchOf(long);
    assert.deepEqual(
      readBatch(batch).map(({ entry }) => entry),
      long,
    );
    const grown = batch.shared.byteLength;
    batch.reset(recordNumber(2, 0));
    assert.ok(batch.shared.byteLength < grown, 'a batch that has grown far gives its memory back');
    writeEntry(batch, message);
    assert.deepEqual(
      readBatch(batch).map(({ entry }) => entry),
      [message],
    );
  });

  test('what an earlier record has left in the memory of a batch does not show', () => {
    fc.assert(
      fc.property(batches, batches, (first, second) => {
        const { batch } = batchOf(first);
        batch.reset(recordNumber(2, 0));
        for (const entry of second) writeEntry(batch, entry);
        assert.deepEqual(
          readBatch(batch).map(({ entry }) => entry),
          second,
        );
      }),
    );
  });

  test('an entry that is copied to another batch, as the cleaner does, stays what it is', () => {
    fc.assert(
      fc.property(batches, fc.nat(20), (entries, filler) => {
        const { batch: source, places } = batchOf(entries);
        const target = new Batch();
        target.packed(kinds.ENTRY_OWN, 1, filled(filler, 1));
        const reader = new EntryReader();
        reader.reset(source.bytes, RECORD_HEAD_BYTES, source.at);
        const copied: number[] = [];
        while (reader.next()) copied.push(target.copy(reader.kind, source.bytes, reader.at, reader.end));
        assert.equal(copied.length, places.length);
        const [, ...found] = readBatch(target);
        assert.deepEqual(
          found,
          entries.map((entry, index) => ({ at: copied[index]!, entry })),
        );
        assert.equal(target.liveCount, source.liveCount + 1);
      }),
    );
  });

  test('a new state and Packet Identifier change nothing else of a delivery', () => {
    fc.assert(
      fc.property(batches, fc.nat(3), fc.nat(0xffff), (entries, state, packetId) => {
        const { batch, places } = batchOf(entries);
        entries.forEach((entry, index) => {
          if (entry.form === 'delivery') batch.setState(places[index]!, state, packetId);
        });
        assert.deepEqual(
          readBatch(batch).map(({ entry }) => entry),
          entries.map((entry) => (entry.form === 'delivery' ? { ...entry, state, packetId } : entry)),
        );
      }),
    );
  });
});

describe('deliveries come back to memory', () => {
  test('from their record, and cut out of it', () => {
    fc.assert(
      fc.property(batches, (entries) => {
        const { batch, places } = batchOf(entries);
        const bytes = Buffer.from(batch.bytes.subarray(0, batch.at));
        let last = 0;
        let sent: MessageEntry = message;
        entries.forEach((entry, index) => {
          const at = places[index]!;
          if (entry.kind === kinds.ENTRY_MESSAGE) {
            last = at;
            sent = entry as MessageEntry;
          }
          if (entry.form === 'message') checkMessage(messageAt(bytes, at), entry);
          if (entry.form !== 'delivery') return;
          checkDelivery(deliveryAt(bytes, batch.record, last, at), entry, sent, at);
          const part = cutPart(bytes, last, at)!;
          checkDelivery(deliveryAt(part, batch.record, 0, deliveryInPart(part)), entry, sent, deliveryInPart(part));
        });
      }),
    );
  });

  function checkMessage(found: ReturnType<typeof messageAt>, expected: MessageEntry): void {
    const { topic, properties, payload, qos, retain, expiresAt, receipt } = expected;
    assert.ok(found !== null);
    assert.deepEqual(Uint8Array.from(found.bytes), Uint8Array.from([...topic, ...properties, ...payload]));
    assert.deepEqual([found.topicEnd, found.propertiesEnd], [topic.length, topic.length + properties.length]);
    assert.deepEqual([found.qos, found.isRetained, found.expiresAt, found.receipt === 1], [qos, retain, expiresAt, receipt]);
  }

  function checkDelivery(found: ReturnType<typeof deliveryAt>, expected: DeliveryEntry, sent: MessageEntry, at: number): void {
    assert.ok(found !== null);
    checkMessage(found.message, sent);
    assert.deepEqual([found.qos, found.retain, found.sharedFilter], [expected.qos, expected.retain, expected.sharedFilter]);
    assert.deepEqual([...(found.identifiers ?? [])], expected.identifiers);
    assert.deepEqual([found.sequence, found.entryAt], [expected.sequence, at]);
  }
});

describe('cancelled entries', () => {
  /** Entries that are left: without the dead ones, and without messages that have no delivery any more. */
  function survivors(entries: readonly Entry[], dead: ReadonlySet<number>): number[] {
    return upTo(entries.length - 1).filter((index) => {
      if (dead.has(index)) return false;
      if (entries[index]!.kind !== kinds.ENTRY_MESSAGE) return true;
      for (let next = index + 1; next < entries.length && entries[next]!.kind !== kinds.ENTRY_MESSAGE; next++)
        if (entries[next]!.form === 'delivery' && !dead.has(next)) return true;
      return false;
    });
  }

  test('compaction: what is left keeps its content, and each delivery that moves is told of', () => {
    fc.assert(
      fc.property(batches, fc.array(fc.boolean(), { minLength: 40, maxLength: 40 }), batches, (entries, marks, more) => {
        const { batch, places } = batchOf(entries);
        const lengths = readBatch(batch).map(({ at }, index) => (places[index + 1] ?? batch.at) - at);
        const dead = new Set(upTo(entries.length - 1).filter((index) => marks[index] && entries[index]!.kind !== kinds.ENTRY_MESSAGE));
        for (const index of dead) batch.kill(places[index]!);
        assert.equal(
          batch.deadBytes,
          [...dead].reduce((sum, index) => sum + lengths[index]!, 0),
        );
        const left = survivors(entries, dead);
        const live = left.filter((index) => entries[index]!.kind !== kinds.ENTRY_MESSAGE).length;
        assert.equal(batch.liveCount, live);

        // Where each delivery lies, as its session knows it.
        const known = new Map<string, { messageAt: number; deliveryAt: number }>();
        let last = -1;
        entries.forEach((entry, index) => {
          if (entry.kind === kinds.ENTRY_MESSAGE) last = places[index]!;
          if (entry.form === 'delivery' && !dead.has(index))
            known.set(`${entry.session} ${entry.sequence}`, { messageAt: last, deliveryAt: places[index]! });
        });
        batch.compact((session, sequence, newMessageAt, newDeliveryAt) => {
          assert.ok(known.has(`${session} ${sequence}`), 'only what is left moves');
          known.set(`${session} ${sequence}`, { messageAt: newMessageAt, deliveryAt: newDeliveryAt });
        });
        const found = readBatch(batch);
        assert.deepEqual(
          found.map(({ entry }) => entry),
          left.map((index) => entries[index]!),
        );
        assert.deepEqual([batch.deadBytes, batch.liveCount], [0, live]);
        last = -1;
        for (const { at, entry } of found) {
          if (entry.kind === kinds.ENTRY_MESSAGE) last = at;
          if (entry.form === 'delivery')
            assert.deepEqual(known.get(`${entry.session} ${entry.sequence}`), { messageAt: last, deliveryAt: at });
        }

        // There is nothing left to do, and the batch goes on.
        batch.compact(() => assert.fail('nothing moves twice'));
        for (const entry of more) writeEntry(batch, entry);
        assert.deepEqual(
          readBatch(batch).map(({ entry }) => entry),
          [...left.map((index) => entries[index]!), ...more],
        );
      }),
    );
  });

  test('the first, the last, all and none of the entries of one message', () => {
    const three = [1, 2, 3].map((sequence): Entry => ({ ...delivery, sequence }));
    const entries: Entry[] = [message, ...three, { ...message, hash: 8 }, { ...delivery, sequence: 4 }];
    for (const dead of [[1], [3], [1, 2, 3], [], [5], [1, 2, 3, 5]]) {
      const { batch, places } = batchOf(entries);
      for (const index of dead) batch.kill(places[index]!);
      batch.compact(() => undefined);
      assert.deepEqual(
        readBatch(batch).map(({ entry }) => entry),
        survivors(entries, new Set(dead)).map((index) => entries[index]!),
      );
    }
  });
});

describe('what is no entry', () => {
  test('entries that are cut off anywhere are read up to the cut, and the cut is found out', () => {
    fc.assert(
      fc.property(batches, (entries) => {
        const short = entries.slice(0, 6);
        const { batch, places } = batchOf(short);
        if (batch.at > 2000) return;
        const bytes = Buffer.from(batch.bytes.subarray(0, batch.at));
        const starts = [...places, batch.at];
        for (let end = RECORD_HEAD_BYTES; end < batch.at; end++) {
          const { found, isDamaged } = readAll(bytes, RECORD_HEAD_BYTES, end);
          const whole = starts.filter((at) => at <= end).length - 1;
          assert.deepEqual(
            found.map(({ entry }) => entry),
            short.slice(0, whole),
          );
          assert.equal(isDamaged, !starts.includes(end), `cut at ${end}`);
        }
      }),
    );
  });

  test('no turned bit leads the reader out of the record, round in circles, or to an exception', () => {
    fc.assert(
      fc.property(batches, fc.array(fc.nat(), { minLength: 1, maxLength: 4 }), (entries, bits) => {
        const { batch } = batchOf(entries.slice(0, 8));
        const bytes = Buffer.from(batch.bytes.subarray(0, batch.at));
        if (bytes.length === RECORD_HEAD_BYTES) return;
        const body = (bytes.length - RECORD_HEAD_BYTES) * 8;
        for (const bit of bits) bytes[RECORD_HEAD_BYTES + ((bit % body) >>> 3)]! ^= 1 << (bit & 7);
        readDamaged(bytes);
      }),
      { numRuns: 500 },
    );
  });

  test('neither does any length of an entry', () => {
    for (const length of [0, 1, 7, 8, 15, 40, 41, 0x7ffffff8, 0x7fffffff, 0x80000000, 0xfffffff0, 0xfffffff8, 0xfffffff9, 0xffffffff]) {
      const { batch, places } = batchOf([message, delivery]);
      const bytes = Buffer.from(batch.bytes.subarray(0, batch.at));
      bytes.writeUInt32LE(length, places[1]! + 4);
      const { found } = readDamaged(bytes);
      assert.equal(found.length, 1, `length ${length}`);
      const isInside = length >= kinds.ENTRY_HEAD_BYTES && length <= bytes.length - places[1]!;
      const messageBytes = places[1]! - places[0]!;
      assert.equal(
        cutPart(bytes, places[0]!, places[1]!)?.length,
        isInside ? messageBytes + aligned(length) : undefined,
        `length ${length}`,
      );
      assert.equal(
        cutPart(bytes, places[1]!, places[0]!)?.length,
        isInside ? messageBytes + aligned(length) : undefined,
        `length ${length}`,
      );
    }
  });

  test('a delivery that is asked for is there or not, whatever its bytes are by now', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(), { minLength: 1, maxLength: 3 }), fc.nat(), (bits, place) => {
        const shared = { ...delivery, identifiers: [1, 2], sharedFilter: 'group/filter' };
        const { batch, places } = batchOf([message, shared]);
        const bytes = Buffer.from(batch.bytes.subarray(0, batch.at));
        const body = (bytes.length - RECORD_HEAD_BYTES) * 8;
        for (const bit of bits) bytes[RECORD_HEAD_BYTES + ((bit % body) >>> 3)]! ^= 1 << (bit & 7);
        const part = cutPart(bytes, places[0]!, places[1]!);
        if (part !== null) deliveryAt(part, batch.record, 0, deliveryInPart(part));
        // The places themselves are wrong.
        assert.equal(cutPart(bytes, -8, places[1]!), null);
        assert.equal(cutPart(bytes, bytes.length, places[1]!), null);
        cutPart(bytes, place % (bytes.length + 8), places[1]!);
        deliveryAt(bytes, batch.record, -1, places[1]!);
      }),
      { numRuns: 2000 },
    );
  });

  /** Reads bytes whose entries may make no sense, in all the ways that there are. */
  function readDamaged(bytes: Buffer): { found: Placed[]; isDamaged: boolean } {
    const reader = new EntryReader();
    reader.reset(bytes, RECORD_HEAD_BYTES, bytes.length);
    const found: Placed[] = [];
    let before = 0;
    while (reader.next()) {
      assert.ok(reader.at > before && reader.end <= bytes.length);
      before = reader.at;
      if (drawnKinds.includes(reader.kind)) found.push({ at: reader.at, entry: readEntry(reader) });
    }
    bytes.writeUInt32LE(bytes.length, 8);
    entryProblem(bytes);
    return { found, isDamaged: reader.isDamaged };
  }
});
