/**
 * Recovery: the entries of the journal, read once from the oldest record to the newest, become the sessions, mailboxes and Retained Messages of this shard.
 *
 *   record → entries → what each session has so far … → all read → messages that were in flight come to memory → sessions, routes, timers
 *
 * Deliveries may stand before the session that they belong to: the cleaner has moved its entry to the end. Then they wait for it; what never finds its session
 * belongs to one that has ended. Messages that wait stay in the store; only places are kept. Runs once, before the shard serves anyone.
 */
import { packAttributes } from '../access/attribute-bytes.ts';
import { readText } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import {
  ENTRY_CLOSED,
  ENTRY_CONNECTED,
  ENTRY_DELIVERY,
  ENTRY_MESSAGE,
  ENTRY_ORIGIN,
  ENTRY_ORIGIN_DONE,
  ENTRY_OWN,
  ENTRY_OWN_DONE,
  ENTRY_RECEIVED,
  ENTRY_RECEIVED_END,
  ENTRY_RELEASED,
  ENTRY_RETAINED,
  ENTRY_SENT,
  ENTRY_SESSION,
  ENTRY_SESSION_END,
  ENTRY_SETTLED,
  ENTRY_SUBSCRIBED,
  ENTRY_UNSUBSCRIBED,
  ENTRY_WILL_DONE,
  EntryReader,
  FLAG_EXTRA,
  FLAG_RECEIPT,
  FLAG_STATE_SHIFT,
  FLAG_STORED_PUBLISHER,
  FLAG_WILL,
  MESSAGE_ENTRY_BYTES,
} from '../journal/entry.ts';
import { RECORD_HEAD_BYTES, recordEnd, writerOf } from '../journal/record.ts';
import { RECEIPT_NONE } from '../protocol/publish.ts';
import { shardOfSlot, slotOf } from '../routing/slot.ts';
import type { Delivery } from '../session/delivery.ts';
import { INFLIGHT_FREE, INFLIGHT_RELEASED, Inflight } from '../session/inflight.ts';
import { MESSAGE_OVERHEAD_BYTES, Message } from '../session/message.ts';
import { MessageQueue } from '../session/message-queue.ts';
import { ReceiveWindow } from '../session/receive-window.ts';
import { Session } from '../session/session.ts';
import { counter } from './counters.ts';
import { watchExpiry } from './deliver.ts';
import { noteClosed } from './durable.ts';
import { LiveBytes } from './live-bytes.ts';
import { OwnPublication } from './own.ts';
import { restoreRetained } from './retain.ts';
import { install } from './routes.ts';
import { endSession, watchDetached } from './sessions.ts';
import type { ClientSession, Shard } from './shard.ts';
import {
  type ConnectedObject,
  type MailboxObject,
  type OwnObject,
  type SessionObject,
  type SubscriptionObject,
  subscriptionOfObject,
  unpackEntry,
  type WillObject,
  willOfObject,
} from './stored-session.ts';
import { deliveryAt, messageAt, pin, pushRef } from './waiting.ts';

const SESSIONS = counter('clients/total');
const INFLIGHT_BYTES = counter('inflight/bytes');

/** Numbers of one place: sequence, record, message at, delivery at, bytes in queue limits. */
const PLACE = 5;
/** A client that was connected when the broker died has so long to come back before its Will is published. */
const WILL_GRACE_MILLISECONDS = 10_000;
/** An entry of an origin. */
const ORIGIN_BYTES = 32;
/** Records that are asked for at one time while messages in flight come to memory. */
const READ_RECORDS = 64;

/** What is known of a session or a mailbox so far. */
class Recovered {
  object: SessionObject | MailboxObject | null;
  snapshotRecord: number;
  /** Of its whole entry, and of those that speak of subscriptions since. */
  bytes: number;
  version: ConnectedObject['version'];
  expirySeconds: number;
  username: string | undefined;
  attributes: Readonly<Record<string, string>> | undefined;
  createdAt: number;
  closedAt: number;
  will: WillObject | undefined;
  readonly received: Set<number>;
  readonly subscriptions: Map<string, SubscriptionObject>;
  places: number[];
  /** The places do not ascend, or one stands twice. */
  isUnsorted: boolean;
  lastSequence: number;
  readonly settled: Set<number>;
  /** By sequence: state and Packet Identifier of what was in flight. */
  readonly states: Map<number, { state: number; packetId: number }>;
  /** Messages that must be in memory: in flight, or of interest to someone at any time. */
  readonly inMemory: Map<number, Delivery>;

  constructor() {
    this.object = null;
    this.snapshotRecord = 0;
    this.bytes = 0;
    this.version = 5;
    this.expirySeconds = 0;
    this.username = undefined;
    this.attributes = undefined;
    this.createdAt = 0;
    this.closedAt = 0;
    this.will = undefined;
    this.received = new Set();
    this.subscriptions = new Map();
    this.places = [];
    this.isUnsorted = false;
    this.lastSequence = 0;
    this.settled = new Set();
    this.states = new Map();
    this.inMemory = new Map();
  }
}

/** Who has a QoS 2 message of a publisher. */
interface OriginOf {
  readonly session: number;
  readonly content: number;
  readonly isStored: boolean;
}

/** What a recovery has brought back, for the log. */
export interface RecoveredCounts {
  readonly sessions: number;
  readonly messages: number;
  readonly retained: number;
  readonly mailboxes: number;
}

export class Recovery {
  private readonly shard: Shard;
  private readonly reader: EntryReader;
  private readonly holders: Map<number, Recovered>;
  private readonly retained: Map<string, { message: Message; record: number }>;
  private readonly own: Map<number, { object: OwnObject; record: number; entryBytes: number }>;
  /**
   * By the shard that wrote them, publisher, then Packet Identifier: sessions. By shard, because what one shard has forgotten says nothing of what another
   * remembers of a later message with the same identifier.
   */
  private readonly origins: Map<number, Map<number, Map<number, OriginOf[]>>>;
  /** The shard that wrote the record that is being read. */
  private writer: number;
  private readonly isProcessStart: boolean;
  private readonly readsAll: boolean;
  messages: number;
  /** Of the log; known when everything is built. */
  readonly live: LiveBytes;

  /**
   * @param isProcessStart false when only this shard died: publishers of the other shards are still there
   * @param readsAll whether the records of all shards come, because their count has changed, and not only those of this one
   */
  constructor(shard: Shard, isProcessStart: boolean, readsAll: boolean) {
    this.shard = shard;
    this.reader = new EntryReader();
    this.holders = new Map();
    this.retained = new Map();
    this.own = new Map();
    this.origins = new Map();
    this.writer = 0;
    this.isProcessStart = isProcessStart;
    this.readsAll = readsAll;
    this.messages = 0;
    this.live = new LiveBytes();
  }

  /** Reads one record; the next must be a later one. @returns false when its entries make no sense from some point on */
  take(record: number, bytes: Buffer): boolean {
    try {
      return this.takeEntries(record, bytes);
    } catch {
      // An object that cannot be unpacked, in a record whose checksum is right.
      return false;
    }
  }

  private takeEntries(record: number, bytes: Buffer): boolean {
    const { reader } = this;
    this.writer = writerOf(record);
    let messageEntry = -1;
    let messageFlags = 0;
    let size = 0;
    reader.reset(bytes, RECORD_HEAD_BYTES, recordEnd(bytes));
    while (reader.next()) {
      switch (reader.kind) {
        case ENTRY_MESSAGE:
          messageEntry = reader.at;
          messageFlags = reader.flags;
          size = reader.topicLength + reader.propertiesLength + reader.payloadLength + MESSAGE_OVERHEAD_BYTES;
          break;
        case ENTRY_DELIVERY:
          this.takeDelivery(bytes, record, messageEntry, messageFlags, size);
          break;
        case ENTRY_SETTLED:
          this.settle(this.holder(reader.id), reader.second);
          break;
        case ENTRY_SENT:
          this.holder(reader.id).states.set(reader.second, { state: reader.flags, packetId: reader.number });
          break;
        case ENTRY_RELEASED: {
          const state = this.holder(reader.id).states.get(reader.second);
          if (state !== undefined) state.state = INFLIGHT_RELEASED;
          break;
        }
        case ENTRY_RETAINED:
          this.takeRetained(bytes, record);
          break;
        case ENTRY_ORIGIN:
          this.takeOrigin();
          break;
        case ENTRY_ORIGIN_DONE:
          if (reader.number === 0) this.originsOfWriter().delete(reader.id);
          else this.originsOfWriter().get(reader.id)?.delete(reader.number);
          break;
        case ENTRY_OWN:
          this.own.set(reader.id, {
            object: unpackEntry<OwnObject>(bytes, reader.packedAt, reader.end),
            record,
            entryBytes: reader.end - reader.at,
          });
          break;
        case ENTRY_OWN_DONE:
          this.own.delete(reader.id);
          break;
        default:
          this.takeOfSession(bytes, record);
      }
    }
    return !reader.isDamaged;
  }

  private holder(id: number): Recovered {
    let holder = this.holders.get(id);
    if (holder === undefined) {
      holder = new Recovered();
      this.holders.set(id, holder);
    }
    return holder;
  }

  private settle(holder: Recovered, sequence: number): void {
    holder.settled.add(sequence);
    holder.states.delete(sequence);
    holder.inMemory.delete(sequence);
    if (sequence > holder.lastSequence) holder.lastSequence = sequence;
  }

  private takeDelivery(bytes: Buffer, record: number, messageEntry: number, messageFlags: number, size: number): void {
    const { reader } = this;
    const holder = this.holder(reader.id);
    const sequence = reader.second;
    if (sequence <= holder.lastSequence) holder.isUnsorted = true;
    else holder.lastSequence = sequence;
    holder.places.push(sequence, record, messageEntry, reader.at, size);
    this.messages++;
    const state = (reader.flags >>> FLAG_STATE_SHIFT) & 3;
    if (state === 0) holder.states.delete(sequence);
    else holder.states.set(sequence, { state, packetId: reader.number });
    const mustStay =
      state !== 0 || (messageFlags & FLAG_RECEIPT) !== 0 || ((reader.flags & FLAG_EXTRA) !== 0 && reader.sharedFilter !== null);
    if (!mustStay) return;
    const delivery = deliveryAt(bytes, record, messageEntry, reader.at);
    if (delivery !== null) holder.inMemory.set(sequence, delivery);
  }

  private takeRetained(bytes: Buffer, record: number): void {
    const { reader, shard } = this;
    if (shardOfSlot(slotOf(reader.hash), shard.shards) !== shard.index) return;
    const from = reader.at + MESSAGE_ENTRY_BYTES;
    const topic = readText(bytes, from, from + reader.topicLength);
    if (reader.payloadLength === 0) {
      this.retained.delete(topic);
      return;
    }
    const message = messageAt(bytes, reader.at);
    if (message !== null) this.retained.set(topic, { message, record });
  }

  private originsOfWriter(): Map<number, Map<number, OriginOf[]>> {
    let publishers = this.origins.get(this.writer);
    if (publishers === undefined) {
      publishers = new Map();
      this.origins.set(this.writer, publishers);
    }
    return publishers;
  }

  private takeOrigin(): void {
    const { reader } = this;
    const publisher = reader.second;
    const publishers = this.originsOfWriter();
    let messages = publishers.get(publisher);
    if (messages === undefined) {
      messages = new Map();
      publishers.set(publisher, messages);
    }
    const sessions = messages.get(reader.number) ?? [];
    sessions.push({ session: reader.id, content: reader.third, isStored: (reader.flags & FLAG_STORED_PUBLISHER) !== 0 });
    messages.set(reader.number, sessions);
  }

  /** Entries that tell of the session itself. Before its whole entry they are old: that one holds what they say. */
  private takeOfSession(bytes: Buffer, record: number): void {
    const { reader } = this;
    if (reader.kind === ENTRY_SESSION) {
      this.takeWhole(unpackEntry<SessionObject | MailboxObject>(bytes, reader.packedAt, reader.end), record);
      return;
    }
    if (reader.kind === ENTRY_SESSION_END) {
      this.holders.delete(reader.id);
      return;
    }
    const holder = this.holders.get(reader.id);
    if (holder === undefined || holder.object === null) return;
    switch (reader.kind) {
      case ENTRY_RECEIVED:
        holder.received.add(reader.number);
        return;
      case ENTRY_RECEIVED_END:
        holder.received.delete(reader.number);
        return;
      case ENTRY_CONNECTED: {
        const object = unpackEntry<ConnectedObject>(bytes, reader.packedAt, reader.end);
        holder.version = object.version;
        holder.expirySeconds = object.expirySeconds;
        holder.username = object.username;
        holder.attributes = object.attributes;
        holder.will = object.will;
        holder.closedAt = 0;
        return;
      }
      case ENTRY_CLOSED:
        holder.closedAt = reader.second;
        holder.expirySeconds = reader.third;
        if ((reader.flags & FLAG_WILL) === 0) holder.will = undefined;
        return;
      case ENTRY_WILL_DONE:
        holder.will = undefined;
        return;
      case ENTRY_SUBSCRIBED: {
        const object = unpackEntry<SubscriptionObject>(bytes, reader.packedAt, reader.end);
        holder.subscriptions.set(object.filter, object);
        holder.bytes += reader.end - reader.at;
        return;
      }
      case ENTRY_UNSUBSCRIBED:
        holder.subscriptions.delete(unpackEntry<{ filter: string }>(bytes, reader.packedAt, reader.end).filter);
        return;
    }
  }

  private takeWhole(object: SessionObject | MailboxObject, record: number): void {
    const holder = this.holder(this.reader.id);
    holder.object = object;
    holder.snapshotRecord = record;
    holder.bytes = this.reader.end - this.reader.at;
    if (object.kind === 'mailbox') return;
    holder.version = object.version;
    holder.expirySeconds = object.expirySeconds;
    holder.username = object.username;
    holder.attributes = object.attributes;
    holder.createdAt = object.createdAt ?? 0;
    holder.closedAt = object.closedAt;
    holder.will = object.will;
    holder.received.clear();
    for (const packetId of object.received ?? []) holder.received.add(packetId);
    holder.subscriptions.clear();
    for (const subscription of object.subscriptions ?? []) holder.subscriptions.set(subscription.filter, subscription);
    holder.lastSequence = Math.max(holder.lastSequence, object.nextSequence - 1);
  }

  /** Builds everything. @param done called in a turn, when the shard has all that the store had for it */
  finish(done: (counts: RecoveredCounts) => void): void {
    for (const [id, holder] of this.holders) {
      if (holder.object === null || !this.isOwn(holder.object.clientId)) this.holders.delete(id);
      else holder.places = livePlaces(holder);
    }
    this.loadInflight(() => done(this.build()));
  }

  private isOwn(clientId: Uint8Array): boolean {
    return shardOfSlot(slotOf(hash32(clientId, 0, clientId.length)), this.shard.shards) === this.shard.index;
  }

  /** Brings messages to memory that were sent from a queue: their entries stood before the one that says so. */
  private loadInflight(done: () => void): void {
    const missing = new Map<number, { holder: Recovered; place: number }[]>();
    for (const holder of this.holders.values()) {
      if (holder.states.size === 0) continue;
      for (let at = 0; at < holder.places.length; at += PLACE) {
        const sequence = holder.places[at]!;
        if (!holder.states.has(sequence) || holder.inMemory.has(sequence)) continue;
        const record = holder.places[at + 1]!;
        const places = missing.get(record) ?? [];
        places.push({ holder, place: at });
        missing.set(record, places);
      }
    }
    const records = [...missing.keys()].sort((a, b) => a - b);
    const readSome = (from: number): void => {
      const wanted = records.slice(from, from + READ_RECORDS);
      if (wanted.length === 0) {
        done();
        return;
      }
      this.shard.journal.read(wanted, (found) => {
        for (let i = 0; i < wanted.length; i++) {
          const bytes = found[i];
          for (const { holder, place } of bytes ? missing.get(wanted[i]!)! : []) {
            const delivery = deliveryAt(bytes!, wanted[i]!, holder.places[place + 2]!, holder.places[place + 3]!);
            if (delivery !== null) holder.inMemory.set(delivery.sequence, delivery);
          }
        }
        readSome(from + READ_RECORDS);
      });
    };
    readSome(0);
  }

  private build(): RecoveredCounts {
    const { shard } = this;
    let messages = 0;
    let mailboxes = 0;
    const sessions: ClientSession[] = [];
    for (const [id, holder] of this.holders) {
      messages += holder.places.length / PLACE;
      this.countLive(holder);
      if (holder.object!.kind === 'mailbox') {
        this.buildMailbox(id, holder, holder.object as MailboxObject);
        mailboxes++;
      } else sessions.push(this.buildSession(id, holder));
    }
    let retained = 0;
    for (const [topic, { message, record }] of this.retained) {
      if (message.expiresAt !== 0 && message.expiresAt <= shard.timers.now) continue;
      restoreRetained(shard, topic, message, record);
      this.live.retained(message.sizeBytes);
      retained++;
    }
    for (const publishers of this.origins.values()) this.buildOrigins(publishers);
    // Sessions end, Wills and receipts are published only when all shards have said what they want: they may concern each other.
    shard.whenRoutesAreKnown.push(() => {
      this.buildOwn();
      for (const session of sessions) resume(shard, session);
    });
    return { sessions: sessions.length, messages, retained, mailboxes };
  }

  private countLive(holder: Recovered): void {
    const { places } = holder;
    this.live.other(holder.bytes);
    for (let at = 0; at < places.length; at += PLACE) this.live.delivery(places[at + 1]!, places[at + 2]!, places[at + 4]!);
  }

  private buildOrigins(publishers: ReadonlyMap<number, ReadonlyMap<number, readonly OriginOf[]>>): void {
    for (const [publisher, byPacketId] of publishers) {
      for (const [packetId, entries] of byPacketId) {
        for (const { session, content, isStored } of entries)
          if (this.holders.has(session) && (isStored || !this.isProcessStart)) {
            this.shard.origins.add(publisher, packetId, session, content);
            this.live.other(ORIGIN_BYTES);
          }
      }
    }
  }

  private buildSession(id: number, holder: Recovered): ClientSession {
    const { shard } = this;
    const clientIdBytes = Uint8Array.from(holder.object!.clientId);
    const hash = hash32(clientIdBytes, 0, clientIdBytes.length);
    const clientId = readText(clientIdBytes, 0, clientIdBytes.length);
    const session: ClientSession = new Session(clientId, clientIdBytes, hash, holder.version, id);
    session.isStored = true;
    session.snapshotRecord = holder.snapshotRecord;
    session.nextSequence = holder.lastSequence + 1;
    session.username = holder.username;
    session.attributes = packAttributes(holder.attributes ?? {});
    session.expirySeconds = holder.expirySeconds;
    session.createdAt = holder.createdAt;
    session.closedAt = holder.closedAt;
    session.will = willOfObject(holder.will);
    shard.sessions.set(clientIdBytes, hash, session);
    shard.journal.holders.set(id, session);
    shard.counters[SESSIONS]!++;
    if (holder.received.size > 0) {
      session.received = new ReceiveWindow();
      for (const packetId of holder.received) session.received.markStored(packetId);
    }
    this.buildQueue(session, holder);
    if (holder.subscriptions.size > 0) session.subscriptions = new Map();
    for (const object of holder.subscriptions.values()) {
      const subscription = subscriptionOfObject(session, object, shard.settings.p2p.enabled ? shard.p2pParentSet : null);
      session.subscriptions!.set(object.filter, subscription);
      install(shard, subscription, false);
    }
    return session;
  }

  /** In flight first, in the order of their numbers; the rest is referred to. */
  private buildQueue(session: ClientSession, holder: Recovered): void {
    const { shard } = this;
    const { places } = holder;
    for (let at = 0; at < places.length; at += PLACE) {
      const sequence = places[at]!;
      const state = holder.states.get(sequence);
      const delivery = holder.inMemory.get(sequence);
      if (state !== undefined && delivery !== undefined && isFree(session, state.packetId)) {
        if (session.inflight === null) session.inflight = new Inflight();
        delivery.record = places[at + 1]!;
        session.inflight.restore(state.packetId, state.state, delivery);
        shard.counters[INFLIGHT_BYTES]! += delivery.message.sizeBytes;
        continue;
      }
      if (session.queue === null) session.queue = new MessageQueue();
      this.refer(session.queue, places, at, delivery);
      if (delivery && delivery.message.receipt !== RECEIPT_NONE && delivery.message.expiresAt !== 0) watchExpiry(shard, session, delivery);
    }
  }

  private refer(queue: MessageQueue, places: readonly number[], at: number, delivery: Delivery | undefined): void {
    const { shard } = this;
    pushRef(shard, queue, places[at]!, places[at + 1]!, places[at + 2]!, places[at + 3]!, places[at + 4]!);
    if (delivery !== undefined) pin(shard, queue, delivery);
  }

  private buildMailbox(id: number, holder: Recovered, object: MailboxObject): void {
    const { shard } = this;
    const clientId = Uint8Array.from(object.clientId);
    const box = shard.mailboxes.open(id, clientId, hash32(clientId, 0, clientId.length), object.createdAt);
    box.snapshotRecord = holder.snapshotRecord;
    box.nextSequence = holder.lastSequence + 1;
    shard.journal.holders.set(id, box);
    for (let at = 0; at < holder.places.length; at += PLACE)
      this.refer(box.queue, holder.places, at, holder.inMemory.get(holder.places[at]!));
  }

  private buildOwn(): void {
    const { shard } = this;
    for (const [id, { object, record, entryBytes }] of this.own) {
      // Where every shard reads everything, exactly one publishes it.
      if (this.readsAll && id % shard.shards !== shard.index) continue;
      const { bytes, topicEnd, propertiesEnd, qos, retain, expiresAt, publisherId, shareKey } = object;
      const own = new OwnPublication(
        shard,
        new Message(bytes, topicEnd, propertiesEnd, qos, retain, expiresAt, RECEIPT_NONE),
        publisherId,
        shareKey,
        object.asked ?? [],
      );
      own.id = id;
      own.record = record;
      this.live.other(entryBytes);
      shard.pendingOwn.set(id, own);
      shard.outbox.push(own);
    }
  }
}

/** Nobody writes two messages in flight with one Packet Identifier; should a store hold them, the later one is sent once more under another. */
function isFree(session: ClientSession, packetId: number): boolean {
  return packetId > 0 && (session.inflight === null || session.inflight.state(packetId) === INFLIGHT_FREE);
}

/** Places of what is still needed, ascending, the last entry of each. */
function livePlaces(holder: Recovered): number[] {
  const { places, settled } = holder;
  if (settled.size === 0 && !holder.isUnsorted) return places;
  let live: number[] = [];
  for (let at = 0; at < places.length; at += PLACE) {
    if (!settled.has(places[at]!)) live.push(places[at]!, places[at + 1]!, places[at + 2]!, places[at + 3]!, places[at + 4]!);
  }
  if (!holder.isUnsorted) return live;
  const order = Array.from({ length: live.length / PLACE }, (_, index) => index * PLACE);
  order.sort((a, b) => live[a]! - live[b]! || live[a + 1]! - live[b + 1]!);
  const sorted: number[] = [];
  for (let i = 0; i < order.length; i++) {
    const at = order[i]!;
    const isRepeated = i + 1 < order.length && live[order[i + 1]!] === live[at];
    if (!isRepeated) sorted.push(live[at]!, live[at + 1]!, live[at + 2]!, live[at + 3]!, live[at + 4]!);
  }
  live = sorted;
  return live;
}

/** A recovered session is one whose client is away: it expires by wall time, and its Will is due. */
function resume(shard: Shard, session: ClientSession): void {
  // A client that was quicker has its session already, and one that wanted none has ended it.
  if (session.connection !== null || session.hasEnded) return;
  const { now } = shard.timers;
  let willMilliseconds = session.will === null ? 0 : session.will.delaySeconds * 1000;
  if (session.closedAt === 0) {
    // Connected when the broker died. Nobody knows when that was: counted from now, so that nothing is lost too early.
    session.closedAt = now;
    willMilliseconds = Math.max(willMilliseconds, WILL_GRACE_MILLISECONDS);
    if (session.expirySeconds > 0) noteClosed(shard, session);
  } else willMilliseconds = Math.max(0, willMilliseconds - (now - session.closedAt));
  const left = session.expirySeconds * 1000 - (now - session.closedAt);
  if (session.expirySeconds === 0) endSession(shard, session, 'connection-ended');
  else watchDetached(shard, session, willMilliseconds, Math.max(0, left));
}
