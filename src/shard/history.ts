/**
 * History: messages of this shard on their way to the history's thread, through a ring of bytes that is shown once a turn.
 *
 *   PUBLISH → routed → one record in the ring ─ end of the turn ─▶ thread of the history → disk
 *
 * It never holds up a message: where the ring has no room the record is left out and counted. Without `history.enabled` the shard has none of this.
 * A message of 128 bytes costs its shard 130 to 180 ns of processor time, and 65 ns where ten of a publisher to one topic come in one go
 * (native-bench/micro/history.bench.ts).
 *
 * Hot path.
 */
import { equalBytes, utf8Bytes } from '../base/bytes.ts';
import { RingProducer, ringFrameBytesMax } from '../base/ring.ts';
import type { HistorySettings } from '../base/settings.ts';
import {
  FRAME_MESSAGE,
  FRAME_TRACE,
  FURTHER_MAX,
  furtherBytes,
  HistoryFields,
  isShortRecord,
  RECORD_BYTES_MAX,
  recordBytesBefore,
  setFurther,
  writeFurther,
  writeHistoryRecord,
} from '../journal/history-record.ts';
import { HistoryTally } from '../journal/history-tally.ts';
import { MESSAGE_ID_BYTES, type MessageIds } from '../journal/message-id.ts';
import { filterMatchesBytes } from '../protocol/filter-bytes.ts';
import type { MessageView } from '../protocol/publish.ts';
import { counter } from './counters.ts';
import { PublisherNames } from './publisher-names.ts';
import type { Route } from './route.ts';

const KEPT = counter('history/kept');
const DROPPED = counter('history/dropped');
const DOLLAR = 0x24;
const HASH = utf8Bytes('#');

/** The shard's end of the history. */
export interface HistoryWiring {
  readonly ring: SharedArrayBuffer;
  /** One word: 1 while the thread sleeps. */
  readonly wake: SharedArrayBuffer;
  /** Milliseconds of the newest Message ID of each shard. */
  readonly newest: SharedArrayBuffer;
  /** Of `HistoryTally`: what has become of messages of all shards. */
  readonly tally: SharedArrayBuffer;
}

export class History {
  /** Whether receivers are told the Message ID. */
  readonly sendsIds: boolean;
  /** What has become of messages of all shards. */
  readonly tally: HistoryTally;
  /** Filled by whoever calls `keep`. */
  readonly fields: HistoryFields;
  /** Of publishers. */
  readonly names: PublisherNames;
  private readonly producer: RingProducer;
  private readonly words: Uint32Array;
  private readonly wakeWord: Int32Array;
  private readonly newest: Float64Array;
  private readonly index: number;
  private readonly ids: MessageIds;
  private readonly counters: Float64Array;
  private readonly filters: readonly Uint8Array[];
  private readonly keepsAll: boolean;
  private readonly frameBytesMax: number;
  private readonly recordBytesMax: number;
  private readonly payloadBytesMax: number;
  /** The record that is last in the ring, which is not ended yet, because further messages may stand behind it; -1: there is none. */
  private openAt: number;
  private openEnd: number;
  private openLimit: number;
  /** Null: no further message may stand behind it. */
  private openRoute: Route | null;
  private openPublisher: Uint8Array;
  private openQos: number;
  /** Of the ID of the last message in it. */
  private openCount: number;
  private further: number;

  constructor(settings: HistorySettings, wiring: HistoryWiring, index: number, ids: MessageIds, counters: Float64Array) {
    this.sendsIds = settings.messageId;
    this.tally = new HistoryTally(wiring.tally);
    this.fields = new HistoryFields();
    this.names = new PublisherNames(counters);
    this.producer = new RingProducer(wiring.ring);
    this.words = new Uint32Array(wiring.ring);
    this.wakeWord = new Int32Array(wiring.wake);
    this.newest = new Float64Array(wiring.newest);
    this.index = index;
    this.ids = ids;
    this.counters = counters;
    const filters: Uint8Array[] = [];
    for (let i = 0; i < settings.filters.length; i++) filters.push(utf8Bytes(settings.filters[i]!));
    this.filters = filters;
    this.keepsAll = filters.length === 1 && equalBytes(filters[0]!, 0, filters[0]!.length, HASH, 0, 1);
    this.frameBytesMax = ringFrameBytesMax(settings.bufferBytes);
    // So much is set aside for each, and lost where the ring begins anew.
    this.recordBytesMax = Math.min(RECORD_BYTES_MAX, settings.bufferBytes >>> 6);
    this.payloadBytesMax = settings.payloadBytes;
    this.openAt = -1;
    this.openEnd = 0;
    this.openLimit = 0;
    this.openRoute = null;
    this.openPublisher = HASH;
    this.openQos = 0;
    this.openCount = 0;
    this.further = 0;
    ids.startAfter(this.newest[index]!);
  }

  /** Whether a message of this topic is kept. */
  wants(view: MessageView): boolean {
    if (this.keepsAll) return view.topicBytes[view.topicAt] !== DOLLAR;
    for (let i = 0; i < this.filters.length; i++)
      if (filterMatchesBytes(this.filters[i]!, view.topicBytes, view.topicAt, view.topicEnd)) return true;
    return false;
  }

  /**
   * Hands over a message that follows one of the same publisher to the same topic and has nothing of its own but its payload, which is put behind that record: what devices
   * send in one go. It draws the ID, whose bytes `ids.show` writes.
   * @param publisher its Client Identifier, always the same array for one publisher
   * @param route of its topic, the same object for the same topic
   * @param now wall milliseconds
   * @returns false: it needs a record of its own, and has no ID yet
   */
  keepFurther(view: MessageView, publisher: Uint8Array, route: Route, now: number): boolean {
    if (this.openRoute !== route || this.openPublisher !== publisher || view.qos !== this.openQos) return false;
    if (view.propertiesEnd !== view.propertiesAt || view.isRetained || view.expiresAt !== 0) return false;
    const payload = view.payloadEnd - view.payloadAt;
    const at = (this.openEnd + 3) & ~3;
    const end = at + furtherBytes(payload);
    if (end > this.openLimit || payload > this.payloadBytesMax || this.further === FURTHER_MAX) return false;
    const { ids } = this;
    if (ids.count !== this.openCount || !ids.advanceBehind(now)) return false;
    this.openCount = ids.count;
    this.openEnd = end;
    this.further++;
    const { bytes } = this.producer;
    writeFurther(bytes, bytes.dataView, this.words, at, view);
    return true;
  }

  /**
   * Hands over the message, whose ID is the last of `ids` and whose further facts are in `fields`.
   * @param publisher the array that `keepFurther` knows its publisher by
   * @param route of its topic; null: no further message is put behind it
   */
  keep(view: MessageView, publisher: Uint8Array, route: Route | null): void {
    this.closeRecord();
    const { fields, producer } = this;
    let payload = view.payloadEnd - view.payloadAt;
    let hasProperties = true;
    let isShort = payload <= this.payloadBytesMax && isShortRecord(view, fields);
    let before = isShort ? recordBytesBefore(view, fields, true, true) : 0;
    if (!isShort || before + payload > this.frameBytesMax) {
      isShort = false;
      before = recordBytesBefore(view, fields, false, true);
      if (before > this.frameBytesMax) {
        hasProperties = false;
        before = recordBytesBefore(view, fields, false, false);
      }
      payload = Math.min(payload, this.payloadBytesMax, this.frameBytesMax - before);
    }
    const length = before + payload;
    const canHaveMore = isShort && route !== null && !view.isRetained;
    let limit = canHaveMore && length < this.recordBytesMax ? this.recordBytesMax : length;
    let at = payload < 0 ? -1 : producer.reserve(limit);
    if (at < 0 && payload >= 0 && limit > length) {
      at = producer.reserve(length);
      limit = length;
    }
    if (at < 0) {
      this.counters[DROPPED]!++;
      return;
    }
    writeHistoryRecord(producer.bytes, producer.bytes.dataView, this.words, at, this.ids.words, view, fields, hasProperties, payload);
    this.openAt = at;
    this.openEnd = at + length;
    this.further = 0;
    if (!canHaveMore) return;
    this.openLimit = at + limit;
    this.openRoute = route;
    this.openPublisher = publisher;
    this.openQos = view.qos;
    this.openCount = this.ids.count;
  }

  /** Ends the record that is last in the ring. */
  private closeRecord(): void {
    const at = this.openAt;
    if (at < 0) return;
    const { further } = this;
    if (further > 0) setFurther(this.words, at, further);
    this.producer.commit(FRAME_MESSAGE, this.openEnd - at);
    this.counters[KEPT]! += 1 + further;
    this.openAt = -1;
    this.openRoute = null;
  }

  /** Hands over an event of a trace, as JSON. @returns false when there is no room for it */
  keepTrace(id: Uint8Array, json: Uint8Array): boolean {
    this.closeRecord();
    const { producer } = this;
    const length = MESSAGE_ID_BYTES + json.length;
    const at = length > this.frameBytesMax ? -1 : producer.reserve(length);
    if (at < 0) {
      this.counters[DROPPED]!++;
      return false;
    }
    producer.bytes.set(id, at);
    producer.bytes.set(json, at + MESSAGE_ID_BYTES);
    producer.commit(FRAME_TRACE, length);
    return true;
  }

  /** Shows what this turn has brought, and wakes the thread if it sleeps. */
  endTurn(): void {
    this.closeRecord();
    if (!this.producer.publish()) return;
    this.newest[this.index] = this.ids.milliseconds;
    const { wakeWord } = this;
    if (Atomics.load(wakeWord, 0) === 1 && Atomics.compareExchange(wakeWord, 0, 1, 0) === 1) Atomics.notify(wakeWord, 0);
  }
}
