/*
 * Properties of MQTT 5 (section 2.2.2): one table with identifier, name, data type, packets and whether it may repeat. The table drives
 * reading, checking, writing and lengths for the packets that come rarely; PUBLISH is read by publish.ts, which shares `skipProperty`, the
 * walk over a raw block. For a raw block nothing is checked again: whoever made it has.
 *
 * Hot path (the functions on raw blocks).
 */

import { cloneBytes, isMqttUtf8, Reader, readText, readU16, readU32, utf8Length, varintLength, Writer } from '../base/bytes.ts';
import {
  AUTH,
  CONNACK,
  CONNECT,
  DISCONNECT,
  PUBACK,
  PUBCOMP,
  PUBLISH,
  PUBREC,
  PUBREL,
  SUBACK,
  SUBSCRIBE,
  UNSUBACK,
  UNSUBSCRIBE,
} from './packet-type.ts';
import { ReasonCode } from './reason-code.ts';

/** Stands for the Will Properties of a CONNECT wherever a packet type is asked for. */
export const WILL = 16;

export const PropertyId = {
  PayloadFormatIndicator: 0x01,
  MessageExpiryInterval: 0x02,
  ContentType: 0x03,
  ResponseTopic: 0x08,
  CorrelationData: 0x09,
  SubscriptionIdentifier: 0x0b,
  SessionExpiryInterval: 0x11,
  AssignedClientIdentifier: 0x12,
  ServerKeepAlive: 0x13,
  AuthenticationMethod: 0x15,
  AuthenticationData: 0x16,
  RequestProblemInformation: 0x17,
  WillDelayInterval: 0x18,
  RequestResponseInformation: 0x19,
  ResponseInformation: 0x1a,
  ServerReference: 0x1c,
  ReasonString: 0x1f,
  ReceiveMaximum: 0x21,
  TopicAliasMaximum: 0x22,
  TopicAlias: 0x23,
  MaximumQos: 0x24,
  RetainAvailable: 0x25,
  UserProperty: 0x26,
  MaximumPacketSize: 0x27,
  WildcardSubscriptionAvailable: 0x28,
  SubscriptionIdentifierAvailable: 0x29,
  SharedSubscriptionAvailable: 0x2a,
} as const;

/** Properties by the standard's names; what is absent was not sent. Properties of the type Byte are numbers, also where only 0 and 1 count. */
export interface Properties {
  payloadFormatIndicator?: number | undefined;
  messageExpiryInterval?: number | undefined;
  contentType?: string | undefined;
  responseTopic?: string | undefined;
  correlationData?: Uint8Array | undefined;
  subscriptionIdentifiers?: number[] | undefined;
  sessionExpiryInterval?: number | undefined;
  assignedClientIdentifier?: string | undefined;
  serverKeepAlive?: number | undefined;
  authenticationMethod?: string | undefined;
  authenticationData?: Uint8Array | undefined;
  requestProblemInformation?: number | undefined;
  willDelayInterval?: number | undefined;
  requestResponseInformation?: number | undefined;
  responseInformation?: string | undefined;
  serverReference?: string | undefined;
  reasonString?: string | undefined;
  receiveMaximum?: number | undefined;
  topicAliasMaximum?: number | undefined;
  topicAlias?: number | undefined;
  maximumQos?: number | undefined;
  retainAvailable?: number | undefined;
  userProperties?: [string, string][] | undefined;
  maximumPacketSize?: number | undefined;
  wildcardSubscriptionAvailable?: number | undefined;
  subscriptionIdentifierAvailable?: number | undefined;
  sharedSubscriptionAvailable?: number | undefined;
}

/** Data types of section 1.5. */
export const BYTE = 1;
export const TWO_BYTE = 2;
export const FOUR_BYTE = 3;
export const VARINT = 4;
export const UTF8 = 5;
export const BINARY = 6;
export const PAIR = 7;

/** What a value must be beyond its data type. */
const ANY = 0;
const BIT = 1; // 0 or 1, else Protocol Error
const NOT_ZERO = 2; // 0 is a Protocol Error
const TOPIC = 3; // no wildcards

/** One row of the table of section 2.2.2.2. */
export interface PropertyRow {
  id: number;
  name: keyof Properties;
  dataType: number;
  /** Bit `packetType` says where it is allowed; bit WILL stands for Will Properties. */
  packets: number;
  /** Packets in which it may come more than once, as bits too. */
  repeatable: number;
  rule: number;
}

function bits(packetTypes: readonly number[]): number {
  let mask = 0;
  for (const packetType of packetTypes) mask |= 1 << packetType;
  return mask;
}

const MESSAGE: readonly number[] = [PUBLISH, WILL];
const OPENING: readonly number[] = [CONNECT, CONNACK];
const ANSWERS: readonly number[] = [CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH];
const ALL: readonly number[] = [CONNECT, PUBLISH, WILL, SUBSCRIBE, UNSUBSCRIBE, ...ANSWERS];

const ID = PropertyId;

type Row = readonly [
  id: number,
  name: keyof Properties,
  dataType: number,
  packets: readonly number[],
  rule: number,
  repeatable?: readonly number[],
];

const ROWS: readonly Row[] = [
  [ID.PayloadFormatIndicator, 'payloadFormatIndicator', BYTE, MESSAGE, BIT],
  [ID.MessageExpiryInterval, 'messageExpiryInterval', FOUR_BYTE, MESSAGE, ANY],
  [ID.ContentType, 'contentType', UTF8, MESSAGE, ANY],
  [ID.ResponseTopic, 'responseTopic', UTF8, MESSAGE, TOPIC],
  [ID.CorrelationData, 'correlationData', BINARY, MESSAGE, ANY],
  [ID.SubscriptionIdentifier, 'subscriptionIdentifiers', VARINT, [PUBLISH, SUBSCRIBE], NOT_ZERO, [PUBLISH]],
  [ID.SessionExpiryInterval, 'sessionExpiryInterval', FOUR_BYTE, [CONNECT, CONNACK, DISCONNECT], ANY],
  [ID.AssignedClientIdentifier, 'assignedClientIdentifier', UTF8, [CONNACK], ANY],
  [ID.ServerKeepAlive, 'serverKeepAlive', TWO_BYTE, [CONNACK], ANY],
  [ID.AuthenticationMethod, 'authenticationMethod', UTF8, [...OPENING, AUTH], ANY],
  [ID.AuthenticationData, 'authenticationData', BINARY, [...OPENING, AUTH], ANY],
  [ID.RequestProblemInformation, 'requestProblemInformation', BYTE, [CONNECT], BIT],
  [ID.WillDelayInterval, 'willDelayInterval', FOUR_BYTE, [WILL], ANY],
  [ID.RequestResponseInformation, 'requestResponseInformation', BYTE, [CONNECT], BIT],
  [ID.ResponseInformation, 'responseInformation', UTF8, [CONNACK], ANY],
  [ID.ServerReference, 'serverReference', UTF8, [CONNACK, DISCONNECT], ANY],
  [ID.ReasonString, 'reasonString', UTF8, ANSWERS, ANY],
  [ID.ReceiveMaximum, 'receiveMaximum', TWO_BYTE, OPENING, NOT_ZERO],
  [ID.TopicAliasMaximum, 'topicAliasMaximum', TWO_BYTE, OPENING, ANY],
  [ID.TopicAlias, 'topicAlias', TWO_BYTE, [PUBLISH], ANY],
  [ID.MaximumQos, 'maximumQos', BYTE, [CONNACK], BIT],
  [ID.RetainAvailable, 'retainAvailable', BYTE, [CONNACK], BIT],
  [ID.UserProperty, 'userProperties', PAIR, ALL, ANY, ALL],
  [ID.MaximumPacketSize, 'maximumPacketSize', FOUR_BYTE, OPENING, NOT_ZERO],
  [ID.WildcardSubscriptionAvailable, 'wildcardSubscriptionAvailable', BYTE, [CONNACK], BIT],
  [ID.SubscriptionIdentifierAvailable, 'subscriptionIdentifierAvailable', BYTE, [CONNACK], BIT],
  [ID.SharedSubscriptionAvailable, 'sharedSubscriptionAvailable', BYTE, [CONNACK], BIT],
];

/** The table itself, by rising identifier. */
export const PROPERTIES: readonly PropertyRow[] = ROWS.map(([id, name, dataType, packets, rule, repeatable]) => ({
  id,
  name,
  dataType,
  packets: bits(packets),
  repeatable: bits(repeatable ?? []),
  rule,
}));

const rowOf: (PropertyRow | undefined)[] = [];
const dataTypeOf: Uint8Array = new Uint8Array(256);
for (const row of PROPERTIES) {
  rowOf[row.id] = row;
  dataTypeOf[row.id] = row.dataType;
}

type Value = number | string | Uint8Array | number[] | [string, string][];
type Fields = Record<string, Value | undefined>;

const scratch = new Reader();

/**
 * Reads a property block with its length in front and leaves the reader behind it.
 * @param packetType the packet that carries the block, or WILL
 * @param into receives the values; meaningless after a failure
 * @returns 0; MalformedPacket for a wrong length, an unknown identifier, one that the packet may not carry, or bad text [MQTT-1.5.4-1];
 * ProtocolError for one that comes twice or a value that the standard forbids; TopicAliasInvalid for Topic Alias 0; TopicNameInvalid for a
 * Response Topic with wildcards [MQTT-3.3.2-14]
 */
export function readProperties(reader: Reader, packetType: number, into: Properties): ReasonCode {
  const length = reader.varint();
  const blockAt = reader.at;
  if (reader.failed || blockAt + length > reader.end) return ReasonCode.MalformedPacket;
  reader.skip(length);
  const block = scratch;
  block.reset(reader.bytes, blockAt, blockAt + length);
  const fields = into as Fields;
  const packetBit = 1 << packetType;
  while (block.at < block.end) {
    const id = block.varint();
    const row = block.failed ? undefined : rowOf[id];
    if (row === undefined || (row.packets & packetBit) === 0) return ReasonCode.MalformedPacket;
    const isRepeatable = (row.repeatable & packetBit) !== 0;
    const before = fields[row.name];
    if (before !== undefined && !isRepeatable) return ReasonCode.ProtocolError;
    const code = readValue(block, row, fields, before);
    if (code !== ReasonCode.Success) return code;
  }
  return ReasonCode.Success;
}

function readValue(block: Reader, row: PropertyRow, fields: Fields, before: Value | undefined): ReasonCode {
  switch (row.dataType) {
    case BYTE:
      return keepNumber(block, row, fields, block.u8());
    case TWO_BYTE:
      return keepNumber(block, row, fields, block.u16());
    case FOUR_BYTE:
      return keepNumber(block, row, fields, block.u32());
    case VARINT: {
      const value = block.varint();
      if (block.failed) return ReasonCode.MalformedPacket;
      if (value === 0) return ReasonCode.ProtocolError;
      if (before === undefined) fields[row.name] = [value];
      else (before as number[]).push(value);
      return ReasonCode.Success;
    }
    case BINARY:
      block.range16();
      if (block.failed) return ReasonCode.MalformedPacket;
      fields[row.name] = cloneBytes(block.bytes, block.rangeAt, block.rangeEnd);
      return ReasonCode.Success;
    case PAIR: {
      const key = readRange(block);
      const value = readRange(block);
      if (block.failed) return ReasonCode.MalformedPacket;
      if (before === undefined) fields[row.name] = [[key, value]];
      else (before as [string, string][]).push([key, value]);
      return ReasonCode.Success;
    }
    default: {
      const value = readRange(block);
      if (block.failed) return ReasonCode.MalformedPacket;
      if (row.rule === TOPIC && (value.includes('+') || value.includes('#'))) return ReasonCode.TopicNameInvalid;
      fields[row.name] = value;
      return ReasonCode.Success;
    }
  }
}

function keepNumber(block: Reader, row: PropertyRow, fields: Fields, value: number): ReasonCode {
  if (block.failed) return ReasonCode.MalformedPacket;
  if (value === 0 && row.id === ID.TopicAlias) return ReasonCode.TopicAliasInvalid; // [MQTT-3.3.2-8]
  if (row.rule === BIT && value > 1) return ReasonCode.ProtocolError;
  if (row.rule === NOT_ZERO && value === 0) return ReasonCode.ProtocolError;
  fields[row.name] = value;
  return ReasonCode.Success;
}

// A UTF-8 Encoded String; bad text fails the reader.
function readRange(reader: Reader): string {
  reader.range16();
  if (reader.failed) return '';
  if (!isMqttUtf8(reader.bytes, reader.rangeAt, reader.rangeEnd)) {
    reader.failed = true;
    return '';
  }
  return readText(reader.bytes, reader.rangeAt, reader.rangeEnd);
}

/** Bytes of the property block without its length in front. */
export function propertiesLength(properties: Properties | undefined): number {
  if (properties === undefined) return 0;
  const fields = properties as Fields;
  let length = 0;
  for (const row of PROPERTIES) {
    const value = fields[row.name];
    if (value !== undefined) length += valueLength(row.dataType, value);
  }
  return length;
}

// With the identifier, which is one byte for all that exist.
function valueLength(dataType: number, value: Value): number {
  switch (dataType) {
    case BYTE:
      return 2;
    case TWO_BYTE:
      return 3;
    case FOUR_BYTE:
      return 5;
    case VARINT:
      return (value as number[]).reduce((sum, id) => sum + 1 + varintLength(id), 0);
    case BINARY:
      return 3 + (value as Uint8Array).length;
    case PAIR:
      return (value as [string, string][]).reduce((sum, [key, text]) => sum + 5 + utf8Length(key) + utf8Length(text), 0);
    default:
      return 3 + utf8Length(value as string);
  }
}

/** Writes a property block with its length in front: by rising identifier, User Properties and Subscription Identifiers in their order. */
export function writeProperties(writer: Writer, properties: Properties | undefined): void {
  writer.varint(propertiesLength(properties));
  if (properties === undefined) return;
  const fields = properties as Fields;
  for (const row of PROPERTIES) {
    const value = fields[row.name];
    if (value !== undefined) writeValue(writer, row, value);
  }
}

function writeValue(writer: Writer, row: PropertyRow, value: Value): void {
  switch (row.dataType) {
    case BYTE:
      writer.u8(row.id);
      writer.u8(value as number);
      return;
    case TWO_BYTE:
      writer.u8(row.id);
      writer.u16(value as number);
      return;
    case FOUR_BYTE:
      writer.u8(row.id);
      writer.u32(value as number);
      return;
    case VARINT:
      for (const id of value as number[]) {
        writer.u8(row.id);
        writer.varint(id);
      }
      return;
    case BINARY:
      writer.u8(row.id);
      writer.binary(value as Uint8Array);
      return;
    case PAIR:
      for (const [key, text] of value as [string, string][]) writeOneUserProperty(writer, key, text);
      return;
    default:
      writer.u8(row.id);
      writer.utf8(value as string);
  }
}

/** Writes one User Property with its identifier: a piece of a raw block. */
function writeOneUserProperty(writer: Writer, key: string, value: string): void {
  writer.u8(ID.UserProperty);
  writer.utf8(key);
  writer.utf8(value);
}

/** User Properties as they stand in a raw block; null for none. Each text has at most 65,535 bytes. */
export function encodeUserProperties(pairs: readonly (readonly [key: string, value: string])[]): Uint8Array | null {
  if (pairs.length === 0) return null;
  const writer = new Writer(64);
  for (const [key, value] of pairs) writeOneUserProperty(writer, key, value);
  return writer.copy();
}

/**
 * Steps over one property of a raw block.
 * @param at offset of its identifier
 * @returns the offset behind it, or -1 when it is unknown or does not fit before `end`
 */
export function skipProperty(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return -1;
  const value = at + 1;
  let next = value;
  switch (dataTypeOf[bytes[at]!]) {
    case BYTE:
      next = value + 1;
      break;
    case TWO_BYTE:
      next = value + 2;
      break;
    case FOUR_BYTE:
      next = value + 4;
      break;
    case VARINT:
      while (next < end && bytes[next]! >= 0x80) next++;
      next++;
      break;
    case UTF8:
    case BINARY:
      if (value + 2 > end) return -1;
      next = value + 2 + readU16(bytes, value);
      break;
    case PAIR:
      if (value + 2 > end) return -1;
      next = value + 2 + readU16(bytes, value);
      if (next + 2 > end) return -1;
      next += 2 + readU16(bytes, next);
      break;
    default:
      return -1;
  }
  return next > end ? -1 : next;
}

/** Walks the User Properties of a raw block, in order, without making a string. */
export class UserPropertyReader {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #end = 0;
  keyAt = 0;
  keyEnd = 0;
  valueAt = 0;
  valueEnd = 0;

  /** Starts anew on the raw block `bytes[at..end)`. */
  reset(bytes: Uint8Array, at: number, end: number): void {
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  /** Goes to the next User Property and sets the four offsets; false at the end of the block. */
  next(): boolean {
    const bytes = this.#bytes;
    const end = this.#end;
    let at = this.#at;
    while (at < end) {
      const next = skipProperty(bytes, at, end);
      if (next < 0) break;
      if (bytes[at] === ID.UserProperty) {
        this.keyAt = at + 3;
        this.keyEnd = this.keyAt + readU16(bytes, at + 1);
        this.valueAt = this.keyEnd + 2;
        this.valueEnd = next;
        this.#at = next;
        return true;
      }
      at = next;
    }
    this.#at = end;
    return false;
  }
}

/** Says whether `bytes[at..end)` begins with all of `prefix`. */
function beginsWith(prefix: Uint8Array, bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) {
    if (bytes[at + i] !== prefix[i]) return false;
  }
  return true;
}

/** Appends the raw block `source[at..end)` to the writer, in order, without the User Properties whose key begins with `prefix`. */
export function copyPropertiesWithout(prefix: Uint8Array, source: Uint8Array, at: number, end: number, writer: Writer): void {
  let keptAt = at;
  let next = at;
  while (next < end) {
    const propertyAt = next;
    next = skipProperty(source, propertyAt, end);
    if (next < 0) {
      next = propertyAt;
      break;
    }
    const keyAt = propertyAt + 3;
    if (source[propertyAt] === ID.UserProperty && beginsWith(prefix, source, keyAt, keyAt + readU16(source, propertyAt + 1))) {
      if (propertyAt > keptAt) writer.raw(source, keptAt, propertyAt);
      keptAt = next;
    }
  }
  if (next > keptAt) writer.raw(source, keptAt, next);
}

/** A range of bytes that `findProperty` found: the value without identifier, and without length where the data type has one. */
export class PropertyRange {
  at = 0;
  end = 0;
}

/** Finds the first property with the identifier in a raw block. A User Property's range is key and value with their lengths. */
export function findProperty(id: number, bytes: Uint8Array, at: number, end: number, range: PropertyRange): boolean {
  let next = at;
  while (next < end) {
    const propertyAt = next;
    next = skipProperty(bytes, propertyAt, end);
    if (next < 0) return false;
    if (bytes[propertyAt] === id) {
      const dataType = dataTypeOf[id];
      range.at = dataType === UTF8 || dataType === BINARY ? propertyAt + 3 : propertyAt + 1;
      range.end = next;
      return true;
    }
  }
  return false;
}

/** Finds the Response Topic in a raw block. */
export function findResponseTopic(bytes: Uint8Array, at: number, end: number, range: PropertyRange): boolean {
  return findProperty(ID.ResponseTopic, bytes, at, end, range);
}

/** Finds the Correlation Data in a raw block. */
export function findCorrelationData(bytes: Uint8Array, at: number, end: number, range: PropertyRange): boolean {
  return findProperty(ID.CorrelationData, bytes, at, end, range);
}

/** Reads a Four Byte Integer property of a raw block, or -1 when it is not there. */
export function findFourByte(id: number, bytes: Uint8Array, at: number, end: number): number {
  return findProperty(id, bytes, at, end, range) ? readU32(bytes, range.at) : -1;
}
const range = new PropertyRange();
