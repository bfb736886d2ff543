/**
 * MessageRefs: where waiting messages lie in the store, so that a long queue costs numbers and not payloads.
 *
 *   chunk: | sequence, record, message at, delivery at, size | … up to 512 |      sequences ascend from chunk to chunk
 *
 * 40 bytes for each message. It knows no disk: who reads the records is `shard/waiting.ts`.
 *
 * Hot path.
 */
import { assert } from '../base/assert.ts';

const NUMBERS = 5;
const CHUNK_NUMBERS = 512 * NUMBERS;

/** One place in the store; filled by `MessageRefs.read`, reused by its owner. */
export class MessageRef {
  /** Number of the delivery within its session. */
  sequence: number;
  /** Number of the record that holds message and delivery. */
  record: number;
  messageAt: number;
  deliveryAt: number;
  /** What the message counts for in queue limits. */
  sizeBytes: number;

  constructor() {
    this.sequence = 0;
    this.record = 0;
    this.messageAt = 0;
    this.deliveryAt = 0;
    this.sizeBytes = 0;
  }
}

export class MessageRefs {
  count: number;
  private readonly chunks: number[][];
  /** First used number of the first chunk. */
  private head: number;

  constructor() {
    this.count = 0;
    this.chunks = [];
    this.head = 0;
  }

  push(sequence: number, record: number, messageAt: number, deliveryAt: number, sizeBytes: number): void {
    let chunk = this.chunks[this.chunks.length - 1];
    if (chunk === undefined || chunk.length >= CHUNK_NUMBERS) {
      chunk = [];
      this.chunks.push(chunk);
    }
    chunk.push(sequence, record, messageAt, deliveryAt, sizeBytes);
    this.count++;
  }

  /** Shows the entry `index` places behind the oldest. */
  read(index: number, into: MessageRef): void {
    assert(index < this.count, 'only what is there is read');
    let at = this.head + index * NUMBERS;
    let number = 0;
    // Only the first chunk may have been shortened at its front, and only the last one is not full.
    if (at >= CHUNK_NUMBERS) {
      number = Math.floor(at / CHUNK_NUMBERS);
      at -= number * CHUNK_NUMBERS;
    }
    this.show(this.chunks[number]!, at, into);
  }

  private show(chunk: readonly number[], at: number, into: MessageRef): void {
    into.sequence = chunk[at]!;
    into.record = chunk[at + 1]!;
    into.messageAt = chunk[at + 2]!;
    into.deliveryAt = chunk[at + 3]!;
    into.sizeBytes = chunk[at + 4]!;
  }

  /** All entries of several lists in one, in the order of their sequences. */
  static merge(lists: readonly MessageRefs[]): MessageRefs {
    const merged = new MessageRefs();
    const places = lists.map(({ head }) => head); // cold: once when a connection ends
    const chunks = new Array<number>(lists.length).fill(0);
    for (let left = lists.reduce((sum, { count }) => sum + count, 0); left > 0; left--) {
      // One for each stream of a client: looking at all of them takes less than keeping them in order.
      let first = -1;
      let lowest = Number.POSITIVE_INFINITY;
      for (let i = 0; i < lists.length; i++) {
        const chunk = lists[i]!.chunks[chunks[i]!];
        if (chunk === undefined || chunk[places[i]!]! >= lowest) continue;
        lowest = chunk[places[i]!]!;
        first = i;
      }
      const chunk = lists[first]!.chunks[chunks[first]!]!;
      const at = places[first]!;
      merged.push(lowest, chunk[at + 1]!, chunk[at + 2]!, chunk[at + 3]!, chunk[at + 4]!);
      places[first] = at + NUMBERS;
      if (places[first]! < chunk.length) continue;
      places[first] = 0;
      chunks[first]!++;
    }
    return merged;
  }

  /** Removes the oldest. @returns its size; 0 when there is none */
  shift(): number {
    const chunk = this.chunks[0];
    if (chunk === undefined) return 0;
    const size = chunk[this.head + 4]!;
    this.head += NUMBERS;
    this.count--;
    if (this.head >= chunk.length) {
      this.chunks.shift();
      this.head = 0;
    }
    return size;
  }

  /** Notes that the delivery `sequence` lies elsewhere now. @returns false when it is not in the list */
  move(sequence: number, record: number, messageAt: number, deliveryAt: number): boolean {
    const place = this.find(sequence);
    if (place < 0) return false;
    const chunk = this.chunks[Math.floor(place / CHUNK_NUMBERS)]!;
    const at = place % CHUNK_NUMBERS;
    chunk[at + 1] = record;
    chunk[at + 2] = messageAt;
    chunk[at + 3] = deliveryAt;
    return true;
  }

  /** Shows the entry of the delivery `sequence`. @returns false when it is not in the list */
  readSequence(sequence: number, into: MessageRef): boolean {
    const place = this.find(sequence);
    if (place < 0) return false;
    this.show(this.chunks[Math.floor(place / CHUNK_NUMBERS)]!, place % CHUNK_NUMBERS, into);
    return true;
  }

  /** The record that holds the delivery `sequence`; 0: it is not in the list. */
  recordOf(sequence: number): number {
    const place = this.find(sequence);
    return place < 0 ? 0 : this.chunks[Math.floor(place / CHUNK_NUMBERS)]![(place % CHUNK_NUMBERS) + 1]!;
  }

  /** Place of a sequence, counted in numbers from the start of the first chunk; -1: not here. */
  private find(sequence: number): number {
    let low = this.head / NUMBERS;
    let high = low + this.count - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const place = middle * NUMBERS;
      const found = this.chunks[Math.floor(place / CHUNK_NUMBERS)]![place % CHUNK_NUMBERS]!;
      if (found === sequence) return place;
      if (found < sequence) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }
}
