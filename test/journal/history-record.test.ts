/**
 * Goal: Message IDs of a shard only grow, whatever the clock does, and are found in their property; what is written into a record is read from it, and one that is
 * cut off is none. Method: random messages and clocks.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { utf8Bytes, withView } from '../../src/base/bytes.ts';
import {
  furtherBytes,
  HistoryFields,
  HistoryReader,
  isShortRecord,
  type MessagePlace,
  messagesOfRecord,
  placesOfRecord,
  recordBytesBefore,
  setFurther,
  writeFurther,
  writeHistoryRecord,
} from '../../src/journal/history-record.ts';
import { compareIds, idCount, idFloor, idMilliseconds, idShard, idText, MessageIds, parseId } from '../../src/journal/message-id.ts';
import { UserPropertyReader } from '../../src/protocol/property.ts';
import { MessageView } from '../../src/protocol/publish.ts';
import { Random } from '../routing/random-topics.ts';

test('IDs of a shard grow, also where the clock goes back', () => {
  const random = new Random('message-id');
  const ids = new MessageIds(7);
  let now = 1_790_000_000_000;
  ids.startAfter(now + 5);
  let before = Uint8Array.from(ids.bytes);
  for (let i = 0; i < 20_000; i++) {
    now += random.next(5) - 1;
    ids.next(now);
    assert.ok(compareIds(ids.bytes, 0, before, 0) > 0);
    assert.equal(idMilliseconds(ids.bytes, 0), ids.milliseconds);
    assert.ok(ids.milliseconds > 1_790_000_000_005);
    assert.ok(compareIds(idFloor(ids.milliseconds), 0, ids.bytes, 0) < 0 && compareIds(ids.bytes, 0, idFloor(ids.milliseconds + 1), 0) < 0);
    assert.equal(idCount(ids.bytes, 0), (idCount(before, 0) + (i === 0 ? idCount(ids.bytes, 0) - idCount(before, 0) : 1)) >>> 0);
    before = Uint8Array.from(ids.bytes);
  }
  assert.equal(idShard(ids.bytes, 0), 7);
  assert.deepEqual(new Uint8Array(parseId(idText(ids.bytes, 0))!), ids.bytes);
  assert.equal(parseId('0'.repeat(31)), null);
  ids.writeProperty();
  const reader = new UserPropertyReader();
  reader.reset(ids.property, 0, ids.property.length);
  assert.ok(reader.next());
  assert.equal(Buffer.from(ids.property.subarray(reader.keyAt, reader.keyEnd)).toString(), 'message-id');
  assert.equal(Buffer.from(ids.property.subarray(reader.valueAt, reader.valueEnd)).toString(), idText(ids.bytes, 0));
  assert.ok(!reader.next());
});

test('a record has what was written, and nothing less than whole is one', () => {
  const random = new Random('history-record');
  const bytesOf = (max: number): Buffer => Buffer.from(Array.from({ length: random.next(max) }, () => random.next(256)));
  const target = withView(Buffer.alloc(4096));
  const words = new Uint32Array(target.buffer, target.byteOffset, 1024);
  const reader = new HistoryReader();
  for (let round = 0; round < 2000; round++) {
    const isPlain = random.next(2) === 0;
    const [publisher, payload] = [bytesOf(40), bytesOf(300)] as const;
    const properties = isPlain ? Buffer.alloc(0) : bytesOf(80);
    let names = isPlain ? [] : Array.from({ length: random.next(4) }, () => `device-${random.next(1000)}`);
    let topic = bytesOf(60);
    const addressee = random.next(4) === 0 ? `device-${random.next(1000)}` : '';
    if (addressee !== '') {
      names = [addressee];
      topic = Buffer.concat([topic, Buffer.from(addressee)]);
    }
    const view = new MessageView();
    // As in a PUBLISH: the payload may stand right behind the topic.
    const packet = withView(Buffer.concat([Buffer.from('.'), topic, payload]));
    view.topicBytes = packet;
    view.topicAt = 1;
    view.topicEnd = 1 + topic.length;
    view.propertyBytes = properties;
    view.propertiesEnd = properties.length;
    if (random.next(2) === 0) view.setPayload(packet, view.topicEnd, packet.length);
    else view.setPayload(payload, 0, payload.length);
    view.qos = random.next(3);
    view.isRetained = random.next(2) === 1;
    const fields = new HistoryFields();
    fields.publisherAt = random.next(3);
    fields.publisherBytes = Buffer.concat([Buffer.alloc(fields.publisherAt, 1), publisher, Buffer.alloc(5, 2)]);
    fields.publisherEnd = fields.publisherAt + publisher.length;
    fields.hash = random.next(2 ** 31);
    fields.publisherHash = random.next(2 ** 31);
    fields.isP2p = names.length > 0;
    fields.propertiesEnd = properties.length;
    fields.expirySeconds = isPlain ? -1 : random.next(3) - 1;
    fields.addressedBytes = addressee.length;
    fields.targetBytes = utf8Bytes(names.join(''));
    let at = 0;
    for (const name of addressee === '' ? names : []) {
      fields.addTarget(at, at + name.length);
      at += name.length;
    }
    const idWords = Uint32Array.from({ length: 4 }, () => random.next(2 ** 32));
    const id = Buffer.from(idWords.buffer);
    const hasProperties = properties.length === 0 || random.next(4) > 0;
    const kept = Math.min(payload.length, random.next(2) === 0 ? 300 : 100);
    const place = 4 * random.next(3);
    const length = writeHistoryRecord(target, target.dataView, words, place, idWords, view, fields, hasProperties, kept);
    const bytes = target.subarray(0, place + length);
    assert.ok(reader.read(bytes, place));
    assert.equal(reader.end, place + length);
    const isShort = isShortRecord(view, fields) && kept === payload.length;
    assert.equal(length, recordBytesBefore(view, fields, isShort, hasProperties) + kept);
    assert.equal(reader.compareId(id), 0);
    assert.deepEqual([reader.qos, reader.isRetained, reader.isP2p], [view.qos, view.isRetained, names.length > 0]);
    assert.deepEqual([reader.hash, reader.publisherHash], [fields.hash, fields.publisherHash]);
    assert.deepEqual(bytes.subarray(reader.topicAt, reader.topicEnd), topic);
    assert.deepEqual(bytes.subarray(reader.publisherAt, reader.publisherEnd), publisher);
    assert.deepEqual([reader.targetNames(), reader.isAddressed], [names, addressee !== '']);
    assert.equal(reader.hasProperties, hasProperties);
    assert.deepEqual(bytes.subarray(reader.propertiesAt, reader.propertiesEnd), hasProperties ? properties : Buffer.alloc(0));
    assert.deepEqual(bytes.subarray(reader.payloadAt, reader.payloadEnd), payload.subarray(0, kept));
    assert.deepEqual([reader.payloadBytes, reader.expirySeconds], [payload.length, fields.expirySeconds]);
    assert.ok(!reader.read(bytes.subarray(0, bytes.length - 1), place));
    // Others behind it.
    const further = random.next(4);
    const payloads = [kept];
    let end = length;
    for (let i = 0; i < further; i++) {
      const from = random.next(payload.length + 1);
      view.payloadAt = view.payloadEnd - payload.length + from;
      end = (end + 3) & ~3;
      writeFurther(target, undefined, words, place + end, view);
      end += furtherBytes(payload.length - from);
      payloads.push(payload.length - from);
    }
    setFurther(words, place, further);
    const all = target.subarray(0, place + end);
    assert.equal(messagesOfRecord(all, place), 1 + further);
    const places: MessagePlace[] = [];
    assert.ok(placesOfRecord(all, place, place + end, places));
    assert.equal(places.length, 1 + further);
    for (const [i, one] of places.entries()) {
      reader.show(all, one);
      const bytesOfIt = all.subarray(reader.payloadAt, reader.payloadEnd);
      assert.deepEqual(bytesOfIt, i === 0 ? payload.subarray(0, kept) : payload.subarray(payload.length - payloads[i]!));
      assert.equal(idCount(reader.id, 0), (idCount(id, 0) + i) >>> 0);
      assert.deepEqual(reader.id.subarray(0, 12), new Uint8Array(id.subarray(0, 12)));
    }
    assert.ok(!placesOfRecord(all.subarray(0, all.length - 1), place, place + end, []) && !placesOfRecord(all, place, place + end - 1, []));
    // Whatever a disk makes of it, reading it ends.
    const broken = Buffer.from(all);
    broken[place + random.next(end)]! ^= 1 << random.next(8);
    const left: MessagePlace[] = [];
    if (placesOfRecord(broken, place, place + end, left)) for (const one of left) reader.show(broken, one);
    if (reader.read(broken, place)) reader.targetNames();
  }
});
