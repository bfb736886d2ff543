/*
 * Goal: the property table is the standard's, and walking, finding and filtering a raw block agree with reading it whole.
 * Method: the table's totals; random blocks, read plainly and by range.
 */

import './seed.ts';
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Reader, readText, utf8Bytes, Writer } from '../../src/base/bytes.ts';
import { PUBLISH } from '../../src/protocol/packet-type.ts';
import {
  copyPropertiesWithout,
  findCorrelationData,
  findFourByte,
  findProperty,
  findResponseTopic,
  PROPERTIES,
  type Properties,
  PropertyId,
  PropertyRange,
  propertiesLength,
  readProperties,
  UserPropertyReader,
  WILL,
  writeProperties,
} from '../../src/protocol/property.ts';
import { propertiesOf, without } from './arbitrary.ts';

test('there are 27 properties, each allowed somewhere, by rising identifier', () => {
  assert.equal(PROPERTIES.length, 27);
  assert.deepEqual(
    PROPERTIES.map((row) => row.id),
    PROPERTIES.map((row) => row.id).sort((a, b) => a - b),
  );
  assert.deepEqual(new Set(PROPERTIES.map((row) => row.id)), new Set(Object.values(PropertyId)));
  // How many properties each packet may carry: CONNECT 9, CONNACK 17, PUBLISH 8, the four acknowledgements 2, and so on.
  const counts = Array.from({ length: 17 }, (_, type) => PROPERTIES.filter((row) => (row.packets & (1 << type)) !== 0).length);
  assert.deepEqual(counts, [0, 9, 17, 8, 2, 2, 2, 2, 2, 2, 1, 2, 0, 0, 4, 4, 7]);
});

/** The raw block of PUBLISH properties, in the middle of other bytes. */
function blockOf(properties: Properties): [bytes: Uint8Array, at: number, end: number] {
  const writer = new Writer(16);
  writer.u32(0x26262626);
  writeProperties(writer, properties);
  const end = writer.at;
  writer.u32(0x26262626);
  return [writer.copy(), end - propertiesLength(properties), end];
}

test('User Properties are walked in order', () => {
  fc.assert(
    fc.property(propertiesOf(PUBLISH), (properties) => {
      const [bytes, at, end] = blockOf(properties);
      const reader = new UserPropertyReader();
      reader.reset(bytes, at, end);
      const found: [string, string][] = [];
      while (reader.next()) found.push([readText(bytes, reader.keyAt, reader.keyEnd), readText(bytes, reader.valueAt, reader.valueEnd)]);
      assert.deepEqual(found, properties.userProperties ?? []);
      assert.equal(reader.next(), false);
    }),
  );
});

test('values are found by identifier', () => {
  const range = new PropertyRange();
  fc.assert(
    fc.property(propertiesOf(PUBLISH), (properties) => {
      const [bytes, at, end] = blockOf(properties);
      assert.equal(findResponseTopic(bytes, at, end, range), properties.responseTopic !== undefined);
      if (properties.responseTopic !== undefined) assert.equal(readText(bytes, range.at, range.end), properties.responseTopic);
      assert.equal(findCorrelationData(bytes, at, end, range), properties.correlationData !== undefined);
      if (properties.correlationData !== undefined) {
        assert.deepEqual([...bytes.subarray(range.at, range.end)], [...properties.correlationData]);
      }
      assert.equal(findFourByte(PropertyId.MessageExpiryInterval, bytes, at, end), properties.messageExpiryInterval ?? -1);
      assert.equal(findProperty(PropertyId.WillDelayInterval, bytes, at, end, range), false);
    }),
  );
});

test('User Properties with a prefix are left out, the rest is untouched', () => {
  const keys = fc.constantFrom('p2p-report', 'p2p-', 'p2p', 'key', 'P2P-x', '');
  const pairs = fc.array(fc.tuple(keys, fc.constantFrom('', 'p2p-')), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(propertiesOf(PUBLISH), pairs, (properties, userProperties) => {
      const [bytes, at, end] = blockOf({ ...properties, userProperties });
      const writer = new Writer(1);
      copyPropertiesWithout(utf8Bytes('p2p-'), bytes, at, end, writer);
      const block = new Writer(1);
      block.varint(writer.at);
      block.raw(writer.bytes, 0, writer.at);
      const reader = new Reader();
      reader.reset(block.bytes, 0, block.at);
      const read: Properties = {};
      assert.equal(readProperties(reader, PUBLISH, read), 0);
      const rest = userProperties.filter(([key]) => !key.startsWith('p2p-'));
      const expected = without(properties, 'userProperties');
      assert.deepEqual(read, rest.length > 0 ? { ...expected, userProperties: rest } : expected);
    }),
  );
});

test('walking a damaged block ends', () => {
  const range = new PropertyRange();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      const reader = new UserPropertyReader();
      reader.reset(bytes, 0, bytes.length);
      while (reader.next())
        assert.ok(reader.keyAt <= reader.keyEnd && reader.keyEnd + 2 === reader.valueAt && reader.valueEnd <= bytes.length);
      if (findProperty(PropertyId.ContentType, bytes, 0, bytes.length, range))
        assert.ok(range.at <= range.end && range.end <= bytes.length);
      const writer = new Writer(1);
      copyPropertiesWithout(utf8Bytes('p2p-'), bytes, 0, bytes.length, writer);
      assert.ok(writer.at <= bytes.length);
      const plain = new Reader();
      plain.reset(bytes, 0, bytes.length);
      for (const packetType of [PUBLISH, WILL]) assert.ok(readProperties(plain, packetType, {}) >= 0);
    }),
    { numRuns: 1000 },
  );
});
