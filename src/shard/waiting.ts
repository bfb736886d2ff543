/**
 * Waiting: messages that lie in the store come back to memory when their turn is near.
 *
 *   queue: [ front ≤ FRONT_MAX in memory ] ← load ← [ references ]
 *
 * A load asks for the next messages, in the background; what comes goes to the front, and the session is pumped. What has not left memory yet is taken from
 * there. The loop never waits for the disk. Owned by one shard.
 */

import { assert } from '../base/assert.ts';
import {
  DELIVERY_ENTRY_BYTES,
  deliveryInPart,
  ENTRY_DELIVERY,
  ENTRY_MESSAGE,
  ENTRY_RETAINED,
  EntryReader,
  FLAG_QOS,
  FLAG_RECEIPT,
  FLAG_RETAIN,
  MESSAGE_ENTRY_BYTES,
} from '../journal/entry.ts';
import { RECEIPT_NONE, RECEIPT_TO_TOPIC } from '../protocol/publish.ts';
import { Delivery } from '../session/delivery.ts';
import { Message, viewMessage } from '../session/message.ts';
import { type MessageQueue, REF_BYTES } from '../session/message-queue.ts';
import { MessageRef } from '../session/message-refs.ts';
import { counter } from './counters.ts';
import { messageLogBytes } from './live-bytes.ts';
import type { ClientSession, Shard } from './shard.ts';

const QUEUED_BYTES = counter('queued/bytes');
const QUEUED_MESSAGES = counter('queued/messages');
const QUEUED_LOG_BYTES = counter('queued/log-bytes');
const LOADS = counter('store/loads');
const LOST = counter('store/lost');

/** Messages of one session that wait in memory before further ones are referred to. */
export const FRONT_MAX = 64;
/** When the front of a queue falls below this, more is loaded. */
export const FRONT_LOW = 32;
/** Messages that one load brings, and bytes of them; so many may stand in the front of a queue that is being emptied. */
const LOAD_MAX = 128;
const LOAD_BYTES_MAX = 512 * 1024;
/** Records that are under way from the store, for messages that were dropped. */
const REPORTS_MAX = 256;

const reader = new EntryReader();
const ref = new MessageRef();

/** The message in the entry at `at` of a record; null where there is none. It owns its bytes. */
export function messageAt(bytes: Buffer, at: number): Message | null {
  if (at < 0) return null;
  reader.reset(bytes, at, bytes.length);
  if (!reader.next() || (reader.kind !== ENTRY_MESSAGE && reader.kind !== ENTRY_RETAINED)) return null;
  const from = at + MESSAGE_ENTRY_BYTES;
  const topic = reader.topicLength;
  const properties = topic + reader.propertiesLength;
  const length = properties + reader.payloadLength;
  const own = Buffer.allocUnsafe(length);
  bytes.copy(own, 0, from, from + length);
  const flags = reader.flags;
  const receipt = (flags & FLAG_RECEIPT) !== 0 ? RECEIPT_TO_TOPIC : RECEIPT_NONE;
  return new Message(own, topic, properties, flags & FLAG_QOS, (flags & FLAG_RETAIN) !== 0, reader.expiresAt, receipt);
}

/** The delivery in the entry at `at`, of the message in the one at `messageEntry`. */
export function deliveryAt(bytes: Buffer, record: number, messageEntry: number, at: number): Delivery | null {
  const message = messageAt(bytes, messageEntry);
  if (message === null) return null;
  reader.reset(bytes, at, bytes.length);
  if (!reader.next() || reader.kind !== ENTRY_DELIVERY) return null;
  const flags = reader.flags;
  const delivery = new Delivery(message, flags & FLAG_QOS, (flags & FLAG_RETAIN) !== 0, reader.identifiers, reader.sharedFilter);
  delivery.sequence = reader.second;
  delivery.record = record;
  delivery.entryAt = at;
  return delivery;
}

/** Brings the next messages of the session to the front of its queue: at once where they are in memory, otherwise when the store has read them. */
export function loadWaiting(shard: Shard, session: ClientSession): void {
  const queue = session.queue;
  if (queue === null || queue.isLoading || queue.refs === null) return;
  takeFromMemory(shard, queue);
  if (queue.refs === null || queue.frontCount >= FRONT_LOW) return;
  const places: number[] = [];
  const sequences: number[] = [];
  let bytes = 0;
  for (let i = 0; i < queue.refs.count && i < LOAD_MAX && bytes < LOAD_BYTES_MAX; i++) {
    queue.refs.read(i, ref);
    if (shard.journal.recordInMemory(ref.record) !== null) break;
    places.push(ref.record, ref.messageAt, ref.deliveryAt);
    sequences.push(ref.sequence);
    bytes += ref.sizeBytes;
  }
  if (sequences.length === 0) return;
  queue.isLoading = true;
  shard.counters[LOADS]!++;
  shard.journal.readParts(places, (parts) => {
    queue.isLoading = false;
    // The session may have ended, or begun anew, meanwhile.
    if (session.queue !== queue) return;
    takeParts(shard, session, queue, places, sequences, parts);
    if (session.connection !== null) shard.connectionDrained(session.connection);
  });
}

/** Moves messages to the front that have come from the store. What has been dropped or moved meanwhile is passed over: it is asked for again where it is. */
function takeParts(
  shard: Shard,
  session: ClientSession,
  queue: MessageQueue,
  places: readonly number[],
  sequences: readonly number[],
  parts: readonly (Buffer | null)[],
): void {
  for (let i = 0; i < sequences.length && queue.refs !== null; i++) {
    queue.refs.read(0, ref);
    if (ref.sequence > sequences[i]!) continue;
    if (ref.sequence < sequences[i]!) return;
    const { sequence, record, deliveryAt: entryAt } = ref;
    const pinned = queue.pinned?.get(sequence);
    const part = parts[i]!;
    if (pinned !== undefined) takePinned(shard, queue, pinned);
    else if (part !== null) {
      const delivery = deliveryAt(part, record, 0, deliveryInPart(part));
      if (delivery === null || delivery.sequence !== sequence) dropMissing(shard, session, queue, record, sequence);
      else {
        delivery.entryAt = entryAt;
        takeRef(shard, queue, delivery);
      }
    } else if (record === places[i * 3]) dropMissing(shard, session, queue, record, sequence);
    else return;
  }
}

/** Moves what is in memory already to the front. */
function takeFromMemory(shard: Shard, queue: MessageQueue): void {
  while (queue.refs !== null && queue.frontCount < FRONT_MAX) {
    queue.refs.read(0, ref);
    const pinned = queue.pinned?.get(ref.sequence);
    if (pinned !== undefined) {
      takePinned(shard, queue, pinned);
      continue;
    }
    const bytes = shard.journal.recordInMemory(ref.record);
    if (bytes === null) return;
    const delivery = deliveryAt(bytes, ref.record, ref.messageAt, ref.deliveryAt);
    assert(delivery !== null && delivery.sequence === ref.sequence, 'a reference to memory is right');
    takeRef(shard, queue, delivery);
  }
}

/** `ref` shows the place of a delivery that is in memory as well. */
function takePinned(shard: Shard, queue: MessageQueue, pinned: Delivery): void {
  pinned.record = ref.record;
  pinned.entryAt = ref.deliveryAt;
  unpin(shard, queue, ref.sequence);
  takeRef(shard, queue, pinned);
}

/** Adds the reference to a message that lies in the store. */
export function pushRef(
  shard: Shard,
  queue: MessageQueue,
  sequence: number,
  record: number,
  messageEntry: number,
  deliveryEntry: number,
  sizeBytes: number,
): void {
  queue.pushRef(sequence, record, messageEntry, deliveryEntry, sizeBytes);
  shard.counters[QUEUED_BYTES]! += REF_BYTES;
  shard.counters[QUEUED_MESSAGES]!++;
  shard.counters[QUEUED_LOG_BYTES]! += logBytes(messageEntry, deliveryEntry, sizeBytes);
}

/** Message and delivery lie elsewhere in the store now. @returns whether the queue refers to them */
export function moveRef(
  shard: Shard,
  queue: MessageQueue | null,
  sequence: number,
  record: number,
  messageEntry: number,
  deliveryEntry: number,
): boolean {
  const refs = queue === null ? null : queue.refs;
  if (refs === null || !refs.readSequence(sequence, ref)) return false;
  const change = logBytes(messageEntry, deliveryEntry, ref.sizeBytes) - logBytes(ref.messageAt, ref.deliveryAt, ref.sizeBytes);
  shard.counters[QUEUED_LOG_BYTES]! += change;
  return refs.move(sequence, record, messageEntry, deliveryEntry);
}

/** What a reference stands for in the log: the delivery, and the message where this delivery is the first behind it, so that one message counts once. */
function logBytes(messageEntry: number, deliveryEntry: number, sizeBytes: number): number {
  const message = messageLogBytes(sizeBytes);
  return deliveryEntry - messageEntry === message ? message + DELIVERY_ENTRY_BYTES : DELIVERY_ENTRY_BYTES;
}

/** `ref` shows the oldest reference. */
function takeRef(shard: Shard, queue: MessageQueue, delivery: Delivery): void {
  shard.counters[QUEUED_LOG_BYTES]! -= logBytes(ref.messageAt, ref.deliveryAt, ref.sizeBytes);
  queue.toFront(delivery);
  shard.counters[QUEUED_BYTES]! += delivery.message.sizeBytes - REF_BYTES;
}

/** Notes that a delivery is in memory although it is only referred to. */
export function pin(shard: Shard, queue: MessageQueue, delivery: Delivery): void {
  if (queue.pinned === null) queue.pinned = new Map();
  queue.pinned.set(delivery.sequence, delivery);
  shard.counters[QUEUED_BYTES]! += delivery.message.sizeBytes;
}

function unpin(shard: Shard, queue: MessageQueue, sequence: number): void {
  const delivery = queue.pinned?.get(sequence);
  if (delivery === undefined) return;
  queue.pinned!.delete(sequence);
  shard.counters[QUEUED_BYTES]! -= delivery.message.sizeBytes;
}

/** What has left a queue unread: the delivery when it was in memory, and where it lies. */
export interface DroppedRef {
  readonly delivery: Delivery | undefined;
  readonly sequence: number;
  readonly record: number;
  readonly messageEntry: number;
}

/** The oldest reference leaves the queue unread. */
export function takeOldestRef(shard: Shard, queue: MessageQueue): DroppedRef {
  queue.refs!.read(0, ref);
  const { sequence, record, messageAt: messageEntry } = ref;
  const bytes = logBytes(messageEntry, ref.deliveryAt, ref.sizeBytes);
  const delivery = queue.pinned?.get(sequence);
  if (delivery?.expiryTimer) shard.timers.disarm(delivery.expiryTimer);
  unpin(shard, queue, sequence);
  queue.dropRef();
  shard.counters[QUEUED_BYTES]! -= REF_BYTES;
  shard.counters[QUEUED_MESSAGES]!--;
  shard.counters[QUEUED_LOG_BYTES]! -= bytes;
  return { delivery, sequence, record, messageEntry };
}

/** The event for a message that was dropped unread. It is read for that, where somebody listens and not too many are asked for at once. */
export function reportDropped(shard: Shard, session: ClientSession, record: number, messageEntry: number, reason: string): void {
  if (!shard.events.isWanted || shard.journal.readCount >= REPORTS_MAX) return;
  const report = (bytes: Buffer | null): void => {
    const message = bytes === null ? null : messageAt(bytes, messageEntry);
    if (message === null) return;
    viewMessage(shard.keptView, message);
    shard.events.messageDropped(shard.keptView, session.clientId, reason);
  };
  const known = shard.journal.recordInMemory(record);
  if (known !== null) report(known);
  else shard.journal.read([record], (found) => report(found[0] ?? null));
}

/** The store does not have what it took: a fault that must be seen, and must not stop the queue. */
function dropMissing(shard: Shard, session: ClientSession, queue: MessageQueue, record: number, sequence: number): void {
  shard.counters[LOST]!++;
  shard.log.error({ record, client: session.clientId, sequence }, 'the store has lost a message');
  takeOldestRef(shard, queue);
}
