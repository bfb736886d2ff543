/*
 * PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 5, sections 3.4 to 3.7): one shape, one reader, one writer. The short form, four bytes, is what
 * nearly every acknowledgement is; it is written straight into the target.
 *
 * Hot path.
 */

import { Reader, readU16, varintLength, type Writer, writeU16 } from '../base/bytes.ts';
import { firstByte, type ProtocolVersion, V5 } from './packet-type.ts';
import { type Properties, propertiesLength, readProperties, writeProperties } from './property.ts';
import { mayCarry, ReasonCode } from './reason-code.ts';

/** Bytes of an acknowledgement in the short form. */
export const ACK_BYTES = 4;

/** What an acknowledgement says. */
export class AckView {
  packetId = 0;
  reasonCode: ReasonCode = ReasonCode.Success;
  /** Only when the packet brought some. */
  properties: Properties | undefined = undefined;
}

const reader = new Reader();

/**
 * Reads the body of an acknowledgement.
 * @param at offset of the body; `end` is the end of the packet
 * @returns 0, MalformedPacket, or ProtocolError (Packet Identifier 0, a code that this packet may not carry)
 */
export function readAck(
  view: AckView,
  packetType: number,
  bytes: Uint8Array,
  at: number,
  end: number,
  version: ProtocolVersion,
): ReasonCode {
  const length = end - at;
  if (length < 2) return ReasonCode.MalformedPacket;
  const packetId = readU16(bytes, at);
  view.packetId = packetId;
  view.reasonCode = ReasonCode.Success;
  view.properties = undefined;
  if (packetId === 0) return ReasonCode.ProtocolError; // [MQTT-2.2.1-3]
  if (length === 2) return ReasonCode.Success;
  if (version !== V5) return ReasonCode.MalformedPacket;
  const code = bytes[at + 2]!;
  view.reasonCode = code;
  if (!mayCarry(packetType, code)) return ReasonCode.ProtocolError; // [MQTT-3.4.2-1]
  if (length === 3 || (length === 4 && bytes[at + 3] === 0)) return ReasonCode.Success;
  return readAckProperties(view, packetType, bytes, at + 3, end);
}

function readAckProperties(view: AckView, packetType: number, bytes: Uint8Array, at: number, end: number): ReasonCode {
  const properties: Properties = {};
  reader.reset(bytes, at, end);
  const code = readProperties(reader, packetType, properties);
  if (code !== ReasonCode.Success) return code;
  view.properties = properties;
  return reader.at === end ? ReasonCode.Success : ReasonCode.MalformedPacket;
}

/** Writes the short form, ACK_BYTES long, and returns the offset behind it. Every version reads it; it says Success. */
export function writeAck(target: Uint8Array, at: number, packetType: number, packetId: number): number {
  target[at] = firstByte(packetType);
  target[at + 1] = 2;
  return writeU16(target, at + 2, packetId);
}

/** Writes the long form with a reason code and properties; for versions before 5, and for Success without properties, the short form. */
export function writeAckDetail(
  writer: Writer,
  packetType: number,
  version: ProtocolVersion,
  packetId: number,
  code: ReasonCode,
  properties: Properties | undefined,
): void {
  const length = version === V5 ? propertiesLength(properties) : 0;
  writer.u8(firstByte(packetType));
  if (version !== V5 || (code === ReasonCode.Success && length === 0)) {
    writer.u8(2);
    writer.u16(packetId);
    return;
  }
  writer.varint(length === 0 ? 3 : 3 + varintLength(length) + length);
  writer.u16(packetId);
  writer.u8(code);
  if (length !== 0) writeProperties(writer, properties);
}
