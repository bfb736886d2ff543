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

export class Bucket {
  private tokens: number;
  /** Milliseconds of the last refill. */
  private at: number;
  /** What time alone brings: per millisecond, and up to so much. */
  private readonly rate: number;
  private readonly cap: number;
  private readonly reserve: number;
  private readonly debt: number;
  private readonly pool: Pool | null;
  private readonly poolRate: number;
  private readonly poolBurst: number;
  private readonly chunk: number;
  /** The pool was down to its reserve when it was last asked: what is here came from that. */
  private isReserve: boolean;

  /**
   * @param pool null: the bucket has the limit to itself
   * @param shards that share the pool
   */
  constructor({ perSecond, burst }: RateSettings, now: number, pool: Pool | null, shards: number) {
    const rate = perSecond / 1000;
    const part = pool === null ? 1 : OWN / shards;
    this.pool = pool;
    this.rate = rate * part;
    this.cap = burst * part;
    this.reserve = pool === null ? burst * RESERVE : 0;
    this.debt = -rate * DEBT_MILLISECONDS;
    this.poolRate = rate * (1 - OWN);
    this.poolBurst = burst * (1 - OWN);
    this.chunk = Math.min(this.poolRate * CHUNK_MILLISECONDS, this.poolBurst);
    this.isReserve = false;
    // Of a shared limit a new bucket has nothing: one that was given away and made anew must not bring anything with it.
    this.tokens = pool === null ? burst : 0;
    this.at = now;
  }

  /** Whether one more may pass. @param now milliseconds; @param isLow it leaves the reserve to others */
  has(now: number, isLow: boolean): boolean {
    if (now !== this.at) this.refill(now);
    if (this.pool === null) return this.tokens > (isLow ? this.reserve : 0);
    if (this.tokens > 0 && !(isLow && this.isReserve)) return true;
    return this.draw(now, isLow);
  }

  /** One has passed that cost so much. */
  spend(cost: number): void {
    const left = this.tokens - cost;
    this.tokens = Math.max(left, this.debt);
  }

  /** What could be spent now. */
  available(now: number): number {
    this.refill(now);
    return this.tokens + (this.pool === null ? 0 : Math.max(0, this.pool.level(now, this.poolRate, this.poolBurst)));
  }

  /** Nothing has been spent that time has not brought back. */
  isFull(now: number): boolean {
    this.refill(now);
    return this.tokens >= this.cap;
  }

  /** The bucket is not used any more: a debt stays, in the pool. */
  close(now: number): void {
    this.refill(now);
    if (this.pool !== null && this.tokens < 0) this.pool.take(now, this.poolRate, this.poolBurst, -this.tokens, Number.NEGATIVE_INFINITY);
  }

  private refill(now: number): void {
    const elapsed = now - this.at;
    this.at = now;
    // A clock that was set back brings nothing, and takes nothing.
    if (elapsed <= 0 || this.tokens >= this.cap) return;
    const tokens = this.tokens + elapsed * this.rate;
    this.tokens = Math.min(tokens, this.cap);
  }

  /** Takes from the pool. @returns whether one more may pass now */
  private draw(now: number, isLow: boolean): boolean {
    const pool = this.pool!;
    const keep = this.poolBurst * RESERVE;
    const level = pool.level(now, this.poolRate, this.poolBurst);
    this.isReserve = level <= keep;
    if (isLow && (this.isReserve || this.tokens > 0)) return !this.isReserve;
    const wanted = this.tokens > 0 ? 0 : this.chunk - this.tokens;
    const taken = wanted > 0 && level > 0 ? pool.take(now, this.poolRate, this.poolBurst, wanted, isLow ? keep : 0) : 0;
    this.tokens += taken;
    if (!isLow) this.isReserve = level - taken <= keep;
    return this.tokens > 0;
  }
}
