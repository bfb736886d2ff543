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
    if (this.hasRoom()) this.shard.log.info(facts, message);
  }

  /** The same, of what somebody should look at. */
  warn(facts: object, message: string): void {
    if (this.hasRoom()) this.shard.log.warn(facts, message);
  }

  /** Whether there is room for one more line in this second. One for which there is none is counted. */
  private hasRoom(): boolean {
    if (this.rate.take(this.shard.timers.now)) return true;
    this.shard.counters[SUPPRESSED]!++;
    return false;
  }
}
