/**
 * PasswordPool: threads that check and make password hashes. They are their own: a storm of logins takes time from neither a shard nor the threads of libuv.
 */
import { setMaxListeners } from 'node:events';
import { Piscina } from 'piscina';
import type { PasswordTask } from './password-worker.ts';
import { Turns } from './turns.ts';

export interface PasswordPoolSettings {
  readonly threads: number;
  /** Tasks that wait for a thread; a further one is refused. */
  readonly queueMax: number;
}

/** For those who wait however long it takes. */
const NEVER = new AbortController().signal;
setMaxListeners(0, NEVER);

/** The hash of a password that nobody knows, of the cost of every other one. */
const NOBODY = '$argon2id$v=19$m=19456,t=2,p=1$MTIzNDU2Nzg5MGFiY2RlZg$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
/** Threads that nobody needs end after this. */
const IDLE_MILLISECONDS = 30_000;

export class PasswordPool {
  private readonly pool: Piscina;
  private readonly turns: Turns;

  constructor({ threads, queueMax }: PasswordPoolSettings) {
    // Piscina ends the thread of a task that is taken back: who waits is kept here instead.
    this.turns = new Turns(threads, queueMax);
    this.pool = new Piscina({
      filename: new URL('./password-worker.js', import.meta.url).href,
      name: 'runPasswordTask',
      minThreads: 0,
      maxThreads: threads,
      idleTimeout: IDLE_MILLISECONDS,
      concurrentTasksPerWorker: 1,
    });
  }

  /** Tasks that wait for a thread. */
  get waiting(): number {
    return this.turns.waiting;
  }

  /** Whether this is the password of that hash. @throws TooMany; an error when the hash cannot be used */
  async verify(hash: string, password: Uint8Array, signal: AbortSignal = NEVER): Promise<boolean> {
    return (await this.run({ kind: 'verify', hash, password }, signal)) as boolean;
  }

  /** Takes as long as `verify`, for a name that nobody has. @throws TooMany */
  async verifyNobody(password: Uint8Array, signal: AbortSignal = NEVER): Promise<void> {
    await this.verify(NOBODY, password, signal);
  }

  /** A new hash. @throws TooMany */
  async hash(password: Uint8Array): Promise<string> {
    return (await this.run({ kind: 'hash', password }, NEVER)) as string;
  }

  private async run(task: PasswordTask, signal: AbortSignal): Promise<unknown> {
    await this.turns.take(signal);
    try {
      return await this.pool.run(task);
    } finally {
      this.turns.give();
    }
  }

  /** Ends the threads; what waits is rejected. */
  async close(): Promise<void> {
    await this.pool.destroy();
  }
}
