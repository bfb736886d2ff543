/*
 * Goal: all shards find the same place for a group and count its connections there; a place is given away only when nothing of its group is left; a full table says so.
 * Method: the tables of two shards over one piece of shared memory.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { GROUPS_MAX, GroupTable, groupTableBytes } from '../../src/shard/quota-groups.ts';

const NOW = 1_700_000_000_000;

function tables(): { shared: SharedArrayBuffer; one: GroupTable; two: GroupTable } {
  const shared = new SharedArrayBuffer(groupTableBytes(2) + 16);
  return { shared, one: new GroupTable(shared, 16, 0, 2), two: new GroupTable(shared, 16, 1, 2) };
}

test('a group has one place, and its connections are counted over all shards', () => {
  const { one, two } = tables();
  const slots = ['a', 'b', 'c'].map((name) => one.join(name, NOW));
  assert.equal(new Set(slots).size, 3);
  assert.deepEqual(
    ['a', 'b', 'c'].map((name) => two.join(name, NOW)),
    slots,
  );
  two.enter(slots[0]!);
  assert.deepEqual(
    slots.map((slot) => one.count(slot)),
    [3, 2, 2],
  );
  one.leave(slots[0]!);
  assert.deepEqual(
    slots.map((slot) => two.count(slot)),
    [2, 2, 2],
  );
});

test('the pools of a group are the same for all shards, and of no other group', () => {
  const { one, two } = tables();
  const [a, b] = [one.join('a', NOW), one.join('b', NOW)];
  assert.equal(two.messages(two.join('a', NOW)).take(NOW, 1, 100, 70, 0), 70);
  assert.equal(one.messages(a).level(NOW, 1, 100), 30);
  assert.equal(one.bytes(a).level(NOW, 1, 100), 100);
  assert.equal(one.messages(b).level(NOW, 1, 100), 100);
});

test('the connections of a shard that died are forgotten by its successor', () => {
  const { shared, one, two } = tables();
  const slot = one.join('a', NOW);
  two.join('a', NOW);
  const successor = new GroupTable(shared, 16, 0, 2);
  assert.equal(two.count(slot), 1);
  assert.equal(successor.join('a', NOW), slot);
  assert.equal(two.count(slot), 2);
});

test('a place is given away when its group has no connection and its pools are full, not before', () => {
  const { one } = tables();
  const slots = new Map<number, string>();
  let refused = 0;
  // So many that the places around each name fill up.
  for (let i = 0; i < GROUPS_MAX * 1.2; i++) {
    const slot = one.join(`group-${i}`, NOW);
    if (slot < 0) refused++;
    else {
      assert.equal(slots.has(slot), false, 'no place has two groups');
      slots.set(slot, `group-${i}`);
    }
  }
  assert.ok(refused > 0, 'the table says that it is full');
  const [[slot, name]] = slots as unknown as [[number, string]];
  one.leave(slot);
  assert.equal(one.messages(slot).take(NOW, 1, 100, 50, 0), 50);
  // 50 of 1 in a millisecond: full in 50 ms. Until then the name has it still.
  const other = nameFor(one, slot, NOW + 49);
  assert.equal(other, undefined);
  assert.notEqual(nameFor(one, slot, NOW + 50), undefined);
  assert.notEqual(one.join(name, NOW + 50), slot, 'the place is another group’s now');
});

/** A new name that gets this place, if any of many does. */
function nameFor(table: GroupTable, slot: number, now: number): string | undefined {
  for (let i = 0; i < 20_000; i++) {
    const name = `new-${now}-${i}`;
    const got = table.join(name, now);
    if (got === slot) return name;
    if (got >= 0) table.leave(got);
  }
  return undefined;
}
