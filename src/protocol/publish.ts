/*
 * PUBLISH (MQTT 5, section 3.3). The broker sees a message as a MessageView: offsets into bytes that somebody else owns. Reading fills the
 * view's fields and makes nothing; writing builds a packet from a view. The readers and writers of whole PublishPackets at the end serve
 * the client's half and are not for the broker's path.
 *
 * What travels on is the raw property block without the three that belong to one connection or one moment: Topic Alias, Message Expiry
 * Interval and Subscription Identifier. They are fields here and are written anew for each receiver.
 *
 * Hot path.
 */

import {
  cloneBytes,
  copyBytes,
  copyViewed,
  isMqttUtf8,
  isUtf8,
  Reader,
  readText,
  readU16,
  readU32,
  utf8Length,
  type ViewedBytes,
  varintLength,
  viewOf,
  type Writer,
  writeU16,
  writeU32,
  writeVarint,
} from '../base/bytes.ts';
import { DUP_BIT, type ProtocolVersion, PUBLISH, RETAIN_BIT, V5 } from './packet-type.ts';
import { type Properties, PropertyId, propertiesLength, readProperties, skipProperty, writeProperties } from './property.ts';
import { ReasonCode } from './reason-code.ts';
import { scanTopic, TOPIC_EMPTY, TOPIC_WILDCARD } from './topic.ts';
import type { TraceTag } from './trace-tag.ts';

const NO_BYTES: Uint8Array = new Uint8Array(0);

/** Values of `MessageView.receipt`. */
export const RECEIPT_NONE = 0;
export const RECEIPT_TO_TOPIC = 1;
/** The first number of those who wait in the broker itself; only in memory, because none of them outlives the process. */
export const RECEIPT_TO_WAITER = 2;

/** A PUBLISH or a stored message seen as ranges of bytes; no strings, owns nothing, valid until its source buffer is reused. */
export class MessageView {
  qos = 0;
  isRetained = false;
  isDup = false;
  /** 0 at QoS 0. */
  packetId = 0;
  topicBytes: Uint8Array = NO_BYTES;
  topicAt = 0;
  topicEnd = 0;
  /** Levels of the topic; 0 when it is empty and the alias names it. */
  topicLevels = 0;
  /** The raw properties that travel on, in their order, without length in front. */
  propertyBytes: Uint8Array = NO_BYTES;
  propertiesAt = 0;
  propertiesEnd = 0;
  readonly payloadBytes: Uint8Array = NO_BYTES;
  /** Of `payloadBytes`, where they have one. */
  readonly payloadView: DataView | undefined = undefined;
  payloadAt = 0;
  payloadEnd = 0;
  /** Payload Format Indicator; it also stays among the raw properties. */
  payloadFormat = 0;
  /** Message Expiry Interval as received; -1 when there is none. */
  messageExpirySeconds = -1;
  /** 0 when there is none. */
  topicAlias = 0;
  /** Says that a User Property's key begins with `p2p-`: it is meant for the broker. */
  hasReservedUserProperties = false;
  /** Says that there is a Response Topic among the raw properties. */
  hasResponseTopic = false;
  /** Wall milliseconds at which the message expires; 0 never. Set by the broker, not by `readPublish`. */
  expiresAt = 0;
  /** Who hears what becomes of it in the end (P2P): nobody, the Response Topic, or from `RECEIPT_TO_WAITER` on the number of somebody in the broker who waits. Not set by `readPublish`. */
  receipt: number = RECEIPT_NONE;
  /** Null unless somebody traces the message. */
  trace: TraceTag | null = null;

  /** The payload is bytes[at, end). */
  setPayload(bytes: Uint8Array, at: number, end: number): void {
    this.payloadAt = at;
    this.payloadEnd = end;
    if (this.payloadBytes !== bytes) point(this, bytes);
  }
}

/** Only here are the two set, together: a view of other bytes would copy those. */
function point(view: { payloadBytes: Uint8Array; payloadView: DataView | undefined }, bytes: Uint8Array): void {
  view.payloadBytes = bytes;
  view.payloadView = viewOf(bytes);
}

// One bit for each property that may come once.
const SEEN_FORMAT = 1;
const SEEN_EXPIRY = 2;
const SEEN_CONTENT_TYPE = 4;
const SEEN_RESPONSE_TOPIC = 8;
const SEEN_CORRELATION = 16;
const SEEN_ALIAS = 32;

/**
 * Reads the body of a PUBLISH that came from a client.
 * @param view receives the fields; meaningless after a failure
 * @param at offset of the body, behind the fixed header; `end` is the end of the packet
 * @param scratch used only when the properties that travel on are not one piece; the view then points into it until it is used again
 * @returns 0, MalformedPacket, ProtocolError, TopicNameInvalid (wildcards; empty before MQTT 5) or TopicAliasInvalid (0)
 */
export function readPublish(
  view: MessageView,
  bytes: Uint8Array,
  at: number,
  end: number,
  firstByte: number,
  version: ProtocolVersion,
  scratch: Writer,
): ReasonCode {
  const qos = (firstByte >> 1) & 3;
  if (qos === 3) return ReasonCode.MalformedPacket; // [MQTT-3.3.1-4]
  const isDup = (firstByte & DUP_BIT) !== 0;
  if (isDup && qos === 0) return ReasonCode.MalformedPacket; // [MQTT-3.3.1-2]
  view.trace = null;
  view.qos = qos;
  view.isDup = isDup;
  view.isRetained = (firstByte & RETAIN_BIT) !== 0;

  if (at + 2 > end) return ReasonCode.MalformedPacket;
  const topicAt = at + 2;
  const topicEnd = topicAt + readU16(bytes, at);
  if (topicEnd > end) return ReasonCode.MalformedPacket;
  const levels = scanTopic(bytes, topicAt, topicEnd);
  if (levels < 0) return levels === TOPIC_WILDCARD ? ReasonCode.TopicNameInvalid : ReasonCode.MalformedPacket;
  view.topicBytes = bytes;
  view.topicAt = topicAt;
  view.topicEnd = topicEnd;
  view.topicLevels = levels;

  let next = topicEnd;
  view.packetId = 0;
  if (qos !== 0) {
    if (next + 2 > end) return ReasonCode.MalformedPacket;
    const packetId = readU16(bytes, next);
    if (packetId === 0) return ReasonCode.ProtocolError; // [MQTT-2.2.1-3]
    view.packetId = packetId;
    next += 2;
  }

  view.payloadFormat = 0;
  view.messageExpirySeconds = -1;
  view.topicAlias = 0;
  view.hasReservedUserProperties = false;
  view.hasResponseTopic = false;
  view.propertyBytes = bytes;
  view.propertiesAt = next;
  view.propertiesEnd = next;
  if (version === V5) {
    if (next >= end) return ReasonCode.MalformedPacket;
    // The length, nearly always one byte.
    let length = bytes[next++]!;
    if (length >= 0x80) {
      length &= 0x7f;
      let shift = 7;
      let byte = 0x80;
      while (byte >= 0x80) {
        if (next >= end || shift === 28) return ReasonCode.MalformedPacket;
        byte = bytes[next++]!;
        if (byte === 0) return ReasonCode.MalformedPacket; // [MQTT-1.5.5-1]
        length |= (byte & 0x7f) << shift;
        shift += 7;
      }
    }
    const propertiesEnd = next + length;
    if (propertiesEnd > end) return ReasonCode.MalformedPacket;
    view.propertiesAt = next;
    view.propertiesEnd = propertiesEnd;
    if (length !== 0) {
      const code = readPublishProperties(view, bytes, next, propertiesEnd, scratch);
      if (code !== ReasonCode.Success) return code;
    }
    next = propertiesEnd;
    if (levels === TOPIC_EMPTY && view.topicAlias === 0) return ReasonCode.ProtocolError;
  } else if (levels === TOPIC_EMPTY) return ReasonCode.TopicNameInvalid; // [MQTT-4.7.3-1]

  view.setPayload(bytes, next, end);
  return ReasonCode.Success;
}

function readPublishProperties(view: MessageView, bytes: Uint8Array, at: number, end: number, scratch: Writer): ReasonCode {
  let seen = 0;
  // What travels on so far is [keptAt, keptEnd), in one piece unless `hasHole`.
  let keptAt = -1;
  let keptEnd = at;
  let hasHole = false;
  let next = at;
  while (next < end) {
    const propertyAt = next;
    next = skipProperty(bytes, propertyAt, end);
    if (next < 0) return ReasonCode.MalformedPacket;
    const valueAt = propertyAt + 1;
    let bit = 0;
    let isKept = true;
    switch (bytes[propertyAt]) {
      case PropertyId.UserProperty: {
        const keyAt = valueAt + 2;
        const keyEnd = keyAt + readU16(bytes, valueAt);
        if (!isMqttUtf8(bytes, keyAt, keyEnd) || !isMqttUtf8(bytes, keyEnd + 2, next)) return ReasonCode.MalformedPacket;
        if (isReservedKey(bytes, keyAt, keyEnd)) view.hasReservedUserProperties = true;
        break;
      }
      case PropertyId.PayloadFormatIndicator:
        bit = SEEN_FORMAT;
        view.payloadFormat = bytes[valueAt]!;
        if (view.payloadFormat > 1) return ReasonCode.ProtocolError;
        break;
      case PropertyId.MessageExpiryInterval:
        bit = SEEN_EXPIRY;
        isKept = false;
        view.messageExpirySeconds = readU32(bytes, valueAt);
        break;
      case PropertyId.ContentType:
        bit = SEEN_CONTENT_TYPE;
        if (!isMqttUtf8(bytes, valueAt + 2, next)) return ReasonCode.MalformedPacket; // [MQTT-3.3.2-19]
        break;
      case PropertyId.ResponseTopic: {
        bit = SEEN_RESPONSE_TOPIC;
        const levels = scanTopic(bytes, valueAt + 2, next);
        if (levels === TOPIC_WILDCARD) return ReasonCode.TopicNameInvalid; // [MQTT-3.3.2-14]
        if (levels < 0) return ReasonCode.MalformedPacket; // [MQTT-3.3.2-13]
        view.hasResponseTopic = true;
        break;
      }
      case PropertyId.CorrelationData:
        bit = SEEN_CORRELATION;
        break;
      case PropertyId.TopicAlias:
        bit = SEEN_ALIAS;
        isKept = false;
        if ((seen & SEEN_ALIAS) === 0) view.topicAlias = readU16(bytes, valueAt);
        if (view.topicAlias === 0) return ReasonCode.TopicAliasInvalid; // [MQTT-3.3.2-8]
        break;
      case PropertyId.SubscriptionIdentifier:
        return ReasonCode.ProtocolError; // [MQTT-3.3.4-6]
      default:
        return ReasonCode.MalformedPacket;
    }
    if ((seen & bit) !== 0) return ReasonCode.ProtocolError;
    seen |= bit;
    if (isKept) {
      if (keptAt < 0) keptAt = propertyAt;
      else if (keptEnd !== propertyAt) hasHole = true;
      keptEnd = next;
    }
  }
  if (keptAt < 0) keptAt = keptEnd;
  if (hasHole) {
    copyKept(view, bytes, keptAt, keptEnd, scratch);
  } else {
    view.propertiesAt = keptAt;
    view.propertiesEnd = keptEnd;
  }
  return ReasonCode.Success;
}

// Joins the pieces that travel on. The block has been checked.
function copyKept(view: MessageView, bytes: Uint8Array, at: number, end: number, scratch: Writer): void {
  scratch.reset();
  scratch.room(end - at);
  let next = at;
  while (next < end) {
    const propertyAt = next;
    next = skipProperty(bytes, propertyAt, end);
    const id = bytes[propertyAt];
    if (id !== PropertyId.MessageExpiryInterval && id !== PropertyId.TopicAlias) scratch.raw(bytes, propertyAt, next);
  }
  view.propertyBytes = scratch.bytes;
  view.propertiesAt = 0;
  view.propertiesEnd = scratch.at;
}

/**
 * Adds encoded properties behind those that travel on.
 * @param scratch that of `readPublish`; the view points into it until it is used again
 */
export function appendProperties(view: MessageView, properties: Uint8Array, scratch: Writer): void {
  // What `readPublish` has put together there stays, and is added to.
  if (view.propertyBytes !== scratch.bytes) {
    scratch.reset();
    scratch.raw(view.propertyBytes, view.propertiesAt, view.propertiesEnd);
  }
  scratch.raw(properties, 0, properties.length);
  view.propertyBytes = scratch.bytes;
  view.propertiesAt = 0;
  view.propertiesEnd = scratch.at;
}

// `p2p-`
function isReservedKey(bytes: Uint8Array, at: number, end: number): boolean {
  return end - at >= 4 && bytes[at] === 0x70 && bytes[at + 1] === 0x32 && bytes[at + 2] === 0x70 && bytes[at + 3] === 0x2d;
}

/** Says whether the payload is what Payload Format Indicator 1 promises: UTF-8. True when nothing is promised. */
export function isPayloadUtf8(view: MessageView): boolean {
  return view.payloadFormat === 0 || isUtf8(view.payloadBytes, view.payloadAt, view.payloadEnd);
}

// Bytes of the property block of an outgoing packet, without its length in front.
function outgoingPropertiesLength(
  view: MessageView,
  subscriptionIds: Uint32Array | null,
  subscriptionIdCount: number,
  expirySeconds: number,
  topicAlias: number,
): number {
  let length = view.propertiesEnd - view.propertiesAt;
  if (expirySeconds >= 0) length += 5;
  if (topicAlias !== 0) length += 3;
  if (subscriptionIds !== null) {
    for (let i = 0; i < subscriptionIdCount; i++) length += 1 + varintLength(subscriptionIds[i]!);
  }
  return length;
}

function remainingLength(view: MessageView, version: ProtocolVersion, qos: number, properties: number, omitTopic: boolean): number {
  let length = 2 + (view.payloadEnd - view.payloadAt);
  if (!omitTopic) length += view.topicEnd - view.topicAt;
  if (qos !== 0) length += 2;
  if (version === V5) length += varintLength(properties) + properties;
  return length;
}

/**
 * Bytes of the whole packet that `writePublish` writes for the same arguments.
 * @param subscriptionIds the first `subscriptionIdCount` entries are sent; null for none
 * @param expirySeconds Message Expiry Interval to send, -1 for none
 * @param topicAlias 0 for none
 * @param omitTopic send an empty Topic Name, because the alias is known to the receiver
 */
export function publishLength(
  view: MessageView,
  version: ProtocolVersion,
  qos: number,
  subscriptionIds: Uint32Array | null,
  subscriptionIdCount: number,
  expirySeconds: number,
  topicAlias: number,
  omitTopic: boolean,
): number {
  const properties = version === V5 ? outgoingPropertiesLength(view, subscriptionIds, subscriptionIdCount, expirySeconds, topicAlias) : 0;
  const remaining = remainingLength(view, version, qos, properties, omitTopic);
  return 1 + varintLength(remaining) + remaining;
}

/**
 * Writes a PUBLISH. The target has room for `publishLength` bytes. Before MQTT 5, properties are left out.
 * @returns the offset behind the packet
 */
export function writePublish(
  target: ViewedBytes,
  at: number,
  view: MessageView,
  version: ProtocolVersion,
  qos: number,
  retain: boolean,
  dup: boolean,
  packetId: number,
  subscriptionIds: Uint32Array | null,
  subscriptionIdCount: number,
  expirySeconds: number,
  topicAlias: number,
  omitTopic: boolean,
): number {
  const properties = version === V5 ? outgoingPropertiesLength(view, subscriptionIds, subscriptionIdCount, expirySeconds, topicAlias) : 0;
  target[at] = (PUBLISH << 4) | (dup ? DUP_BIT : 0) | (qos << 1) | (retain ? RETAIN_BIT : 0);
  let next = writeVarint(target, at + 1, remainingLength(view, version, qos, properties, omitTopic));
  if (omitTopic) {
    next = writeU16(target, next, 0);
  } else {
    const topicLength = view.topicEnd - view.topicAt;
    next = writeU16(target, next, topicLength);
    copyBytes(target, next, view.topicBytes, view.topicAt, view.topicEnd);
    next += topicLength;
  }
  if (qos !== 0) next = writeU16(target, next, packetId);
  if (version === V5) {
    next = writeVarint(target, next, properties);
    if (properties !== 0) {
      if (expirySeconds >= 0) {
        target[next] = PropertyId.MessageExpiryInterval;
        next = writeU32(target, next + 1, expirySeconds);
      }
      if (topicAlias !== 0) {
        target[next] = PropertyId.TopicAlias;
        next = writeU16(target, next + 1, topicAlias);
      }
      if (subscriptionIds !== null) {
        for (let i = 0; i < subscriptionIdCount; i++) {
          target[next] = PropertyId.SubscriptionIdentifier;
          next = writeVarint(target, next + 1, subscriptionIds[i]!);
        }
      }
      if (view.propertiesEnd !== view.propertiesAt) {
        copyBytes(target, next, view.propertyBytes, view.propertiesAt, view.propertiesEnd);
        next += view.propertiesEnd - view.propertiesAt;
      }
    }
  }
  copyViewed(target, target.dataView, next, view.payloadBytes, view.payloadView, view.payloadAt, view.payloadEnd);
  return next + (view.payloadEnd - view.payloadAt);
}

/** Offset of the Packet Identifier in the PUBLISH of QoS 1 or 2 that begins at `at`. */
export function packetIdOffset(bytes: Uint8Array, at: number): number {
  let next = at + 1;
  while (bytes[next]! >= 0x80) next++;
  next++;
  return next + 2 + readU16(bytes, next);
}

/** Sets DUP in the PUBLISH that begins at `at`: it is sent again. [MQTT-3.3.1-1] */
export function setDup(bytes: Uint8Array, at: number): void {
  bytes[at]! |= DUP_BIT;
}

/** Writes another Packet Identifier into the PUBLISH of QoS 1 or 2 that begins at `at`. */
export function setPacketId(bytes: Uint8Array, at: number, packetId: number): void {
  writeU16(bytes, packetIdOffset(bytes, at), packetId);
}

/** A whole PUBLISH as the client's half sees it. */
export class PublishPacket {
  topic = '';
  qos = 0;
  retain = false;
  dup = false;
  packetId = 0;
  properties: Properties = {};
  payload: Uint8Array = NO_BYTES;
}

const reader = new Reader();

/** Reads the body of a PUBLISH from either side into a packet of its own. The client's half; not for the broker's path. */
export function readPublishPacket(
  packet: PublishPacket,
  bytes: Uint8Array,
  at: number,
  end: number,
  firstByte: number,
  version: ProtocolVersion,
): ReasonCode {
  packet.qos = (firstByte >> 1) & 3;
  packet.retain = (firstByte & RETAIN_BIT) !== 0;
  packet.dup = (firstByte & DUP_BIT) !== 0;
  if (packet.qos === 3 || (packet.dup && packet.qos === 0)) return ReasonCode.MalformedPacket;
  reader.reset(bytes, at, end);
  reader.range16();
  if (reader.failed) return ReasonCode.MalformedPacket;
  const levels = scanTopic(bytes, reader.rangeAt, reader.rangeEnd);
  if (levels < 0) return levels === TOPIC_WILDCARD ? ReasonCode.TopicNameInvalid : ReasonCode.MalformedPacket;
  packet.topic = readText(bytes, reader.rangeAt, reader.rangeEnd);
  packet.packetId = packet.qos === 0 ? 0 : reader.u16();
  if (reader.failed) return ReasonCode.MalformedPacket;
  if (packet.qos !== 0 && packet.packetId === 0) return ReasonCode.ProtocolError;
  packet.properties = {};
  if (version === V5) {
    const code = readProperties(reader, PUBLISH, packet.properties);
    if (code !== ReasonCode.Success) return code;
    if (levels === TOPIC_EMPTY && packet.properties.topicAlias === undefined) return ReasonCode.ProtocolError;
  } else if (levels === TOPIC_EMPTY) return ReasonCode.TopicNameInvalid;
  packet.payload = cloneBytes(bytes, reader.at, end);
  return ReasonCode.Success;
}

/** Writes a PUBLISH from a whole packet. The client's half; not for the broker's path. */
export function writePublishPacket(writer: Writer, packet: PublishPacket, version: ProtocolVersion): void {
  const properties = version === V5 ? propertiesLength(packet.properties) : 0;
  const remaining =
    2 +
    utf8Length(packet.topic) +
    (packet.qos === 0 ? 0 : 2) +
    (version === V5 ? varintLength(properties) + properties : 0) +
    packet.payload.length;
  writer.u8((PUBLISH << 4) | (packet.dup ? DUP_BIT : 0) | (packet.qos << 1) | (packet.retain ? RETAIN_BIT : 0));
  writer.varint(remaining);
  writer.utf8(packet.topic);
  if (packet.qos !== 0) writer.u16(packet.packetId);
  if (version === V5) writeProperties(writer, packet.properties);
  writer.raw(packet.payload, 0, packet.payload.length);
}
