/*
 * Goal: the places of waiting messages are what was noted, in their order, whatever is added, taken and moved; also beyond one chunk of them.
 * Method: random steps against a plain list (the seed is printed); then lists of several chunks, and a batch that is compacted under a list.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Batch } from '../../src/journal/batch.ts';
import { ENTRY_DELIVERY, ENTRY_MESSAGE, EntryReader } from '../../src/journal/entry.ts';
import { RECORD_HEAD_BYTES, recordNumber } from '../../src/journal/record.ts';
import { MessageRef, MessageRefs } from '../../src/session/message-refs.ts';
import { batches, writeEntry } from './entries.ts';
import '../protocol/seed.ts';

type Ref = { sequence: number; record: number; messageAt: number; deliveryAt: number; sizeBytes: number };

const large = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const places = fc.record({ record: large, messageAt: large, deliveryAt: large, sizeBytes: large }, { noNullPrototype: true });

function push(refs: MessageRefs, { sequence, record, messageAt, deliveryAt, sizeBytes }: Ref): void {
  refs.push(sequence, record, messageAt, deliveryAt, sizeBytes);
}

function readAll(refs: MessageRefs): Ref[] {
  const into = new MessageRef();
  return Array.from({ length: refs.count }, (_, index) => {
    refs.read(index, into);
    return { ...into };
  });
}

const steps = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ kind: fc.constant('push' as const), count: fc.nat(400), gap: fc.integer({ min: 1, max: 3 }), place: places }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('shift' as const), count: fc.nat(600) }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('move' as const), which: fc.nat(), place: places }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('absent' as const), sequence: large }) },
  ),
  { maxLength: 30, size: 'max' },
);

test('random steps: a list, first in, first out, whose places can be moved', () => {
  fc.assert(
    fc.property(steps, (list) => {
      const refs = new MessageRefs();
      const model: Ref[] = [];
      let sequence = 0;
      for (const step of list) {
        switch (step.kind) {
          case 'push':
            for (let i = 0; i < step.count; i++) {
              sequence += step.gap;
              const ref = { sequence, ...step.place };
              push(refs, ref);
              model.push(ref);
            }
            break;
          case 'shift':
            for (let i = 0; i < step.count; i++) assert.equal(refs.shift(), model.shift()?.sizeBytes ?? 0);
            break;
          case 'move': {
            if (model.length === 0) break;
            const index = step.which % model.length;
            const { record, messageAt, deliveryAt } = step.place;
            const moved = { ...model[index]!, record, messageAt, deliveryAt };
            model[index] = moved;
            assert.equal(refs.move(moved.sequence, record, messageAt, deliveryAt), true);
            assert.equal(refs.recordOf(moved.sequence), record);
            break;
          }
          case 'absent':
            if (model.some((ref) => ref.sequence === step.sequence)) break;
            assert.equal(refs.move(step.sequence, 1, 2, 3), false);
            assert.equal(refs.recordOf(step.sequence), 0);
        }
        assert.equal(refs.count, model.length);
      }
      assert.deepEqual(readAll(refs), model);
    }),
  );
});

test('chunks: every place around their ends is read, moved and taken', () => {
  for (const count of [511, 512, 513, 1023, 1024, 1025, 1536]) {
    for (const taken of [0, 1, 511, 512, 513, 1024]) {
      if (taken > count) continue;
      const refs = new MessageRefs();
      const model: Ref[] = [];
      for (let i = 1; i <= count; i++) {
        const ref = { sequence: i * 2, record: i * 32, messageAt: i * 8, deliveryAt: i * 8 + 40, sizeBytes: i };
        push(refs, ref);
        model.push(ref);
      }
      for (let i = 0; i < taken; i++) assert.equal(refs.shift(), model.shift()!.sizeBytes);
      model.forEach((ref, index) => {
        assert.equal(refs.recordOf(ref.sequence), ref.record);
        assert.equal(refs.recordOf(ref.sequence - 1), 0);
        model[index] = { ...ref, record: 7, messageAt: index, deliveryAt: index + 1 };
        assert.equal(refs.move(ref.sequence, 7, index, index + 1), true);
      });
      assert.deepEqual(readAll(refs), model, `${count} of which ${taken} are taken`);
      while (model.length > 0) assert.equal(refs.shift(), model.shift()!.sizeBytes);
      assert.deepEqual([refs.count, refs.shift()], [0, 0]);
      // What was emptied begins anew.
      push(refs, { sequence: 1, record: 2, messageAt: 3, deliveryAt: 4, sizeBytes: 5 });
      assert.deepEqual(readAll(refs), [{ sequence: 1, record: 2, messageAt: 3, deliveryAt: 4, sizeBytes: 5 }]);
    }
  }
});

test('a batch that is compacted moves the places: each still leads to its delivery and its message', () => {
  fc.assert(
    fc.property(batches, fc.array(fc.boolean(), { minLength: 40, maxLength: 40 }), (entries, marks) => {
      const batch = new Batch();
      batch.reset(recordNumber(9, 1));
      const queues = new Map<number, MessageRefs>();
      const alive = new Map<string, string>();
      let messageAt = -1;
      let payload = '';
      // Sequences ascend within their session, as a session gives them out.
      let sequence = 0;
      entries.forEach((entry, index) => {
        const numbered = entry.form === 'delivery' ? { ...entry, session: 1 + (entry.session % 3), sequence: ++sequence } : entry;
        const at = writeEntry(batch, numbered);
        if (numbered.kind === ENTRY_MESSAGE && numbered.form === 'message') {
          messageAt = at;
          payload = Buffer.from(numbered.payload).toString('hex');
        }
        if (numbered.form !== 'delivery') return;
        const refs = queues.get(numbered.session) ?? new MessageRefs();
        queues.set(numbered.session, refs);
        refs.push(numbered.sequence, batch.record, messageAt, at, 1);
        if (marks[index]) batch.kill(at);
        else alive.set(`${numbered.session} ${numbered.sequence}`, payload);
      });
      batch.compact((session, moved, toMessage, toDelivery) => {
        assert.equal(queues.get(session)!.move(moved, batch.record, toMessage, toDelivery), true);
      });
      const reader = new EntryReader();
      const entryAt = (at: number, kind: number): void => {
        reader.reset(batch.bytes, at, batch.at);
        assert.equal(reader.next(), true);
        assert.equal(reader.kind, kind);
      };
      let found = 0;
      for (const [session, refs] of queues) {
        for (const ref of readAll(refs)) {
          const expected = alive.get(`${session} ${ref.sequence}`);
          if (expected === undefined) continue;
          entryAt(ref.deliveryAt, ENTRY_DELIVERY);
          assert.deepEqual([reader.id, reader.second], [session, ref.sequence]);
          entryAt(ref.messageAt, ENTRY_MESSAGE);
          const payloadAt = reader.end - reader.payloadLength;
          assert.equal(batch.bytes.toString('hex', payloadAt, reader.end), expected);
          assert.ok(ref.messageAt >= RECORD_HEAD_BYTES && ref.messageAt < ref.deliveryAt);
          found++;
        }
      }
      assert.equal(found, alive.size);
    }),
  );
});

test('several lists become one, in the order of their numbers, whatever has been taken from each', () => {
  const lists = fc.array(fc.record({ gaps: fc.array(fc.integer({ min: 1, max: 50 }), { maxLength: 1500 }), taken: fc.nat(1500) }), {
    maxLength: 6,
  });
  fc.assert(
    fc.property(lists, (all) => {
      const model: Ref[] = [];
      const parts = all.map(({ gaps, taken }, part) => {
        const refs = new MessageRefs();
        let round = 0;
        for (const gap of gaps) {
          round += gap;
          // No two lists have a number in common.
          push(refs, { sequence: round * 8 + part, record: round, messageAt: part, deliveryAt: 3, sizeBytes: gap });
        }
        for (let i = 0; i < taken && refs.count > 0; i++) refs.shift();
        model.push(...readAll(refs));
        return refs;
      });
      model.sort((a, b) => a.sequence - b.sequence);
      const merged = MessageRefs.merge(parts);
      assert.deepEqual(readAll(merged), model);
      for (const { sequence, record } of model.slice(0, 20)) assert.equal(merged.recordOf(sequence), record);
    }),
    { numRuns: 40 },
  );
});
