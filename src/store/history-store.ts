/**
 * HistoryStore: the messages of the history in an LMDB environment of their own, in blocks, and the index over them (`history-index.ts`).
 *
 *   table blocks:    [shard, place, first milliseconds, bytes] → block
 *   table traces:    [Message ID, number] → event as JSON
 *
 * Messages of one shard are in the order of their IDs, within a block and from block to block.
 *
 *   disk full: the room that was set aside is left ─▶ the oldest blocks go ─▶ new ones take their pages, in small transactions, and the file does not grow
 *
 * Owned by one thread. A commit is in the store or not; the newest second may be missing after a crash.
 */
import { RING_FRAME_HEADER_BYTES } from '../base/ring.ts';
import { idFloor, idMilliseconds } from '../journal/message-id.ts';
import { BLOCK_BYTES, countOfBlock, HistoryBlock, hashesOfBlock, isMessageFrame } from './history-block.ts';
import { type BlockPlace, type Directory, HistoryDirectory } from './history-directory.ts';
import { HistoryFile } from './history-file.ts';
import { HistoryIndex } from './history-index.ts';
import { isFull } from './store-room.ts';

/** Shards that there may be. */
export const HISTORY_SHARDS_MAX = 256;
/** A block that is written is closed beyond this size or age: then it is not written again. */
const CLOSE_BYTES = 32 * 1024;
const CLOSE_MILLISECONDS_MAX = 60_000;
/** Blocks whose memory is kept: as many as a commit of a busy broker has. */
const SPARE_BLOCKS_MAX = 32;
/** What is asked for in one of them: messages with hundreds of targets may make much more. */
const SPARE_HASHES_MAX = 16_384;
/** So many blocks at least lie in the time that messages are kept for. */
const BLOCKS_MIN = 20;
/** How much later than that the commit may be that closes it. */
const COMMIT_SLACK_MILLISECONDS = 1000;
const PAGE_BYTES = 4096;
/** Blocks that one transaction removes. */
const REMOVALS_MAX = 512;
/** As many where room is short. */
const SHORT_REMOVALS_MAX = 64;
/** What is written in one transaction where room is short. */
const PIECE_PUTS = 16;
const PIECE_BYTES = 1024 * 1024;
/** Removed at once, at least, to make room. */
const EVICTION_BYTES = 4 * 1024 * 1024;
/** What the file has free where room is short, at least, and a part of it: the more there is, the more gaps are large enough. */
const FREE_BYTES_MIN = 8 * 1024 * 1024;
const FREE_PART = 8;
/** So many bytes more for each by which the file has grown all the same. */
const GROWTH_FACTOR = 4;

/** One event of a trace. */
export interface TraceWrite {
  readonly id: string;
  readonly json: Buffer;
}

/** Bytes on disk of a block: whole pages of the file. */
function diskBytes(length: number): number {
  return Math.ceil((length + 64) / PAGE_BYTES) * PAGE_BYTES;
}

export class HistoryStore {
  readonly directory: HistoryDirectory;
  /** Bytes of all blocks, as they lie on disk. */
  bytes: number;
  /** The disk has no room: what is written takes the place of the oldest. */
  isShort: boolean;
  /** Bytes of blocks that were removed for that. */
  evictedBytes: number;
  private readonly file: HistoryFile;
  private readonly index: HistoryIndex;
  private readonly closeMilliseconds: number;
  /** Where the file ended when blocks made room for the last time: beyond that, what was written found no gap. */
  private shortEnd: number;
  /** What it must have free because of that. */
  private extraFree: number;
  /** By shard; null: none is being filled. */
  private readonly openBlocks: (HistoryBlock | null)[];
  /** Full ones that are not on disk, in their order. */
  private closed: HistoryBlock[];
  /** Those that nobody needs any more: their memory is used again. */
  private readonly spare: HistoryBlock[];
  private pendingTraces: TraceWrite[];
  private traceCount: number;
  /** Bytes that are not on disk. */
  pendingBytes: number;

  /**
   * @param retentionSeconds how long messages are kept
   * @throws what LMDB or the system says
   */
  constructor(path: string, retentionSeconds: number) {
    this.closeMilliseconds = Math.min(CLOSE_MILLISECONDS_MAX, (retentionSeconds * 1000) / BLOCKS_MIN);
    this.directory = new HistoryDirectory();
    this.bytes = 0;
    this.isShort = false;
    this.evictedBytes = 0;
    this.shortEnd = 0;
    this.extraFree = 0;
    this.openBlocks = new Array<HistoryBlock | null>(HISTORY_SHARDS_MAX).fill(null);
    this.closed = [];
    this.spare = [];
    this.pendingTraces = [];
    this.traceCount = 0;
    this.pendingBytes = 0;
    this.file = new HistoryFile(path);
    this.index = new HistoryIndex(this.directory, this.file);
    this.readDirectory();
  }

  /** What was wrong with the file that was there; '': nothing. It was put aside. */
  get damage(): string {
    return this.file.damage;
  }

  /** False while the environment is closed to be opened anew. */
  get isOpen(): boolean {
    return this.file.isOpen;
  }

  /** LMDB has failed in a commit, which may be on disk all the same: nothing is to be forgotten before `mend`. */
  get isUncertain(): boolean {
    return this.file.isUncertain;
  }

  /** Takes up what is there: 160,000 blocks of 64 KB in 0.3 s. */
  private readDirectory(): void {
    for (const [shard, sequence, first, bytes] of this.file.blocks.getKeys()) {
      this.directory.of(shard!).add(sequence!, first!, bytes!);
      this.bytes += diskBytes(bytes!);
    }
    const covered = this.index.read(HISTORY_SHARDS_MAX);
    covered.forEach((sequence, shard) => {
      if (sequence >= 0) this.directory.of(shard).startAt(sequence + 1);
    });
    for (const { shard, directory } of this.directory.shards()) {
      for (let sequence = Math.max(directory.begin, covered[shard]! + 1); sequence < directory.end; sequence++) {
        const block = this.read({ shard, sequence });
        if (block !== null) this.index.add({ shard, sequence }, hashesOfBlock(block), block.length);
      }
    }
    for (const key of this.file.traces.getKeys({ reverse: true, limit: 1 })) this.traceCount = Number(key[1] ?? 0);
  }

  /** Milliseconds of the newest message of a shard; 0: it has none. */
  newestMilliseconds(shard: number): number {
    const directory = this.directory.of(shard);
    if (directory.end === directory.begin) return 0;
    const sequence = directory.end - 1;
    const block = this.read({ shard, sequence });
    // One of another version, or damaged, has no messages; what comes behind it must not be earlier all the same.
    return Math.max(directory.firstMilliseconds(sequence), block === null ? 0 : this.directory.lastMillisecondsOf(block));
  }

  /**
   * Takes messages of a shard that stand at the beginning of bytes[at, end), as in its ring: see `HistoryBlock.take`.
   * @param end not further than a block has room, unless the first frame is longer
   * @returns bytes that were taken
   */
  take(shard: number, bytes: Uint8Array, at: number, end: number): number {
    if (!isMessageFrame(bytes, at, end)) return 0;
    let block: HistoryBlock | null = this.openBlocks[shard]!;
    if (block !== null && block.bytes + end - at > BLOCK_BYTES) {
      this.closed.push(block);
      block = null;
    }
    if (block === null) {
      const milliseconds = idMilliseconds(bytes, at + RING_FRAME_HEADER_BYTES);
      block = this.spare.pop() ?? new HistoryBlock();
      block.begin(shard, this.directory.of(shard).reserve(milliseconds), milliseconds);
      this.openBlocks[shard] = block;
    }
    const taken = block.take(bytes, at, end);
    this.pendingBytes += taken;
    return taken;
  }

  addTrace(id: string, json: Buffer): void {
    this.pendingTraces.push({ id, json });
    this.pendingBytes += json.length;
  }

  /** Messages that are not on disk. */
  get pendingMessages(): number {
    let count = 0;
    for (const block of this.dirtyBlocks()) count += block.count - block.storedCount;
    return count;
  }

  private dirtyBlocks(): HistoryBlock[] {
    return [...this.closed, ...this.openBlocks].filter((block): block is HistoryBlock => block?.isDirty === true);
  }

  /** Writes what has come. @param now wall milliseconds @throws what LMDB or the system says; what is not written then may be tried again */
  commit(now: number): void {
    // What is indexed in memory has a bound, so nothing comes to it before that is on disk.
    while (this.index.isDue) {
      const { bytes, run, done } = this.index.nextWrite();
      this.write(1, bytes, 0, true, run);
      done();
    }
    try {
      if (!this.isShort) {
        if (this.writePiece(this.dirtyBlocks(), this.pendingTraces.length, false)) this.settle(now);
        return;
      }
    } catch (error) {
      if (!isFull(error)) throw error;
      this.isShort = true;
    }
    this.commitInPieces(now);
  }

  private commitInPieces(now: number): void {
    try {
      for (let dirty = this.dirtyBlocks(); dirty.length > 0; ) {
        let bytes = 0;
        let count = 0;
        while (count < dirty.length && count < PIECE_PUTS && (count === 0 || bytes + dirty[count]!.bytes <= PIECE_BYTES))
          bytes += dirty[count++]!.bytes;
        this.writePiece(dirty.splice(0, count), 0, true);
      }
      while (this.pendingTraces.length > 0) this.writePiece([], Math.min(PIECE_PUTS, this.pendingTraces.length), true);
    } finally {
      this.settle(now);
    }
  }

  /** Writes some blocks and the next traces, all or nothing. @returns whether there was anything */
  private writePiece(blocks: readonly HistoryBlock[], traceCount: number, mayEvict: boolean): boolean {
    if (blocks.length === 0 && traceCount === 0) return false;
    const traces = this.pendingTraces.slice(0, traceCount);
    let bytes = 0;
    for (const block of blocks) bytes += block.bytes;
    for (const { json } of traces) bytes += json.length;
    this.write(blocks.length + traces.length, bytes, blocks.length, mayEvict, () => {
      for (const block of blocks) {
        const { shard, sequence, firstMilliseconds, storedBytes } = block;
        if (storedBytes > 0) this.file.blocks.removeSync([shard, sequence, firstMilliseconds, storedBytes]);
        this.file.blocks.putSync([shard, sequence, firstMilliseconds, block.bytes], block.image());
      }
      for (const { id, json } of traces) this.file.traces.putSync([id, ++this.traceCount], json);
    });
    for (const block of blocks) {
      this.stored(block, block.bytes, block.count);
      block.isDirty = false;
    }
    this.pendingTraces.splice(0, traceCount);
    return true;
  }

  private stored(block: HistoryBlock, bytes: number, count: number): void {
    this.bytes += diskBytes(bytes) - (block.storedBytes === 0 ? 0 : diskBytes(block.storedBytes));
    block.storedBytes = bytes;
    block.storedCount = count;
    this.directory.of(block.shard).setBytes(block.sequence, bytes);
  }

  /** Closes what is on disk and large or old enough; what is closed and on disk is indexed. */
  private settle(now: number): void {
    for (const block of this.openBlocks) {
      if (block === null || block.isDirty) continue;
      if (block.bytes < CLOSE_BYTES && now - block.firstMilliseconds < this.closeMilliseconds) continue;
      this.openBlocks[block.shard] = null;
      this.closed.push(block);
    }
    this.closed = this.closed.filter((block) => {
      if (block.isDirty) return true;
      this.index.add(block, block.hashes, block.bytes);
      // A single frame may be larger than a block.
      if (this.spare.length < SPARE_BLOCKS_MAX && block.capacity <= 2 * BLOCK_BYTES && block.hashes.count <= SPARE_HASHES_MAX)
        this.spare.push(block);
      return false;
    });
    this.pendingBytes = 0;
    for (const block of this.dirtyBlocks()) this.pendingBytes += block.bytes - block.storedBytes;
    for (const { json } of this.pendingTraces) this.pendingBytes += json.length;
  }

  /** Closes blocks that are old and to which nothing comes. @param now wall milliseconds */
  closeIdle(now: number): void {
    this.settle(now);
  }

  /** Forgets what could not be written. @returns messages that are lost */
  abandon(): number {
    const lost = this.pendingMessages;
    for (const block of this.dirtyBlocks()) {
      if (this.openBlocks[block.shard] === block) this.openBlocks[block.shard] = null;
      // Its beginning may be on disk.
      if (block.storedBytes > 0) this.index.add(block, block.hashes, block.storedBytes);
    }
    this.closed = this.closed.filter(({ isDirty }) => !isDirty);
    this.pendingTraces = [];
    this.pendingBytes = 0;
    return lost;
  }

  /**
   * A transaction that writes.
   * @param mayEvict where the disk has no room, the oldest blocks make some: it is written into what they leave
   */
  private write(puts: number, bytes: number, removals: number, mayEvict: boolean, run: () => void): void {
    try {
      this.file.transaction(puts, bytes, removals, 'all', run);
      this.isShort = false;
      this.shortEnd = 0;
    } catch (error) {
      if (!isFull(error) || !mayEvict) throw error;
      this.isShort = true;
      this.evict(bytes);
      this.file.transaction(puts, bytes, removals, 'for-removing', run);
    }
  }

  /** Removes the oldest until the file has gaps for so many bytes, or nothing is left. */
  private evict(bytes: number): void {
    const { endBytes } = this.file;
    if (this.shortEnd > 0) this.extraFree += GROWTH_FACTOR * (endBytes - this.shortEnd);
    this.shortEnd = endBytes;
    const wanted = Math.max(FREE_BYTES_MIN, endBytes / FREE_PART) + this.extraFree + 4 * bytes;
    const { freeBytes } = this.file;
    if (freeBytes >= wanted) return;
    let missing = wanted - freeBytes + EVICTION_BYTES;
    for (let isMore = true; isMore && missing > 0; ) {
      const before = this.bytes;
      isMore = this.clean(0, Math.max(0, before - missing), SHORT_REMOVALS_MAX);
      missing -= before - this.bytes;
      this.evictedBytes += before - this.bytes;
    }
  }

  /** Whether the disk takes anything. @throws SystemError where it does not */
  probe(): void {
    this.file.probe();
  }

  /**
   * Blocks that may hold what is asked for by any of these hashes, of messages from `from` to `to`.
   * @returns place by shard, in order
   */
  lookUp(hashes: readonly number[], from: number, to: number): Map<number, number[]> {
    const found = new Map<number, Set<number>>();
    const add = (shard: number, sequence: number): void => {
      const places = found.get(shard);
      if (places === undefined) found.set(shard, new Set([sequence]));
      else places.add(sequence);
    };
    for (const hash of hashes) {
      this.index.lookUp(hash, from, to, add);
      for (const block of [...this.closed, ...this.openBlocks]) if (block?.hashes.has(hash) === true) add(block.shard, block.sequence);
    }
    return new Map([...found].map(([shard, places]) => [shard, [...places].sort((a, b) => a - b)]));
  }

  /** A block, whose bytes are valid until the next one is read; null where it is gone. */
  read({ shard, sequence }: BlockPlace): Buffer | null {
    const open = this.openBlocks[shard];
    if (open?.sequence === sequence) return open.image();
    const waiting = this.closed.find((block) => block.shard === shard && block.sequence === sequence);
    if (waiting !== undefined) return waiting.image();
    const directory = this.directory.of(shard);
    const first = directory.firstMilliseconds(sequence);
    if (first < 0) return null;
    return this.file.blocks.get([shard, sequence, first, directory.bytes(sequence)]) ?? null;
  }

  /** Events of traces that were kept for one message. */
  readTraces(id: string, max: number): Buffer[] {
    const found: Buffer[] = [];
    for (const { value } of this.file.traces.getRange({ start: [id], end: [`${id}~`], limit: max })) found.push(Buffer.from(value));
    return found;
  }

  /**
   * Removes the oldest blocks: those whose messages are older than `before`, and what is beyond `bytesMax`. In slices.
   * @returns whether more is to be removed
   */
  clean(before: number, bytesMax: number, removalsMax: number = this.isShort ? SHORT_REMOVALS_MAX : REMOVALS_MAX): boolean {
    const gone: { readonly shard: number; readonly sequence: number; readonly first: number; readonly bytes: number }[] = [];
    let { bytes } = this;
    const begins = new Map<Directory, number>();
    // What is not on disk yet stays, and so does what comes after it.
    const unwritten = new Map<number, number>();
    for (const { shard, sequence } of this.dirtyBlocks()) unwritten.set(shard, Math.min(sequence, unwritten.get(shard) ?? sequence));
    while (gone.length < removalsMax) {
      let oldest: { readonly shard: number; readonly directory: Directory; readonly sequence: number; readonly first: number } | null =
        null;
      for (const { shard, directory } of this.directory.shards()) {
        const sequence = begins.get(directory) ?? directory.begin;
        if (sequence >= directory.end || this.openBlocks[shard]?.sequence === sequence || sequence >= unwritten.get(shard)!) continue;
        const first = directory.firstMilliseconds(sequence);
        if (oldest === null || first < oldest.first) oldest = { shard, directory, sequence, first };
      }
      if (oldest === null) break;
      const { shard, directory, sequence, first } = oldest;
      // No message of a block is later than that, nor than the next block.
      let last = first + this.closeMilliseconds + COMMIT_SLACK_MILLISECONDS;
      if (sequence + 1 < directory.end) last = Math.min(last, directory.firstMilliseconds(sequence + 1));
      if (last >= before && bytes <= bytesMax) break;
      const size = directory.bytes(sequence);
      gone.push({ shard, sequence, first, bytes: size });
      if (size > 0) bytes -= diskBytes(size);
      begins.set(directory, sequence + 1);
    }
    if (gone.length === 0) return false;
    const last = gone.at(-1)!.first;
    const index = this.index.removal(this.index.dead(begins));
    const limit = Buffer.from(idFloor(last)).toString('hex');
    const traces = [...this.file.traces.getKeys({ end: [limit], limit: removalsMax })];
    this.file.transaction(0, 0, gone.length + traces.length + index.removals, 'none', () => {
      for (const { shard, sequence, first, bytes } of gone) this.file.blocks.removeSync([shard, sequence, first, bytes]);
      for (const key of traces) this.file.traces.removeSync(key);
      index.run();
    });
    index.done();
    for (const [directory, begin] of begins) directory.removeBefore(begin);
    this.bytes = bytes;
    return gone.length === removalsMax;
  }

  /** After a failure: opens the environment anew if that may help. @throws what LMDB or the system says */
  async mend(): Promise<void> {
    if (!this.file.isBroken) return;
    await this.file.reopen();
    this.recognize();
    this.file.isUncertain = false;
  }

  /** Whether `mend` has something to do. */
  get isBroken(): boolean {
    return this.file.isBroken;
  }

  /** A commit that failed may be on disk all the same: LMDB could not say. */
  private recognize(): void {
    for (const block of this.dirtyBlocks()) {
      const { shard, sequence } = block;
      for (const key of [...this.file.blocks.getKeys({ start: [shard, sequence], end: [shard, sequence + 1] })]) {
        const image = this.file.blocks.get(key);
        if (image !== undefined && key[3] !== block.storedBytes) this.stored(block, key[3]!, countOfBlock(image));
      }
    }
  }

  /** Bytes of the file. */
  get fileBytes(): number {
    return this.file.bytes;
  }

  get segmentCount(): number {
    return this.index.segmentCount;
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}
