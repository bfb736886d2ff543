/*
 * The fifteen control packet types, the flags that the fixed header of each must carry, and the protocol versions. Numbers as on the wire
 * (MQTT 5, sections 2.1.2 and 2.1.3).
 *
 * Hot path.
 */

export const CONNECT = 1;
export const CONNACK = 2;
export const PUBLISH = 3;
export const PUBACK = 4;
export const PUBREC = 5;
export const PUBREL = 6;
export const PUBCOMP = 7;
export const SUBSCRIBE = 8;
export const SUBACK = 9;
export const UNSUBSCRIBE = 10;
export const UNSUBACK = 11;
export const PINGREQ = 12;
export const PINGRESP = 13;
export const DISCONNECT = 14;
export const AUTH = 15;

/** Protocol level of MQTT 3.1 (`MQIsdp`), of 3.1.1 and of 5.0 (`MQTT`). */
export const V31 = 3;
export const V311 = 4;
export const V5 = 5;
export type ProtocolVersion = 3 | 4 | 5;

/** Bits of the first byte of a PUBLISH. */
export const DUP_BIT = 0x08;
export const RETAIN_BIT = 0x01;

const NAMES: readonly string[] = [
  'reserved',
  'CONNECT',
  'CONNACK',
  'PUBLISH',
  'PUBACK',
  'PUBREC',
  'PUBREL',
  'PUBCOMP',
  'SUBSCRIBE',
  'SUBACK',
  'UNSUBSCRIBE',
  'UNSUBACK',
  'PINGREQ',
  'PINGRESP',
  'DISCONNECT',
  'AUTH',
];

/** The standard's name of a packet type, for logs. */
export function packetTypeName(packetType: number): string {
  return NAMES[packetType] ?? 'unknown';
}

/** The flags that the fixed header of a type must carry: 2 for PUBREL, SUBSCRIBE, UNSUBSCRIBE, otherwise 0. PUBLISH has its own. */
export function requiredFlags(packetType: number): number {
  return packetType === PUBREL || packetType === SUBSCRIBE || packetType === UNSUBSCRIBE ? 2 : 0;
}

/** The first byte of a packet of any type but PUBLISH. */
export function firstByte(packetType: number): number {
  return (packetType << 4) | requiredFlags(packetType);
}

/**
 * Says whether the first byte of a packet names a type and carries the flags that the type requires [MQTT-2.1.3-1]. The flags of PUBLISH
 * are read by `readPublish`. MQTT 3.1 allows DUP on the three types that carry QoS 1 in their header, so `version` 3 does too.
 */
export function hasValidFlags(first: number, version: ProtocolVersion = V5): boolean {
  const packetType = first >> 4;
  if (packetType === PUBLISH) return true;
  if (packetType === 0) return false;
  const required = requiredFlags(packetType);
  const flags = first & 0x0f;
  return flags === required || (version === V31 && required === 2 && flags === (2 | DUP_BIT));
}
