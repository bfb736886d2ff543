/**
 * Slices: work over very much, a little at a time, so that messages go on between. All such work of a shard together takes a slice of 0.2 ms, and what its last step takes more,
 * and then pauses for a millisecond: whoever asks for many lists at once makes them slower, not the turns longer. Those under way take turns step by step.
 *
 * A pause is no turn of the event loop: a thread that works through turn after turn without sleeping keeps its core, and whom it wakes there (another shard, a client on the same
 * machine) waits for a core for up to 3 ms. Beside 10,000 messages per second, pages of 1,000 clients with 20 ms between, read by a program that does nothing with them: p99 of the messages
 * 2.0 to 2.6 ms without pauses (50 pages a second), 0.8 to 1.2 ms with them (36 pages), 0.3 ms where another broker is listed (37 pages).
 */
import { Fifo } from '../../base/fifo.ts';
import type { Shard } from '../../shard/shard.ts';

const SLICE_MILLISECONDS = 0.2;
/** Between two slices. */
export const PAUSE_MILLISECONDS = 1;
/** Slices that one work sees with pauses between. A search over millions would not end in time: as long as it goes on behind that, there is a slice in every turn. */
const SLICES_MAX = 500;
/** After this time nobody waits for the answer any more (`shard/asks.ts`). */
const WORK_MILLISECONDS_MAX = 9000;

interface Work {
  /** `performance.now()`. */
  readonly until: number;
  /** `Slices.count` when it began. */
  readonly begunAt: number;
  isLate: boolean;
  readonly step: () => boolean;
  readonly done: (isComplete: boolean) => void;
}

interface Slices {
  readonly works: Fifo<Work>;
  /** A slice comes, or the pause behind the last one. */
  isScheduled: boolean;
  /** That there have been. */
  count: number;
  /** Works that have seen too many. */
  late: number;
}

/** Of each shard: a process of tests has several. */
const slicesOf = new WeakMap<Shard, Slices>();

/**
 * Calls `step` until it returns false, from the next turn on. How many wait is bounded by those who ask.
 * @param step does little, well below a tenth of a millisecond
 * @param done called once; `isComplete` is false where it has taken so long that it was given up
 */
export function inSlices(shard: Shard, step: () => boolean, done: (isComplete: boolean) => void): void {
  let slices = slicesOf.get(shard);
  if (slices === undefined) {
    slices = { works: new Fifo(), isScheduled: false, count: 0, late: 0 };
    slicesOf.set(shard, slices);
  }
  slices.works.push({ until: performance.now() + WORK_MILLISECONDS_MAX, begunAt: slices.count, isLate: false, step, done });
  if (slices.isScheduled) return;
  slices.isScheduled = true;
  setImmediate(takeSlice, shard, slices);
}

function takeSlice(shard: Shard, slices: Slices): void {
  if (slices.works.count === 0) {
    slices.isScheduled = false;
    return;
  }
  shard.startTurn();
  slice(slices);
  if (slices.late > 0) setImmediate(takeSlice, shard, slices);
  // Also behind the last one: the next question is perhaps on its way.
  else setTimeout(takeSlice, PAUSE_MILLISECONDS, shard, slices);
}

function slice(slices: Slices): void {
  const { works } = slices;
  slices.count++;
  const end = performance.now() + SLICE_MILLISECONDS;
  for (;;) {
    const work = works.shift();
    if (work === undefined) return;
    const isMore = work.step();
    const now = performance.now();
    if (isMore && now <= work.until) {
      works.push(work);
      if (!work.isLate && slices.count - work.begunAt >= SLICES_MAX) {
        work.isLate = true;
        slices.late++;
      }
    } else {
      if (work.isLate) slices.late--;
      work.done(!isMore);
    }
    // What `done` has taken is looked at by the next one only: an answer is not much longer than a slice.
    if (now >= end) return;
  }
}
