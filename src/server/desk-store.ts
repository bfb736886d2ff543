/**
 * What the API does with the store: how it is, and copies of it while the broker goes on.
 *
 * A copy is read from the file of the store at one moment that the store's thread holds, on a thread of its own; nothing that a client waits for is delayed.
 */
import { existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { counter, sumCounter } from '../shard/counters.ts';
import { type AskDesk, Refusal } from './ask-desk.ts';
import type { BackupStart, FromBackupThread } from './backup-thread.ts';
import type { SupervisorParts } from './supervisor-asks.ts';

/** One directory below `store.backups`. */
const NAME = /^[A-Za-z0-9][\w.-]{0,99}$/;
/** So long an answer waits for a copy to be done. */
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

/** Names what is answered. */
export function storeAsks(desk: AskDesk, parts: SupervisorParts): void {
  const backups = new Backups(parts);
  desk.handle('store/read', async () => ({ ...(await storeOf(parts)), backup: backups.last }));
  desk.handle('store/backup', (asked: { name?: string | undefined }) => backups.begin(asked.name));
  desk.handle('store/compact', () => {
    const { settings } = parts;
    if (!settings.store.enabled) throw new Refusal('not-implemented', 'there is no store: store.enabled is false');
    throw new Refusal(
      'not-implemented',
      `a store that is in use cannot be rewritten: stop the broker, then: onehop store compact ${settings.store.path}`,
    );
  });
}

async function storeOf({ settings, store, counters }: SupervisorParts): Promise<object> {
  const { enabled, path, durability, backups } = settings.store;
  if (store === null) return { isEnabled: enabled };
  const sum = (name: Parameters<typeof counter>[0]): number => sumCounter(counters, counter(name));
  const { records, lastCommitAt } = await store.state();
  return {
    isEnabled: true,
    path,
    durability,
    backups: backups === '' ? null : backups,
    bytes: statSync(join(path, 'data.mdb'), { throwIfNoEntry: false })?.size ?? 0,
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
