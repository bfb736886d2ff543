/*
 * The framer: finds the next control packet in received bytes. It looks at the fixed header alone (MQTT 5, section 2.1), never at the body,
 * copies nothing and keeps nothing between calls: what is not yet whole is asked for again when more bytes have come.
 *
 *   at                bodyAt                     bodyEnd
 *   | first | length … | body …                  |
 *   |<-------------- packetBytes --------------->|
 *
 * Hot path.
 */

import { ReasonCode } from './reason-code.ts';

/** The last packet that `readFrame` found, as offsets into the bytes it was given. */
export class Frame {
  /** First byte of the packet: type and flags. */
  first = 0;
  bodyAt = 0;
  /** Offset behind the body, which is where the next packet begins. */
  bodyEnd = 0;
  /** Bytes of the whole packet with its fixed header; 0 while the length is not yet known. */
  packetBytes = 0;
}

/** The bytes end before the packet does. */
export const FRAME_INCOMPLETE = -1;

/**
 * Finds the packet that begins at `at`.
 * @param packetBytesMax largest packet that is accepted, with its fixed header (Maximum Packet Size)
 * @returns 0 when the packet is whole and `frame` holds it; FRAME_INCOMPLETE when bytes are missing (then `frame.packetBytes` is the size
 * of the whole packet, or 0 while unknown); MalformedPacket for a length of more than four bytes or longer than needed [MQTT-1.5.5-1];
 * PacketTooLarge as soon as the header says so.
 */
export function readFrame(frame: Frame, bytes: Uint8Array, at: number, end: number, packetBytesMax: number): number {
  frame.packetBytes = 0;
  if (at + 2 > end) return FRAME_INCOMPLETE;
  let next = at + 1;
  let byte = bytes[next++]!;
  let remaining = byte & 0x7f;
  for (let shift = 7; byte >= 0x80; shift += 7) {
    if (shift === 28) return ReasonCode.MalformedPacket;
    if (next >= end) return FRAME_INCOMPLETE;
    byte = bytes[next++]!;
    if (byte === 0) return ReasonCode.MalformedPacket; // [MQTT-1.5.5-1]
    remaining |= (byte & 0x7f) << shift;
  }
  const bodyEnd = next + remaining;
  const packetBytes = bodyEnd - at;
  frame.packetBytes = packetBytes;
  if (packetBytes > packetBytesMax) return ReasonCode.PacketTooLarge;
  if (bodyEnd > end) return FRAME_INCOMPLETE;
  frame.first = bytes[at]!;
  frame.bodyAt = next;
  frame.bodyEnd = bodyEnd;
  return ReasonCode.Success;
}
