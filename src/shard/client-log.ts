/**
 * ClientLog: lines about what clients and strangers do wrong. There are at most so many in a second: a line is written before anything else goes on, and whoever is
 * refused all the time must hold up nobody, and not fill the disk.
 */
import { LineRate } from '../base/line-rate.ts';
import { counter } from './counters.ts';
import type { Shard } from './shard.ts';

const SUPPRESSED = counter('log/suppressed');

/** Of one shard. */
const LINES_PER_SECOND = 50;

export class ClientLog {
  private readonly shard: Shard;
  private readonly rate: LineRate;

  constructor(shard: Shard) {
    this.shard = shard;
    this.rate = new LineRate(LINES_PER_SECOND);
  }

  /** @param facts who it was and why; never a secret */
  info(facts: object, message: string): void {
    if (this.rate.take(this.shard.timers.now)) this.shard.log.info(facts, message);
    else this.shard.counters[SUPPRESSED]!++;
  }
}
