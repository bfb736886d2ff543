/**
 * PUBLISH from a client: the ordered checks, then the route, then the acknowledgement.
 *
 *   bytes → quota → view → alias → limits → (QoS 2: seen before?) → P2P or ordinary route → PUBACK / PUBREC, in the order of the PUBLISH packets
 *
 * Hot path.
 */
import type { SessionAccess } from '../access/session-access.ts';
import { hash32 } from '../base/hash.ts';
import { V5 } from '../protocol/packet-type.ts';
import { appendProperties, isPayloadUtf8, RECEIPT_NONE, readPublish } from '../protocol/publish.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import { topicLevels } from '../protocol/topic.ts';
import { ReceiveWindow } from '../session/receive-window.ts';
import { InboundAliases } from '../session/topic-alias.ts';
import type { AskedTarget } from '../session/will.ts';
import { acknowledgeInOrder, flushAcks, follow, pushAck } from './acks.ts';
import type { Connection } from './connection.ts';
import { counter } from './counters.ts';
import { noteOriginDone, noteReceived } from './durable.ts';
import { type Outcome, type PendingAck, UNSTORABLE } from './outcome.ts';
import { p2pKind, routeP2p, targetCount } from './p2p.ts';
import { ADMITTED, admitPublish, chargeTargets, DROPPED_OVER, HELD, HELD_BACK, REJECTED_OVER } from './quota-check.ts';
import { knownRoute, routeBy, routeMessage } from './route.ts';
import type { ClientSession, Shard } from './shard.ts';

const RECEIVED = counter('publish/received');
const NOT_AUTHORIZED = counter('publish/dropped/not-authorized');
const SCAN_REFUSED = counter('p2p/refused/scan');
const DOLLAR = 0x24;
const NOTHING_ASKED: readonly AskedTarget[] = [];

/** Handles a PUBLISH. @returns 0, or the reason code that ends the connection */
export function onPublish(connection: Connection, bytes: Uint8Array, first: number, at: number, end: number): ReasonCode {
  const shard = connection.shard;
  const view = shard.view;
  const session = connection.session!;
  const { quota } = connection;
  // Before anything is read: a packet that must wait is read again, whole.
  const verdict = quota === null ? ADMITTED : admitPublish(connection, quota, bytes, first, at, end);
  if (verdict === HELD) return HELD_BACK;
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
  view.receipt = RECEIPT_NONE;
  shard.counters[RECEIVED]!++;
  if (verdict === DROPPED_OVER) {
    shard.events.messageDropped(view, session.clientId, 'quota');
    return ReasonCode.Success;
  }
  if (view.qos === 0) {
    shard.outcome.begin(null, 0, 0);
    const refusal = routeAny(shard, connection, session);
    if (refusal !== ReasonCode.Success && shard.tracing !== null) noteRefused(shard, session, refusal);
    return ReasonCode.Success;
  }
  return onTrackedPublish(connection, shard, session, verdict);
}

/** QoS 1 and 2: quota, duplicates, route, acknowledgement. */
function onTrackedPublish(connection: Connection, shard: Shard, session: ClientSession, verdict: number): ReasonCode {
  const view = shard.view;
  const packetId = view.packetId;
  const qos = view.qos;
  const received = session.received;
  if (qos === 2 && received !== null && received.has(packetId)) {
    // Routed before: acknowledged again, not delivered again [MQTT-4.3.3-10]. A PUBREC that still waits for another shard comes by itself.
    if (isPending(connection, packetId)) return ReasonCode.Success;
    // Neither may it leave before the message is everywhere because the client has come back meanwhile.
    const open = received.openReceipt(packetId) as PendingAck | undefined;
    if (open !== undefined) {
      follow(connection, open);
      return ReasonCode.Success;
    }
    return acknowledgeInOrder(connection, packetId, 2, ReasonCode.Success, null, false);
  }
  if (connection.version === V5) {
    // A QoS 2 message that waits for its PUBREC stands in both lists and counts once.
    const open = (connection.acks === null ? 0 : connection.acks.count - connection.pendingQos2) + (received === null ? 0 : received.count);
    if (open >= shard.settings.mqtt.receiveMaximum) return ReasonCode.ReceiveMaximumExceeded; // [MQTT-3.3.4-7]
  }
  if (verdict === REJECTED_OVER) {
    shard.events.messageDropped(view, session.clientId, 'quota');
    return acknowledgeInOrder(connection, packetId, qos, ReasonCode.QuotaExceeded, null, false);
  }
  if (qos === 2 && session.isStored && shard.journal.isDegraded)
    return acknowledgeInOrder(connection, packetId, qos, ReasonCode.QuotaExceeded, null, true);
  if (qos === 2) {
    if (session.received === null) session.received = new ReceiveWindow();
    session.received.add(packetId);
  }
  const outcome = shard.outcome;
  outcome.begin(connection, packetId, qos);
  if (qos === 2 && shard.journal.isOn && (shard.shards > 1 || shard.origins.count > 0)) {
    // A part of a session gets a number when it needs one.
    if (session.id === 0) session.id = shard.nextSessionId();
    shard.originId = session.isStored ? session.id : -session.id;
    shard.originPacketId = packetId;
    shard.mayBeKnown = view.isDup;
    if (view.isDup) shard.givenNow.clear();
  }
  const refusal = routeAny(shard, connection, session);
  if (refusal !== ReasonCode.Success && shard.tracing !== null) noteRefused(shard, session, refusal);
  if (shard.originId !== 0) {
    // Only where other shards answer is there something to remember; alone, one commit holds everything.
    if (outcome.ack === null || outcome.ack.peerMask === 0) noteOriginDone(shard, session.id, packetId);
    else session.hasOrigins = true;
    shard.originId = 0;
  }
  let ack = outcome.ack;
  const reason = refusal !== ReasonCode.Success ? refusal : outcome.reason;
  if (reason === ReasonCode.NotAuthorized && connection.version !== V5 && connection.access !== null && shard.authorization.closesV3) {
    // What was never acknowledged is another message when its identifier comes again.
    if (qos === 2) session.received!.remove(packetId);
    return ReasonCode.NotAuthorized; // [MQTT-3.3.5-2]
  }
  if (qos === 2 && session.isStored && reason < 0x80 && (ack === null || ack.peerMask === 0)) {
    // Routed here alone: one commit holds both the deliveries and the identifier.
    noteReceived(shard, session, packetId);
    if (shard.journal.isGated) ack = outcome.expectStore(shard.journal);
    if (ack !== null) ack.isReceiptNoted = true;
  }
  if (ack !== null) {
    // Another shard or the disk answers first.
    mergeOutcome(ack, outcome);
    if (refusal !== ReasonCode.Success) ack.decided = refusal;
    pushAck(connection, ack);
    // A receiver cannot have acknowledged yet, but a target may be nobody: nothing is left to wait for.
    if (ack.remaining === 0) flushAcks(ack);
    return ReasonCode.Success;
  }
  return acknowledgeInOrder(connection, packetId, qos, reason, outcome.statuses, outcome.worst === UNSTORABLE);
}

/** A message that was not let in has no ID and no tag: only traces of its client hear of it. */
export function noteRefused(shard: Shard, session: ClientSession, code: ReasonCode): void {
  shard.tracing!.received(shard.view, 'dropped', session.clientId, shard.view.qos, refusalWord(code));
}

function refusalWord(code: ReasonCode): string {
  switch (code) {
    case ReasonCode.NotAuthorized:
      return 'not_authorized';
    case ReasonCode.QuotaExceeded:
      return 'quota';
    case ReasonCode.PayloadFormatInvalid:
      return 'payload_format';
    default:
      return 'topic';
  }
}

/** What was done here already counts for an acknowledgement that waits for others. */
export function mergeOutcome(ack: PendingAck, { wasTaken, taken, worst, statuses }: Outcome): void {
  if (wasTaken) {
    ack.wasTaken = true;
    ack.taken = taken;
  }
  if (worst > ack.worst) ack.worst = worst;
  if (statuses !== null && ack.statuses !== null) for (let i = 0; i < statuses.length; i++) ack.statuses.push(statuses[i]!);
}

/** Routes, and traces where that is asked for, the message that `shard.view` shows, P2P or ordinary; the outcome has been begun. @returns 0, or the reason code that refuses this one message */
export function routeAny(shard: Shard, connection: Connection, session: ClientSession): ReasonCode {
  const { view, otlp } = shard;
  if (connection.userProperties !== null) appendProperties(view, connection.userProperties, shard.propertyScratch);
  if (otlp === null) return routeKind(shard, connection, session);
  const span = otlp.published(view, session);
  const refusal = routeKind(shard, connection, session);
  if (span !== null) otlp.routed(span, refusal);
  return refusal;
}

/** P2P or ordinary. */
function routeKind(shard: Shard, connection: Connection, session: ClientSession): ReasonCode {
  const view = shard.view;
  if (view.payloadFormat === 1 && !isPayloadUtf8(view)) return ReasonCode.PayloadFormatInvalid;
  const kind = p2pKind(shard, view);
  if (kind !== 0) {
    const { misses } = connection.control ?? connection;
    if (misses?.isOver(shard.timers.now, shard.settings.p2p.missesPerMinute)) {
      shard.counters[SCAN_REFUSED]!++;
      return ReasonCode.QuotaExceeded;
    }
    const refusal = routeP2p(shard, view, kind, session.clientId, connection, NOTHING_ASKED);
    if (connection.quota !== null && targetCount() > 1) chargeTargets(connection.quota, targetCount() - 1);
    return refusal;
  }
  if (view.topicBytes[view.topicAt] === DOLLAR) {
    // `$SYS`, `$events` and `$share` are the broker's own; a client must not speak with its voice (section 4.7.2).
    shard.counters[NOT_AUTHORIZED]!++;
    return ReasonCode.NotAuthorized;
  }
  const levels = view.topicLevels > 0 ? view.topicLevels : topicLevels(view.topicBytes, view.topicAt, view.topicEnd);
  if (levels > shard.settings.limits.topicLevels) return ReasonCode.TopicNameInvalid;
  if (connection.access !== null) return routeJudged(shard, connection, session, connection.access);
  routeMessage(shard, view, session.root);
  return ReasonCode.Success;
}

/**
 * Routes an ordinary message if its client may publish it. A route that was allowed last time stands for its topic, so nothing is hashed or compared twice: of 100
 * publishers with 10 messages under way, one took 0.15 to 0.25 µs more than without statements, and takes 0.05 more (1.07 times, medians and lowest of 13 rounds).
 */
function routeJudged(shard: Shard, connection: Connection, session: ClientSession, access: SessionAccess): ReasonCode {
  const view = shard.view;
  const hash = hash32(view.topicBytes, view.topicAt, view.topicEnd);
  const route = knownRoute(shard, view, hash);
  if (route === undefined) {
    if (!shard.authorization.mayPublish(connection, view)) return ReasonCode.NotAuthorized;
    routeMessage(shard, view, session.root);
    return ReasonCode.Success;
  }
  if (!access.hasAllowed(route, view.qos, view.isRetained)) {
    if (!shard.authorization.mayPublish(connection, view)) return ReasonCode.NotAuthorized;
    // Not `access`, which may have been stale.
    connection.access!.allowed(route, view.qos, view.isRetained);
  }
  routeBy(shard, view, session.root, hash, route);
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
  return connection.inboundAliases.set(alias, topic, shard.settings.mqtt.topicAliasBytes) ? ReasonCode.Success : ReasonCode.QuotaExceeded;
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
