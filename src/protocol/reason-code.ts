/*
 * Reason codes: one table with the value, the standard's name, the packets that may carry it (MQTT 5, section 2.4), and the return code
 * that says the nearest thing in a CONNACK of MQTT 3.1 and 3.1.1. A ReasonCode is also how every reader of this folder answers: 0 is
 * success, anything from 0x80 is the peer's fault.
 */

import { AUTH, CONNACK, DISCONNECT, PUBACK, PUBCOMP, PUBREC, PUBREL, SUBACK, UNSUBACK } from './packet-type.ts';

/** A byte of section 2.4. Plain numbers, because readers return it once per packet. */
export type ReasonCode = number;

export const ReasonCode = {
  Success: 0x00,
  NormalDisconnection: 0x00,
  GrantedQos0: 0x00,
  GrantedQos1: 0x01,
  GrantedQos2: 0x02,
  DisconnectWithWillMessage: 0x04,
  NoMatchingSubscribers: 0x10,
  NoSubscriptionExisted: 0x11,
  ContinueAuthentication: 0x18,
  ReAuthenticate: 0x19,
  UnspecifiedError: 0x80,
  MalformedPacket: 0x81,
  ProtocolError: 0x82,
  ImplementationSpecificError: 0x83,
  UnsupportedProtocolVersion: 0x84,
  ClientIdentifierNotValid: 0x85,
  BadUserNameOrPassword: 0x86,
  NotAuthorized: 0x87,
  ServerUnavailable: 0x88,
  ServerBusy: 0x89,
  Banned: 0x8a,
  ServerShuttingDown: 0x8b,
  BadAuthenticationMethod: 0x8c,
  KeepAliveTimeout: 0x8d,
  SessionTakenOver: 0x8e,
  TopicFilterInvalid: 0x8f,
  TopicNameInvalid: 0x90,
  PacketIdentifierInUse: 0x91,
  PacketIdentifierNotFound: 0x92,
  ReceiveMaximumExceeded: 0x93,
  TopicAliasInvalid: 0x94,
  PacketTooLarge: 0x95,
  MessageRateTooHigh: 0x96,
  QuotaExceeded: 0x97,
  AdministrativeAction: 0x98,
  PayloadFormatInvalid: 0x99,
  RetainNotSupported: 0x9a,
  QosNotSupported: 0x9b,
  UseAnotherServer: 0x9c,
  ServerMoved: 0x9d,
  SharedSubscriptionsNotSupported: 0x9e,
  ConnectionRateExceeded: 0x9f,
  MaximumConnectTime: 0xa0,
  SubscriptionIdentifiersNotSupported: 0xa1,
  WildcardSubscriptionsNotSupported: 0xa2,
} as const;

/** Return codes of a CONNACK of MQTT 3.1 and 3.1.1 (MQTT 3.1.1, section 3.2.2.3). */
const RETURN_VERSION = 1;
const RETURN_IDENTIFIER = 2;
const RETURN_UNAVAILABLE = 3;
const RETURN_CREDENTIALS = 4;
const RETURN_NOT_AUTHORIZED = 5;

type Row = readonly [code: number, name: string, packets: readonly number[], returnCode: number];

const ALL_ACKS: readonly number[] = [CONNACK, PUBACK, PUBREC, SUBACK, UNSUBACK, DISCONNECT];

// A code that no CONNACK of version 3 can say becomes "server unavailable", the only one of the five that blames nobody.
const ROWS: readonly Row[] = [
  [0x00, 'Success', [CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH], 0],
  [0x01, 'Granted QoS 1', [SUBACK], RETURN_UNAVAILABLE],
  [0x02, 'Granted QoS 2', [SUBACK], RETURN_UNAVAILABLE],
  [0x04, 'Disconnect with Will Message', [DISCONNECT], RETURN_UNAVAILABLE],
  [0x10, 'No matching subscribers', [PUBACK, PUBREC], RETURN_UNAVAILABLE],
  [0x11, 'No subscription existed', [UNSUBACK], RETURN_UNAVAILABLE],
  [0x18, 'Continue authentication', [AUTH], RETURN_UNAVAILABLE],
  [0x19, 'Re-authenticate', [AUTH], RETURN_UNAVAILABLE],
  [0x80, 'Unspecified error', ALL_ACKS, RETURN_UNAVAILABLE],
  [0x81, 'Malformed Packet', [CONNACK, DISCONNECT], RETURN_UNAVAILABLE],
  [0x82, 'Protocol Error', [CONNACK, DISCONNECT], RETURN_UNAVAILABLE],
  [0x83, 'Implementation specific error', ALL_ACKS, RETURN_UNAVAILABLE],
  [0x84, 'Unsupported Protocol Version', [CONNACK], RETURN_VERSION],
  [0x85, 'Client Identifier not valid', [CONNACK], RETURN_IDENTIFIER],
  [0x86, 'Bad User Name or Password', [CONNACK], RETURN_CREDENTIALS],
  [0x87, 'Not authorized', ALL_ACKS, RETURN_NOT_AUTHORIZED],
  [0x88, 'Server unavailable', [CONNACK], RETURN_UNAVAILABLE],
  [0x89, 'Server busy', [CONNACK, DISCONNECT], RETURN_UNAVAILABLE],
  [0x8a, 'Banned', [CONNACK], RETURN_NOT_AUTHORIZED],
  [0x8b, 'Server shutting down', [DISCONNECT], RETURN_UNAVAILABLE],
  [0x8c, 'Bad authentication method', [CONNACK, DISCONNECT], RETURN_CREDENTIALS],
  [0x8d, 'Keep Alive timeout', [DISCONNECT], RETURN_UNAVAILABLE],
  [0x8e, 'Session taken over', [DISCONNECT], RETURN_UNAVAILABLE],
  [0x8f, 'Topic Filter invalid', [SUBACK, UNSUBACK, DISCONNECT], RETURN_UNAVAILABLE],
  [0x90, 'Topic Name invalid', [CONNACK, PUBACK, PUBREC, DISCONNECT], RETURN_UNAVAILABLE],
  [0x91, 'Packet Identifier in use', [PUBACK, PUBREC, SUBACK, UNSUBACK], RETURN_UNAVAILABLE],
  [0x92, 'Packet Identifier not found', [PUBREL, PUBCOMP], RETURN_UNAVAILABLE],
  [0x93, 'Receive Maximum exceeded', [DISCONNECT], RETURN_UNAVAILABLE],
  [0x94, 'Topic Alias invalid', [DISCONNECT], RETURN_UNAVAILABLE],
  [0x95, 'Packet too large', [CONNACK, DISCONNECT], RETURN_UNAVAILABLE],
  [0x96, 'Message rate too high', [DISCONNECT], RETURN_UNAVAILABLE],
  [0x97, 'Quota exceeded', [CONNACK, PUBACK, PUBREC, SUBACK, DISCONNECT], RETURN_UNAVAILABLE],
  [0x98, 'Administrative action', [DISCONNECT], RETURN_UNAVAILABLE],
  [0x99, 'Payload format invalid', [CONNACK, PUBACK, PUBREC, DISCONNECT], RETURN_UNAVAILABLE],
  [0x9a, 'Retain not supported', [CONNACK, DISCONNECT], RETURN_UNAVAILABLE],
  [0x9b, 'QoS not supported', [CONNACK, DISCONNECT], RETURN_UNAVAILABLE],
  [0x9c, 'Use another server', [CONNACK, DISCONNECT], RETURN_UNAVAILABLE],
  [0x9d, 'Server moved', [CONNACK, DISCONNECT], RETURN_UNAVAILABLE],
  [0x9e, 'Shared Subscriptions not supported', [SUBACK, DISCONNECT], RETURN_UNAVAILABLE],
  [0x9f, 'Connection rate exceeded', [CONNACK, DISCONNECT], RETURN_UNAVAILABLE],
  [0xa0, 'Maximum connect time', [DISCONNECT], RETURN_UNAVAILABLE],
  [0xa1, 'Subscription Identifiers not supported', [SUBACK, DISCONNECT], RETURN_UNAVAILABLE],
  [0xa2, 'Wildcard Subscriptions not supported', [SUBACK, DISCONNECT], RETURN_UNAVAILABLE],
];

const nameOf = new Map<number, string>();
const returnCodeOf: Uint8Array = new Uint8Array(256).fill(RETURN_UNAVAILABLE);
// Bit `packetType` of entry `code` says that the packet may carry the code.
const packetsOf: Uint16Array = new Uint16Array(256);
for (const [code, name, packets, returnCode] of ROWS) {
  nameOf.set(code, name);
  returnCodeOf[code] = returnCode;
  for (const packetType of packets) packetsOf[code]! |= 1 << packetType;
}

/** The standard's name of a reason code, for logs; a code that the standard does not know is written in hex. */
export function reasonName(code: ReasonCode): string {
  return nameOf.get(code) ?? `0x${code.toString(16).padStart(2, '0')}`;
}

/** The return code, 0 to 5, that a CONNACK of MQTT 3.1 or 3.1.1 carries in place of `code`. */
export function connackReturnCode(code: ReasonCode): number {
  return returnCodeOf[code & 0xff]!;
}

/** Says whether a packet of the type may carry the reason code (section 2.4). */
export function mayCarry(packetType: number, code: ReasonCode): boolean {
  return code >= 0 && code < 256 && (packetsOf[code]! & (1 << packetType)) !== 0;
}

/** All reason codes that the standard names, in order. */
export const REASON_CODES: readonly number[] = ROWS.map((row) => row[0]);
