/**
 * Measures: how long things take, and how each thread is, in shared memory: one row for each shard, one for the supervisor and one for the store's thread, each row written
 * by its own thread only and read by anyone.
 *
 *   row: | vitals | turn: sum, buckets | commit: sum, buckets | …                 all float64
 *
 * A histogram has fixed buckets, four for each doubling from 1 µs to 18 minutes: to add is one shift and two adds, without a lock or an object. 6 ns
 * (native-bench/micro/measures.bench.ts); what runs per message is counted, and added once for a turn. A P2P message, 50 in a turn, took the shard 496 ns with all this and 501
 * before at QoS 0, 655 and 641 at QoS 1, the network aside, which takes some 4 µs more.
 *
 * Hot path.
 */

/** What is measured, and whether by shard. Times are of this broker: nothing of them is spent in the network. */
export const HISTOGRAMS = [
  'turn',
  'gc',
  'commit',
  'acknowledge-1',
  'acknowledge-2',
  'hop',
  'queue',
  'connect',
  'http-data',
  'http-management',
  'http-open',
] as const;

export type HistogramName = (typeof HISTOGRAMS)[number];

/** How a thread is, as of the last second. */
export const VITALS = [
  'heap-used',
  'heap-total',
  'heap-limit',
  'external',
  /** Part of the last second that the loop was busy, 0 to 1. */
  'utilization',
  /** Seconds that the loop was held up at the longest in the last second. */
  'lag',
] as const;

export type VitalName = (typeof VITALS)[number];

const BUCKETS = 116;
const HISTOGRAM_WORDS = 1 + BUCKETS;
const VITAL_WORDS = 16;
const ROW_WORDS = (VITAL_WORDS + HISTOGRAMS.length * HISTOGRAM_WORDS + 7) & ~7;
/** Rows beside those of the shards: the supervisor's and the store's. */
const OTHER_ROWS = 2;
/** Longest time that is told apart, in microseconds; times are differences of clocks modulo this. */
export const MICROSECONDS_MASK = 0x3fffffff;

/** Bucket of a time in whole microseconds, 0 to 2^30 - 1. */
export function bucketOf(microseconds: number): number {
  if (microseconds < 4) return microseconds;
  const octave = 31 - Math.clz32(microseconds);
  return ((octave - 1) << 2) | ((microseconds >>> (octave - 2)) & 3);
}

/** First microsecond that is not in the bucket any more. */
export function bucketEnd(bucket: number): number {
  if (bucket < 4) return bucket + 1;
  return (5 + (bucket & 3)) * 2 ** ((bucket >> 2) - 1);
}

/** One histogram in a row. */
export class Histogram {
  private readonly words: Float64Array;

  constructor(words: Float64Array) {
    this.words = words;
  }

  /** Adds a time, `count` times. @param microseconds negative ones count as 0 */
  add(microseconds: number, count: number = 1): void {
    const whole = microseconds > 0 ? (microseconds < MICROSECONDS_MASK ? microseconds | 0 : MICROSECONDS_MASK) : 0;
    const { words } = this;
    words[0]! += whole * count;
    words[1 + bucketOf(whole)]! += count;
  }
}

/** One thread's row. */
export class Measures {
  readonly turn: Histogram;
  readonly gc: Histogram;
  readonly commit: Histogram;
  readonly acknowledge1: Histogram;
  readonly acknowledge2: Histogram;
  readonly hop: Histogram;
  readonly queue: Histogram;
  readonly connect: Histogram;
  readonly httpData: Histogram;
  readonly httpManagement: Histogram;
  readonly httpOpen: Histogram;
  readonly vitals: Float64Array;
  /** Longest turn since the vitals were taken, in microseconds. */
  longestTurn: number;

  /** @param row 0 to `shards - 1`, or `supervisorRow`, `storeRow` */
  constructor(shared: SharedArrayBuffer, row: number) {
    const at = row * ROW_WORDS;
    const histogram = (name: HistogramName): Histogram =>
      new Histogram(new Float64Array(shared, histogramAt(at, HISTOGRAMS.indexOf(name)) * 8, HISTOGRAM_WORDS));
    this.vitals = new Float64Array(shared, at * 8, VITALS.length);
    this.turn = histogram('turn');
    this.gc = histogram('gc');
    this.commit = histogram('commit');
    this.acknowledge1 = histogram('acknowledge-1');
    this.acknowledge2 = histogram('acknowledge-2');
    this.hop = histogram('hop');
    this.queue = histogram('queue');
    this.connect = histogram('connect');
    this.httpData = histogram('http-data');
    this.httpManagement = histogram('http-management');
    this.httpOpen = histogram('http-open');
    this.longestTurn = 0;
  }

  /** A turn is over. */
  turnEnded(microseconds: number): void {
    this.turn.add(microseconds);
    if (microseconds > this.longestTurn) this.longestTurn = microseconds;
  }
}

function histogramAt(row: number, index: number): number {
  return row + VITAL_WORDS + index * HISTOGRAM_WORDS;
}

export function measuresBytes(shards: number): number {
  return (shards + OTHER_ROWS) * ROW_WORDS * 8;
}

export function supervisorRow(shards: number): number {
  return shards;
}

export function storeRow(shards: number): number {
  return shards + 1;
}

/** A histogram as it is read: of one thread, or of several together. */
export interface Distribution {
  readonly sumMicroseconds: number;
  readonly count: number;
  /** By bucket. */
  readonly counts: Float64Array;
}

/** Reads the rows that any thread has written. */
export class MeasuresReader {
  readonly shards: number;
  private readonly words: Float64Array;

  constructor(shared: SharedArrayBuffer, shards: number) {
    this.words = new Float64Array(shared);
    this.shards = shards;
  }

  vital(row: number, name: VitalName): number {
    return this.words[row * ROW_WORDS + VITALS.indexOf(name)]!;
  }

  /** @param row of one thread; -1: all shards together */
  distribution(name: HistogramName, row: number): Distribution {
    const index = HISTOGRAMS.indexOf(name);
    const counts = new Float64Array(BUCKETS);
    let sumMicroseconds = 0;
    let count = 0;
    const first = Math.max(row, 0);
    const last = row < 0 ? this.shards - 1 : row;
    for (let one = first; one <= last; one++) {
      const at = histogramAt(one * ROW_WORDS, index);
      sumMicroseconds += this.words[at]!;
      for (let bucket = 0; bucket < BUCKETS; bucket++) {
        const found = this.words[at + 1 + bucket]!;
        counts[bucket]! += found;
        count += found;
      }
    }
    return { sumMicroseconds, count, counts };
  }
}

/**
 * The time that `part` of a distribution does not exceed, in microseconds; null when it is empty.
 * @param before an earlier reading of the same: only what has come since counts
 */
export function quantile(now: Distribution, part: number, before: Distribution | null): number | null {
  const total = now.count - (before?.count ?? 0);
  if (total <= 0) return null;
  let left = Math.max(1, Math.ceil(total * part));
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    left -= now.counts[bucket]! - (before?.counts[bucket] ?? 0);
    if (left <= 0) return bucketEnd(bucket);
  }
  return bucketEnd(BUCKETS - 1);
}
