/*
 * Goal: a record says on the far side of a ring what it said on the near one: every kind, every field, every byte.
 * Method: random message records written between foreign bytes and read back; type words of all combinations.
 */

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { withView } from '../../src/base/bytes.ts';
import { MessageView } from '../../src/protocol/publish.ts';
import {
  ASKS_BIT,
  MESSAGE_HEADER_BYTES,
  messageRecordBytes,
  messageWord,
  RECORD_ACKS,
  RECORD_CONTROL,
  RECORD_HANDOFF,
  RECORD_JUMBO,
  RECORD_P2P,
  RECORD_PUBLISH,
  RECORD_RESULT,
  RECORD_RETAIN,
  RECORD_RETAINED,
  RECORD_SHARED,
  RecordFields,
  readMessageRecord,
  recordKind,
  recordWantsStatus,
  writeMessageRecord,
} from '../../src/shard/record.ts';
import '../protocol/seed.ts';

const MESSAGE_KINDS = [RECORD_PUBLISH, RECORD_P2P, RECORD_SHARED, RECORD_RETAIN, RECORD_RETAINED];
const bytes = fc.uint8Array({ maxLength: 300 });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const range = (from: Uint8Array, at: number, end: number): number[] => [...from.subarray(at, end)];

test('message records: what was written is read', () => {
  fc.assert(
    fc.property(
      fc.record({ topic: bytes, properties: bytes, payload: bytes, extra: bytes, question: bytes }),
      fc.record({ sequence: u32, topicHash: u32, publisherHash: u32, number: u32 }),
      fc.record({
        qos: fc.nat(2),
        isRetained: fc.boolean(),
        receipt: fc.oneof(fc.nat(3), fc.nat(2 ** 30)),
        wantsStatus: fc.boolean(),
        onlyConnected: fc.boolean(),
      }),
      fc.oneof(fc.constant(0), fc.double({ min: 0, max: 2 ** 53, noNaN: true })),
      fc.constantFrom(...MESSAGE_KINDS),
      fc.nat(40),
      ({ topic, properties, payload, extra, question }, numbers, marks, expiresAt, kind, at) => {
        const source = Buffer.concat([Buffer.from('>'), topic, payload, extra]);
        const view = new MessageView();
        view.qos = marks.qos;
        view.isRetained = marks.isRetained;
        view.receipt = marks.receipt;
        view.expiresAt = expiresAt;
        view.topicBytes = source;
        view.topicAt = 1;
        view.topicEnd = 1 + topic.length;
        view.setPayload(source, view.topicEnd, view.topicEnd + payload.length);
        view.propertyBytes = Buffer.from(properties);
        view.propertiesEnd = properties.length;
        const fields = new RecordFields();
        Object.assign(fields, numbers, {
          extraBytes: source,
          extraAt: view.payloadEnd,
          extraEnd: source.length,
          question,
          onlyConnected: marks.onlyConnected,
        });
        const length = messageRecordBytes(view, fields);
        const parts = topic.length + properties.length + payload.length + extra.length + question.length;
        assert.equal(length, MESSAGE_HEADER_BYTES + parts + (marks.receipt >= 2 ? 4 : 0));
        const target = withView(Buffer.alloc(at + length + 8, 0xaa));
        const word = messageWord(kind, view, marks.wantsStatus, fields);
        writeMessageRecord(target, target.dataView, at, view, fields);
        assert.ok(target.subarray(0, at).every((byte) => byte === 0xaa) && target.subarray(at + length).every((byte) => byte === 0xaa));

        const shown = new MessageView();
        shown.isDup = true;
        shown.packetId = 3;
        shown.topicAlias = 4;
        shown.messageExpirySeconds = 5;
        const read = new RecordFields();
        readMessageRecord(target, at, word, shown, read);
        assert.equal(recordKind(word), kind);
        assert.equal(recordWantsStatus(word), marks.wantsStatus);
        assert.deepEqual([shown.qos, shown.isRetained, shown.receipt], [marks.qos, marks.isRetained, marks.receipt]);
        assert.equal(shown.expiresAt, expiresAt);
        assert.deepEqual([shown.isDup, shown.packetId, shown.topicAlias, shown.messageExpirySeconds], [false, 0, 0, -1]);
        assert.deepEqual(
          { sequence: read.sequence, topicHash: read.topicHash, publisherHash: read.publisherHash, number: read.number },
          { ...numbers },
        );
        assert.deepEqual(range(shown.topicBytes, shown.topicAt, shown.topicEnd), [...topic]);
        assert.deepEqual(range(shown.propertyBytes, shown.propertiesAt, shown.propertiesEnd), [...properties]);
        assert.deepEqual(range(shown.payloadBytes, shown.payloadAt, shown.payloadEnd), [...payload]);
        assert.deepEqual(range(read.extraBytes, read.extraAt, read.extraEnd), [...extra]);
        assert.equal((word & ASKS_BIT) !== 0, question.length > 0);
        assert.deepEqual(range(target, read.questionAt, at + length), [...question]);
      },
    ),
  );
});

test('every kind has a number of its own that fits its eight bits', () => {
  const kinds = [...MESSAGE_KINDS, RECORD_ACKS, RECORD_RESULT, RECORD_HANDOFF, RECORD_CONTROL, RECORD_JUMBO];
  assert.equal(new Set(kinds).size, kinds.length);
  for (const kind of kinds) assert.equal(recordKind(kind), kind);
});
