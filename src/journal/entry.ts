/**
 * Entries of the journal: what one shard has promised or been told since its last commit, hand-laid where they run per message.
 *
 *   entry:     | kind 8, flags 8, number 16 (u32) | bytes of the entry (u32) | … |                each begins at a multiple of 8
 *   message:   | head | f64 expiresAt | u32 topic | u32 properties | u32 payload | u32 hash | topic | properties | payload |
 *   retained:  as a message; no payload: cleared                                         flags: qos 2 bits, retained, wants receipt
 *   delivery:  | head | f64 session | f64 sequence | (u32 identifiers | u32 shared filter | identifiers | shared filter) |
 *              of the last message entry before it                flags: qos 2 bits, retain, state 2 bits, has extra; number: Packet Identifier
 *   sent, released, settled:        | head | f64 session | f64 sequence |
 *   received, received-end:         | head | f64 session |                                        number: Packet Identifier
 *   origin:                         | head | f64 session | f64 publisher | f64 content hash |     number: Packet Identifier
 *   origin-done:                    | head | f64 publisher |                                      number: Packet Identifier, 0 for all
 *   closed:                         | head | f64 session | f64 at | f64 expiry seconds |          flags: a Will is pending
 *   will-done, session-end, own-done: | head | f64 id |
 *   session, connected, subscribed, unsubscribed, own: | head | f64 id | an object, packed |
 *
 * Numbers are little endian and aligned, so that both ends use typed arrays; onehop runs on no big-endian machine. What an entry means for a session
 * is told by `shard/durable.ts` (writing) and `shard/recovery.ts` (reading).
 */

import { readText } from '../base/bytes.ts';

export const ENTRY_DEAD = 0;
export const ENTRY_MESSAGE = 1;
export const ENTRY_DELIVERY = 2;
export const ENTRY_SENT = 3;
export const ENTRY_RELEASED = 4;
export const ENTRY_SETTLED = 5;
export const ENTRY_RECEIVED = 6;
export const ENTRY_RECEIVED_END = 7;
export const ENTRY_ORIGIN = 8;
export const ENTRY_ORIGIN_DONE = 9;
export const ENTRY_SESSION = 10;
export const ENTRY_CONNECTED = 11;
export const ENTRY_CLOSED = 12;
export const ENTRY_WILL_DONE = 13;
export const ENTRY_SESSION_END = 14;
export const ENTRY_SUBSCRIBED = 15;
export const ENTRY_UNSUBSCRIBED = 16;
export const ENTRY_RETAINED = 17;
export const ENTRY_OWN = 18;
export const ENTRY_OWN_DONE = 19;

/** Names by kind, for people. */
export const ENTRY_NAMES: readonly string[] = [
  'dead',
  'message',
  'delivery',
  'sent',
  'released',
  'settled',
  'received',
  'received-end',
  'origin',
  'origin-done',
  'session',
  'connected',
  'closed',
  'will-done',
  'session-end',
  'subscribed',
  'unsubscribed',
  'retained',
  'own',
  'own-done',
];

export const ENTRY_HEAD_BYTES = 8;
export const MESSAGE_ENTRY_BYTES = 32;
export const DELIVERY_ENTRY_BYTES = 24;
/** Behind a delivery's fixed part, when `FLAG_EXTRA` is set: two lengths. */
export const DELIVERY_EXTRA_BYTES = 8;

export const FLAG_QOS = 3;
/** Message: RETAIN of the PUBLISH. Delivery: RETAIN as this receiver sees it. */
export const FLAG_RETAIN = 4;
/** Message: the publisher wants a receipt. */
export const FLAG_RECEIPT = 8;
/** Delivery: state of the exchange, `INFLIGHT_…`, 0 while it waits. */
export const FLAG_STATE_SHIFT = 3;
export const FLAG_EXTRA = 32;
/** Origin: the publisher's session is stored, so it may send the message again after a crash of the whole process. */
export const FLAG_STORED_PUBLISHER = 1;
/** Closed: the Will is still to come. */
export const FLAG_WILL = 1;

/** A position that is a multiple of 8 and not before `at`. */
export function aligned(at: number): number {
  return (at + 7) & ~7;
}

/** The two entries of a delivery, cut out of the record bytes[0, end): the message and, where that ends, the delivery. Null where they are not. A copy. */
export function cutPart(bytes: Buffer, messageAt: number, deliveryAt: number): Buffer | null {
  const message = wholeLength(bytes, messageAt);
  const delivery = wholeLength(bytes, deliveryAt);
  if (message < 0 || delivery < 0) return null;
  const part = Buffer.allocUnsafe(message + delivery);
  bytes.copy(part, 0, messageAt, messageAt + message);
  bytes.copy(part, message, deliveryAt, deliveryAt + delivery);
  return part;
}

/** Bytes of the entry at `at`, with those that align the next one; -1 where there is none in `bytes`. */
function wholeLength(bytes: Buffer, at: number): number {
  if (at < 0 || at + ENTRY_HEAD_BYTES > bytes.length) return -1;
  const length = bytes.readUInt32LE(at + 4);
  // Before `aligned`, which makes a negative number of a huge one.
  if (length < ENTRY_HEAD_BYTES || length > bytes.length - at) return -1;
  return aligned(length) > bytes.length - at ? -1 : aligned(length);
}

/** Where the delivery begins in what `cutPart` has made. */
export function deliveryInPart(part: Buffer): number {
  return aligned(part.readUInt32LE(4));
}

const scratch: DataView = new DataView(new ArrayBuffer(8));

/**
 * Reads entries of one record, one after the other. The bytes are the caller's; what the fields point to is valid as long as they are.
 * A record whose checksum is right may still be of another mind about lengths; then `next` says false and `isDamaged` is true.
 */
export class EntryReader {
  bytes: Buffer;
  /** Where the current entry begins, and the end of its bytes. */
  at: number;
  end: number;
  kind: number;
  flags: number;
  number: number;
  isDamaged: boolean;
  private view: DataView;
  private nextAt: number;
  private recordEnd: number;

  constructor() {
    this.bytes = Buffer.alloc(0);
    this.at = 0;
    this.end = 0;
    this.kind = 0;
    this.flags = 0;
    this.number = 0;
    this.isDamaged = false;
    this.view = scratch;
    this.nextAt = 0;
    this.recordEnd = 0;
  }

  /** Begins at `at`, where an entry starts, in bytes[0, end). */
  reset(bytes: Buffer, at: number, end: number): void {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.nextAt = at;
    this.recordEnd = end;
    this.isDamaged = false;
  }

  /** Steps to the next entry. @returns false at the end, or where the rest cannot be one */
  next(): boolean {
    const at = this.nextAt;
    if (at === this.recordEnd) return false;
    if (at + ENTRY_HEAD_BYTES > this.recordEnd) return this.damaged();
    const head = this.view.getUint32(at, true);
    const length = this.view.getUint32(at + 4, true);
    this.kind = head & 0xff;
    this.flags = (head >>> 8) & 0xff;
    this.number = head >>> 16;
    // The length first: `aligned` makes a negative number of a huge one, and the reader would go back, for ever.
    if (length < smallestEntry(this.kind) || length > this.recordEnd - at || at + aligned(length) > this.recordEnd) return this.damaged();
    this.at = at;
    this.end = at + length;
    this.nextAt = at + aligned(length);
    if ((this.kind === ENTRY_MESSAGE || this.kind === ENTRY_RETAINED) && this.payloadAt > this.end) return this.damaged();
    if (this.kind === ENTRY_DELIVERY && (this.flags & FLAG_EXTRA) !== 0 && this.sharedEnd > this.end) return this.damaged();
    return true;
  }

  private damaged(): boolean {
    this.isDamaged = true;
    return false;
  }

  /** First number of the entry: a session, a publisher, a publication. */
  get id(): number {
    return this.view.getFloat64(this.at + 8, true);
  }

  /** Second number: a delivery's sequence, or the publisher of an origin, or the time of a close. */
  get second(): number {
    return this.view.getFloat64(this.at + 16, true);
  }

  /** Third number: the Session Expiry Interval of a close, the content of an origin. */
  get third(): number {
    return this.view.getFloat64(this.at + 24, true);
  }

  // Message and retained.
  get expiresAt(): number {
    return this.view.getFloat64(this.at + 8, true);
  }

  get topicLength(): number {
    return this.view.getUint32(this.at + 16, true);
  }

  get propertiesLength(): number {
    return this.view.getUint32(this.at + 20, true);
  }

  get payloadLength(): number {
    return this.view.getUint32(this.at + 24, true);
  }

  get hash(): number {
    return this.view.getUint32(this.at + 28, true);
  }

  private get payloadAt(): number {
    return this.at + MESSAGE_ENTRY_BYTES + this.topicLength + this.propertiesLength + this.payloadLength;
  }

  // Delivery.
  /** Subscription Identifiers, or null. A copy. */
  get identifiers(): Uint32Array | null {
    if ((this.flags & FLAG_EXTRA) === 0) return null;
    const count = this.view.getUint32(this.at + DELIVERY_ENTRY_BYTES, true);
    if (count === 0) return null;
    const list = new Uint32Array(count);
    const from = this.at + DELIVERY_ENTRY_BYTES + DELIVERY_EXTRA_BYTES;
    for (let i = 0; i < count; i++) list[i] = this.view.getUint32(from + i * 4, true);
    return list;
  }

  get sharedFilter(): string | null {
    if ((this.flags & FLAG_EXTRA) === 0) return null;
    const length = this.view.getUint32(this.at + DELIVERY_ENTRY_BYTES + 4, true);
    return length === 0 ? null : readText(this.bytes, this.sharedAt, this.sharedAt + length);
  }

  private get sharedEnd(): number {
    const at = this.sharedAt;
    return at > this.end ? at : at + this.view.getUint32(this.at + DELIVERY_ENTRY_BYTES + 4, true);
  }

  private get sharedAt(): number {
    if (this.at + DELIVERY_ENTRY_BYTES + DELIVERY_EXTRA_BYTES > this.end) return this.end + 1;
    return this.at + DELIVERY_ENTRY_BYTES + DELIVERY_EXTRA_BYTES + this.view.getUint32(this.at + DELIVERY_ENTRY_BYTES, true) * 4;
  }

  /** Where the packed object of the entry begins; it ends at `end`. */
  get packedAt(): number {
    return this.at + 16;
  }
}

/** Bytes that an entry of this kind has at least. */
function smallestEntry(kind: number): number {
  switch (kind) {
    case ENTRY_MESSAGE:
    case ENTRY_RETAINED:
    case ENTRY_CLOSED:
    case ENTRY_ORIGIN:
      return 32;
    case ENTRY_DELIVERY:
    case ENTRY_SENT:
    case ENTRY_RELEASED:
    case ENTRY_SETTLED:
      return 24;
    case ENTRY_DEAD:
      return ENTRY_HEAD_BYTES;
    default:
      return 16;
  }
}
