/**
 * Load: how busy the event loop of a shard is, and how fast counters of the broker grow. Looked at once a second by each shard that has an HTTP door; nothing is kept beyond ten
 * seconds.
 */
import type { EventLoopUtilization } from 'node:perf_hooks';
import { COUNTERS, type CounterName, counter } from '../../shard/counters.ts';
import type { Shard } from '../../shard/shard.ts';

const INTERVAL_MILLISECONDS = 1000;
/** Seconds that a rate is the average of. */
const SAMPLES_MAX = 10;

const DROPPED: readonly number[] = COUNTERS.flatMap((name, index) => (name.startsWith('publish/dropped/') ? [index] : []));

export type RateName =
  | 'publishReceived'
  | 'publishSent'
  | 'publishDropped'
  | 'p2pReceived'
  | 'bytesReceived'
  | 'bytesSent'
  | 'connectionsAccepted';

/** What has a rate, and the counters behind it; of drops all of them. */
export const RATED: Readonly<Record<Exclude<RateName, 'publishDropped'>, CounterName>> = {
  publishReceived: 'publish/received',
  publishSent: 'publish/sent',
  p2pReceived: 'p2p/received',
  bytesReceived: 'bytes/received',
  bytesSent: 'bytes/sent',
  connectionsAccepted: 'connections/accepted',
};

interface Sample {
  /** `performance.now()`. */
  readonly at: number;
  readonly sums: Readonly<Record<RateName, number>>;
}

/** Messages that did not come to somebody who wanted them, for whatever reason, in all shards. */
export function droppedOfAll(shard: Shard): number {
  let sum = 0;
  for (const index of DROPPED) sum += shard.sumOfAll(index);
  return sum;
}

export class Load {
  /** Of the last second: 0 to 100. */
  percent: number;
  private readonly shard: Shard;
  private readonly samples: Sample[];
  private utilization: EventLoopUtilization;

  constructor(shard: Shard) {
    this.percent = 0;
    this.shard = shard;
    this.samples = [];
    this.utilization = performance.eventLoopUtilization();
    this.sample();
    setInterval(() => this.sample(), INTERVAL_MILLISECONDS).unref();
  }

  /** Growth in a second, on average. */
  get rates(): Record<RateName, number> {
    const first = this.samples[0]!;
    const last = this.take();
    const seconds = Math.max(0.001, (last.at - first.at) / 1000);
    return this.each((name) => Math.round(((last.sums[name] - first.sums[name]) / seconds) * 10) / 10);
  }

  private each(value: (name: RateName) => number): Record<RateName, number> {
    return Object.fromEntries([...Object.keys(RATED), 'publishDropped'].map((name) => [name, value(name as RateName)])) as Record<
      RateName,
      number
    >;
  }

  private take(): Sample {
    const { shard } = this;
    const sums = this.each((name) => (name === 'publishDropped' ? droppedOfAll(shard) : shard.sumOfAll(counter(RATED[name]))));
    return { at: performance.now(), sums };
  }

  private sample(): void {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, this.utilization);
    this.utilization = now;
    this.percent = Math.round(utilization * 1000) / 10;
    this.samples.push(this.take());
    if (this.samples.length > SAMPLES_MAX) this.samples.shift();
  }
}
