/**
 * Abandon: what becomes of the messages of a session, or of a data stream, that ends: another member of the group, or
 * dropped with a word to whom it concerns. And what becomes of the acknowledgements that it waited for.
 */
import { hash32 } from '../base/hash.ts';
import { type MessageView, RECEIPT_NONE } from '../protocol/publish.ts';
import type { Delivery } from '../session/delivery.ts';
import { INFLIGHT_QOS1, INFLIGHT_RELEASED } from '../session/inflight.ts';
import { viewMessage } from '../session/message.ts';
import type { Connection } from './connection.ts';
import { counter } from './counters.ts';
import { dropDelivery, removeInflight, takeQueued } from './deliver.ts';
import { noteOriginDone, noteRefSettled, noteSettled } from './durable.ts';
import { UNSTORABLE } from './outcome.ts';
import { beginOwn, ownIsDone } from './own.ts';
import { receiptOf } from './receipt.ts';
import { routeToGroup } from './route.ts';
import type { ClientSession, Shard } from './shard.ts';
import { reportDropped, takeOldestRef } from './waiting.ts';

const DROPPED_OFFLINE = counter('publish/dropped/offline');

/** The connection of a publisher ends. What was decided and waited only for its turn is said to nobody, but its identifier must be as free, or as taken, as if it had been. */
export function abandonAcks(connection: Connection, session: ClientSession): void {
  const acks = connection.acks;
  connection.session = null;
  connection.acks = null;
  for (let ack = acks?.shift(); ack !== undefined; ack = acks!.shift()) {
    if (ack.qos === 2 && !ack.isFollower) session.received?.keepOpen(ack.packetId, ack);
    if (ack.remaining === 0) connection.shard.journal.flushAck(ack);
  }
}

/** All that a session has in flight and waiting, and what others remember for it. */
export function abandonAll(shard: Shard, session: ClientSession, cause: string): void {
  // Of a session that ends the journal knows by one entry; a part is known to it as the root's messages.
  const isPart = session.root !== session;
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
        if (delivery.message.receipt !== RECEIPT_NONE)
          receiptOf(shard, delivery.message, session.clientId, 'acknowledged', session.root.isStored);
        continue;
      }
      // QoS 2 that has begun belongs to this client for good [MQTT-4.8.2-5].
      abandon(shard, session, delivery, cause, state === INFLIGHT_QOS1);
      if (isPart) noteSettled(shard, session.root, delivery);
    }
    session.inflight = null;
  }
  const queue = session.queue;
  if (queue !== null) {
    for (let delivery = takeQueued(shard, queue); delivery !== undefined; delivery = takeQueued(shard, queue)) {
      abandon(shard, session, delivery, cause, true);
      if (isPart) noteSettled(shard, session.root, delivery);
    }
    while (queue.refCount > 0) {
      const { delivery, sequence, record, messageEntry } = takeOldestRef(shard, queue);
      if (delivery !== undefined) abandon(shard, session, delivery, cause, true);
      else {
        shard.counters[DROPPED_OFFLINE]!++;
        reportDropped(shard, session, record, messageEntry, cause);
      }
      if (isPart && session.root.isStored) noteRefSettled(shard, session.root, sequence);
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
  if (delivery.sequence !== 0) outcome.own = beginOwn(shard, delivery.message, '', key, []);
  shard.newMessage();
  shard.kept = delivery.message;
  routeToGroup(shard, view, share, 0, topicHash);
  shard.newMessage();
  if (outcome.own !== null && (outcome.ack === null || outcome.ack.remaining === 0)) ownIsDone(outcome.own, outcome.worst === UNSTORABLE);
  // What only the disk keeps from its next member comes there when it works again.
  return outcome.wasTaken || (outcome.own !== null && outcome.worst === UNSTORABLE);
}
