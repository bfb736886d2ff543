/*
 * Goal: hash32 depends on the bytes of the range alone, is a small unsigned number, and spreads real kinds of identifiers evenly.
 * Method: the same bytes at other offsets and in other array types; chi-square over the low ten bits; collisions against their expectation.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { hash32 } from '../../src/base/hash.ts';

const encoder = new TextEncoder();
const KEYS: Record<string, (i: number) => string> = {
  numbers: (i) => `${i}`,
  padded: (i) => String(i).padStart(12, '0'),
  devices: (i) => `device-${String(i).padStart(6, '0')}`,
  steps: (i) => `ABCD${i * 1000}`,
  hardware: (i) => `00:1b:44:${((i >> 16) & 255).toString(16)}:${((i >> 8) & 255).toString(16)}:${(i & 255).toString(16)}`,
  topics: (i) => `site/${i % 97}/device/${i}/temperature`,
};

test('a hash is a function of the bytes of the range alone', () => {
  for (let length = 0; length < 40; length++) {
    const key = Uint8Array.from({ length }, (_, i) => (i * 37 + length) & 255);
    const hash = hash32(key, 0, length);
    assert.ok(Number.isInteger(hash) && hash >= 0 && hash <= 0x7fffffff);
    for (const offset of [1, 2, 3, 7]) {
      const wide = Buffer.alloc(length + 20, offset);
      wide.set(key, offset);
      assert.equal(hash32(wide, offset, offset + length), hash);
      const shared = new Uint8Array(new SharedArrayBuffer(length + 20));
      shared.set(key, offset);
      assert.equal(hash32(shared, offset, offset + length), hash);
    }
  }
});

test('values never change: what is stored by slot is found again', () => {
  const values = ['', 'a', 'device-000001', 'first/p2p/client'].map((text) => {
    const key = encoder.encode(text);
    return hash32(key, 0, key.length);
  });
  assert.deepEqual(values, [261775281, 109547128, 440286827, 1710979625]);
});

for (const [name, keyOf] of Object.entries(KEYS)) {
  test(`${name}: even over 1,024 slots, and no more collisions than chance`, () => {
    const count = 100_000;
    const slots = new Float64Array(1024);
    const hashes = new Set<number>();
    for (let i = 0; i < count; i++) {
      const key = encoder.encode(keyOf(i));
      const hash = hash32(key, 0, key.length);
      slots[hash & 1023]!++;
      hashes.add(hash);
    }
    const expected = count / 1024;
    let chi = 0;
    for (const slot of slots) chi += (slot - expected) ** 2 / expected;
    // 1,023 degrees of freedom: a mean of 1,023 and a deviation of 45.
    assert.ok(chi < 1300, `chi-square ${chi}`);
    assert.ok(count - hashes.size < 15, `${count - hashes.size} collisions, 2.3 expected`);
  });
}
