/**
 * Goal: work over very much leaves the shard alone between its slices, and one that is much too long for that ends all the same.
 * Method: turns and time that the test moves; each step lasts as long as a slice.
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

type Later = () => void;

/** What waits for the next turn, and for the end of a pause. */
class Turns {
  readonly shard = { startTurn: () => {} } as Shard;
  private immediate: Later[] = [];
  private paused: Later[] = [];

  constructor(t: TestContext) {
    const later = (queue: () => Later[], callback: (...args: unknown[]) => void, args: unknown[]): void => {
      queue().push(() => callback(...args));
    };
    t.mock.method(globalThis, 'setImmediate', ((callback: Later, ...args: unknown[]) =>
      later(() => this.immediate, callback, args)) as never);
    t.mock.method(globalThis, 'setTimeout', ((callback: Later, milliseconds: number, ...args: unknown[]) => {
      assert.equal(milliseconds, PAUSE_MILLISECONDS);
      later(() => this.paused, callback, args);
    }) as never);
  }

  /** The next turn; no time passes. @returns whether there was something to do */
  turn(): boolean {
    const now = this.immediate;
    this.immediate = [];
    for (const callback of now) callback();
    return now.length > 0;
  }

  /** A millisecond passes. */
  pause(): void {
    const now = this.paused;
    this.paused = [];
    for (const callback of now) callback();
  }
}

/** Work of so many steps, which notes its name for each. */
function work({ shard }: Turns, steps: string[], name: string, count: number): void {
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
}

test('a pause is between two slices, whoever they are of', (t) => {
  const turns = new Turns(t);
  const steps: string[] = [];
  work(turns, steps, 'a', 3);
  work(turns, steps, 'b', 2);
  turns.turn();
  assert.deepEqual(steps, ['a'], 'the first slice is in the next turn');
  turns.turn();
  assert.deepEqual(steps, ['a'], 'the second one is not in the turn after it');
  const after = ['b', 'a', 'b,b true', 'a,a true'];
  for (let i = 0; i < after.length; i++) {
    const before = steps.length;
    turns.pause();
    assert.equal(steps.slice(before).join(), after[i]);
  }
  work(turns, steps, 'c', 1);
  turns.turn();
  assert.equal(steps.at(-1), 'a true', 'a pause is behind the last slice, too');
  turns.pause();
  assert.equal(steps.at(-1), 'c true');
  turns.pause();
  work(turns, steps, 'd', 1);
  turns.turn();
  assert.equal(steps.at(-1), 'd true', 'who comes behind the pause does not wait');
});

test('as long as a work goes on that is much too long there are no pauses', (t) => {
  const turns = new Turns(t);
  const steps: string[] = [];
  const count = (name: string): number => steps.filter((step) => step === name).length;
  work(turns, steps, 'long', 600);
  turns.turn();
  for (let slices = 1; slices < 499; slices++) turns.pause();
  assert.equal(count('long'), 499, 'one for each pause, and the first');
  // Whose slices are between does not matter.
  work(turns, steps, 'other', 50);
  work(turns, steps, 'another', 1000);
  turns.pause();
  turns.pause();
  assert.equal(turns.turn(), true, 'no pause is waited for');
  while (turns.turn());
  assert.deepEqual([count('long'), steps.includes('long true'), steps.includes('other true')], [600, true, true]);
  // Another one has not been there for so long.
  const before = count('another');
  assert.ok(before < 1000);
  turns.pause();
  assert.equal(count('another'), before + 1);
  assert.equal(turns.turn(), false);
});
