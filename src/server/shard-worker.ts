/**
 * ShardWorker: one shard's thread as the supervisor sees it.
 */
import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import type { LinkWiring } from '../shard/link.ts';
import type { ToShard } from './wiring.ts';

/** How long a thread has to end by itself. */
const END_MILLISECONDS = 2000;

export class ShardWorker {
  worker: Worker;
  /** Its thread runs, serving or about to. */
  isRunning: boolean;
  isServing: boolean;
  readonly deaths: number[];

  constructor(worker: Worker) {
    this.worker = worker;
    this.isRunning = true;
    this.isServing = false;
    this.deaths = [];
  }

  /** Ends the thread, from within where it still listens: a thread that is ended from without leaves handles behind that end the process. */
  async end(): Promise<void> {
    if (!this.isRunning) return;
    const ended = once(this.worker, 'exit');
    this.tell({ kind: 'exit' });
    const late = setTimeout(() => void this.worker.terminate(), END_MILLISECONDS);
    await ended;
    clearTimeout(late);
  }

  tell(message: ToShard, ports: LinkWiring['port'][] = []): void {
    this.worker.postMessage(message, ports);
  }
}
