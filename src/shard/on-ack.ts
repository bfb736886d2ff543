/**
 * PUBACK, PUBREC, PUBREL and PUBCOMP from a client: both QoS state machines on one page.
 *
 *   to the client, QoS 1:   PUBLISH → PUBACK                          window entry gone at PUBACK
 *   to the client, QoS 2:   PUBLISH → PUBREC → PUBREL → PUBCOMP       message the client's at PUBREC, entry gone at PUBCOMP
 *   from the client, QoS 2: PUBREL → PUBCOMP                          identifier free again
 *
 * Hot path.
 */

import { readAck, writeAck, writeAckDetail } from '../protocol/ack.ts';
import { PUBACK, PUBCOMP, PUBREC, PUBREL, V5 } from '../protocol/packet-type.ts';
import { RECEIPT_NONE } from '../protocol/publish.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import { INFLIGHT_FREE, INFLIGHT_QOS1, INFLIGHT_QOS2, INFLIGHT_RELEASED } from '../session/inflight.ts';
import type { Connection } from './connection.ts';
import { removeInflight, restoreQuota } from './deliver.ts';
import { noteReceivedEnd, noteReleased, noteSettled } from './durable.ts';
import { receiptOf } from './receipt.ts';
import type { ClientSession, Shard } from './shard.ts';

export function onPuback(connection: Connection, bytes: Uint8Array, at: number, end: number): ReasonCode {
  const shard = connection.shard;
  const code = readAck(shard.ackView, PUBACK, bytes, at, end, connection.version);
  if (code !== ReasonCode.Success) return code;
  const session = connection.session!;
  const packetId = shard.ackView.packetId;
  const state = session.inflight === null ? INFLIGHT_FREE : session.inflight.state(packetId);
  // An identifier that is not in flight may be a late answer to an earlier connection: nothing to do.
  if (state === INFLIGHT_FREE) return ReasonCode.Success;
  if (state !== INFLIGHT_QOS1) return ReasonCode.ProtocolError;
  settle(shard, session, packetId, shard.ackView.reasonCode < 0x80 ? 'acknowledged' : 'dropped');
  restoreQuota(shard, session, connection);
  askForMore(shard, connection);
  return ReasonCode.Success;
}

export function onPubrec(connection: Connection, bytes: Uint8Array, at: number, end: number): ReasonCode {
  const shard = connection.shard;
  const code = readAck(shard.ackView, PUBREC, bytes, at, end, connection.version);
  if (code !== ReasonCode.Success) return code;
  const session = connection.session!;
  const inflight = session.inflight;
  const packetId = shard.ackView.packetId;
  const state = inflight === null ? INFLIGHT_FREE : inflight.state(packetId);
  if (state === INFLIGHT_QOS1) return ReasonCode.ProtocolError;
  if (state === INFLIGHT_QOS2 && shard.ackView.reasonCode >= 0x80) {
    // The client refuses the message: the exchange ends here [MQTT-4.9.0-2].
    settle(shard, session, packetId, 'dropped');
    restoreQuota(shard, session, connection);
    askForMore(shard, connection);
    return ReasonCode.Success;
  }
  if (state === INFLIGHT_FREE) {
    if (shard.ackView.reasonCode >= 0x80) return ReasonCode.Success;
    answer(connection, PUBREL, packetId, ReasonCode.PacketIdentifierNotFound);
    return ReasonCode.Success;
  }
  if (state !== INFLIGHT_RELEASED) noteReleased(shard, session, inflight!.delivery(packetId), connection);
  inflight!.release(packetId);
  answer(connection, PUBREL, packetId, ReasonCode.Success); // [MQTT-4.3.3-4]
  return ReasonCode.Success;
}

export function onPubcomp(connection: Connection, bytes: Uint8Array, at: number, end: number): ReasonCode {
  const shard = connection.shard;
  const code = readAck(shard.ackView, PUBCOMP, bytes, at, end, connection.version);
  if (code !== ReasonCode.Success) return code;
  const session = connection.session!;
  const packetId = shard.ackView.packetId;
  const state = session.inflight === null ? INFLIGHT_FREE : session.inflight.state(packetId);
  if (state === INFLIGHT_FREE) return ReasonCode.Success;
  if (state !== INFLIGHT_RELEASED) return ReasonCode.ProtocolError;
  settle(shard, session, packetId, 'acknowledged');
  restoreQuota(shard, session, connection);
  askForMore(shard, connection);
  return ReasonCode.Success;
}

export function onPubrel(connection: Connection, bytes: Uint8Array, at: number, end: number): ReasonCode {
  const shard = connection.shard;
  const code = readAck(shard.ackView, PUBREL, bytes, at, end, connection.version);
  if (code !== ReasonCode.Success) return code;
  const packetId = shard.ackView.packetId;
  const session = connection.session!;
  const received = session.received;
  if (received?.isStored(packetId)) noteReceivedEnd(shard, session, packetId, connection);
  const wasKnown = received?.remove(packetId);
  answer(connection, PUBCOMP, packetId, wasKnown ? ReasonCode.Success : ReasonCode.PacketIdentifierNotFound); // [MQTT-4.3.3-11]
  return ReasonCode.Success;
}

/** The exchange of `packetId` is over: its place in the window is free, its sender gets the receipt. */
function settle(shard: Shard, session: ClientSession, packetId: number, status: string): void {
  const inflight = session.inflight!;
  const delivery = removeInflight(shard, inflight, packetId);
  if (delivery !== null) noteSettled(shard, session.root, delivery);
  if (shard.otlp !== null) shard.otlp.settled(session, packetId, status);
  if (delivery !== null && shard.tracing !== null) {
    shard.tracing.recognize(delivery.message);
    shard.tracing.settled(delivery.message, session.clientId, delivery.qos, status);
  }
  if (delivery !== null && delivery.message.receipt !== RECEIPT_NONE)
    receiptOf(shard, delivery.message, session.clientId, status, session.root.isStored);
}

/** Retained messages wait until the client has taken what it got. */
function askForMore(shard: Shard, connection: Connection): void {
  if (connection.retainedQueries !== null && connection.retainedQueries.size > 0) shard.dirtyQueries.push(connection);
}

function answer(connection: Connection, type: number, packetId: number, code: ReasonCode): void {
  if (code === ReasonCode.Success || connection.version !== V5) {
    const at = connection.reserve(4);
    writeAck(connection.output, at, type, packetId);
    return;
  }
  const writer = connection.shard.packetScratch;
  writer.reset();
  writeAckDetail(writer, type, V5, packetId, code, undefined);
  connection.send(writer.bytes, 0, writer.at);
}
