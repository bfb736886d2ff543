/**
 * OutputBlocks: buffers for what connections send in one loop turn, lent and given back. An idle connection holds none, which is why 15,000 of them are cheap.
 *
 * Size classes are powers of two from 256 bytes; each class keeps a bounded number of free blocks, the rest goes to the garbage collector. The smallest
 * ones are cut from one larger buffer, so that the output of a thousand connections lies close together.
 *
 * Hot path.
 */
import { type ViewedBytes, withView } from '../base/bytes.ts';

const SMALLEST_SHIFT = 8;
const CLASSES = 15;
const SLAB_BYTES = 64 * 1024;
/** Free bytes that a class may keep. */
const KEEP_BYTES = 4 * 1024 * 1024;

export class OutputBlocks {
  private readonly free: ViewedBytes[][];

  constructor() {
    this.free = [];
    for (let i = 0; i < CLASSES; i++) this.free.push([]);
  }

  /** A block of at least `length` bytes. */
  take(length: number): ViewedBytes {
    const size = length <= 1 << SMALLEST_SHIFT ? 0 : 32 - Math.clz32(length - 1) - SMALLEST_SHIFT;
    if (size >= CLASSES) return withView(Buffer.allocUnsafeSlow(length));
    const block = this.free[size]!.pop();
    if (block !== undefined) return block;
    return size === 0 ? this.cut() : withView(Buffer.allocUnsafeSlow(1 << (size + SMALLEST_SHIFT)));
  }

  /** One of the smallest blocks; the others of its slab are free from now on. */
  private cut(): ViewedBytes {
    const slab = new ArrayBuffer(SLAB_BYTES);
    const size = 1 << SMALLEST_SHIFT;
    for (let at = SLAB_BYTES - size; at > 0; at -= size) this.free[0]!.push(withView(Buffer.from(slab, at, size)));
    return withView(Buffer.from(slab, 0, size));
  }

  give(block: ViewedBytes): void {
    const size = 31 - Math.clz32(block.length) - SMALLEST_SHIFT;
    if (size < 0 || size >= CLASSES || block.length !== 1 << (size + SMALLEST_SHIFT)) return;
    const list = this.free[size]!;
    if (list.length * block.length < KEEP_BYTES) list.push(block);
  }
}
