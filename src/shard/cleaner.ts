/**
 * Cleaner: keeps the log of one shard short. What is still needed of its oldest records is written once more at the end, then those records are removed.
 *
 *   oldest | settled | settled | live, settled | … | newest          in the commit that holds the last copies of what was live, the originals go
 *          └── ask ahead ──▶ walk, copy what is live ──▶
 *
 * Oldest first, always: so an entry that says "settled" or "unsubscribed" is never removed before what it speaks of. A round begins when the log has grown to
 * twice of what is live, which the last round (or the start) has counted, so a byte is copied about once for each byte that is written.
 *
 * A round keeps pace with the writers: it removes PACE times of what they write, in small pieces at the end of each turn, also while a commit is under way: copies
 * go to the open batch, and `keepFrom` leaves with that batch. If it falls behind nevertheless, publishers are held back (`isBehind`). When nothing is written it
 * works at IDLE_BYTES_PER_SECOND. While the disk refuses, and at a stop, it rests. A record that was walked in part only is written in part twice, which readers
 * of the log bear: of two entries with one number the later counts. So a copy is never taken out of its batch, or the original would count again. Owned by one shard.
 */
import { assert } from '../base/assert.ts';
import { readText } from '../base/bytes.ts';
import { Fifo } from '../base/fifo.ts';
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
import { Session, type StoredHolder } from '../session/session.ts';
import { counter } from './counters.ts';
import { noteSnapshot } from './durable.ts';
import { noteOwn } from './own.ts';
import { partsOf } from './parts.ts';
import type { Shard } from './shard.ts';
import { moveRef } from './waiting.ts';

const LOG_BYTES = counter('store/log-bytes');
const REWRITTEN = counter('store/rewritten');

const QUEUED_MESSAGES = counter('queued/messages');
const QUEUED_LOG_BYTES = counter('queued/log-bytes');
const RETAINED_BYTES = counter('retained/bytes');

/** A log shorter than this is left alone: reading it at a start takes a moment. The other bounds are parts of it, so that a test with a small log meets them all. */
const SMALLEST_LOG_BYTES = 64 * 1024 * 1024;
/** Bytes that a round cleans for each byte that is written. Above 2 the log becomes shorter although half of what is cleaned is live and written again. */
const PACE = 4;
const IDLE_BYTES_PER_SECOND = 8 * 1024 * 1024;
/** Records of one request to the store. */
const READ_RECORDS = 256;
/** So many turns share what a round is behind with: more is done in a turn that has brought more. */
const CATCH_UP_TURNS = 16;

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

/** How far a record has been walked. */
export class RecordWalk {
  record: number;
  bytes: Buffer | null;
  /** Where the walk goes on. */
  at: number;
  /** The last message entry before that; -1: none. Deliveries that follow belong to it. */
  messageFrom: number;
  messageEnd: number;
  /** Bytes that were copied of messages and their deliveries, over all records. */
  messageBytes: number;

  constructor() {
    this.record = 0;
    this.bytes = null;
    this.at = RECORD_HEAD_BYTES;
    this.messageFrom = -1;
    this.messageEnd = -1;
    this.messageBytes = 0;
  }

  begin(record: number, bytes: Buffer): void {
    this.record = record;
    this.bytes = bytes;
    this.at = RECORD_HEAD_BYTES;
    this.messageFrom = -1;
    this.messageEnd = -1;
  }
}

export class Cleaner {
  private readonly shard: Shard;
  private readonly records: RecordList;
  private logBytes: number;
  private readonly smallest: number;
  /** A longer log is cleaned. */
  private threshold: number;
  /** What was live when it was last counted: messages with their deliveries, and the rest. */
  private liveMessages: number;
  private liveRest: number;
  /** Counters of that moment, which tell how much of it is gone. */
  private waitingThen: number;
  private retainedThen: number;

  /** A round goes up to this record, exclusive; 0: none is under way. */
  private roundEnd: number;
  /** Bytes of its records that are not cleaned. */
  private roundLeft: number;
  private rewrittenBefore: number;
  private messagesBefore: number;
  /** Bytes that the round has yet to ask for, by what has been written. */
  private owed: number;

  /** Records from the oldest on that were asked for, and their bytes; those that have come wait in `ready`. */
  private asked: number;
  private askedBytes: number;
  private readonly ready: Fifo<Buffer>;
  /** Answers to what was asked before this changed do not count. */
  private generation: number;
  /** How far the oldest record has been walked. */
  private readonly walk: RecordWalk;

  /** The batch that copies go to, and their bytes. */
  private copyRecord: number;
  private copied: number;
  /** Bytes of the last record that were no copies: commits are as large as the disk is slow, and the bounds for each commit follow. */
  private lastWritten: number;

  /** @param smallest bytes of a log that is left alone; tests take a small one */
  constructor(shard: Shard, smallest: number = SMALLEST_LOG_BYTES) {
    this.shard = shard;
    this.records = new RecordList();
    this.logBytes = 0;
    this.smallest = smallest;
    this.threshold = smallest;
    this.liveMessages = 0;
    this.liveRest = 0;
    this.waitingThen = 0;
    this.retainedThen = 0;
    this.roundEnd = 0;
    this.roundLeft = 0;
    this.rewrittenBefore = 0;
    this.messagesBefore = 0;
    this.owed = 0;
    this.asked = 0;
    this.askedBytes = 0;
    this.ready = new Fifo();
    this.generation = 0;
    this.walk = new RecordWalk();
    this.copyRecord = 0;
    this.copied = 0;
    this.lastWritten = 0;
  }

  /** The log has this record, of this length. In the order of writing. */
  wrote(record: number, bytes: number): void {
    this.records.push(record, bytes);
    this.logBytes += bytes;
    this.shard.counters[LOG_BYTES] = this.logBytes;
    this.lastWritten = record === this.copyRecord ? Math.max(0, bytes - this.copied) : bytes;
    if (this.roundEnd !== 0) this.owe(this.owed + PACE * this.lastWritten);
  }

  /** Everything has been recovered. What is live of it: bytes of messages with their deliveries, and of the rest. */
  begin(liveMessages: number, liveRest: number): void {
    this.noteCounters();
    this.liveMessages = liveMessages;
    this.liveRest = liveRest;
    this.setThreshold();
  }

  /** Time has passed. */
  tick(milliseconds: number): void {
    if (this.roundEnd === 0) this.setThreshold();
    else this.owe(Math.max(this.owed, (IDLE_BYTES_PER_SECOND * milliseconds) / 1000));
  }

  /** The writers are faster than the round: they must wait. Not while the disk refuses: what it need not keep is served. */
  get isBehind(): boolean {
    return this.owed > this.smallest / 2 && !this.shard.journal.isDegraded;
  }

  private owe(bytes: number): void {
    this.owed = Math.min(bytes, this.roundLeft - this.askedBytes);
  }

  private noteCounters(): void {
    const { counters } = this.shard;
    this.waitingThen = counters[QUEUED_MESSAGES]!;
    this.retainedThen = counters[RETAINED_BYTES]!;
  }

  /**
   * Twice what is live. Of what has become live since it was counted only the long queues are known, which are the most of it; what is gone is known nearly: queues
   * that were emptied, topics that were cleared.
   */
  private setThreshold(): void {
    if (this.threshold === Number.POSITIVE_INFINITY) return;
    const { counters } = this.shard;
    const waiting = counters[QUEUED_MESSAGES]!;
    const counted = waiting < this.waitingThen ? this.liveMessages * (waiting / this.waitingThen) : this.liveMessages;
    const messages = Math.max(counted, counters[QUEUED_LOG_BYTES]!);
    const rest = this.liveRest - Math.max(0, this.retainedThen - counters[RETAINED_BYTES]!);
    this.threshold = Math.max(this.smallest, 2 * (messages + Math.max(0, rest)));
  }

  /** One piece of work, if there is any; called at the end of each turn, before the batch leaves. */
  step(): void {
    if (this.roundEnd === 0 && this.logBytes <= this.threshold) return;
    if (this.shard.journal.isDegraded || this.shard.isStopping) return;
    if (this.roundEnd === 0) {
      // A million messages that come in for one client are all live: copying them once more would gain nothing.
      this.setThreshold();
      if (this.logBytes <= this.threshold) return;
      this.beginRound();
    }
    if (this.ready.count > 0) this.clean();
    if (this.owed > 0) this.ask();
    if (this.records.count === 0 || this.records.record(0) >= this.roundEnd) this.endRound();
  }

  private beginRound(): void {
    this.roundEnd = this.shard.journal.open.record;
    this.roundLeft = this.logBytes;
    this.owe(PACE * this.lastWritten);
    this.rewrittenBefore = this.shard.counters[REWRITTEN]!;
    this.messagesBefore = this.walk.messageBytes;
    this.noteCounters();
  }

  private endRound(): void {
    this.roundEnd = 0;
    this.owed = 0;
    this.liveMessages = this.walk.messageBytes - this.messagesBefore;
    this.liveRest = this.shard.counters[REWRITTEN]! - this.rewrittenBefore - this.liveMessages;
    this.setThreshold();
  }

  /** Bytes that may be copied into one batch: as much as a commit has of its own, so that a slow disk does not make the round slower than the writers. */
  private get copiesMax(): number {
    return Math.max(this.smallest / 16, this.lastWritten);
  }

  /** Asks for what is owed, as far as memory allows. */
  private ask(): void {
    const { journal } = this.shard;
    const pieceBytes = this.smallest / 256;
    const askedMax = PACE * this.copiesMax;
    while (this.owed > 0 && this.askedBytes < askedMax) {
      const wanted: number[] = [];
      let bytes = 0;
      while (this.asked < this.records.count && wanted.length < READ_RECORDS && bytes < pieceBytes && bytes < this.owed) {
        const record = this.records.record(this.asked);
        // What is on its way to the disk cannot be read yet.
        if (record >= this.roundEnd || record > journal.committedRecord) break;
        bytes += this.records.bytes(this.asked);
        wanted.push(record);
        this.asked++;
      }
      if (wanted.length === 0) return;
      this.askedBytes += bytes;
      this.owed = Math.max(0, this.owed - bytes);
      const { generation } = this;
      journal.read(wanted, (found) => {
        if (generation === this.generation) this.take(wanted, found);
      });
    }
  }

  /** Answers come in the order of the questions. */
  private take(wanted: readonly number[], found: readonly (Buffer | null)[]): void {
    for (let i = 0; i < wanted.length; i++) {
      const bytes = found[i] ?? null;
      if (bytes === null) {
        this.forgetAsked();
        // A disk that refuses may not be able to read either.
        if (!this.shard.journal.isDegraded) this.giveUp(wanted[i]!);
        return;
      }
      assert(this.records.record(this.ready.count) === wanted[i], 'the store answers in the order of the questions');
      this.ready.push(bytes);
    }
  }

  /** What was asked for is asked for once more. */
  private forgetAsked(): void {
    this.generation++;
    while (this.ready.count > 0) this.ready.shift();
    this.asked = 0;
    const bytes = this.askedBytes;
    this.askedBytes = 0;
    this.owe(this.owed + bytes);
  }

  /** A record cannot be read, so nobody knows what of it is needed. It stays, and with it everything behind it: the log grows, and nothing is lost by cleaning. */
  private giveUp(record: number): void {
    this.shard.log.error({ record }, 'a record of the store cannot be read: the log is not cleaned any more; verify the store');
    this.roundEnd = 0;
    this.owed = 0;
    this.threshold = Number.POSITIVE_INFINITY;
  }

  /** Walks what has come, one piece of it: clients are served between two pieces. */
  private clean(): void {
    const { journal, counters } = this.shard;
    const { walk } = this;
    if (journal.open.record !== this.copyRecord) {
      this.copyRecord = journal.open.record;
      this.copied = 0;
    }
    const { copiesMax } = this;
    let left = Math.max(this.smallest / 256, (this.owed + this.askedBytes) / CATCH_UP_TURNS);
    while (this.ready.count > 0 && this.copied < copiesMax) {
      if (left <= 0) {
        this.shard.startTurn();
        return;
      }
      const bytes = this.ready.peek()!;
      const record = this.records.record(0);
      if (walk.record !== record) walk.begin(record, bytes);
      walk.bytes = bytes;
      const from = walk.at;
      const before = counters[REWRITTEN]!;
      const isDone = rewrite(this.shard, walk, Math.min(left, copiesMax - this.copied));
      this.copied += counters[REWRITTEN]! - before;
      left -= walk.at - from;
      if (isDone) this.remove();
    }
  }

  /** The oldest record holds nothing any more that is needed. */
  private remove(): void {
    const { journal } = this.shard;
    const bytes = this.records.bytes(0);
    this.ready.shift();
    this.walk.bytes = null;
    this.records.shift();
    this.asked--;
    this.askedBytes -= bytes;
    this.roundLeft -= bytes;
    this.logBytes -= bytes;
    this.shard.counters[LOG_BYTES] = this.logBytes;
    journal.keepFrom = this.records.count > 0 ? this.records.record(0) : journal.open.record;
  }
}

const reader = new EntryReader();

/**
 * Copies what is live in a record into the open batch, from where the walk stands.
 * @param length after so many bytes it stops at the next entry that is no delivery, so that seldom a message is copied once more for those behind
 * @returns whether the record has been walked to its end
 */
export function rewrite(shard: Shard, walk: RecordWalk, length: number): boolean {
  const { journal } = shard;
  const { record } = walk;
  const bytes = walk.bytes!;
  const from = walk.at;
  const before = journal.position;
  /** Where the message of the deliveries that follow begins in the open batch; -1: nobody has needed it. */
  let messageAt = -1;
  shard.newMessage();
  let isDone = true;
  reader.reset(bytes, from, recordEnd(bytes));
  while (reader.next()) {
    if (reader.at - from >= length && reader.kind !== ENTRY_DELIVERY) {
      walk.at = reader.at;
      isDone = false;
      break;
    }
    switch (reader.kind) {
      case ENTRY_MESSAGE:
        walk.messageFrom = reader.at;
        walk.messageEnd = reader.end;
        messageAt = -1;
        break;
      case ENTRY_DELIVERY: {
        const holder = journal.holders.get(reader.id);
        if (holder === undefined || !isLive(holder, reader.second, record)) break;
        const position = journal.position;
        if (messageAt < 0) messageAt = journal.open.copy(ENTRY_MESSAGE, bytes, walk.messageFrom, walk.messageEnd);
        moveDelivery(shard, holder, bytes, record, messageAt);
        walk.messageBytes += journal.position - position;
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
  if (isDone) walk.at = bytes.length;
  return isDone;
}

/** Whether the delivery is needed, and its entry in this record is the one that counts. */
function isLive(holder: StoredHolder, sequence: number, record: number): boolean {
  return partWith(holder, sequence, record) !== null;
}

/** What has the delivery whose entry in this record counts: the holder, or the part of one of its data streams; null: it is not needed. */
function partWith(holder: StoredHolder, sequence: number, record: number): StoredHolder | null {
  if (hasDelivery(holder, sequence, record)) return holder;
  for (const part of partsOf(holder)) if (hasDelivery(part, sequence, record)) return part;
  return null;
}

function hasDelivery(holder: StoredHolder, sequence: number, record: number): boolean {
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

function moveDelivery(shard: Shard, root: StoredHolder, bytes: Buffer, record: number, messageAt: number): void {
  const { open } = shard.journal;
  const sequence = reader.second;
  const holder = partWith(root, sequence, record)!;
  const at = open.copy(ENTRY_DELIVERY, bytes, reader.at, reader.end);
  const refs = holder.queue?.refs;
  if (refs?.recordOf(sequence) === record) {
    open.setState(at, 0, 0);
    moveRef(shard, holder.queue, sequence, open.record, messageAt, at);
    return;
  }
  // The identifiers of a data stream end with it, and those that were given to messages of a mailbox with their session.
  const isPassing = holder !== root || (root instanceof Session && root.isMailbox);
  const packetId = isPassing || holder.inflight === null ? 0 : holder.inflight.packetIdOf(sequence);
  open.setState(at, packetId === 0 ? 0 : holder.inflight!.state(packetId), packetId);
  const delivery = deliveryInMemory(holder, sequence)!;
  delivery.record = open.record;
  delivery.entryAt = at;
  delivery.isCopied = true;
}
