/*
 * Bytes: the cursor that reads, the cursor that writes, and the few operations on ranges that every packet needs. A range is always an
 * array with `at` and `end`; nothing here makes a view of it, so nothing here makes garbage, except where a large copy is cheaper that way.
 * Bad input never throws: a Reader that runs short sets `failed` and answers 0 from then on.
 * Invariant of both cursors: 0 <= at <= end (Reader), 0 <= at <= bytes.length (Writer).
 *
 * Hot path.
 */

import { assert } from './assert.ts';

/** Largest value of a Variable Byte Integer (MQTT 5, section 1.5.5). */
export const VARINT_MAX = 268_435_455;

/** Most bytes that a UTF-8 Encoded String or Binary Data may hold: its length is two bytes (sections 1.5.4 and 1.5.6). */
export const RANGE16_BYTES_MAX = 65_535;

/** Bytes that can be copied by words, wherever they begin: buffers that live long and that every message goes through. */
export type ViewedBytes<T extends Uint8Array = Uint8Array> = T & { readonly dataView: DataView };

/** Lets `copyViewed` copy these bytes by words. The view is a property of the array, because one made per copy would cost more than it saves. */
export function withView<T extends Uint8Array>(bytes: T): ViewedBytes<T> {
  return Object.assign(bytes, { dataView: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) });
}

/**
 * The view that `withView` gave these bytes, or undefined. To be asked once for many copies: where arrays without one come too, V8 looks through their prototypes, 5 ns
 * each time: 2 to 4 % of the samples where ten messages come in a packet, of which paired rounds show 1 %, no more than their noise.
 */
export function viewOf(bytes: Uint8Array): DataView | undefined {
  return (bytes as Partial<ViewedBytes>).dataView;
}

// Copies between bytes with views: words take 16 ns for 64 bytes, 27 ns for 128 and 37 ns for 192, where bytes one by one take 18 and 35, and `set` 40 whatever the size
// (native-bench/micro/codec.bench.ts; up to 48 bytes there is no difference). In a slow state of the machine, when a fan-in of small messages took 8 % less processor
// time by words, it was 20, 37 and 66 ns beside 37, 80 and 129.
const COPY_WORDS_BYTES_MIN = 48;
const COPY_WORDS_BYTES_MAX = 256;
// Up to this many bytes a loop beats `set` with a view, which costs about 51 ns whatever the size (16 bytes: 7 ns, 64 bytes: 21 ns,
// 128 bytes: 41 ns, 192 bytes: 65 ns).
const COPY_LOOP_BYTES_MAX = 128;

// Buffer's own methods, called on any Uint8Array: they also accept views of a SharedArrayBuffer, which TextDecoder does not.
interface TextMethods {
  latin1Slice(this: Uint8Array, at: number, end: number): string;
  utf8Slice(this: Uint8Array, at: number, end: number): string;
  utf8Write(this: Uint8Array, text: string, at: number, lengthBytes: number): number;
}
const text: TextMethods = Buffer.prototype as unknown as TextMethods;
const latin1Slice: TextMethods['latin1Slice'] = text.latin1Slice;
const utf8Slice: TextMethods['utf8Slice'] = text.utf8Slice;
const utf8Write: TextMethods['utf8Write'] = text.utf8Write;

const NO_BYTES: Uint8Array = new Uint8Array(0);

/** Reads the standard's data types from a range of bytes it does not own. Integers are big endian (section 1.5). */
export class Reader {
  bytes: Uint8Array = NO_BYTES;
  /** Offset of the next byte to read. */
  at = 0;
  /** Offset behind the last byte that may be read. */
  end = 0;
  /** Set by the first read that ran short or met a bad encoding; stays set until `reset`. */
  failed = false;
  /** The range that the last `range16` found; empty when it failed. */
  rangeAt = 0;
  rangeEnd = 0;

  /** Starts anew on `bytes[at..end)`. */
  reset(bytes: Uint8Array, at: number, end: number): void {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
    this.failed = false;
    this.rangeAt = at;
    this.rangeEnd = at;
  }

  /** Byte. */
  u8(): number {
    if (this.failed || this.at >= this.end) return this.#fail();
    return this.bytes[this.at++]!;
  }

  /** Two Byte Integer. */
  u16(): number {
    const at = this.at;
    if (this.failed || at + 2 > this.end) return this.#fail();
    this.at = at + 2;
    return (this.bytes[at]! << 8) | this.bytes[at + 1]!;
  }

  /** Four Byte Integer, unsigned. */
  u32(): number {
    const at = this.at;
    if (this.failed || at + 4 > this.end) return this.#fail();
    this.at = at + 4;
    return readU32(this.bytes, at);
  }

  /** Variable Byte Integer of at most four bytes; a longer encoding than needed fails. [MQTT-1.5.5-1] */
  varint(): number {
    if (this.failed) return 0;
    const bytes = this.bytes;
    let at = this.at;
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      if (at >= this.end) return this.#fail();
      const byte = bytes[at++]!;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) return this.#fail();
        this.at = at;
        return value;
      }
    }
    return this.#fail();
  }

  /** Steps over `n` bytes. */
  skip(n: number): void {
    if (this.failed || this.at + n > this.end) this.#fail();
    else this.at += n;
  }

  /** Reads a two-byte length, sets `rangeAt` and `rangeEnd` to the bytes that follow, and steps over them. */
  range16(): void {
    const length = this.u16();
    if (this.failed || this.at + length > this.end) {
      this.#fail();
      this.rangeAt = this.at;
      this.rangeEnd = this.at;
      return;
    }
    this.rangeAt = this.at;
    this.rangeEnd = this.at + length;
    this.at = this.rangeEnd;
  }

  #fail(): number {
    this.failed = true;
    return 0;
  }
}

/** Writes the standard's data types into an array it owns and lets grow. For cold packets: the hot ones write into their target directly. */
export class Writer {
  bytes: Uint8Array;
  /** Offset of the next byte to write; also the number of bytes written since `reset`. */
  at = 0;

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafeSlow(Math.max(capacity, 16));
  }

  /** Forgets what was written. The array stays. */
  reset(): void {
    this.at = 0;
  }

  /** Makes room for `n` more bytes. The array may be another one afterwards; the old one is not touched any more. */
  room(n: number): void {
    const needed = this.at + n;
    if (needed <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    copyBytes(grown, 0, this.bytes, 0, this.at);
    this.bytes = grown;
  }

  /** Byte. */
  u8(value: number): void {
    this.room(1);
    this.bytes[this.at++] = value;
  }

  /** Two Byte Integer. */
  u16(value: number): void {
    this.room(2);
    this.at = writeU16(this.bytes, this.at, value);
  }

  /** Four Byte Integer. */
  u32(value: number): void {
    this.room(4);
    this.at = writeU32(this.bytes, this.at, value);
  }

  /** Variable Byte Integer. */
  varint(value: number): void {
    this.room(4);
    this.at = writeVarint(this.bytes, this.at, value);
  }

  /** Copies `source[at..end)` without a length. */
  raw(source: Uint8Array, at: number, end: number): void {
    this.room(end - at);
    copyBytes(this.bytes, this.at, source, at, end);
    this.at += end - at;
  }

  /** UTF-8 Encoded String: two bytes of length, then the text. */
  utf8(value: string): void {
    this.room(2 + value.length * 3);
    const length = utf8Write.call(this.bytes, value, this.at + 2, value.length * 3);
    assert(length <= RANGE16_BYTES_MAX, 'a UTF-8 Encoded String holds at most 65,535 bytes');
    this.at = writeU16(this.bytes, this.at, length) + length;
  }

  /** Text as UTF-8, without a length. A lone surrogate becomes U+FFFD. */
  text(value: string): void {
    this.room(value.length * 3);
    this.at += utf8Write.call(this.bytes, value, this.at, value.length * 3);
  }

  /** Binary Data: two bytes of length, then the bytes. */
  binary(source: Uint8Array): void {
    assert(source.length <= RANGE16_BYTES_MAX, 'Binary Data holds at most 65,535 bytes');
    this.u16(source.length);
    this.raw(source, 0, source.length);
  }

  /** A copy of what was written, owned by the caller. */
  copy(): Uint8Array {
    const bytes = Buffer.allocUnsafeSlow(this.at);
    copyBytes(bytes, 0, this.bytes, 0, this.at);
    return bytes;
  }
}

/** Reads a Two Byte Integer. The caller has checked the room. */
export function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

/** Reads a Four Byte Integer, unsigned. The caller has checked the room. */
export function readU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

/** Writes a Two Byte Integer and returns the offset behind it. */
export function writeU16(target: Uint8Array, at: number, value: number): number {
  target[at] = value >>> 8;
  target[at + 1] = value;
  return at + 2;
}

/** Writes a Four Byte Integer and returns the offset behind it. */
export function writeU32(target: Uint8Array, at: number, value: number): number {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
  return at + 4;
}

/** Number of bytes that the Variable Byte Integer `n` takes: 1 to 4. */
export function varintLength(n: number): number {
  return n < 128 ? 1 : n < 16_384 ? 2 : n < 2_097_152 ? 3 : 4;
}

/** Writes a Variable Byte Integer and returns the offset behind it. The caller has checked that `n` is at most VARINT_MAX. */
export function writeVarint(target: Uint8Array, at: number, n: number): number {
  let rest = n;
  let next = at;
  while (rest > 0x7f) {
    target[next++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[next++] = rest;
  return next;
}

/**
 * Copies `source[at..end)` to `target[targetAt…]`. Both may be views of a SharedArrayBuffer. Within one array the ranges may overlap;
 * two different arrays over overlapping memory are not allowed.
 */
export function copyBytes(target: Uint8Array, targetAt: number, source: Uint8Array, at: number, end: number): void {
  if (target === source) {
    target.copyWithin(targetAt, at, end);
    return;
  }
  if (end - at <= COPY_LOOP_BYTES_MAX) {
    // Eight bytes a turn (64 bytes: 50 ns -> 21 ns).
    let from = at;
    let to = targetAt;
    for (const last = end - 8; from <= last; from += 8, to += 8) {
      target[to] = source[from]!;
      target[to + 1] = source[from + 1]!;
      target[to + 2] = source[from + 2]!;
      target[to + 3] = source[from + 3]!;
      target[to + 4] = source[from + 4]!;
      target[to + 5] = source[from + 5]!;
      target[to + 6] = source[from + 6]!;
      target[to + 7] = source[from + 7]!;
    }
    while (from < end) target[to++] = source[from++]!;
    return;
  }
  target.set(source.subarray(at, end), targetAt);
}

/** The same, by words where both arrays have views: what `viewOf` says of them. */
export function copyViewed(
  target: Uint8Array,
  targetView: DataView | undefined,
  targetAt: number,
  source: Uint8Array,
  sourceView: DataView | undefined,
  at: number,
  end: number,
): void {
  const length = end - at;
  const areWords = length >= COPY_WORDS_BYTES_MIN && length <= COPY_WORDS_BYTES_MAX;
  // Within one array the ranges may overlap.
  if (!areWords || targetView === undefined || sourceView === undefined || targetView === sourceView)
    copyBytes(target, targetAt, source, at, end);
  else copyWords(targetView, targetAt, sourceView, at, length);
}

/** Copies at least four bytes: words, and the last of them may lie over the one before. */
function copyWords(target: DataView, targetAt: number, source: DataView, at: number, length: number): void {
  const last = length - 4;
  let i = 0;
  // Eight words a turn (64 bytes: 20 ns -> 16 ns, 128 bytes: 36 ns -> 27 ns).
  for (const last32 = length - 32; i <= last32; i += 32) {
    const from = at + i;
    const to = targetAt + i;
    const word0 = source.getInt32(from, true);
    const word1 = source.getInt32(from + 4, true);
    const word2 = source.getInt32(from + 8, true);
    const word3 = source.getInt32(from + 12, true);
    const word4 = source.getInt32(from + 16, true);
    const word5 = source.getInt32(from + 20, true);
    const word6 = source.getInt32(from + 24, true);
    const word7 = source.getInt32(from + 28, true);
    target.setInt32(to, word0, true);
    target.setInt32(to + 4, word1, true);
    target.setInt32(to + 8, word2, true);
    target.setInt32(to + 12, word3, true);
    target.setInt32(to + 16, word4, true);
    target.setInt32(to + 20, word5, true);
    target.setInt32(to + 24, word6, true);
    target.setInt32(to + 28, word7, true);
  }
  for (; i < last; i += 4) target.setInt32(targetAt + i, source.getInt32(at + i, true), true);
  target.setInt32(targetAt + last, source.getInt32(at + last, true), true);
}

/** Says whether two ranges hold the same bytes. */
export function equalBytes(a: Uint8Array, aAt: number, aEnd: number, b: Uint8Array, bAt: number, bEnd: number): boolean {
  if (aEnd - aAt !== bEnd - bAt) return false;
  let other = bAt;
  for (let i = aAt; i < aEnd; i++) {
    if (a[i] !== b[other++]) return false;
  }
  return true;
}

/** The bytes `source[at..end)` as an array of their own, which the caller owns. */
export function cloneBytes(source: Uint8Array, at: number, end: number): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(end - at);
  copyBytes(bytes, 0, source, at, end);
  return bytes;
}

/**
 * A copy of a short key. Not a Buffer: up to 64 bytes of a plain typed array lie beside its header on the JavaScript heap, where a Buffer of its own takes
 * some 300 bytes more outside of it.
 */
export function cloneKey(source: Uint8Array, at: number, end: number): Uint8Array {
  const key = new Uint8Array(end - at);
  copyBytes(key, 0, source, at, end);
  return key;
}

/**
 * Decodes UTF-8. A byte order mark stays in the text [MQTT-1.5.4-3]; bytes that are not UTF-8 become U+FFFD. Works on any Uint8Array,
 * also on a view of a SharedArrayBuffer.
 */
export function readText(bytes: Uint8Array, at: number, end: number): string {
  for (let i = at; i < end; i++) {
    if (bytes[i]! >= 0x80) return utf8Slice.call(bytes, at, end);
  }
  return latin1Slice.call(bytes, at, end);
}

/** Encodes text as UTF-8; the caller owns the result. A lone surrogate becomes U+FFFD. */
export function utf8Bytes(value: string): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(value, 'utf8'));
  bytes.write(value, 'utf8');
  return bytes;
}

/** Number of bytes of `value` as UTF-8. */
export function utf8Length(value: string): number {
  return Buffer.byteLength(value, 'utf8');
}

/**
 * Says whether the range is text that MQTT allows: well-formed UTF-8, no surrogates [MQTT-1.5.4-1], no U+0000 [MQTT-1.5.4-2].
 * The length limit of two bytes is the caller's.
 */
export function isMqttUtf8(bytes: Uint8Array, at: number, end: number): boolean {
  for (let i = at; i < end; i++) {
    const byte = bytes[i]!;
    if (byte >= 0x80) return isUtf8Rest(bytes, i, end, 1);
    if (byte === 0) return false;
  }
  return true;
}

/** Says whether the range is well-formed UTF-8; unlike `isMqttUtf8` it may hold U+0000. For payloads. */
export function isUtf8(bytes: Uint8Array, at: number, end: number): boolean {
  for (let i = at; i < end; i++) {
    if (bytes[i]! >= 0x80) return isUtf8Rest(bytes, i, end, 0);
  }
  return true;
}

// The general case, entered at the first byte that is not ASCII. `asciiMin` is the lowest code of one byte that is allowed.
function isUtf8Rest(bytes: Uint8Array, at: number, end: number, asciiMin: number): boolean {
  let i = at;
  while (i < end) {
    const byte = bytes[i]!;
    if (byte < 0x80) {
      if (byte < asciiMin) return false;
      i++;
      continue;
    }
    // The second byte's limits exclude overlong forms (E0, F0), surrogates (ED) and what lies above U+10FFFF (F4).
    let secondMin = 0x80;
    let secondMax = 0xbf;
    let length = 2;
    if (byte < 0xc2) return false;
    if (byte >= 0xe0) {
      if (byte < 0xf0) {
        length = 3;
        if (byte === 0xe0) secondMin = 0xa0;
        else if (byte === 0xed) secondMax = 0x9f;
      } else if (byte < 0xf5) {
        length = 4;
        if (byte === 0xf0) secondMin = 0x90;
        else if (byte === 0xf4) secondMax = 0x8f;
      } else return false;
    }
    if (i + length > end) return false;
    const second = bytes[i + 1]!;
    if (second < secondMin || second > secondMax) return false;
    if (length > 2 && (bytes[i + 2]! & 0xc0) !== 0x80) return false;
    if (length > 3 && (bytes[i + 3]! & 0xc0) !== 0x80) return false;
    i += length;
  }
  return true;
}
