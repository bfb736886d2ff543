/**
 * Deliver: one message to one session. Sent at once when the client can take it, queued when the session must hold it, dropped with a reason otherwise.
 *
 *   message → [ window has room, nothing waits before it ] → connection output
 *           → [ queue ] → pump, when an acknowledgement or the network makes room
 *
 * What a stored session must not forget is noted in the journal (`durable.ts`) before anyone is told that it is held.
 * Invariant: at one QoS a session's messages leave in the order in which they came; nothing overtakes the queue but QoS 0, which promises no order with others.
 *
 * Hot path.
 */

import { copyViewed, writeU16 } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { Timer } from '../base/timers.ts';
import { writeAck } from '../protocol/ack.ts';
import { PUBREL, V5 } from '../protocol/packet-type.ts';
import { type MessageView, publishLength, RECEIPT_NONE, writePublish } from '../protocol/publish.ts';
import { Delivery } from '../session/delivery.ts';
import { INFLIGHT_FREE, INFLIGHT_RELEASED, Inflight } from '../session/inflight.ts';
import { MESSAGE_OVERHEAD_BYTES, viewMessage } from '../session/message.ts';
import { MessageQueue } from '../session/message-queue.ts';
import type { StoredHolder } from '../session/session.ts';
import { CONNECTED, type Connection } from './connection.ts';
import { counter } from './counters.ts';
import { hasTaken, noteQueued, noteRefSettled, noteSent, noteSettled, rememberOrigin } from './durable.ts';
import { DELIVERED, DROPPED, FULL, QUEUED, TOO_LARGE, UNSTORABLE } from './outcome.ts';
import { QueueRoom } from './queue-room.ts';
import { chargeSent, maySend } from './quota-check.ts';
import { receiptOf } from './receipt.ts';
import type { ClientSession, Shard } from './shard.ts';
import { FRONT_LOW, FRONT_MAX, loadWaiting, pin, pushRef, reportDropped, takeOldestRef } from './waiting.ts';

const SENT = counter('publish/sent');
const DROPPED_OFFLINE = counter('publish/dropped/offline');
const DROPPED_FULL = counter('publish/dropped/queue-full');
const DROPPED_OUTBOUND = counter('publish/dropped/outbound-full');
const DROPPED_LARGE = counter('publish/dropped/too-large');
const DROPPED_EXPIRED = counter('publish/dropped/expired');
const DROPPED_STORE = counter('publish/dropped/store-degraded');
const DROPPED_PROCESS = counter('publish/dropped/process-full');
const DROPPED_QUOTA = counter('publish/dropped/quota');
const QUEUED_COUNT = counter('publish/queued');
const QUEUED_BYTES = counter('queued/bytes');
const QUEUED_MESSAGES = counter('queued/messages');
const INFLIGHT_BYTES = counter('inflight/bytes');

/** Room of the queue that a message is put into; filled anew for each. */
const room = new QueueRoom();

/** Shards look at the clock once a turn, so one may be behind another; the rest of an interval must not come out longer than the interval. */
const CLOCK_SKEW_MILLISECONDS = 100;

/**
 * Delivers the message that `view` shows.
 * @param qos effective QoS; @param retain RETAIN as this receiver sees it
 * @param identifiers Subscription Identifiers, or null; the first `identifierCount` count
 * @param sharedFilter `{shareName}/{filter}` of the Shared Subscription, or null
 * @returns DELIVERED, QUEUED, FULL, TOO_LARGE, UNSTORABLE, or DROPPED (QoS 0)
 */
export function deliver(
  shard: Shard,
  session: ClientSession,
  view: MessageView,
  qos: number,
  retain: boolean,
  identifiers: Uint32Array | null,
  identifierCount: number,
  sharedFilter: string | null,
): number {
  const connection = session.connection;
  const { root } = session;
  if (root.isStored && qos > 0) {
    // The publisher sent it again after a crash, and this session has it.
    if (shard.originId !== 0 && hasTaken(shard, root)) return DELIVERED;
    if (shard.journal.isDegraded) return unstorable(shard, session, view);
    if (shard.originId !== 0) rememberOrigin(shard, root);
  }
  if (connection === null || connection.state !== CONNECTED) {
    if (qos === 0 && !shard.settings.queue.qos0) {
      shard.counters[DROPPED_OFFLINE]!++;
      shard.events.messageDropped(view, session.clientId, 'offline');
      return DROPPED;
    }
    return enqueue(shard, session, view, qos, retain, identifiers, identifierCount, sharedFilter);
  }
  if (qos === 0) {
    const isKept = shard.settings.queue.qos0;
    // Where QoS 0 waits too, what waits goes first [MQTT-4.6.0-6].
    const isBehind = isKept && session.queue !== null && session.queue.count > 0;
    if (connection.quota !== null && !maySend(connection, connection.quota, true)) {
      if (isKept) return enqueueOver(shard, session, connection, view, 0, retain, identifiers, identifierCount, sharedFilter);
      shard.counters[DROPPED_QUOTA]!++;
      connection.dropped++;
      shard.events.messageDropped(view, session.clientId, 'quota');
      return DROPPED;
    }
    if (isBehind || connection.isOverfull) {
      if (isKept) return enqueue(shard, session, view, qos, retain, identifiers, identifierCount, sharedFilter);
      shard.counters[DROPPED_OUTBOUND]!++;
      connection.dropped++;
      shard.events.messageDropped(view, session.clientId, 'outbound_full');
      return DROPPED;
    }
    return send(shard, connection, view, 0, retain, 0, identifiers, identifierCount) ? DELIVERED : tooLarge(shard, session, view);
  }
  const queue = session.queue;
  if (connection.sendQuota <= 0 || connection.isOverfull || connection.resends !== null || (queue !== null && queue.count > 0)) {
    return enqueue(shard, session, view, qos, retain, identifiers, identifierCount, sharedFilter);
  }
  if (connection.quota !== null && !maySend(connection, connection.quota, false))
    return enqueueOver(shard, session, connection, view, qos, retain, identifiers, identifierCount, sharedFilter);
  // Only what may be needed again is kept: a session that ends with its connection never resends.
  const isTraced = view.trace !== null && shard.tracing !== null && !shard.isOverloaded && shard.tracing.follows(view, session);
  const mustKeep = root.expirySeconds > 0 || sharedFilter !== null || view.receipt !== RECEIPT_NONE || isTraced || outlivesStream(session);
  if (mustKeep && shard.isOverloaded) {
    shard.counters[DROPPED_PROCESS]!++;
    shard.events.messageDropped(view, session.clientId, 'process_full');
    return FULL;
  }
  const delivery = mustKeep ? new Delivery(shard.keep(view), qos, retain, own(identifiers, identifierCount), sharedFilter) : null;
  return sendTracked(shard, session, connection, view, qos, retain, identifiers, identifierCount, delivery)
    ? DELIVERED
    : tooLarge(shard, session, view);
}

/** The client has been sent as much as it may be for now: the message waits in its queue until time has passed. */
function enqueueOver(
  shard: Shard,
  session: ClientSession,
  connection: Connection,
  view: MessageView,
  qos: number,
  retain: boolean,
  identifiers: Uint32Array | null,
  identifierCount: number,
  sharedFilter: string | null,
): number {
  shard.quotas.awaitSending(connection);
  return enqueue(shard, session, view, qos, retain, identifiers, identifierCount, sharedFilter);
}

/** What a data stream has not acknowledged when it ends goes to the control stream, where P2P messages are among it. */
function outlivesStream(session: ClientSession): boolean {
  return session.root !== session && session.root.connection!.sendsP2pOnStreams;
}

function unstorable(shard: Shard, session: ClientSession, view: MessageView): number {
  shard.counters[DROPPED_STORE]!++;
  shard.events.messageDropped(view, session.clientId, 'store_degraded');
  return view.qos === 0 ? DROPPED : UNSTORABLE;
}

function tooLarge(shard: Shard, session: ClientSession, view: MessageView): number {
  shard.counters[DROPPED_LARGE]!++; // [MQTT-3.1.2-25]
  shard.events.messageDropped(view, session.clientId, 'too_large');
  return TOO_LARGE;
}

/** Sends a QoS 1 or 2 message and takes its place in the window. @returns false when it exceeds the client's Maximum Packet Size */
function sendTracked(
  shard: Shard,
  session: ClientSession,
  connection: Connection,
  view: MessageView,
  qos: number,
  retain: boolean,
  identifiers: Uint32Array | null,
  identifierCount: number,
  delivery: Delivery | null,
): boolean {
  if (session.inflight === null) session.inflight = new Inflight();
  const packetId = session.inflight.add(qos, delivery);
  // The Packet Identifier of a QoS 2 message must outlive a crash: sent again under another one it would be a second message. That of a data stream ends with it.
  if (qos === 2 && session.isStored) shard.journal.hold(connection);
  if (!send(shard, connection, view, qos, retain, packetId, identifiers, identifierCount)) {
    session.inflight.remove(packetId);
    return false;
  }
  if (delivery !== null) {
    shard.counters[INFLIGHT_BYTES]! += delivery.message.sizeBytes;
    if (session.root.isStored) noteSent(shard, session, view, delivery, packetId);
  }
  connection.sendQuota--;
  if (session.inflight.count === 1) connection.acknowledgedAt = shard.turnMilliseconds;
  return true;
}

/** The exchange of `packetId` is over: its place in the window is free, and so is what was kept for it. @returns that, or null */
export function removeInflight(shard: Shard, inflight: Inflight, packetId: number): Delivery | null {
  const delivery = inflight.delivery(packetId);
  inflight.remove(packetId);
  if (delivery !== null) shard.counters[INFLIGHT_BYTES]! -= delivery.message.sizeBytes;
  return delivery;
}

/** Writes one PUBLISH to the connection's output. @returns false when it exceeds the client's Maximum Packet Size */
function send(
  shard: Shard,
  connection: Connection,
  view: MessageView,
  qos: number,
  retain: boolean,
  packetId: number,
  identifiers: Uint32Array | null,
  identifierCount: number,
): boolean {
  const version = connection.version;
  const expirySeconds = remainingExpiry(shard, view);
  const images = shard.images;
  let sent = 0;
  if (images.isActive && identifierCount === 0 && connection.outboundAliases === null) {
    const layout = images.layout(view, version, qos, retain, expirySeconds);
    const length = images.length(layout);
    if (length > connection.packetBytesMax) return false; // [MQTT-3.1.2-24]
    sent = length;
    const from = images.at(layout);
    const at = connection.reserve(length);
    copyViewed(connection.output, connection.output.dataView, at, images.bytes, images.bytes.dataView, from, from + length);
    if (qos !== 0) writeU16(connection.output, at + images.packetIdOffset(layout), packetId);
  } else {
    let alias = 0;
    let isKnown = false;
    if (connection.outboundAliases !== null) {
      const aliases = connection.outboundAliases;
      alias = aliases.assign(view.topicBytes, view.topicAt, view.topicEnd, hash32(view.topicBytes, view.topicAt, view.topicEnd));
      isKnown = aliases.isKnown;
    }
    let length = publishLength(view, version, qos, identifiers, identifierCount, expirySeconds, alias, isKnown);
    if (length > connection.packetBytesMax && alias !== 0) {
      // An alias adds three bytes, which may be the ones too many; and one that is not sent must not count as known.
      connection.outboundAliases!.takeBack();
      alias = 0;
      isKnown = false;
      length = publishLength(view, version, qos, identifiers, identifierCount, expirySeconds, 0, false);
    }
    if (length > connection.packetBytesMax) return false; // [MQTT-3.1.2-24]
    sent = length;
    const at = connection.reserve(length);
    writePublish(
      connection.output,
      at,
      view,
      version,
      qos,
      retain,
      false,
      packetId,
      identifiers,
      identifierCount,
      expirySeconds,
      alias,
      isKnown,
    );
  }
  if (connection.quota !== null) chargeSent(connection.quota, sent);
  shard.counters[SENT]!++;
  if (shard.otlp !== null) shard.otlp.delivered(connection.session!, view, qos, packetId);
  if (shard.tracing !== null) noteWritten(shard, connection, view, qos);
  connection.flushIfLarge();
  return true;
}

function noteWritten(shard: Shard, connection: Connection, view: MessageView, qos: number): void {
  shard.tracing!.received(view, 'delivered', connection.session!.clientId, qos);
}

/** Message Expiry Interval that is left, in seconds; -1: none [MQTT-3.3.2-6]. */
function remainingExpiry(shard: Shard, view: MessageView): number {
  if (view.expiresAt === 0) return -1;
  return Math.max(0, Math.ceil((view.expiresAt - shard.timers.now - CLOCK_SKEW_MILLISECONDS) / 1000));
}

function own(identifiers: Uint32Array | null, count: number): Uint32Array | null {
  if (identifiers === null || count === 0) return null;
  const copy = new Uint32Array(count);
  for (let i = 0; i < count; i++) copy[i] = identifiers[i]!;
  return copy;
}

/** Puts the message into the session's queue. @returns QUEUED, FULL, or DROPPED (QoS 0) */
export function enqueue(
  shard: Shard,
  session: ClientSession,
  view: MessageView,
  qos: number,
  retain: boolean,
  identifiers: Uint32Array | null,
  identifierCount: number,
  sharedFilter: string | null,
): number {
  if (session.queue === null) session.queue = new MessageQueue();
  const queue = session.queue;
  const limits = shard.settings.limits;
  if (session.root.isStored && shard.journal.isDegraded) return unstorable(shard, session, view);
  const size =
    view.topicEnd - view.topicAt + (view.propertiesEnd - view.propertiesAt) + (view.payloadEnd - view.payloadAt) + MESSAGE_OVERHEAD_BYTES;
  room.measure(limits, session, queue);
  while (queue.count >= room.messages || queue.bytes + size > room.bytes || shard.isOverloaded) {
    // What can never fit must not push out what does.
    if (shard.settings.queue.overflow !== 'drop-oldest' || queue.count === 0 || size > limits.queueBytes) {
      const isProcessFull = shard.isOverloaded;
      shard.counters[isProcessFull ? DROPPED_PROCESS : DROPPED_FULL]!++;
      shard.events.messageDropped(view, session.clientId, isProcessFull ? 'process_full' : 'queue_full');
      return qos === 0 ? DROPPED : FULL;
    }
    dropOldest(shard, session, queue);
    // Under a full process one message in for one message out is all that is allowed.
    if (shard.isOverloaded) break;
  }
  if (session.root.isStored) {
    enqueueStored(shard, session, queue, view, size, qos, retain, identifiers, identifierCount, sharedFilter);
  } else {
    const delivery = new Delivery(shard.keep(view), qos, retain, own(identifiers, identifierCount), sharedFilter);
    pushQueued(shard, queue, delivery);
    if (delivery.message.receipt !== RECEIPT_NONE && delivery.message.expiresAt !== 0) watchExpiry(shard, session, delivery);
  }
  shard.counters[QUEUED_COUNT]!++;
  if (shard.tracing !== null) shard.tracing.received(view, 'queued', session.clientId, qos);
  return QUEUED;
}

function dropOldest(shard: Shard, session: ClientSession, queue: MessageQueue): void {
  if (queue.frontCount === 0 && queue.refCount > 0) {
    const { delivery, sequence, record, messageEntry } = takeOldestRef(shard, queue);
    noteRefSettled(shard, session.root, sequence);
    if (delivery?.hasExpired) return;
    shard.counters[DROPPED_FULL]!++;
    if (delivery !== undefined) dropDelivery(shard, session, delivery, 'queue_full', 'dropped');
    else reportDropped(shard, session, record, messageEntry, 'queue_full');
    return;
  }
  const oldest = takeQueued(shard, queue)!;
  noteSettled(shard, session.root, oldest);
  if (oldest.hasExpired) return;
  shard.counters[DROPPED_FULL]!++;
  dropDelivery(shard, session, oldest, 'queue_full', 'dropped');
}

/** What waits in a stored session is written; in memory it is an object as long as the queue is short and its client there, and a reference otherwise. */
function enqueueStored(
  shard: Shard,
  holder: ClientSession,
  queue: MessageQueue,
  view: MessageView,
  size: number,
  qos: number,
  retain: boolean,
  identifiers: Uint32Array | null,
  identifierCount: number,
  sharedFilter: string | null,
): void {
  const sequence = holder.root.nextSequence++;
  const at = noteQueued(shard, holder.root, view, sequence, qos, retain, identifiers, identifierCount, sharedFilter);
  const isReference = queue.refCount > 0 || holder.connection === null || queue.frontCount >= FRONT_MAX;
  const mustStay = view.receipt !== RECEIPT_NONE || sharedFilter !== null || isFollowed(shard, view, holder);
  if (isReference) {
    pushRef(shard, queue, sequence, shard.journal.open.record, shard.keptEntryAt, at, size);
    if (!mustStay) return;
  }
  const delivery = new Delivery(shard.keep(view), qos, retain, own(identifiers, identifierCount), sharedFilter);
  delivery.sequence = sequence;
  delivery.record = shard.journal.open.record;
  delivery.entryAt = at;
  if (isReference) pin(shard, queue, delivery);
  else pushQueued(shard, queue, delivery);
  if (view.receipt !== RECEIPT_NONE && view.expiresAt !== 0) watchExpiry(shard, holder, delivery);
}

/** Whether a trace must hear what becomes of the message: then it stays in memory, because what comes back from the store has no tag. */
function isFollowed(shard: Shard, view: MessageView, holder: ClientSession): boolean {
  return shard.tracing === null ? false : shard.tracing.follows(view, holder);
}

/** Keeps a message for a mailbox: only referred to, unless its sender wants to hear of its end. */
export function enqueueInMailbox(shard: Shard, holder: StoredHolder, queue: MessageQueue, view: MessageView, size: number): void {
  const sequence = holder.nextSequence++;
  const at = noteQueued(shard, holder, view, sequence, view.qos, false, null, 0, null);
  pushRef(shard, queue, sequence, shard.journal.open.record, shard.keptEntryAt, at, size);
  const isTraced = view.trace !== null && view.trace.traces.length > 0;
  if (view.receipt === RECEIPT_NONE && !isTraced) return;
  const delivery = new Delivery(shard.keep(view), view.qos, false, null, null);
  delivery.sequence = sequence;
  delivery.record = shard.journal.open.record;
  delivery.entryAt = at;
  pin(shard, queue, delivery);
}

/** Tells the sender of a waiting message when it expires, not only when its turn comes. */
export function watchExpiry(shard: Shard, session: ClientSession, delivery: Delivery): void {
  delivery.expiryTimer = new Timer(() => {
    delivery.hasExpired = true;
    shard.counters[DROPPED_EXPIRED]!++;
    dropDelivery(shard, session, delivery, 'expired', 'expired');
  });
  shard.timers.arm(delivery.expiryTimer, delivery.message.expiresAt - shard.timers.now);
}

/** Adds to a queue and to the counters of what waits. */
export function pushQueued(shard: Shard, queue: MessageQueue, delivery: Delivery): void {
  delivery.queuedAt = shard.turnMilliseconds;
  queue.push(delivery);
  shard.counters[QUEUED_BYTES]! += delivery.message.sizeBytes;
  shard.counters[QUEUED_MESSAGES]!++;
}

/** Takes from a queue and from the counters of what waits. */
export function takeQueued(shard: Shard, queue: MessageQueue): Delivery | undefined {
  const delivery = queue.shift();
  if (delivery === undefined) return undefined;
  if (delivery.expiryTimer !== null) shard.timers.disarm(delivery.expiryTimer);
  delivery.expiryTimer = null;
  shard.counters[QUEUED_BYTES]! -= delivery.message.sizeBytes;
  shard.counters[QUEUED_MESSAGES]!--;
  return delivery;
}

/** A kept message will not be delivered: the event, and the receipt if one was asked for. The caller has counted it. */
export function dropDelivery(shard: Shard, session: ClientSession, delivery: Delivery, reason: string, receiptStatus: string): void {
  if (shard.tracing !== null) shard.tracing.recognize(delivery.message);
  viewMessage(shard.keptView, delivery.message);
  shard.events.messageDropped(shard.keptView, session.clientId, reason);
  if (delivery.message.receipt !== RECEIPT_NONE) receiptOf(shard, delivery.message, session.clientId, receiptStatus, session.root.isStored);
}

/** Sends what waits, as far as window and network allow: first what this connection must send again, then the queue. */
export function pump(shard: Shard, session: ClientSession, connection: Connection): void {
  if (connection.resends !== null) resendPublishes(shard, session, connection);
  const queue = session.queue;
  if (queue === null || connection.resends !== null) return;
  while (queue.count > 0 && !connection.isOverfull) {
    if (queue.refCount > 0 && queue.frontCount < FRONT_LOW) loadWaiting(shard, session);
    const next = queue.peek();
    // What is next comes from the store, and with it the next call.
    if (next === undefined) return;
    if (next.qos > 0 && connection.sendQuota <= 0) return;
    if (connection.quota !== null && !maySend(connection, connection.quota, false)) {
      shard.quotas.awaitSending(connection);
      return;
    }
    const delivery = takeQueued(shard, queue)!;
    const message = delivery.message;
    if (delivery.hasExpired) {
      noteSettled(shard, session.root, delivery);
      continue;
    }
    if (message.expiresAt !== 0 && message.expiresAt <= shard.timers.now) {
      shard.counters[DROPPED_EXPIRED]!++; // [MQTT-3.3.2-5]
      noteSettled(shard, session.root, delivery);
      dropDelivery(shard, session, delivery, 'expired', 'expired');
      continue;
    }
    if (!sendKept(shard, session, connection, delivery)) {
      shard.counters[DROPPED_LARGE]!++; // [MQTT-3.1.2-25]
      noteSettled(shard, session.root, delivery);
      dropDelivery(shard, session, delivery, 'too_large', 'dropped');
    } else {
      if (delivery.queuedAt >= 0) shard.measures.queue.add(((shard.turnMilliseconds - delivery.queuedAt) & 0x3fffffff) * 1000);
      if (delivery.qos === 0) noteSettled(shard, session.root, delivery);
    }
  }
}

function sendKept(shard: Shard, session: ClientSession, connection: Connection, delivery: Delivery): boolean {
  const view = shard.keptView;
  if (shard.tracing !== null) shard.tracing.recognize(delivery.message);
  viewMessage(view, delivery.message);
  const identifiers = delivery.identifiers;
  const count = identifiers === null ? 0 : identifiers.length;
  // The images belong to the message being routed, not to this one.
  const wasActive = shard.images.isActive;
  shard.images.isActive = false;
  const isSent =
    delivery.qos === 0
      ? send(shard, connection, view, 0, delivery.retain, 0, identifiers, count)
      : sendTracked(shard, session, connection, view, delivery.qos, delivery.retain, identifiers, count, delivery);
  shard.images.isActive = wasActive;
  return isSent;
}

/**
 * Begins a resumed session: PUBREL packets go out again at once, PUBLISH packets in their original order as far as the window allows
 * [MQTT-4.4.0-1] [MQTT-4.6.0-1].
 */
export function resumeInflight(shard: Shard, session: ClientSession, connection: Connection): void {
  const inflight = session.inflight;
  if (inflight === null || inflight.count === 0) return;
  const resends: number[] = [];
  for (const packetId of inflight.inOrder()) {
    if (inflight.state(packetId) === INFLIGHT_RELEASED) {
      const at = connection.reserve(4);
      writeAck(connection.output, at, PUBREL, packetId);
      // It stays open until PUBCOMP, and PUBCOMP gives its place back. The quota may fall below 0 where the client's Receive Maximum has shrunk.
      connection.sendQuota--; // [MQTT-3.3.4-9]
    } else resends.push(packetId);
  }
  if (resends.length > 0) connection.resends = resends.reverse();
  resendPublishes(shard, session, connection);
}

function resendPublishes(shard: Shard, session: ClientSession, connection: Connection): void {
  const resends = connection.resends;
  const inflight = session.inflight;
  if (resends === null || inflight === null) return;
  while (resends.length > 0) {
    if (connection.sendQuota <= 0 || connection.isOverfull) return;
    if (connection.quota !== null && !maySend(connection, connection.quota, false)) {
      shard.quotas.awaitSending(connection);
      return;
    }
    const packetId = resends.pop()!;
    const state = inflight.state(packetId);
    if (state === INFLIGHT_FREE || state === INFLIGHT_RELEASED) {
      // Answered before it was sent again: the answer gave back (or will give back) a place that this connection had not taken.
      connection.sendQuota--;
      continue;
    }
    const delivery = inflight.delivery(packetId);
    if (delivery === null) continue;
    const view = shard.keptView;
    if (shard.tracing !== null) shard.tracing.recognize(delivery.message);
    viewMessage(view, delivery.message);
    const identifiers = delivery.identifiers;
    const count = identifiers === null ? 0 : identifiers.length;
    const expirySeconds = remainingExpiry(shard, view);
    const length = publishLength(view, connection.version, delivery.qos, identifiers, count, expirySeconds, 0, false);
    if (length > connection.packetBytesMax) {
      // The client came back with a smaller Maximum Packet Size: to it the message counts as delivered [MQTT-3.1.2-25].
      removeInflight(shard, inflight, packetId);
      shard.counters[DROPPED_LARGE]!++;
      noteSettled(shard, session.root, delivery);
      dropDelivery(shard, session, delivery, 'too_large', 'dropped');
      continue;
    }
    const at = connection.reserve(length);
    // DUP 1 says that this may be a second copy [MQTT-3.3.1-1].
    writePublish(
      connection.output,
      at,
      view,
      connection.version,
      delivery.qos,
      delivery.retain,
      true,
      packetId,
      identifiers,
      count,
      expirySeconds,
      0,
      false,
    );
    if (connection.quota !== null) chargeSent(connection.quota, length);
    shard.counters[SENT]!++;
    if (shard.tracing !== null) noteWritten(shard, connection, view, delivery.qos);
    connection.sendQuota--;
    connection.flushIfLarge();
  }
  connection.resends = null;
}

/** A message of the window has been acknowledged: one more may go. */
export function restoreQuota(shard: Shard, session: ClientSession, connection: Connection): void {
  connection.sendQuota++; // [MQTT-4.9.0-2]
  connection.acknowledgedAt = shard.turnMilliseconds;
  if (session.queue !== null || connection.resends !== null) pump(shard, session, connection);
}

/** Whether version 5 details may be told to this client on packets other than PUBLISH, CONNACK and DISCONNECT [MQTT-3.1.2-29]. */
export function mayExplain(connection: Connection): boolean {
  return connection.version === V5 && connection.wantsProblemInformation;
}
