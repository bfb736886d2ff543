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
import { RECEIPT_NONE } from '../protocol/publish.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import { Message } from '../session/message.ts';
import { NEVER_EXPIRES, Session } from '../session/session.ts';
import type { Will } from '../session/will.ts';
import { abandonAcks, abandonAll } from './abandon.ts';
import { STREAM_CLOSED } from './channel.ts';
import { CLOSED, CLOSING, CONNECTED, type Connection } from './connection.ts';
import { counter, listenerCounter } from './counters.ts';
import { noteClosed, noteEnd, noteWillDone } from './durable.ts';
import { withdrawAll } from './filter-work.ts';
import { cancelRetained } from './retained-query.ts';
import { announceShare } from './routes.ts';
import type { ClientSession, Shard } from './shard.ts';
import { endStream, endStreams } from './streams.ts';

const CLIENTS = counter('clients/connected');
const SESSIONS = counter('clients/total');
const TAKEOVERS = counter('takeovers');
const EXPIRED = counter('sessions/expired');
const WILLS = counter('wills/published');

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
    // Its timer may be late, after a start above all.
    if (isOver(shard, existing)) {
      shard.counters[EXPIRED]!++;
      endSession(shard, existing, 'expired'); // [MQTT-3.1.2-23]
    }
    if (!existing.hasEnded && !cleanStart) {
      stopTimers(shard, existing);
      return { session: existing, isPresent: true }; // [MQTT-3.1.2-5]
    }
    if (!existing.hasEnded) endSession(shard, existing, 'discarded'); // [MQTT-3.1.2-4]
  }
  const session: ClientSession = new Session(clientId, clientIdBytes, hash, version, shard.nextSessionId());
  session.createdAt = shard.timers.now;
  shard.sessions.set(clientIdBytes, hash, session);
  shard.counters[SESSIONS]!++;
  return { session, isPresent: false }; // [MQTT-3.1.2-6]
}

/** Whether the time of a session without a connection has passed. It has not begun, after a start, of one that had a connection when the broker ended. */
function isOver(shard: Shard, session: ClientSession): boolean {
  const { closedAt, expirySeconds } = session;
  if (session.hasEnded || session.connection !== null || closedAt === 0 || expirySeconds === NEVER_EXPIRES) return false;
  return closedAt + expirySeconds * 1000 <= shard.timers.now;
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
 * @param code told to a v5 client by DISCONNECT; -1: close without a word, as on a data stream
 * @param cause word for the event `client_disconnected`
 * @param withWill whether the Will Message is due
 */
export function endConnection(connection: Connection, code: ReasonCode | -1, cause: string, withWill: boolean): void {
  if (connection.state >= CLOSING) return;
  if (connection.control !== null) {
    // A client is told of its faults on its control stream only; the stream is reset, the client goes on.
    connection.channel.destroy();
    connectionLost(connection, STREAM_CLOSED);
    return;
  }
  const shard = connection.shard;
  if (code >= 0 && connection.state === CONNECTED && connection.version === V5) {
    const writer = shard.packetScratch;
    writer.reset();
    writeDisconnect(writer, V5, code, undefined);
    connection.send(writer.bytes, 0, writer.at);
  }
  const session = connection.session;
  connection.closeAfterFlush();
  endStreams(connection);
  if (session !== null) detach(shard, session, connection, cause, withWill);
}

/** The transport says that the network is gone. */
export function connectionLost(connection: Connection, cause: string): void {
  if (connection.state === CLOSED) return;
  const { shard, session, control } = connection;
  shard.startTurn();
  connection.markClosed();
  if (control !== null) {
    shard.connections.delete(connection);
    // Where all streams of a connection go at once, the control stream is not the first to be told.
    if (cause === STREAM_CLOSED) endStream(connection);
    else connectionLost(control, cause);
    return;
  }
  endStreams(connection);
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
  if (withWill) shard.accessRenewal.ending(session, connection);
  abandonAcks(connection, session);
  cancelRetained(shard, connection);
  shard.quotas.leave(connection, session.clientId);
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
  shard.publishLater(willMessage(shard, will), session.clientId, session.isStored, will.asked);
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
    RECEIPT_NONE,
  );
}

/** Ends a session: subscriptions, messages, timers. What a Shared Subscription lent to it goes to another member. */
export function endSession(shard: Shard, session: ClientSession, cause: string): void {
  if (session.hasEnded) return;
  session.hasEnded = true;
  stopTimers(shard, session);
  publishWill(shard, session);
  shard.sessions.delete(session.clientIdBytes, 0, session.clientIdBytes.length, session.hash);
  shard.history?.names.forget(session);
  shard.counters[SESSIONS]!--;
  if (session.subscriptions !== null) {
    withdrawAll(shard, session.subscriptions.values());
    session.subscriptions = null;
  }
  // Everything below is gone with this one entry. What goes to others has entries of its own in the same batch.
  if (session.isStored) noteEnd(shard, session);
  abandonAll(shard, session, cause);
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
