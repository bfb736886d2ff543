/**
 * History records: messages as the history keeps them, as bytes. A shard writes them into its ring, the history's thread gathers them in blocks. Both hold them in frames of
 * the ring, so that thousands go from one to the other in one copy.
 *
 *   | ID (16 bytes) | u8 flags | u8 further | u16 topic | u32 topic hash | u32 publisher hash | u16 publisher | u16 targets | u32 payload |         36 bytes
 *   | u32 properties | u32 payload of the message | u32 expiry (seconds; 0xffffffff: none) | u32 bytes of targets |                    16 more, where `long`
 *   | publisher | targets: u16 length, Client Identifier; … | properties | topic | payload |                    (lengths and a count; little endian)
 *
 *   flags: | QoS (2 bits) | retained | P2P | properties left out | addressed | long |
 *
 * A payload may be cut; properties are whole or not there. Most messages have no properties, no expiry and no list of targets, and a short header.
 * `addressed`: the one target is what the topic ends with. Its length stands where the number of targets does, and its hash where that of the topic does.
 *
 * Messages that follow one from the same publisher to the same topic, and have nothing else of their own, stand behind it with their payloads alone: what devices send in
 * one go. Their IDs follow its ID.
 *
 *   | record, padded to 4 | u32 payload | payload, padded to 4 | u32 payload | payload, padded to 4 | …      `further` of them
 *
 * Hot path.
 */
import { copyBytes, copyViewed, readText } from '../base/bytes.ts';
import type { MessageView } from '../protocol/publish.ts';
import { compareIds, MESSAGE_ID_BYTES, writeIdBehind } from './message-id.ts';

/** A message in the ring of a shard. */
export const FRAME_MESSAGE = 1;
/** An event of a trace: the ID, then JSON. */
export const FRAME_TRACE = 2;

/** Of the header: without and with its second part. */
const SHORT_HEADER_BYTES = 36;
const LONG_HEADER_BYTES = 52;
/** Messages that may stand behind one. */
export const FURTHER_MAX = 255;
/** Bytes of a record with those behind it. */
export const RECORD_BYTES_MAX: number = 16 * 1024;
/** Of the record, as words: what a block's index is made from. */
export const FLAGS_WORD = 4;
export const FURTHER_SHIFT = 8;
export const HASH_WORD = 5;
export const PUBLISHER_HASH_WORD = 6;
export const TARGETS_WORD = 7;
export const TARGETS_SHIFT = 16;
const FLAGS_AT = 16;
const FURTHER_AT = 17;
const TOPIC_AT = 18;
const HASH_AT = 20;
const PUBLISHER_HASH_AT = 24;
const PUBLISHER_AT = 28;
const TARGETS_AT = 30;
const PAYLOAD_AT = 32;
const PROPERTIES_AT = 36;
const WHOLE_PAYLOAD_AT = 40;
const EXPIRY_AT = 44;
const TARGET_BYTES_AT = 48;
const NO_EXPIRY = 0xffffffff;

const QOS_BITS = 3;
const RETAINED = 4;
const P2P = 8;
const WITHOUT_PROPERTIES = 16;
/** The topic ends with the target. */
export const ADDRESSED = 32;
const LONG = 64;

/** What a record has beside what the view shows. */
export class HistoryFields {
  /** Of the topic; where it is addressed, of the target. */
  hash = 0;
  /** Its Client Identifier is `publisherBytes[publisherAt, publisherEnd)`. */
  publisherBytes: Uint8Array = new Uint8Array(0);
  publisherAt = 0;
  publisherEnd = 0;
  publisherHash = 0;
  isP2p = false;
  /** Bytes of the one target, with which the topic ends; 0: it is not so. */
  addressedBytes = 0;
  /** Targets as ranges of `targetBytes`: at, end, at, end …; `targetCount` of them. */
  targets: Int32Array = new Int32Array(2);
  targetCount = 0;
  /** Bytes that they take in a record. */
  targetsLength = 0;
  targetBytes: Uint8Array = new Uint8Array(0);
  expirySeconds = -1;
  /** Of the view's properties. */
  propertiesEnd = 0;

  /** Forgets the targets of the message before. */
  clearTargets(): void {
    this.addressedBytes = 0;
    this.targetCount = 0;
    this.targetsLength = 0;
  }

  /** Adds the target `targetBytes[at, end)`. */
  addTarget(at: number, end: number): void {
    const place = 2 * this.targetCount++;
    if (place === this.targets.length) this.grow();
    this.targets[place] = at;
    this.targets[place + 1] = end;
    this.targetsLength += 2 + end - at;
  }

  private grow(): void {
    const larger = new Int32Array(this.targets.length * 2);
    larger.set(this.targets);
    this.targets = larger;
  }
}

/** Bytes of a record before its payload. @param isShort see `isShortRecord` @param hasProperties false: they are left out */
export function recordBytesBefore(view: MessageView, fields: HistoryFields, isShort: boolean, hasProperties: boolean): number {
  const bytes = view.topicEnd - view.topicAt + fields.publisherEnd - fields.publisherAt;
  if (isShort) return SHORT_HEADER_BYTES + bytes;
  return LONG_HEADER_BYTES + bytes + fields.targetsLength + (hasProperties ? fields.propertiesEnd - view.propertiesAt : 0);
}

/** Whether a record of this message has a short header, where its payload is whole. */
export function isShortRecord(view: MessageView, fields: HistoryFields): boolean {
  return fields.propertiesEnd === view.propertiesAt && fields.expirySeconds < 0 && fields.targetCount === 0;
}

/**
 * Writes a record; the target has room for it.
 * @param targetView see `viewOf`
 * @param words the same memory as `target`: storing a word costs a fifth of `writeUInt32LE`. All machines that there are packages for are little endian
 * @param id its four words
 * @param at a multiple of 4
 * @param hasProperties false: they are left out
 * @param payloadLength bytes of the payload that are kept
 * @returns its length
 */
export function writeHistoryRecord(
  target: Buffer,
  targetView: DataView | undefined,
  words: Uint32Array,
  at: number,
  id: Uint32Array,
  view: MessageView,
  fields: HistoryFields,
  hasProperties: boolean,
  payloadLength: number,
): number {
  const { publisherAt, publisherEnd, addressedBytes } = fields;
  const publisher = publisherEnd - publisherAt;
  const isShort = payloadLength === view.payloadEnd - view.payloadAt && isShortRecord(view, fields);
  const topic = view.topicEnd - view.topicAt;
  const flags =
    view.qos |
    (view.isRetained ? RETAINED : 0) |
    (fields.isP2p ? P2P : 0) |
    (hasProperties ? 0 : WITHOUT_PROPERTIES) |
    (addressedBytes > 0 ? ADDRESSED : 0) |
    (isShort ? 0 : LONG);
  const word = at >>> 2;
  words[word] = id[0]!;
  words[word + 1] = id[1]!;
  words[word + 2] = id[2]!;
  words[word + 3] = id[3]!;
  words[word + FLAGS_WORD] = flags | (topic << 16);
  words[word + HASH_WORD] = fields.hash;
  words[word + PUBLISHER_HASH_WORD] = fields.publisherHash;
  words[word + TARGETS_WORD] = publisher | ((addressedBytes > 0 ? addressedBytes : fields.targetCount) << TARGETS_SHIFT);
  words[word + 8] = payloadLength;
  let to = at + SHORT_HEADER_BYTES;
  if (!isShort) {
    words[word + 9] = hasProperties ? fields.propertiesEnd - view.propertiesAt : 0;
    words[word + 10] = view.payloadEnd - view.payloadAt;
    words[word + 11] = fields.expirySeconds < 0 ? NO_EXPIRY : fields.expirySeconds;
    words[word + 12] = fields.targetsLength;
    to = at + LONG_HEADER_BYTES;
  }
  copyBytes(target, to, fields.publisherBytes, publisherAt, publisherEnd);
  to += publisher;
  if (!isShort) to = writeLists(target, to, view, fields, hasProperties);
  const { payloadBytes, payloadView, payloadAt } = view;
  if (payloadAt === view.topicEnd && payloadBytes === view.topicBytes) {
    // As they came in a PUBLISH of MQTT 3.1.1 and QoS 0.
    copyViewed(target, targetView, to, payloadBytes, payloadView, view.topicAt, payloadAt + payloadLength);
  } else {
    copyBytes(target, to, view.topicBytes, view.topicAt, view.topicEnd);
    copyViewed(target, targetView, to + topic, payloadBytes, payloadView, payloadAt, payloadAt + payloadLength);
  }
  return to + topic + payloadLength - at;
}

/** Writes targets and properties at `to`. @returns where they end */
function writeLists(target: Buffer, to: number, view: MessageView, fields: HistoryFields, hasProperties: boolean): number {
  const { targets, targetCount, targetBytes } = fields;
  let next = to;
  for (let i = 0; i < targetCount; i++) {
    const from = targets[2 * i]!;
    const end = targets[2 * i + 1]!;
    target[next] = end - from;
    target[next + 1] = (end - from) >>> 8;
    copyBytes(target, next + 2, targetBytes, from, end);
    next += 2 + end - from;
  }
  if (!hasProperties) return next;
  copyBytes(target, next, view.propertyBytes, view.propertiesAt, fields.propertiesEnd);
  return next + fields.propertiesEnd - view.propertiesAt;
}

/** Bytes that the payload of a further message takes. */
export function furtherBytes(payloadLength: number): number {
  return (4 + payloadLength + 3) & ~3;
}

/**
 * Writes the payload of a message behind a record; the target has room for it.
 * @param words the same memory as `target`
 * @param at a multiple of 4, behind the record and those behind it
 */
export function writeFurther(target: Buffer, targetView: DataView | undefined, words: Uint32Array, at: number, view: MessageView): void {
  words[at >>> 2] = view.payloadEnd - view.payloadAt;
  copyViewed(target, targetView, at + 4, view.payloadBytes, view.payloadView, view.payloadAt, view.payloadEnd);
}

/** Says how many stand behind the record at `at`, a multiple of 4. */
export function setFurther(words: Uint32Array, at: number, further: number): void {
  words[(at >>> 2) + FLAGS_WORD]! |= further << FURTHER_SHIFT;
}

/** Messages in the record bytes[at, …): one, and those behind it. */
export function messagesOfRecord(bytes: Uint8Array, at: number): number {
  return 1 + bytes[at + FURTHER_AT]!;
}

/** Where a message stands. */
export interface MessagePlace {
  /** Where its record begins. */
  readonly record: number;
  /** How many of the record are before it. */
  readonly further: number;
  /** Where its payload stands; -1: that of the record itself. */
  readonly payload: number;
}

/** Reads one message after the other out of a block. Offsets are valid as long as the bytes are. */
export class HistoryReader {
  /** Of the message. */
  readonly id: Uint8Array;
  bytes: Buffer;
  at: number;
  /** Of the record without what is behind it. */
  end: number;
  topicAt: number;
  topicEnd: number;
  publisherAt: number;
  publisherEnd: number;
  private targetCount: number;
  private targetsEnd: number;
  propertiesAt: number;
  propertiesEnd: number;
  payloadAt: number;
  payloadEnd: number;
  private wholePayload: number;
  private isLong: boolean;
  /** Of the one target, with which the topic ends; 0: it is not so. */
  private addressedBytes: number;

  constructor() {
    this.id = new Uint8Array(MESSAGE_ID_BYTES);
    this.bytes = Buffer.alloc(0);
    this.at = 0;
    this.end = 0;
    this.topicAt = 0;
    this.topicEnd = 0;
    this.publisherAt = 0;
    this.publisherEnd = 0;
    this.targetCount = 0;
    this.targetsEnd = 0;
    this.propertiesAt = 0;
    this.propertiesEnd = 0;
    this.payloadAt = 0;
    this.payloadEnd = 0;
    this.wholePayload = 0;
    this.isLong = false;
    this.addressedBytes = 0;
  }

  /** Shows the first message of the record at `at`. @returns false when there is no whole record */
  read(bytes: Buffer, at: number): boolean {
    this.bytes = bytes;
    this.at = at;
    if (at + SHORT_HEADER_BYTES > bytes.length) return false;
    const flags = bytes[at + FLAGS_AT]!;
    this.isLong = (flags & LONG) !== 0;
    if (this.isLong && at + LONG_HEADER_BYTES > bytes.length) return false;
    writeIdBehind(this.id, bytes, at, 0);
    const payload = bytes.readUInt32LE(at + PAYLOAD_AT);
    const count = bytes.readUInt16LE(at + TARGETS_AT);
    this.addressedBytes = (flags & ADDRESSED) === 0 ? 0 : count;
    this.targetCount = this.addressedBytes > 0 ? 1 : count;
    this.publisherAt = at + (this.isLong ? LONG_HEADER_BYTES : SHORT_HEADER_BYTES);
    this.publisherEnd = this.publisherAt + bytes.readUInt16LE(at + PUBLISHER_AT);
    this.targetsEnd = this.publisherEnd + (this.isLong ? bytes.readUInt32LE(at + TARGET_BYTES_AT) : 0);
    this.propertiesAt = this.targetsEnd;
    this.propertiesEnd = this.propertiesAt + (this.isLong ? bytes.readUInt32LE(at + PROPERTIES_AT) : 0);
    this.topicAt = this.propertiesEnd;
    this.topicEnd = this.topicAt + bytes.readUInt16LE(at + TOPIC_AT);
    this.payloadAt = this.topicEnd;
    this.payloadEnd = this.payloadAt + payload;
    this.end = this.payloadEnd;
    this.wholePayload = this.isLong ? bytes.readUInt32LE(at + WHOLE_PAYLOAD_AT) : payload;
    return this.addressedBytes <= this.topicEnd - this.topicAt && this.end <= bytes.length;
  }

  /** Shows the message at a place that `placesOfRecord` has given. */
  show(bytes: Buffer, { record, further, payload }: MessagePlace): void {
    this.read(bytes, record);
    if (payload < 0) return;
    writeIdBehind(this.id, bytes, record, further);
    this.wholePayload = bytes.readUInt32LE(payload);
    this.payloadAt = payload + 4;
    this.payloadEnd = this.payloadAt + this.wholePayload;
  }

  /** Of the topic, or where that is addressed of the target. */
  get hash(): number {
    return this.bytes.readUInt32LE(this.at + HASH_AT);
  }

  get isAddressed(): boolean {
    return this.addressedBytes > 0;
  }

  get publisherHash(): number {
    return this.bytes.readUInt32LE(this.at + PUBLISHER_HASH_AT);
  }

  get qos(): number {
    return this.bytes[this.at + FLAGS_AT]! & QOS_BITS;
  }

  get isRetained(): boolean {
    return (this.bytes[this.at + FLAGS_AT]! & RETAINED) !== 0;
  }

  get isP2p(): boolean {
    return (this.bytes[this.at + FLAGS_AT]! & P2P) !== 0;
  }

  get hasProperties(): boolean {
    return (this.bytes[this.at + FLAGS_AT]! & WITHOUT_PROPERTIES) === 0;
  }

  /** Bytes that the whole payload had. */
  get payloadBytes(): number {
    return this.wholePayload;
  }

  /** Message Expiry Interval when the message came; -1: none. */
  get expirySeconds(): number {
    if (!this.isLong) return -1;
    const seconds = this.bytes.readUInt32LE(this.at + EXPIRY_AT);
    return seconds === NO_EXPIRY ? -1 : seconds;
  }

  compareId(id: Uint8Array): number {
    return compareIds(this.id, 0, id, 0);
  }

  /** Calls `visit` for the Client Identifier of each target. */
  forEachTarget(visit: (at: number, end: number) => void): void {
    if (this.addressedBytes > 0) {
      visit(this.topicEnd - this.addressedBytes, this.topicEnd);
      return;
    }
    let at = this.publisherEnd;
    for (let i = 0; i < this.targetCount && at + 2 <= this.targetsEnd; i++) {
      const end = at + 2 + this.bytes.readUInt16LE(at);
      if (end > this.targetsEnd) return;
      visit(at + 2, end);
      at = end;
    }
  }

  targetNames(): string[] {
    const names: string[] = [];
    this.forEachTarget((at, end) => names.push(readText(this.bytes, at, end))); // cold: asked by people
    return names;
  }
}

const placeReader = new HistoryReader();

/**
 * Adds the places of all messages of the record bytes[at, end).
 * @returns false where it is not whole: nothing is added
 */
export function placesOfRecord(bytes: Buffer, at: number, end: number, places: MessagePlace[]): boolean {
  if (end > bytes.length || !placeReader.read(bytes, at)) return false;
  const count = bytes[at + FURTHER_AT]!;
  let next = placeReader.end;
  if (count > 0) next = at + ((next - at + 3) & ~3);
  const payloads: number[] = [];
  for (let i = 0; i < count; i++) {
    if (next + 4 > end) return false;
    const length = bytes.readUInt32LE(next);
    if (length > end - next) return false;
    payloads.push(next);
    next += furtherBytes(length);
  }
  if (next !== end) return false;
  places.push({ record: at, further: 0, payload: -1 });
  for (let i = 0; i < count; i++) places.push({ record: at, further: i + 1, payload: payloads[i]! });
  return true;
}

/** What stands in the index for each thing that is asked by; two that fall together only cost a look into a block. */
export function topicIndexHash(topicHash: number): number {
  return topicHash >>> 0;
}

export function publisherIndexHash(publisherHash: number): number {
  return (publisherHash ^ 0x9e3779b9) >>> 0;
}

/** @param hash of the Client Identifier */
export function targetIndexHash(hash: number): number {
  return (hash ^ 0xc2b2ae35) >>> 0;
}
