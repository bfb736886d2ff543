/**
 * Cleaner: keeps the log of one shard short. What is still needed of its oldest records is written once more at the end, then those records are removed.
 *
 *   oldest | settled | settled | live, settled | … | newest          in the commit that holds the copies of what was live, the originals go
 *          └────────── read, walk, copy what is live ──────────────▶
 *
 * Oldest first, always: so an entry that says "settled" or "unsubscribed" is never removed before what it speaks of. A round begins when the log has grown to
 * twice of what the last round has left, so a byte is copied about once for each byte that is written; records without anything live are only removed.
 * A round works in step with what is written (twice its bytes), and at IDLE_BYTES_PER_SECOND when nothing is. Owned by one shard.
 */
import { readText } from '../base/bytes.ts';
import {
  ENTRY_DELIVERY,
  ENTRY_MESSAGE,
  ENTRY_ORIGIN,
  ENTRY_OWN,
  ENTRY_RETAINED,
  ENTRY_SESSION,
  EntryReader,
  MESSAGE_ENTRY_BYTES,
} from '../journal/entry.ts';
import { RECORD_HEAD_BYTES, recordEnd } from '../journal/record.ts';
import type { Delivery } from '../session/delivery.ts';
import { viewMessage } from '../session/message.ts';
import type { StoredHolder } from '../session/session.ts';
import { counter } from './counters.ts';
import { noteSnapshot } from './durable.ts';
import { noteOwn } from './own.ts';
import type { Shard } from './shard.ts';

const LOG_BYTES = counter('store/log-bytes');
const REWRITTEN = counter('store/rewritten');

/** A log shorter than this is left alone: reading it at a start takes a moment. */
const SMALLEST_LOG_BYTES = 64 * 1024 * 1024;
const STEP_BYTES = 256 * 1024;
const STEP_RECORDS = 256;
const IDLE_BYTES_PER_SECOND = 8 * 1024 * 1024;

/** Records of this shard in the order of writing: number and bytes. */
class RecordList {
  private numbers: number[];
  private head: number;

  constructor() {
    this.numbers = [];
    this.head = 0;
  }

  get count(): number {
    return (this.numbers.length - this.head) / 2;
  }

  push(record: number, bytes: number): void {
    this.numbers.push(record, bytes);
  }

  record(index: number): number {
    return this.numbers[this.head + index * 2]!;
  }

  bytes(index: number): number {
    return this.numbers[this.head + index * 2 + 1]!;
  }

  shift(): void {
    this.head += 2;
    if (this.head < 8192 || this.head * 2 < this.numbers.length) return;
    this.numbers = this.numbers.slice(this.head);
    this.head = 0;
  }
}

export class Cleaner {
  private readonly shard: Shard;
  private readonly records: RecordList;
  private logBytes: number;
  private threshold: number;
  /** A round goes up to this record, exclusive; 0: none is under way. */
  private roundEnd: number;
  private budget: number;
  private isReading: boolean;
  private readonly smallest: number;

  /** @param smallest bytes of a log that is left alone; tests take a small one */
  constructor(shard: Shard, smallest: number = SMALLEST_LOG_BYTES) {
    this.shard = shard;
    this.records = new RecordList();
    this.logBytes = 0;
    this.smallest = smallest;
    this.threshold = smallest;
    this.roundEnd = 0;
    this.budget = 0;
    this.isReading = false;
  }

  /** The log has this record, of this length. In the order of writing. */
  wrote(record: number, bytes: number): void {
    this.records.push(record, bytes);
    this.logBytes += bytes;
    this.shard.counters[LOG_BYTES] = this.logBytes;
    this.budget = Math.min(this.budget + 2 * bytes, 2 * this.logBytes);
  }

  /** Time has passed. */
  tick(milliseconds: number): void {
    if (this.roundEnd === 0) return;
    this.budget = Math.max(this.budget, (IDLE_BYTES_PER_SECOND * milliseconds) / 1000);
  }

  /** One piece of work, if there is any; called at the end of a turn, before the batch leaves. */
  step(): void {
    if (this.isReading) return;
    const { journal } = this.shard;
    if (this.roundEnd === 0) {
      if (this.logBytes <= this.threshold || journal.isDegraded) return;
      this.roundEnd = journal.open.record;
    }
    if (this.budget <= 0) return;
    const wanted: number[] = [];
    let bytes = 0;
    while (wanted.length < this.records.count && wanted.length < STEP_RECORDS && bytes < STEP_BYTES) {
      const record = this.records.record(wanted.length);
      if (record >= this.roundEnd || record > journal.committedRecord) break;
      bytes += this.records.bytes(wanted.length);
      wanted.push(record);
    }
    if (wanted.length === 0) {
      if (this.records.count > 0 && this.records.record(0) < this.roundEnd) return; // Still on its way to the disk.
      this.roundEnd = 0;
      this.threshold = Math.max(this.smallest, 2 * this.logBytes);
      return;
    }
    this.budget -= bytes;
    this.isReading = true;
    journal.read(wanted, (found) => {
      this.isReading = false;
      for (let i = 0; i < wanted.length; i++) {
        const bytes = found[i] ?? null;
        if (bytes === null) {
          this.giveUp(wanted[i]!);
          return;
        }
        this.clean(wanted[i]!, bytes);
      }
    });
  }

  /** A record cannot be read, so nobody knows what of it is needed. It stays, and with it everything behind it: the log grows, and nothing is lost by cleaning. */
  private giveUp(record: number): void {
    this.shard.log.error({ record }, 'a record of the store cannot be read: the log is not cleaned any more; verify the store');
    this.roundEnd = 0;
    this.threshold = Number.POSITIVE_INFINITY;
  }

  private clean(record: number, bytes: Buffer): void {
    const { journal } = this.shard;
    rewrite(this.shard, record, bytes);
    this.logBytes -= this.records.bytes(0);
    this.shard.counters[LOG_BYTES] = this.logBytes;
    this.records.shift();
    journal.keepFrom = this.records.count > 0 ? this.records.record(0) : journal.open.record;
  }
}

const reader = new EntryReader();

/** Copies what is live in a record into the open batch. */
export function rewrite(shard: Shard, record: number, bytes: Buffer): void {
  const { journal } = shard;
  const before = journal.position;
  let messageFrom = -1;
  let messageEnd = -1;
  /** Where the message of the deliveries that follow begins in the open batch; -1: nobody has needed it. */
  let messageAt = -1;
  shard.newMessage();
  reader.reset(bytes, RECORD_HEAD_BYTES, recordEnd(bytes));
  while (reader.next()) {
    switch (reader.kind) {
      case ENTRY_MESSAGE:
        messageFrom = reader.at;
        messageEnd = reader.end;
        messageAt = -1;
        break;
      case ENTRY_DELIVERY: {
        const holder = journal.holders.get(reader.id);
        if (holder === undefined || !isLive(holder, reader.second, record)) break;
        if (messageAt < 0) messageAt = journal.open.copy(ENTRY_MESSAGE, bytes, messageFrom, messageEnd);
        moveDelivery(shard, holder, bytes, record, messageAt);
        break;
      }
      case ENTRY_SESSION: {
        const holder = journal.holders.get(reader.id);
        if (holder !== undefined && holder.snapshotRecord === record) noteSnapshot(shard, holder);
        break;
      }
      case ENTRY_RETAINED: {
        const from = reader.at + MESSAGE_ENTRY_BYTES;
        const entry = shard.retained.get(readText(bytes, from, from + reader.topicLength));
        if (entry === undefined || entry.record !== record || reader.payloadLength === 0) break;
        // From memory: one record may have set the topic more than once, and only the last counts.
        viewMessage(shard.keptView, entry.message);
        journal.open.message(ENTRY_RETAINED, shard.keptView, reader.hash);
        entry.record = journal.open.record;
        break;
      }
      case ENTRY_OWN: {
        const own = shard.pendingOwn.get(reader.id);
        if (own !== undefined && own.record === record) noteOwn(shard, own);
        break;
      }
      case ENTRY_ORIGIN:
        if (shard.origins.has(reader.second, reader.number, reader.id, reader.third))
          journal.open.copy(ENTRY_ORIGIN, bytes, reader.at, reader.end);
        break;
    }
  }
  shard.newMessage();
  shard.counters[REWRITTEN]! += journal.position - before;
}

/** Whether the delivery is needed, and its entry in this record is the one that counts. */
function isLive(holder: StoredHolder, sequence: number, record: number): boolean {
  if (holder.queue?.refs?.recordOf(sequence) === record) return true;
  return deliveryInMemory(holder, sequence)?.record === record;
}

function deliveryInMemory(holder: StoredHolder, sequence: number): Delivery | null {
  const { queue, inflight } = holder;
  if (inflight !== null) {
    const packetId = inflight.packetIdOf(sequence);
    if (packetId !== 0) return inflight.delivery(packetId);
  }
  if (queue === null) return null;
  for (let i = 0; i < queue.frontCount; i++) {
    const delivery = queue.at(i)!;
    if (delivery.sequence === sequence) return delivery;
  }
  return null;
}

function moveDelivery(shard: Shard, holder: StoredHolder, bytes: Buffer, record: number, messageAt: number): void {
  const { open } = shard.journal;
  const sequence = reader.second;
  const at = open.copy(ENTRY_DELIVERY, bytes, reader.at, reader.end);
  const refs = holder.queue?.refs;
  if (refs?.recordOf(sequence) === record) {
    open.setState(at, 0, 0);
    refs.move(sequence, open.record, messageAt, at);
    return;
  }
  const packetId = holder.inflight === null ? 0 : holder.inflight.packetIdOf(sequence);
  open.setState(at, packetId === 0 ? 0 : holder.inflight!.state(packetId), packetId);
  const delivery = deliveryInMemory(holder, sequence)!;
  delivery.record = open.record;
  delivery.entryAt = at;
}
