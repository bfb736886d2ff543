/**
 * Slices: many small things of one request, some in each turn, so that messages of others pass in between.
 */
import type { Shard } from '../shard/shard.ts';

/** Publishing one takes some microseconds, and some tens where it has many receivers. */
const PER_TURN = 50;

/** Does `count` things in their order; the first of them at once. */
export function inSlices(shard: Shard, count: number, act: (index: number) => void): void {
  let next = 0;
  const step = (): void => {
    shard.startTurn();
    for (const end = Math.min(count, next + PER_TURN); next < end; next++) act(next);
    if (next < count) setImmediate(step);
  };
  step();
}
