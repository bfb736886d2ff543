/**
 * HistoryOwner: the supervisor's hand on the message history. It takes the lock, starts the thread, gives each shard its ring, and passes questions on.
 *
 * The broker does without the history when it must: a thread that fails is started anew after a pause, and takes up the rings where they are.
 */
import { Worker } from 'node:worker_threads';
import type { Log } from '../base/log.ts';
import { ringBufferBytes } from '../base/ring.ts';
import type { HistorySettings } from '../base/settings.ts';
import { HistoryTally } from '../journal/history-tally.ts';
import type { HistoryWiring } from '../shard/history.ts';
import { StoreError } from '../store/store-error.ts';
import { StoreLock } from '../store/store-lock.ts';
import type { FromHistoryThread, HistoryAsk, HistoryThreadStart, ToHistoryThread } from './history-thread.ts';
import { StartError } from './start-error.ts';

/** Questions that wait for answers. */
const WAITING_MAX = 64;
/** Pause before a thread that has ended is started anew; twice as long each time, until one has run for the longest. */
const PAUSE_MILLISECONDS = 1000;
const PAUSE_MILLISECONDS_MAX = 60_000;

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
  try {
    await owner.opened;
  } catch (error) {
    await owner.close(0);
    throw error;
  }
  return owner;
}

export class HistoryOwner {
  /** Resolves when the thread runs, or waits for a disk that is full; rejects with a StartError. */
  readonly opened: Promise<void>;
  private readonly settings: HistorySettings;
  private readonly lock: StoreLock;
  private readonly log: Log;
  private readonly rings: readonly SharedArrayBuffer[];
  private readonly wake: SharedArrayBuffer;
  private readonly newest: SharedArrayBuffer;
  private readonly tally: HistoryTally;
  private readonly waiting: Map<number, (value: unknown) => void>;
  private nextRequest: number;
  private worker: Worker;
  private isOpen: boolean;
  /** Threads that have ended since one ran for long. */
  private failures: number;
  /** Those of them that had been open: what lies in the rings may be what they ended with. */
  private deaths: number;
  private startedAt: number;
  private restart: NodeJS.Timeout | undefined;
  private isClosing: boolean;
  private closed: () => void;
  private settleStart: { readonly resolve: () => void; readonly reject: (error: StartError) => void } | null;

  constructor(settings: HistorySettings, shards: number, lock: StoreLock, log: Log) {
    this.settings = settings;
    this.lock = lock;
    this.log = log;
    this.rings = Array.from({ length: shards }, () => new SharedArrayBuffer(ringBufferBytes(settings.bufferBytes)));
    this.wake = new SharedArrayBuffer(64);
    this.newest = new SharedArrayBuffer(shards * 8);
    this.tally = new HistoryTally();
    this.waiting = new Map();
    this.nextRequest = 1;
    this.isOpen = false;
    this.failures = 0;
    this.deaths = 0;
    this.startedAt = 0;
    this.isClosing = false;
    this.closed = () => {};
    this.settleStart = null;
    this.opened = new Promise((resolve, reject) => {
      this.settleStart = { resolve, reject };
    });
    this.worker = this.start();
  }

  private start(): Worker {
    const { settings, rings, wake, newest, tally, log } = this;
    this.startedAt = Date.now();
    const workerData: HistoryThreadStart = { settings, rings, wake, newest, tally: tally.shared, skipsRings: this.deaths > 1 };
    const worker = new Worker(new URL('./history-thread.js', import.meta.url), { workerData, name: 'history' });
    worker.on('message', (message: FromHistoryThread) => this.came(worker, message));
    worker.on('error', (error: Error) => {
      if (this.failedToStart(error.message)) return;
      log.error(
        { path: settings.path, error: error.message, stack: error.stack },
        'the history failed: messages are not kept until it is started anew, and go on',
      );
    });
    worker.on('exit', () => this.ended());
    return worker;
  }

  /** A history that cannot be used when the broker starts keeps it from starting. @returns whether it starts just now */
  private failedToStart(reason: string): boolean {
    if (this.settleStart === null) return false;
    this.isClosing = true;
    this.settleStart.reject(new StartError(`history: ${this.settings.path}: ${reason}`, 1));
    this.settleStart = null;
    return true;
  }

  private hasStarted(): void {
    this.settleStart?.resolve();
    this.settleStart = null;
  }

  private came(worker: Worker, message: FromHistoryThread): void {
    const { log } = this;
    const { path } = this.settings;
    switch (message.kind) {
      case 'opened':
        this.isOpen = true;
        if (message.damage !== '')
          log.error({ path, damage: message.damage }, 'the history was damaged: the file was put aside, and a new one begins');
        if (this.failures > 0) log.info({ path, lost: this.tally.lost }, 'the history was started anew');
        this.hasStarted();
        return;
      case 'unusable':
        // Another directory or permission is missing, which somebody must mend; others empty a disk.
        if (!message.isFull && this.failedToStart(message.reason)) return;
        if (this.failures === 0)
          log.error({ path, reason: message.reason }, 'the history cannot be used: messages are not kept until it can, and go on');
        this.hasStarted();
        void worker.terminate();
        return;
      case 'failing':
        log.error({ path, reason: message.reason }, 'the history cannot be written: messages are not kept, and go on');
        return;
      case 'working':
        log.info({ path, lost: message.lost }, 'the history is written again');
        return;
      case 'short':
        log.warn({ path }, 'the disk of the history is full: its oldest messages make room for new ones');
        return;
      case 'roomy':
        log.info({ path, evictedBytes: message.evictedBytes }, 'the disk of the history has room again');
        return;
      case 'unanswered':
        log.error({ path, reason: message.reason }, 'the history cannot answer');
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

  /** The thread has ended: the next one takes up what lies in the rings. */
  private ended(): void {
    if (Date.now() - this.startedAt >= PAUSE_MILLISECONDS_MAX) {
      this.failures = 0;
      this.deaths = 0;
    }
    if (this.isOpen) this.deaths++;
    this.isOpen = false;
    for (const done of this.waiting.values()) done(null);
    this.waiting.clear();
    this.closed();
    if (this.isClosing) return;
    const pause = Math.min(PAUSE_MILLISECONDS_MAX, PAUSE_MILLISECONDS * 2 ** this.failures++);
    this.restart = setTimeout(() => {
      this.worker = this.start();
    }, pause);
  }

  /** The end of the history for one shard. */
  wiring(shard: number): HistoryWiring {
    return { ring: this.rings[shard]!, wake: this.wake, newest: this.newest, tally: this.tally.shared };
  }

  /** Resolves with the answer; null: there is none, because too many ask or the disk fails. */
  ask(ask: HistoryAsk): Promise<unknown> {
    if (!this.isOpen || this.waiting.size >= WAITING_MAX) return Promise.resolve(null);
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
    this.isClosing = true;
    clearTimeout(this.restart);
    if (this.isOpen) {
      const message: ToHistoryThread = { kind: 'close' };
      this.worker.postMessage(message);
      await Promise.race([closed, timeout]);
    }
    clearTimeout(timer);
    await this.worker.terminate();
    this.lock.release();
    const { path } = this.settings;
    if (this.tally.lost > 0) this.log.warn({ path, lost: this.tally.lost }, 'messages were not kept, because the history failed');
  }

  /** Ends the thread as a fault would. For tests of the restart. */
  crash(): void {
    const message: ToHistoryThread = { kind: 'crash' };
    this.worker.postMessage(message);
  }
}
