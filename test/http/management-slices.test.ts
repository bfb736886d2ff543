/**
 * Goal: work over very much leaves the shard alone between its slices, and one that is much too long for that ends all the same.
 * Method: timers that the test moves; each step lasts as long as a slice.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { inSlices, PAUSE_MILLISECONDS } from '../../src/http/management/slices.ts';
import type { Shard } from '../../src/shard/shard.ts';

/** Longer than a slice. */
function burn(): void {
  const end = performance.now() + 0.25;
  while (performance.now() < end);
}

function begin(t: TestContext): Shard {
  t.mock.timers.enable({ apis: ['setTimeout', 'setImmediate'] });
  return { startTurn: () => {} } as Shard;
}

test('a pause is between two slices, whoever they are of', (t) => {
  const shard = begin(t);
  const steps: string[] = [];
  const work = (name: string, count: number): void => {
    let left = count;
    inSlices(
      shard,
      () => {
        burn();
        steps.push(name);
        return --left > 0;
      },
      (isComplete) => steps.push(`${name} ${isComplete}`),
    );
  };
  work('a', 3);
  work('b', 2);
  t.mock.timers.tick(0);
  assert.deepEqual(steps, ['a'], 'the first slice is in the next turn');
  t.mock.timers.tick(0);
  assert.deepEqual(steps, ['a'], 'the second one is not in the turn after it');
  const after = ['b', 'a', 'b,b true', 'a,a true'];
  for (let i = 0; i < after.length; i++) {
    const before = steps.length;
    t.mock.timers.tick(PAUSE_MILLISECONDS);
    assert.equal(steps.slice(before).join(), after[i]);
  }
  work('c', 1);
  t.mock.timers.tick(0);
  assert.equal(steps.at(-1), 'c true', 'who comes later begins anew');
});

test('a work that has paused very often goes on without pauses', (t) => {
  const shard = begin(t);
  let steps = 0;
  let isOver = false;
  inSlices(
    shard,
    () => {
      burn();
      return ++steps < 1000;
    },
    () => {
      isOver = true;
    },
  );
  t.mock.timers.tick(0);
  for (let pauses = 1; pauses < 500; pauses++) t.mock.timers.tick(PAUSE_MILLISECONDS);
  assert.equal(steps, 500, 'one for each pause, and the first');
  // The rest takes turns, and no time.
  t.mock.timers.tick(PAUSE_MILLISECONDS);
  assert.deepEqual([steps, isOver], [1000, true]);
  // Somebody else's work is not late because of it.
  let others = 0;
  inSlices(
    shard,
    () => {
      burn();
      return ++others < 3;
    },
    () => {},
  );
  t.mock.timers.tick(0);
  assert.equal(others, 1);
});
