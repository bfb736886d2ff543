/*
 * A broker in a child process whose shards can be told to die, for the scenarios of a crash: `crashable-program.ts` as its parent sees it. It never outlives
 * the test that started it.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { storeDirectory } from '../support/store-directory.ts';
import { STAGE_MILLISECONDS_MAX } from './observe.ts';

const program = fileURLToPath(new URL('./crashable-program.js', import.meta.url));

export class CrashableBroker {
  readonly port: number;
  /** Of all listeners, in their order. */
  readonly ports: readonly number[];
  readonly pid: number;
  /** JSON log lines so far. */
  readonly log: Record<string, unknown>[];
  /** Resolves with the exit code. */
  readonly ended: Promise<number>;
  private readonly child: ChildProcess;
  private readonly waiters: Set<() => void>;

  constructor(
    ports: readonly number[],
    child: ChildProcess,
    log: Record<string, unknown>[],
    waiters: Set<() => void>,
    ended: Promise<number>,
  ) {
    this.port = ports[0]!;
    this.ports = ports;
    this.pid = child.pid!;
    this.child = child;
    this.log = log;
    this.waiters = waiters;
    this.ended = ended;
  }

  /** Lines with this message so far. */
  count(message: string): number {
    return this.log.filter((line) => line['msg'] === message).length;
  }

  /** Waits until so many lines with this message have been logged. */
  async logged(message: string, count: number): Promise<void> {
    await this.line((line) => line['msg'] === message, count);
  }

  /** Waits until so many lines that `accepts` likes have been logged. */
  async line(accepts: (line: Record<string, unknown>) => boolean, count: number): Promise<void> {
    let isOver = false;
    void this.ended.then(() => {
      isOver = true;
      for (const waiter of this.waiters) waiter();
    });
    while (this.log.filter(accepts).length < count) {
      if (isOver) throw new Error(`the broker has ended: ${JSON.stringify(this.log.slice(-3))}`);
      await new Promise<void>((resolve) => {
        const waiter = (): void => {
          this.waiters.delete(waiter);
          resolve();
        };
        this.waiters.add(waiter);
      });
    }
  }

  /** Tells a shard to die, or the thread of the history. */
  crash(which: number | 'history'): void {
    this.child.send({ crash: which });
  }

  /** Lets a shard die and waits until its successor serves. */
  async crashAndWait(index: number): Promise<void> {
    const served = this.count('a shard serves again');
    this.crash(index);
    await this.logged('a shard serves again', served + 1);
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }

  stop(): Promise<number> {
    this.child.kill('SIGTERM');
    return this.ended;
  }
}

/** Starts a broker that ends with its test. Options other than `shards` are configuration keys. */
export async function stageCrashable(t: TestContext, options: { shards: number; [key: string]: unknown }): Promise<CrashableBroker> {
  const { shards, ...rest } = options;
  const settings: Record<string, unknown> = { listeners: [{ type: 'tcp', bind: '127.0.0.1:0' }], 'store.path': storeDirectory(), ...rest };
  const args = [
    String(shards),
    ...Object.entries(settings).map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`),
  ];
  const child = fork(program, args, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
  const log: Record<string, unknown>[] = [];
  const waiters = new Set<() => void>();
  const ended = once(child, 'exit').then(([code]) => (code as number | null) ?? -1);
  const late = setTimeout(() => child.kill('SIGKILL'), STAGE_MILLISECONDS_MAX);
  t.after(() => {
    clearTimeout(late);
    child.kill('SIGKILL');
  });
  createInterface({ input: child.stdout! }).on('line', (text) => {
    log.push(text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : { msg: text });
    for (const waiter of [...waiters]) waiter();
  });
  const [ready] = (await once(child, 'message')) as [{ ports: number[] }];
  return new CrashableBroker(ready.ports, child, log, waiters, ended);
}
