/*
 * Goal: cursors and range operations do what the data types of the standard say, never throw on bad input, and work alike on Buffers, plain
 * arrays and views of shared memory.
 * Method: examples at the edges, and random values compared with Node's own conversions.
 */

import '../protocol/seed.ts';
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import {
  cloneBytes,
  copyBytes,
  copyViewed,
  equalBytes,
  isMqttUtf8,
  isUtf8,
  Reader,
  readText,
  utf8Bytes,
  VARINT_MAX,
  varintLength,
  viewOf,
  Writer,
  withView,
  writeVarint,
} from '../../src/base/bytes.ts';

const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(' ', ''), 'hex');

test('the writer writes what the reader reads', () => {
  fc.assert(
    fc.property(
      fc.nat(0xff),
      fc.nat(0xffff),
      fc.nat(0xffffffff),
      fc.nat(VARINT_MAX),
      fc.string({ unit: 'grapheme', maxLength: 200 }),
      fc.uint8Array({ maxLength: 300 }),
      (u8, u16, u32, varint, text, binary) => {
        const writer = new Writer(1);
        writer.u8(u8);
        writer.u16(u16);
        writer.u32(u32);
        writer.varint(varint);
        writer.utf8(text);
        writer.binary(binary);
        const reader = new Reader();
        reader.reset(writer.bytes, 0, writer.at);
        assert.deepEqual([reader.u8(), reader.u16(), reader.u32(), reader.varint()], [u8, u16, u32, varint]);
        reader.range16();
        assert.equal(readText(reader.bytes, reader.rangeAt, reader.rangeEnd), text);
        reader.range16();
        assert.deepEqual([...reader.bytes.subarray(reader.rangeAt, reader.rangeEnd)], [...binary]);
        assert.equal(reader.failed, false);
        assert.equal(reader.at, reader.end);
      },
    ),
  );
});

test('a reader that runs short fails, answers 0 and stays failed', () => {
  const reads: ((reader: Reader) => unknown)[] = [
    (r) => r.u8(),
    (r) => r.u16(),
    (r) => r.u32(),
    (r) => r.varint(),
    (r) => r.range16(),
    (r) => r.skip(1),
  ];
  for (const read of reads) {
    const reader = new Reader();
    reader.reset(hex('00ffffff'), 0, 0);
    assert.ok(!read(reader));
    assert.equal(reader.failed, true);
    reader.end = 4;
    assert.equal(reader.u8(), 0);
    assert.equal(reader.failed, true);
  }
  const reader = new Reader();
  reader.reset(hex('0003 6162'), 0, 4);
  reader.range16();
  assert.equal(reader.failed, true);
  assert.equal(reader.rangeEnd - reader.rangeAt, 0);
});

test('a Variable Byte Integer has at most four bytes and no byte too many', () => {
  const edges: [number, string][] = [
    [0, '00'],
    [127, '7f'],
    [128, '8001'],
    [16_383, 'ff7f'],
    [16_384, '808001'],
    [2_097_151, 'ffff7f'],
    [2_097_152, '80808001'],
    [VARINT_MAX, 'ffffff7f'],
  ];
  const reader = new Reader();
  for (const [value, bytes] of edges) {
    const target = Buffer.alloc(4);
    const end = writeVarint(target, 0, value);
    assert.equal(target.toString('hex', 0, end), bytes);
    assert.equal(varintLength(value), end);
    reader.reset(hex(bytes), 0, end);
    assert.equal(reader.varint(), value);
    assert.equal(reader.failed, false);
  }
  for (const bad of ['8000', '808000', '80808000', '80808080 01', 'ffffffff', '80', 'ffff']) {
    reader.reset(hex(bad), 0, hex(bad).length);
    assert.equal(reader.varint(), 0, bad);
    assert.equal(reader.failed, true, bad);
  }
});

test('copies are right on both sides of the threshold, within one array, and in shared memory', () => {
  for (const length of [0, 1, 7, 8, 9, 15, 16, 127, 128, 129, 300]) {
    const source = new Uint8Array(new SharedArrayBuffer(length + 5)).map((_, i) => i * 7);
    const target = new Uint8Array(new SharedArrayBuffer(length + 9));
    copyBytes(target, 4, source, 3, 3 + length);
    assert.deepEqual([...target.subarray(4, 4 + length)], [...source.subarray(3, 3 + length)]);
    assert.ok(equalBytes(target, 4, 4 + length, source, 3, 3 + length));
    assert.deepEqual([...target.subarray(0, 4), ...target.subarray(4 + length)], new Array(9).fill(0));
    assert.deepEqual([...cloneBytes(source, 3, 3 + length)], [...source.subarray(3, 3 + length)]);
    const own = Uint8Array.from({ length: length + 2 }, (_, i) => i);
    const before = [...own.subarray(0, length)];
    copyBytes(own, 2, own, 0, length);
    assert.deepEqual([...own.subarray(2, 2 + length)], before);
  }
  assert.equal(equalBytes(hex('0102'), 0, 2, hex('0103'), 0, 2), false);
  assert.equal(equalBytes(hex('0102'), 0, 2, hex('010203'), 0, 3), false);
});

test('copies by words within one array may overlap', () => {
  for (let length = 0; length <= 300; length++) {
    for (const [from, to] of [
      [0, 21],
      [21, 0],
    ] as const) {
      const bytes = withView(Uint8Array.from({ length: 330 }, (_, i) => i * 7 + 1));
      const expected = Uint8Array.from(bytes);
      expected.copyWithin(to, from, from + length);
      copyViewed(bytes, bytes.dataView, to, bytes, bytes.dataView, from, from + length);
      assert.deepEqual([...bytes], [...expected]);
    }
  }
});

test('copies by words are exact, wherever they begin and end, and whichever side has a view', () => {
  // Not at the beginning of its memory.
  const memory = (length: number): Uint8Array => new Uint8Array(length + 3).subarray(3);
  for (let length = 0; length <= 300; length++) {
    for (const sides of [
      [withView, withView],
      [withView, (bytes: Uint8Array) => bytes],
      [(bytes: Uint8Array) => bytes, withView],
    ] as const) {
      const targetAt = length % 7;
      const at = length % 5;
      const source = sides[0](memory(length + 5));
      for (let i = 0; i < source.length; i++) source[i] = i * 7 + 1;
      const target = sides[1](memory(length + 9));
      copyViewed(target, viewOf(target), targetAt, source, viewOf(source), at, at + length);
      assert.deepEqual(
        [...target],
        [...new Array(targetAt).fill(0), ...source.subarray(at, at + length), ...new Array(9 - targetAt).fill(0)],
      );
    }
  }
});

test('text survives as UTF-8, with a byte order mark, also in shared memory', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 100 }), (text) => {
      const bytes = utf8Bytes(text);
      assert.equal(Buffer.compare(bytes, Buffer.from(text, 'utf8')), 0);
      const shared = new Uint8Array(new SharedArrayBuffer(bytes.length + 2));
      shared.set(bytes, 1);
      const expected = Buffer.from(text, 'utf8').toString('utf8');
      assert.equal(readText(shared, 1, 1 + bytes.length), expected);
      assert.equal(readText(Uint8Array.from(bytes), 0, bytes.length), expected);
    }),
  );
  assert.equal(readText(hex('efbbbf61'), 0, 4), '\ufeffa');
});

test('well-formed UTF-8 is told from everything else', () => {
  const good = ['', '61', 'c280', 'dfbf', 'e0a080', 'ed9fbf', 'ee8080', 'efbfbf', 'f0908080', 'f48fbfbf', '61c3a462'];
  const bad = [
    '80',
    'c0',
    'c080',
    'c1bf',
    'c2',
    'c261',
    'e08080',
    'e09fbf',
    'eda080',
    'edbfbf',
    'e1',
    'e180',
    'e18061',
    'f0808080',
    'f08fbfbf',
    'f4908080',
    'f5808080',
    'f1',
    'f180',
    'f18080',
    'f1808061',
    'ff',
    '61c3',
  ];
  for (const bytes of good) assert.ok(isMqttUtf8(hex(bytes), 0, hex(bytes).length), bytes);
  for (const bytes of bad) assert.ok(!isMqttUtf8(hex(bytes), 0, hex(bytes).length), bytes);
  assert.ok(!isMqttUtf8(hex('6100'), 0, 2));
  assert.ok(!isMqttUtf8(hex('c3a400'), 0, 3));
  assert.ok(isUtf8(hex('c3a400'), 0, 3));
  const decoder = new TextDecoder('utf-8', { fatal: true });
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.constantFrom(0x80, 0xbf, 0xc2, 0xe0, 0xed, 0xf0, 0xf4, 0x9f, 0xa0, 0x41), fc.nat(255)), { maxLength: 8 }),
      (list) => {
        const bytes = Uint8Array.from(list);
        let expected = true;
        try {
          decoder.decode(bytes);
        } catch {
          expected = false;
        }
        assert.equal(isUtf8(bytes, 0, bytes.length), expected);
        assert.equal(isMqttUtf8(bytes, 0, bytes.length), expected && !list.includes(0));
      },
    ),
    { numRuns: 2000 },
  );
});

test('the writer refuses what two bytes of length cannot say', () => {
  const writer = new Writer(16);
  assert.throws(() => writer.utf8('x'.repeat(65_536)));
  assert.throws(() => writer.binary(new Uint8Array(65_536)));
  writer.reset();
  writer.utf8('x'.repeat(65_535));
  assert.equal(writer.at, 65_537);
  assert.deepEqual(writer.copy().length, 65_537);
});
