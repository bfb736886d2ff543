/**
 * Compaction: the file of a store written anew, without its free pages, while the store goes on.
 *
 *   data.mdb ── records, oldest first, in pieces between commits ──▶ data.mdb.fresh/data.mdb
 *   what has come meanwhile, again and again, until little is left ── commits wait ── the rest, fsync, renamed to data.mdb, opened ── commits go on
 *
 * It can follow a store that is written to, because records never change: a log grows at its new end and shrinks at its old one. So commits wait for the last few
 * of them only, however large the store is.
 *
 * Invariant: `data.mdb` is the old file until the new one is whole and on disk; that instant is one rename. Owned by the thread of the store.
 */
import { mkdirSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { countOf, WRITERS_MAX } from '../journal/record.ts';
import { FRESH_DIRECTORY, LogStore, syncDirectory } from './log-store.ts';

/** Records that are read at one time. */
const PIECE_BYTES = 512 * 1024;
/** Commits of the shards wait for one step at most. */
const STEP_MILLISECONDS = 4;
/** So much is left to the system before it is asked to write: more would delay the fsync of the commits. */
const SYNC_BYTES = 16 * 1024 * 1024;
/** So little may be left for the time in which commits wait. */
const REST_BYTES = 2 * 1024 * 1024;
/** How often it looks again whether so little is left; then the time that commits may wait decides. */
const ROUNDS_MAX = 20;
/** Room that the disk keeps for the store itself, and for others. */
const SPARE_BYTES = 64 * 1024 * 1024;
/** Pages of the new file that are not quite full. */
const ROOM_FACTOR = 1.1;
/** A store that is written to so much while it is copied cannot be followed. */
const FOLLOWED_FACTOR = 4;
const FOLLOWED_BYTES = 1024 * 1024 * 1024;

/** Why a compaction was not begun or not completed: a sentence for people. The store is as it was. */
export class CompactionError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'CompactionError';
  }
}

export class Compaction {
  /** Bytes of the file before. */
  readonly bytesBefore: number;
  /** Bytes of the pages that hold records, when it began: so much is copied at least. */
  readonly usedBytes: number;
  /** Bytes of records so far. */
  copiedBytes: number;
  /** Of the new file, when it is finished. */
  bytesAfter: number;
  records: number;
  private readonly store: LogStore;
  private readonly directory: string;
  private readonly fresh: LogStore;
  private isFreshOpen: boolean;
  /** For each shard the count of the first record that has not been copied. */
  private readonly next: number[];
  private syncedBytes: number;

  /** @throws CompactionError when there is no room for a second file; what the system says when it cannot be made */
  constructor(store: LogStore) {
    this.store = store;
    this.bytesBefore = store.fileBytes;
    this.usedBytes = store.usedBytes;
    this.copiedBytes = 0;
    this.bytesAfter = 0;
    this.records = 0;
    this.syncedBytes = 0;
    this.next = new Array<number>(WRITERS_MAX).fill(0);
    const free = freeBytes(store.path);
    const needed = Math.ceil(this.usedBytes * ROOM_FACTOR) + SPARE_BYTES;
    if (free < needed)
      throw new CompactionError(
        `the disk of ${store.path} has ${free} bytes free, and a second file needs ${needed}: ${this.usedBytes} are in use, and ${SPARE_BYTES} stay free`,
      );
    this.directory = join(store.path, FRESH_DIRECTORY);
    rmSync(this.directory, { recursive: true, force: true });
    try {
      mkdirSync(this.directory);
      this.fresh = new LogStore(this.directory, 'none');
    } catch (error) {
      removeFresh(store.path);
      throw error;
    }
    this.isFreshOpen = true;
  }

  /**
   * Copies, between whatever else the thread does, until little is left.
   * @param goOn called after each step; throws to end it
   */
  async follow(goOn: () => void): Promise<void> {
    const mostBytes = this.usedBytes * FOLLOWED_FACTOR + FOLLOWED_BYTES;
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const before = this.copiedBytes;
      while (this.step()) {
        if (this.copiedBytes - this.syncedBytes >= SYNC_BYTES) await this.sync();
        else await nextTurn();
        goOn();
        if (this.copiedBytes > mostBytes)
          throw new CompactionError('more is written to the store than can be followed: try again when there is less traffic');
      }
      await this.sync();
      goOn();
      this.trim();
      if (this.copiedBytes - before <= REST_BYTES) return;
    }
  }

  /**
   * Copies the rest, and brings all to disk. Nothing may be committed from here to the end of `replace`.
   * @param deadline as `performance.now()` has it
   * @throws CompactionError when that would take longer
   */
  finish(deadline: number): void {
    const inTime = (): void => {
      if (performance.now() > deadline)
        throw new CompactionError(
          'commits would have waited longer than they may: try again when there is less traffic, or allow a longer pause',
        );
    };
    do inTime();
    while (this.step());
    this.trim();
    this.fresh.writeMeta(this.store.meta);
    this.compare();
    inTime();
    this.fresh.sync();
    inTime();
    syncDirectory(this.directory);
    this.bytesAfter = this.fresh.fileBytes;
    this.records = this.fresh.records;
  }

  /** Puts the new file in the place of the old one. @throws what the system says; then the old file is the store's. `LogStore.mend` opens what could not be opened */
  async replace(): Promise<void> {
    this.isFreshOpen = false;
    await this.fresh.close();
    await this.store.replaceFile(this.directory);
  }

  /** Takes away what was made and is not needed. */
  async end(): Promise<void> {
    if (this.isFreshOpen) await this.fresh.close().catch(() => undefined);
    this.isFreshOpen = false;
    removeFresh(this.store.path);
  }

  /** Copies for some milliseconds. @returns whether there was anything */
  private step(): boolean {
    const { store, fresh, next } = this;
    const end = performance.now() + STEP_MILLISECONDS;
    store.look();
    for (let writer = 0; writer < WRITERS_MAX; writer++) {
      for (;;) {
        const records = store.read(writer, next[writer]!, PIECE_BYTES, true);
        if (records.length === 0) break;
        fresh.commit(records.map(({ record, bytes }) => ({ record, bytes, keepFrom: 0 })));
        next[writer] = countOf(records[records.length - 1]!.record) + 1;
        for (const { bytes } of records) this.copiedBytes += bytes.length;
        if (performance.now() > end) return true;
      }
    }
    return false;
  }

  /** Removes what the store has removed meanwhile. */
  private trim(): void {
    this.store.look();
    for (let writer = 0; writer < WRITERS_MAX; writer++) {
      const oldest = this.store.oldestCount(writer);
      this.fresh.removeOlder(writer, oldest === 0 ? Number.MAX_SAFE_INTEGER : oldest);
    }
  }

  private compare(): void {
    const { store, fresh } = this;
    store.look();
    fresh.look();
    let isSame = store.records === fresh.records;
    for (let writer = 0; writer < WRITERS_MAX; writer++)
      isSame &&= store.newestCount(writer) === fresh.newestCount(writer) && store.oldestCount(writer) === fresh.oldestCount(writer);
    if (!isSame) throw new CompactionError(`the new file has ${fresh.records} records and not the ${store.records} of the old one`);
  }

  private async sync(): Promise<void> {
    if (freeBytes(this.directory) < SPARE_BYTES)
      throw new CompactionError(`less than ${SPARE_BYTES} bytes of the disk are left for a second file`);
    await new Promise<void>((resolve, reject) => {
      this.fresh.syncInBackground((error) => (error === null ? resolve() : reject(error)));
    });
    this.syncedBytes = this.copiedBytes;
  }
}

/** Takes away what a process that was killed has left of a new file. A disk that does not allow it is no reason not to start. */
export function removeFresh(directory: string): void {
  try {
    rmSync(join(directory, FRESH_DIRECTORY), { recursive: true, force: true });
  } catch {
    // Whoever makes the next one says what is wrong.
  }
}

/** What this user may still write to the file system of a directory. */
function freeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}
