/*
 * A hash map whose keys are byte ranges: looked up in place, in a receive buffer, without a string or a copy.
 * Entries lie dense in arrays; an index table with open addressing points at them and holds their hashes beside, so that a miss rarely
 * reads anything else. Removing shifts the index backwards (no tombstones) and moves the last entry into the gap.
 * Invariant: at most half of the index is in use, and not less than a sixteenth (above the smallest size), so memory follows the size.
 *
 * Hot path.
 */

import { equalBytes } from './bytes.ts';

const SMALLEST_BITS = 4;

/** Place of a key with this hash in the order of `scanInOrder`: 32 bits, unsigned. The index is laid out by it, whatever its size. */
export function orderOf(hash: number): number {
  return Math.imul(hash, 0x9e3779b1) >>> 0;
}

/** Map from byte ranges to objects. Hashes are those of `hash32`; the map trusts that equal bytes come with equal hashes. */
export class ByteMap<V extends object> {
  /** Number of entries. */
  size = 0;
  /** Pairs: hash, entry number + 1 (0: free). */
  private index: Int32Array = new Int32Array(2 << SMALLEST_BITS);
  private bits = SMALLEST_BITS;
  private readonly keys: Uint8Array[] = [];
  private readonly hashes: number[] = [];
  private readonly values: V[] = [];

  /** The value of the key `bytes[at, end)`, or undefined. Allocates nothing. */
  get(bytes: Uint8Array, at: number, end: number, hash: number): V | undefined {
    const position = this.find(bytes, at, end, hash);
    return position < 0 ? undefined : this.values[this.index[position + 1]! - 1];
  }

  /** Sets the value of a key and returns the value that it replaces. The map owns `key` from now on: it must not change. */
  set(key: Uint8Array, hash: number, value: V): V | undefined {
    const position = this.find(key, 0, key.length, hash);
    if (position >= 0) {
      const entry = this.index[position + 1]! - 1;
      const replaced = this.values[entry];
      this.values[entry] = value;
      return replaced;
    }
    if ((this.size + 1) * 2 > 1 << this.bits) this.resize(this.bits + 1);
    this.keys.push(key);
    this.hashes.push(hash);
    this.values.push(value);
    this.size++;
    this.place(hash, this.size);
    return undefined;
  }

  /** Removes the key `bytes[at, end)` and returns its value, or undefined when there is none. */
  delete(bytes: Uint8Array, at: number, end: number, hash: number): V | undefined {
    const position = this.find(bytes, at, end, hash);
    if (position < 0) return undefined;
    const entry = this.index[position + 1]! - 1;
    const value = this.values[entry]!;
    this.free(position);
    const last = this.size - 1;
    const lastKey = this.keys.pop()!;
    const lastHash = this.hashes.pop()!;
    const lastValue = this.values.pop()!;
    if (entry !== last) {
      this.index[this.positionOf(lastHash, last + 1) + 1] = entry + 1;
      this.keys[entry] = lastKey;
      this.hashes[entry] = lastHash;
      this.values[entry] = lastValue;
    }
    this.size = last;
    if (this.bits > SMALLEST_BITS && this.size * 16 < 1 << this.bits) this.resize(Math.max(this.bits - 2, SMALLEST_BITS));
    return value;
  }

  /** Removes everything. */
  clear(): void {
    this.size = 0;
    this.bits = SMALLEST_BITS;
    this.index = new Int32Array(2 << SMALLEST_BITS);
    this.keys.length = 0;
    this.hashes.length = 0;
    this.values.length = 0;
  }

  /**
   * Visits up to `count` values and returns the cursor for the next slice, or -1 at the end. The first slice has the cursor 0.
   * Entries may come and go between slices and inside `visit`: what exists during the whole scan is visited at least once (twice, where
   * a removal has moved it), what is added meanwhile may be left out. Growth and shrinking change nothing about that.
   */
  scan(cursor: number, count: number, visit: (value: V) => void): number {
    // From the last entry down: a removal moves only the last entry, to a lower number, so nothing unvisited moves behind the cursor.
    let next = cursor === 0 || cursor > this.size ? this.size : cursor;
    for (let left = count; left > 0 && next > 0; left--) {
      next--;
      visit(this.values[next]!);
      if (next > this.size) next = this.size;
    }
    return next <= 0 ? -1 : next;
  }

  /**
   * Visits the entries of about `places` places of the index, from the order `from` on (the first slice has 0); within a slice in no order. No matter what comes and goes
   * between slices, and how the map grows: what exists during the whole scan is visited exactly once. The map must not change inside `visit`.
   * @returns the order that the next slice begins with: whatever comes before it has been visited; -1 at the end
   */
  scanInOrder(from: number, places: number, visit: (value: V, order: number) => void): number {
    const { index, bits } = this;
    const mask = index.length - 1;
    const shift = 32 - bits;
    const home = from >>> shift;
    const endHome = home + Math.max(1, places);
    // An entry lies behind its home with no gap between: all of these homes are seen when the last of them and the run that it may stand in are.
    let left = 1 << bits;
    for (let place = home; left > 0; place++, left--) {
      const position = (place << 1) & mask;
      const entry = index[position + 1]!;
      if (entry === 0) {
        if (place >= endHome) break;
        continue;
      }
      const order = orderOf(index[position]!);
      const itsHome = order >>> shift;
      if (itsHome >= home && itsHome < endHome && order >= from) visit(this.values[entry - 1]!, order);
    }
    return endHome >= 1 << bits ? -1 : (endHome << shift) >>> 0;
  }

  /** Where the index pair of a key lies, or -1. */
  private find(bytes: Uint8Array, at: number, end: number, hash: number): number {
    const index = this.index;
    const mask = index.length - 1;
    // The low bits choose the shard and are therefore alike in all keys of one shard: the product's high bits choose the place.
    let position = (Math.imul(hash, 0x9e3779b1) >>> (32 - this.bits)) << 1;
    for (;;) {
      const entry = index[position + 1]!;
      if (entry === 0) return -1;
      if (index[position] === hash && this.holds(entry - 1, bytes, at, end)) return position;
      position = (position + 2) & mask;
    }
  }

  private holds(entry: number, bytes: Uint8Array, at: number, end: number): boolean {
    const key = this.keys[entry]!;
    return equalBytes(key, 0, key.length, bytes, at, end);
  }

  /** Where the index pair of an entry lies (entry number + 1, which is in the index for certain). */
  private positionOf(hash: number, entry: number): number {
    const index = this.index;
    const mask = index.length - 1;
    let position = (Math.imul(hash, 0x9e3779b1) >>> (32 - this.bits)) << 1;
    while (index[position + 1] !== entry) position = (position + 2) & mask;
    return position;
  }

  private place(hash: number, entry: number): void {
    const index = this.index;
    const mask = index.length - 1;
    let position = (Math.imul(hash, 0x9e3779b1) >>> (32 - this.bits)) << 1;
    while (index[position + 1] !== 0) position = (position + 2) & mask;
    index[position] = hash;
    index[position + 1] = entry;
  }

  /** Frees an index pair: each later pair of the same run that may lie further ahead moves into the gap. */
  private free(position: number): void {
    const index = this.index;
    const mask = index.length - 1;
    const shift = 32 - this.bits;
    let gap = position;
    let next = (gap + 2) & mask;
    while (index[next + 1] !== 0) {
      const home = (Math.imul(index[next]!, 0x9e3779b1) >>> shift) << 1;
      if (((next - home) & mask) >= ((next - gap) & mask)) {
        index[gap] = index[next]!;
        index[gap + 1] = index[next + 1]!;
        gap = next;
      }
      next = (next + 2) & mask;
    }
    index[gap] = 0;
    index[gap + 1] = 0;
  }

  private resize(bits: number): void {
    this.bits = bits;
    this.index = new Int32Array(2 << bits);
    for (let entry = 0; entry < this.size; entry++) this.place(this.hashes[entry]!, entry + 1);
  }
}
