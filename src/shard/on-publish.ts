/**
 * PUBLISH from a client: the ordered checks, then the route, then the acknowledgement.
 *
 *   bytes → view → alias → limits → (QoS 2: seen before?) → P2P or ordinary route → PUBACK / PUBREC, in the order of the PUBLISH packets
 *
 * Hot path.
 */
import { RANGE16_BYTES_MAX, utf8Length } from '../base/bytes.ts';
import { Fifo } from '../base/fifo.ts';
import { writeAck, writeAckDetail } from '../protocol/ack.ts';
import { PUBACK, PUBREC, V5 } from '../protocol/packet-type.ts';
import type { Properties } from '../protocol/property.ts';
import { isPayloadUtf8, readPublish } from '../protocol/publish.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import { topicLevels } from '../protocol/topic.ts';
import { ReceiveWindow } from '../session/receive-window.ts';
import { InboundAliases } from '../session/topic-alias.ts';
import type { Connection } from './connection.ts';
import { counter } from './counters.ts';
import { mayExplain } from './deliver.ts';
import { explainPublish } from './explain.ts';
import { PendingAck } from './outcome.ts';
import { p2pKind, routeP2p } from './p2p.ts';
import { routeMessage } from './route.ts';
import type { ClientSession, Shard } from './shard.ts';

const RECEIVED = counter('publish/received');
const NOT_AUTHORIZED = counter('publish/dropped/not-authorized');
const DOLLAR = 0x24;

/** Handles a PUBLISH. @returns 0, or the reason code that ends the connection */
export function onPublish(connection: Connection, bytes: Uint8Array, first: number, at: number, end: number): ReasonCode {
  const shard = connection.shard;
  const view = shard.view;
  const session = connection.session!;
  const code = readPublish(view, bytes, at, end, first, connection.version, shard.propertyScratch);
  if (code !== ReasonCode.Success) return code;
  const { mqtt } = shard.settings;
  if (view.topicAlias !== 0 || view.topicAt === view.topicEnd) {
    const aliasCode = resolveAlias(connection, shard);
    if (aliasCode !== ReasonCode.Success) return aliasCode;
  }
  if (view.qos > mqtt.maximumQos) return ReasonCode.QosNotSupported; // [MQTT-3.2.2-11]
  if (view.isRetained && !mqtt.retainAvailable) return ReasonCode.RetainNotSupported; // [MQTT-3.2.2-14]
  view.expiresAt = view.messageExpirySeconds < 0 ? 0 : shard.timers.now + view.messageExpirySeconds * 1000;
  view.wantsReceipt = false;
  shard.counters[RECEIVED]!++;
  if (view.qos === 0) {
    shard.outcome.begin(null, 0, 0);
    routeAny(shard, session);
    return ReasonCode.Success;
  }
  return onTrackedPublish(connection, shard, session);
}

/** QoS 1 and 2: quota, duplicates, route, acknowledgement. */
function onTrackedPublish(connection: Connection, shard: Shard, session: ClientSession): ReasonCode {
  const view = shard.view;
  const packetId = view.packetId;
  const qos = view.qos;
  const received = session.received;
  if (qos === 2 && received !== null && received.has(packetId)) {
    // Routed before: acknowledged again, not delivered again [MQTT-4.3.3-10]. A PUBREC that still waits for another shard comes by itself.
    if (!isPending(connection, packetId)) acknowledgeInOrder(connection, packetId, 2, ReasonCode.Success, null);
    return ReasonCode.Success;
  }
  if (connection.version === V5) {
    // A QoS 2 message that waits for its PUBREC stands in both lists and counts once.
    const open = (connection.acks === null ? 0 : connection.acks.count - connection.pendingQos2) + (received === null ? 0 : received.count);
    if (open >= shard.settings.mqtt.receiveMaximum) return ReasonCode.ReceiveMaximumExceeded; // [MQTT-3.3.4-7]
  }
  if (qos === 2) {
    if (session.received === null) session.received = new ReceiveWindow();
    session.received.add(packetId);
  }
  const outcome = shard.outcome;
  outcome.begin(connection, packetId, qos);
  const refusal = routeAny(shard, session);
  const ack = outcome.ack;
  if (ack !== null) {
    // Another shard answers first. What was done here already counts.
    mergeOutcome(ack, outcome.wasTaken, outcome.worst, outcome.statuses);
    pushAck(connection, ack);
  } else {
    const reason = refusal !== ReasonCode.Success ? refusal : outcome.reason;
    acknowledgeInOrder(connection, packetId, qos, reason, outcome.statuses);
  }
  return ReasonCode.Success;
}

function mergeOutcome(ack: PendingAck, wasTaken: boolean, worst: number, statuses: string[] | null): void {
  if (wasTaken) ack.wasTaken = true;
  if (worst > ack.worst) ack.worst = worst;
  if (statuses !== null && ack.statuses !== null) for (let i = 0; i < statuses.length; i++) ack.statuses.push(statuses[i]!);
}

/** P2P or ordinary. @returns 0, or the reason code that refuses this one PUBLISH */
function routeAny(shard: Shard, session: ClientSession): ReasonCode {
  const view = shard.view;
  if (view.payloadFormat === 1 && !isPayloadUtf8(view)) return ReasonCode.PayloadFormatInvalid;
  const kind = p2pKind(shard, view);
  if (kind !== 0) return routeP2p(shard, view, kind, session.clientId);
  if (view.topicBytes[view.topicAt] === DOLLAR) {
    // `$SYS`, `$events` and `$share` are the broker's own; a client must not speak with its voice (section 4.7.2).
    shard.counters[NOT_AUTHORIZED]!++;
    return ReasonCode.NotAuthorized;
  }
  const levels = view.topicLevels > 0 ? view.topicLevels : topicLevels(view.topicBytes, view.topicAt, view.topicEnd);
  if (levels > shard.settings.limits.topicLevels) return ReasonCode.TopicNameInvalid;
  routeMessage(shard, view, session);
  return ReasonCode.Success;
}

/** Learns or looks up a Topic Alias; the view shows the full topic afterwards. */
function resolveAlias(connection: Connection, shard: Shard): ReasonCode {
  const view = shard.view;
  const alias = view.topicAlias;
  if (alias === 0 || alias > shard.settings.mqtt.topicAliasMaximum) return ReasonCode.TopicAliasInvalid; // [MQTT-3.3.2-9]
  if (view.topicAt === view.topicEnd) {
    const topic = connection.inboundAliases === null ? undefined : connection.inboundAliases.get(alias);
    if (topic === undefined) return ReasonCode.ProtocolError;
    view.topicBytes = topic;
    view.topicAt = 0;
    view.topicEnd = topic.length;
    return ReasonCode.Success;
  }
  if (connection.inboundAliases === null) connection.inboundAliases = new InboundAliases();
  const topic = new Uint8Array(view.topicEnd - view.topicAt);
  for (let i = 0; i < topic.length; i++) topic[i] = view.topicBytes[view.topicAt + i]!;
  connection.inboundAliases.set(alias, topic);
  return ReasonCode.Success;
}

function isPending(connection: Connection, packetId: number): boolean {
  const acks = connection.acks;
  if (acks === null) return false;
  for (let i = 0; i < acks.count; i++) {
    const ack = acks.at(i)!;
    if (ack.qos === 2 && ack.packetId === packetId) return true;
  }
  return false;
}

function pushAck(connection: Connection, ack: PendingAck): void {
  if (connection.acks === null) connection.acks = new Fifo();
  connection.acks.push(ack);
  if (ack.qos === 2) connection.pendingQos2++;
}

/** Acknowledges now, or behind an earlier acknowledgement that waits [MQTT-4.6.0-2] [MQTT-4.6.0-3]. */
function acknowledgeInOrder(connection: Connection, packetId: number, qos: number, reason: ReasonCode, statuses: string[] | null): void {
  if (connection.acks === null || connection.acks.count === 0) {
    acknowledge(connection, packetId, qos, reason, statuses);
    return;
  }
  const ack = new PendingAck(connection, packetId, qos, false);
  ack.decided = reason;
  ack.statuses = statuses;
  pushAck(connection, ack);
}

/** One more shard has answered: sends what is complete at the front. */
export function flushAcks(ack: PendingAck): void {
  const connection = ack.connection;
  const acks = connection.acks;
  if (acks === null || connection.session === null) {
    // The publisher has gone. A refused QoS 2 identifier must be free for its resend, or that would be acknowledged unrouted.
    if (ack.qos === 2 && ack.remaining === 0 && ack.reason >= 0x80 && ack.session.received !== null)
      ack.session.received.remove(ack.packetId);
    return;
  }
  for (let head = acks.peek(); head !== undefined && head.remaining === 0; head = acks.peek()) {
    acks.shift();
    if (head.qos === 2) connection.pendingQos2--;
    acknowledge(connection, head.packetId, head.qos, head.reason, head.statuses);
  }
}

/** Writes PUBACK or PUBREC. */
function acknowledge(connection: Connection, packetId: number, qos: number, reason: ReasonCode, statuses: string[] | null): void {
  const type = qos === 1 ? PUBACK : PUBREC;
  // A PUBREC that refuses ends the exchange, and the identifier is free again (section 4.3.3).
  if (qos === 2 && reason >= 0x80 && connection.version === V5) connection.session!.received!.remove(packetId);
  if (connection.version !== V5 || (reason === ReasonCode.Success && statuses === null)) {
    const at = connection.reserve(4);
    writeAck(connection.output, at, type, packetId);
    return;
  }
  const shard = connection.shard;
  const writer = shard.packetScratch;
  writer.reset();
  writeAckDetail(writer, type, V5, packetId, reason, mayExplain(connection) ? details(reason, statuses) : undefined);
  if (writer.at > connection.packetBytesMax) {
    writer.reset();
    writeAckDetail(writer, type, V5, packetId, reason, undefined); // [MQTT-3.4.2-3] [MQTT-3.5.2-3]
  }
  connection.send(writer.bytes, 0, writer.at);
}

/** What a refusal or a report adds to the reason code. */
function details(reason: ReasonCode, statuses: string[] | null): Properties | undefined {
  if (statuses !== null) return statusProperties(statuses);
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
