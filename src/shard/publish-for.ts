/**
 * Publish for: a caller inside the broker (HTTP) publishes one message, by the same checks, statements, quotas and routes as a client's PUBLISH.
 *
 *   given message → view → congestion → quota → QoS, RETAIN → P2P or ordinary route → outcome, at once or from `Told`
 *
 * Two things differ from MQTT. A caller cannot be left unread, so what is over a quota is refused at every QoS. And it makes no handshake: a message of QoS 2 counts as one of
 * QoS 1 for its acknowledgement, while its receivers get it at QoS 2.
 *
 * Hot path.
 */
import { isMqttUtf8, Writer } from '../base/bytes.ts';
import { PropertyId } from '../protocol/property.ts';
import { appendProperties, isPayloadUtf8, RECEIPT_NONE } from '../protocol/publish.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import { scanTopic, TOPIC_MALFORMED } from '../protocol/topic.ts';
import { flushAcks } from './acks.ts';
import type { Connection } from './connection.ts';
import { counter } from './counters.ts';
import { mergeOutcome, noteRefused, routeAny } from './on-publish.ts';
import type { Told } from './outcome.ts';
import { routeToClient } from './p2p.ts';
import { admitGiven } from './quota-check.ts';
import type { Shard } from './shard.ts';

const RECEIVED = counter('publish/received');
const SCAN_REFUSED = counter('p2p/refused/scan');

const TEXT_BYTES_MAX = 65_535;

/** The outcome comes through `Told`. */
export const TOLD_LATER = -1;
/** The broker takes nothing now: the rings or the disk are behind. */
export const CONGESTED = -2;
/** A quota is used up. */
export const OVER_QUOTA = -3;
/** Too many messages of this caller went to clients that nobody knows. */
export const OVER_MISSES = -4;
/** A text among the properties is longer than MQTT allows, or holds U+0000. */
export const PROPERTY_INVALID = -5;

/** A message as a caller gives it. */
export interface GivenMessage {
  readonly topic: string;
  /** May be written over when the call has returned. */
  readonly payload: Uint8Array;
  readonly qos: number;
  readonly isRetained: boolean;
  /** Message Expiry Interval; -1: none. */
  readonly expirySeconds: number;
  /** Payload Format Indicator; -1: none. */
  readonly payloadFormat: number;
  /** '' for none, as the two that follow. */
  readonly contentType: string;
  readonly responseTopic: string;
  readonly correlationData: Uint8Array | null;
  readonly userProperties: readonly (readonly [key: string, value: string])[];
}

const topicWriter = new Writer(1024);
const propertyWriter = new Writer(1024);

/**
 * Publishes for a caller.
 * @param told hears the outcome where this returns TOLD_LATER; QoS 0 has none to wait for
 * @returns the reason code that a PUBACK would have, a number of those above that refuses the message, or TOLD_LATER. `shard.outcome` says more until the next message.
 */
export function publishFor(shard: Shard, connection: Connection, given: GivenMessage, told: Told): number {
  const refusal = begin(shard, connection, given);
  if (refusal !== ReasonCode.Success) return refusal;
  const { view, outcome } = shard;
  if (view.qos === 0) outcome.begin(null, 0, 0);
  else outcome.begin(connection, 0, 1);
  return end(shard, connection, routeAny(shard, connection, connection.session!), told);
}

/**
 * Sends to one client for a caller; the outcome is known at QoS 0, too.
 * @param id UTF-8 of the Client Identifier
 * @param receipt number of a waiter (`confirmations.ts`); 0: nobody waits for the client's acknowledgement
 * @returns as `publishFor`
 */
export function publishToClient(
  shard: Shard,
  connection: Connection,
  given: GivenMessage,
  id: Uint8Array,
  onlyConnected: boolean,
  receipt: number,
  told: Told,
): number {
  const refusal = begin(shard, connection, given);
  if (refusal !== ReasonCode.Success) return refusal;
  const { view, outcome } = shard;
  if (connection.misses?.isOver(shard.timers.now, shard.settings.p2p.missesPerMinute)) {
    shard.counters[SCAN_REFUSED]!++;
    return OVER_MISSES;
  }
  if (connection.userProperties !== null) appendProperties(view, connection.userProperties, propertyWriter);
  if (view.payloadFormat === 1 && !isPayloadUtf8(view)) return ReasonCode.PayloadFormatInvalid;
  outcome.begin(connection, 0, 1);
  outcome.wantsStatus = true;
  // At QoS 0 nothing waits for a client, so this tells more than "dropped".
  outcome.onlyConnected = onlyConnected || (view.qos === 0 && !shard.settings.queue.qos0);
  const { otlp } = shard;
  const span = otlp === null ? null : otlp.published(view, connection.session!);
  view.receipt = receipt;
  const code = routeToClient(shard, view, connection, id);
  view.receipt = RECEIPT_NONE;
  if (span !== null) otlp!.routed(span, code);
  return end(shard, connection, code, told);
}

/** Lets `shard.view` show the message, and asks whether it may come in. @returns 0, or what refuses it */
function begin(shard: Shard, connection: Connection, given: GivenMessage): number {
  const { mqtt } = shard.settings;
  if (shard.isCongested || !shard.isServing) return CONGESTED;
  const code = show(shard, given);
  if (code !== ReasonCode.Success) return code;
  const { view } = shard;
  if (view.qos > mqtt.maximumQos) return ReasonCode.QosNotSupported;
  if (view.isRetained && !mqtt.retainAvailable) return ReasonCode.RetainNotSupported;
  shard.counters[RECEIVED]!++;
  if (connection.quota !== null) {
    const cost = view.topicEnd + (view.propertiesEnd - view.propertiesAt) + view.payloadEnd;
    if (!admitGiven(connection, connection.quota, view.qos, cost)) {
      shard.events.messageDropped(view, connection.session!.clientId, 'quota');
      return OVER_QUOTA;
    }
  }
  return ReasonCode.Success;
}

/** The message has been routed. */
function end(shard: Shard, connection: Connection, refusal: ReasonCode, told: Told): number {
  const { outcome } = shard;
  if (refusal !== ReasonCode.Success && shard.tracing !== null) noteRefused(shard, connection.session!, refusal);
  const { ack } = outcome;
  if (ack === null) return refusal !== ReasonCode.Success ? refusal : outcome.reason;
  // Not before: an answer of this very turn must not count as the last one while other targets are still asked.
  mergeOutcome(ack, outcome);
  if (refusal !== ReasonCode.Success) ack.decided = refusal;
  ack.told = told;
  if (ack.remaining === 0) flushAcks(ack);
  return TOLD_LATER;
}

function show(shard: Shard, given: GivenMessage): number {
  const { view } = shard;
  const { topic, payload } = given;
  if (topic.length > TEXT_BYTES_MAX) return ReasonCode.TopicNameInvalid;
  topicWriter.reset();
  topicWriter.text(topic);
  const levels = scanTopic(topicWriter.bytes, 0, topicWriter.at);
  if (levels <= TOPIC_MALFORMED || levels === 0 || topicWriter.at > TEXT_BYTES_MAX) return ReasonCode.TopicNameInvalid;
  if (levels > shard.settings.limits.topicLevels) return ReasonCode.TopicNameInvalid;
  view.qos = given.qos;
  view.isDup = false;
  view.trace = null;
  view.packetId = 0;
  view.isRetained = given.isRetained;
  view.topicBytes = topicWriter.bytes;
  view.topicAt = 0;
  view.topicEnd = topicWriter.at;
  view.topicLevels = levels;
  view.topicAlias = 0;
  view.setPayload(payload, 0, payload.length);
  view.payloadFormat = given.payloadFormat === 1 ? 1 : 0;
  view.messageExpirySeconds = given.expirySeconds;
  view.expiresAt = given.expirySeconds < 0 ? 0 : shard.timers.now + given.expirySeconds * 1000;
  view.receipt = RECEIPT_NONE;
  view.hasReservedUserProperties = false;
  view.hasResponseTopic = given.responseTopic !== '';
  propertyWriter.reset();
  if (given.payloadFormat >= 0) {
    propertyWriter.u8(PropertyId.PayloadFormatIndicator);
    propertyWriter.u8(given.payloadFormat);
  }
  if (given.contentType !== '' && !writeText(PropertyId.ContentType, given.contentType)) return PROPERTY_INVALID;
  if (given.responseTopic !== '' && !writeResponseTopic(given.responseTopic)) return PROPERTY_INVALID;
  if (given.correlationData !== null) {
    if (given.correlationData.length > TEXT_BYTES_MAX) return PROPERTY_INVALID;
    propertyWriter.u8(PropertyId.CorrelationData);
    propertyWriter.binary(given.correlationData);
  }
  const { userProperties } = given;
  for (let i = 0; i < userProperties.length; i++) {
    const [key, value] = userProperties[i]!;
    if (!writeText(PropertyId.UserProperty, key) || !writeText(0, value)) return PROPERTY_INVALID;
    if (key.startsWith('p2p-')) view.hasReservedUserProperties = true;
  }
  view.propertyBytes = propertyWriter.bytes;
  view.propertiesAt = 0;
  view.propertiesEnd = propertyWriter.at;
  return ReasonCode.Success;
}

/** One UTF-8 Encoded String of a property. @param id 0: it goes on with the one before. @returns whether MQTT can hold it */
function writeText(id: number, text: string): boolean {
  if (text.length > TEXT_BYTES_MAX) return false;
  if (id !== 0) propertyWriter.u8(id);
  const at = propertyWriter.at;
  propertyWriter.u16(0);
  propertyWriter.text(text);
  const length = propertyWriter.at - at - 2;
  if (length > TEXT_BYTES_MAX || !isMqttUtf8(propertyWriter.bytes, at + 2, propertyWriter.at)) return false;
  propertyWriter.bytes[at] = length >>> 8;
  propertyWriter.bytes[at + 1] = length;
  return true;
}

function writeResponseTopic(topic: string): boolean {
  return !topic.includes('+') && !topic.includes('#') && writeText(PropertyId.ResponseTopic, topic);
}
