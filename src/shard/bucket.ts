/**
 * Bucket: how much may pass, refilled by time. Who spends may go into debt once, so that one packet larger than the whole bucket passes, and then nothing does until the
 * debt is paid by time.
 *
 *   of one client:    time ──▶ bucket (on the connection)
 *   of all shards:    time ──▶ pool (one word of shared memory) ── 10 ms' worth at a time ──▶ bucket of each shard
 *                     time ── a tenth, in equal parts ────────────────────────────────────────▶
 *
 * A shard takes from the pool when its bucket is empty, by one compare-and-exchange, and spends what it has taken without asking anybody. So the pool goes where the demand
 * is, nothing is to be given back when a shard dies, and in any time t all shards together let pass at most: rate · t + burst + one packet for each shard.
 * The tenth is each shard's own: a flood on one shard cannot starve the clients of another.
 *
 * Low messages (QoS 0) pass only while more than a quarter of the burst is there. The rest is kept for the others.
 *
 * Hot path.
 */
import type { RateSettings } from '../base/settings.ts';

/** Part of the burst that low messages leave. */
const RESERVE = 0.25;
/** Part of a shared rate that is not in the pool: each shard has an equal share of it. */
const OWN = 0.1;
/** What a shard takes from the pool at once is enough for so long. */
const CHUNK_MILLISECONDS = 10;
/** Debt that is remembered: nobody waits longer for one packet. */
const DEBT_MILLISECONDS = 60_000;
const MICROSECONDS = 1000;
const MODULO = 0x3fffffff;

/**
 * What all shards share of one limit: one word, the moment (in microseconds of the clock that all shards read) at which the pool is full again. A word of 0 is a full pool.
 */
export class Pool {
  private readonly words: BigInt64Array;
  private readonly index: number;

  constructor(words: BigInt64Array, index: number) {
    this.words = words;
    this.index = index;
  }

  /** @param now milliseconds; @param rate per millisecond */
  level(now: number, rate: number, burst: number): number {
    const missing = Number(Atomics.load(this.words, this.index)) / MICROSECONDS - now;
    return missing <= 0 ? burst : burst - missing * rate;
  }

  /** Takes up to `wanted`, as far as `keep` stays. @returns what was taken */
  take(now: number, rate: number, burst: number, wanted: number, keep: number): number {
    for (;;) {
      const was = Atomics.load(this.words, this.index);
      const begin = now * MICROSECONDS;
      const full = Math.max(Number(was), begin);
      const granted = Math.min(wanted, burst - ((full - begin) / MICROSECONDS) * rate - keep);
      if (granted <= 0) return 0;
      // Rounded up: what the pool gives is never more than its rate.
      const next = BigInt(Math.ceil(full + (granted / rate) * MICROSECONDS));
      if (Atomics.compareExchange(this.words, this.index, was, next) === was) return granted;
    }
  }

  isFull(now: number): boolean {
    return Number(Atomics.load(this.words, this.index)) <= now * MICROSECONDS;
  }
}

/** The numbers of a limit: one object for all buckets that have it, so that a thousand clients share what the processor must have at hand. */
export class Limit {
  /** What time alone brings: per millisecond, and up to so much. */
  readonly rate: number;
  readonly cap: number;
  /** What low messages leave of that. */
  readonly reserve: number;
  /** Least that a bucket can hold. */
  readonly debt: number;
  /** Null: the bucket has the limit to itself. */
  readonly pool: Pool | null;
  readonly poolRate: number;
  readonly poolBurst: number;
  readonly poolReserve: number;
  readonly chunk: number;

  /** @param shards that share the pool */
  constructor({ perSecond, burst }: RateSettings, pool: Pool | null, shards: number) {
    const rate = perSecond / 1000;
    const part = pool === null ? 1 : OWN / shards;
    this.rate = rate * part;
    this.cap = burst * part;
    this.reserve = pool === null ? burst * RESERVE : 0;
    this.debt = -rate * DEBT_MILLISECONDS;
    this.pool = pool;
    this.poolRate = rate * (1 - OWN);
    this.poolBurst = burst * (1 - OWN);
    this.poolReserve = this.poolBurst * RESERVE;
    this.chunk = Math.min(this.poolRate * CHUNK_MILLISECONDS, this.poolBurst);
  }
}

export class Bucket {
  private readonly limit: Limit;
  private tokens: number;
  /** Milliseconds of the last refill, modulo 2^30: a small integer, so that storing it allocates nothing. */
  private at: number;
  /** The pool was down to its reserve when it was last asked: what is here came from that. */
  private isReserve: boolean;

  constructor(limit: Limit, now: number) {
    this.limit = limit;
    // Of a shared limit a new bucket has nothing: one that was given away and made anew must not bring anything with it.
    this.tokens = limit.pool === null ? limit.cap : 0;
    this.at = now & MODULO;
    this.isReserve = false;
  }

  /** Whether one more may pass. @param now whole milliseconds; @param isLow it leaves the reserve to others */
  has(now: number, isLow: boolean): boolean {
    const { limit } = this;
    if ((now & MODULO) !== this.at) this.refill(now);
    if (limit.pool === null) return this.tokens > (isLow ? limit.reserve : 0);
    if (this.tokens > 0 && !(isLow && this.isReserve)) return true;
    return this.draw(limit.pool, now, isLow);
  }

  /** One has passed that cost so much. */
  spend(cost: number): void {
    this.tokens = Math.max(this.tokens - cost, this.limit.debt);
  }

  /** What could be spent now. */
  available(now: number): number {
    this.refill(now);
    const { pool, poolRate, poolBurst } = this.limit;
    return this.tokens + (pool === null ? 0 : Math.max(0, pool.level(now, poolRate, poolBurst)));
  }

  /** Nothing has been spent that time has not brought back. */
  isFull(now: number): boolean {
    this.refill(now);
    return this.tokens >= this.limit.cap;
  }

  /** The bucket is not used any more: a debt stays, in the pool. */
  close(now: number): void {
    this.refill(now);
    const { pool, poolRate, poolBurst } = this.limit;
    if (pool !== null && this.tokens < 0) pool.take(now, poolRate, poolBurst, -this.tokens, Number.NEGATIVE_INFINITY);
  }

  private refill(now: number): void {
    const { limit } = this;
    const at = now & MODULO;
    // The shifts keep the sign of the difference. A clock that was set back brings nothing, and takes nothing.
    const elapsed = ((at - this.at) << 2) >> 2;
    this.at = at;
    if (elapsed > 0 && this.tokens < limit.cap) this.tokens = Math.min(this.tokens + elapsed * limit.rate, limit.cap);
  }

  /** Takes from the pool. @returns whether one more may pass now */
  private draw(pool: Pool, now: number, isLow: boolean): boolean {
    const { poolRate, poolBurst, poolReserve, chunk } = this.limit;
    const level = pool.level(now, poolRate, poolBurst);
    this.isReserve = level <= poolReserve;
    if (isLow && (this.isReserve || this.tokens > 0)) return !this.isReserve;
    const taken = level > 0 ? pool.take(now, poolRate, poolBurst, chunk - this.tokens, isLow ? poolReserve : 0) : 0;
    this.tokens += taken;
    if (!isLow) this.isReserve = level - taken <= poolReserve;
    return this.tokens > 0;
  }
}
