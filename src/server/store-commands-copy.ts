/**
 * StoreCommandsCopy: a store made smaller, and a copy of one that is in use.
 *
 *   compact: lock → what is still needed, written to a new file beside the old → compared → moved to its place        the old one stays until that last step
 *   backup:  the records of one moment, which the broker holds while it goes on, to a file of their own → every record of that is read
 */
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { packObject } from '../base/pack.ts';
import { ENTRY_DELIVERY, ENTRY_MESSAGE, ENTRY_ORIGIN, ENTRY_OWN, ENTRY_RETAINED } from '../journal/entry.ts';
import { LogReader, type LogRecord } from '../store/log-reader.ts';
import { FRESH_DIRECTORY, LogStore } from '../store/log-store.ts';
import { PageFile } from '../store/page-file.ts';
import { copyRecords, damageOf, replaceFile } from '../store/salvage.ts';
import type { StoreContents } from '../store/store-contents.ts';
import { StoreError } from '../store/store-error.ts';
import { StoreLock } from '../store/store-lock.ts';
import { StoreWriter } from '../store/store-writer.ts';
import { explained, type Progress, readContents, refuseDamage, StoreCommandError, verifyStore, withReader } from './store-commands.ts';

/** Sizes of the file. */
export interface Compaction {
  readonly before: number;
  readonly after: number;
}

/** Rewrites a store that nobody uses with only what is still needed. @throws StoreCommandError; then the store is as it was */
export function compactStore(directory: string, progress: Progress): Promise<Compaction> {
  return explained(async () => {
    const file = join(directory, 'data.mdb');
    if (!existsSync(file)) throw new StoreError('absent', `store: there is no store in ${directory}`, 0);
    const lock = lockToCompact(directory);
    const fresh = join(directory, FRESH_DIRECTORY);
    try {
      const before = statSync(file).size;
      const reader = new LogReader(directory, new PageFile(file), null);
      try {
        for (const { offset, text } of reader.check()) refuseDamage(reader, { offset, shard: -1, count: -1, at: -1, text });
        await writeLive(reader, fresh, progress);
      } finally {
        reader.close();
      }
      replaceFile(directory, fresh);
      return { before, after: statSync(file).size };
    } finally {
      rmSync(fresh, { recursive: true, force: true });
      lock.release();
    }
  }, directory);
}

/** A store that a broker uses is not locked out of use: that broker can do it itself. */
function lockToCompact(directory: string): StoreLock {
  try {
    return new StoreLock(directory);
  } catch (error) {
    if (!(error instanceof StoreError) || error.kind !== 'in-use') throw error;
    const [what] = error.message.split('; ');
    throw new StoreError('in-use', `${what}; a running broker compacts its own store: onehop api POST store/compact --data '{}'`, 0);
  }
}

async function writeLive(reader: LogReader, fresh: string, progress: Progress): Promise<void> {
  const contents = readContents(reader, progress, (damage) => refuseDamage(reader, damage));
  if (reader.meta === null) throw new StoreError('damaged', `store: ${reader.file}: what is known of the whole store is missing`, 0);
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh);
  const { pending: _, ...meta } = reader.meta;
  const nextCounts: number[] = new Array<number>(meta.shards).fill(meta.firstCount);
  for (const item of reader.items()) nextCounts[item.writer] = Math.max(nextCounts[item.writer] ?? meta.firstCount, item.count + 1);
  const store = new LogStore(fresh, 'none');
  try {
    store.writeMeta(meta);
    // Numbers of records are never used again.
    const writer = new StoreWriter(store, nextCounts);
    for (const { id, writer: shard, whole } of contents.holders.values()) if (whole !== null) writer.whole(shard, id, whole);
    for (const item of reader.items()) if (item.kind === 'record' && reader.counts(item.count)) copyLive(item, contents, writer);
    writer.finish();
  } finally {
    await store.close();
  }
  compare(contents, fresh);
}

function copyLive(record: LogRecord, contents: StoreContents, writer: StoreWriter): void {
  const { bytes, writer: shard } = record;
  for (const live of contents.liveItems(record)) {
    const batch = writer.begin(shard);
    switch (live.kind) {
      case 'message':
        batch.copy(ENTRY_MESSAGE, bytes, live.at, live.end);
        for (const { at, end, state, packetId } of live.deliveries)
          batch.setState(batch.copy(ENTRY_DELIVERY, bytes, at, end), state, packetId);
        break;
      case 'retained':
        batch.copy(ENTRY_RETAINED, bytes, live.at, live.end);
        break;
      case 'own':
        batch.packed(ENTRY_OWN, live.id, packObject(live.object));
        break;
      case 'origin':
        batch.copy(ENTRY_ORIGIN, bytes, live.at, live.end);
        break;
    }
  }
}

/** The new file must say what the old one said. */
function compare(contents: StoreContents, fresh: string): void {
  const reader = new LogReader(fresh, new PageFile(join(fresh, 'data.mdb')), null);
  try {
    const written = readContents(
      reader,
      () => undefined,
      (damage) => refuseDamage(reader, damage),
    );
    const before = JSON.stringify(contents.counts);
    const after = JSON.stringify(written.counts);
    if (before !== after)
      throw new StoreCommandError(`the new file does not hold what the old one does (${before}, ${after}): the store is left as it was`);
  } finally {
    reader.close();
  }
}

/** What a backup has made. */
export interface Backup {
  readonly records: number;
  readonly bytes: number;
}

/** Copies one moment of a store, which a broker may be using, into a directory that is new or empty, and reads the copy. @throws StoreCommandError */
export function backupStore(directory: string, target: string, progress: Progress): Promise<Backup> {
  return explained(async () => {
    if (existsSync(target) && (!statSync(target).isDirectory() || readdirSync(target).length > 0))
      throw new StoreCommandError(`${target} is not empty; name a directory that is new or empty`);
    const isNew = !existsSync(target);
    let isDone = false;
    try {
      await withReader(directory, (reader) => copyTo(reader, target, progress));
      const damages: string[] = [];
      const { records } = await verifyStore(target, (line) => damages.push(line), progress);
      if (damages.length > 0) throw new StoreCommandError(`the copy is not what was written, and is removed: ${damages[0]}`);
      isDone = true;
      return { records, bytes: statSync(join(target, 'data.mdb')).size };
    } finally {
      if (!isDone) removeCopy(target, isNew);
    }
  }, target);
}

/** Takes away what has been written of a copy, where there is anything. */
function removeCopy(target: string, isNew: boolean): void {
  try {
    if (isNew) rmSync(target, { recursive: true, force: true });
    else for (const name of readdirSync(target)) rmSync(join(target, name), { recursive: true, force: true });
  } catch {
    // The target cannot even be looked at; why is told already.
  }
}

async function copyTo(reader: LogReader, target: string, progress: Progress): Promise<void> {
  const refuse = ({ offset, text }: { offset: number; text: string }): never =>
    refuseDamage(reader, { offset, shard: -1, count: -1, at: -1, text });
  for (const problem of [...reader.check(), ...reader.problems]) refuse(problem);
  if (reader.meta === null) refuse({ offset: 0, text: 'what is known of the whole store is missing' });
  const store = new LogStore(target, 'none');
  try {
    store.writeMeta(reader.meta!);
    let items = 0;
    copyRecords(reader, store, (item) => {
      progress(++items, reader.entries);
      const damage = damageOf(item);
      if (damage !== null) refuseDamage(reader, damage);
      return true;
    });
    store.sync();
  } finally {
    await store.close();
  }
}
