/**
 * A queue of bytes between exactly two threads: one producer, one consumer, no lock.
 *
 *   SharedArrayBuffer: | head (consumer) .. 64 B | tail (producer) .. 64 B | data: capacity bytes, a power of two |
 *   data:              | frame | frame | skip to the end |                    ^ head ............ ^ tail
 *   frame:             | u32 body length | u32 type word | body, padded to 8 |
 *
 * Head and tail only grow (modulo 2^32) and lie on cache lines of their own. A frame never wraps: where it would, a skip marker fills the rest.
 * The producer writes frames and makes them visible together by one `publish()`; the consumer walks them and gives the room back by one `release()`.
 * Invariant: 0 <= tail - head <= capacity. The bytes of a frame belong to the consumer from publish to release.
 *
 * Hot path.
 */
import { assert } from './assert.ts';
import { type ViewedBytes, withView } from './bytes.ts';

const HEAD_WORD = 0;
const TAIL_WORD = 16;
const DATA_AT = 128;
/** Before the body of each frame: its length and its type word. */
export const RING_FRAME_HEADER_BYTES = 8;
const SKIP = 0xffffffff | 0;

/** Bytes of SharedArrayBuffer that a ring of `capacity` bytes (a power of two, at least 4096) takes. */
export function ringBufferBytes(capacity: number): number {
  assert(capacity >= 4096 && (capacity & (capacity - 1)) === 0, 'ring capacity is a power of two of at least 4096');
  return DATA_AT + capacity;
}

/** Body bytes that a single frame may have: a quarter of the ring, so that one frame cannot starve the rest. */
export function ringFrameBytesMax(capacity: number): number {
  return (capacity >>> 2) - RING_FRAME_HEADER_BYTES;
}

/** Bytes that a frame takes in the ring, with its header, of a body of `length` bytes. */
export function ringFrameBytes(length: number): number {
  return (RING_FRAME_HEADER_BYTES + length + 7) & ~7;
}

/** The producing end. Owned by one thread. */
export class RingProducer {
  /** The whole buffer as bytes; `reserve` answers offsets into it. */
  readonly bytes: ViewedBytes<Buffer>;
  private readonly words: Int32Array;
  private readonly capacity: number;
  private readonly mask: number;
  private tail: number;
  private published: number;
  private headSeen: number;
  private reservedAt: number;
  /** Index at which the reserved frame begins: the tail, or the next lap where a skip marker goes before it. */
  private reservedTail: number;

  constructor(shared: SharedArrayBuffer) {
    this.bytes = withView(Buffer.from(shared));
    this.words = new Int32Array(shared);
    this.capacity = shared.byteLength - DATA_AT;
    this.mask = this.capacity - 1;
    this.tail = Atomics.load(this.words, TAIL_WORD) >>> 0;
    this.published = this.tail;
    this.headSeen = Atomics.load(this.words, HEAD_WORD) >>> 0;
    this.reservedAt = 0;
    this.reservedTail = this.tail;
  }

  /**
   * Room for a frame body of `length` bytes, contiguous.
   * @returns offset into `bytes`, or -1 when the ring is full: queue the frame elsewhere and stop reading what feeds it.
   */
  reserve(length: number): number {
    const need = ringFrameBytes(length);
    const offset = this.tail & this.mask;
    const toEnd = this.capacity - offset;
    const total = need <= toEnd ? need : toEnd + need;
    // The consumer's index is reread only when the cached one says full: a shared cache line is touched once per lap, not once per frame.
    if (this.capacity - ((this.tail - this.headSeen) >>> 0) < total) {
      this.headSeen = Atomics.load(this.words, HEAD_WORD) >>> 0;
      if (this.capacity - ((this.tail - this.headSeen) >>> 0) < total) return -1;
    }
    // The tail moves at commit only: a marker without a frame behind it would send the consumer to bytes of the lap before.
    if (need > toEnd) {
      this.words[(DATA_AT + offset) >>> 2] = SKIP;
      this.reservedTail = (this.tail + toEnd) >>> 0;
    } else {
      this.reservedTail = this.tail;
    }
    this.reservedAt = DATA_AT + (this.reservedTail & this.mask);
    return this.reservedAt + RING_FRAME_HEADER_BYTES;
  }

  /** Ends the frame begun by the last `reserve`; `length` may be smaller than what was reserved. Not visible before `publish`. */
  commit(typeWord: number, length: number): void {
    const word = this.reservedAt >>> 2;
    this.words[word] = length;
    this.words[word + 1] = typeWord;
    this.tail = (this.reservedTail + ringFrameBytes(length)) >>> 0;
  }

  /** Makes all committed frames visible. @returns whether there was anything to show. */
  publish(): boolean {
    if (this.published === this.tail) return false;
    this.published = this.tail;
    Atomics.store(this.words, TAIL_WORD, this.tail | 0);
    return true;
  }

  /** Bytes that the consumer has not given back, as far as this end knows. */
  usedBytes(): number {
    this.headSeen = Atomics.load(this.words, HEAD_WORD) >>> 0;
    return (this.tail - this.headSeen) >>> 0;
  }
}

/** The consuming end. Owned by one thread. */
export class RingConsumer {
  /** The whole buffer as bytes; `frameAt` and `frameEnd` are offsets into it. */
  readonly bytes: ViewedBytes<Buffer>;
  frameType: number;
  frameAt: number;
  frameEnd: number;
  private readonly words: Int32Array;
  private readonly capacity: number;
  private readonly mask: number;
  private head: number;
  private released: number;
  private tailSeen: number;

  constructor(shared: SharedArrayBuffer) {
    this.bytes = withView(Buffer.from(shared));
    this.words = new Int32Array(shared);
    this.capacity = shared.byteLength - DATA_AT;
    this.mask = this.capacity - 1;
    this.head = Atomics.load(this.words, HEAD_WORD) >>> 0;
    this.released = this.head;
    this.tailSeen = this.head;
    this.frameType = 0;
    this.frameAt = 0;
    this.frameEnd = 0;
  }

  /** Steps to the next frame and sets `frameType`, `frameAt`, `frameEnd`. @returns false when there is none. */
  next(): boolean {
    if (this.head === this.tailSeen) {
      this.tailSeen = Atomics.load(this.words, TAIL_WORD) >>> 0;
      if (this.head === this.tailSeen) return false;
    }
    let at = DATA_AT + (this.head & this.mask);
    let length = this.words[at >>> 2]!;
    if (length === SKIP) {
      this.head = (this.head + this.capacity - (this.head & this.mask)) >>> 0;
      at = DATA_AT;
      length = this.words[at >>> 2]!;
    }
    this.frameType = this.words[(at >>> 2) + 1]!;
    this.frameAt = at + RING_FRAME_HEADER_BYTES;
    this.frameEnd = this.frameAt + length;
    this.head = (this.head + ringFrameBytes(length)) >>> 0;
    return true;
  }

  /**
   * Bytes that stand behind each other from the next frame on, and may be copied at once: frames, the last of which may be cut, or the mark where the ring begins anew.
   * @param most of them; what is taken of them, whole frames, is told to `advance`
   * @returns how many, from `frameAt` on; 0: there are none
   */
  readable(most: number): number {
    if (this.head === this.tailSeen) this.tailSeen = Atomics.load(this.words, TAIL_WORD) >>> 0;
    const offset = this.head & this.mask;
    this.frameAt = DATA_AT + offset;
    return Math.min((this.tailSeen - this.head) >>> 0, this.capacity - offset, most);
  }

  /** Steps over so many bytes. */
  advance(bytes: number): void {
    this.head = (this.head + bytes) >>> 0;
  }

  /** Gives the room of every frame walked so far back to the producer. Their bytes must not be read afterwards. */
  release(): void {
    if (this.released === this.head) return;
    this.released = this.head;
    Atomics.store(this.words, HEAD_WORD, this.head | 0);
  }

  /** Whether a published frame waits. */
  hasFrames(): boolean {
    return this.head !== this.tailSeen || this.head !== Atomics.load(this.words, TAIL_WORD) >>> 0;
  }
}
