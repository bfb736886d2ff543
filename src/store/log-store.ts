/**
 * LogStore: the records of all shards in one LMDB environment, and what must be known of them as a whole. The only file that knows the `lmdb` package.
 *
 *   table log:   [shard that wrote it, count] → record          table meta: 'store' → StoreMeta
 *
 * All that is handed to one `commit` is in the store or not, whatever happens meanwhile: LMDB writes pages aside and switches over by one write. With durability
 * `fsync` a commit is on disk when it returns.
 *
 * Owned by one thread of one process, which holds the lock (`StoreLock`). Invariant: no other process ever opens the environment meanwhile, not even to read: LMDB
 * sets the number of the last transaction anew whenever somebody opens, and a commit of that moment would be overwritten by the next. Who reads
 * while a broker runs has the broker hold a moment (`store-pin.ts`) and reads the file itself (`page-file.ts`).
 */
import { close, closeSync, existsSync, fsync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import type { Durability } from '../base/settings.ts';
import { countOf, recordNumber, recordProblem, WRITERS_MAX, writerOf } from '../journal/record.ts';
import { type Moment, PageFile } from './page-file.ts';
import { StoreError } from './store-error.ts';
import { META_KEY, NEW_META, readMeta, type StoreMeta } from './store-meta.ts';
import { isFull, StoreRoom } from './store-room.ts';

/** Beside `data.mdb`: the directory in which a new file is made. */
export const FRESH_DIRECTORY = 'data.mdb.fresh';

/** One record to write, and how far the older ones of the same shard are not needed any more. */
export interface RecordWrite {
  readonly record: number;
  readonly bytes: Uint8Array;
  /** Number of the oldest record that is kept; 0: remove none. */
  readonly keepFrom: number;
}

export interface StoredRecord {
  readonly record: number;
  readonly bytes: Buffer;
}

/** A moment that is not written over. */
export interface HeldMoment {
  readonly moment: Moment;
  release(): void;
}

/** A hold as the store knows it. */
interface Hold {
  /** Gives the pages back. */
  release(): void;
  /** Also tells whoever has it. */
  lose(): void;
}

export class LogStore {
  /** Directory. */
  readonly path: string;
  meta: StoreMeta;
  /** False while the environment is closed to be opened anew. */
  isOpen: boolean;
  private readonly room: StoreRoom;
  /** What has failed is mended by opening the environment anew, if by anything. */
  private mustReopen: boolean;
  /** The name of the file may not be on disk yet: nothing is committed before. */
  private isNameNew: boolean;
  private readonly durability: Durability;
  private root!: RootDatabase<Buffer, string>;
  private log!: Database<Buffer, number[]>;
  private metaTable!: Database<Buffer, string>;
  /** Count of the oldest record of each writer, as far as it is known. */
  private readonly oldest: number[];
  private readonly held: Set<Hold>;

  /**
   * Opens the store in a directory, and makes it if there is none.
   * @throws StoreError with one clear line when it cannot be opened or is not of this version
   */
  constructor(path: string, durability: Durability) {
    this.path = path;
    this.durability = durability;
    this.oldest = [];
    this.isOpen = false;
    this.room = new StoreRoom(path);
    this.mustReopen = false;
    this.isNameNew = false;
    this.held = new Set();
    const isNew = !existsSync(join(path, 'data.mdb'));
    try {
      mkdirSync(path, { recursive: true });
      checkStructure(path);
      if (isNew) writeFileSync(join(path, NEW_FILE), '');
      this.openTables();
    } catch (error) {
      this.room.release();
      throw error instanceof StoreError ? error : openError(path, error as Error & { code?: unknown });
    }
    this.meta = NEW_META;
    const bytes = this.metaTable.get(META_KEY);
    if (bytes !== undefined) this.meta = readMeta(path, bytes);
    this.forgetNew();
  }

  /** The file of a new store is whole. */
  private forgetNew(): void {
    const file = join(this.path, NEW_FILE);
    if (!existsSync(file)) return;
    rmSync(file);
    syncDirectory(this.path);
  }

  /** Writes records and removes others, all or nothing. @throws what LMDB or the system says */
  commit(writes: readonly RecordWrite[], meta?: StoreMeta): void {
    const text = Buffer.from(meta === undefined ? '' : JSON.stringify(meta));
    let bytes = text.length;
    let removals = 0;
    for (const write of writes) {
      bytes += write.bytes.length;
      if (write.keepFrom > 0) removals += this.removalsBefore(writerOf(write.record), countOf(write.keepFrom));
    }
    this.transaction(writes.length + 1, bytes, removals, () => {
      for (const { record, bytes, keepFrom } of writes) {
        const writer = writerOf(record);
        this.log.putSync([writer, countOf(record)], bytes as Buffer);
        if (keepFrom > 0) this.removeBefore(writer, countOf(keepFrom));
      }
      if (meta !== undefined) this.metaTable.putSync(META_KEY, text);
    });
    if (meta !== undefined) this.meta = meta;
    for (const { record, keepFrom } of writes) if (keepFrom > 0) this.oldest[writerOf(record)] = countOf(keepFrom);
  }

  writeMeta(meta: StoreMeta): void {
    this.commit([], meta);
  }

  /** Runs a transaction for which there is room. */
  private transaction(puts: number, bytes: number, removals: number, run: () => void): void {
    if (!this.isOpen) throw new StoreError('disk', `store: ${this.path} is not open`, 0);
    try {
      this.room.take(puts, bytes, removals, () => this.end);
    } catch (error) {
      this.mustReopen ||= !isFull(error);
      throw error;
    }
    try {
      this.log.transactionSync(run);
    } catch (error) {
      this.mustReopen = true;
      throw error;
    }
  }

  /** Where the pages of the file end, by what has been committed. */
  private get end(): number {
    const { lastPageNumber, pageSize } = this.root.getStats() as { lastPageNumber: number; pageSize: number };
    return (lastPageNumber + 1) * pageSize;
  }

  /** Records of all writers. */
  get records(): number {
    return (this.log.getStats() as { entryCount: number }).entryCount;
  }

  /** Bytes of the pages that hold records; what is more of the file is free, or tells what is. */
  get usedBytes(): number {
    const { pageSize, treeBranchPageCount, treeLeafPageCount, overflowPages } = this.log.getStats() as Record<string, number>;
    return (treeBranchPageCount! + treeLeafPageCount! + overflowPages!) * pageSize!;
  }

  /** What is read from now on is of the newest moment. */
  look(): void {
    this.root.resetReadTxn();
  }

  /** Records that `removeBefore` removes, at most. */
  private removalsBefore(writer: number, count: number): number {
    const start = this.oldest[writer];
    return start === undefined ? this.log.getKeysCount({ start: [writer], end: [writer, count] }) : Math.max(0, count - start);
  }

  private removeBefore(writer: number, count: number): void {
    const start = this.oldest[writer];
    const range = { start: start === undefined ? [writer] : [writer, start], end: [writer, count] };
    const keys = [...this.log.getKeys(range)];
    for (const key of keys) this.log.removeSync(key);
  }

  get(record: number): Buffer | null {
    return this.log.getBinary([writerOf(record), countOf(record)]) ?? null;
  }

  /** A record whose bytes are valid until the next one is read; null where it is not there. @throws what LMDB says */
  glance(record: number): Buffer | null {
    return this.log.getBinaryFast([writerOf(record), countOf(record)]) ?? null;
  }

  /**
   * Records of one writer from `count` on, until there are none or they have more than `bytesMax` together; at least one if there is one.
   * @param check says what is wrong with a record as a StoreError, thrown at the first one
   */
  read(writer: number, count: number, bytesMax: number, check: boolean): StoredRecord[] {
    const found: StoredRecord[] = [];
    let bytes = 0;
    for (const { key, value } of this.log.getRange({ start: [writer, count], end: [writer + 1], limit: 4096 })) {
      const record = recordNumber(key[1]!, writer);
      if (check) {
        const problem = recordProblem(value, record);
        if (problem !== null) throw damage(this.path, record, problem);
      }
      // A copy: the next step may use the same memory.
      found.push({ record, bytes: Buffer.from(value) });
      bytes += value.length;
      if (bytes >= bytesMax) break;
    }
    return found;
  }

  /** Count of the newest record of a writer; 0: it has none. */
  newestCount(writer: number): number {
    for (const key of this.log.getKeys({ start: [writer + 1], end: [writer], reverse: true, limit: 1 })) return key[1]!;
    return 0;
  }

  /** Count of the oldest record of a writer; 0: it has none. */
  oldestCount(writer: number): number {
    for (const key of this.log.getKeys({ start: [writer], end: [writer + 1], limit: 1 })) return key[1]!;
    return 0;
  }

  /** Removes the records of a writer before `count`, in small pieces. */
  removeOlder(writer: number, count: number): void {
    this.removeRange([writer, 0], [writer, count]);
  }

  /** Records of a writer from `count` on. */
  recordCount(writer: number, count: number): number {
    return this.log.getKeysCount({ start: [writer, count], end: [writer + 1] });
  }

  /** Removes what a change of the number of shards has left over: records before `firstCount`, or those of one that was not completed. In small pieces. */
  removeLeftOver(): void {
    const { pending, firstCount } = this.meta;
    for (let writer = 0; writer < WRITERS_MAX; writer++) {
      this.removeRange([writer, 0], [writer, firstCount]);
      if (pending !== undefined) this.removeRange([writer, pending.firstCount], [writer + 1]);
    }
    if (pending !== undefined) {
      const { pending: _, ...meta } = this.meta;
      this.writeMeta(meta);
    }
  }

  private removeRange(start: number[], end: number[]): void {
    for (;;) {
      const keys = [...this.log.getKeys({ start, end, limit: 1000 })];
      if (keys.length === 0) return;
      this.transaction(0, 0, keys.length, () => {
        for (const key of keys) this.log.removeSync(key);
      });
    }
  }

  /** Bytes of the file. */
  get fileBytes(): number {
    return statSync(join(this.path, 'data.mdb')).size;
  }

  /** After a failure: opens the environment anew if that may help. A disk that was full before LMDB had written anything only needs room. */
  async mend(): Promise<void> {
    if (!this.isOpen || this.mustReopen) await this.reopen();
  }

  /** Opens the environment anew: LMDB refuses everything after a failure at the wrong place. */
  async reopen(): Promise<void> {
    for (const hold of [...this.held]) hold.lose();
    if (this.isOpen) {
      this.isOpen = false;
      await this.root.close();
    }
    this.openTables();
  }

  /**
   * Puts another file, which holds the same records and is on disk, in the place of this one and opens it. Whoever holds a moment keeps it: nobody writes to the
   * old file any more.
   * @param directory where it is
   * @throws what the system says, and then the old file is still there. The environment may be closed afterwards, in both cases; `mend` opens what is there
   */
  async replaceFile(directory: string): Promise<void> {
    const file = join(this.path, 'data.mdb');
    // The system frees the old file when its last descriptor is closed, which takes long where it is large: that is done in the background.
    const old = openSync(file, 'r');
    try {
      for (const hold of this.held) hold.release();
      this.isOpen = false;
      await this.root.close();
      this.isNameNew = true;
      renameSync(join(directory, 'data.mdb'), file);
      this.held.clear();
      try {
        // It belongs to the old file; LMDB makes another.
        rmSync(join(this.path, 'lock.mdb'), { force: true });
        this.openTables();
      } catch {
        // It is tried again.
      }
    } finally {
      close(old, () => undefined);
    }
  }

  private openTables(): void {
    if (this.isNameNew) syncDirectory(this.path);
    this.isNameNew = false;
    this.room.open();
    const noSync = this.durability !== 'fsync';
    this.root = open({
      path: this.path,
      encoding: 'binary',
      maxDbs: 4,
      overlappingSync: false,
      noSync,
      noSubdir: false,
    });
    this.log = this.root.openDB('log', { encoding: 'binary', keyEncoding: 'ordered-binary' });
    this.metaTable = this.root.openDB('meta', { encoding: 'binary', keyEncoding: 'ordered-binary' });
    this.isOpen = true;
    this.mustReopen = false;
  }

  /** False: this file system cannot set room aside for LMDB, which may end the process when the disk is full. */
  get canReserve(): boolean {
    return this.room.canReserve;
  }

  /** As `sync`, and the thread does not wait. @param done called when it is there, or with what the system says */
  syncInBackground(done: (error: Error | null) => void): void {
    let handle: number;
    try {
      handle = openSync(join(this.path, 'data.mdb'), 'r+');
    } catch (error) {
      done(error as Error);
      return;
    }
    fsync(handle, (error) => {
      closeSync(handle);
      done(error);
    });
  }

  /** Brings to disk what durability `os` or `none` has left to the operating system. */
  sync(): void {
    if (this.durability === 'fsync') return;
    const fd = openSync(join(this.path, 'data.mdb'), 'r+');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  /**
   * Holds the newest moment: no commit writes over its pages until it is released. The file grows meanwhile by what is written.
   * @param onLost called when the store can hold it no longer
   * @throws StoreError when the environment is closed, or the file cannot be read
   */
  hold(onLost: () => void): HeldMoment {
    if (!this.isOpen) throw new StoreError('disk', `store: ${this.path} is not open`, 0);
    this.root.resetReadTxn();
    const pages = new PageFile(join(this.path, 'data.mdb'));
    pages.close();
    const [moment] = pages.moments;
    const transaction = this.root.useReadTransaction();
    let isHeld = true;
    const hold: Hold = {
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        transaction.done();
      },
      lose: () => {
        hold.release();
        this.held.delete(hold);
        onLost();
      },
    };
    this.held.add(hold);
    const release = (): void => {
      hold.release();
      this.held.delete(hold);
    };
    // Nobody commits between these lines, so the newest moment of the file is the one that is held.
    return { moment: moment!, release };
  }

  async close(): Promise<void> {
    for (const hold of [...this.held]) hold.lose();
    await this.root.close();
    this.room.release();
  }
}

/** Makes the names in a directory as durable as what lies behind them. */
export function syncDirectory(path: string): void {
  if (process.platform === 'win32') return;
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** A record that is not what it should be. */
function damage(path: string, record: number, problem: string): StoreError {
  const place = `record ${countOf(record)} of shard ${writerOf(record)}`;
  return new StoreError('damaged', `store: ${join(path, 'data.mdb')}: ${place}: ${problem}`, record);
}

/**
 * Looks at the structure of the file before LMDB maps it: LMDB trusts what it reads, and a file that is cut off or broken would end the whole process by a signal.
 * Costs about 10 ms for 15 MB of records. What lies in the records is checked when they are read.
 */
function checkStructure(path: string): void {
  const file = join(path, 'data.mdb');
  if (!existsSync(file)) return;
  if (isUnfinished(path)) {
    rmSync(file);
    return;
  }
  const pages = new PageFile(file);
  try {
    for (const { offset, text } of pages.check()) throw new StoreError('damaged', `store: ${file}: offset ${offset}: ${text}`, 0);
  } finally {
    pages.close();
  }
}

/** Is there while a new store is being made: an empty file beside it has lost nothing. */
const NEW_FILE = 'data.mdb.new';

/** Whether the process that made a new store died before it had written anything. */
export function isUnfinished(path: string): boolean {
  return statSync(join(path, 'data.mdb')).size === 0 && existsSync(join(path, NEW_FILE));
}

function openError(path: string, error: Error & { code?: unknown }): StoreError {
  switch (error.code) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case 13:
    case 1:
    case 30:
      return new StoreError('permission', `store: no permission to use ${path}; give its directory to the user that runs onehop`, 0);
    case 'ENOTDIR':
    case 'EEXIST':
      return new StoreError('permission', `store: ${path} is not a directory`, 0);
    case 'ENOSPC':
    case 'EDQUOT':
    case 28:
      return new StoreError('disk', `store: no space left for ${path}`, 0);
    default:
      return new StoreError('damaged', `store: cannot open ${join(path, 'data.mdb')}: ${error.message}`, 0);
  }
}
