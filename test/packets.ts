/*
 * The packet table: whole packets as hex, valid and malformed, of every type and version, with the reason code that reading them must give.
 * Other layers use the same rows: what the codec refuses here, a connection must answer with that code.
 */

export interface PacketCase {
  name: string;
  version: 3 | 4 | 5;
  /** The whole packet with its fixed header; blanks mark the fields. */
  hex: string;
  /** 0 for a valid packet, otherwise the reason code. */
  code: number;
  /** Which side sends it, where only one may. */
  from: 'client' | 'server' | 'both';
}

type Row = readonly [name: string, version: 3 | 4 | 5, hex: string, code: number];

const MQTT = '00044d515454';
const MQISDP = '00064d5149736470';

const FROM_CLIENT: readonly Row[] = [
  // CONNECT
  ['CONNECT 3.1', 3, `10 0f ${MQISDP} 03 02 003c 0001 61`, 0],
  ['CONNECT 3.1.1, empty id, clean session', 4, `10 0c ${MQTT} 04 02 003c 0000`, 0],
  ['CONNECT 3.1.1 with will, user name, password', 4, `10 1a ${MQTT} 04 ee 003c 0001 61 0001 77 0002 6869 0001 75 0001 70`, 0],
  ['CONNECT 5', 5, `10 0e ${MQTT} 05 02 003c 00 0001 61`, 0],
  ['CONNECT 5 with a password alone', 5, `10 11 ${MQTT} 05 42 003c 00 0001 61 0001 70`, 0],
  [
    'CONNECT 5 with all its properties',
    5,
    `10 32 ${MQTT} 05 02 003c 24 1100000e10 21000a 220005 2700010000 1701 1901 26000161000162 15000178 160002 0102 0001 61`,
    0,
  ],
  [
    'CONNECT 5 with will properties',
    5,
    `10 35 ${MQTT} 05 2e 003c 00 0001 61 1f 1800000005 0101 020000003c 03000174 080001 72 090001 63 26 0001 6b 0001 76 0001 77 0002 6869`,
    0,
  ],
  ['CONNECT, other protocol name', 5, '10 0e 00044d515455 05 02 003c 00 0001 61', 0x84],
  ['CONNECT, level 6', 5, `10 0e ${MQTT} 06 02 003c 00 0001 61`, 0x84],
  ['CONNECT, level 3 with the newer name', 4, `10 0d ${MQTT} 03 02 003c 0001 61`, 0x84],
  ['CONNECT, reserved flag', 4, `10 0d ${MQTT} 04 03 003c 0001 61`, 0x81],
  ['CONNECT 5, reserved flag', 5, `10 0e ${MQTT} 05 03 003c 00 0001 61`, 0x81],
  ['CONNECT, will QoS without will', 4, `10 0d ${MQTT} 04 0a 003c 0001 61`, 0x81],
  ['CONNECT, will retain without will', 4, `10 0d ${MQTT} 04 22 003c 0001 61`, 0x81],
  ['CONNECT, will QoS 3', 4, `10 14 ${MQTT} 04 1e 003c 0001 61 0001 77 0002 6869`, 0x81],
  ['CONNECT 3.1.1, password without user name', 4, `10 10 ${MQTT} 04 42 003c 0001 61 0001 70`, 0x81],
  ['CONNECT 3.1.1, empty id, session kept', 4, `10 0c ${MQTT} 04 00 003c 0000`, 0x85],
  ['CONNECT 3.1, empty id', 3, `10 0e ${MQISDP} 03 02 003c 0000`, 0x85],
  ['CONNECT, bytes left over', 4, `10 0e ${MQTT} 04 02 003c 0001 61 00`, 0x81],
  ['CONNECT, id cut short', 4, `10 0d ${MQTT} 04 02 003c 0002 61`, 0x81],
  ['CONNECT, user name missing', 4, `10 0d ${MQTT} 04 82 003c 0001 61`, 0x81],
  ['CONNECT, id holds U+0000', 4, `10 0d ${MQTT} 04 02 003c 0001 00`, 0x81],
  ['CONNECT, id is an overlong form', 5, `10 0f ${MQTT} 05 02 003c 00 0002 c080`, 0x81],
  ['CONNECT, will topic with wildcard', 4, `10 14 ${MQTT} 04 06 003c 0001 61 0001 23 0002 6869`, 0x90],
  ['CONNECT 5, will topic with a surrogate', 5, `10 16 ${MQTT} 05 06 003c 00 0001 61 00 0003 eda080 0000`, 0x81],
  ['CONNECT 5, Receive Maximum 0', 5, `10 11 ${MQTT} 05 02 003c 03 210000 0001 61`, 0x82],
  ['CONNECT 5, Maximum Packet Size 0', 5, `10 13 ${MQTT} 05 02 003c 05 2700000000 0001 61`, 0x82],
  ['CONNECT 5, Session Expiry twice', 5, `10 18 ${MQTT} 05 02 003c 0a 1100000001 1100000001 0001 61`, 0x82],
  ['CONNECT 5, Request Problem Information 2', 5, `10 10 ${MQTT} 05 02 003c 02 1702 0001 61`, 0x82],
  ['CONNECT 5, Authentication Data without Method', 5, `10 12 ${MQTT} 05 02 003c 04 16000101 0001 61`, 0x82],
  ['CONNECT 5, property of another packet', 5, `10 11 ${MQTT} 05 02 003c 03 230001 0001 61`, 0x81],
  ['CONNECT 5, unknown property', 5, `10 10 ${MQTT} 05 02 003c 02 7f00 0001 61`, 0x81],
  ['CONNECT 5, Will Delay outside of a will', 5, `10 13 ${MQTT} 05 02 003c 05 1800000001 0001 61`, 0x81],
  ['CONNECT 5, property cut short', 5, `10 10 ${MQTT} 05 02 003c 02 2100 0001 61`, 0x81],
  ['CONNECT 5, property length over the end', 5, `10 0e ${MQTT} 05 02 003c 7f 0001 61`, 0x81],
  ['CONNECT 5, property length longer than needed', 5, `10 0f ${MQTT} 05 02 003c 8000 0001 61`, 0x81],
  ['CONNECT, wrong fixed header flags', 4, `11 0d ${MQTT} 04 02 003c 0001 61`, 0x81],
  // SUBSCRIBE
  ['SUBSCRIBE 3.1.1', 4, '82 0a 0001 0001 61 00 0001 23 02', 0],
  ['SUBSCRIBE 3.1 sent again', 3, '8a 06 0001 0001 61 01', 0],
  ['SUBSCRIBE 5 with all options', 5, '82 0a 0001 03 0b8001 0001 61 2e', 0],
  ['SUBSCRIBE 3.1.1, DUP', 4, '8a 06 0001 0001 61 01', 0x81],
  ['SUBSCRIBE, flags 0', 5, '80 07 0001 00 0001 61 00', 0x81],
  ['SUBSCRIBE, no filter', 5, '82 03 0001 00', 0x82],
  ['SUBSCRIBE 3.1.1, no filter', 4, '82 02 0001', 0x82],
  ['SUBSCRIBE, Packet Identifier 0', 5, '82 07 0000 00 0001 61 00', 0x82],
  ['SUBSCRIBE, QoS 3', 5, '82 07 0001 00 0001 61 03', 0x82],
  ['SUBSCRIBE, Retain Handling 3', 5, '82 07 0001 00 0001 61 30', 0x82],
  ['SUBSCRIBE, reserved option bit', 5, '82 07 0001 00 0001 61 40', 0x81],
  ['SUBSCRIBE 3.1.1, reserved option bit', 4, '82 06 0001 0001 61 04', 0x81],
  ['SUBSCRIBE, No Local on a Shared Subscription', 5, '82 10 0001 00 000a 2473686172652f672f61 04', 0x82],
  ['SUBSCRIBE, Subscription Identifier 0', 5, '82 09 0001 02 0b00 0001 61 00', 0x82],
  ['SUBSCRIBE, Subscription Identifier twice', 5, '82 0b 0001 04 0b010b02 0001 61 00', 0x82],
  ['SUBSCRIBE, options missing', 5, '82 06 0001 00 0001 61', 0x81],
  ['SUBSCRIBE, filter is not UTF-8', 5, '82 07 0001 00 0001 ff 00', 0x81],
  // UNSUBSCRIBE
  ['UNSUBSCRIBE 3.1.1', 4, 'a2 05 0001 0001 61', 0],
  ['UNSUBSCRIBE 5', 5, 'a2 10 0001 07 26000161000162 0001 61 0001 62', 0],
  ['UNSUBSCRIBE, no filter', 5, 'a2 03 0001 00', 0x82],
  ['UNSUBSCRIBE, Packet Identifier 0', 4, 'a2 05 0000 0001 61', 0x82],
  ['UNSUBSCRIBE, filter holds U+0000', 5, 'a2 06 0001 00 0001 00', 0x81],
  ['UNSUBSCRIBE, flags 0', 4, 'a0 05 0001 0001 61', 0x81],
  // PUBLISH
  ['PUBLISH, Subscription Identifier from a client', 5, '30 07 0001 61 02 0b01 78', 0x82],
  // PINGREQ
  ['PINGREQ', 4, 'c0 00', 0],
  ['PINGREQ with a body', 5, 'c0 01 00', 0x81],
];

const FROM_SERVER: readonly Row[] = [
  ['CONNACK 3.1.1', 4, '20 02 01 00', 0],
  ['CONNACK 3.1.1, refused', 4, '20 02 00 05', 0],
  ['CONNACK 5', 5, '20 03 00 00 00', 0],
  [
    'CONNACK 5 with all its properties',
    5,
    '20 38 01 00 35 1100000001 210005 2401 2501 2700000100 12000161 220003 1f000172 2801 2901 2a01 13003c 1a000172 1c000173 15000161 16000164',
    0,
  ],
  ['CONNACK, reserved flags', 5, '20 03 02 00 00', 0x81],
  ['CONNACK, session present with a failure', 5, '20 03 01 87 00', 0x82],
  ['CONNACK 3.1.1 with a property block', 4, '20 03 00 00 00', 0x81],
  ['CONNACK, Maximum QoS 2', 5, '20 05 00 00 02 2402', 0x82],
  ['SUBACK 3.1.1', 4, '90 04 0001 01 80', 0],
  ['SUBACK 5', 5, '90 09 0001 04 1f000172 02 8f', 0],
  ['SUBACK, code of another packet', 5, '90 04 0001 00 10', 0x82],
  ['UNSUBACK 3.1.1', 4, 'b0 02 0001', 0],
  ['UNSUBACK 3.1.1 with codes', 4, 'b0 03 0001 00', 0x81],
  ['UNSUBACK 5', 5, 'b0 05 0001 00 00 11', 0],
  ['PINGRESP', 4, 'd0 00', 0],
  ['PUBLISH with Subscription Identifiers', 5, '30 09 0001 61 04 0b010b02 78', 0],
];

const FROM_BOTH: readonly Row[] = [
  ['PUBLISH 3.1.1 QoS 0', 4, '30 05 0001 61 6869', 0],
  ['PUBLISH 3.1.1 QoS 0, no payload, retained', 4, '31 03 0001 61', 0],
  ['PUBLISH 3.1.1 QoS 2, DUP', 4, '3c 05 0001 61 000a', 0],
  ['PUBLISH 5 QoS 1', 5, '32 08 0001 61 000a 00 6869', 0],
  [
    'PUBLISH 5 with all its properties',
    5,
    '30 29 0001 61 24 0101 020000003c 03000174 080001 72 090001 63 230007 26 0001 6b 0001 76 26 0001 6b 0001 76 78',
    0,
  ],
  ['PUBLISH 5 by Topic Alias', 5, '30 07 0000 03 230001 78', 0],
  ['PUBLISH, QoS 3', 4, '36 07 0001 61 000a 6869', 0x81],
  ['PUBLISH, DUP with QoS 0', 4, '38 05 0001 61 6869', 0x81],
  ['PUBLISH, Packet Identifier 0', 4, '32 07 0001 61 0000 6869', 0x82],
  ['PUBLISH, Packet Identifier missing', 4, '32 04 0001 61 00', 0x81],
  ['PUBLISH, topic cut short', 4, '30 03 0002 61', 0x81],
  ['PUBLISH, no body', 4, '30 00', 0x81],
  ['PUBLISH 5, property length missing', 5, '30 03 0001 61', 0x81],
  ['PUBLISH 5, property length of five bytes', 5, '30 08 0001 61 8080808001', 0x81],
  ['PUBLISH 5, property length longer than needed', 5, '30 05 0001 61 8000', 0x81],
  ['PUBLISH, topic with #', 4, '30 03 0001 23', 0x90],
  ['PUBLISH 5, topic with +', 5, '30 06 0003 612f2b 00', 0x90],
  ['PUBLISH, topic holds U+0000', 4, '30 03 0001 00', 0x81],
  ['PUBLISH, topic with a surrogate', 4, '30 05 0003 eda080', 0x81],
  ['PUBLISH 3.1.1, empty topic', 4, '30 03 0000 78', 0x90],
  ['PUBLISH 5, empty topic, no alias', 5, '30 04 0000 00 78', 0x82],
  ['PUBLISH 5, alias 0', 5, '30 07 0001 61 03 230000', 0x94],
  ['PUBLISH 5, alias twice', 5, '30 0a 0001 61 06 230001230001', 0x82],
  ['PUBLISH 5, Payload Format 2', 5, '30 06 0001 61 02 0102', 0x82],
  ['PUBLISH 5, Content Type twice', 5, '30 0c 0001 61 08 03000174 03000174', 0x82],
  ['PUBLISH 5, Content Type is not UTF-8', 5, '30 08 0001 61 04 030001ff', 0x81],
  ['PUBLISH 5, Response Topic with wildcard', 5, '30 08 0001 61 04 08000123', 0x90],
  ['PUBLISH 5, key of a User Property is not UTF-8', 5, '30 0b 0001 61 07 260001ff000162', 0x81],
  ['PUBLISH 5, value of a User Property holds U+0000', 5, '30 0b 0001 61 07 26000161000100', 0x81],
  ['PUBLISH 5, User Property cut short', 5, '30 08 0001 61 04 26000161', 0x81],
  ['PUBLISH 5, property of another packet', 5, '30 07 0001 61 03 210001', 0x81],
  ['PUBLISH 5, unknown property', 5, '30 05 0001 61 01 00', 0x81],
  ['PUBACK', 4, '40 02 000a', 0],
  ['PUBACK 5 with code', 5, '40 03 000a 10', 0],
  ['PUBACK 5 with properties', 5, '40 0f 000a 87 0b 1f000172 26000161000162', 0],
  ['PUBACK 5 with an empty property block', 5, '40 04 000a 00 00', 0],
  ['PUBREC', 5, '50 02 000a', 0],
  ['PUBREL', 5, '62 02 000a', 0],
  ['PUBREL 5 with code', 5, '62 03 000a 92', 0],
  ['PUBREL 3.1 sent again', 3, '6a 02 000a', 0],
  ['PUBCOMP', 4, '70 02 000a', 0],
  ['PUBACK, Packet Identifier 0', 4, '40 02 0000', 0x82],
  ['PUBACK, cut short', 4, '40 01 00', 0x81],
  ['PUBACK 3.1.1 with a code', 4, '40 03 000a 00', 0x81],
  ['PUBACK 5, code of another packet', 5, '40 03 000a 92', 0x82],
  ['PUBACK 5, property of another packet', 5, '40 07 000a 00 03 210001', 0x81],
  ['PUBACK 5, Reason String twice', 5, '40 0c 000a 00 08 1f000172 1f000172', 0x82],
  ['PUBACK 5, bytes left over', 5, '40 05 000a 00 00 00', 0x81],
  ['PUBACK, wrong flags', 5, '42 02 000a', 0x81],
  ['PUBREL, flags 0', 5, '60 02 000a', 0x81],
  ['PUBREL 3.1.1, DUP', 4, '6a 02 000a', 0x81],
  ['DISCONNECT 3.1.1', 4, 'e0 00', 0],
  ['DISCONNECT 5', 5, 'e0 00', 0],
  ['DISCONNECT 5 with will', 5, 'e0 01 04', 0],
  ['DISCONNECT 5 with properties', 5, 'e0 07 00 05 1100000000', 0],
  ['DISCONNECT 3.1.1 with a body', 4, 'e0 01 00', 0x81],
  ['DISCONNECT, code of another packet', 5, 'e0 01 10', 0x82],
  ['DISCONNECT, bytes left over', 5, 'e0 03 00 00 00', 0x81],
  ['DISCONNECT, wrong flags', 5, 'e1 00', 0x81],
  ['AUTH', 5, 'f0 00', 0],
  ['AUTH with method', 5, 'f0 06 18 04 15000161', 0],
  ['AUTH without method', 5, 'f0 02 18 00', 0x82],
  ['AUTH before MQTT 5', 4, 'f0 00', 0x82],
  ['AUTH with all that it may have', 5, 'f0 15 19 13 15000161 16000162 1f000163 2600016b000176', 0],
  ['AUTH, code of another packet', 5, 'f0 06 87 04 15000161', 0x82],
  ['AUTH, property of another packet', 5, 'f0 08 18 06 15000161 2401', 0x81],
  ['AUTH, method twice', 5, 'f0 0a 18 08 15000161 15000161', 0x82],
  ['AUTH, data twice', 5, 'f0 0e 18 0c 15000161 16000162 16000162', 0x82],
  ['AUTH, bytes left over', 5, 'f0 07 18 04 15000161 00', 0x81],
  ['AUTH, method cut', 5, 'f0 05 18 04 150002', 0x81],
  ['AUTH, wrong flags', 5, 'f2 00', 0x81],
  ['packet type 0', 5, '00 00', 0x81],
  ['length of five bytes', 5, '30 80808080 01', 0x81],
  ['length longer than needed', 5, 'c0 8000', 0x81],
];

function cases(rows: readonly Row[], from: PacketCase['from']): PacketCase[] {
  return rows.map(([name, version, hex, code]) => ({ name, version, hex, code, from }));
}

export const PACKETS: readonly PacketCase[] = [
  ...cases(FROM_CLIENT, 'client'),
  ...cases(FROM_SERVER, 'server'),
  ...cases(FROM_BOTH, 'both'),
];

/** The bytes of a row. */
export function packetBytes(hex: string): Uint8Array {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex');
}
