/**
 * StoreContents: what the records of a store say, as plain objects, whichever shard wrote them. For the commands; the broker builds its sessions by
 * `shard/recovery.ts`, after the same rules.
 *
 *   records → `take`, each shard's in the order of writing → `finish` → sessions, mailboxes, retained messages, publications of the broker, origins
 *   records again → `liveItems` → messages with those of their deliveries that are still needed, with their bytes
 *
 * Messages stay where they are; only places are kept, so that a store may be larger than memory. Rules: a delivery may stand before its session (the cleaner moved
 * that); the whole entry of a session replaces what was known of it but its deliveries; the last entry of a delivery counts; shards are independent.
 */
import { readText } from '../base/bytes.ts';
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
  FLAG_STATE_SHIFT,
  FLAG_STORED_PUBLISHER,
  FLAG_WILL,
  MESSAGE_ENTRY_BYTES,
} from '../journal/entry.ts';
import { RECORD_HEAD_BYTES, recordEnd } from '../journal/record.ts';
import { INFLIGHT_RELEASED } from '../session/inflight.ts';
import {
  type ConnectedObject,
  type MailboxObject,
  type OwnObject,
  type SessionObject,
  type SubscriptionObject,
  unpackEntry,
} from '../shard/stored-session.ts';
import type { LogRecord } from './log-reader.ts';

/** Numbers of one place: sequence, record, delivery at. */
const PLACE = 3;

/** A session or a mailbox, and where its messages lie. */
export class Holder {
  readonly id: number;
  /** Shard whose log has it. */
  readonly writer: number;
  session: SessionObject | null;
  mailbox: MailboxObject | null;
  lastSequence: number;
  readonly received: Set<number>;
  readonly subscriptions: Map<string, SubscriptionObject>;
  places: number[];
  readonly settled: Set<number>;
  /** By sequence: state and Packet Identifier of what is in flight. */
  readonly states: Map<number, { state: number; packetId: number }>;

  constructor(id: number, writer: number) {
    this.id = id;
    this.writer = writer;
    this.session = null;
    this.mailbox = null;
    this.lastSequence = 0;
    this.received = new Set();
    this.subscriptions = new Map();
    this.places = [];
    this.settled = new Set();
    this.states = new Map();
  }

  get clientId(): string {
    const bytes = (this.session ?? this.mailbox)?.clientId;
    return bytes === undefined ? '' : readText(bytes, 0, bytes.length);
  }

  /** Messages that it holds, in flight or waiting. */
  get messages(): number {
    return this.places.length / PLACE;
  }

  /** The object as one whole entry would have it; null for what is neither. */
  get whole(): SessionObject | MailboxObject | null {
    if (this.session === null) return this.mailbox;
    const { received: _, subscriptions: __, username, attributes, will, ...same } = this.session;
    return {
      ...same,
      ...(username === undefined ? {} : { username }),
      ...(attributes === undefined ? {} : { attributes }),
      ...(will === undefined ? {} : { will }),
      nextSequence: this.lastSequence + 1,
      ...(this.received.size > 0 ? { received: [...this.received] } : {}),
      ...(this.subscriptions.size > 0 ? { subscriptions: [...this.subscriptions.values()] } : {}),
    };
  }

  /** Whether the delivery of this number is needed, and this entry is the one that counts. */
  isPlace(sequence: number, record: number, at: number): boolean {
    const found = this.find(sequence);
    return found >= 0 && this.places[found + 1] === record && this.places[found + 2] === at;
  }

  /** Where the place of a delivery stands in the list, once that is sorted; -1: nowhere. */
  find(sequence: number): number {
    const { places } = this;
    let low = 0;
    let high = places.length / PLACE - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const found = places[middle * PLACE]!;
      if (found === sequence) return middle * PLACE;
      if (found < sequence) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }
}

/** Where an entry lies. */
interface Place {
  readonly record: number;
  readonly at: number;
}

export interface StoredOwn extends Place {
  readonly object: OwnObject;
  readonly writer: number;
}

/** That a session of the log's shard has a QoS 2 message of a publisher, by session. */
type OriginSessions = Map<number, Place & { readonly isStored: boolean }>;

/** A delivery that is still needed. */
export interface LiveDelivery {
  readonly holder: Holder;
  readonly sequence: number;
  /** `INFLIGHT_…`; 0: it waits. */
  readonly state: number;
  readonly packetId: number;
  readonly at: number;
  readonly end: number;
}

/** What is still needed of a record; `at` and `end` say where its entry lies. */
export type LiveItem =
  | { readonly kind: 'message'; readonly at: number; readonly end: number; readonly deliveries: readonly LiveDelivery[] }
  | { readonly kind: 'retained'; readonly at: number; readonly end: number }
  | { readonly kind: 'own'; readonly at: number; readonly end: number; readonly id: number; readonly object: OwnObject }
  | {
      readonly kind: 'origin';
      readonly at: number;
      readonly end: number;
      readonly session: number;
      readonly publisher: number;
      readonly packetId: number;
      /** Hash of topic and payload. */
      readonly content: number;
      readonly isStored: boolean;
    };

/** What a store holds, counted. */
export interface ContentCounts {
  readonly sessions: number;
  readonly connected: number;
  readonly away: number;
  readonly subscriptions: number;
  readonly wills: number;
  readonly waiting: number;
  readonly inflight: number;
  readonly received: number;
  readonly retained: number;
  readonly mailboxes: number;
  readonly own: number;
  readonly origins: number;
}

export class StoreContents {
  readonly holders: Map<number, Holder>;
  /** By topic. */
  readonly retained: Map<string, Place>;
  readonly own: Map<number, StoredOwn>;
  /** Entries by kind. */
  readonly entries: number[];
  /** Records that could be read, and their bytes; counted by who reads them. */
  records: number;
  bytes: number;
  private readonly reader: EntryReader;
  /** For each shard, by publisher, then Packet Identifier. */
  private readonly origins: Map<number, Map<number, OriginSessions>>[];

  constructor() {
    this.holders = new Map();
    this.retained = new Map();
    this.own = new Map();
    this.entries = [];
    this.records = 0;
    this.bytes = 0;
    this.reader = new EntryReader();
    this.origins = [];
  }

  /** Takes one record; the next of the same shard must be a later one. What makes no sense in it, and what follows that, is left out. */
  take({ record, writer, bytes }: LogRecord): void {
    const { reader } = this;
    reader.reset(bytes, RECORD_HEAD_BYTES, recordEnd(bytes));
    while (reader.next()) {
      this.entries[reader.kind] = (this.entries[reader.kind] ?? 0) + 1;
      switch (reader.kind) {
        case ENTRY_MESSAGE:
          break;
        case ENTRY_DELIVERY:
          this.takeDelivery(this.holder(reader.id, writer), record);
          break;
        case ENTRY_SETTLED: {
          const holder = this.holder(reader.id, writer);
          holder.settled.add(reader.second);
          holder.states.delete(reader.second);
          holder.lastSequence = Math.max(holder.lastSequence, reader.second);
          break;
        }
        case ENTRY_SENT:
          this.holder(reader.id, writer).states.set(reader.second, { state: reader.flags, packetId: reader.number });
          break;
        case ENTRY_RELEASED: {
          const state = this.holder(reader.id, writer).states.get(reader.second);
          if (state !== undefined) state.state = INFLIGHT_RELEASED;
          break;
        }
        case ENTRY_RETAINED: {
          const from = reader.at + MESSAGE_ENTRY_BYTES;
          const topic = readText(bytes, from, from + reader.topicLength);
          if (reader.payloadLength === 0) this.retained.delete(topic);
          else this.retained.set(topic, { record, at: reader.at });
          break;
        }
        case ENTRY_ORIGIN:
          this.takeOrigin(writer, record);
          break;
        case ENTRY_ORIGIN_DONE:
          if (reader.number === 0) this.origins[writer]?.delete(reader.id);
          else this.origins[writer]?.get(reader.id)?.delete(reader.number);
          break;
        case ENTRY_OWN: {
          const object = unpack<OwnObject>(bytes, reader.packedAt, reader.end);
          if (object !== null) this.own.set(reader.id, { object, writer, record, at: reader.at });
          break;
        }
        case ENTRY_OWN_DONE:
          this.own.delete(reader.id);
          break;
        default:
          this.takeOfSession(bytes, writer);
      }
    }
  }

  private holder(id: number, writer: number): Holder {
    let holder = this.holders.get(id);
    if (holder === undefined) {
      holder = new Holder(id, writer);
      this.holders.set(id, holder);
    }
    return holder;
  }

  private takeDelivery(holder: Holder, record: number): void {
    const { reader } = this;
    const sequence = reader.second;
    holder.places.push(sequence, record, reader.at);
    holder.lastSequence = Math.max(holder.lastSequence, sequence);
    const state = (reader.flags >>> FLAG_STATE_SHIFT) & 3;
    if (state === 0) holder.states.delete(sequence);
    else holder.states.set(sequence, { state, packetId: reader.number });
  }

  private takeOrigin(writer: number, record: number): void {
    const { reader } = this;
    this.origins[writer] ??= new Map();
    const publishers = this.origins[writer];
    const messages = publishers.get(reader.second) ?? new Map<number, OriginSessions>();
    publishers.set(reader.second, messages);
    const sessions: OriginSessions = messages.get(reader.number) ?? new Map();
    messages.set(reader.number, sessions);
    sessions.set(reader.id, { record, at: reader.at, isStored: (reader.flags & FLAG_STORED_PUBLISHER) !== 0 });
  }

  /** Entries that tell of the session itself. Before its whole entry they are old: that one holds what they say. */
  private takeOfSession(bytes: Buffer, writer: number): void {
    const { reader } = this;
    if (reader.kind === ENTRY_SESSION) {
      const object = unpack<SessionObject | MailboxObject>(bytes, reader.packedAt, reader.end);
      if (object !== null) takeWhole(this.holder(reader.id, writer), object);
      return;
    }
    if (reader.kind === ENTRY_SESSION_END) {
      this.holders.delete(reader.id);
      return;
    }
    const holder = this.holders.get(reader.id);
    if (holder === undefined) return;
    const { session } = holder;
    if (session === null) return;
    switch (reader.kind) {
      case ENTRY_RECEIVED:
        holder.received.add(reader.number);
        return;
      case ENTRY_RECEIVED_END:
        holder.received.delete(reader.number);
        return;
      case ENTRY_CONNECTED: {
        const object = unpack<ConnectedObject>(bytes, reader.packedAt, reader.end);
        if (object === null) return;
        const { version, expirySeconds, username, attributes, will } = object;
        holder.session = { ...session, version, expirySeconds, username, attributes, will, closedAt: 0 };
        return;
      }
      case ENTRY_CLOSED: {
        const will = (reader.flags & FLAG_WILL) === 0 ? undefined : session.will;
        holder.session = { ...session, closedAt: reader.second, expirySeconds: reader.third, will };
        return;
      }
      case ENTRY_WILL_DONE:
        holder.session = { ...session, will: undefined };
        return;
      case ENTRY_SUBSCRIBED: {
        const object = unpack<SubscriptionObject>(bytes, reader.packedAt, reader.end);
        if (object !== null) holder.subscriptions.set(object.filter, object);
        return;
      }
      case ENTRY_UNSUBSCRIBED: {
        const object = unpack<{ filter: string }>(bytes, reader.packedAt, reader.end);
        if (object !== null) holder.subscriptions.delete(object.filter);
        return;
      }
    }
  }

  /** All records are taken: what belongs to nobody goes. */
  finish(): void {
    for (const [id, holder] of this.holders) {
      if (holder.session === null && holder.mailbox === null) this.holders.delete(id);
      else holder.places = livePlaces(holder);
    }
    for (const holder of this.holders.values()) {
      // A state without its message says nothing.
      for (const sequence of holder.states.keys()) if (holder.find(sequence) < 0) holder.states.delete(sequence);
    }
  }

  get counts(): ContentCounts {
    let connected = 0;
    let sessions = 0;
    let subscriptions = 0;
    let wills = 0;
    let waiting = 0;
    let inflight = 0;
    let received = 0;
    for (const holder of this.holders.values()) {
      waiting += holder.messages - holder.states.size;
      inflight += holder.states.size;
      if (holder.session === null) continue;
      sessions++;
      if (holder.session.closedAt === 0) connected++;
      if (holder.session.will !== undefined) wills++;
      subscriptions += holder.subscriptions.size;
      received += holder.received.size;
    }
    let origins = 0;
    for (const publishers of this.origins)
      for (const messages of publishers?.values() ?? []) for (const all of messages.values()) origins += this.heldOrigins(all);
    return {
      sessions,
      connected,
      away: sessions - connected,
      subscriptions,
      wills,
      waiting,
      inflight,
      received,
      retained: this.retained.size,
      mailboxes: this.holders.size - sessions,
      own: this.own.size,
      origins,
    };
  }

  private heldOrigins(sessions: OriginSessions): number {
    let count = 0;
    for (const session of sessions.keys()) if (this.holders.has(session)) count++;
    return count;
  }

  /** What is still needed of a record, messages with their deliveries; after `finish`. Sessions are not among them. */
  *liveItems({ record, writer, bytes }: LogRecord): Generator<LiveItem> {
    const reader = new EntryReader();
    let message: { at: number; end: number } | null = null;
    let deliveries: LiveDelivery[] = [];
    reader.reset(bytes, RECORD_HEAD_BYTES, recordEnd(bytes));
    while (reader.next()) {
      const { at, end } = reader;
      switch (reader.kind) {
        case ENTRY_MESSAGE:
          if (message !== null && deliveries.length > 0) yield { kind: 'message', ...message, deliveries };
          message = { at, end };
          deliveries = [];
          break;
        case ENTRY_DELIVERY: {
          const holder = this.holders.get(reader.id);
          const sequence = reader.second;
          if (holder === undefined || !holder.isPlace(sequence, record, at)) break;
          const { state, packetId } = holder.states.get(sequence) ?? { state: 0, packetId: 0 };
          deliveries.push({ holder, sequence, state, packetId, at, end });
          break;
        }
        case ENTRY_RETAINED: {
          const from = at + MESSAGE_ENTRY_BYTES;
          const found = this.retained.get(readText(bytes, from, from + reader.topicLength));
          if (found?.record === record && found.at === at) yield { kind: 'retained', at, end };
          break;
        }
        case ENTRY_OWN: {
          const found = this.own.get(reader.id);
          if (found?.record === record && found.at === at) yield { kind: 'own', at, end, id: reader.id, object: found.object };
          break;
        }
        case ENTRY_ORIGIN: {
          const { id: session, second: publisher, third: content, number: packetId } = reader;
          const found = this.origins[writer]?.get(publisher)?.get(packetId)?.get(session);
          if (found?.record === record && found.at === at && this.holders.has(session))
            yield { kind: 'origin', at, end, session, publisher, packetId, content, isStored: found.isStored };
          break;
        }
      }
    }
    if (message !== null && deliveries.length > 0) yield { kind: 'message', ...message, deliveries };
  }
}

function takeWhole(holder: Holder, object: SessionObject | MailboxObject): void {
  if (object.kind === 'mailbox') {
    holder.mailbox = object;
    holder.session = null;
    return;
  }
  holder.session = object;
  holder.mailbox = null;
  holder.received.clear();
  for (const packetId of object.received ?? []) holder.received.add(packetId);
  holder.subscriptions.clear();
  for (const subscription of object.subscriptions ?? []) holder.subscriptions.set(subscription.filter, subscription);
  holder.lastSequence = Math.max(holder.lastSequence, object.nextSequence - 1);
}

/** Places of what is still needed, ascending, the last entry of each. */
function livePlaces({ places, settled }: Holder): number[] {
  const order: number[] = [];
  for (let at = 0; at < places.length; at += PLACE) if (!settled.has(places[at]!)) order.push(at);
  // Places are in the order of writing; of two with one number the later counts.
  order.sort((a, b) => places[a]! - places[b]! || a - b);
  const live: number[] = [];
  for (let i = 0; i < order.length; i++) {
    const at = order[i]!;
    const isRepeated = i + 1 < order.length && places[order[i + 1]!] === places[at];
    if (!isRepeated) live.push(places[at]!, places[at + 1]!, places[at + 2]!);
  }
  return live;
}

function unpack<T>(bytes: Buffer, at: number, end: number): T | null {
  try {
    return unpackEntry<T>(bytes, at, end);
  } catch {
    return null;
  }
}
