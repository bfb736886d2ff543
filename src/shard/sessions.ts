/**
 * Sessions: their life on the shard that owns them. Opening one for a CONNECT (with takeover), detaching it from a connection that ended, expiry, and the end.
 *
 *   none ── CONNECT ──▶ attached ── connection ends ──▶ detached ── CONNECT ──▶ attached
 *                           └── expiry 0 ──▶ ended ◀── expiry timer ──┘
 *
 * Invariant: a Client Identifier has at most one session, and a session at most one connection [MQTT-3.1.4-3]. An ended session holds no subscription, no
 * timer and no queued byte.
 */

import { hash32 } from '../base/hash.ts';
import { Timer } from '../base/timers.ts';
import { writeDisconnect } from '../protocol/disconnect.ts';
import { type ProtocolVersion, V5 } from '../protocol/packet-type.ts';
import type { MessageView } from '../protocol/publish.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import type { Delivery } from '../session/delivery.ts';
import { INFLIGHT_QOS1, INFLIGHT_RELEASED } from '../session/inflight.ts';
import { Message, viewMessage } from '../session/message.ts';
import { NEVER_EXPIRES, Session } from '../session/session.ts';
import type { Will } from '../session/will.ts';
import { CLOSED, CLOSING, CONNECTED, type Connection } from './connection.ts';
import { counter, listenerCounter } from './counters.ts';
import { dropDelivery, removeInflight, takeQueued } from './deliver.ts';
import { noteClosed, noteEnd, noteOriginDone, noteWillDone } from './durable.ts';
import { UNSTORABLE } from './outcome.ts';
import { beginOwn, ownIsDone } from './own.ts';
import { receiptOf } from './receipt.ts';
import { cancelRetained } from './retained-query.ts';
import { routeToGroup } from './route.ts';
import { announceShare, withdraw } from './routes.ts';
import type { ClientSession, Shard } from './shard.ts';
import { reportDropped, takeOldestRef } from './waiting.ts';

const CLIENTS = counter('clients/connected');
const SESSIONS = counter('clients/total');
const TAKEOVERS = counter('takeovers');
const EXPIRED = counter('sessions/expired');
const WILLS = counter('wills/published');
const DROPPED_OFFLINE = counter('publish/dropped/offline');

/** How often a Will asks whether the disk works again. */
const WILL_RETRY_MILLISECONDS = 1000;

/**
 * Finds or makes the session of a CONNECT; an older connection of the same client is ended first.
 * @returns the session; `isPresent` of the result says whether it was resumed
 */
export function openSession(
  shard: Shard,
  clientId: string,
  clientIdBytes: Uint8Array,
  version: ProtocolVersion,
  cleanStart: boolean,
): { session: ClientSession; isPresent: boolean } {
  const hash = hash32(clientIdBytes, 0, clientIdBytes.length);
  const existing = shard.sessions.get(clientIdBytes, 0, clientIdBytes.length, hash);
  if (existing !== undefined) {
    if (existing.connection !== null) {
      shard.counters[TAKEOVERS]!++;
      endConnection(existing.connection, ReasonCode.SessionTakenOver, 'takenover', true); // [MQTT-3.1.4-3]
    }
    if (!existing.hasEnded && !cleanStart) {
      stopTimers(shard, existing);
      return { session: existing, isPresent: true }; // [MQTT-3.1.2-5]
    }
    if (!existing.hasEnded) endSession(shard, existing, 'discarded'); // [MQTT-3.1.2-4]
  }
  const session: ClientSession = new Session(clientId, clientIdBytes, hash, version, shard.nextSessionId());
  shard.sessions.set(clientIdBytes, hash, session);
  shard.counters[SESSIONS]!++;
  return { session, isPresent: false }; // [MQTT-3.1.2-6]
}

function stopTimers(shard: Shard, session: ClientSession): void {
  if (session.expiryTimer !== null) shard.timers.disarm(session.expiryTimer);
  // The client is back within the Will Delay Interval: the will is not sent [MQTT-3.1.3-9].
  if (session.willTimer !== null) shard.timers.disarm(session.willTimer);
  session.expiryTimer = null;
  session.willTimer = null;
}

/**
 * Ends a connection from our side.
 * @param code told to a v5 client by DISCONNECT; -1: close without a word
 * @param cause word for the event `client_disconnected`
 * @param withWill whether the Will Message is due
 */
export function endConnection(connection: Connection, code: ReasonCode | -1, cause: string, withWill: boolean): void {
  if (connection.state >= CLOSING) return;
  const shard = connection.shard;
  if (code >= 0 && connection.state === CONNECTED && connection.version === V5) {
    const writer = shard.packetScratch;
    writer.reset();
    writeDisconnect(writer, V5, code, undefined);
    connection.send(writer.bytes, 0, writer.at);
  }
  const session = connection.session;
  connection.closeAfterFlush();
  if (session !== null) detach(shard, session, connection, cause, withWill);
}

/** The transport says that the network is gone. */
export function connectionLost(connection: Connection, cause: string): void {
  if (connection.state === CLOSED) return;
  const shard = connection.shard;
  shard.startTurn();
  const session = connection.session;
  connection.markClosed();
  if (session !== null) detach(shard, session, connection, cause, true);
  shard.connections.delete(connection);
}

/** The transport says that everything written is on its way. */
export function drained(connection: Connection): void {
  if (!connection.isBlocked) return;
  connection.shard.startTurn();
  connection.unblock();
  if (connection.state === CONNECTED && !connection.isBlocked) connection.shard.connectionDrained(connection);
}

/** Separates a session from its connection: event, Will, expiry. */
function detach(shard: Shard, session: ClientSession, connection: Connection, cause: string, withWill: boolean): void {
  const acks = connection.acks;
  connection.session = null;
  connection.acks = null;
  // What was decided and waited only for its turn is said to nobody, but its identifier must be as free, or as taken, as if it had been.
  for (let ack = acks?.shift(); ack !== undefined; ack = acks!.shift()) {
    if (ack.qos === 2 && !ack.isFollower) session.received?.keepOpen(ack.packetId, ack);
    if (ack.remaining === 0) shard.journal.flushAck(ack);
  }
  cancelRetained(shard, connection);
  session.connection = null;
  session.closedAt = shard.timers.now;
  shard.counters[CLIENTS]!--;
  shard.counters[listenerCounter(connection.peer.listener)]!--;
  shard.events.clientDisconnected(session, connection, cause);
  markGroups(shard, session, false);
  const will = session.will;
  if (!withWill)
    session.will = null; // [MQTT-3.1.2-10]
  else if (will !== null && (will.delaySeconds === 0 || session.expirySeconds === 0) && !mustWait(shard, session))
    publishWill(shard, session); // [MQTT-3.1.2-8]
  if (session.expirySeconds === 0) {
    endSession(shard, session, 'connection-ended');
    return;
  }
  noteClosed(shard, session);
  watchDetached(shard, session, will === null ? 0 : will.delaySeconds * 1000, session.expirySeconds * 1000);
}

/**
 * Arms what happens to a session without a connection: its Will, if it has one, and its end.
 * @param willMilliseconds from now; @param expiryMilliseconds from now, of no use for a session that never expires
 */
export function watchDetached(shard: Shard, session: ClientSession, willMilliseconds: number, expiryMilliseconds: number): void {
  if (session.will !== null) {
    session.willTimer = new Timer(() => publishWill(shard, session));
    shard.timers.arm(session.willTimer, mustWait(shard, session) ? Math.max(willMilliseconds, WILL_RETRY_MILLISECONDS) : willMilliseconds);
  }
  if (session.expirySeconds === NEVER_EXPIRES) return;
  session.expiryTimer = new Timer(() => {
    shard.counters[EXPIRED]!++;
    endSession(shard, session, 'expired'); // [MQTT-3.1.2-23]
  });
  shard.timers.arm(session.expiryTimer, expiryMilliseconds);
}

/** Whether the Will of this session must wait until the disk works: what keeps it alive until everyone has it could not be written. */
function mustWait(shard: Shard, session: ClientSession): boolean {
  return session.isStored && session.expirySeconds > 0 && shard.journal.isDegraded;
}

/** Publishes the Will Message at the end of the turn; once. */
function publishWill(shard: Shard, session: ClientSession): void {
  const will = session.will;
  if (will === null) return;
  if (!session.hasEnded && mustWait(shard, session)) {
    shard.timers.arm(session.willTimer!, WILL_RETRY_MILLISECONDS);
    return;
  }
  session.will = null;
  shard.counters[WILLS]!++;
  noteWillDone(shard, session);
  shard.publishLater(willMessage(shard, will), session.clientId, session.isStored);
}

function willMessage(shard: Shard, will: Will): Message {
  const message = will.message;
  if (will.expirySeconds < 0) return message;
  return new Message(
    message.bytes,
    message.topicEnd,
    message.propertiesEnd,
    message.qos,
    message.isRetained,
    shard.timers.now + will.expirySeconds * 1000,
    false,
  );
}

/** Ends a session: subscriptions, messages, timers. What a Shared Subscription lent to it goes to another member. */
export function endSession(shard: Shard, session: ClientSession, cause: string): void {
  if (session.hasEnded) return;
  session.hasEnded = true;
  stopTimers(shard, session);
  publishWill(shard, session);
  shard.sessions.delete(session.clientIdBytes, 0, session.clientIdBytes.length, session.hash);
  shard.counters[SESSIONS]!--;
  if (session.subscriptions !== null) {
    for (const subscription of session.subscriptions.values()) withdraw(shard, subscription);
    session.subscriptions = null;
  }
  // Everything below is gone with this one entry. What goes to others has entries of its own in the same batch.
  if (session.isStored) noteEnd(shard, session);
  if (session.hasOrigins) {
    noteOriginDone(shard, session.id, 0);
    shard.mesh.sendOriginDone(shard.mesh.peerMask, session.id, 0);
  }
  const inflight = session.inflight;
  if (inflight !== null) {
    for (const packetId of inflight.inOrder()) {
      const state = inflight.state(packetId);
      const delivery = removeInflight(shard, inflight, packetId);
      if (delivery === null) continue;
      if (state === INFLIGHT_RELEASED) {
        // PUBREC came: the client has the message, only the end of the exchange is missing.
        if (delivery.message.wantsReceipt) receiptOf(shard, delivery.message, session.clientId, 'acknowledged', session.isStored);
        continue;
      }
      // QoS 2 that has begun belongs to this client for good [MQTT-4.8.2-5].
      abandon(shard, session, delivery, cause, state === INFLIGHT_QOS1);
    }
    session.inflight = null;
  }
  const queue = session.queue;
  if (queue !== null) {
    for (let delivery = takeQueued(shard, queue); delivery !== undefined; delivery = takeQueued(shard, queue))
      abandon(shard, session, delivery, cause, true);
    while (queue.refCount > 0) {
      const { delivery, record, messageEntry } = takeOldestRef(shard, queue);
      if (delivery !== undefined) abandon(shard, session, delivery, cause, true);
      else {
        shard.counters[DROPPED_OFFLINE]!++;
        reportDropped(shard, session, record, messageEntry, cause);
      }
    }
    session.queue = null;
  }
  session.received = null;
}

/** A message of an ended session: to another member of its group, or dropped. */
function abandon(shard: Shard, session: ClientSession, delivery: Delivery, cause: string, mayMove: boolean): void {
  if (delivery.hasExpired) return;
  if (mayMove && delivery.sharedFilter !== null && delivery.qos > 0 && redistribute(shard, delivery)) return;
  shard.counters[DROPPED_OFFLINE]!++;
  dropDelivery(shard, session, delivery, cause, 'session-ended');
}

/** Sends an unacknowledged shared message to another member (section 4.8.2). @returns false when the group has no member left */
function redistribute(shard: Shard, delivery: Delivery): boolean {
  const key = delivery.sharedFilter!;
  const slash = key.indexOf('/');
  const share = shard.interest.shareOf(key.substring(0, slash), key.substring(slash + 1));
  if (share === undefined) return false;
  // Not `keptView`: the new member's full queue may drop its oldest message, which is shown by that one.
  const view: MessageView = shard.view;
  viewMessage(view, delivery.message);
  const topicHash = hash32(view.topicBytes, view.topicAt, view.topicEnd);
  const { outcome } = shard;
  outcome.begin(null, 0, view.qos);
  // Until another shard has taken it, the message is this shard's to remember.
  if (delivery.sequence !== 0) outcome.own = beginOwn(shard, delivery.message, '', key);
  shard.newMessage();
  shard.kept = delivery.message;
  routeToGroup(shard, view, share, 0, topicHash);
  shard.newMessage();
  if (outcome.own !== null && (outcome.ack === null || outcome.ack.remaining === 0)) ownIsDone(outcome.own, outcome.worst === UNSTORABLE);
  // What only the disk keeps from its next member comes there when it works again.
  return outcome.wasTaken || (outcome.own !== null && outcome.worst === UNSTORABLE);
}

/** Tells the groups of a session whether it is online: an online member is preferred. */
export function markGroups(shard: Shard, session: ClientSession, isOnline: boolean): void {
  if (session.subscriptions === null) return;
  for (const subscription of session.subscriptions.values()) {
    if (subscription.shareName === '') continue;
    const group = shard.subscriptions.groupOf(subscription.shareName, subscription.filter);
    if (group?.setOnline(session, isOnline)) announceShare(shard, subscription.shareName, subscription.filter);
  }
}
