/*
 * CONNECT and CONNACK (MQTT 5, sections 3.1 and 3.2; MQTT 3.1 and 3.1.1 alike). Reading answers with a reason code and, also on failure,
 * with the version that the client spoke, because the CONNACK that refuses it has to be in that version. What is read owns its bytes.
 * Whether a client may connect is not decided here.
 */

import { cloneBytes, isMqttUtf8, Reader, readText, utf8Length, varintLength, Writer } from '../base/bytes.ts';
import { CONNACK, CONNECT, firstByte, type ProtocolVersion, V5, V31, V311 } from './packet-type.ts';
import { type Properties, propertiesLength, readProperties, WILL, writeProperties } from './property.ts';
import type { MessageView } from './publish.ts';
import { connackReturnCode, ReasonCode } from './reason-code.ts';
import { scanTopic, TOPIC_MALFORMED } from './topic.ts';

/** The Will Message of a CONNECT. */
export interface WillPacket {
  topic: string;
  topicBytes: Uint8Array;
  payload: Uint8Array;
  qos: number;
  retain: boolean;
  /** Will Properties, Will Delay Interval among them. */
  properties: Properties;
}

/** A CONNECT; owns its bytes. */
export interface ConnectPacket {
  version: ProtocolVersion;
  /** Clean Session before MQTT 5. */
  cleanStart: boolean;
  /** 0 switches Keep Alive off. */
  keepAliveSeconds: number;
  /** Empty when the server has to assign one. */
  clientId: string;
  clientIdBytes: Uint8Array;
  will: WillPacket | undefined;
  username: string | undefined;
  password: Uint8Array | undefined;
  properties: Properties;
}

/** What became of reading a CONNECT. */
export interface ConnectResult {
  code: ReasonCode;
  /** The version whose CONNACK the client understands; 0 when its protocol name is none of ours, so that there is nothing to answer. */
  version: ProtocolVersion | 0;
  /** Present when `code` is 0. */
  packet: ConnectPacket | undefined;
}

const USERNAME_BIT = 0x80;
const PASSWORD_BIT = 0x40;
const WILL_RETAIN_BIT = 0x20;
const WILL_QOS_BITS = 0x18;
const WILL_BIT = 0x04;
const CLEAN_START_BIT = 0x02;
const RESERVED_BIT = 0x01;

const reader = new Reader();

function failure(code: ReasonCode, version: ProtocolVersion | 0): ConnectResult {
  return { code, version, packet: undefined };
}

/**
 * Reads the body of a CONNECT, of any version.
 * @param at offset of the body; `end` is the end of the packet
 * @returns `code` 0 with the packet, or MalformedPacket, ProtocolError, UnsupportedProtocolVersion, ClientIdentifierNotValid (an empty one
 * where the version forbids it [MQTT-3.1.3-8]), TopicNameInvalid (Will Topic)
 */
export function readConnect(bytes: Uint8Array, at: number, end: number): ConnectResult {
  reader.reset(bytes, at, end);
  reader.range16();
  if (reader.failed) return failure(ReasonCode.MalformedPacket, 0);
  const name = reader.rangeEnd - reader.rangeAt <= 6 ? readText(bytes, reader.rangeAt, reader.rangeEnd) : '';
  const level = reader.u8();
  if (name !== 'MQTT' && name !== 'MQIsdp') return failure(ReasonCode.UnsupportedProtocolVersion, 0); // [MQTT-3.1.2-1]
  if (reader.failed) return failure(ReasonCode.MalformedPacket, 0);
  if (name === 'MQIsdp') {
    if (level !== V31) return failure(ReasonCode.UnsupportedProtocolVersion, V31);
    return readConnectBody(V31);
  }
  if (level === V311 || level === V5) return readConnectBody(level);
  return failure(ReasonCode.UnsupportedProtocolVersion, level > V5 ? V5 : V311); // [MQTT-3.1.2-2]
}

// From the Connect Flags to the end, with `reader` standing there.
function readConnectBody(version: ProtocolVersion): ConnectResult {
  const flags = reader.u8();
  const keepAliveSeconds = reader.u16();
  if (reader.failed || !hasValidConnectFlags(flags, version)) return failure(ReasonCode.MalformedPacket, version);
  const cleanStart = (flags & CLEAN_START_BIT) !== 0;
  const properties: Properties = {};
  if (version === V5) {
    const code = readProperties(reader, CONNECT, properties);
    if (code !== ReasonCode.Success) return failure(code, version);
    // Authentication Data without Authentication Method is a Protocol Error (section 3.1.2.11.10).
    if (properties.authenticationData !== undefined && properties.authenticationMethod === undefined) {
      return failure(ReasonCode.ProtocolError, version);
    }
  }
  const clientIdBytes = readTextBytes();
  if (clientIdBytes === undefined) return failure(ReasonCode.MalformedPacket, version); // [MQTT-3.1.3-4]
  const clientId = readText(clientIdBytes, 0, clientIdBytes.length);

  let will: WillPacket | undefined;
  if ((flags & WILL_BIT) !== 0) {
    const read = readWill(flags, version);
    if (typeof read === 'number') return failure(read, version);
    will = read;
  }

  let username: string | undefined;
  if ((flags & USERNAME_BIT) !== 0) {
    const usernameBytes = readTextBytes();
    if (usernameBytes === undefined) return failure(ReasonCode.MalformedPacket, version); // [MQTT-3.1.3-12]
    username = readText(usernameBytes, 0, usernameBytes.length);
  }
  let password: Uint8Array | undefined;
  if ((flags & PASSWORD_BIT) !== 0) {
    reader.range16();
    if (reader.failed) return failure(ReasonCode.MalformedPacket, version);
    password = cloneBytes(reader.bytes, reader.rangeAt, reader.rangeEnd);
  }
  if (reader.at !== reader.end) return failure(ReasonCode.MalformedPacket, version);
  // An empty Client Identifier asks the server for one, and only a session that ends with the connection may do so before MQTT 5.
  if (clientId.length === 0 && (version === V31 || (version === V311 && !cleanStart))) {
    return failure(ReasonCode.ClientIdentifierNotValid, version); // [MQTT-3.1.3-8]
  }
  return {
    code: ReasonCode.Success,
    version,
    packet: { version, cleanStart, keepAliveSeconds, clientId, clientIdBytes, will, username, password, properties },
  };
}

function hasValidConnectFlags(flags: number, version: ProtocolVersion): boolean {
  if ((flags & RESERVED_BIT) !== 0 && version !== V31) return false; // [MQTT-3.1.2-3]
  if ((flags & WILL_BIT) === 0) {
    if ((flags & (WILL_QOS_BITS | WILL_RETAIN_BIT)) !== 0) return false; // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
  } else if ((flags & WILL_QOS_BITS) === WILL_QOS_BITS) return false; // [MQTT-3.1.2-12]
  // MQTT 5 allows a password alone; the versions before do not. [MQTT-3.1.2-22]
  return version === V5 || (flags & PASSWORD_BIT) === 0 || (flags & USERNAME_BIT) !== 0;
}

// A UTF-8 Encoded String as bytes of its own; undefined when it does not fit or is not MQTT's UTF-8.
function readTextBytes(): Uint8Array | undefined {
  reader.range16();
  if (reader.failed || !isMqttUtf8(reader.bytes, reader.rangeAt, reader.rangeEnd)) return undefined;
  return cloneBytes(reader.bytes, reader.rangeAt, reader.rangeEnd);
}

function readWill(flags: number, version: ProtocolVersion): WillPacket | ReasonCode {
  const properties: Properties = {};
  if (version === V5) {
    const code = readProperties(reader, WILL, properties);
    if (code !== ReasonCode.Success) return code;
  }
  reader.range16();
  if (reader.failed) return ReasonCode.MalformedPacket;
  const levels = scanTopic(reader.bytes, reader.rangeAt, reader.rangeEnd);
  if (levels <= 0) return levels === TOPIC_MALFORMED ? ReasonCode.MalformedPacket : ReasonCode.TopicNameInvalid; // [MQTT-3.1.3-11]
  const topicBytes = cloneBytes(reader.bytes, reader.rangeAt, reader.rangeEnd);
  reader.range16();
  if (reader.failed) return ReasonCode.MalformedPacket;
  return {
    topic: readText(topicBytes, 0, topicBytes.length),
    topicBytes,
    payload: cloneBytes(reader.bytes, reader.rangeAt, reader.rangeEnd),
    qos: (flags & WILL_QOS_BITS) >> 3,
    retain: (flags & WILL_RETAIN_BIT) !== 0,
    properties,
  };
}

/** Lets a view show a Will Message as if it had been published. Its raw properties are made anew, owned by the view alone. */
export function viewWill(view: MessageView, will: WillPacket): void {
  view.qos = will.qos;
  view.isRetained = will.retain;
  view.isDup = false;
  view.packetId = 0;
  view.topicBytes = will.topicBytes;
  view.topicAt = 0;
  view.topicEnd = will.topicBytes.length;
  view.topicLevels = Math.max(scanTopic(will.topicBytes, 0, will.topicBytes.length), 0);
  view.setPayload(will.payload, 0, will.payload.length);
  view.payloadFormat = will.properties.payloadFormatIndicator ?? 0;
  view.messageExpirySeconds = will.properties.messageExpiryInterval ?? -1;
  view.topicAlias = 0;
  view.hasReservedUserProperties = will.properties.userProperties?.some(([key]) => key.startsWith('p2p-')) ?? false;
  view.hasResponseTopic = will.properties.responseTopic !== undefined;
  const travelling: Properties = { ...will.properties, willDelayInterval: undefined, messageExpiryInterval: undefined };
  const length = propertiesLength(travelling);
  const writer = new Writer(4 + length);
  writeProperties(writer, travelling);
  view.propertyBytes = writer.bytes;
  view.propertiesAt = writer.at - length;
  view.propertiesEnd = writer.at;
}

/** Writes a CONNECT. The client's half. */
export function writeConnect(writer: Writer, packet: ConnectPacket): void {
  const { version, will } = packet;
  const isV5 = version === V5;
  const name = version === V31 ? 'MQIsdp' : 'MQTT';
  const properties = propertiesLength(packet.properties);
  let remaining = 2 + name.length + 1 + 1 + 2 + 2 + packet.clientIdBytes.length;
  if (isV5) remaining += varintLength(properties) + properties;
  let flags = packet.cleanStart ? CLEAN_START_BIT : 0;
  if (will !== undefined) {
    const willProperties = propertiesLength(will.properties);
    if (isV5) remaining += varintLength(willProperties) + willProperties;
    remaining += 2 + will.topicBytes.length + 2 + will.payload.length;
    flags |= WILL_BIT | (will.qos << 3) | (will.retain ? WILL_RETAIN_BIT : 0);
  }
  if (packet.username !== undefined) {
    remaining += 2 + utf8Length(packet.username);
    flags |= USERNAME_BIT;
  }
  if (packet.password !== undefined) {
    remaining += 2 + packet.password.length;
    flags |= PASSWORD_BIT;
  }
  writer.u8(firstByte(CONNECT));
  writer.varint(remaining);
  writer.utf8(name);
  writer.u8(version);
  writer.u8(flags);
  writer.u16(packet.keepAliveSeconds);
  if (isV5) writeProperties(writer, packet.properties);
  writer.binary(packet.clientIdBytes);
  if (will !== undefined) {
    if (isV5) writeProperties(writer, will.properties);
    writer.binary(will.topicBytes);
    writer.binary(will.payload);
  }
  if (packet.username !== undefined) writer.utf8(packet.username);
  if (packet.password !== undefined) writer.binary(packet.password);
}

/** A CONNACK. */
export class ConnackPacket {
  sessionPresent = false;
  /** A reason code in MQTT 5; before, a return code of 0 to 5. */
  code: number = ReasonCode.Success;
  properties: Properties = {};
}

/** Reads the body of a CONNACK. The client's half. */
export function readConnack(packet: ConnackPacket, bytes: Uint8Array, at: number, end: number, version: ProtocolVersion): ReasonCode {
  reader.reset(bytes, at, end);
  const flags = reader.u8();
  packet.code = reader.u8();
  packet.properties = {};
  if (reader.failed || (flags & 0xfe) !== 0) return ReasonCode.MalformedPacket; // [MQTT-3.2.2-1]
  packet.sessionPresent = flags === 1;
  if (packet.sessionPresent && packet.code !== 0) return ReasonCode.ProtocolError; // [MQTT-3.2.2-6]
  if (version === V5) {
    const code = readProperties(reader, CONNACK, packet.properties);
    if (code !== ReasonCode.Success) return code;
  }
  return reader.at === end ? ReasonCode.Success : ReasonCode.MalformedPacket;
}

/**
 * Writes a CONNACK. Before MQTT 5 the reason code becomes a return code and properties are left out.
 * @param sessionPresent is sent as false with any code but 0 [MQTT-3.2.2-6], and in MQTT 3.1, which does not know it
 */
export function writeConnack(
  writer: Writer,
  version: ProtocolVersion,
  sessionPresent: boolean,
  code: ReasonCode,
  properties: Properties | undefined,
): void {
  const isV5 = version === V5;
  const length = isV5 ? propertiesLength(properties) : 0;
  writer.u8(firstByte(CONNACK));
  writer.varint(isV5 ? 2 + varintLength(length) + length : 2);
  writer.u8(sessionPresent && code === ReasonCode.Success && version !== V31 ? 1 : 0);
  writer.u8(isV5 ? code : connackReturnCode(code));
  if (isV5) writeProperties(writer, properties);
}
