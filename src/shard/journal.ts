/**
 * Journal: what this shard must not forget, on its way to the store, and whoever waits until it is there.
 *
 *   handlers → open batch ──(end of a turn, when no commit is under way)──▶ sealed batch → store's thread → committed
 *                 │                                                                            │
 *                 └─ PUBACK and PUBREC that wait · connections held · answers to other shards ◀┘ released together
 *
 * The loop never waits for the disk: while one commit is under way, the next batch collects (group commit), and one call back releases all that waited.
 * A commit that fails stays sealed and is tried again by the store: nothing is taken back, the shard refuses what is new (`isDegraded`) until it succeeds.
 * With durability `none` nobody waits, and batches leave in the background. Without a store `isOn` is false and nothing here is ever called per message.
 *
 * Owned by one shard. Hot path.
 */
import type { StoreSettings } from '../base/settings.ts';
import { Batch } from '../journal/batch.ts';
import { RECORD_HEAD_BYTES, recordNumber, WRITERS_MAX } from '../journal/record.ts';
import type { StoreAnswers, StorePort } from '../journal/store-port.ts';
import type { Delivery } from '../session/delivery.ts';
import type { StoredHolder } from '../session/session.ts';
import type { Cleaner } from './cleaner.ts';
import type { Connection } from './connection.ts';
import { counter } from './counters.ts';
import { noteAttachment } from './durable.ts';
import type { Link } from './link.ts';
import type { PendingAck } from './outcome.ts';
import { partsOf } from './parts.ts';
import type { ClientSession, Shard } from './shard.ts';
import { moveRef } from './waiting.ts';

const COMMITS = counter('store/commits');
const BYTES = counter('store/bytes');
const FAILURES = counter('store/failures');
const DEGRADED = counter('store/degraded');
const SPARED = counter('store/spared');

/** A batch of this size is sealed whatever else holds. */
const SEAL_BYTES = 1024 * 1024;
/** Beyond this the batch waits for a slow disk, and connections stop being read. */
const CONGESTED_BYTES = 16 * 1024 * 1024;
/**
 * A batch that holds only QoS 1 messages on their way to online receivers waits for them: what they acknowledge in time is not written at all, and its publisher
 * is answered at once. It waits twice the time that receivers take (as measured, one message at a time), and not at all where that is longer than this.
 */
const RECEIVER_MILLISECONDS_MAX = 25;
/** A receiver that is slower than this is not waited for as a measure either. */
const PROBE_MILLISECONDS_MAX = 1000;
const PROBE_WEIGHT = 0.2;
/** How long a batch waits for which nobody waits. */
const LAZY_MILLISECONDS = 20;

export class Journal implements StoreAnswers {
  readonly isOn: boolean;
  /** Whether acknowledgements wait for commits. */
  readonly isGated: boolean;
  /** Every record up to this number is as durable as was asked for. */
  committedRecord: number;
  open: Batch;
  /** The last commit failed and is being tried again. */
  isDegraded: boolean;
  /** Sessions that have got or lost a connection while the disk took nothing; one note each when it does. */
  readonly unnoted: Set<ClientSession>;
  /** By number in the journal: sessions and mailboxes that it holds. */
  readonly holders: Map<number, StoredHolder>;
  /** One condition of an acknowledgement is met. */
  readonly flushAck: (ack: PendingAck) => void;
  cleaner: Cleaner | null;
  /** Oldest record that is still needed. */
  keepFrom: number;

  /** The delivery whose acknowledgement is being timed. */
  private probe: Delivery | null;
  private probedAt: number;
  /** How long receivers take to acknowledge, on average. */
  private receiverMilliseconds: number;
  private readonly shard: Shard;
  private port: StorePort | null;
  private sealed: Batch | null;
  /** `TimerWheel.moment` at which it was handed over. */
  private sealedAt: number;
  private spare: Batch;
  private keptFrom: number;
  private openAcks: PendingAck[];
  private sealedAcks: PendingAck[];
  private held: Connection[];
  private releasing: Connection[];
  /** Answers to people that wait for a record. */
  private readonly answers: { readonly record: number; readonly done: () => void }[];
  /** Somebody waits for the open batch, and only a commit helps. */
  private isUrgent: boolean;
  /** Somebody waits for the open batch, or for an acknowledgement of a receiver. */
  private isAwaited: boolean;
  private openedAt: number;
  private isTimerSet: boolean;
  private readonly sealLater: () => void;
  private readonly moved: (session: number, sequence: number, messageAt: number, deliveryAt: number) => void;
  private nextRequest: number;
  private readonly reads: Map<number, (bytes: readonly (Buffer | null)[]) => void>;
  private onIdle: (() => void) | null;

  constructor(shard: Shard, settings: StoreSettings, flushAck: (ack: PendingAck) => void) {
    this.shard = shard;
    this.flushAck = flushAck;
    this.isOn = settings.enabled;
    this.isGated = settings.enabled && settings.durability !== 'none';
    this.committedRecord = 0;
    this.isDegraded = false;
    this.holders = new Map();
    this.unnoted = new Set();
    this.cleaner = null;
    this.keepFrom = 0;
    this.probe = null;
    this.probedAt = 0;
    this.receiverMilliseconds = 1;
    this.port = null;
    this.open = new Batch();
    this.sealed = null;
    this.sealedAt = 0;
    this.spare = new Batch();
    this.keptFrom = 0;
    this.openAcks = [];
    this.sealedAcks = [];
    this.held = [];
    this.releasing = [];
    this.answers = [];
    this.isUrgent = false;
    this.isAwaited = false;
    this.openedAt = 0;
    this.isTimerSet = false;
    this.sealLater = () => {
      this.isTimerSet = false;
      this.shard.startTurn();
    };
    this.moved = (session, sequence, messageAt, deliveryAt) => {
      const holder = this.holders.get(session);
      if (holder === undefined) return;
      const { record } = this.open;
      if (moveRef(this.shard, holder.queue, sequence, record, messageAt, deliveryAt)) return;
      for (const part of partsOf(holder)) if (moveRef(this.shard, part.queue, sequence, record, messageAt, deliveryAt)) return;
    };
    this.nextRequest = 1;
    this.reads = new Map();
    this.onIdle = null;
    this.open.reset(recordNumber(1, shard.index));
  }

  /** Begins to write, from record place `count` on. */
  attach(port: StorePort, count: number): void {
    this.port = port;
    this.open.reset(recordNumber(count, this.shard.index));
    this.committedRecord = this.open.record - WRITERS_MAX;
  }

  /** Writes no more: the shard stops. */
  detach(): void {
    this.port = null;
  }

  /** An entry was added that somebody may wait for. @param isCancelable a receiver's acknowledgement makes it needless */
  awaited(isCancelable: boolean): void {
    this.isAwaited = true;
    if (!isCancelable) this.isUrgent = true;
  }

  /** The acknowledgement leaves when the open batch is committed. */
  holdAck(ack: PendingAck): void {
    this.openAcks.push(ack);
  }

  /** The output of this connection leaves when the open batch is committed. */
  hold(connection: Connection): void {
    if (!this.isGated) return;
    connection.holdUntil = this.open.record;
    this.isAwaited = true;
    this.isUrgent = true;
  }

  /** The output of this connection leaves when `record` is committed. @param record 0, or one that is open, under way, or committed */
  holdUntil(connection: Connection, record: number): void {
    if (!this.isGated || record <= this.committedRecord || record <= connection.holdUntil) return;
    connection.holdUntil = record;
    if (record !== this.open.record) return;
    this.isAwaited = true;
    this.isUrgent = true;
  }

  /** The session's connection has changed while the disk takes nothing: a client that comes again and again must not fill memory with what is to be written. */
  noteLater(session: ClientSession): void {
    this.unnoted.add(session);
  }

  /** Calls `done` when all that was noted so far is as durable as was asked for: at once, or later. For what people ask, whose number is bounded (`asks.ts`). */
  whenCommitted(done: () => void): void {
    const hasOpen = this.open.at > RECORD_HEAD_BYTES;
    if (!this.isGated || (!hasOpen && this.sealed === null)) {
      done();
      return;
    }
    this.answers.push({ record: hasOpen ? this.open.record : this.sealed!.record, done }); // cold: for people
    if (!hasOpen) return;
    this.isAwaited = true;
    this.isUrgent = true;
  }

  /** A connection wanted to write and is held. */
  addHeld(connection: Connection): void {
    this.held.push(connection);
  }

  /** Too much waits for the disk, or is written faster than the log can be cleaned: publishers are held back. */
  get isCongested(): boolean {
    return this.open.at > CONGESTED_BYTES || (this.cleaner?.isBehind ?? false);
  }

  /** Whether messages taken from a peer rest on the open batch. The caller compares before and after. */
  get position(): number {
    return this.open.at;
  }

  /** The bytes of a record that has not left memory yet; null for any other. */
  recordInMemory(record: number): Buffer | null {
    if (record === this.open.record) return this.open.bytes;
    if (this.sealed !== null && record === this.sealed.record) return this.sealed.bytes;
    return null;
  }

  /** Called at the end of each turn: seals the batch when it is due. */
  endTurn(): void {
    if (!this.isOn || this.port === null) return;
    // Also while a commit is under way: what is copied goes to the open batch, and what it replaces is removed with that one.
    if (this.cleaner !== null && this.onIdle === null) this.cleaner.step();
    if (this.sealed !== null) return;
    const open = this.open;
    if (open.liveCount === 0 && this.keepFrom === this.keptFrom) {
      if (open.at > RECORD_HEAD_BYTES || this.isAwaited) this.discard();
      if (this.onIdle !== null) this.becomeIdle();
      return;
    }
    const now = this.shard.timers.now;
    if (this.openedAt === 0) this.openedAt = now;
    if (this.isDue(now)) this.seal();
    else if (!this.isTimerSet) {
      this.isTimerSet = true;
      setTimeout(this.sealLater, Math.max(1, this.patience - (now - this.openedAt)));
    }
  }

  private isDue(now: number): boolean {
    if ((this.isUrgent && this.isGated) || this.open.at > SEAL_BYTES || this.onIdle !== null) return true;
    return now - this.openedAt >= this.patience;
  }

  /** How long a batch waits that is not urgent. */
  private get patience(): number {
    if (!this.isAwaited || !this.isGated) return LAZY_MILLISECONDS;
    return this.receiverMilliseconds > RECEIVER_MILLISECONDS_MAX ? 0 : 2 * this.receiverMilliseconds;
  }

  /** A QoS 1 message has been sent to an online receiver. */
  sent(delivery: Delivery): void {
    const now = this.shard.timers.now;
    if (this.probe !== null) {
      if (now - this.probedAt < PROBE_MILLISECONDS_MAX) return;
      this.measured(now - this.probedAt);
    }
    this.probe = delivery;
    this.probedAt = now;
  }

  /** It has been acknowledged, or given up. */
  settled(delivery: Delivery): void {
    if (delivery !== this.probe) return;
    this.probe = null;
    this.measured(this.shard.timers.now - this.probedAt);
  }

  private measured(milliseconds: number): void {
    this.receiverMilliseconds += (milliseconds - this.receiverMilliseconds) * PROBE_WEIGHT;
  }

  /** All that was collected has become needless: nothing is written, and who waits need not. */
  private discard(): void {
    const record = this.open.record;
    const acks = this.openAcks;
    this.openAcks = this.sealedAcks;
    this.sealedAcks = acks;
    this.startBatch(record + WRITERS_MAX);
    this.shard.mesh.sealGates();
    this.release(record);
  }

  private startBatch(record: number): void {
    this.open.reset(record);
    this.isUrgent = false;
    this.isAwaited = false;
    this.openedAt = 0;
    this.shard.keptEntryAt = -1;
  }

  private seal(): void {
    const batch = this.open;
    if (batch.deadBytes > 0) {
      this.shard.counters[SPARED]! += batch.deadBytes;
      batch.compact(this.moved);
    }
    this.sealed = batch;
    this.open = this.spare;
    this.spare = batch;
    const acks = this.openAcks;
    this.openAcks = this.sealedAcks;
    this.sealedAcks = acks;
    this.startBatch(batch.record + WRITERS_MAX);
    this.shard.mesh.sealGates();
    this.keptFrom = this.keepFrom;
    this.shard.counters[COMMITS]!++;
    this.shard.counters[BYTES]! += batch.at;
    this.cleaner?.wrote(batch.record, batch.at);
    this.sealedAt = this.shard.timers.moment();
    this.port!.commit(batch.record, batch.shared, batch.at, this.keptFrom);
  }

  committed(record: number): void {
    const sealed = this.sealed;
    if (sealed === null || sealed.record !== record) return;
    this.shard.startTurn();
    this.shard.measures.commit.add(this.shard.timers.since(this.sealedAt));
    this.sealed = null;
    this.recovered();
    this.release(record);
  }

  recovered(): void {
    if (!this.isDegraded) return;
    this.shard.startTurn();
    this.isDegraded = false;
    this.shard.counters[DEGRADED] = 0;
    for (const session of this.unnoted) noteAttachment(this.shard, session);
    this.unnoted.clear();
    this.shard.log.info({}, 'the store takes records again');
    this.shard.events.storeRecovered();
  }

  failed(reason: string): void {
    this.shard.counters[FAILURES]!++;
    if (this.isDegraded) return;
    this.shard.startTurn();
    this.isDegraded = true;
    this.shard.counters[DEGRADED] = 1;
    this.shard.log.error({ reason }, 'the store cannot be written: what needs it is refused until it can');
    this.shard.events.storeDegraded(reason);
    for (let i = 0; i < this.sealedAcks.length; i++) this.refuseWaiting(this.sealedAcks[i]!);
    for (let i = 0; i < this.openAcks.length; i++) this.refuseWaiting(this.openAcks[i]!);
    for (const link of this.shard.mesh.links) if (link !== null) this.refuseWaitingFor(link);
    // What others wait for here is known here only; they refuse their publishers, as this shard does.
    this.shard.mesh.broadcast({ kind: 'store-failed' });
  }

  /** Nothing that this peer has taken and not answered gets on: its disk, which is ours, takes nothing. */
  refuseWaitingFor(link: Link): void {
    this.shard.mesh.visitWaiting(link, (ack) => this.refuseWaiting(ack)); // cold: when a disk begins to fail
  }

  /**
   * QoS 1 publishers that wait are refused, or all that they send next would wait behind: the message may still arrive, and once more when it is sent again.
   * QoS 2 waits on: refused and sent again under another identifier it would come twice.
   */
  private refuseWaiting(ack: PendingAck): void {
    if (ack.qos !== 1 || ack.connection === null || ack.remaining === 0) return;
    ack.giveUp();
    this.flushAck(ack);
  }

  parts(request: number, bytes: readonly (Buffer | null)[]): void {
    this.records(request, bytes);
  }

  records(request: number, bytes: readonly (Buffer | null)[]): void {
    const done = this.reads.get(request);
    if (done === undefined) return;
    this.shard.startTurn();
    this.reads.delete(request);
    done(bytes);
  }

  /** Asks the store for records. @param done called once, in a turn */
  read(records: readonly number[], done: (bytes: readonly (Buffer | null)[]) => void): void {
    const request = this.nextRequest++;
    this.reads.set(request, done);
    this.port!.read(request, records);
  }

  /** Asks the store for single deliveries. @param places as in `StorePort.readParts`; @param done called once, in a turn */
  readParts(places: readonly number[], done: (bytes: readonly (Buffer | null)[]) => void): void {
    const request = this.nextRequest++;
    this.reads.set(request, done);
    this.port!.readParts(request, places);
  }

  /** Asks for numbers that nobody has had. */
  renewEpoch(): void {
    this.port?.renewEpoch();
  }

  epochBegan(epoch: number): void {
    this.shard.beginEpoch(epoch);
  }

  /** Requests that the store has not answered. */
  get readCount(): number {
    return this.reads.size;
  }

  /** Whatever waited for record `record` or an earlier one goes on. */
  private release(record: number): void {
    this.committedRecord = record;
    const acks = this.sealedAcks;
    for (let i = 0; i < acks.length; i++) {
      const ack = acks[i]!;
      if (ack.storeRecord !== record) continue;
      ack.storeRecord = 0;
      ack.remaining--;
      this.flushAck(ack);
    }
    acks.length = 0;
    this.shard.mesh.openGates();
    const held = this.held;
    this.held = this.releasing;
    this.releasing = held;
    for (let i = 0; i < held.length; i++) held[i]!.unhold();
    held.length = 0;
    if (this.answers.length > 0) this.answerPeople(record);
  }

  private answerPeople(record: number): void {
    let count = 0;
    while (count < this.answers.length && this.answers[count]!.record <= record) count++;
    for (const { done } of this.answers.splice(0, count)) done(); // cold: for people
  }

  /** Calls `done` when everything that was collected so far is on disk. */
  whenIdle(done: () => void): void {
    this.onIdle = done;
    this.shard.startTurn();
  }

  private becomeIdle(): void {
    const done = this.onIdle!;
    this.onIdle = null;
    done();
  }

  /** Whether a commit is under way or due. */
  get isBusy(): boolean {
    return this.isOn && (this.sealed !== null || this.open.liveCount > 0 || this.reads.size > 0);
  }
}
