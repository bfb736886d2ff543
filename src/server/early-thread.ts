/**
 * EarlyThread: a worker thread that loads its modules before anybody knows what it will be started with. Loading takes most of a start, so it goes on beside the reading of the configuration.
 *
 *   main     new EarlyThread ── configuration, listeners, lock … ── begin(start) or discard()
 *   thread   modules ────────── startOf() waits ─────────────────── goes on with it, or ends
 *
 * A thread that cannot even load ends the process with its trace, as nobody listens to it yet: that is a fault of the program.
 */
import { once } from 'node:events';
import { MessageChannel, type MessagePort, type Transferable, Worker, type WorkerOptions, workerData } from 'node:worker_threads';

export class EarlyThread<T extends object> {
  readonly worker: Worker;
  private readonly port: MessagePort;
  private hasBegun: boolean;

  /** @param entry module of the thread, which calls `startOf` */
  constructor(entry: URL, options: WorkerOptions) {
    const { port1, port2 } = new MessageChannel();
    this.port = port1;
    this.worker = new Worker(entry, { ...options, workerData: port2, transferList: [port2] });
    this.hasBegun = false;
  }

  /** Lets the thread go on, once. @returns the thread, to be listened to before this turn ends */
  begin(start: T, transfer: readonly Transferable[] = []): Worker {
    this.hasBegun = true;
    this.port.postMessage(start, transfer);
    return this.worker;
  }

  /** Ends a thread that has not begun, from within: what it has loaded then closes what it holds. */
  discard(): void {
    if (this.hasBegun) return;
    this.hasBegun = true;
    this.port.postMessage(null);
  }
}

/** In the thread: what it is started with. Ends the thread where it is not needed. */
export async function startOf<T extends object>(): Promise<T> {
  const port = workerData as MessagePort;
  const [start] = (await once(port, 'message')) as [T | null];
  port.close();
  // Nothing after this runs: here it ends the thread, and not the process.
  if (start === null) process.exit(0);
  return start;
}
