/*
 * Goal: every hash has a slot in range, and slots go evenly to shards.
 * Method: extremes of the hash, and a count of slots by shard for each number of shards.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { SLOT_COUNT, shardOfSlot, slotOf } from '../../src/routing/slot.ts';

test('a slot is the low ten bits of the hash', () => {
  assert.equal(SLOT_COUNT, 1024);
  for (const [hash, slot] of [
    [0, 0],
    [1023, 1023],
    [1024, 0],
    [0x7fffffff, 1023],
  ] as const) {
    assert.equal(slotOf(hash), slot);
  }
});

test('each shard owns its share of the slots, to one slot', () => {
  for (let shards = 1; shards <= 31; shards++) {
    const owned = new Array<number>(shards).fill(0);
    for (let slot = 0; slot < SLOT_COUNT; slot++) owned[shardOfSlot(slot, shards)]!++;
    assert.ok(Math.max(...owned) - Math.min(...owned) <= 1);
  }
});
