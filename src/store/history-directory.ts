/**
 * HistoryDirectory: which blocks the history has, in memory: for each shard their places, first milliseconds and sizes. 32 bytes a block.
 *
 * Places of a shard follow each other without a gap; blocks leave at the beginning and come at the end. Milliseconds never go back from one to the next.
 */
import { HistoryReader } from '../journal/history-record.ts';
import { idMilliseconds } from '../journal/message-id.ts';
import { messagesOfBlock } from './history-block.ts';

/** Where a block is. */
export interface BlockPlace {
  readonly shard: number;
  readonly sequence: number;
}

/** Places before the beginning are given up when there are so many. */
const SLACK = 4096;

/** The blocks of one shard. */
export class Directory {
  /** Place of the oldest, and behind the newest. */
  begin: number;
  end: number;
  private base: number;
  private first: number[];
  private sizes: number[];

  constructor() {
    this.begin = 0;
    this.end = 0;
    this.base = 0;
    this.first = [];
    this.sizes = [];
  }

  /** Takes up a block of the disk. */
  add(sequence: number, firstMilliseconds: number, bytes: number): void {
    if (this.first.length === 0) this.startAt(sequence);
    // One that could not be written left a gap: it counts as empty.
    while (this.end < sequence) this.push(firstMilliseconds, 0);
    this.push(firstMilliseconds, bytes);
  }

  /** Where there is no block the next one has this place: earlier ones may still be named somewhere. */
  startAt(sequence: number): void {
    if (this.end > this.begin) return;
    this.base = sequence;
    this.begin = sequence;
    this.end = sequence;
    this.first = [];
    this.sizes = [];
  }

  private push(firstMilliseconds: number, bytes: number): void {
    this.first.push(firstMilliseconds);
    this.sizes.push(bytes);
    this.end++;
  }

  /** Place for a new block. */
  reserve(firstMilliseconds: number): number {
    this.push(firstMilliseconds, 0);
    return this.end - 1;
  }

  /** -1: there is no such block. */
  firstMilliseconds(sequence: number): number {
    return sequence < this.begin || sequence >= this.end ? -1 : this.first[sequence - this.base]!;
  }

  bytes(sequence: number): number {
    return sequence < this.begin || sequence >= this.end ? 0 : this.sizes[sequence - this.base]!;
  }

  setBytes(sequence: number, bytes: number): void {
    if (sequence >= this.begin && sequence < this.end) this.sizes[sequence - this.base] = bytes;
  }

  /** Place of the last block that begins before or at this moment; `begin` where there is none. */
  placeOf(milliseconds: number): number {
    let low = this.begin;
    for (let high = this.end; low < high; ) {
      const middle = (low + high) >>> 1;
      if (this.first[middle - this.base]! <= milliseconds) low = middle + 1;
      else high = middle;
    }
    return Math.max(this.begin, low - 1);
  }

  /** As `placeOf`, for the first of several blocks that begin in one millisecond or hold its messages. */
  firstPlaceOf(milliseconds: number): number {
    return this.placeOf(milliseconds - 1);
  }

  removeBefore(sequence: number): void {
    this.begin = Math.min(sequence, this.end);
    const gone = this.begin - this.base;
    if (gone < SLACK) return;
    this.first = this.first.slice(gone);
    this.sizes = this.sizes.slice(gone);
    this.base = this.begin;
  }
}

const reader = new HistoryReader();

export class HistoryDirectory {
  private readonly directories: Directory[];

  constructor() {
    this.directories = [];
  }

  of(shard: number): Directory {
    while (this.directories.length <= shard) this.directories.push(new Directory());
    return this.directories[shard]!;
  }

  shards(): { readonly shard: number; readonly directory: Directory }[] {
    return this.directories.map((directory, shard) => ({ shard, directory })).filter(({ directory }) => directory.end > directory.begin);
  }

  /** Milliseconds of the last message of a block; 0: there is none. */
  lastMillisecondsOf(block: Buffer): number {
    const last = messagesOfBlock(block).at(-1);
    if (last === undefined) return 0;
    reader.show(block, last);
    return idMilliseconds(reader.id, 0);
  }

  /** Milliseconds at which the oldest block begins; 0: there is none. */
  get oldestMilliseconds(): number {
    const all = this.shards().map(({ directory }) => directory.firstMilliseconds(directory.begin));
    return all.length === 0 ? 0 : Math.min(...all);
  }
}
