/**
 * HistoryTally: what has become of messages of the history, in shared memory, so that it outlives the history's thread. Written by that thread alone.
 */
const LOST = 0;
const WAITING = 1;
const EVICTED_BYTES = 2;
const WORDS = 3;

export class HistoryTally {
  readonly shared: SharedArrayBuffer;
  private readonly words: Float64Array;

  constructor(shared: SharedArrayBuffer = new SharedArrayBuffer(WORDS * 8)) {
    this.shared = shared;
    this.words = new Float64Array(shared);
  }

  /** Messages that are not kept although their shard had handed them over. */
  get lost(): number {
    return this.words[LOST]!;
  }

  set lost(count: number) {
    this.words[LOST] = count;
  }

  /** Messages that the thread has taken and that are not on disk. */
  get waiting(): number {
    return this.words[WAITING]!;
  }

  set waiting(count: number) {
    this.words[WAITING] = count;
  }

  /** Bytes of messages that were removed before their time, because the disk was full. */
  get evictedBytes(): number {
    return this.words[EVICTED_BYTES]!;
  }

  set evictedBytes(bytes: number) {
    this.words[EVICTED_BYTES] = bytes;
  }
}
