/**
 * Editor: the supervisor's hand on the thread that changes files (`edit-thread.ts`). The thread is started when something is changed for the first time.
 */
import { Worker } from 'node:worker_threads';
import type { Log } from '../base/log.ts';
import { counter } from '../shard/counters.ts';
import { Refusal } from './ask-desk.ts';
import type { FromEditThread, ToEditThread } from './edit-thread.ts';
import type { EditName, Edits } from './edits.ts';

const REFUSED = counter('edits/refused');

/** Changes that wait for others. */
const WAITING_MAX = 100;
/** How long a change has to be done when the broker stops. */
const END_MILLISECONDS = 2000;

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class Editor {
  private readonly log: Log;
  private readonly counters: Float64Array;
  private worker: Worker | null;
  private readonly waiting: Map<number, Waiting>;
  private next: number;
  /** Settles when the last change that was asked for is done, and so all before it. */
  private running: Promise<unknown>;

  constructor(log: Log, counters: Float64Array) {
    this.log = log;
    this.counters = counters;
    this.worker = null;
    this.waiting = new Map();
    this.next = 1;
    this.running = Promise.resolve();
  }

  /** Changes a file. @throws Refusal */
  run<N extends EditName>(name: N, asked: Parameters<Edits[N]>[0]): Promise<Awaited<ReturnType<Edits[N]>>> {
    if (this.waiting.size >= WAITING_MAX) {
      this.counters[REFUSED]!++;
      throw new Refusal('unavailable', 'too many changes wait for others; try again');
    }
    this.worker ??= this.begin();
    const id = this.next++;
    this.worker.postMessage({ id, name, asked } satisfies ToEditThread);
    const result = new Promise<Awaited<ReturnType<Edits[N]>>>((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as (result: unknown) => void, reject });
    });
    this.running = result.catch(() => undefined);
    return result;
  }

  private begin(): Worker {
    const worker = new Worker(new URL('./edit-thread.js', import.meta.url), { name: 'edits' });
    worker.unref();
    worker.on('message', (message: FromEditThread) => {
      const waiting = this.waiting.get(message.id);
      this.waiting.delete(message.id);
      if ('problem' in message) waiting?.reject(new Refusal(message.problem, message.detail, message.faults));
      else waiting?.resolve(message.result);
    });
    worker.on('error', (error) => this.log.error({ error: error.message }, 'the thread that changes files has failed'));
    worker.on('exit', () => {
      this.worker = null;
      for (const { reject } of this.waiting.values())
        reject(new Refusal('unavailable', 'the change may not have been made; look, and try again'));
      this.waiting.clear();
    });
    return worker;
  }

  /** Ends the thread; what is under way has some time to be done. */
  async stop(): Promise<void> {
    if (this.worker === null) return;
    const late = new Promise((resolve) => setTimeout(resolve, END_MILLISECONDS).unref());
    await Promise.race([this.running, late]);
    await this.worker?.terminate();
  }
}
