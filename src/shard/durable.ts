/**
 * Durable: what happens to stored sessions, put into entries of the journal, and who waits for each.
 *
 * Every function here is called where the thing happens, in the same turn, and does nothing for a session that is not stored; `recovery.ts` reads the same
 * entries. The rule behind all: what leaves the broker may promise only what is on disk.
 *
 *   PUBACK, PUBREC      wait in `Connection.acks`, each for its own entries         PUBLISH QoS 0 and 1 to a receiver: waits for nothing
 *   PUBLISH QoS 2, PUBREL, PUBCOMP, SUBACK, CONNACK: the connection's output is held         answers to other shards: `Mesh.sealGates`
 *
 * A QoS 2 PUBLISH is held because its Packet Identifier must be known after a crash: sent again under another one it would arrive twice.
 *
 * Hot path.
 */
import { hash32 } from '../base/hash.ts';
import {
  ENTRY_CLOSED,
  ENTRY_CONNECTED,
  ENTRY_MESSAGE,
  ENTRY_ORIGIN,
  ENTRY_ORIGIN_DONE,
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
  FLAG_STORED_PUBLISHER,
  FLAG_WILL,
} from '../journal/entry.ts';
import type { MessageView } from '../protocol/publish.ts';
import type { ShareGroup } from '../routing/share-group.ts';
import type { Delivery } from '../session/delivery.ts';
import { INFLIGHT_QOS1, INFLIGHT_QOS2 } from '../session/inflight.ts';
import { viewMessage } from '../session/message.ts';
import { Session, type StoredHolder } from '../session/session.ts';
import type { Connection } from './connection.ts';
import { partsOf, subscriptionOf } from './parts.ts';
import type { ClientSession, Shard } from './shard.ts';
import { packConnected, packHolder, packMailbox, packSession, packSubscription, packText } from './stored-session.ts';

/** The entry of the message that is being routed; one for all its deliveries. @returns where it begins */
export function messageEntry(shard: Shard, view: MessageView): number {
  const { open } = shard.journal;
  if (shard.keptEntryAt < 0) shard.keptEntryAt = open.message(ENTRY_MESSAGE, view, 0);
  return shard.keptEntryAt;
}

/**
 * A delivery that waits in a queue. @returns where its entry begins
 * The publisher waits for the commit.
 */
export function noteQueued(
  shard: Shard,
  holder: StoredHolder,
  view: MessageView,
  sequence: number,
  qos: number,
  retain: boolean,
  identifiers: Uint32Array | null,
  identifierCount: number,
  sharedFilter: string | null,
): number {
  messageEntry(shard, view);
  const at = shard.journal.open.delivery(holder.id, sequence, qos, retain, 0, 0, identifiers, identifierCount, sharedFilter);
  if (view.qos > 0) promise(shard, null);
  return at;
}

/**
 * A delivery has been sent to a stored session under `packetId`. Where the identifier does not outlive a crash it counts as waiting still, and goes out as a new
 * one after it: that of a data stream on the control stream, that of a mailbox to the next session.
 */
export function noteSent(shard: Shard, session: ClientSession, view: MessageView, delivery: Delivery, packetId: number): void {
  const { open } = shard.journal;
  const { root } = session;
  const isPassing = hasPassingIdentifiers(session);
  if (isPassing && delivery.sequence !== 0) return;
  const state = isPassing ? 0 : delivery.qos === 2 ? INFLIGHT_QOS2 : INFLIGHT_QOS1;
  if (isPassing) packetId = 0;
  if (delivery.sequence === 0) {
    delivery.sequence = root.nextSequence++;
    messageEntry(shard, view);
    const identifiers = delivery.identifiers;
    const count = identifiers === null ? 0 : identifiers.length;
    const { qos, retain, sharedFilter } = delivery;
    delivery.entryAt = open.delivery(root.id, delivery.sequence, qos, retain, state, packetId, identifiers, count, sharedFilter);
    delivery.record = open.record;
    if (delivery.qos === 1) shard.journal.sent(delivery);
    if (view.qos > 0) promise(shard, delivery.qos === 1 ? delivery : null);
  } else if (delivery.record === open.record) open.setState(delivery.entryAt, state, packetId);
  else open.two(ENTRY_SENT, state, packetId, session.id, delivery.sequence);
}

/** Whether Packet Identifiers end before the store forgets their messages: with a data stream, or with a session that the store knows as a mailbox. */
function hasPassingIdentifiers(session: ClientSession): boolean {
  return session.root !== session || session.isMailbox;
}

/** The publisher's acknowledgement rests on the open batch from now on. @param delivery one that its receiver can make needless, or null */
function promise(shard: Shard, delivery: Delivery | null): void {
  const { journal, outcome } = shard;
  if (!journal.isGated) return;
  journal.awaited(delivery !== null);
  outcome.restsOnStore = true;
  const ack = outcome.expectStore(journal);
  if (ack !== null && delivery !== null) delivery.promise = ack;
}

/** The client has begun to take the message: only the release is left. Its PUBREL is held. */
export function noteReleased(shard: Shard, session: ClientSession, delivery: Delivery | null, connection: Connection): void {
  if (!session.root.isStored || delivery === null || delivery.sequence === 0) return;
  // The message is the client's, and of an identifier that does not stay nothing is left to remember.
  if (hasPassingIdentifiers(session)) noteSettled(shard, session.root, delivery);
  else shard.journal.open.two(ENTRY_RELEASED, 0, 0, session.id, delivery.sequence);
  shard.journal.hold(connection);
}

/** A delivery needs no memory any more: acknowledged, expired, dropped. */
export function noteSettled(shard: Shard, holder: StoredHolder, delivery: Delivery): void {
  const sequence = delivery.sequence;
  if (sequence === 0) return;
  delivery.sequence = 0;
  const { open } = shard.journal;
  shard.journal.settled(delivery);
  if (delivery.record !== open.record || delivery.isCopied) {
    open.two(ENTRY_SETTLED, 0, 0, holder.id, sequence);
    return;
  }
  // Its entry has not left: it need not be written at all, and whoever waited for it need not.
  open.kill(delivery.entryAt);
  const waiting = delivery.promise;
  delivery.promise = null;
  if (waiting !== null) waiting.entryGone();
}

/** A delivery that is only a reference leaves the queue undelivered. */
export function noteRefSettled(shard: Shard, holder: StoredHolder, sequence: number): void {
  shard.journal.open.two(ENTRY_SETTLED, 0, 0, holder.id, sequence);
}

/** A QoS 2 message of this stored publisher has been routed everywhere; its PUBREC waits for the commit. */
export function noteReceived(shard: Shard, session: ClientSession, packetId: number): void {
  shard.journal.open.one(ENTRY_RECEIVED, 0, packetId, session.id);
  session.received!.markStored(packetId);
  if (shard.journal.isGated) shard.journal.awaited(false);
}

/** PUBREL came: the identifier may be used again, and PUBCOMP, which says so, is held. */
export function noteReceivedEnd(shard: Shard, session: ClientSession, packetId: number, connection: Connection): void {
  shard.journal.open.one(ENTRY_RECEIVED_END, 0, packetId, session.id);
  shard.journal.hold(connection);
}

/** Whether the QoS 2 message that is being routed has come to this holder before. Asked first of all: what it has is not refused, whatever the disk says now. */
export function hasTaken(shard: Shard, holder: StoredHolder): boolean {
  const { view } = shard;
  if (!shard.mayBeKnown || shard.givenNow.has(holder.id)) return false;
  if (!shard.origins.has(Math.abs(shard.originId), shard.originPacketId, holder.id, contentHash(view))) return false;
  // It may have come a moment ago, over another connection of the publisher.
  restOnOthers(shard, view);
  return true;
}

/** The same for a group: whether any of its members has the message, whoever would be picked now. */
export function hasMemberTaken(shard: Shard, group: ShareGroup<ClientSession>): boolean {
  const { view, journal } = shard;
  if (!shard.mayBeKnown || shard.originId === 0) return false;
  const isMember = (id: number): boolean => {
    const holder = journal.holders.get(id); // cold: only what may have come before
    if (!(holder instanceof Session) || shard.givenNow.has(id)) return false;
    return [holder as ClientSession, ...partsOf(holder)].some((one) => group.get(one) !== undefined);
  };
  if (!shard.origins.hasAny(Math.abs(shard.originId), shard.originPacketId, contentHash(view), isMember)) return false;
  restOnOthers(shard, view);
  return true;
}

/** The QoS 2 message that is being routed comes to this holder now, and that is remembered until the publisher's shard does. */
export function rememberOrigin(shard: Shard, holder: StoredHolder): void {
  const publisher = Math.abs(shard.originId);
  const content = contentHash(shard.view);
  const flags = shard.originId < 0 ? 0 : FLAG_STORED_PUBLISHER;
  shard.origins.add(publisher, shard.originPacketId, holder.id, content);
  if (shard.mayBeKnown) shard.givenNow.add(holder.id);
  shard.journal.open.three(ENTRY_ORIGIN, flags, shard.originPacketId, holder.id, publisher, content);
}

/** 31 bits of the payload and 22 of the topic: as much as a double holds. */
function contentHash(view: MessageView): number {
  const topic = hash32(view.topicBytes, view.topicAt, view.topicEnd);
  return hash32(view.payloadBytes, view.payloadAt, view.payloadEnd) * 2 ** 22 + (topic >>> 9);
}

/** The publisher's shard remembers by itself. @param packetId 0: all messages of the publisher */
export function noteOriginDone(shard: Shard, publisher: number, packetId: number): void {
  const { journal, origins } = shard;
  if (!origins.remove(publisher, packetId)) return;
  journal.open.one(ENTRY_ORIGIN_DONE, 0, packetId, publisher);
  // At once: before the publisher, who is two answers and a commit away from it, uses the identifier for a new message, which might be of the same content.
  if (journal.isGated) journal.awaited(false);
}

/** A new stored session, or one that is stored from now on with all that it holds. The connection is held. */
export function noteSession(shard: Shard, session: ClientSession): void {
  const { journal } = shard;
  session.isStored = true;
  session.isMailbox = false;
  journal.holders.set(session.id, session);
  journal.open.packed(ENTRY_SESSION, session.id, packSession(session));
  session.snapshotRecord = journal.open.record;
  const inflight = session.inflight;
  if (inflight !== null) {
    for (const packetId of inflight.inOrder()) {
      const delivery = inflight.delivery(packetId);
      if (delivery !== null && delivery.sequence === 0) noteWhole(shard, session, delivery, inflight.state(packetId), packetId);
    }
  }
  const queue = session.queue;
  if (queue !== null) {
    for (let i = 0; i < queue.frontCount; i++) {
      const delivery = queue.at(i)!;
      if (delivery.sequence === 0 && !delivery.hasExpired) noteWhole(shard, session, delivery, 0, 0);
    }
  }
}

/** The whole entry of a holder once more, as it is now. */
export function noteSnapshot(shard: Shard, holder: StoredHolder): void {
  const { open } = shard.journal;
  open.packed(ENTRY_SESSION, holder.id, packHolder(holder, shard.timers.now));
  holder.snapshotRecord = open.record;
}

/** A delivery that was not stored so far, with its message. */
function noteWhole(shard: Shard, session: ClientSession, delivery: Delivery, state: number, packetId: number): void {
  const { open } = shard.journal;
  shard.newMessage();
  viewMessage(shard.keptView, delivery.message);
  messageEntry(shard, shard.keptView);
  shard.newMessage();
  delivery.sequence = session.nextSequence++;
  delivery.record = open.record;
  const count = delivery.identifiers === null ? 0 : delivery.identifiers.length;
  delivery.entryAt = open.delivery(
    session.id,
    delivery.sequence,
    delivery.qos,
    delivery.retain,
    state,
    packetId,
    delivery.identifiers,
    count,
    delivery.sharedFilter,
  );
}

/** A stored session is attached to a new connection, whose output is held. */
export function noteConnected(shard: Shard, session: ClientSession): void {
  if (shard.journal.isDegraded) {
    shard.journal.noteLater(session);
    return;
  }
  shard.journal.open.packed(ENTRY_CONNECTED, session.id, packConnected(session));
}

/** A stored session has lost its connection. */
export function noteClosed(shard: Shard, session: ClientSession): void {
  if (!session.isStored) return;
  if (shard.journal.isDegraded) {
    shard.journal.noteLater(session);
    return;
  }
  const flags = session.will === null ? 0 : FLAG_WILL;
  shard.journal.open.three(ENTRY_CLOSED, flags, 0, session.id, session.closedAt, session.expirySeconds);
}

/** The disk works again: what has become of the session's connection meanwhile, however often it changed. */
export function noteAttachment(shard: Shard, session: ClientSession): void {
  if (!session.isStored || session.isMailbox) return;
  noteConnected(shard, session);
  if (session.connection === null) noteClosed(shard, session);
}

/** The Will of a stored session has been published; the publication has an entry of its own. */
export function noteWillDone(shard: Shard, session: ClientSession): void {
  if (session.isStored) shard.journal.open.one(ENTRY_WILL_DONE, 0, 0, session.id);
}

/** A stored session or a mailbox ends, with all that it holds. */
export function noteEnd(shard: Shard, holder: StoredHolder): void {
  shard.journal.holders.delete(holder.id);
  shard.journal.unnoted.delete(holder as ClientSession);
  shard.journal.open.one(ENTRY_SESSION_END, 0, 0, holder.id);
}

/** The subscription of a client to this filter has changed, on any of its streams: the journal knows one for each filter. */
export function noteSubscription(shard: Shard, root: ClientSession, filter: string): void {
  if (!root.isStored || root.isMailbox) return;
  const { open } = shard.journal;
  const subscription = subscriptionOf(root, filter);
  if (subscription === undefined) open.packed(ENTRY_UNSUBSCRIBED, root.id, packText(filter));
  else open.packed(ENTRY_SUBSCRIBED, root.id, packSubscription(subscription));
}

/** A Retained Message was set or cleared. @returns the record that holds it */
export function noteRetained(shard: Shard, view: MessageView, hash: number): number {
  const { open } = shard.journal;
  open.message(ENTRY_RETAINED, view, hash);
  if (view.qos > 0) promise(shard, null);
  return open.record;
}

/** What is asked for was done by somebody else just now, perhaps: the answer waits until that is on disk, too. */
export function restOnOthers(shard: Shard, view: MessageView): void {
  if (view.qos > 0) promise(shard, null);
}

/** A mailbox begins. */
export function noteMailbox(shard: Shard, holder: StoredHolder, clientIdBytes: Uint8Array, createdAt: number): void {
  const { journal } = shard;
  journal.holders.set(holder.id, holder);
  journal.open.packed(ENTRY_SESSION, holder.id, packMailbox(clientIdBytes, createdAt));
  holder.snapshotRecord = journal.open.record;
}
