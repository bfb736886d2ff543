/**
 * UnreadAnswers: answers that the network has not taken whole, because whoever has asked reads slowly, or not at all.
 *
 * While an answer is unread its connection is asked nothing more: the library ends one that sends its next request meanwhile, and one that takes nothing for 10 s. So each connection
 * holds one answer at most. All of a shard hold so many bytes; beyond that the connection that has waited longest ends.
 */
import { counter } from '../shard/counters.ts';
import type { Call } from './call.ts';

const BYTES = counter('http/answers/unread');
const ENDED = counter('http/answers/ended');

const BYTES_MAX = 64 * 1024 * 1024;

export class UnreadAnswers {
  private readonly counters: Float64Array;
  /** Bytes of each, the oldest first. */
  private readonly lengths: Map<Call, number>;
  private bytes: number;

  constructor(counters: Float64Array) {
    this.counters = counters;
    this.lengths = new Map();
    this.bytes = 0;
  }

  /** @param length of what is kept for it */
  add(call: Call, length: number): void {
    this.lengths.set(call, length);
    this.bytes += length;
    // One alone may be as large as it is.
    for (const oldest of this.lengths.keys()) {
      if (this.bytes <= BYTES_MAX || oldest === call) break;
      this.remove(oldest);
      this.counters[ENDED]!++;
      oldest.response.close();
    }
    this.counters[BYTES] = this.bytes;
  }

  /** It has been read, or nobody is there to read it. @returns whether it was unread until now */
  remove(call: Call): boolean {
    const length = this.lengths.get(call);
    if (length === undefined) return false;
    this.lengths.delete(call);
    this.bytes -= length;
    this.counters[BYTES] = this.bytes;
    return true;
  }
}
