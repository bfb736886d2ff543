/**
 * Slices: work over very much, a little in each turn, so that messages go on between. A slice takes half a millisecond and what its last step takes more; then everybody else
 * has a turn of the event loop.
 */
import type { Shard } from '../../shard/shard.ts';

const SLICE_MILLISECONDS = 0.5;

/**
 * Calls `step` until it returns false: at once, and in later turns.
 * @param step does little, well below a tenth of a millisecond
 */
export function inSlices(shard: Shard, step: () => boolean, done: () => void): void {
  const slice = (): void => {
    const end = performance.now() + SLICE_MILLISECONDS;
    do {
      if (!step()) {
        done();
        return;
      }
    } while (performance.now() < end);
    setImmediate(() => {
      shard.startTurn();
      slice();
    });
  };
  slice();
}
