/**
 * LiveBytes: how much of a log is still needed, counted at a start from the places of what was recovered. A message that many sessions wait for lies in the log
 * once, so it counts once: one bit for each place in a record where an entry may begin.
 */
import { aligned, DELIVERY_ENTRY_BYTES, MESSAGE_ENTRY_BYTES } from '../journal/entry.ts';
import { MESSAGE_OVERHEAD_BYTES } from '../session/message.ts';

export class LiveBytes {
  /** Messages and their deliveries. */
  messages: number;
  /** Sessions, Retained Messages and all else. */
  rest: number;
  private readonly seen: Map<number, Uint8Array>;

  constructor() {
    this.messages = 0;
    this.rest = 0;
    this.seen = new Map();
  }

  /** A delivery. @param sizeBytes what its message counts for in queue limits */
  delivery(record: number, messageAt: number, sizeBytes: number): void {
    this.messages += DELIVERY_ENTRY_BYTES;
    // Entries begin at multiples of 8.
    const place = messageAt >>> 3;
    let bits = this.seen.get(record);
    if (bits === undefined || place >>> 3 >= bits.length) {
      const grown = new Uint8Array(Math.max(64, (place >>> 3) * 2));
      if (bits !== undefined) grown.set(bits);
      bits = grown;
      this.seen.set(record, bits);
    }
    const bit = 1 << (place & 7);
    if ((bits[place >>> 3]! & bit) !== 0) return;
    bits[place >>> 3]! |= bit;
    this.messages += messageLogBytes(sizeBytes);
  }

  retained(sizeBytes: number): void {
    this.rest += messageLogBytes(sizeBytes);
  }

  other(bytes: number): void {
    this.rest += bytes;
  }
}

/** Bytes of the entry of a message. @param sizeBytes what it counts for in queue limits */
export function messageLogBytes(sizeBytes: number): number {
  return aligned(sizeBytes - MESSAGE_OVERHEAD_BYTES + MESSAGE_ENTRY_BYTES);
}
