/*
 * SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK (MQTT 5, sections 3.8 to 3.11). Filters come out as text, because they are kept; whether a
 * filter is valid is not judged here, since a bad one is answered by its own reason code in the SUBACK (`filterError` in topic.ts).
 */

import { isMqttUtf8, Reader, readText, utf8Length, varintLength, type Writer } from '../base/bytes.ts';
import { firstByte, type ProtocolVersion, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, V5, V31 } from './packet-type.ts';
import { type Properties, propertiesLength, readProperties, writeProperties } from './property.ts';
import { mayCarry, ReasonCode } from './reason-code.ts';

/** One Topic Filter of a SUBSCRIBE with its Subscription Options. Before MQTT 5 all options but `qos` are at their zero. */
export interface SubscribeEntry {
  filter: string;
  /** Maximum QoS, 0 to 2. */
  qos: number;
  noLocal: boolean;
  retainAsPublished: boolean;
  /** 0 send retained messages at subscribe, 1 only for a new subscription, 2 never. */
  retainHandling: number;
}

/** A SUBSCRIBE. */
export class SubscribePacket {
  packetId = 0;
  properties: Properties = {};
  entries: SubscribeEntry[] = [];
}

/** An UNSUBSCRIBE. */
export class UnsubscribePacket {
  packetId = 0;
  properties: Properties = {};
  filters: string[] = [];
}

/** A SUBACK or an UNSUBACK: one code for each filter that was asked for, in that order. */
export class SubackPacket {
  packetId = 0;
  properties: Properties = {};
  codes: number[] = [];
}

const QOS_BITS = 0x03;
const NO_LOCAL_BIT = 0x04;
const RETAIN_AS_PUBLISHED_BIT = 0x08;
const RETAIN_HANDLING_BITS = 0x30;
const RESERVED_BITS = 0xc0;

const reader = new Reader();

// The Packet Identifier and, in MQTT 5, the properties, which all four begin with; `reader` then stands at the payload.
function readHead(
  packet: SubscribePacket | UnsubscribePacket | SubackPacket,
  packetType: number,
  bytes: Uint8Array,
  at: number,
  end: number,
  version: ProtocolVersion,
): ReasonCode {
  reader.reset(bytes, at, end);
  packet.packetId = reader.u16();
  packet.properties = {};
  if (reader.failed) return ReasonCode.MalformedPacket;
  if (packet.packetId === 0) return ReasonCode.ProtocolError; // [MQTT-2.2.1-3]
  return version === V5 ? readProperties(reader, packetType, packet.properties) : ReasonCode.Success;
}

// A UTF-8 Encoded String, or undefined when it does not fit or is not MQTT's UTF-8.
function readFilter(): string | undefined {
  reader.range16();
  if (reader.failed || !isMqttUtf8(reader.bytes, reader.rangeAt, reader.rangeEnd)) return undefined; // [MQTT-3.8.3-1] [MQTT-3.10.3-1]
  return readText(reader.bytes, reader.rangeAt, reader.rangeEnd);
}

/**
 * Reads the body of a SUBSCRIBE.
 * @param packet receives the fields; meaningless after a failure
 * @param filtersMax filters that the packet may hold
 * @returns 0; QuotaExceeded for more filters; MalformedPacket for truncation, bad text or reserved bits [MQTT-3.8.3-5]; ProtocolError for Packet Identifier 0, no filter
 * [MQTT-3.8.3-2], QoS 3, Retain Handling 3, or No Local on a Shared Subscription [MQTT-3.8.3-4]
 */
export function readSubscribe(
  packet: SubscribePacket,
  bytes: Uint8Array,
  at: number,
  end: number,
  version: ProtocolVersion,
  filtersMax: number = Number.POSITIVE_INFINITY,
): ReasonCode {
  packet.entries = [];
  const code = readHead(packet, SUBSCRIBE, bytes, at, end, version);
  if (code !== ReasonCode.Success) return code;
  while (reader.at < end) {
    const filter = readFilter();
    const options = reader.u8();
    if (filter === undefined || reader.failed) return ReasonCode.MalformedPacket;
    if (packet.entries.length === filtersMax) return ReasonCode.QuotaExceeded;
    const optionsCode = optionsError(filter, options, version);
    if (optionsCode !== ReasonCode.Success) return optionsCode;
    packet.entries.push({
      filter,
      qos: options & QOS_BITS,
      noLocal: version === V5 && (options & NO_LOCAL_BIT) !== 0,
      retainAsPublished: version === V5 && (options & RETAIN_AS_PUBLISHED_BIT) !== 0,
      retainHandling: version === V5 ? (options & RETAIN_HANDLING_BITS) >> 4 : 0,
    });
  }
  return packet.entries.length === 0 ? ReasonCode.ProtocolError : ReasonCode.Success; // [MQTT-3.8.3-2]
}

function optionsError(filter: string, options: number, version: ProtocolVersion): ReasonCode {
  if (version === V5) {
    if ((options & RESERVED_BITS) !== 0) return ReasonCode.MalformedPacket; // [MQTT-3.8.3-5]
    if ((options & RETAIN_HANDLING_BITS) === RETAIN_HANDLING_BITS) return ReasonCode.ProtocolError;
    if ((options & NO_LOCAL_BIT) !== 0 && filter.startsWith('$share/')) return ReasonCode.ProtocolError; // [MQTT-3.8.3-4]
  } else if (version !== V31 && (options & ~QOS_BITS) !== 0) return ReasonCode.MalformedPacket; // [MQTT-3-8.3-4] of 3.1.1
  return (options & QOS_BITS) === QOS_BITS ? ReasonCode.ProtocolError : ReasonCode.Success;
}

/** Writes a SUBSCRIBE. The client's half. */
export function writeSubscribe(writer: Writer, packet: SubscribePacket, version: ProtocolVersion): void {
  let payload = 0;
  for (const entry of packet.entries) payload += 3 + utf8Length(entry.filter);
  writeHead(writer, SUBSCRIBE, packet.packetId, packet.properties, payload, version);
  for (const entry of packet.entries) {
    writer.utf8(entry.filter);
    let options = entry.qos;
    if (version === V5) {
      options |= (entry.noLocal ? NO_LOCAL_BIT : 0) | (entry.retainAsPublished ? RETAIN_AS_PUBLISHED_BIT : 0) | (entry.retainHandling << 4);
    }
    writer.u8(options);
  }
}

// The fixed header, the Packet Identifier and, in MQTT 5, the properties. `payload` is the number of bytes that follow.
function writeHead(
  writer: Writer,
  packetType: number,
  packetId: number,
  properties: Properties | undefined,
  payload: number,
  version: ProtocolVersion,
): void {
  const length = version === V5 ? propertiesLength(properties) : 0;
  writer.u8(firstByte(packetType));
  writer.varint(2 + (version === V5 ? varintLength(length) + length : 0) + payload);
  writer.u16(packetId);
  if (version === V5) writeProperties(writer, properties);
}

/** Reads the body of a SUBACK. The client's half. A code that the packet may not carry is a ProtocolError. */
export function readSuback(packet: SubackPacket, bytes: Uint8Array, at: number, end: number, version: ProtocolVersion): ReasonCode {
  packet.codes = [];
  const code = readHead(packet, SUBACK, bytes, at, end, version);
  return code === ReasonCode.Success ? readCodes(packet, SUBACK) : code;
}

function readCodes(packet: SubackPacket, packetType: number): ReasonCode {
  while (reader.at < reader.end) {
    const code = reader.u8();
    if (!mayCarry(packetType, code)) return ReasonCode.ProtocolError;
    packet.codes.push(code);
  }
  return packet.codes.length === 0 ? ReasonCode.ProtocolError : ReasonCode.Success;
}

/** Writes a SUBACK. Before MQTT 5 every failure is 0x80 [MQTT-3.9.3-2 of 3.1.1] and properties are left out. */
export function writeSuback(
  writer: Writer,
  version: ProtocolVersion,
  packetId: number,
  codes: readonly number[],
  properties: Properties | undefined,
): void {
  writeHead(writer, SUBACK, packetId, properties, codes.length, version);
  for (const code of codes) writer.u8(version !== V5 && code >= 0x80 ? 0x80 : code);
}

/** Reads the body of an UNSUBSCRIBE. Answers as `readSubscribe` does. */
export function readUnsubscribe(
  packet: UnsubscribePacket,
  bytes: Uint8Array,
  at: number,
  end: number,
  version: ProtocolVersion,
  filtersMax: number = Number.POSITIVE_INFINITY,
): ReasonCode {
  packet.filters = [];
  const code = readHead(packet, UNSUBSCRIBE, bytes, at, end, version);
  if (code !== ReasonCode.Success) return code;
  while (reader.at < end) {
    const filter = readFilter();
    if (filter === undefined) return ReasonCode.MalformedPacket;
    if (packet.filters.length === filtersMax) return ReasonCode.QuotaExceeded;
    packet.filters.push(filter);
  }
  return packet.filters.length === 0 ? ReasonCode.ProtocolError : ReasonCode.Success; // [MQTT-3.10.3-2]
}

/** Writes an UNSUBSCRIBE. The client's half. */
export function writeUnsubscribe(writer: Writer, packet: UnsubscribePacket, version: ProtocolVersion): void {
  let payload = 0;
  for (const filter of packet.filters) payload += 2 + utf8Length(filter);
  writeHead(writer, UNSUBSCRIBE, packet.packetId, packet.properties, payload, version);
  for (const filter of packet.filters) writer.utf8(filter);
}

/** Reads the body of an UNSUBACK. The client's half. Before MQTT 5 it brings no codes. */
export function readUnsuback(packet: SubackPacket, bytes: Uint8Array, at: number, end: number, version: ProtocolVersion): ReasonCode {
  packet.codes = [];
  const code = readHead(packet, UNSUBACK, bytes, at, end, version);
  if (code !== ReasonCode.Success) return code;
  if (version !== V5) return reader.at === end ? ReasonCode.Success : ReasonCode.MalformedPacket;
  return readCodes(packet, UNSUBACK);
}

/** Writes an UNSUBACK. Before MQTT 5 it holds the Packet Identifier alone. */
export function writeUnsuback(
  writer: Writer,
  version: ProtocolVersion,
  packetId: number,
  codes: readonly number[],
  properties: Properties | undefined,
): void {
  writeHead(writer, UNSUBACK, packetId, properties, version === V5 ? codes.length : 0, version);
  if (version !== V5) return;
  for (const code of codes) writer.u8(code);
}
