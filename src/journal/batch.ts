/**
 * Batch: the entries that one shard collects for its next commit, in memory that the store's thread reads in place.
 *
 *   | room for the record's head | entry | entry | (dead) | entry |        at →
 *
 * An entry that is not needed after all (its only receiver has acknowledged) is marked dead; `compact` closes the gaps before the batch leaves, so what was dead
 * is never written. Invariant: every entry begins at a multiple of 8, and a delivery belongs to the last message entry before it.
 *
 * Hot path.
 */
import { copyBytes } from '../base/bytes.ts';
import { type MessageView, RECEIPT_TO_TOPIC } from '../protocol/publish.ts';
import {
  aligned,
  DELIVERY_ENTRY_BYTES,
  DELIVERY_EXTRA_BYTES,
  ENTRY_DEAD,
  ENTRY_DELIVERY,
  ENTRY_MESSAGE,
  FLAG_EXTRA,
  FLAG_RECEIPT,
  FLAG_RETAIN,
  FLAG_STATE_SHIFT,
  MESSAGE_ENTRY_BYTES,
} from './entry.ts';
import { RECORD_HEAD_BYTES } from './record.ts';

const SMALLEST_BYTES = 64 * 1024;
/** A batch that has grown beyond this gives its memory back when it is empty. */
const KEPT_BYTES = 4 * 1024 * 1024;

/** Told where a delivery has moved. */
export type Moved = (session: number, sequence: number, messageAt: number, deliveryAt: number) => void;

export class Batch {
  /** Number of the record that this batch becomes. */
  record: number;
  shared: SharedArrayBuffer;
  bytes: Buffer;
  /** End of the entries. */
  at: number;
  /** Entries that are to be written; messages do not count, because they are there for their deliveries. */
  liveCount: number;
  deadBytes: number;
  private words: Uint32Array;
  private doubles: Float64Array;

  constructor() {
    this.record = 0;
    this.shared = new SharedArrayBuffer(SMALLEST_BYTES);
    this.bytes = Buffer.from(this.shared);
    this.words = new Uint32Array(this.shared);
    this.doubles = new Float64Array(this.shared);
    this.at = RECORD_HEAD_BYTES;
    this.liveCount = 0;
    this.deadBytes = 0;
  }

  /** Begins anew as record `record`. */
  reset(record: number): void {
    this.record = record;
    this.at = RECORD_HEAD_BYTES;
    this.liveCount = 0;
    this.deadBytes = 0;
    if (this.shared.byteLength > KEPT_BYTES) this.take(new SharedArrayBuffer(SMALLEST_BYTES));
  }

  private take(shared: SharedArrayBuffer): void {
    this.shared = shared;
    this.bytes = Buffer.from(shared);
    this.words = new Uint32Array(shared);
    this.doubles = new Float64Array(shared);
  }

  /** Room for an entry of `length` bytes, its head written. @returns where it begins */
  private begin(kind: number, flags: number, number: number, length: number): number {
    const at = this.at;
    const end = at + aligned(length);
    if (end > this.shared.byteLength) this.grow(end);
    this.words[at >>> 2] = kind | (flags << 8) | (number << 16);
    this.words[(at >>> 2) + 1] = length;
    this.at = end;
    this.liveCount++;
    return at;
  }

  private grow(needed: number): void {
    let size = this.shared.byteLength;
    while (size < needed) size *= 2;
    const old = this.bytes;
    const end = this.at;
    this.take(new SharedArrayBuffer(size));
    this.bytes.set(old.subarray(0, end));
  }

  /** The message that `view` shows. @returns where the entry begins */
  message(kind: number, view: MessageView, hash: number): number {
    const topic = view.topicEnd - view.topicAt;
    const properties = view.propertiesEnd - view.propertiesAt;
    const payload = view.payloadEnd - view.payloadAt;
    const flags = view.qos | (view.isRetained ? FLAG_RETAIN : 0) | (view.receipt === RECEIPT_TO_TOPIC ? FLAG_RECEIPT : 0);
    const at = this.begin(kind, flags, 0, MESSAGE_ENTRY_BYTES + topic + properties + payload);
    this.doubles[(at + 8) >>> 3] = view.expiresAt;
    const words = this.words;
    const word = (at + 16) >>> 2;
    words[word] = topic;
    words[word + 1] = properties;
    words[word + 2] = payload;
    words[word + 3] = hash;
    const bytes = this.bytes;
    let to = at + MESSAGE_ENTRY_BYTES;
    copyBytes(bytes, to, view.topicBytes, view.topicAt, view.topicEnd);
    to += topic;
    copyBytes(bytes, to, view.propertyBytes, view.propertiesAt, view.propertiesEnd);
    to += properties;
    copyBytes(bytes, to, view.payloadBytes, view.payloadAt, view.payloadEnd);
    if (kind === ENTRY_MESSAGE) this.liveCount--;
    return at;
  }

  /** A delivery of the last message entry. @returns where the entry begins */
  delivery(
    session: number,
    sequence: number,
    qos: number,
    retain: boolean,
    state: number,
    packetId: number,
    identifiers: Uint32Array | null,
    identifierCount: number,
    sharedFilter: string | null,
  ): number {
    const count = identifiers === null ? 0 : identifierCount;
    const hasExtra = count > 0 || sharedFilter !== null;
    const shared = sharedFilter === null ? null : Buffer.from(sharedFilter); // cold: shared subscriptions only
    const extra = hasExtra ? DELIVERY_EXTRA_BYTES + count * 4 + (shared === null ? 0 : shared.length) : 0;
    const flags = qos | (retain ? FLAG_RETAIN : 0) | (state << FLAG_STATE_SHIFT) | (hasExtra ? FLAG_EXTRA : 0);
    const at = this.begin(ENTRY_DELIVERY, flags, packetId, DELIVERY_ENTRY_BYTES + extra);
    this.doubles[(at + 8) >>> 3] = session;
    this.doubles[(at + 16) >>> 3] = sequence;
    if (!hasExtra) return at;
    let word = (at + DELIVERY_ENTRY_BYTES) >>> 2;
    this.words[word++] = count;
    this.words[word++] = shared === null ? 0 : shared.length;
    for (let i = 0; i < count; i++) this.words[word++] = identifiers![i]!;
    if (shared !== null) copyBytes(this.bytes, word * 4, shared, 0, shared.length);
    return at;
  }

  /** An entry of a head and one number. @returns where it begins */
  one(kind: number, flags: number, number: number, id: number): number {
    const at = this.begin(kind, flags, number, 16);
    this.doubles[(at + 8) >>> 3] = id;
    return at;
  }

  /** An entry of a head and two numbers. */
  two(kind: number, flags: number, number: number, id: number, second: number): number {
    const at = this.begin(kind, flags, number, 24);
    this.doubles[(at + 8) >>> 3] = id;
    this.doubles[(at + 16) >>> 3] = second;
    return at;
  }

  /** An entry of a head and three numbers. */
  three(kind: number, flags: number, number: number, id: number, second: number, third: number): number {
    const at = this.begin(kind, flags, number, 32);
    this.doubles[(at + 8) >>> 3] = id;
    this.doubles[(at + 16) >>> 3] = second;
    this.doubles[(at + 24) >>> 3] = third;
    return at;
  }

  /** An entry of a head, a number and a packed object. */
  packed(kind: number, id: number, object: Uint8Array): number {
    const at = this.begin(kind, 0, 0, 16 + object.length);
    this.doubles[(at + 8) >>> 3] = id;
    this.bytes.set(object, at + 16);
    return at;
  }

  /** Copies an entry of a record as it is. @returns where it begins here */
  copy(kind: number, bytes: Uint8Array, from: number, end: number): number {
    const at = this.begin(kind, 0, 0, end - from);
    this.bytes.set(bytes.subarray(from, end), at);
    if (kind === ENTRY_MESSAGE) this.liveCount--;
    return at;
  }

  /** Sets state and Packet Identifier of the delivery entry at `at`. */
  setState(at: number, state: number, packetId: number): void {
    const word = at >>> 2;
    this.words[word] = (this.words[word]! & 0xffff & ~(3 << (8 + FLAG_STATE_SHIFT))) | (state << (8 + FLAG_STATE_SHIFT)) | (packetId << 16);
  }

  /** The entry at `at` need not be written. */
  kill(at: number): void {
    const word = at >>> 2;
    this.words[word] = ENTRY_DEAD;
    this.deadBytes += aligned(this.words[word + 1]!);
    this.liveCount--;
  }

  /** Closes the gaps that dead entries have left, and drops messages without a delivery. Calls `moved` for each delivery that has moved. */
  compact(moved: Moved): void {
    const words = this.words;
    let to = RECORD_HEAD_BYTES;
    let messageTo = -1;
    let isMoved = false;
    let live = 0;
    for (let at = RECORD_HEAD_BYTES; at < this.at; ) {
      const kind = words[at >>> 2]! & 0xff;
      const length = aligned(words[(at >>> 2) + 1]!);
      if (kind !== ENTRY_DEAD && (kind !== ENTRY_MESSAGE || this.hasDelivery(at + length))) {
        if (to !== at) this.bytes.copyWithin(to, at, at + length);
        if (kind === ENTRY_MESSAGE) {
          messageTo = to;
          isMoved = to !== at;
        } else live++;
        if (kind === ENTRY_DELIVERY && (to !== at || isMoved))
          moved(this.doubles[(to + 8) >>> 3]!, this.doubles[(to + 16) >>> 3]!, messageTo, to);
        to += length;
      }
      at += length;
    }
    this.at = to;
    this.liveCount = live;
    this.deadBytes = 0;
  }

  /** Whether a delivery follows before the next message. */
  private hasDelivery(from: number): boolean {
    for (let at = from; at < this.at; at += aligned(this.words[(at >>> 2) + 1]!)) {
      const kind = this.words[at >>> 2]! & 0xff;
      if (kind === ENTRY_DELIVERY) return true;
      if (kind === ENTRY_MESSAGE) return false;
    }
    return false;
  }
}
