/**
 * Rate: how many new connections a listener takes in a second, counted for all shards together. The kernel spreads connections as it likes, mostly to one shard when
 * there is little to do, so a share for each shard would turn away clients that the listener has room for.
 *
 * One word for each listener in shared memory: the moment at which all that came so far would have come one by one, evenly. It may be one second ahead.
 */
import { LISTENERS_MAX } from '../shard/counters.ts';

/** Bytes of SharedArrayBuffer for all listeners. */
export const RATE_BYTES: number = LISTENERS_MAX * 8;

const SECOND = 1_000_000;

export class Rate {
  private readonly words: BigInt64Array;
  private readonly listener: number;
  /** Microseconds between two connections. */
  private readonly interval: bigint;

  /** @param perSecond 0: no limit */
  constructor(shared: SharedArrayBuffer, listener: number, perSecond: number) {
    this.words = new BigInt64Array(shared);
    this.listener = listener;
    this.interval = perSecond === 0 ? 0n : BigInt(Math.round(SECOND / perSecond));
  }

  /** Whether one more may come. @param milliseconds of the clock that all shards share */
  take(milliseconds: number): boolean {
    const { words, listener, interval } = this;
    if (interval === 0n) return true;
    const now = BigInt(milliseconds) * 1000n;
    for (;;) {
      const until = Atomics.load(words, listener);
      const next = (until > now ? until : now) + interval;
      if (next - now > BigInt(SECOND)) return false;
      if (Atomics.compareExchange(words, listener, until, next) === until) return true;
    }
  }
}
