/**
 * Acks: PUBACK and PUBREC on their way to publishers, in the order of the PUBLISH packets [MQTT-4.6.0-2] [MQTT-4.6.0-3].
 *
 *   PUBLISH → nothing to wait for → acknowledged at once
 *           → other shards, the store → `Connection.acks` → complete at the front → acknowledged
 *
 * For QoS 2 of a stored session the identifier is noted when all shards have the message, and PUBREC waits for that commit too.
 *
 * Hot path.
 */
import { RANGE16_BYTES_MAX, utf8Length } from '../base/bytes.ts';
import { Fifo } from '../base/fifo.ts';
import { writeAck, writeAckDetail } from '../protocol/ack.ts';
import { PUBACK, PUBREC, V5 } from '../protocol/packet-type.ts';
import type { Properties } from '../protocol/property.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import type { Connection } from './connection.ts';
import { mayExplain } from './deliver.ts';
import { noteOriginDone, noteReceived } from './durable.ts';
import { explainPublish, explainUnstorable } from './explain.ts';
import { MICROSECONDS_MASK } from './measures.ts';
import { PendingAck, UNSTORABLE } from './outcome.ts';
import { ownIsDone } from './own.ts';
import { refuse } from './refuse.ts';
import type { Shard } from './shard.ts';

/** The acknowledgement takes its place in the order. */
export function pushAck(connection: Connection, ack: PendingAck): void {
  if (connection.acks === null) connection.acks = new Fifo();
  ack.begunAt = connection.shard.timers.microseconds;
  connection.acks.push(ack);
  if (ack.qos === 2) connection.pendingQos2++;
}

/**
 * Acknowledges now, or behind an earlier acknowledgement that waits [MQTT-4.6.0-2] [MQTT-4.6.0-3].
 * @param isUnstorable the store takes nothing, and v3 has no code for that
 * @returns 0, or the reason code that ends the connection
 */
export function acknowledgeInOrder(
  connection: Connection,
  packetId: number,
  qos: number,
  reason: ReasonCode,
  statuses: string[] | null,
  isUnstorable: boolean,
): ReasonCode {
  // Before MQTT 5 an acknowledgement is a promise without a reason code: a message that cannot be kept is left unacknowledged, and the client sends it again.
  if (isUnstorable && connection.version !== V5) return ReasonCode.QuotaExceeded;
  if (connection.acks === null || connection.acks.count === 0) {
    if (qos === 1) connection.shard.acknowledged1++;
    else connection.shard.acknowledged2++;
    acknowledge(connection, packetId, qos, reason, statuses, isUnstorable);
    return ReasonCode.Success;
  }
  const ack = new PendingAck(connection, null, packetId, qos, false);
  ack.decided = reason;
  ack.statuses = statuses;
  if (isUnstorable) ack.worst = UNSTORABLE;
  pushAck(connection, ack);
  return ReasonCode.Success;
}

/** One more shard has answered, or a commit is done: sends what is complete at the front. */
export function flushAcks(ack: PendingAck): void {
  const connection = ack.connection;
  if (connection === null) {
    if (ack.remaining === 0 && ack.own !== null) ownIsDone(ack.own, ack.worst === UNSTORABLE);
    return;
  }
  if (ack.told !== null) {
    if (ack.remaining > 0) return;
    const { told } = ack;
    ack.told = null;
    const { otlp } = connection.shard;
    if (otlp !== null) otlp.acknowledged(ack, ack.reason);
    told.complete(ack);
    return;
  }
  const acks = connection.acks;
  if (acks === null || connection.session !== ack.session) {
    if (ack.remaining === 0) completeWithout(ack);
    return;
  }
  for (let head = acks.peek(); head !== undefined && head.remaining === 0; head = acks.peek()) {
    const { shard } = connection;
    if (mustNote(head)) {
      // All shards have the message: now the identifier is noted, and PUBREC waits once more.
      noteReceived(shard, head.session!, head.packetId);
      head.isReceiptNoted = true;
      if (shard.journal.isGated) {
        head.waitForStore(shard.journal);
        return;
      }
    }
    const isUnstorable = head.worst === UNSTORABLE;
    if (isUnstorable && (connection.version !== V5 || (head.qos === 2 && head.wasTaken))) {
      // v3 has no code for a refusal, and a QoS 2 message that some have must keep its identifier: the client sends it again when it is back.
      head.session!.received?.remove(head.packetId);
      refuse(connection, ReasonCode.QuotaExceeded);
      return;
    }
    if (connection.version !== V5 && head.reason === ReasonCode.NotAuthorized && closesV3(connection)) {
      head.session!.received?.remove(head.packetId);
      refuse(connection, ReasonCode.NotAuthorized); // [MQTT-3.3.5-2]
      return;
    }
    acks.shift();
    const waited = (shard.timers.microseconds - head.begunAt) & MICROSECONDS_MASK;
    if (head.qos === 1) shard.measures.acknowledge1.add(waited);
    else shard.measures.acknowledge2.add(waited);
    if (head.qos === 2) {
      connection.pendingQos2--;
      forgetOrigin(shard, head);
    }
    if (shard.otlp !== null) shard.otlp.acknowledged(head, head.reason);
    acknowledge(connection, head.packetId, head.qos, head.reason, head.statuses, isUnstorable);
  }
}

function closesV3(connection: Connection): boolean {
  return connection.access !== null && connection.shard.authorization.closesV3;
}

/** The message of `earlier` has come again over a new connection before it was everywhere: its PUBREC waits for the same. */
export function follow(connection: Connection, earlier: PendingAck): void {
  const ack = new PendingAck(connection, null, earlier.packetId, 2, false);
  ack.isFollower = true;
  ack.isReceiptNoted = true;
  ack.remaining = 1;
  earlier.follower = ack;
  pushAck(connection, ack);
}

/** Whether the journal must learn of this QoS 2 message before its PUBREC leaves. */
function mustNote(ack: PendingAck): boolean {
  return ack.qos === 2 && !ack.isReceiptNoted && ack.session!.isStored && ack.reason < 0x80 && ack.session!.received!.has(ack.packetId);
}

/** The publisher has gone. Its session must know what it may send again, and a refused identifier must be free for that. */
function completeWithout(ack: PendingAck): void {
  const session = ack.session;
  if (session === null || ack.qos !== 2 || ack.isFollower || session.hasEnded || session.received === null) return;
  // A client that releases what was never acknowledged may have used the identifier for another message.
  if (session.received.openReceipt(ack.packetId) !== ack) return;
  const shard = ack.connection!.shard;
  if (ack.reason >= 0x80) session.received.remove(ack.packetId);
  else if (mustNote(ack)) {
    noteReceived(shard, session, ack.packetId);
    ack.isReceiptNoted = true;
    if (shard.journal.isGated) {
      ack.waitForStore(shard.journal);
      return;
    }
  }
  // Those who have it must know it again.
  if (ack.worst !== UNSTORABLE || !ack.wasTaken) forgetOrigin(shard, ack);
  session.received.closeOpen(ack.packetId);
  const { follower } = ack;
  if (follower === null) return;
  ack.follower = null;
  ack.tellFollower(follower);
  flushAcks(follower);
}

/** Other shards need not remember the message any more: this one does. */
function forgetOrigin(shard: Shard, ack: PendingAck): void {
  if (ack.peerMask === 0 || ack.session === null || !shard.journal.isOn) return;
  noteOriginDone(shard, ack.session.id, ack.packetId);
  shard.mesh.sendOriginDone(ack.peerMask, ack.session.id, ack.packetId);
}

/** Writes PUBACK or PUBREC. */
function acknowledge(
  connection: Connection,
  packetId: number,
  qos: number,
  reason: ReasonCode,
  statuses: string[] | null,
  isUnstorable: boolean,
): void {
  const type = qos === 1 ? PUBACK : PUBREC;
  // A PUBREC that refuses ends the exchange, and the identifier is free again (section 4.3.3).
  if (qos === 2 && reason >= 0x80 && connection.version === V5) connection.session!.received?.remove(packetId);
  if (connection.version !== V5 || (reason === ReasonCode.Success && statuses === null)) {
    const at = connection.reserve(4);
    writeAck(connection.output, at, type, packetId);
    return;
  }
  const shard = connection.shard;
  const writer = shard.packetScratch;
  writer.reset();
  writeAckDetail(writer, type, V5, packetId, reason, mayExplain(connection) ? details(reason, statuses, isUnstorable) : undefined);
  if (writer.at > connection.packetBytesMax) {
    writer.reset();
    writeAckDetail(writer, type, V5, packetId, reason, undefined); // [MQTT-3.4.2-3] [MQTT-3.5.2-3]
  }
  connection.send(writer.bytes, 0, writer.at);
}

/** What a refusal or a report adds to the reason code. */
function details(reason: ReasonCode, statuses: string[] | null, isUnstorable: boolean): Properties | undefined {
  if (statuses !== null) return statusProperties(statuses);
  if (isUnstorable) return explainUnstorable();
  return reason >= 0x80 ? explainPublish(reason) : undefined;
}

/** `p2p-status` User Properties; only for a publisher that asked. A target whose status is longer than a string of MQTT can be is left out. */
function statusProperties(statuses: string[] | null): Properties | undefined {
  if (statuses === null) return undefined;
  const userProperties: [string, string][] = [];
  for (let i = 0; i < statuses.length; i++) {
    if (utf8Length(statuses[i]!) <= RANGE16_BYTES_MAX) userProperties.push(['p2p-status', statuses[i]!]);
  }
  return { userProperties };
}
