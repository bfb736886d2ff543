/**
 * Slices: many small things of one request, some in each turn, so that messages of others pass in between.
 */
import type { Shard } from '../shard/shard.ts';

/** Publishing one takes some microseconds, and some tens where it has many receivers. */
const PER_TURN = 50;

/**
 * Does `count` things in their order; the first of them at once.
 * @param act returns false when nothing more is to be done
 * @param done called behind the last of them
 */
export function inSlices(shard: Shard, count: number, act: (index: number) => boolean | undefined, done: () => void = () => {}): void {
  let next = 0;
  const step = (): void => {
    shard.startTurn();
    for (const end = Math.min(count, next + PER_TURN); next < end; next++) if (act(next) === false) return;
    if (next < count) setImmediate(step);
    else done();
  };
  step();
}
