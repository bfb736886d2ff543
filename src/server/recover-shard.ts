/**
 * RecoverShard: a shard takes up what the store has for it, before it serves anyone.
 *
 *   pieces of the log → Recovery → sessions → (another number of shards than before: everything is written anew) → done
 *
 * While it lasts, frames of other shards wait in the rings, and a line in the log says every few seconds how far it has come.
 */
import { assert } from '../base/assert.ts';
import { Cleaner, RecordWalk, rewrite } from '../shard/cleaner.ts';
import { type RecoveredCounts, Recovery } from '../shard/recovery.ts';
import type { Shard } from '../shard/shard.ts';
import { finishRecovery } from '../shard/shard-life.ts';
import type { RecoverableStore, StoreStart } from './store-link.ts';

const PROGRESS_MILLISECONDS = 2000;
/** Bytes of old records that are copied before the shard waits for the disk. */
const REWRITE_BYTES = 4 * 1024 * 1024;

/**
 * @param link the shard's end of the store; its answers go to the shard's journal
 * @param logBytes a log shorter than this is not cleaned; tests take a small one
 * @param done called in a turn, once
 */
export function recoverShard(
  shard: Shard,
  store: Omit<StoreStart, 'port'>,
  link: RecoverableStore,
  done: (counts: RecoveredCounts) => void,
  logBytes?: number,
): void {
  const { journal } = shard;
  shard.isRecovering = true;
  shard.awaitsRoutes = true;
  shard.mesh.isHeld = true;
  shard.epoch = store.epoch;
  journal.attach(link, store.nextCount);
  const cleaner = new Cleaner(shard, logBytes);
  const recovery = new Recovery(shard, store.isProcessStart, store.isRewrite);
  const progress = new Progress(shard);
  /** Records that are to be written anew, and their sizes. */
  const old: number[] = [];
  const sizes: number[] = [];
  link.recover((records, bytes, isLast, count, total) => {
    for (let i = 0; i < records.length; i++) {
      const record = records[i]!;
      if (!recovery.take(record, bytes[i]!))
        shard.log.error({ record }, 'a record of the store makes no sense: what follows in it is left out');
      if (store.isRewrite) {
        old.push(record);
        sizes.push(bytes[i]!.length);
      } else cleaner.wrote(record, bytes[i]!.length);
    }
    progress.say('reading the store', count, total);
    if (!isLast) return;
    finishRecovery(shard, recovery, (counts) => {
      const end = (): void => {
        journal.cleaner = cleaner;
        cleaner.begin(recovery.live.messages, recovery.live.rest);
        shard.mesh.isHeld = false;
        shard.isRecovering = false;
        shard.startTurn();
        done(counts);
      };
      journal.cleaner = store.isRewrite ? new WriteCounter(cleaner, shard) : cleaner;
      if (store.isRewrite) writeAnew(shard, old, sizes, progress, end);
      else end();
    });
  });
}

/** Copies what is live of the old records, piece by piece, each on disk before the next is read. */
function writeAnew(shard: Shard, records: readonly number[], sizes: readonly number[], progress: Progress, done: () => void): void {
  const { journal } = shard;
  const walk = new RecordWalk();
  let next = 0;
  const step = (): void => {
    progress.say('writing the store anew for another number of shards', next, records.length);
    const wanted: number[] = [];
    let bytes = 0;
    for (; next < records.length && bytes < REWRITE_BYTES; next++) {
      wanted.push(records[next]!);
      bytes += sizes[next]!;
    }
    if (wanted.length === 0) {
      journal.whenIdle(done);
      return;
    }
    journal.read(wanted, (found) => {
      for (let i = 0; i < wanted.length; i++) {
        const bytes = found[i] ?? null;
        // The old records are removed when all are copied: one that cannot be read must end the start, not be left out.
        assert(bytes !== null, 'every record that was recovered can be read once more');
        walk.begin(wanted[i]!, bytes);
        rewrite(shard, walk, bytes.length);
      }
      journal.whenIdle(step);
    });
  };
  step();
}

/** Counts what is written, and cleans nothing: the old records go all at once. */
class WriteCounter extends Cleaner {
  private readonly cleaner: Cleaner;

  constructor(cleaner: Cleaner, shard: Shard) {
    super(shard);
    this.cleaner = cleaner;
  }

  override wrote(record: number, bytes: number): void {
    this.cleaner.wrote(record, bytes);
  }

  override step(): void {}
}

/** A line now and then, so that a long recovery is seen to move. */
class Progress {
  private readonly shard: Shard;
  private saidAt: number;

  constructor(shard: Shard) {
    this.shard = shard;
    this.saidAt = shard.timers.tick();
  }

  say(what: string, count: number, total: number): void {
    const now = this.shard.timers.tick();
    if (now - this.saidAt < PROGRESS_MILLISECONDS) return;
    this.saidAt = now;
    this.shard.log.info({ records: count, of: total, percent: total === 0 ? 100 : Math.floor((count * 100) / total) }, what);
  }
}
