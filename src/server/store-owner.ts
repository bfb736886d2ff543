/**
 * StoreOwner: the supervisor's hand on the store. It takes the lock, starts the store's thread, gives each shard its end, and closes all in order.
 */
import { join } from 'node:path';
import { MessageChannel, type MessagePort, type Worker } from 'node:worker_threads';
import type { Log } from '../base/log.ts';
import type { StoreSettings } from '../base/settings.ts';
import { damageText, type SalvageReport } from '../store/damage.ts';
import { StoreError } from '../store/store-error.ts';
import { StoreLock } from '../store/store-lock.ts';
import type { EarlyThread } from './early-thread.ts';
import { StartError } from './start-error.ts';
import type { StoreStart } from './store-link.ts';
import type { CompactionResult, FromStoreThread, StoreThreadStart, ToStoreThread } from './store-thread.ts';

const SALVAGE_ADVICE = 'restore a backup, or start with store.onCorruption: salvage to keep what is before the damage';

/** Opens the store of a configuration. @param thread its thread. @param measures where it says how it is. @throws StartError with one clear line */
export async function openStore(
  thread: EarlyThread<StoreThreadStart>,
  settings: StoreSettings,
  shards: number,
  measures: SharedArrayBuffer,
  log: Log,
): Promise<StoreOwner> {
  let lock: StoreLock;
  try {
    lock = new StoreLock(settings.path);
  } catch (error) {
    if (error instanceof StoreError) throw new StartError(error.message, 1);
    throw error;
  }
  const owner = new StoreOwner(thread.begin({ settings, shards, measures }), settings, shards, lock, log);
  await owner.opened;
  return owner;
}

/** Says what was damaged and what is left of it. */
function tellSalvage(path: string, report: SalvageReport, log: Log): void {
  const { damages, damageCount, aside, keptRecords, droppedRecords } = report;
  const file = join(path, 'data.mdb');
  for (const damage of damages) {
    const { offset, shard, count } = damage;
    log.error(
      { file, offset, ...(shard < 0 ? {} : { writer: shard, record: count }) },
      `the store was damaged: ${damageText(file, damage)}`,
    );
  }
  if (damageCount > damages.length) log.error({ damages: damageCount, file }, 'the store was damaged in more places than these');
  log.warn({ aside, keptRecords, droppedRecords }, 'the store was made anew of what is before the damage; the damaged file was put aside');
}

export class StoreOwner {
  /** Resolves when the store can be used, rejects with a StartError. */
  readonly opened: Promise<void>;
  /** Rejects with a StartError when the store turns out to be damaged while it is read. */
  readonly failure: Promise<never>;
  private readonly worker: Worker;
  private readonly lock: StoreLock;
  private readonly waiters: Set<(message: FromStoreThread) => boolean>;
  private epoch: number;
  private nextCounts: readonly number[];
  private isRewrite: boolean;

  constructor(worker: Worker, settings: StoreSettings, shards: number, lock: StoreLock, log: Log) {
    this.lock = lock;
    this.waiters = new Set();
    this.epoch = 0;
    this.nextCounts = [];
    this.isRewrite = false;
    this.worker = worker;
    this.worker.on('message', (message: FromStoreThread) => {
      for (const waiter of [...this.waiters]) if (waiter(message)) this.waiters.delete(waiter);
    });
    this.failure = new Promise((_, reject) => {
      this.waiters.add((message) => {
        if (message.kind !== 'unusable') return false;
        reject(new StartError(message.isDamage ? `${message.reason}; ${SALVAGE_ADVICE}` : message.reason, 1));
        return true;
      });
      this.worker.on('error', (error: Error) => {
        log.error({ error: error.message, stack: error.stack }, 'the store failed');
        reject(new StartError(`store: ${settings.path}: ${error.message}`, 1));
      });
    });
    this.waiters.add((message) => {
      if (message.kind === 'salvaged') tellSalvage(settings.path, message.report, log);
      if (message.kind === 'unreserved')
        log.info({ path: settings.path }, 'the file system cannot reserve room for the store: a full disk may end the broker');
      return message.kind === 'opened';
    });
    // Waited for at the start; later nobody does.
    this.failure.catch(() => undefined);
    const opened = this.waitFor('opened').then(({ epoch, nextCounts, isRewrite }) => {
      this.epoch = epoch;
      this.nextCounts = nextCounts;
      this.isRewrite = isRewrite;
      if (isRewrite) log.info({ shards }, 'the store was written by another number of shards: it is written anew');
    });
    this.opened = Promise.race([opened, this.failure]);
  }

  private tell(message: ToStoreThread, transfer: MessagePort[] = []): void {
    this.worker.postMessage(message, transfer);
  }

  private waitFor<K extends FromStoreThread['kind']>(kind: K): Promise<Extract<FromStoreThread, { kind: K }>> {
    return new Promise((resolve) => {
      this.waiters.add((message) => {
        if (message.kind !== kind) return false;
        resolve(message as Extract<FromStoreThread, { kind: K }>);
        return true;
      });
    });
  }

  /** The end of the store for a shard that starts with the process. */
  attach(shard: number): StoreStart {
    const { port1, port2 } = new MessageChannel();
    this.tell({ kind: 'attach', shard, port: port2 }, [port2]);
    return { port: port1, epoch: this.epoch, nextCount: this.nextCounts[shard]!, isRewrite: this.isRewrite, isProcessStart: true };
  }

  /** The shard's thread has ended. Resolves when all that it had handed over is in the store. */
  async detach(shard: number): Promise<void> {
    const detached = this.waitFor('detached');
    this.tell({ kind: 'detach', shard });
    await detached;
  }

  /** The end of the store for the successor of a shard that died. */
  async reattach(shard: number): Promise<StoreStart> {
    const { port1, port2 } = new MessageChannel();
    const attached = this.waitFor('attached');
    this.tell({ kind: 'attach', shard, port: port2 }, [port2]);
    const { epoch, nextCount } = await attached;
    return { port: port1, epoch, nextCount, isRewrite: false, isProcessStart: false };
  }

  /** Every shard has what is its own. Resolves when the store belongs to this number of shards. */
  async adopt(): Promise<void> {
    const adopted = this.waitFor('adopted');
    this.tell({ kind: 'adopt' });
    await adopted;
  }

  /** Records, bytes of the pages that hold them, and when the last commit was (wall milliseconds, 0: none yet). */
  async state(): Promise<{ readonly records: number; readonly usedBytes: number; readonly lastCommitAt: number }> {
    const told = this.waitFor('state');
    this.tell({ kind: 'state' });
    return told;
  }

  /**
   * Writes the file of the store anew, without its free pages. One at a time.
   * @param pauseMillisecondsMax how long commits may wait
   * @param progress told now and then how many bytes of how many have been copied
   */
  async compact(pauseMillisecondsMax: number, progress: (bytes: number, of: number) => void): Promise<CompactionResult> {
    const watch = (message: FromStoreThread): boolean => {
      if (message.kind === 'compacting') progress(message.bytes, message.of);
      return message.kind === 'compacted';
    };
    this.waiters.add(watch);
    const compacted = this.waitFor('compacted');
    this.tell({ kind: 'compact', pauseMillisecondsMax });
    return (await compacted).result;
  }

  /** Closes the store after the shards have ended, and gives up the lock. */
  async close(timeoutMilliseconds: number): Promise<void> {
    const closed = this.waitFor('closed');
    this.tell({ kind: 'close' });
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMilliseconds);
    });
    await Promise.race([closed, timeout, this.failure.catch(() => undefined)]);
    clearTimeout(timer);
    await this.worker.terminate();
    this.lock.release();
  }
}
