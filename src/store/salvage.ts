/**
 * Salvage: a new store from what is before the damage of a broken one.
 *
 *   damaged data.mdb → records of each shard up to its first damage → new file beside it → data.mdb.damaged-<time> keeps the old one, data.mdb is the new one
 *
 * Shards are independent: damage in the log of one costs the others nothing. The file holds two moments, and the older one is whole even where the last commit is
 * not; of both, each shard takes the one that has more. Nothing is changed before the new file is complete and on disk.
 */
import { copyFileSync, existsSync, linkSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ENTRY_DEAD, ENTRY_MESSAGE, ENTRY_RETAINED, EntryReader } from '../journal/entry.ts';
import { RECORD_HEAD_BYTES, recordEnd, WRITERS_MAX } from '../journal/record.ts';
import type { Damage, SalvageReport } from './damage.ts';
import { entryProblem } from './entry-check.ts';
import { type LogItem, LogReader } from './log-reader.ts';
import { FRESH_DIRECTORY, isUnfinished, LogStore, type RecordWrite, syncDirectory } from './log-store.ts';
import { PageFile } from './page-file.ts';
import { StoreError } from './store-error.ts';
import { EPOCH_IDS, NEW_META, type StoreMeta } from './store-meta.ts';

const COMMIT_BYTES = 4 * 1024 * 1024;
/** Damages that are told one by one. */
const DAMAGES_MAX = 20;

/** Records of one moment that may be kept: for each shard the last one before its first damage. */
interface Prefix {
  readonly reader: LogReader;
  readonly last: number[];
  readonly damages: Damage[];
  readonly damageCount: number;
  readonly records: number;
  /** Largest number of a session, for a store that does not know its epoch any more. */
  readonly largestId: number;
}

/** The damage that an item is, or holds; null: it is sound. */
export function damageOf(item: LogItem): Damage | null {
  if (item.kind === 'problem') return { offset: item.offset, shard: item.writer, count: item.count, at: -1, text: item.text };
  const problem = entryProblem(item.bytes);
  if (problem === null) return null;
  return { offset: item.offset + problem.at, shard: item.writer, count: item.count, at: problem.at, text: problem.text };
}

/** Whether all that the store in a directory holds is as it was written. @throws StoreError of kind `version` */
export function isSound(directory: string): boolean {
  const file = join(directory, 'data.mdb');
  if (!existsSync(file) || isUnfinished(directory)) return true;
  const pages = openDamaged(file);
  if (pages === null) return false;
  try {
    for (const _ of pages.check()) return false;
    const reader = new LogReader(directory, pages, null);
    if (reader.problems.length > 0) return false;
    for (const item of reader.items()) if (damageOf(item) !== null) return false;
    return true;
  } finally {
    pages.close();
  }
}

function readPrefix(reader: LogReader): Prefix {
  const last: number[] = new Array<number>(WRITERS_MAX).fill(0);
  const isBroken: boolean[] = new Array<boolean>(WRITERS_MAX).fill(false);
  const damages: Damage[] = reader.problems.map(({ offset, text }) => ({ offset, shard: -1, count: -1, at: -1, text }));
  let damageCount = damages.length;
  let records = 0;
  let largestId = 0;
  let writer = 0;
  let isGap = false;
  for (const item of reader.items()) {
    if (item.writer >= 0) {
      // Somewhere between this record and the one before, others are missing: of this shard, of that one, of those between.
      if (isGap) isBroken.fill(true, writer, item.writer + 1);
      isGap = false;
      writer = item.writer;
    }
    const damage = damageOf(item);
    if (damage !== null) {
      damageCount++;
      if (damages.length < DAMAGES_MAX) damages.push(damage);
      if (item.writer >= 0) isBroken[item.writer] = true;
      else if (item.kind === 'problem') isGap ||= item.isGap;
      continue;
    }
    if (item.kind !== 'record') continue;
    records++;
    if (reader.meta === null) largestId = Math.max(largestId, largestIdOf(item.bytes));
    if (!isBroken[item.writer]) last[item.writer] = item.count;
  }
  return { reader, last, damages, damageCount, records, largestId };
}

function largestIdOf(bytes: Buffer): number {
  const reader = new EntryReader();
  reader.reset(bytes, RECORD_HEAD_BYTES, recordEnd(bytes));
  let largest = 0;
  while (reader.next()) {
    const hasId = reader.kind !== ENTRY_MESSAGE && reader.kind !== ENTRY_RETAINED && reader.kind !== ENTRY_DEAD;
    if (hasId && Number.isSafeInteger(reader.id)) largest = Math.max(largest, reader.id);
  }
  return largest;
}

/**
 * Makes the store in a directory usable again. The caller holds its lock.
 * @throws StoreError of kind `version` for a store of another version, whatever the system says when the disk refuses; then nothing has changed
 */
export async function salvage(directory: string): Promise<SalvageReport> {
  const pages = openDamaged(join(directory, 'data.mdb'));
  const fresh = join(directory, FRESH_DIRECTORY);
  try {
    const prefixes: Prefix[] = [];
    if (pages !== null)
      for (let age = 0; age < pages.moments.length; age++) prefixes.push(readPrefix(new LogReader(directory, pages, null, age)));
    const kept = await writeFresh(fresh, prefixes);
    const damages = damagesOf(pages, prefixes);
    const damageCount = Math.max(damages.length, prefixes[0]?.damageCount ?? 0);
    const droppedRecords = Math.max(0, (prefixes[0]?.records ?? 0) - kept);
    return { aside: setAside(directory, fresh), damages, damageCount, keptRecords: kept, droppedRecords };
  } catch (error) {
    if (error instanceof StoreError) throw error;
    const reason = (error as Error).message;
    throw new StoreError(
      'disk',
      `store: ${directory} is damaged, and what is left cannot be written to a new file: ${reason}; nothing was changed`,
      0,
    );
  } finally {
    pages?.close();
    rmSync(fresh, { recursive: true, force: true });
  }
}

async function writeFresh(fresh: string, prefixes: readonly Prefix[]): Promise<number> {
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh);
  const store = new LogStore(fresh, 'none');
  try {
    store.writeMeta(metaOf(prefixes));
    const best = bestOf(prefixes);
    let kept = 0;
    for (const prefix of prefixes)
      kept += copyRecords(prefix.reader, store, ({ writer, count }) => best[writer] === prefix && count <= prefix.last[writer]!);
    store.sync();
    return kept;
  } finally {
    await store.close();
  }
}

/** What is wrong with the newest moment, and with the file where it does not even have one. */
function damagesOf(pages: PageFile | null, prefixes: readonly Prefix[]): Damage[] {
  const damages = [...(prefixes[0]?.damages ?? [])];
  for (const { offset, text } of pages?.check() ?? []) {
    if (!damages.some((known) => known.offset === offset)) damages.push({ offset, shard: -1, count: -1, at: -1, text });
    if (damages.length >= DAMAGES_MAX) break;
  }
  if (damages.length === 0) damages.push({ offset: 0, shard: -1, count: -1, at: -1, text: 'nothing of it can be read' });
  return damages.slice(0, DAMAGES_MAX);
}

function openDamaged(file: string): PageFile | null {
  try {
    return new PageFile(file);
  } catch (error) {
    if (error instanceof StoreError && error.kind === 'damaged') return null;
    throw error;
  }
}

/** For each shard the moment that has more of its log. */
function bestOf(prefixes: readonly Prefix[]): Prefix[] {
  const best: Prefix[] = [];
  for (let writer = 0; writer < WRITERS_MAX; writer++) {
    for (const prefix of prefixes)
      if (best[writer] === undefined || prefix.last[writer]! > best[writer]!.last[writer]!) best[writer] = prefix;
  }
  return best;
}

/** What was known of the whole store. Where that is lost, the store is one of more shards than any broker has: then each shard looks through all records. */
function metaOf(prefixes: readonly Prefix[]): StoreMeta {
  for (const { reader } of prefixes) if (reader.meta !== null) return reader.meta;
  const hasRecords = prefixes.some((prefix) => prefix.records > 0);
  const largestId = Math.max(0, ...prefixes.map((prefix) => prefix.largestId));
  return { ...NEW_META, shards: hasRecords ? WRITERS_MAX : 0, epoch: Math.floor(largestId / EPOCH_IDS) };
}

/** Copies records as they are. @returns how many */
export function copyRecords(reader: LogReader, store: LogStore, isKept: (item: LogItem) => boolean): number {
  let writes: RecordWrite[] = [];
  let bytes = 0;
  let kept = 0;
  const commit = (): void => {
    if (writes.length > 0) store.commit(writes);
    kept += writes.length;
    writes = [];
    bytes = 0;
  };
  for (const item of reader.items()) {
    if (!isKept(item) || item.kind !== 'record') continue;
    writes.push({ record: item.record, bytes: item.bytes, keepFrom: 0 });
    bytes += item.bytes.length;
    if (bytes >= COMMIT_BYTES) commit();
  }
  commit();
  return kept;
}

/** Puts the new file in the place of the old one, which gets another name. At no moment there is none. */
function setAside(directory: string, fresh: string): string {
  const file = join(directory, 'data.mdb');
  const stamp = new Date().toISOString().replace(/[-:]/g, '').replace(/\.\d+/, '');
  let aside = join(directory, `data.mdb.damaged-${stamp}`);
  for (let number = 2; existsSync(aside); number++) aside = join(directory, `data.mdb.damaged-${stamp}-${number}`);
  try {
    linkSync(file, aside);
  } catch {
    // A file system without second names.
    copyFileSync(file, aside);
  }
  replaceFile(directory, fresh);
  return aside;
}

/** Puts the file of the store in `fresh`, a directory inside of `directory`, in the place of that of `directory`. */
export function replaceFile(directory: string, fresh: string): void {
  syncDirectory(fresh);
  renameSync(join(fresh, 'data.mdb'), join(directory, 'data.mdb'));
  // It belongs to the old file; LMDB makes another.
  rmSync(join(directory, 'lock.mdb'), { force: true });
  rmSync(fresh, { recursive: true, force: true });
  syncDirectory(directory);
}
