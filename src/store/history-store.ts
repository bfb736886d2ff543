/**
 * HistoryStore: the messages of the history in an LMDB environment of their own, in blocks, and the index over them.
 *
 *   table blocks:    [shard, place, first milliseconds, bytes] → block
 *   table index:     [segment, first hash, page] → sorted pairs | u32 hash | u32 block of the segment |
 *   table segments:  [segment] → the blocks of the segment: f64 shard and place, …
 *   table traces:    [Message ID, number] → event as JSON
 *
 * Messages of one shard are in the order of their IDs, within a block and from block to block. A segment is an index over some MB of closed blocks, written once, in
 * order; what has no segment yet is indexed in memory. So a message costs a part of a put, however many topics there are.
 *
 * Owned by one thread. A commit is in the store or not; the newest second may be missing after a crash.
 */
import { existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { RING_FRAME_HEADER_BYTES } from '../base/ring.ts';
import { RECORD_ID_AT } from '../journal/history-record.ts';
import { idFloor, idMilliseconds } from '../journal/message-id.ts';
import type { HashList } from './hash-list.ts';
import { BLOCK_BYTES, HistoryBlock, hashesOfBlock } from './history-block.ts';
import { type BlockPlace, type Directory, HistoryDirectory } from './history-directory.ts';
import { PageFile } from './page-file.ts';
import { StoreRoom } from './store-room.ts';

/** Shards that there may be. */
export const HISTORY_SHARDS_MAX = 256;
/** A block that is written is closed beyond this size or age: then it is not written again. */
const CLOSE_BYTES = 32 * 1024;
const CLOSE_MILLISECONDS_MAX = 60_000;
/** So many blocks at least lie in the time that messages are kept for. */
const BLOCKS_MIN = 20;
/** How much later than that the commit may be that closes it. */
const COMMIT_SLACK_MILLISECONDS = 1000;
/** Bytes and blocks that one segment of the index is over. */
const SEGMENT_BYTES = 16 * 1024 * 1024;
const SEGMENT_BLOCKS = 2048;
/** Pairs of one page of the index: they fill one page of the file. */
const PAGE_PAIRS = 500;
const PAGE_BYTES = 4096;
/** Blocks that one transaction removes. */
const REMOVALS_MAX = 512;
const OPEN_MARK = 'onehop.open';
const SHARD_FACTOR = 2 ** 40;

/** One event of a trace. */
export interface TraceWrite {
  readonly id: string;
  readonly json: Buffer;
}

interface Segment {
  readonly number: number;
  readonly firstMilliseconds: number;
  readonly lastMilliseconds: number;
  /** Shard and place, as one number each. */
  readonly blocks: Float64Array;
}

/** Bytes on disk of a block: whole pages of the file. */
function diskBytes(length: number): number {
  return Math.ceil((length + 64) / PAGE_BYTES) * PAGE_BYTES;
}

export class HistoryStore {
  readonly path: string;
  /** What was wrong with the file that was there; '': nothing. It was put aside. */
  readonly damage: string;
  readonly directory: HistoryDirectory;
  /** Bytes of all blocks, as they lie on disk. */
  bytes: number;
  private readonly room: StoreRoom;
  private root!: RootDatabase<Buffer, string>;
  private blocks!: Database<Buffer, number[]>;
  private index!: Database<Buffer, number[]>;
  private segmentTable!: Database<Buffer, number>;
  private traces!: Database<Buffer, (string | number)[]>;
  private readonly closeMilliseconds: number;
  private isOpen: boolean;
  /** By shard; null: none is being filled. */
  private readonly openBlocks: (HistoryBlock | null)[];
  /** Full ones that are not on disk, in their order. */
  private closed: HistoryBlock[];
  private pendingTraces: TraceWrite[];
  private traceCount: number;
  private readonly segments: Segment[];
  private nextSegment: number;
  /** Pairs of hash and place in `recentBlocks` that no segment has. */
  private recentHashes: Uint32Array;
  private recentPlaces: Uint32Array;
  private recentCount: number;
  private recentBlocks: BlockPlace[];
  private recentBytes: number;
  /** Bytes that are not on disk. */
  pendingBytes: number;

  /**
   * @param retentionSeconds how long messages are kept
   * @throws what LMDB or the system says
   */
  constructor(path: string, retentionSeconds: number) {
    this.path = path;
    this.closeMilliseconds = Math.min(CLOSE_MILLISECONDS_MAX, (retentionSeconds * 1000) / BLOCKS_MIN);
    this.directory = new HistoryDirectory();
    this.bytes = 0;
    this.room = new StoreRoom(path);
    this.isOpen = false;
    this.openBlocks = new Array<HistoryBlock | null>(HISTORY_SHARDS_MAX).fill(null);
    this.closed = [];
    this.pendingTraces = [];
    this.traceCount = 0;
    this.segments = [];
    this.nextSegment = 1;
    this.recentHashes = new Uint32Array(16_384);
    this.recentPlaces = new Uint32Array(16_384);
    this.recentCount = 0;
    this.recentBlocks = [];
    this.recentBytes = 0;
    this.pendingBytes = 0;
    mkdirSync(path, { recursive: true });
    this.damage = putAsideDamaged(path);
    this.openTables();
    writeFileSync(join(path, OPEN_MARK), '');
    this.readDirectory();
  }

  private openTables(): void {
    this.room.open();
    this.root = open({ path: this.path, encoding: 'binary', maxDbs: 6, overlappingSync: false, noSubdir: false });
    const table = { encoding: 'binary', keyEncoding: 'ordered-binary' } as const;
    this.blocks = this.root.openDB('blocks', table);
    this.index = this.root.openDB('index', table);
    this.segmentTable = this.root.openDB('segments', table);
    this.traces = this.root.openDB('traces', table);
    this.isOpen = true;
  }

  /** Takes up what is there: 160,000 blocks of 64 KB in 0.3 s. */
  private readDirectory(): void {
    for (const [shard, sequence, first, bytes] of this.blocks.getKeys()) {
      this.directory.of(shard!).add(sequence!, first!, bytes!);
      this.bytes += diskBytes(bytes!);
    }
    const covered = new Array<number>(HISTORY_SHARDS_MAX).fill(-1);
    for (const { key, value } of this.segmentTable.getRange()) {
      const blocks = new Float64Array(value.length / 8);
      for (let i = 0; i < blocks.length; i++) blocks[i] = value.readDoubleLE(i * 8);
      this.addSegment(key, blocks);
      this.nextSegment = key + 1;
      for (const place of blocks) covered[Math.floor(place / SHARD_FACTOR)] = place % SHARD_FACTOR;
    }
    covered.forEach((sequence, shard) => {
      if (sequence >= 0) this.directory.of(shard).startAt(sequence + 1);
    });
    for (const { shard, directory } of this.directory.shards()) {
      for (let sequence = Math.max(directory.begin, covered[shard]! + 1); sequence < directory.end; sequence++) {
        const block = this.read({ shard, sequence });
        if (block !== null) this.indexBlock({ shard, sequence }, hashesOfBlock(block), block.length);
      }
    }
    for (const key of this.traces.getKeys({ reverse: true, limit: 1 })) this.traceCount = Number(key[1] ?? 0);
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
    this.segments.push({ number, firstMilliseconds: first, lastMilliseconds: last + CLOSE_MILLISECONDS_MAX * 2, blocks });
  }

  /** Milliseconds of the newest message of a shard; 0: it has none. */
  newestMilliseconds(shard: number): number {
    const directory = this.directory.of(shard);
    const block = directory.end > directory.begin ? this.read({ shard, sequence: directory.end - 1 }) : null;
    return block === null ? 0 : this.directory.lastMillisecondsOf(block);
  }

  /** Adds messages of a shard: the whole frames bytes[at, end), as they stand in its ring, fewer bytes than a block has unless it is one frame. */
  add(shard: number, bytes: Uint8Array, at: number, end: number): void {
    let block: HistoryBlock | null = this.openBlocks[shard]!;
    if (block !== null && block.bytes + end - at > BLOCK_BYTES) {
      this.closed.push(block);
      block = null;
    }
    if (block === null) {
      const milliseconds = idMilliseconds(bytes, at + RING_FRAME_HEADER_BYTES + RECORD_ID_AT);
      block = new HistoryBlock(shard, this.directory.of(shard).reserve(milliseconds), milliseconds);
      this.openBlocks[shard] = block;
    }
    block.add(bytes, at, end);
    this.pendingBytes += end - at;
  }

  addTrace(id: string, json: Buffer): void {
    this.pendingTraces.push({ id, json });
    this.pendingBytes += json.length;
  }

  /** Writes what has come. @param now wall milliseconds @throws what LMDB or the system says; nothing is written then, and it may be tried again */
  commit(now: number): void {
    const { closed, pendingTraces } = this;
    const dirty = this.openBlocks.filter((block): block is HistoryBlock => block?.isDirty === true);
    if (closed.length === 0 && dirty.length === 0 && pendingTraces.length === 0) return;
    const blocks = [...closed, ...dirty];
    let bytes = 0;
    for (const block of blocks) bytes += block.bytes;
    for (const { json } of pendingTraces) bytes += json.length;
    this.transaction(blocks.length + pendingTraces.length, bytes, blocks.length, () => {
      for (const block of blocks) {
        const { shard, sequence, firstMilliseconds, storedBytes } = block;
        if (storedBytes > 0) this.blocks.removeSync([shard, sequence, firstMilliseconds, storedBytes]);
        this.blocks.putSync([shard, sequence, firstMilliseconds, block.bytes], block.image());
      }
      for (const { id, json } of pendingTraces) this.traces.putSync([id, ++this.traceCount], json);
    });
    for (const block of blocks) {
      this.bytes += diskBytes(block.bytes) - (block.storedBytes === 0 ? 0 : diskBytes(block.storedBytes));
      block.storedBytes = block.bytes;
      block.storedCount = block.count;
      block.isDirty = false;
      this.directory.of(block.shard).setBytes(block.sequence, block.bytes);
    }
    for (const block of dirty) {
      if (block.bytes < CLOSE_BYTES && now - block.firstMilliseconds < this.closeMilliseconds) continue;
      this.openBlocks[block.shard] = null;
      closed.push(block);
    }
    for (const block of closed) this.indexBlock(block, block.hashes, block.bytes);
    this.closed = [];
    this.pendingTraces = [];
    this.pendingBytes = 0;
    if (this.recentBytes >= SEGMENT_BYTES || this.recentBlocks.length >= SEGMENT_BLOCKS) this.writeSegment();
  }

  /** Closes blocks that are old and to which nothing comes. @param now wall milliseconds */
  closeIdle(now: number): void {
    for (const block of this.openBlocks) {
      if (block === null || block.isDirty || now - block.firstMilliseconds < this.closeMilliseconds) continue;
      this.openBlocks[block.shard] = null;
      this.indexBlock(block, block.hashes, block.bytes);
    }
  }

  /** Forgets what could not be written. @returns messages that are lost */
  abandon(): number {
    let lost = 0;
    for (const block of [...this.closed, ...this.openBlocks]) {
      if (block?.isDirty !== true) continue;
      lost += block.count - block.storedCount;
      if (this.openBlocks[block.shard] === block) this.openBlocks[block.shard] = null;
      // Its beginning is on disk.
      if (block.storedBytes > 0) this.indexBlock(block, block.hashes, block.storedBytes);
    }
    this.closed = [];
    this.pendingTraces = [];
    this.pendingBytes = 0;
    return lost;
  }

  private transaction(puts: number, bytes: number, removals: number, run: () => void): void {
    this.room.take(puts, bytes, removals, () => {
      const { lastPageNumber, pageSize } = this.root.getStats() as { lastPageNumber: number; pageSize: number };
      return (lastPageNumber + 1) * pageSize;
    });
    this.blocks.transactionSync(run);
  }

  private indexBlock({ shard, sequence }: BlockPlace, hashes: HashList, bytes: number): void {
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

  /** Puts the index of the recent blocks on disk: 250,000 pairs in 60 ms. */
  private writeSegment(): void {
    const { recentHashes, recentPlaces, recentCount: count, recentBlocks } = this;
    const pairs = new Float64Array(count);
    for (let i = 0; i < count; i++) pairs[i] = recentHashes[i]! * SEGMENT_BLOCKS * 4 + recentPlaces[i]!;
    pairs.sort();
    const number = this.nextSegment;
    const blocks = Float64Array.from(recentBlocks, ({ shard, sequence }) => shard * SHARD_FACTOR + sequence);
    const pages = Math.ceil(count / PAGE_PAIRS);
    this.transaction(pages + 1, count * 8 + blocks.length * 8, 0, () => {
      for (let page = 0; page < pages; page++) {
        const from = page * PAGE_PAIRS;
        const end = Math.min(count, from + PAGE_PAIRS);
        const bytes = Buffer.allocUnsafe((end - from) * 8);
        for (let i = from; i < end; i++) {
          bytes.writeUInt32LE(Math.floor(pairs[i]! / (SEGMENT_BLOCKS * 4)), (i - from) * 8);
          bytes.writeUInt32LE(pairs[i]! % (SEGMENT_BLOCKS * 4), (i - from) * 8 + 4);
        }
        this.index.putSync([number, bytes.readUInt32LE(0), page], bytes);
      }
      const image = Buffer.allocUnsafe(blocks.length * 8);
      for (let i = 0; i < blocks.length; i++) image.writeDoubleLE(blocks[i]!, i * 8);
      this.segmentTable.putSync(number, image);
    });
    this.nextSegment++;
    this.addSegment(number, blocks);
    this.recentCount = 0;
    this.recentBlocks = [];
    this.recentBytes = 0;
  }

  /**
   * Blocks that may hold what is asked for by this hash, of messages from `from` to `to`.
   * @returns place by shard, in order
   */
  lookUp(hash: number, from: number, to: number): Map<number, number[]> {
    const found = new Map<number, number[]>();
    const add = (shard: number, sequence: number): void => {
      const list = found.get(shard);
      if (list === undefined) found.set(shard, [sequence]);
      else list.push(sequence);
    };
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
    for (const block of [...this.closed, ...this.openBlocks]) if (block?.hashes.has(hash) === true) add(block.shard, block.sequence);
    for (const list of found.values()) list.sort((a, b) => a - b);
    return found;
  }

  private lookUpSegment(number: number, hash: number): number[] {
    const places: number[] = [];
    for (const { key, value } of this.index.getRange({ start: [number, hash, PAGE_BYTES * 1024], end: [number], reverse: true })) {
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

  /** A block, whose bytes are valid until the next one is read; null where it is gone. */
  read({ shard, sequence }: BlockPlace): Buffer | null {
    const open = this.openBlocks[shard];
    if (open?.sequence === sequence) return open.image();
    const waiting = this.closed.find((block) => block.shard === shard && block.sequence === sequence);
    if (waiting !== undefined) return waiting.image();
    const directory = this.directory.of(shard);
    const first = directory.firstMilliseconds(sequence);
    if (first < 0) return null;
    return this.blocks.get([shard, sequence, first, directory.bytes(sequence)]) ?? null;
  }

  /** Events of traces that were kept for one message. */
  readTraces(id: string, max: number): Buffer[] {
    const found: Buffer[] = [];
    for (const { value } of this.traces.getRange({ start: [id], end: [`${id}~`], limit: max })) found.push(Buffer.from(value));
    return found;
  }

  /**
   * Removes the oldest blocks: those whose messages are older than `before`, and what is beyond `bytesMax`. In slices.
   * @returns whether more is to be removed
   */
  clean(before: number, bytesMax: number): boolean {
    const gone: { readonly shard: number; readonly sequence: number; readonly first: number; readonly bytes: number }[] = [];
    let { bytes } = this;
    const begins = new Map<Directory, number>();
    for (; gone.length < REMOVALS_MAX; ) {
      let oldest: { readonly shard: number; readonly directory: Directory; readonly sequence: number; readonly first: number } | null =
        null;
      for (const { shard, directory } of this.directory.shards()) {
        const sequence = begins.get(directory) ?? directory.begin;
        if (sequence >= directory.end || this.openBlocks[shard]?.sequence === sequence) continue;
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
    const deadSegments = this.segments.filter(({ blocks }) => {
      for (const place of blocks) {
        const directory = this.directory.of(Math.floor(place / SHARD_FACTOR));
        if (place % SHARD_FACTOR >= (begins.get(directory) ?? directory.begin)) return false;
      }
      return true;
    });
    this.remove(gone, deadSegments, last);
    for (const [directory, begin] of begins) directory.removeBefore(begin);
    this.bytes = bytes;
    for (const segment of deadSegments) this.segments.splice(this.segments.indexOf(segment), 1);
    return gone.length === REMOVALS_MAX;
  }

  private remove(
    gone: readonly { readonly shard: number; readonly sequence: number; readonly first: number; readonly bytes: number }[],
    segments: readonly Segment[],
    until: number,
  ): void {
    const limit = Buffer.from(idFloor(until)).toString('hex');
    const traces = [...this.traces.getKeys({ end: [limit], limit: REMOVALS_MAX })];
    const pages = segments.map(({ number }) => [...this.index.getKeys({ start: [number], end: [number + 1] })]);
    const pageCount = pages.reduce((sum, keys) => sum + keys.length, 0);
    this.transaction(0, 0, gone.length + traces.length + pageCount + segments.length, () => {
      for (const { shard, sequence, first, bytes } of gone) this.blocks.removeSync([shard, sequence, first, bytes]);
      for (const key of traces) this.traces.removeSync(key);
      for (const keys of pages) for (const key of keys) this.index.removeSync(key);
      for (const { number } of segments) this.segmentTable.removeSync(number);
    });
  }

  /** Opens the environment anew: LMDB refuses everything after a failure at the wrong place. */
  async reopen(): Promise<void> {
    if (this.isOpen) {
      this.isOpen = false;
      await this.root.close();
    }
    this.openTables();
  }

  /** Bytes of the file. */
  get fileBytes(): number {
    return statSync(join(this.path, 'data.mdb')).size;
  }

  get segmentCount(): number {
    return this.segments.length;
  }

  async close(): Promise<void> {
    await this.root.close();
    this.room.release();
    rmSync(join(this.path, OPEN_MARK), { force: true });
  }
}

function grown(array: Uint32Array, length: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(length);
  larger.set(array);
  return larger;
}

/**
 * After a crash: looks at the structure of the file before LMDB maps it, because LMDB trusts what it reads and a broken file would end the whole process. One that is
 * damaged is put aside: the history is no promise to anybody, and the broker starts.
 * @returns what is wrong with it; '': nothing
 */
function putAsideDamaged(path: string): string {
  const file = join(path, 'data.mdb');
  if (!existsSync(join(path, OPEN_MARK)) || !existsSync(file) || statSync(file).size === 0) return '';
  let damage = '';
  try {
    const pages = new PageFile(file);
    try {
      for (const { offset, text } of pages.check()) {
        damage = `offset ${offset}: ${text}`;
        break;
      }
    } finally {
      pages.close();
    }
  } catch (error) {
    damage = (error as Error).message;
  }
  if (damage !== '') renameSync(file, `${file}.damaged`);
  return damage;
}
