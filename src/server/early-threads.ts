/**
 * EarlyThreads: the threads that nearly every broker has, loading while the configuration is read. With them, and without what a plain start does not use, a start
 * with one shard took 510 ms instead of 1,080 (medians of nine, two processors that others used too; the quickest 400 and 780), and 0.8 s of CPU instead of 1.2.
 *
 * This file loads nothing by itself, so that it can come first.
 */
import { EarlyThread } from './early-thread.ts';
import type { StoreThreadStart } from './store-thread.ts';
import type { ShardStart } from './wiring.ts';

/**
 * Young generation of a shard's heap. Its pages count as memory of idle connections: 15,000 of them took 7.5 KB each at 64 MB and 5.9 KB at 16 MB;
 * at 4 MB fan-in cost 12 % more CPU, because the nursery was collected too often (native-bench/build/load, workloads idle and fan-in).
 */
const YOUNG_GENERATION_MEGABYTES = 16;

export class EarlyThreads {
  /** There is at least one shard, and there is a store unless somebody has said otherwise. */
  readonly store: EarlyThread<StoreThreadStart>;
  private readonly shards: EarlyThread<ShardStart>[];

  constructor() {
    this.shards = [];
    this.loadShards(1);
    this.store = new EarlyThread(new URL('./store-thread.js', import.meta.url), { name: 'store' });
  }

  /** The number of shards is known: the others begin to load, too. */
  loadShards(count: number): void {
    for (let index = this.shards.length; index < count; index++) this.shards.push(loadShard(index));
  }

  /** The thread of a shard that starts with the process. */
  shard(index: number): EarlyThread<ShardStart> {
    return this.shards[index]!;
  }

  /** Ends those that have not begun. */
  discard(): void {
    this.store.discard();
    for (const shard of this.shards) shard.discard();
  }
}

/** The thread of a shard, or of its successor. */
export function loadShard(index: number): EarlyThread<ShardStart> {
  return new EarlyThread(new URL('./shard-thread.js', import.meta.url), {
    name: `shard-${index}`,
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MEGABYTES },
  });
}
