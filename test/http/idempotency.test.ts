/*
 * Goal: a shard remembers keys for a day and as many as it may, and forgets the oldest.
 * Method: its handlers, asked as other shards do, with a clock that the test moves.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { handleIdempotency } from '../../src/http/idempotency.ts';
import type { Shard } from '../../src/shard/shard.ts';
import { startShards } from '../support/shard-group.ts';

const answer = { status: 200, body: '{}' };

function begin(shard: Shard, key: string, print = 'p', attempt = print): string {
  let state = '';
  shard.asks.ask(shard.index, 'idempotency/begin', { key, print, attempt }, (value) => {
    ({ state } = value as { state: string });
  });
  return state;
}

function end(shard: Shard, key: string, attempt: string, given: object | null): void {
  shard.asks.ask(shard.index, 'idempotency/end', { key, attempt, answer: given }, () => {});
}

test('new, under way, done, another request, forgotten', async (t) => {
  const group = await startShards(1);
  t.after(() => group.stop());
  const shard = group.shards[0]!;
  handleIdempotency(shard);
  assert.deepEqual([begin(shard, 'a'), begin(shard, 'a'), begin(shard, 'a', 'q')], ['new', 'under-way', 'other']);
  end(shard, 'a', 'q', answer);
  assert.equal(begin(shard, 'a'), 'under-way', 'that was the end of something else');
  end(shard, 'a', 'p', answer);
  assert.equal(begin(shard, 'a'), 'done');
  await group.pass(24 * 3600 - 60);
  assert.equal(begin(shard, 'a'), 'done');
  await group.pass(61);
  assert.equal(begin(shard, 'a'), 'new');
  end(shard, 'a', 'p', null);
  assert.equal(begin(shard, 'a'), 'new', 'it was refused, and may be tried again');
  await group.pass(16 * 60);
  assert.equal(begin(shard, 'a'), 'new', 'whoever had it under way is gone');
});

test('an attempt that is given up says nothing about another with the same request', async (t) => {
  const group = await startShards(1);
  t.after(() => group.stop());
  const shard = group.shards[0]!;
  handleIdempotency(shard);
  assert.equal(begin(shard, 'a', 'p', 'first'), 'new');
  assert.equal(begin(shard, 'a', 'p', 'second'), 'under-way');
  end(shard, 'a', 'second', null);
  assert.equal(begin(shard, 'a', 'p', 'third'), 'under-way');
  end(shard, 'a', 'first', answer);
  assert.equal(begin(shard, 'a', 'p', 'third'), 'done');
});

test('the oldest goes where there are too many', async (t) => {
  const group = await startShards(1);
  t.after(() => group.stop());
  const shard = group.shards[0]!;
  handleIdempotency(shard);
  for (let i = 0; i <= 50_000; i++) {
    begin(shard, `k${i}`);
    end(shard, `k${i}`, 'p', answer);
  }
  assert.equal(group.count('http/idempotency/forgotten'), 1);
  assert.equal(begin(shard, 'k1'), 'done');
  assert.equal(begin(shard, 'k0'), 'new');
  const large = { status: 200, body: 'x'.repeat(1024 * 1024) };
  for (let i = 0; i < 40; i++) {
    begin(shard, `large${i}`);
    end(shard, `large${i}`, 'p', large);
  }
  assert.equal(begin(shard, 'large0'), 'new');
  assert.equal(begin(shard, 'large39'), 'done');
});
