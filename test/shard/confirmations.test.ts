/*
 * Goal: who waits for a client is told once, by the message and the client that it waits for, on whichever shard it is, or that nothing came in time; and not too many wait.
 * Method: shards in one thread, with a clock that the test moves.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { RECEIPT_TO_WAITER } from '../../src/protocol/publish.ts';
import { startShards } from '../support/shard-group.ts';

test('a waiter is told once, and by its own client only', async (t) => {
  const group = await startShards(3);
  t.after(() => group.stop());
  const told: (string | null)[] = [];
  const { confirmations } = group.shards[1]!;
  const one = confirmations.begin('dev', 1000, (status) => told.push(status));
  const two = confirmations.begin('dev', 1000, (status) => told.push(status));
  assert.ok(one >= RECEIPT_TO_WAITER && two !== one && two < 2 ** 31);
  confirmations.settle(one, 'another', 'acknowledged');
  confirmations.settle(two + 32, 'dev', 'acknowledged');
  assert.deepEqual(told, []);
  // From another shard, which is told by the number alone where to go.
  group.shards[2]!.confirmations.tell(one, 'dev', 'acknowledged');
  await group.settle();
  group.shards[1]!.confirmations.tell(two, 'dev', 'dropped');
  group.shards[0]!.confirmations.tell(two, 'dev', 'acknowledged');
  await group.settle();
  assert.deepEqual(told, ['acknowledged', 'dropped']);
  assert.equal(group.count('p2p/confirmations/waiting'), 0);
});

test('nothing in time is told, what is forgotten is not', async (t) => {
  const group = await startShards(1);
  t.after(() => group.stop());
  const { confirmations } = group.shards[0]!;
  const told: (string | null)[] = [];
  confirmations.begin('a', 2000, (status) => told.push(status));
  const forgotten = confirmations.begin('b', 2000, () => assert.fail('nobody waits for it'));
  confirmations.forget(forgotten);
  await group.pass(1);
  assert.deepEqual(told, []);
  await group.pass(2);
  assert.deepEqual(told, [null]);
  assert.equal(group.count('p2p/confirmations/timed-out'), 1);
});

test('more than so many do not wait', async (t) => {
  const group = await startShards(1);
  t.after(() => group.stop());
  const { confirmations } = group.shards[0]!;
  const waiters: number[] = [];
  for (let i = 0; i < 20_000; i++) waiters.push(confirmations.begin('a', 1000, () => {}));
  assert.equal(new Set(waiters).size, 20_000);
  assert.equal(
    confirmations.begin('a', 1000, () => {}),
    0,
  );
  assert.equal(group.count('p2p/confirmations/refused'), 1);
  confirmations.forget(waiters[0]!);
  assert.notEqual(
    confirmations.begin('a', 1000, () => {}),
    0,
  );
});
