/*
 * DISCONNECT and AUTH (MQTT 5, sections 3.14 and 3.15), which have one shape, and PINGREQ and PINGRESP, which have no body at all.
 * What a code means for the session is not decided here.
 */

import { Reader, varintLength, type Writer } from '../base/bytes.ts';
import { AUTH, DISCONNECT, firstByte, PINGREQ, PINGRESP, type ProtocolVersion, V5 } from './packet-type.ts';
import { type Properties, propertiesLength, readProperties, writeProperties } from './property.ts';
import { mayCarry, ReasonCode } from './reason-code.ts';

/** Whole packets, ready to be copied. */
export const PINGREQ_IMAGE: Uint8Array = Uint8Array.of(firstByte(PINGREQ), 0);
export const PINGRESP_IMAGE: Uint8Array = Uint8Array.of(firstByte(PINGRESP), 0);
/** DISCONNECT without a body: normal disconnection, in every version. */
export const DISCONNECT_IMAGE: Uint8Array = Uint8Array.of(firstByte(DISCONNECT), 0);

/** A DISCONNECT or an AUTH. */
export class ReasonPacket {
  code: ReasonCode = ReasonCode.Success;
  properties: Properties = {};
}

const reader = new Reader();

// Either may stop after nothing (code 0), or after the code (no properties).
function readReason(packet: ReasonPacket, packetType: number, bytes: Uint8Array, at: number, end: number): ReasonCode {
  packet.code = ReasonCode.Success;
  packet.properties = {};
  if (at === end) return ReasonCode.Success;
  reader.reset(bytes, at, end);
  packet.code = reader.u8();
  if (!mayCarry(packetType, packet.code)) return ReasonCode.ProtocolError; // [MQTT-3.14.2-1] [MQTT-3.15.2-1]
  if (reader.at === end) return ReasonCode.Success;
  const code = readProperties(reader, packetType, packet.properties);
  if (code !== ReasonCode.Success) return code;
  return reader.at === end ? ReasonCode.Success : ReasonCode.MalformedPacket;
}

function writeReason(writer: Writer, packetType: number, code: ReasonCode, properties: Properties | undefined): void {
  const length = propertiesLength(properties);
  writer.u8(firstByte(packetType));
  if (length !== 0) {
    writer.varint(1 + varintLength(length) + length);
    writer.u8(code);
    writeProperties(writer, properties);
  } else if (code !== ReasonCode.Success) {
    writer.u8(1);
    writer.u8(code);
  } else writer.u8(0);
}

/**
 * Reads the body of a DISCONNECT.
 * @returns 0; MalformedPacket, also for any body before MQTT 5; ProtocolError for a code that the packet may not carry
 */
export function readDisconnect(packet: ReasonPacket, bytes: Uint8Array, at: number, end: number, version: ProtocolVersion): ReasonCode {
  if (version !== V5 && at !== end) return ReasonCode.MalformedPacket;
  return readReason(packet, DISCONNECT, bytes, at, end);
}

/** Writes a DISCONNECT. Before MQTT 5 it has no body, and only a client may send it. */
export function writeDisconnect(writer: Writer, version: ProtocolVersion, code: ReasonCode, properties: Properties | undefined): void {
  if (version === V5) writeReason(writer, DISCONNECT, code, properties);
  else writer.raw(DISCONNECT_IMAGE, 0, DISCONNECT_IMAGE.length);
}

/**
 * Reads the body of an AUTH.
 * @returns 0; MalformedPacket; ProtocolError before MQTT 5, for a code that the packet may not carry, or when the Authentication Method is
 * missing (section 3.15.2.2.2)
 */
export function readAuth(packet: ReasonPacket, bytes: Uint8Array, at: number, end: number, version: ProtocolVersion): ReasonCode {
  if (version !== V5) return ReasonCode.ProtocolError;
  const code = readReason(packet, AUTH, bytes, at, end);
  if (code !== ReasonCode.Success) return code;
  const isShort = at === end;
  return isShort || packet.properties.authenticationMethod !== undefined ? ReasonCode.Success : ReasonCode.ProtocolError;
}

/** Writes an AUTH. MQTT 5 only. */
export function writeAuth(writer: Writer, code: ReasonCode, properties: Properties | undefined): void {
  writeReason(writer, AUTH, code, properties);
}
