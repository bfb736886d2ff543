/**
 * Turns: how many may do something at a time, and who waits for it. A client that has gone waits no more, so what it has sent takes no memory and nobody works for it.
 */

/** Nobody waits for the verdict any more. */
export class Gone extends Error {
  constructor() {
    super('the client has gone');
  }
}

/** More wait than may. */
export class TooMany extends Error {
  constructor() {
    super('too many wait');
  }
}

export class Turns {
  private readonly limit: number;
  private readonly waitingMax: number;
  private taken: number;
  private readonly waiters: Set<() => void>;

  constructor(limit: number, waitingMax: number) {
    this.limit = limit;
    this.waitingMax = waitingMax;
    this.taken = 0;
    this.waiters = new Set();
  }

  get waiting(): number {
    return this.waiters.size;
  }

  /** Resolves when it is this one's turn, in the order of asking; `give` ends it. @throws Gone, TooMany */
  async take(signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw new Gone();
    if (this.taken < this.limit) {
      this.taken++;
      return;
    }
    if (this.waiters.size >= this.waitingMax) throw new TooMany();
    await waitIn(this.waiters, signal);
  }

  /** The turn goes to the next. */
  give(): void {
    const next = this.waiters.values().next().value;
    if (next === undefined) this.taken--;
    else next();
  }
}

/** Waits until somebody calls what is put into the set, which is then out of it. @throws Gone when the signal comes first */
export function waitIn(waiters: Set<() => void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const wake = (): void => {
      waiters.delete(wake);
      signal.removeEventListener('abort', leave);
      resolve();
    };
    const leave = (): void => {
      waiters.delete(wake);
      reject(new Gone());
    };
    waiters.add(wake);
    signal.addEventListener('abort', leave, { once: true });
  });
}
