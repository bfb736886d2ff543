/**
 * OutputBlocks: buffers for what connections send in one loop turn, lent and given back. An idle connection holds none, which is why 15,000 of them are cheap.
 *
 * Size classes are powers of two from 2 KiB; each class keeps a bounded number of free blocks, the rest goes to the garbage collector.
 *
 * Hot path.
 */
const SMALLEST_SHIFT = 11;
const CLASSES = 12;
/** Free bytes that a class may keep. */
const KEEP_BYTES = 4 * 1024 * 1024;

export class OutputBlocks {
  private readonly free: Uint8Array[][];

  constructor() {
    this.free = [];
    for (let i = 0; i < CLASSES; i++) this.free.push([]);
  }

  /** A block of at least `length` bytes. */
  take(length: number): Uint8Array {
    const size = length <= 1 << SMALLEST_SHIFT ? 0 : 32 - Math.clz32(length - 1) - SMALLEST_SHIFT;
    if (size >= CLASSES) return Buffer.allocUnsafeSlow(length);
    const block = this.free[size]!.pop();
    return block === undefined ? Buffer.allocUnsafeSlow(1 << (size + SMALLEST_SHIFT)) : block;
  }

  give(block: Uint8Array): void {
    const size = 31 - Math.clz32(block.length) - SMALLEST_SHIFT;
    if (size < 0 || size >= CLASSES || block.length !== 1 << (size + SMALLEST_SHIFT)) return;
    const list = this.free[size]!;
    if (list.length * block.length < KEEP_BYTES) list.push(block);
  }
}
