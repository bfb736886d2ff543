/*
 * Goal: ByteMap is a map, keeps its memory in bounds after mass deletes, and a sliced scan misses nothing that stays.
 * Method: random operations against a Map of strings, with good hashes and with hashes that all collide; scans with changes between and in
 * the slices.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { ByteMap, orderOf } from '../../src/base/byte-map.ts';
import { hash32 } from '../../src/base/hash.ts';
import { Random } from '../routing/random-topics.ts';

interface Item {
  readonly key: string;
}

const goodHash = (key: Uint8Array): number => hash32(key, 0, key.length);
const badHash = (key: Uint8Array): number => goodHash(key) & 3;
const encoder = new TextEncoder();

/** Reads a member that tests must otherwise leave alone. */
function indexLength(map: ByteMap<Item>): number {
  return (map as unknown as { index: Int32Array }).index.length;
}

describe('against a Map', () => {
  for (const [name, hashOf, keys, steps] of [
    ['good hashes', goodHash, 3000, 60_000],
    ['colliding hashes', badHash, 60, 20_000],
  ] as const) {
    test(name, () => {
      const random = new Random(`ByteMap ${name}`);
      const map = new ByteMap<Item>();
      const model = new Map<string, Item>();
      for (let step = 0; step < steps; step++) {
        // Phases of growth and of decline, so that both resizes happen.
        const wantsDelete = random.next(100) < (Math.floor(step / 5000) % 2 === 0 ? 30 : 70);
        const text = `k${random.next(keys)}`;
        const wide = encoder.encode(`..${text}.`);
        const hash = hashOf(encoder.encode(text));
        assert.equal(map.get(wide, 2, wide.length - 1, hash), model.get(text));
        if (wantsDelete) {
          assert.equal(map.delete(wide, 2, wide.length - 1, hash), model.get(text));
          model.delete(text);
        } else {
          const item = { key: text };
          assert.equal(map.set(encoder.encode(text), hash, item), model.get(text));
          model.set(text, item);
        }
        assert.equal(map.size, model.size);
      }
      for (const [text, item] of model) assert.equal(map.get(encoder.encode(text), 0, text.length, hashOf(encoder.encode(text))), item);
    });
  }
});

test('a key that is a prefix of another, and the empty key', () => {
  const map = new ByteMap<Item>();
  const items = ['', 'a', 'ab', 'abc'].map((key) => ({ key }));
  for (const item of items) map.set(encoder.encode(item.key), 7, item);
  const bytes = encoder.encode('abcd');
  for (let end = 0; end < 4; end++) assert.equal(map.get(bytes, 0, end, 7), items[end]);
  assert.equal(map.get(bytes, 0, 4, 7), undefined);
});

test('the index shrinks after mass deletes and when cleared', () => {
  const map = new ByteMap<Item>();
  const keys = Array.from({ length: 50_000 }, (_, i) => encoder.encode(`client-${i}`));
  for (const key of keys) map.set(key, goodHash(key), { key: '' });
  const large = indexLength(map);
  assert.ok(large >= 2 * 100_000 && large <= 2 * 262_144);
  for (const key of keys.slice(100)) assert.ok(map.delete(key, 0, key.length, goodHash(key)));
  assert.equal(map.size, 100);
  assert.ok(indexLength(map) <= 2 * 100 * 16, `${indexLength(map)}`);
  for (const key of keys.slice(0, 100)) assert.ok(map.get(key, 0, key.length, goodHash(key)));
  map.clear();
  assert.equal(map.size, 0);
  assert.equal(map.get(keys[0]!, 0, keys[0]!.length, goodHash(keys[0]!)), undefined);
});

test('a sliced scan visits everything that stays, whatever comes and goes meanwhile', () => {
  const random = new Random('ByteMap scan');
  for (let round = 0; round < 60; round++) {
    const map = new ByteMap<Item>();
    const put = (key: string): void => void map.set(encoder.encode(key), goodHash(encoder.encode(key)), { key });
    const drop = (key: string): void => void map.delete(encoder.encode(key), 0, key.length, goodHash(encoder.encode(key)));
    const count = random.next(300);
    for (let i = 0; i < count; i++) put(`stay${i}`);
    for (let i = 0; i < count; i++) put(`go${i}`);
    const seen = new Set<string>();
    let added = 0;
    let cursor = 0;
    let slices = 0;
    do {
      cursor = map.scan(cursor, 1 + random.next(20), (item) => {
        seen.add(item.key);
        if (random.next(4) === 0) drop(`go${random.next(count)}`);
      });
      for (let i = random.next(12); i > 0; i--) drop(`go${random.next(count)}`);
      if (random.next(3) === 0) put(`new${added++}`);
      assert.ok(++slices < 10_000);
    } while (cursor >= 0);
    for (let i = 0; i < count; i++) assert.ok(seen.has(`stay${i}`), `round ${round}: stay${i} was missed`);
  }
});

test('a scan of an unchanged map visits each value once, in slices of the size asked for', () => {
  const map = new ByteMap<Item>();
  for (let i = 0; i < 25; i++) map.set(encoder.encode(`${i}`), goodHash(encoder.encode(`${i}`)), { key: `${i}` });
  const seen: string[] = [];
  const sizes: number[] = [];
  for (let cursor = 0; cursor >= 0; ) {
    const before = seen.length;
    cursor = map.scan(cursor, 10, (item) => seen.push(item.key));
    sizes.push(seen.length - before);
  }
  assert.deepEqual(sizes, [10, 10, 5]);
  assert.equal(new Set(seen).size, 25);
  assert.equal(
    new ByteMap<Item>().scan(0, 10, () => assert.fail()),
    -1,
  );
});

test('a scan in order lists what stays exactly once, in the order of all sizes, whatever comes and goes between slices', () => {
  const random = new Random('ByteMap order');
  for (let round = 0; round < 32; round++) {
    // Now and then with hashes that collide, and with homes at the very end of the index, whose runs go on at its beginning.
    const hashOf = round % 8 === 0 ? badHash : round % 8 === 1 ? (key: Uint8Array) => atTheEnd(goodHash(key)) : goodHash;
    const map = new ByteMap<Item>();
    const put = (key: string): void => void map.set(encoder.encode(key), hashOf(encoder.encode(key)), { key });
    const drop = (key: string): void => void map.delete(encoder.encode(key), 0, key.length, hashOf(encoder.encode(key)));
    const count = random.next(200);
    for (let i = 0; i < count; i++) put(`stay${i}`);
    for (let i = 0; i < count * 8; i++) put(`go${i}`);
    const seen = new Map<string, number>();
    let last = -1;
    let slices = 0;
    for (let from = 0; from >= 0; ) {
      const slice: number[] = [];
      const next = map.scanInOrder(from, 1 + random.next(1 + count * 4), (item, order) => {
        assert.equal(order, orderOf(hashOf(encoder.encode(item.key))));
        assert.ok(order >= from);
        slice.push(order);
        seen.set(item.key, (seen.get(item.key) ?? 0) + 1);
      });
      if (slice.length > 0) {
        assert.ok(Math.min(...slice) > last || last < 0, 'slices come one behind the other');
        last = Math.max(...slice);
      }
      assert.ok(next < 0 || slice.every((order) => order < next));
      from = next;
      // The index shrinks and grows meanwhile.
      const all = random.next(8);
      if (all === 0) for (let i = 0; i < count * 8; i++) drop(`go${i}`);
      else if (all === 1) for (let i = 0; i < count * 8; i++) put(`go${i}`);
      for (let i = random.next(count * 2); i > 0; i--) drop(`go${random.next(count * 8)}`);
      if (random.next(3) === 0) for (let i = random.next(count * 4); i > 0; i--) put(`go${random.next(count * 8)}`);
      assert.ok(++slices < 200_000);
    }
    for (let i = 0; i < count; i++) assert.equal(seen.get(`stay${i}`), 1, `round ${round}: stay${i}`);
  }
});

test('a scan in order goes on where it was when the index has become smaller, also within what is one place now', () => {
  const map = new ByteMap<Item>();
  const put = (key: string): void => void map.set(encoder.encode(key), goodHash(encoder.encode(key)), { key });
  const drop = (key: string): void => void map.delete(encoder.encode(key), 0, key.length, goodHash(encoder.encode(key)));
  for (let i = 0; i < 200; i++) put(`stay${i}`);
  for (let place = 1; place < 4096; place += 11) {
    for (let i = 0; i < 1600; i++) put(`go${i}`);
    const from = (place << 20) >>> 0;
    for (let i = 0; i < 1600; i++) drop(`go${i}`);
    map.scanInOrder(from, 1, (_item, order) => assert.ok(order >= from));
  }
});

/** A hash whose home is among the last of every index. */
function atTheEnd(hash: number): number {
  // The inverse of the multiplier modulo 2^32.
  return Math.imul((0xfffffff0 | (hash & 15)) >>> 0, 0x0e8b2f51) >>> 0;
}
