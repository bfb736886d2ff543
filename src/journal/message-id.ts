/**
 * Message IDs: 128 bits that name one message of this broker, over restarts too, written as 32 hexadecimal digits.
 *
 *   | milliseconds of wall time (48 bits) | shard (8) | start of the shard, random (40) | count (32) |
 *
 * Those of one shard only grow, so that they are an order; those of all shards are in the order of time.
 *
 * Hot path.
 */
import { randomFillSync } from 'node:crypto';
import { writeU32 } from '../base/bytes.ts';

export const MESSAGE_ID_BYTES = 16;
const SHARD_AT = 6;
const RUN_AT = 7;
const RUN_BYTES = 5;
const COUNT_AT = 12;
const HIGH = 0x1_0000_0000;

export const MESSAGE_ID_KEY = 'message-id';
const KEY_LENGTH = 10;
const USER_PROPERTY = 0x26;
const HEX_AT = 1 + 2 + KEY_LENGTH + 2;
const HEX_DIGITS = new Uint8Array([48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 97, 98, 99, 100, 101, 102]);

/** Gives out the IDs of one shard. */
export class MessageIds {
  /** The ID that was given out last; written over by the next. */
  readonly bytes: Uint8Array;
  /** The same memory as `bytes`. */
  readonly words: Uint32Array;
  /** Milliseconds of that ID. */
  milliseconds: number;
  /** That ID as the User Property `message-id`, as it stands in a raw block; valid after `writeProperty`. */
  readonly property: Uint8Array;
  /** Count of that ID. */
  count: number;
  private countLeft: number;

  constructor(shard: number) {
    this.words = new Uint32Array(MESSAGE_ID_BYTES / 4);
    this.bytes = new Uint8Array(this.words.buffer);
    this.bytes[SHARD_AT] = shard;
    randomFillSync(this.bytes, RUN_AT, RUN_BYTES);
    this.milliseconds = 0;
    this.property = new Uint8Array(HEX_AT + 2 * MESSAGE_ID_BYTES);
    this.property[0] = USER_PROPERTY;
    this.property[2] = KEY_LENGTH;
    for (let i = 0; i < KEY_LENGTH; i++) this.property[3 + i] = MESSAGE_ID_KEY.charCodeAt(i);
    this.property[HEX_AT - 1] = 2 * MESSAGE_ID_BYTES;
    // A random start, so that nobody reads from an ID how much is published.
    this.count = 0;
    this.countLeft = 0;
    this.restartCount();
  }

  private restartCount(): void {
    const start = new Uint32Array(1);
    randomFillSync(start);
    this.count = start[0]! >>> 2;
    this.countLeft = HIGH - 1 - this.count;
  }

  /** No ID will be of this millisecond or an earlier one. */
  startAfter(milliseconds: number): void {
    if (milliseconds >= this.milliseconds) this.moveTo(milliseconds + 1);
  }

  /** The next ID is in `bytes`. @param now wall milliseconds */
  next(now: number): void {
    if (now > this.milliseconds) this.moveTo(now);
    if (this.countLeft === 0) {
      this.restartCount();
      this.moveTo(this.milliseconds + 1);
    }
    this.countLeft--;
    this.count++;
    this.show();
  }

  /** Draws the ID that is behind the last one in its millisecond. `bytes` have it after `show`. @returns false: the next one is of another millisecond; none is drawn */
  advanceBehind(now: number): boolean {
    if (now > this.milliseconds || this.countLeft === 0) return false;
    this.countLeft--;
    this.count++;
    return true;
  }

  /** Writes the ID that was drawn last into `bytes`. */
  show(): void {
    const { bytes, count } = this;
    bytes[COUNT_AT] = count >>> 24;
    bytes[COUNT_AT + 1] = count >>> 16;
    bytes[COUNT_AT + 2] = count >>> 8;
    bytes[COUNT_AT + 3] = count;
  }

  private moveTo(milliseconds: number): void {
    this.milliseconds = milliseconds;
    const high = Math.floor(milliseconds / HIGH);
    const { bytes } = this;
    bytes[0] = high >>> 8;
    bytes[1] = high;
    bytes[2] = milliseconds / 0x1000000;
    bytes[3] = milliseconds / 0x10000;
    bytes[4] = milliseconds / 0x100;
    bytes[5] = milliseconds;
  }

  /** Puts the last ID into `property`. */
  writeProperty(): void {
    const { bytes, property } = this;
    for (let i = 0; i < MESSAGE_ID_BYTES; i++) {
      const byte = bytes[i]!;
      property[HEX_AT + 2 * i] = HEX_DIGITS[byte >>> 4]!;
      property[HEX_AT + 2 * i + 1] = HEX_DIGITS[byte & 15]!;
    }
  }
}

/** Wall milliseconds of the ID bytes[at, at + 16). */
export function idMilliseconds(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let i = 0; i < SHARD_AT; i++) value = value * 256 + bytes[at + i]!;
  return value;
}

export function idShard(bytes: Uint8Array, at: number): number {
  return bytes[at + SHARD_AT]!;
}

/** Low bits of the count: whoever takes every n-th message goes by it, the same on every shard. */
export function idCount(bytes: Uint8Array, at: number): number {
  return ((bytes[at + COUNT_AT]! << 24) | (bytes[at + 13]! << 16) | (bytes[at + 14]! << 8) | bytes[at + 15]!) >>> 0;
}

/** Writes the ID that comes `further` behind from[at, at + 16) in one millisecond. */
export function writeIdBehind(target: Uint8Array, from: Uint8Array, at: number, further: number): void {
  for (let i = 0; i < COUNT_AT; i++) target[i] = from[at + i]!;
  writeU32(target, COUNT_AT, (idCount(from, at) + further) >>> 0);
}

/** Below 0, 0 or above 0, as the first ID is before, the same as, or behind the second. */
export function compareIds(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): number {
  for (let i = 0; i < MESSAGE_ID_BYTES; i++) {
    const difference = a[aAt + i]! - b[bAt + i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The ID bytes[at, at + 16) as 32 hexadecimal digits. */
export function idText(bytes: Uint8Array, at: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, MESSAGE_ID_BYTES).toString('hex'); // cold: for people
}

/** The bytes of an ID in 32 hexadecimal digits; null: it is none. */
export function parseId(text: string): Uint8Array | null {
  return /^[0-9a-f]{32}$/i.test(text) ? Buffer.from(text, 'hex') : null; // cold: asked by people
}

/** The first ID that a message of this moment may have, and one that is behind all of them. */
export function idFloor(milliseconds: number): Uint8Array {
  const bytes = new Uint8Array(MESSAGE_ID_BYTES);
  let left = Math.max(0, Math.min(milliseconds, 2 ** 48 - 1));
  for (let i = SHARD_AT - 1; i >= 0; i--) {
    bytes[i] = left % 256;
    left = Math.floor(left / 256);
  }
  return bytes;
}
