/**
 * HistoryIndex: which blocks of the history may hold what is asked for. What a block has is known by hashes of 32 bits.
 *
 *   table index:     [segment, first hash, page] → sorted pairs | u32 hash | u32 block of the segment |
 *   table segments:  [segment] → the blocks of the segment: f64 shard and place, …
 *
 * A segment is over some MB of closed blocks, written once, in order; what has no segment yet is indexed in memory. So a message costs a part of a put, however many
 * topics there are.
 */
import type { HashList } from './hash-list.ts';
import type { BlockPlace, Directory, HistoryDirectory } from './history-directory.ts';
import type { HistoryFile } from './history-file.ts';

/** Bytes, blocks and pairs that one segment is over. */
const SEGMENT_BYTES = 16 * 1024 * 1024;
const SEGMENT_BLOCKS = 2048;
const SEGMENT_PAIRS = 256 * 1024;
/** Pairs of one page of the index: they fill one page of the file. */
const PAGE_PAIRS = 500;
const PAGE_BYTES = 4096;
/** Pages of the file that a page of the index adds, halves: itself, and a part of a leaf that names it. */
const HALF_PAGES_PER_PAGE = 3;
/** Keys of the index that one leaf holds at least: its values lie in pages of their own. */
const KEYS_PER_LEAF = 8;
const SHARD_FACTOR = 2 ** 40;
/** Messages of the last block of a segment are not much later than it begins. */
const BLOCK_MILLISECONDS_MAX = 120_000;

export interface Segment {
  readonly number: number;
  readonly firstMilliseconds: number;
  readonly lastMilliseconds: number;
  /** Shard and place, as one number each. */
  readonly blocks: Float64Array;
}

/** What the index writes, and what it may add to the file. */
export interface IndexWrite {
  readonly bytes: number;
  /** Within a transaction. */
  readonly run: () => void;
  /** When it is on disk. */
  readonly done: () => void;
}

export class HistoryIndex {
  private readonly directory: HistoryDirectory;
  private readonly file: HistoryFile;
  private readonly segments: Segment[];
  private nextSegment: number;
  /** Pairs of hash and place in `recentBlocks` that no segment has, in the order of the places. */
  private recentHashes: Uint32Array;
  private recentPlaces: Uint32Array;
  private recentCount: number;
  private recentBlocks: BlockPlace[];
  private recentBytes: number;
  private readonly sorter: PairSorter;

  constructor(directory: HistoryDirectory, file: HistoryFile) {
    this.directory = directory;
    this.file = file;
    this.segments = [];
    this.nextSegment = 1;
    this.recentHashes = new Uint32Array(16_384);
    this.recentPlaces = new Uint32Array(16_384);
    this.recentCount = 0;
    this.recentBlocks = [];
    this.recentBytes = 0;
    this.sorter = new PairSorter();
  }

  /** Takes up the segments that are there. @returns place of the last block that they cover, by shard; -1: none */
  read(shards: number): number[] {
    const covered = new Array<number>(shards).fill(-1);
    for (const { key, value } of this.file.segments.getRange()) {
      const blocks = new Float64Array(value.length / 8);
      for (let i = 0; i < blocks.length; i++) blocks[i] = value.readDoubleLE(i * 8);
      this.addSegment(key, blocks);
      this.nextSegment = key + 1;
      for (const place of blocks) covered[Math.floor(place / SHARD_FACTOR)] = place % SHARD_FACTOR;
    }
    return covered;
  }

  private addSegment(number: number, blocks: Float64Array): void {
    let first = Number.POSITIVE_INFINITY;
    let last = 0;
    for (const place of blocks) {
      const at = this.directory.of(Math.floor(place / SHARD_FACTOR)).firstMilliseconds(place % SHARD_FACTOR);
      if (at < 0) continue;
      first = Math.min(first, at);
      last = Math.max(last, at);
    }
    this.segments.push({ number, firstMilliseconds: first, lastMilliseconds: last + BLOCK_MILLISECONDS_MAX, blocks });
  }

  /** A block that is not changed any more. */
  add({ shard, sequence }: BlockPlace, hashes: HashList, bytes: number): void {
    const place = this.recentBlocks.length;
    this.recentBlocks.push({ shard, sequence });
    this.recentBytes += bytes;
    if (this.recentCount + hashes.count > this.recentHashes.length) {
      const length = Math.max(this.recentHashes.length * 2, this.recentCount + hashes.count);
      this.recentHashes = grown(this.recentHashes, length);
      this.recentPlaces = grown(this.recentPlaces, length);
    }
    for (let i = 0; i < hashes.count; i++) {
      this.recentHashes[this.recentCount] = hashes.at(i);
      this.recentPlaces[this.recentCount++] = place;
    }
  }

  /** Whether a segment is to be written before more blocks come. */
  get isDue(): boolean {
    return this.recentBytes >= SEGMENT_BYTES || this.recentBlocks.length >= SEGMENT_BLOCKS;
  }

  get segmentCount(): number {
    return this.segments.length;
  }

  /** The next segment: over the recent blocks, or as many of them as it may be over. */
  nextWrite(): IndexWrite {
    const { recentHashes, recentPlaces } = this;
    let blockCount = this.recentBlocks.length;
    let count = this.recentCount;
    if (count > SEGMENT_PAIRS) {
      blockCount = Math.max(1, recentPlaces[SEGMENT_PAIRS]!);
      count = SEGMENT_PAIRS;
      while (count < this.recentCount && recentPlaces[count]! < blockCount) count++;
      while (count > 0 && recentPlaces[count - 1]! >= blockCount) count--;
    }
    const pairs = this.sorter.sort(recentHashes, recentPlaces, count);
    const number = this.nextSegment;
    const blocks = Float64Array.from(this.recentBlocks.slice(0, blockCount), ({ shard, sequence }) => shard * SHARD_FACTOR + sequence);
    const pages = Math.ceil(count / PAGE_PAIRS);
    return {
      bytes: (pages * HALF_PAGES_PER_PAGE * PAGE_BYTES) / 2 + blocks.length * 8,
      run: () => this.write(number, pairs, blocks, pages),
      done: () => {
        this.nextSegment++;
        this.addSegment(number, blocks);
        this.forgetRecent(blockCount, count);
      },
    };
  }

  private write(number: number, pairs: Uint32Array<ArrayBuffer>, blocks: Float64Array, pages: number): void {
    // What a commit has left that failed, and stands there all the same.
    for (const key of [...this.file.index.getKeys({ start: [number], end: [number + 1] })]) this.file.index.removeSync(key);
    for (let page = 0; page < pages; page++) {
      const from = page * PAGE_PAIRS * 2;
      const end = Math.min(pairs.length, from + PAGE_PAIRS * 2);
      this.file.index.putSync([number, pairs[from]!, page], Buffer.from(pairs.buffer, from * 4, (end - from) * 4));
    }
    const image = Buffer.allocUnsafe(blocks.length * 8);
    for (let i = 0; i < blocks.length; i++) image.writeDoubleLE(blocks[i]!, i * 8);
    this.file.segments.putSync(number, image);
  }

  private forgetRecent(blocks: number, pairs: number): void {
    this.recentHashes.copyWithin(0, pairs, this.recentCount);
    this.recentPlaces.copyWithin(0, pairs, this.recentCount);
    this.recentCount -= pairs;
    for (let i = 0; i < this.recentCount; i++) this.recentPlaces[i]! -= blocks;
    this.recentBlocks = this.recentBlocks.slice(blocks);
    this.recentBytes = 0;
    for (const { shard, sequence } of this.recentBlocks) this.recentBytes += this.directory.of(shard).bytes(sequence);
  }

  /** Names each block that may hold what is asked for by this hash, of messages from `from` to `to`. */
  lookUp(hash: number, from: number, to: number, add: (shard: number, sequence: number) => void): void {
    for (const { number, blocks, firstMilliseconds, lastMilliseconds } of this.segments) {
      if (firstMilliseconds > to || lastMilliseconds < from) continue;
      for (const at of this.lookUpSegment(number, hash)) {
        const place = blocks[at];
        if (place !== undefined) add(Math.floor(place / SHARD_FACTOR), place % SHARD_FACTOR);
      }
    }
    for (let i = 0; i < this.recentCount; i++) {
      if (this.recentHashes[i] !== hash) continue;
      const { shard, sequence } = this.recentBlocks[this.recentPlaces[i]!]!;
      add(shard, sequence);
    }
  }

  private lookUpSegment(number: number, hash: number): number[] {
    const places: number[] = [];
    for (const { key, value } of this.file.index.getRange({ start: [number, hash, PAGE_BYTES * 1024], end: [number], reverse: true })) {
      let low = 0;
      for (let high = value.length / 8; low < high; ) {
        const middle = (low + high) >>> 1;
        if (value.readUInt32LE(middle * 8) < hash) low = middle + 1;
        else high = middle;
      }
      for (; low * 8 < value.length && value.readUInt32LE(low * 8) === hash; low++) places.push(value.readUInt32LE(low * 8 + 4));
      // Those of one hash may go on from the page before.
      if (key[1]! < hash) break;
    }
    return places;
  }

  /** Segments that have no block any more where directories begin at these places. */
  dead(begins: ReadonlyMap<Directory, number>): Segment[] {
    return this.segments.filter(({ blocks }) => {
      for (const place of blocks) {
        const directory = this.directory.of(Math.floor(place / SHARD_FACTOR));
        if (place % SHARD_FACTOR >= (begins.get(directory) ?? directory.begin)) return false;
      }
      return true;
    });
  }

  /** What removes these segments. `removals`: as many keys of small values cost as much. */
  removal(segments: readonly Segment[]): { readonly removals: number; readonly run: () => void; readonly done: () => void } {
    const keys = segments.flatMap(({ number }) => [...this.file.index.getKeys({ start: [number], end: [number + 1] })]);
    return {
      removals: segments.length + Math.ceil(keys.length / KEYS_PER_LEAF),
      run: () => {
        for (const key of keys) this.file.index.removeSync(key);
        for (const { number } of segments) this.file.segments.removeSync(number);
      },
      done: () => {
        for (const segment of segments) this.segments.splice(this.segments.indexOf(segment), 1);
      },
    };
  }
}

const DIGIT_BITS = 11;
const DIGITS = 1 << DIGIT_BITS;

/**
 * Sorts pairs of a hash and its place by hash; those of one hash stay in their order. A radix sort: 250,000 pairs took 12 ms, and a sort by comparing 28 ms
 * (native-bench/micro/history-index.bench.ts). It keeps its memory, as the blocks do.
 */
export class PairSorter {
  private from: Uint32Array<ArrayBuffer>;
  private to: Uint32Array<ArrayBuffer>;

  constructor() {
    this.from = new Uint32Array(0);
    this.to = new Uint32Array(0);
  }

  /**
   * @param count of them are sorted
   * @returns hash, place, hash, place …; valid until the next call
   */
  sort(hashes: Uint32Array, places: Uint32Array, count: number): Uint32Array<ArrayBuffer> {
    if (this.from.length < count * 2) {
      this.from = new Uint32Array(count * 2);
      this.to = new Uint32Array(count * 2);
    }
    let { from, to } = this;
    const end = count * 2;
    for (let i = 0; i < count; i++) {
      from[2 * i] = hashes[i]!;
      from[2 * i + 1] = places[i]!;
    }
    const starts = new Uint32Array(DIGITS);
    for (let shift = 0; shift < 32; shift += DIGIT_BITS) {
      starts.fill(0);
      for (let i = 0; i < end; i += 2) starts[(from[i]! >>> shift) & (DIGITS - 1)]!++;
      let start = 0;
      for (let digit = 0; digit < DIGITS; digit++) {
        const next = start + 2 * starts[digit]!;
        starts[digit] = start;
        start = next;
      }
      for (let i = 0; i < end; i += 2) {
        const digit = (from[i]! >>> shift) & (DIGITS - 1);
        const at = starts[digit]!;
        to[at] = from[i]!;
        to[at + 1] = from[i + 1]!;
        starts[digit] = at + 2;
      }
      const sorted = to;
      to = from;
      from = sorted;
    }
    return from.subarray(0, end);
  }
}

function grown(array: Uint32Array, length: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(length);
  larger.set(array);
  return larger;
}
