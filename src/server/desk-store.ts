/**
 * What the API does with the store while the broker goes on: how it is, copies of it, and its file written anew.
 *
 * A copy is read from the file of the store at one moment that the store's thread holds, on a thread of its own; nothing that a client waits for is delayed.
 * A compaction is done by the store's thread between commits; commits wait for its last instant.
 */
import { existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { counter, countersRow, sumCounter } from '../shard/counters.ts';
import { type AskDesk, Refusal } from './ask-desk.ts';
import type { BackupStart, FromBackupThread } from './backup-thread.ts';
import type { StoreOwner } from './store-owner.ts';
import type { SupervisorParts } from './supervisor-asks.ts';

/** One directory below `store.backups`. */
const NAME = /^[A-Za-z0-9][\w.-]{0,99}$/;
/** So long an answer waits for a copy or a compaction to be done. */
const WAIT_MILLISECONDS = 5000;

/** The last copy. */
interface Backup {
  state: 'running' | 'done' | 'failed';
  /** Directory. */
  readonly path: string;
  readonly startedAt: string;
  endedAt: string | null;
  /** Records so far, and of how many. */
  records: number;
  of: number;
  bytes: number | null;
  error: string | null;
}

/** The last compaction. */
interface CompactionState {
  state: 'running' | 'done' | 'failed';
  readonly startedAt: string;
  endedAt: string | null;
  /** Bytes that have been copied, and of how many at least. */
  copiedBytes: number;
  of: number;
  /** Bytes of the file. */
  bytesBefore: number | null;
  bytesAfter: number | null;
  records: number | null;
  /** How long commits have waited. */
  pauseMilliseconds: number | null;
  error: string | null;
}

const COMPACTIONS = counter('store/compactions');
const COMPACTIONS_FAILED = counter('store/compactions/failed');

/** Names what is answered. */
export function storeAsks(desk: AskDesk, parts: SupervisorParts): void {
  const backups = new Backups(parts);
  const compactions = new Compactions(parts);
  desk.handle('store/read', async () => ({ ...(await storeOf(parts)), backup: backups.last, compaction: compactions.last }));
  desk.handle('store/backup', (asked: { name?: string | undefined }) => backups.begin(asked.name));
  desk.handle('store/compact', ({ pauseMillisecondsMax }: { pauseMillisecondsMax: number }) => compactions.begin(pauseMillisecondsMax));
}

async function storeOf({ settings, store, counters }: SupervisorParts): Promise<object> {
  const { enabled, path, durability, backups } = settings.store;
  if (store === null) return { isEnabled: enabled };
  const sum = (name: Parameters<typeof counter>[0]): number => sumCounter(counters, counter(name));
  const { records, usedBytes, lastCommitAt } = await store.state();
  return {
    isEnabled: true,
    path,
    durability,
    backups: backups === '' ? null : backups,
    bytes: statSync(join(path, 'data.mdb'), { throwIfNoEntry: false })?.size ?? 0,
    usedBytes,
    records,
    logBytes: sum('store/log-bytes'),
    commits: sum('store/commits'),
    failures: sum('store/failures'),
    isDegraded: sum('store/degraded') > 0,
    lastCommitAt: lastCommitAt === 0 ? null : new Date(lastCommitAt).toISOString(),
  };
}

class Backups {
  last: Backup | null;
  private readonly parts: SupervisorParts;

  constructor(parts: SupervisorParts) {
    this.last = null;
    this.parts = parts;
  }

  /** Begins a copy. @returns how it is when it is done, or after some seconds */
  begin(name: string = new Date().toISOString().replaceAll(/[:.]/g, '-')): Promise<Backup> {
    const { settings, log, store } = this.parts;
    const { backups, path } = settings.store;
    if (store === null) throw new Refusal('not-implemented', 'there is no store: store.enabled is false');
    if (backups === '') throw new Refusal('not-implemented', 'the API makes no copies: configure store.backups: ./onehop-backups');
    if (!NAME.test(name) || name.endsWith('.part'))
      throw new Refusal('unprocessable', `path: expected the name of a directory below ${backups}, such as monday-1`);
    if (this.last?.state === 'running') throw new Refusal('conflict', `a copy is being made: ${this.last.path}`);
    const target = join(backups, name);
    if (existsSync(target)) throw new Refusal('conflict', `${target} is there already; choose another path`);
    // Only a copy that is whole has the name.
    const partial = `${target}.part`;
    const startedAt = new Date().toISOString();
    const backup: Backup = { state: 'running', path: target, startedAt, endedAt: null, records: 0, of: 0, bytes: null, error: null };
    try {
      mkdirSync(backups, { recursive: true, mode: 0o700 });
      rmSync(partial, { recursive: true, force: true });
    } catch (error) {
      throw new Refusal('unavailable', `${backups}: cannot make this directory: ${(error as Error).message}`);
    }
    this.last = backup;
    const workerData: BackupStart = { directory: path, target: partial };
    const worker = new Worker(new URL('./backup-thread.js', import.meta.url), { workerData, name: 'backup' });
    worker.unref();
    log.info({ target }, 'a copy of the store is being made');
    return new Promise((resolve) => {
      const wait = setTimeout(resolve, WAIT_MILLISECONDS, backup).unref();
      const ended = (result: Partial<Backup>): void => {
        if (backup.state !== 'running') return;
        Object.assign(backup, result.state === 'done' ? named(partial, target, result) : result, { endedAt: new Date().toISOString() });
        if (backup.error === null) log.info({ target, records: backup.records, bytes: backup.bytes }, 'a copy of the store was made');
        else log.error({ target, error: backup.error }, 'a copy of the store could not be made');
        clearTimeout(wait);
        resolve(backup);
      };
      worker.on('message', (message: FromBackupThread) => {
        if (message.kind === 'progress') Object.assign(backup, { records: message.records, of: message.of });
        else if (message.kind === 'done') ended({ state: 'done', records: message.records, of: message.records, bytes: message.bytes });
        else ended({ state: 'failed', error: message.error });
      });
      worker.on('error', (error) => ended({ state: 'failed', error: error.message }));
      worker.on('exit', () => ended({ state: 'failed', error: 'the thread has ended' }));
    });
  }
}

/** The copy is whole, and gets its name. */
function named(partial: string, target: string, result: Partial<Backup>): Partial<Backup> {
  try {
    renameSync(partial, target);
    return result;
  } catch (error) {
    return { state: 'failed', error: `${target}: ${(error as Error).message}` };
  }
}

class Compactions {
  last: CompactionState | null;
  private readonly parts: SupervisorParts;
  /** The supervisor's counters stand in the row of shard 0, which does not write them. */
  private readonly counters: Float64Array;

  constructor(parts: SupervisorParts) {
    this.last = null;
    this.parts = parts;
    this.counters = countersRow(parts.counters, 0);
  }

  /** Begins one. @returns how it is when it is done, or after some seconds */
  begin(pauseMillisecondsMax: number): Promise<CompactionState> {
    const { store } = this.parts;
    if (store === null) throw new Refusal('not-implemented', 'there is no store: store.enabled is false');
    if (this.last?.state === 'running') throw new Refusal('conflict', `the store is being compacted since ${this.last.startedAt}`);
    const startedAt = new Date().toISOString();
    const compaction: CompactionState = {
      state: 'running',
      startedAt,
      endedAt: null,
      copiedBytes: 0,
      of: 0,
      bytesBefore: null,
      bytesAfter: null,
      records: null,
      pauseMilliseconds: null,
      error: null,
    };
    this.last = compaction;
    return new Promise((resolve) => {
      const wait = setTimeout(resolve, WAIT_MILLISECONDS, compaction).unref();
      void this.run(store, compaction, pauseMillisecondsMax).then(() => {
        clearTimeout(wait);
        resolve(compaction);
      });
    });
  }

  private async run(store: StoreOwner, compaction: CompactionState, pauseMillisecondsMax: number): Promise<void> {
    const { log, settings } = this.parts;
    const { path } = settings.store;
    const began = performance.now();
    log.info({ path }, 'the file of the store is being written anew');
    const { error, ...facts } = await store.compact(pauseMillisecondsMax, (copiedBytes, of) =>
      Object.assign(compaction, { copiedBytes, of }),
    );
    const milliseconds = Math.round(performance.now() - began);
    Object.assign(compaction, { state: error === null ? 'done' : 'failed', endedAt: new Date().toISOString(), error });
    if (error === null) {
      Object.assign(compaction, facts);
      this.counters[COMPACTIONS]!++;
      log.info({ path, ...facts, milliseconds }, 'the file of the store was written anew');
    } else {
      this.counters[COMPACTIONS_FAILED]!++;
      log.warn({ path, error, milliseconds }, 'the file of the store could not be written anew; it is as it was');
    }
  }
}
