/**
 * HistoryFile: the LMDB environment of the history, with its tables: opened, written to in transactions for which there is room, and opened anew after failures.
 *
 * Owned by one thread.
 */
import { existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { PageFile } from './page-file.ts';
import { isFull, StoreRoom } from './store-room.ts';

const OPEN_MARK = 'onehop.open';
const PAGE_BYTES = 4096;
/** Room beyond the file's end that is left for removing, because LMDB writes pages to remove something; a part of the file more, for its list of free pages. */
const REMOVAL_ROOM_BYTES = 3 * 1024 * 1024;
const REMOVAL_ROOM_PART = 128;
/** Room that is left as long as the disk has some: once it has none, this must do for removing, for one piece that is written, and for what fits into no gap. */
const SPARE_BYTES = 12 * 1024 * 1024;
const SPARE_PART = 64;

/**
 * So much is written before the system is told to forget it: few people ask for it, and what others read is to stay in memory instead. The next pages take the same
 * memory, too; on a virtual machine whose host gives memory at its first use, a written byte took 0.4 ns of processor time instead of 2.3.
 */
const CACHED_BYTES = 32 * 1024 * 1024;

/** What must be left of the room that was set aside: all that is spare, what it takes to remove something, or nothing. */
export type SpareRoom = 'all' | 'for-removing' | 'none';

export class HistoryFile {
  /** What was wrong with the file that was there; '': nothing. It was put aside. */
  readonly damage: string;
  blocks!: Database<Buffer, number[]>;
  index!: Database<Buffer, number[]>;
  segments!: Database<Buffer, number>;
  traces!: Database<Buffer, (string | number)[]>;
  /** False while the environment is closed to be opened anew. */
  isOpen: boolean;
  /** LMDB has failed in a commit, which may be on disk all the same. */
  isUncertain: boolean;
  private readonly path: string;
  private readonly room: StoreRoom;
  private root!: RootDatabase<Buffer, string>;
  /** What has failed is mended by opening the environment anew, if by anything. */
  private mustReopen: boolean;
  /** Since the system was told to forget. */
  private cachedBytes: number;

  /** @throws what LMDB or the system says */
  constructor(path: string) {
    this.path = path;
    this.isOpen = false;
    this.isUncertain = false;
    this.mustReopen = false;
    this.cachedBytes = 0;
    this.room = new StoreRoom(path);
    mkdirSync(path, { recursive: true });
    this.damage = putAsideDamaged(path);
    this.open();
    writeFileSync(join(path, OPEN_MARK), '');
  }

  private open(): void {
    this.room.open();
    this.root = open({ path: this.path, encoding: 'binary', maxDbs: 6, overlappingSync: false, noSubdir: false });
    const table = { encoding: 'binary', keyEncoding: 'ordered-binary' } as const;
    this.blocks = this.root.openDB('blocks', table);
    this.index = this.root.openDB('index', table);
    this.segments = this.root.openDB('segments', table);
    this.traces = this.root.openDB('traces', table);
    this.isOpen = true;
    this.mustReopen = false;
  }

  /** Byte at which the pages of the file end. */
  get endBytes(): number {
    const { lastPageNumber, pageSize } = this.root.getStats() as { lastPageNumber: number; pageSize: number };
    return (lastPageNumber + 1) * pageSize;
  }

  /** Bytes of the file that nothing uses. */
  get freeBytes(): number {
    let used = 0;
    for (const table of [this.blocks, this.index, this.segments, this.traces]) {
      const { treeBranchPageCount, treeLeafPageCount, overflowPages } = table.getStats() as Record<string, number>;
      used += treeBranchPageCount! + treeLeafPageCount! + overflowPages!;
    }
    return Math.max(0, this.endBytes - used * PAGE_BYTES);
  }

  private spareBytes(left: SpareRoom): number {
    switch (left) {
      case 'all':
        return SPARE_BYTES + Math.ceil(this.endBytes / SPARE_PART);
      case 'for-removing':
        return REMOVAL_ROOM_BYTES + Math.ceil(this.endBytes / REMOVAL_ROOM_PART);
      case 'none':
        return 0;
    }
  }

  /**
   * Runs a transaction for which there is room.
   * @throws what LMDB or the system says; nothing is written then, unless `isUncertain`
   */
  transaction(puts: number, bytes: number, removals: number, left: SpareRoom, run: () => void): void {
    if (!this.isOpen) throw new Error('the environment is closed');
    try {
      this.room.take(puts, bytes, removals, () => this.endBytes, this.spareBytes(left));
    } catch (error) {
      this.mustReopen ||= !isFull(error);
      throw error;
    }
    try {
      this.blocks.transactionSync(run);
    } catch (error) {
      this.mustReopen = true;
      this.isUncertain = true;
      throw error;
    }
    this.cachedBytes += bytes;
    if (this.cachedBytes < CACHED_BYTES) return;
    this.cachedBytes = 0;
    this.room.forgetCached();
  }

  /** Whether the disk takes anything. @throws SystemError where it does not */
  probe(): void {
    this.room.take(1, PAGE_BYTES, 0, () => this.endBytes, this.spareBytes('for-removing'));
  }

  /** Opening the environment anew may help. */
  get isBroken(): boolean {
    return !this.isOpen || this.mustReopen;
  }

  /** Opens the environment anew: LMDB refuses everything after a failure at the wrong place. @throws what LMDB or the system says */
  async reopen(): Promise<void> {
    // As long as the disk fails, what is open stays open: questions are answered from it.
    this.room.renewProbe();
    if (this.isOpen) {
      this.isOpen = false;
      await this.root.close();
    }
    this.open();
  }

  /** Bytes of the file. */
  get bytes(): number {
    return statSync(join(this.path, 'data.mdb')).size;
  }

  async close(): Promise<void> {
    if (!this.isOpen) return;
    this.isOpen = false;
    await this.root.close();
    this.room.release();
    rmSync(join(this.path, OPEN_MARK), { force: true });
  }
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
