/**
 * HistoryOwner: the supervisor's hand on the message history. It takes the lock, starts the thread, gives each shard its ring, and passes questions on.
 */
import { Worker } from 'node:worker_threads';
import type { Log } from '../base/log.ts';
import { ringBufferBytes } from '../base/ring.ts';
import type { HistorySettings } from '../base/settings.ts';
import type { HistoryWiring } from '../shard/history.ts';
import { StoreError } from '../store/store-error.ts';
import { StoreLock } from '../store/store-lock.ts';
import type { FromHistoryThread, HistoryAsk, HistoryThreadStart, ToHistoryThread } from './history-thread.ts';
import { StartError } from './start-error.ts';

/** Questions that wait for answers. */
const WAITING_MAX = 64;

/** Opens the history of a configuration. @throws StartError with one clear line */
export async function openHistory(settings: HistorySettings, shards: number, log: Log): Promise<HistoryOwner> {
  let lock: StoreLock;
  try {
    lock = new StoreLock(settings.path, 'history.path');
  } catch (error) {
    if (error instanceof StoreError) throw new StartError(error.message, 1);
    throw error;
  }
  const owner = new HistoryOwner(settings, shards, lock, log);
  await owner.opened;
  return owner;
}

export class HistoryOwner {
  /** Resolves when the thread runs, rejects with a StartError. */
  readonly opened: Promise<void>;
  private readonly worker: Worker;
  private readonly lock: StoreLock;
  private readonly log: Log;
  private readonly path: string;
  private readonly rings: readonly SharedArrayBuffer[];
  private readonly wake: SharedArrayBuffer;
  private readonly newest: SharedArrayBuffer;
  private readonly waiting: Map<number, (value: unknown) => void>;
  private nextRequest: number;
  private closed: () => void;
  private hasEnded: boolean;

  constructor(settings: HistorySettings, shards: number, lock: StoreLock, log: Log) {
    this.lock = lock;
    this.log = log;
    this.path = settings.path;
    this.rings = Array.from({ length: shards }, () => new SharedArrayBuffer(ringBufferBytes(settings.bufferBytes)));
    this.wake = new SharedArrayBuffer(64);
    this.newest = new SharedArrayBuffer(shards * 8);
    this.waiting = new Map();
    this.nextRequest = 1;
    this.closed = () => {};
    this.hasEnded = false;
    const workerData: HistoryThreadStart = { settings, rings: this.rings, wake: this.wake, newest: this.newest };
    this.worker = new Worker(new URL('./history-thread.js', import.meta.url), { workerData, name: 'history' });
    this.opened = new Promise((resolve, reject) => {
      this.worker.on('message', (message: FromHistoryThread) => {
        if (message.kind === 'opened') resolve();
        if (message.kind === 'unusable') reject(new StartError(`history: ${settings.path}: ${message.reason}`, 1));
        this.came(message);
      });
      this.worker.on('error', (error: Error) => reject(new StartError(`history: ${settings.path}: ${error.message}`, 1)));
    });
    this.worker.on('error', (error: Error) =>
      log.error({ error: error.message, stack: error.stack }, 'the history failed: no message is kept any more'),
    );
    this.worker.on('exit', () => this.ended());
  }

  private came(message: FromHistoryThread): void {
    const { log, path } = this;
    switch (message.kind) {
      case 'opened':
        if (message.damage !== '')
          log.error({ path, damage: message.damage }, 'the history was damaged: the file was put aside, and a new one begins');
        return;
      case 'failing':
        log.error({ path, reason: message.reason }, 'the history cannot be written: messages are not kept, and go on');
        return;
      case 'working':
        log.info({ path, lost: message.lost }, 'the history is written again');
        return;
      case 'answer': {
        const done = this.waiting.get(message.request);
        this.waiting.delete(message.request);
        done?.(message.value);
        return;
      }
      case 'closed':
        this.closed();
    }
  }

  private ended(): void {
    this.hasEnded = true;
    for (const done of this.waiting.values()) done(null);
    this.waiting.clear();
    this.closed();
  }

  /** The end of the history for one shard. */
  wiring(shard: number): HistoryWiring {
    return { ring: this.rings[shard]!, wake: this.wake, newest: this.newest };
  }

  /** Resolves with the answer; null: there is none, because too many ask or the disk fails. */
  ask(ask: HistoryAsk): Promise<unknown> {
    if (this.hasEnded || this.waiting.size >= WAITING_MAX) return Promise.resolve(null);
    const request = this.nextRequest++;
    return new Promise((resolve) => {
      this.waiting.set(request, resolve);
      const message: ToHistoryThread = { kind: 'ask', request, ask };
      this.worker.postMessage(message);
    });
  }

  /** Closes the history after the shards have ended, and gives up the lock. */
  async close(timeoutMilliseconds: number): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.closed = resolve;
    });
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMilliseconds);
    });
    const message: ToHistoryThread = { kind: 'close' };
    this.worker.postMessage(message);
    if (!this.hasEnded) await Promise.race([closed, timeout]);
    clearTimeout(timer);
    await this.worker.terminate();
    this.lock.release();
  }
}
