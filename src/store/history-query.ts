/**
 * HistoryQuery: one question to the history, answered in slices: messages in the order of their IDs, newest or oldest first, merged from the blocks of all shards.
 *
 *   topic, publisher, target → index → blocks ─┐
 *   filter, time alone → all blocks ───────────┴─ one by one: does it match? ─ enough, or too much looked at → a page, and where to go on
 *
 * What one question may look at is bounded, so a page may be short although there is more.
 */
import { equalBytes, Reader, readText, utf8Bytes, Writer } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { HistoryReader, type MessagePlace, publisherIndexHash, targetIndexHash, topicIndexHash } from '../journal/history-record.ts';
import { compareIds, idFloor, idMilliseconds, idShard, idText, parseId } from '../journal/message-id.ts';
import { filterMatchesBytes } from '../protocol/filter-bytes.ts';
import { PUBLISH } from '../protocol/packet-type.ts';
import { type Properties, readProperties } from '../protocol/property.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import { P2P_TARGET, P2pAddress, parseP2pTopic } from '../routing/p2p-address.ts';
import { messagesOfBlock } from './history-block.ts';
import type { Directory } from './history-directory.ts';
import type { HistoryStore } from './history-store.ts';

/** Bytes of blocks that one question looks at. */
const SCAN_BYTES_MAX = 64 * 1024 * 1024;
/** What a block costs beside its bytes, and each message in it: there may be one in four bytes. */
const BLOCK_COST = 2048;
const MESSAGE_COST = 64;
/** Bytes of payloads and properties in one answer. */
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;

/** What is asked; '' is not asked. */
export interface HistoryQuestion {
  readonly topic: string;
  readonly filter: string;
  readonly publisher: string;
  readonly target: string;
  /** Wall milliseconds, both included. */
  readonly from: number;
  readonly to: number;
  readonly isNewestFirst: boolean;
  readonly limit: number;
  /** Message ID: what comes behind it, in the order that is asked for. */
  readonly cursor: string;
  /** Whether payloads and properties are wanted. */
  readonly isWhole: boolean;
}

/** A message as people see it. */
export interface HistoryItem {
  readonly id: string;
  /** Wall milliseconds. */
  readonly at: number;
  readonly topic: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly publisher: string;
  /** Null where it was not a P2P message. */
  readonly targets: readonly string[] | null;
  /** Of the whole payload. */
  readonly bytes: number;
  readonly expirySeconds: number | null;
  /** Base64; null where it is not asked for. */
  readonly payload: string | null;
  readonly isPayloadCut: boolean;
  /** Null where they are not asked for, or were too long. */
  readonly properties: Properties | null;
}

export interface HistoryPage {
  readonly items: readonly HistoryItem[];
  /** Cursor of the next page; null: there is nothing more. */
  readonly next: string | null;
}

/** Walks over the blocks of one shard. */
class ShardCursor {
  readonly reader: HistoryReader;
  private readonly store: HistoryStore;
  private readonly shard: number;
  private readonly step: number;
  /** Places that the index names; null: all. */
  private readonly places: readonly number[] | null;
  /** Place, or index into `places`, of the next block. */
  private next: number;
  private readonly directory: Directory;
  private block: Buffer;
  private messages: readonly MessagePlace[];
  private message: number;

  constructor(store: HistoryStore, shard: number, places: readonly number[] | null, start: number, isNewestFirst: boolean) {
    this.reader = new HistoryReader();
    this.store = store;
    this.shard = shard;
    this.step = isNewestFirst ? -1 : 1;
    this.places = places;
    this.directory = store.directory.of(shard);
    this.next = start;
    if (places !== null) {
      const at = places.findIndex((place) => place >= start);
      const behind = at < 0 ? places.length : at;
      // Going back, the block at `start` itself may hold what is asked for.
      this.next = isNewestFirst ? (places[behind] === start ? behind : behind - 1) : behind;
    }
    this.block = Buffer.alloc(0);
    this.messages = [];
    this.message = 0;
  }

  /** Goes to the next message, which `reader` shows. @returns bytes that had to be read; -1: there is none */
  advance(): number {
    this.message += this.step;
    let cost = 0;
    while (this.message < 0 || this.message >= this.messages.length) {
      const sequence = this.places === null ? this.next : this.places[this.next];
      if (sequence === undefined || sequence >= this.directory.end || (this.step < 0 && sequence < this.directory.begin)) return -1;
      // Of another version, or damaged, one behind the other: nobody waits for more of them.
      if (cost > SCAN_BYTES_MAX) return -1;
      this.next += this.step;
      const block = this.store.read({ shard: this.shard, sequence });
      cost += BLOCK_COST + (block === null ? 0 : block.length);
      if (block === null) {
        this.messages = [];
        continue;
      }
      // A copy: it is looked at over several turns.
      this.block = Buffer.from(block);
      this.messages = messagesOfBlock(this.block);
      cost += MESSAGE_COST * this.messages.length;
      this.message = this.step > 0 ? 0 : this.messages.length - 1;
    }
    this.reader.show(this.block, this.messages[this.message]!);
    return cost;
  }
}

export class HistoryQuery {
  private readonly question: HistoryQuestion;
  private readonly topic: Uint8Array;
  private readonly filter: Uint8Array;
  private readonly publisher: Uint8Array;
  private readonly target: Uint8Array;
  private readonly topicHash: number;
  private readonly publisherHash: number;
  /** IDs of the pages are between these, both left out. */
  private readonly low: Uint8Array;
  private readonly high: Uint8Array;
  private readonly cursors: ShardCursor[];
  private readonly items: HistoryItem[];
  private answerBytes: number;
  private scanned: number;
  private last: string;
  private isEnd: boolean;

  constructor(store: HistoryStore, question: HistoryQuestion) {
    this.question = question;
    this.topic = utf8Bytes(question.topic);
    this.filter = utf8Bytes(question.filter);
    this.publisher = utf8Bytes(question.publisher);
    this.target = utf8Bytes(question.target);
    this.topicHash = hash32(this.topic, 0, this.topic.length);
    this.publisherHash = hash32(this.publisher, 0, this.publisher.length);
    const { isNewestFirst, from, to } = question;
    const cursor = question.cursor === '' ? null : parseId(question.cursor);
    const high = idFloor(to + 1);
    this.low = cursor !== null && !isNewestFirst ? cursor : idFloor(from);
    this.high = cursor !== null && isNewestFirst && compareIds(cursor, 0, high, 0) < 0 ? cursor : high;
    this.items = [];
    this.answerBytes = 0;
    this.scanned = 0;
    this.last = question.cursor;
    this.isEnd = false;
    this.cursors = [];
    this.open(store);
  }

  private open(store: HistoryStore): void {
    const { isNewestFirst } = this.question;
    const low = idMilliseconds(this.low, 0);
    const high = idMilliseconds(this.high, 0);
    const hashes: (readonly number[])[] = [];
    if (this.topic.length > 0) hashes.push(this.topicIndexHashes());
    if (this.publisher.length > 0) hashes.push([publisherIndexHash(this.publisherHash)]);
    if (this.target.length > 0) hashes.push([targetIndexHash(hash32(this.target, 0, this.target.length))]);
    const found = hashes.map((some) => store.lookUp(some, low, high));
    for (const { shard, directory } of store.directory.shards()) {
      let places: readonly number[] | null = null;
      for (const one of found) {
        const list = one.get(shard) ?? [];
        const known = new Set(list);
        places = places === null ? list : places.filter((place) => known.has(place));
      }
      if (places !== null && places.length === 0) continue;
      const start = isNewestFirst ? directory.placeOf(high) : directory.firstPlaceOf(low);
      const cursor = new ShardCursor(store, shard, places, start, isNewestFirst);
      if (isNewestFirst) this.enter(cursor, (reader) => reader.compareId(this.high) >= 0);
      else this.enter(cursor, (reader) => reader.compareId(this.low) <= 0);
    }
  }

  /** A message whose topic ends with its target stands in the index by that. */
  private topicIndexHashes(): number[] {
    const { topic } = this;
    const hashes = [topicIndexHash(this.topicHash)];
    const address = new P2pAddress();
    if (parseP2pTopic(address, topic, 0, topic.length) === P2P_TARGET)
      hashes.push(targetIndexHash(hash32(topic, address.clientIdAt, address.clientIdEnd)));
    return hashes;
  }

  /** Takes the cursor in where it has something, behind what is `before` the first that may come. */
  private enter(cursor: ShardCursor, before: (reader: HistoryReader) => boolean): void {
    for (;;) {
      const cost = cursor.advance();
      if (cost < 0) return;
      this.scanned += cost;
      if (before(cursor.reader)) continue;
      if (this.isWithin(cursor.reader)) this.cursors.push(cursor);
      return;
    }
  }

  /** Whether the record lies before the far end of what is asked for. */
  private isWithin(reader: HistoryReader): boolean {
    return this.question.isNewestFirst ? reader.compareId(this.low) > 0 : reader.compareId(this.high) < 0;
  }

  /** Goes on. @param bytes that may be looked at now @returns whether the page is done */
  run(bytes: number): boolean {
    const { question, cursors, items } = this;
    const until = Math.min(SCAN_BYTES_MAX, this.scanned + bytes);
    while (cursors.length > 0) {
      if (items.length >= question.limit || this.answerBytes >= ANSWER_BYTES_MAX || this.scanned >= SCAN_BYTES_MAX) return true;
      if (this.scanned >= until) return false;
      let at = 0;
      for (let i = 1; i < cursors.length; i++) {
        const order = cursors[i]!.reader.compareId(cursors[at]!.reader.id);
        if (question.isNewestFirst ? order > 0 : order < 0) at = i;
      }
      const cursor = cursors[at]!;
      const { reader } = cursor;
      this.last = idText(reader.id, 0);
      if (this.matches(reader)) this.take(reader);
      const cost = cursor.advance();
      if (cost > 0) this.scanned += cost;
      if (cost < 0 || !this.isWithin(reader)) cursors.splice(at, 1);
    }
    this.isEnd = true;
    return true;
  }

  private matches(reader: HistoryReader): boolean {
    const { bytes } = reader;
    if (this.topic.length > 0) {
      if (!reader.isAddressed && reader.hash !== this.topicHash) return false;
      if (!equalBytes(bytes, reader.topicAt, reader.topicEnd, this.topic, 0, this.topic.length)) return false;
    }
    if (this.filter.length > 0 && !filterMatchesBytes(this.filter, bytes, reader.topicAt, reader.topicEnd)) return false;
    if (this.publisher.length > 0) {
      if (reader.publisherHash !== this.publisherHash) return false;
      if (!equalBytes(bytes, reader.publisherAt, reader.publisherEnd, this.publisher, 0, this.publisher.length)) return false;
    }
    if (this.target.length === 0) return true;
    let isTarget = false;
    reader.forEachTarget((at, end) => {
      if (equalBytes(bytes, at, end, this.target, 0, this.target.length)) isTarget = true;
    });
    return isTarget;
  }

  private take(reader: HistoryReader): void {
    const { isWhole } = this.question;
    this.items.push(itemOf(reader, isWhole));
    const { at, propertiesAt, propertiesEnd, topicAt, topicEnd, payloadAt, payloadEnd } = reader;
    const named = propertiesAt - at + topicEnd - topicAt;
    this.answerBytes += 256 + named + (isWhole ? propertiesEnd - propertiesAt + payloadEnd - payloadAt : 0);
  }

  get page(): HistoryPage {
    return { items: this.items, next: this.isEnd ? null : this.last };
  }
}

/** The message with an ID; null where it is not kept any more, or never was. */
export function findMessage(store: HistoryStore, id: string, isWhole: boolean): HistoryItem | null {
  const bytes = parseId(id);
  if (bytes === null) return null;
  const shard = idShard(bytes, 0);
  const milliseconds = idMilliseconds(bytes, 0);
  const directory = store.directory.of(shard);
  const reader = new HistoryReader();
  for (let sequence = directory.firstPlaceOf(milliseconds); sequence < directory.end; sequence++) {
    if (directory.firstMilliseconds(sequence) > milliseconds) return null;
    const block = store.read({ shard, sequence });
    if (block === null) continue;
    for (const place of messagesOfBlock(block)) {
      reader.show(block, place);
      if (reader.compareId(bytes) === 0) return itemOf(reader, isWhole);
    }
  }
  return null;
}

const block = new Writer(1024);
const blockReader = new Reader();

function itemOf(reader: HistoryReader, isWhole: boolean): HistoryItem {
  const { bytes } = reader;
  return {
    id: idText(reader.id, 0),
    at: idMilliseconds(reader.id, 0),
    topic: readText(bytes, reader.topicAt, reader.topicEnd),
    qos: reader.qos,
    retain: reader.isRetained,
    publisher: readText(bytes, reader.publisherAt, reader.publisherEnd),
    targets: reader.isP2p ? reader.targetNames() : null,
    bytes: reader.payloadBytes,
    expirySeconds: reader.expirySeconds < 0 ? null : reader.expirySeconds,
    payload: isWhole ? bytes.toString('base64', reader.payloadAt, reader.payloadEnd) : null,
    isPayloadCut: reader.payloadEnd - reader.payloadAt < reader.payloadBytes,
    properties: isWhole && reader.hasProperties ? propertiesOf(reader) : null,
  };
}

function propertiesOf(reader: HistoryReader): Properties {
  const properties: Properties = {};
  block.reset();
  block.varint(reader.propertiesEnd - reader.propertiesAt);
  block.raw(reader.bytes, reader.propertiesAt, reader.propertiesEnd);
  blockReader.reset(block.bytes, 0, block.at);
  return readProperties(blockReader, PUBLISH, properties) === ReasonCode.Success ? properties : {};
}
