/**
 * History records: messages as the history keeps them, as bytes. A shard writes them into its ring, the history's thread gathers them in blocks. Both hold them in frames of
 * the ring, so that thousands go from one to the other in one copy.
 *
 *   | u32 length | ID (16 bytes) | u8 flags | u8 further | u16 topic | u32 topic hash | u32 publisher hash | u16 publisher | u16 target count | u32 target hash |
 *   | u32 properties | u32 payload | u32 payload of the message | u32 expiry (seconds; 0xffffffff: none) |
 *   | topic | publisher | targets: u16 length, Client Identifier; … | properties | payload |       (lengths; little endian; 56 bytes of header)
 *
 *   flags: | QoS (2 bits) | retained | P2P | properties left out |
 *
 * A payload may be cut; properties are whole or not there. The target hash is that of a single target; the shard has it anyway.
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

export const HISTORY_HEADER_BYTES = 56;
/** Messages that may stand behind one. */
export const FURTHER_MAX = 255;
/** Bytes of a record with those behind it. */
export const RECORD_BYTES_MAX: number = 16 * 1024;
/** Of the Message ID in a record. */
export const RECORD_ID_AT = 4;
/** Of the record, as words: what a block's index is made from. */
export const FURTHER_WORD = 5;
export const FURTHER_SHIFT = 8;
export const TOPIC_HASH_WORD = 6;
export const PUBLISHER_HASH_WORD = 7;
export const TARGETS_WORD = 8;
export const TARGET_HASH_WORD = 9;
const FLAGS_AT = 20;
const FURTHER_AT = 21;
const TOPIC_HASH_AT = 24;
const PUBLISHER_HASH_AT = 28;
const NO_EXPIRY = 0xffffffff;

const QOS_BITS = 3;
const RETAINED = 4;
const P2P = 8;
const WITHOUT_PROPERTIES = 16;

/** What a record has beside what the view shows. */
export class HistoryFields {
  topicHash = 0;
  publisherBytes: Uint8Array = new Uint8Array(0);
  publisherHash = 0;
  isP2p = false;
  /** Targets as ranges of `targetBytes`: at, end, at, end …; `targetCount` of them. */
  targets: Int32Array = new Int32Array(2);
  targetCount = 0;
  /** Bytes that they take in a record. */
  targetsLength = 0;
  /** Of the target, where there is one. */
  targetHash = 0;
  targetBytes: Uint8Array = new Uint8Array(0);
  expirySeconds = -1;
  /** Of the view's properties. */
  propertiesEnd = 0;

  /** Forgets the targets of the message before. */
  clearTargets(): void {
    this.targetCount = 0;
    this.targetsLength = 0;
    this.targetHash = 0;
  }

  /** Adds the target `targetBytes[at, end)`. @param hash of these bytes */
  addTarget(at: number, end: number, hash: number): void {
    const place = 2 * this.targetCount++;
    if (place === this.targets.length) this.grow();
    this.targets[place] = at;
    this.targets[place + 1] = end;
    this.targetsLength += 2 + end - at;
    this.targetHash = hash;
  }

  private grow(): void {
    const larger = new Int32Array(this.targets.length * 2);
    larger.set(this.targets);
    this.targets = larger;
  }
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
  const { publisherBytes, targets, targetCount, targetBytes } = fields;
  const topic = view.topicEnd - view.topicAt;
  const properties = hasProperties ? fields.propertiesEnd - view.propertiesAt : 0;
  const length = HISTORY_HEADER_BYTES + topic + publisherBytes.length + fields.targetsLength + properties + payloadLength;
  const flags = view.qos | (view.isRetained ? RETAINED : 0) | (fields.isP2p ? P2P : 0) | (hasProperties ? 0 : WITHOUT_PROPERTIES);
  const word = at >>> 2;
  words[word] = length;
  words[word + 1] = id[0]!;
  words[word + 2] = id[1]!;
  words[word + 3] = id[2]!;
  words[word + 4] = id[3]!;
  words[word + 5] = flags | (topic << 16);
  words[word + 6] = fields.topicHash;
  words[word + 7] = fields.publisherHash;
  words[word + 8] = publisherBytes.length | (targetCount << 16);
  words[word + 9] = fields.targetHash;
  words[word + 10] = properties;
  words[word + 11] = payloadLength;
  words[word + 12] = view.payloadEnd - view.payloadAt;
  words[word + 13] = fields.expirySeconds < 0 ? NO_EXPIRY : fields.expirySeconds;
  let to = at + HISTORY_HEADER_BYTES;
  copyBytes(target, to, view.topicBytes, view.topicAt, view.topicEnd);
  to += topic;
  copyBytes(target, to, publisherBytes, 0, publisherBytes.length);
  to += publisherBytes.length;
  for (let i = 0; i < targetCount; i++) {
    const from = targets[2 * i]!;
    const end = targets[2 * i + 1]!;
    target[to] = end - from;
    target[to + 1] = (end - from) >>> 8;
    copyBytes(target, to + 2, targetBytes, from, end);
    to += 2 + end - from;
  }
  if (properties > 0) copyBytes(target, to, view.propertyBytes, view.propertiesAt, view.propertiesAt + properties);
  to += properties;
  copyViewed(target, targetView, to, view.payloadBytes, view.payloadView, view.payloadAt, view.payloadAt + payloadLength);
  return length;
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
  words[(at >>> 2) + FURTHER_WORD]! |= further << FURTHER_SHIFT;
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
  targetCount: number;
  targetsAt: number;
  targetsEnd: number;
  propertiesAt: number;
  propertiesEnd: number;
  payloadAt: number;
  payloadEnd: number;
  private wholePayload: number;

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
    this.targetsAt = 0;
    this.targetsEnd = 0;
    this.propertiesAt = 0;
    this.propertiesEnd = 0;
    this.payloadAt = 0;
    this.payloadEnd = 0;
    this.wholePayload = 0;
  }

  /** Shows the first message of the record at `at`. @returns false when there is no whole record */
  read(bytes: Buffer, at: number): boolean {
    this.bytes = bytes;
    this.at = at;
    if (at + HISTORY_HEADER_BYTES > bytes.length) return false;
    writeIdBehind(this.id, bytes, at + RECORD_ID_AT, 0);
    this.end = at + bytes.readUInt32LE(at);
    this.topicAt = at + HISTORY_HEADER_BYTES;
    this.topicEnd = this.topicAt + bytes.readUInt16LE(at + 22);
    this.publisherAt = this.topicEnd;
    this.publisherEnd = this.publisherAt + bytes.readUInt16LE(at + 32);
    this.targetCount = bytes.readUInt16LE(at + 34);
    this.targetsAt = this.publisherEnd;
    this.payloadEnd = this.end;
    this.payloadAt = this.payloadEnd - bytes.readUInt32LE(at + 44);
    this.propertiesEnd = this.payloadAt;
    this.propertiesAt = this.propertiesEnd - bytes.readUInt32LE(at + 40);
    this.targetsEnd = this.propertiesAt;
    this.wholePayload = bytes.readUInt32LE(at + 48);
    return this.targetsEnd >= this.targetsAt && this.end <= bytes.length;
  }

  /** Shows the message at a place that `placesOfRecord` has given. */
  show(bytes: Buffer, { record, further, payload }: MessagePlace): void {
    this.read(bytes, record);
    if (payload < 0) return;
    writeIdBehind(this.id, bytes, record + RECORD_ID_AT, further);
    this.wholePayload = bytes.readUInt32LE(payload);
    this.payloadAt = payload + 4;
    this.payloadEnd = this.payloadAt + this.wholePayload;
  }

  get topicHash(): number {
    return this.bytes.readUInt32LE(this.at + TOPIC_HASH_AT);
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
    const seconds = this.bytes.readUInt32LE(this.at + 52);
    return seconds === NO_EXPIRY ? -1 : seconds;
  }

  compareId(id: Uint8Array): number {
    return compareIds(this.id, 0, id, 0);
  }

  /** Calls `visit` for the Client Identifier of each target. */
  forEachTarget(visit: (at: number, end: number) => void): void {
    let at = this.targetsAt;
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
