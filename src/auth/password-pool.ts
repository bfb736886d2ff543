/**
 * PasswordPool: threads that check and make password hashes. They are their own: a storm of logins takes time from neither a shard nor the threads of libuv.
 */
import { Piscina } from 'piscina';
import type { PasswordTask } from './password-worker.ts';

export interface PasswordPoolSettings {
  readonly threads: number;
  /** Tasks that wait for a thread; a further one is refused. */
  readonly queueMax: number;
}

/** More passwords wait than may. */
export class PoolFull extends Error {
  constructor() {
    super('too many passwords wait to be checked');
  }
}

/** The hash of a password that nobody knows, of the cost of every other one. */
const NOBODY = '$argon2id$v=19$m=19456,t=2,p=1$MTIzNDU2Nzg5MGFiY2RlZg$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
/** Threads that nobody needs end after this. */
const IDLE_MILLISECONDS = 30_000;

export class PasswordPool {
  private readonly pool: Piscina;
  private readonly queueMax: number;

  constructor({ threads, queueMax }: PasswordPoolSettings) {
    this.queueMax = queueMax;
    this.pool = new Piscina({
      filename: new URL('./password-worker.js', import.meta.url).href,
      minThreads: 0,
      maxThreads: threads,
      idleTimeout: IDLE_MILLISECONDS,
      concurrentTasksPerWorker: 1,
    });
  }

  /** Tasks that wait for a thread. */
  get waiting(): number {
    return this.pool.queueSize;
  }

  /** Whether this is the password of that hash. @throws PoolFull; an error when the hash cannot be used */
  async verify(hash: string, password: Uint8Array): Promise<boolean> {
    return (await this.run({ kind: 'verify', hash, password })) as boolean;
  }

  /** Takes as long as `verify`, for a name that nobody has. @throws PoolFull */
  async verifyNobody(password: Uint8Array): Promise<void> {
    await this.verify(NOBODY, password);
  }

  /** A new hash. @throws PoolFull */
  async hash(password: Uint8Array): Promise<string> {
    return (await this.run({ kind: 'hash', password })) as string;
  }

  private run(task: PasswordTask): Promise<unknown> {
    if (this.pool.queueSize >= this.queueMax) return Promise.reject(new PoolFull());
    return this.pool.run(task);
  }

  /** Ends the threads; what waits is rejected. */
  async close(): Promise<void> {
    await this.pool.destroy();
  }
}
