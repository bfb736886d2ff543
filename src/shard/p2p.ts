/**
 * P2P: a PUBLISH to `{first}/p2p/{clientId}` goes to exactly that client. No subscription is read and no tree is asked: the Client Identifier in the topic is
 * hashed, the hash names the shard, and that is the one hop.
 *
 *   topic ── hash(clientId) ──▶ this shard: the target's session, directly
 *                          └──▶ another shard: one record on the ring, `deliverP2p` there
 *
 * `docs/p2p.md` is the contract. This file also serves the User Properties `p2p-target`, `p2p-report` and `p2p-receipt`, and the topic template.
 *
 * Hot path.
 */
import { NO_QUESTION, type TargetQuestion } from '../access/target-question.ts';
import { equalBytes, readText, utf8Bytes } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { copyPropertiesWithout, UserPropertyReader } from '../protocol/property.ts';
import { type MessageView, RECEIPT_NONE, RECEIPT_TO_TOPIC } from '../protocol/publish.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import { P2P_EMPTY_TARGET, P2P_TARGET, parseP2pTopic } from '../routing/p2p-address.ts';
import { shardOfSlot, slotOf } from '../routing/slot.ts';
import type { AskedTarget } from '../session/will.ts';
import { CONNECTED, type Connection } from './connection.ts';
import { counter } from './counters.ts';
import { deliver } from './deliver.ts';
import { hasTaken } from './durable.ts';
import { copyForObservers, hasObservers } from './observe.ts';
import { DELIVERED, DENIED, MAILBOX, NO_SESSION, OFFLINE, QUEUED } from './outcome.ts';
import { isReceiptKey, isReportKey, isTargetKey, RESERVED_PREFIX } from './p2p-request.ts';
import { beginP2p, endAddressed, endP2p, noteTarget } from './passing.ts';
import { receiptOf } from './receipt.ts';
import { RECORD_P2P } from './record.ts';
import type { ClientSession, Shard } from './shard.ts';
import { NO_TARGETS } from './tracing.ts';

const RECEIVED = counter('p2p/received');
const P2P_DELIVERED = counter('p2p/delivered');
const P2P_QUEUED = counter('p2p/queued');
const P2P_MAILBOX = counter('p2p/mailbox');
const NO_SESSIONS = counter('publish/dropped/no-session');
const OFFLINES = counter('publish/dropped/offline');

const DOLLAR = 0x24;

/** Payload bytes times targets that one PUBLISH may ask for. */
const TARGETS_BYTES_MAX = 16 * 1024 * 1024;

/** One hop of 64 is timed: 3 ns a message. */
const HOPS_MASK = 63;

const userProperties = new UserPropertyReader();
/** Targets named by `p2p-target`, as ranges of the property block: at, end, at, end … Grows to `p2p.maxTargets` pairs. */
const targetRanges: number[] = [];
/** What the target at hand must be asked. */
let question: TargetQuestion = NO_QUESTION;

/** Whether the topic of `view` is a P2P address here: NOT_P2P, P2P_TARGET or P2P_EMPTY_TARGET. Sets `shard.p2pAddress`. */
export function p2pKind(shard: Shard, view: MessageView): number {
  if (!shard.settings.p2p.enabled) return 0;
  const address = shard.p2pAddress;
  const kind = parseP2pTopic(address, view.topicBytes, view.topicAt, view.topicEnd);
  if (kind === 0 || !shard.p2pParents.accepts(view.topicBytes, address.firstAt, address.firstEnd)) return 0;
  return kind;
}

/**
 * Routes a P2P message; `shard.p2pAddress` holds its parsed topic and the outcome has been begun.
 * @param publisher who publishes; null when the broker does (a Will, a receipt)
 * @param publisherId its Client Identifier for the topic template, '' for the broker
 * @param connection of a publisher; null when the broker publishes
 * @param asked what targets must be asked where the broker publishes: a Will is judged when its client connects, but for these
 * @returns 0, or the reason code that refuses the PUBLISH whole
 */
export function routeP2p(
  shard: Shard,
  view: MessageView,
  kind: number,
  publisherId: string,
  connection: Connection | null,
  asked: readonly AskedTarget[],
): ReasonCode {
  const judged = connection === null || connection.access === null ? null : connection;
  shard.counters[RECEIVED]!++;
  shard.newMessage();
  if (shard.topicMeters !== null) shard.topicMeters.published(view);
  view.isRetained = false;
  targetRanges.length = 0;
  const rawProperties = view.propertyBytes;
  if (view.hasReservedUserProperties) {
    const code = readRequests(shard, view);
    if (code !== ReasonCode.Success) return code;
    if (view.receipt === RECEIPT_TO_TOPIC && judged !== null && !shard.authorization.mayHaveReceipt(judged, view))
      view.receipt = RECEIPT_NONE;
  }
  const address = shard.p2pAddress;
  if (kind === P2P_TARGET) {
    targetRanges.length = 0;
    const bytes = view.topicBytes;
    if (shard.isWatched) beginP2p(shard, view, connection, namesOf(shard, bytes, address.clientIdAt, address.clientIdEnd));
    if (isDenied(shard, view, judged, asked, bytes, address.clientIdAt, address.clientIdEnd)) {
      shard.forgetOrigin();
      return ReasonCode.Success;
    }
    const hash = hash32(bytes, address.clientIdAt, address.clientIdEnd);
    if (shard.isWatched) endAddressed(shard, view, address.clientIdEnd - address.clientIdAt, hash);
    if (shard.settings.p2p.topicTemplate === '{topic}') {
      routeToTarget(shard, view, bytes, address.clientIdAt, address.clientIdEnd, hash, true);
    } else {
      rewriteTopic(shard, view, bytes, address.clientIdAt, address.clientIdEnd, publisherId);
      routeToTarget(shard, view, bytes, address.clientIdAt, address.clientIdEnd, hash, false);
    }
  } else {
    if (kind !== P2P_EMPTY_TARGET || targetRanges.length === 0) {
      shard.counters[NO_SESSIONS]!++;
      return ReasonCode.TopicNameInvalid;
    }
    // Each target may need a copy of its own: one PUBLISH must not make hundreds of megabytes.
    if ((targetRanges.length / 2) * (view.payloadEnd - view.payloadAt) > TARGETS_BYTES_MAX) return ReasonCode.QuotaExceeded;
    const topicBytes = view.topicBytes;
    const topicAt = view.topicAt;
    const topicEnd = view.topicEnd;
    if (shard.isWatched) beginP2p(shard, view, connection, namesOf(shard, rawProperties, 0, 0));
    for (let i = 0; i < targetRanges.length; i += 2) {
      const at = targetRanges[i]!;
      const end = targetRanges[i + 1]!;
      if (isDenied(shard, view, judged, asked, rawProperties, at, end)) continue;
      const hash = hash32(rawProperties, at, end);
      if (shard.isWatched) noteTarget(shard, rawProperties, at, end);
      view.topicBytes = topicBytes;
      view.topicAt = topicAt;
      view.topicEnd = topicEnd;
      rewriteTopic(shard, view, rawProperties, at, end, publisherId);
      routeToTarget(shard, view, rawProperties, at, end, hash, false);
      // Each target may see a topic of its own.
      shard.newMessage();
    }
    if (shard.isWatched) {
      view.topicBytes = topicBytes;
      view.topicAt = topicAt;
      view.topicEnd = topicEnd;
      endP2p(shard, view);
    }
  }
  shard.newMessage();
  return ReasonCode.Success;
}

/**
 * Routes a message to one client, whatever its topic; the outcome has been begun.
 * @param connection of the publisher, in the broker itself
 * @param id UTF-8 of the target's Client Identifier
 * @returns 0, or the reason code that refuses the message
 */
export function routeToClient(shard: Shard, view: MessageView, connection: Connection, id: Uint8Array): ReasonCode {
  const judged = connection.access === null ? null : connection;
  shard.counters[RECEIVED]!++;
  shard.newMessage();
  view.isRetained = false;
  targetRanges.length = 0;
  if (view.hasReservedUserProperties) dropRequests(shard, view);
  const kind = p2pKind(shard, view);
  const { clientIdAt, clientIdEnd } = shard.p2pAddress;
  // An address of another client on it would deceive who reads it.
  if (kind === P2P_TARGET && !equalBytes(view.topicBytes, clientIdAt, clientIdEnd, id, 0, id.length)) return ReasonCode.TopicNameInvalid;
  // That is the broker's own voice (section 4.7.2).
  if (view.topicBytes[view.topicAt] === DOLLAR) return ReasonCode.NotAuthorized;
  // A topic of its own is judged too: its receiver may trust in who may publish there.
  if (kind === 0 && judged !== null && !shard.authorization.mayPublish(judged, view)) return ReasonCode.NotAuthorized;
  if (shard.isWatched) beginP2p(shard, view, connection, namesOf(shard, id, 0, id.length));
  if (isDenied(shard, view, judged, NOTHING_ASKED, id, 0, id.length)) return ReasonCode.Success;
  const hash = hash32(id, 0, id.length);
  if (shard.isWatched) {
    noteTarget(shard, id, 0, id.length);
    endP2p(shard, view);
  }
  if (kind !== 0) rewriteTopic(shard, view, id, 0, id.length, connection.session!.clientId);
  routeToTarget(shard, view, id, 0, id.length, hash, false);
  shard.newMessage();
  return ReasonCode.Success;
}

const NOTHING_ASKED: readonly AskedTarget[] = [];

/** The targets in words, where a trace looks for some: the one in the topic, or those of `targetRanges`. */
function namesOf(shard: Shard, bytes: Uint8Array, at: number, end: number): readonly string[] {
  if (shard.tracing === null) return NO_TARGETS;
  if (end > 0) return [readText(bytes, at, end)];
  const names: string[] = [];
  for (let i = 0; i < targetRanges.length; i += 2) names.push(readText(bytes, targetRanges[i]!, targetRanges[i + 1]!));
  return names;
}

/** Targets that the last message named by `p2p-target`; 0: it went to the one in its topic. */
export function targetCount(): number {
  return targetRanges.length / 2;
}

/** Whether the publisher may not send to this target, which is then noted as its result. Sets `question`. */
function isDenied(
  shard: Shard,
  view: MessageView,
  judged: Connection | null,
  asked: readonly AskedTarget[],
  id: Uint8Array,
  at: number,
  end: number,
): boolean {
  question = NO_QUESTION;
  if (judged === null) {
    for (let i = 0; i < asked.length; i++) {
      const { target } = asked[i]!;
      if (equalBytes(target, 0, target.length, id, at, end)) question = asked[i]!.question;
    }
    return false;
  }
  if (shard.authorization.mayPublishTo(judged, id, at, end, view.qos)) {
    question = shard.authorization.question;
    return false;
  }
  const { outcome } = shard;
  if (shard.tracing !== null) shard.tracing.received(view, 'dropped', readText(id, at, end), view.qos, 'not_authorized');
  if (outcome.wantsStatus) outcome.noteTarget(DENIED, readText(id, at, end));
  else outcome.note(DENIED);
  return true;
}

/** Reads the `p2p-…` User Properties and takes them out of what travels on. */
function readRequests(shard: Shard, view: MessageView): ReasonCode {
  const bytes = view.propertyBytes;
  userProperties.reset(bytes, view.propertiesAt, view.propertiesEnd);
  while (userProperties.next()) {
    const { valueAt, valueEnd } = userProperties;
    if (isTargetKey(bytes, userProperties)) {
      if (valueAt === valueEnd) return ReasonCode.TopicNameInvalid;
      if (targetRanges.length >= shard.settings.p2p.maxTargets * 2) return ReasonCode.QuotaExceeded;
      targetRanges.push(valueAt, valueEnd);
    } else if (isReportKey(bytes, userProperties)) shard.outcome.wantsStatus = view.qos > 0;
    // A receipt needs somewhere to go, and QoS 0 is told nothing.
    else if (isReceiptKey(bytes, userProperties) && view.receipt === RECEIPT_NONE && view.qos > 0 && view.hasResponseTopic)
      view.receipt = RECEIPT_TO_TOPIC;
  }
  dropRequests(shard, view);
  return ReasonCode.Success;
}

function dropRequests(shard: Shard, view: MessageView): void {
  const scratch = shard.p2pScratch;
  scratch.reset();
  copyPropertiesWithout(RESERVED_PREFIX, view.propertyBytes, view.propertiesAt, view.propertiesEnd, scratch);
  view.propertyBytes = scratch.bytes;
  view.propertiesAt = 0;
  view.propertiesEnd = scratch.at;
}

/** Sets the topic that the receiver sees. Cold: with the default template the topic stays as published; another one costs these strings per message. */
function rewriteTopic(shard: Shard, view: MessageView, idBytes: Uint8Array, idAt: number, idEnd: number, publisherId: string): void {
  const template = shard.settings.p2p.topicTemplate;
  if (template === '{topic}') return;
  const address = shard.p2pAddress;
  const topic = template
    .replaceAll('{topic}', () => readText(view.topicBytes, view.topicAt, view.topicEnd))
    .replaceAll('{first}', () => readText(view.topicBytes, address.firstAt, address.firstEnd))
    .replaceAll('{clientId}', () => readText(idBytes, idAt, idEnd))
    .replaceAll('{publisher}', () => publisherId);
  const bytes = utf8Bytes(topic);
  // A Client Identifier may hold what a topic must not; such a message keeps its own topic.
  if (bytes.length === 0 || bytes.length > 65_535 || topic.includes('+') || topic.includes('#')) return;
  view.topicBytes = bytes;
  view.topicAt = 0;
  view.topicEnd = bytes.length;
}

/** Sends to one target, here or on the shard that owns it. */
function routeToTarget(shard: Shard, view: MessageView, id: Uint8Array, at: number, end: number, hash: number, isInTopic: boolean): void {
  const owner = shardOfSlot(slotOf(hash), shard.shards);
  const outcome = shard.outcome;
  if (shard.tracing !== null) shard.tracing.routed(view, 1 << owner, readText(id, at, end));
  if (owner === shard.index) {
    // One target here: one commit holds it and the publisher's identifier.
    if (isInTopic) shard.forgetOrigin();
    const result = deliverP2p(shard, view, id, at, end, hash, question, 0, question.length);
    if (outcome.wantsStatus) outcome.noteTarget(result, readText(id, at, end));
    else outcome.note(result);
    return;
  }
  const fields = shard.recordFields;
  fields.topicHash = hash;
  fields.publisherHash = 0;
  if (isInTopic) {
    fields.number = at - view.topicAt;
    fields.extraAt = 0;
    fields.extraEnd = 0;
  } else {
    fields.number = 0;
    fields.extraBytes = id;
    fields.extraAt = at;
    fields.extraEnd = end;
  }
  fields.originId = shard.originId;
  fields.originPacketId = shard.originPacketId;
  // What comes from an HTTP caller is answered at QoS 0, too.
  const isTracked = outcome.qos > 0;
  const ack = isTracked ? outcome.expectAnswer(owner) : null;
  if (ack === null && !isTracked) outcome.note(DELIVERED);
  fields.question = question;
  fields.onlyConnected = outcome.onlyConnected;
  shard.mesh.sendMessage(owner, RECORD_P2P, view, fields, outcome.wantsStatus, ack, isTracked);
  if ((++shard.hopCount & HOPS_MASK) === 0) shard.mesh.sendProbe(owner, shard.timers.moment());
  fields.question = NO_QUESTION;
  fields.onlyConnected = false;
}

/**
 * Delivers to a client that this shard owns.
 * @param asks where in `asks[asksAt, asksEnd)` the question stands that it must be asked first; empty: none
 * @returns its result
 */
export function deliverP2p(
  shard: Shard,
  view: MessageView,
  id: Uint8Array,
  at: number,
  end: number,
  hash: number,
  asks: Uint8Array,
  asksAt: number,
  asksEnd: number,
): number {
  const session = shard.sessions.get(id, at, end, hash);
  if (asksAt < asksEnd && !hasBefore(shard, view, session)) {
    const attributes = session === undefined ? null : session.attributes;
    if (!shard.authorization.answer(asks, asksAt, asksEnd, attributes, id, at, end)) {
      if (shard.tracing !== null) shard.tracing.received(view, 'dropped', readText(id, at, end), view.qos, 'not_authorized');
      return DENIED;
    }
  }
  if (shard.outcome.onlyConnected && session?.connection?.state !== CONNECTED) return offline(shard, view, session, id, at, end);
  const result =
    session === undefined
      ? withoutSession(shard, view, id, at, end, hash)
      : deliver(shard, p2pReceiver(session), view, view.qos, false, null, 0, null);
  if (shard.topicMeters !== null) shard.topicMeters.given(view, result <= MAILBOX);
  if (result <= MAILBOX && hasObservers(shard)) copyForObservers(shard, view, id, at, end);
  if (result === DELIVERED) shard.counters[P2P_DELIVERED]!++;
  else if (result === QUEUED) shard.counters[P2P_QUEUED]!++;
  else if (view.receipt === RECEIPT_TO_TOPIC && result > MAILBOX)
    receiptOf(shard, shard.keep(view), readText(id, at, end), 'dropped', false);
  return result;
}

/** A message for a connected client only, which this one is not. */
function offline(shard: Shard, view: MessageView, session: ClientSession | undefined, id: Uint8Array, at: number, end: number): number {
  shard.counters[session === undefined ? NO_SESSIONS : OFFLINES]!++;
  if (shard.events.isWanted) shard.events.messageDropped(view, readText(id, at, end), session === undefined ? 'no_session' : 'offline');
  return session === undefined ? NO_SESSION : OFFLINE;
}

/** Whether the session has a message that is sent again: then it has been judged, and what the client is now says nothing about it. */
function hasBefore(shard: Shard, view: MessageView, session: ClientSession | undefined): boolean {
  return shard.mayBeKnown && session !== undefined && shard.originId !== 0 && view.qos > 0 && session.isStored && hasTaken(shard, session);
}

/** The session itself, or the part of its newest data stream where the client has asked for that. */
function p2pReceiver(session: ClientSession): ClientSession {
  const { connection } = session;
  if (connection === null || !connection.sendsP2pOnStreams || connection.streams === null) return session;
  return connection.streams.at(-1)?.session ?? session;
}

function withoutSession(shard: Shard, view: MessageView, id: Uint8Array, at: number, end: number, hash: number): number {
  if (view.qos > 0 && shard.settings.p2p.mailbox.enabled) {
    const result = shard.mailboxes.put(id, at, end, hash, view);
    if (result === MAILBOX) shard.counters[P2P_MAILBOX]!++;
    else if (shard.events.isWanted) shard.events.messageDropped(view, readText(id, at, end), 'queue_full');
    return result;
  }
  shard.counters[NO_SESSIONS]!++;
  if (shard.events.isWanted) shard.events.messageDropped(view, readText(id, at, end), 'no_session');
  return NO_SESSION;
}
